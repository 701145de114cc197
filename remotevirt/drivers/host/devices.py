"""The host's devices: the node device sub-driver for any hypervisor.

Devices come and go by themselves. They are read when somebody asks, and what was read is good for a short
time, so that a client that lists them and then looks at each finds what it has listed. Nothing can be
changed: making mediated devices and virtual host bus adapters is refused, as libvirt refuses it for other
kinds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from remotevirt.drivers.faults import check_count, check_flags
from remotevirt.drivers.host.aside import aside
from remotevirt.drivers.host.device_document import ROOT_DEVICE, read_devices
from remotevirt.drivers.host.device_names import PciNames
from remotevirt.drivers.host.host import Host
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import NodeDeviceDriver
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    InternalError,
    NoNodeDevice,
    OperationInvalid,
    OperationUnsupported,
)
from remotevirt.stubs.remote import NonnullNodeDevice
from remotevirt.stubs.remote.nodedev import ConnectListAllNodeDevicesRet
from remotevirt.xml.node_device import FILTERS, DeviceModel, format_device, parse_device

__all__ = ["HostDevices"]

KEPT_SECONDS: Final = 2.0
"""How long devices that were read are good. Reading those of a large server takes a tenth of a second."""

MAX_NAMES: Final = 65536
"""REMOTE_NODE_DEVICE_LIST_MAX and REMOTE_NODE_DEVICE_CAPS_LIST_MAX."""

ACTIVITY: Final[int] = c.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE | c.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE
CAPS: Final[int] = sum(FILTERS.values())


@attrs.frozen
class Snapshot:
    """The devices as they were at some time (of the monotonic clock)."""

    at: float
    models: dict[str, DeviceModel]


def _matches(model: DeviceModel, flags: int) -> bool:
    """Return whether a device passes the filters of a list."""
    if flags & ACTIVITY and not flags & c.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE:
        return False
    caps = flags & CAPS
    return not caps or any(FILTERS[kind] & caps for kind in model.kinds)


class HostDevices(NodeDeviceDriver):
    """The node device sub-driver; devices are found by name.

    Args:
        host: whose devices.
        clock: seconds since some time; for tests.
    """

    def __init__(self, host: Host, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self.clock = clock
        self._names = PciNames(host.files)
        self._kept: Snapshot | None = None
        self._reading = threading.Lock()

    def _devices(self) -> dict[str, DeviceModel]:
        """Return the devices, read a moment ago; one thread reads, and others wait for it."""
        with self._reading:
            kept = self._kept
            if kept is None or not 0 <= self.clock() - kept.at < KEPT_SECONDS:
                kept = self._kept = Snapshot(self.clock(), read_devices(self.host, self._names))
            return kept.models

    def _named(self, name: str) -> DeviceModel:
        model = self._devices().get(name)
        if model is None:
            raise NoNodeDevice(f"no node device with matching name '{name}'", domain=c.VIR_FROM_NODEDEV)
        return model

    def _having(self, cap: str | None) -> list[str]:
        return [model.name for model in self._devices().values() if cap is None or cap in model.kinds]

    @aside
    def node_num_of_devices(self, cap: str | None, flags: int) -> int:
        """Return how many devices have a capability, or how many there are."""
        check_flags(flags, 0, "nodeNumOfDevices", c.VIR_FROM_NODEDEV)
        return len(self._having(cap))

    @aside
    def node_list_devices(self, cap: str | None, maxnames: int, flags: int) -> Sequence[str]:
        """Return the names of the devices that have a capability, or of all."""
        check_count(maxnames, MAX_NAMES, "maxnames", "REMOTE_NODE_DEVICE_LIST_MAX")
        check_flags(flags, 0, "nodeListDevices", c.VIR_FROM_NODEDEV)
        return self._having(cap)[:maxnames]

    @aside
    def connect_list_all_node_devices(self, need_results: int, flags: int) -> ConnectListAllNodeDevicesRet:
        """Return the devices that have one of some capabilities; all of them are active."""
        flags &= 0xFFFFFFFF
        check_flags(flags, CAPS | ACTIVITY, "nodeConnectListAllNodeDevices", c.VIR_FROM_NODEDEV)
        found = [model.name for model in self._devices().values() if _matches(model, flags)]
        refs = tuple(map(NonnullNodeDevice, found)) if need_results else ()
        return ConnectListAllNodeDevicesRet(refs, len(found))

    @aside
    def node_device_lookup_by_name(self, name: str) -> NonnullNodeDevice:
        """Return the device of a name."""
        return NonnullNodeDevice(self._named(name).name)

    @aside
    def node_device_lookup_scsi_host_by_wwn(self, wwnn: str, wwpn: str, flags: int) -> NonnullNodeDevice:
        """Return the adapter of a fibre channel that has two world-wide names."""
        check_flags(flags, 0, "nodeDeviceLookupSCSIHostByWWN", c.VIR_FROM_NODEDEV)
        for model in self._devices().values():
            if "fc_host" in model.kinds and (model.wwnn, model.wwpn) == (wwnn, wwpn):
                return NonnullNodeDevice(model.name)
        text = f"no node device with matching wwnn '{wwnn}' and wwpn '{wwpn}'"
        raise NoNodeDevice(text, domain=c.VIR_FROM_NODEDEV)

    @aside
    def node_device_get_parent(self, name: str) -> str | None:
        """Return the name of the device that another hangs on."""
        return self._named(name).parent

    @aside
    def node_device_num_of_caps(self, name: str) -> int:
        """Return how many capabilities a device has, with those inside them."""
        return len(self._named(name).kinds)

    @aside
    def node_device_list_caps(self, name: str, maxnames: int) -> Sequence[str]:
        """Return the capabilities of a device, with those inside them."""
        check_count(maxnames, MAX_NAMES, "maxnames", "REMOTE_NODE_DEVICE_CAPS_LIST_MAX")
        return self._named(name).kinds[:maxnames]

    @aside
    def node_device_get_xml_desc(self, name: str, flags: int) -> str:
        """Return a device's document."""
        check_flags(flags, 0, "nodeDeviceGetXMLDesc", c.VIR_FROM_NODEDEV)
        return format_device(self._named(name))

    @aside
    def node_device_is_active(self, name: str) -> int:
        """Return 1: the device is there."""
        self._named(name)
        return 1

    @aside
    def node_device_is_persistent(self, name: str) -> int:
        """Return 1 for the machine itself; 0 for others, of which nothing is kept."""
        return int(self._named(name).name == ROOT_DEVICE)

    @aside
    def node_device_get_autostart(self, name: str) -> int:
        """Return 1 for the machine itself, 0 for others."""
        return int(self._named(name).name == ROOT_DEVICE)

    @aside
    def node_device_create_xml(self, xml_desc: str, flags: int) -> NonnullNodeDevice:
        """Refuse to make a device, with what is wrong with the document before all."""
        validate = c.VIR_NODE_DEVICE_CREATE_XML_VALIDATE
        check_flags(flags, validate, "nodeDeviceCreateXML", c.VIR_FROM_NODEDEV)
        model = parse_device(xml_desc, new=True, validate=bool(flags & validate))
        if "fc_host" in model.kinds:
            text = "Could not find any vport capable device"
            raise InternalError(text, domain=c.VIR_FROM_NODEDEV)
        raise _unsupported()

    @aside
    def node_device_define_xml(self, xml_desc: str, flags: int) -> NonnullNodeDevice:
        """Refuse to define a device, with what is wrong with the document before all."""
        validate = c.VIR_NODE_DEVICE_DEFINE_XML_VALIDATE
        check_flags(flags, validate, "nodeDeviceDefineXML", c.VIR_FROM_NODEDEV)
        parse_device(xml_desc, new=True, validate=bool(flags & validate))
        raise _unsupported()

    @aside
    def node_device_destroy(self, name: str) -> None:
        """Refuse: devices of the host's are not ours to take away."""
        self._named(name)
        raise _unsupported()

    @aside
    def node_device_undefine(self, name: str, flags: int) -> None:
        """Refuse: nothing is defined."""
        check_flags(flags, 0, "nodeDeviceUndefine", c.VIR_FROM_NODEDEV)
        if self._named(name).name == ROOT_DEVICE:
            raise _unsupported()
        raise OperationInvalid(f"Node device '{name}' is not defined", domain=c.VIR_FROM_NODEDEV)

    @aside
    def node_device_create(self, name: str, flags: int) -> None:
        """Refuse: the device is there already."""
        check_flags(flags, 0, "nodeDeviceCreate", c.VIR_FROM_NODEDEV)
        self._named(name)
        raise OperationInvalid("Device is already active", domain=c.VIR_FROM_NODEDEV)

    @aside
    def node_device_set_autostart(self, name: str, autostart: int) -> None:
        """Refuse: devices of the host's start by themselves."""
        self._named(name)
        raise OperationUnsupported("Unsupported device type", domain=c.VIR_FROM_NODEDEV)


def _unsupported() -> VirError:
    return ConfigUnsupported("Unsupported device type", domain=c.VIR_FROM_NODEDEV)
