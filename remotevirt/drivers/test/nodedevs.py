"""The host's devices in the test hypervisor, and virtual host bus adapters.

libvirt's test driver makes a new adapter as a copy of the device ``scsi_host11``, under the name
``scsi_host12``, whatever is asked for; so there is never more than one. Only adapters that hang on a device
can be destroyed; asking for others succeeds and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.faults import check_count, check_flags
from remotevirt.drivers.tables import Table
from remotevirt.drivers.test.object_events import device_lifecycle
from remotevirt.errors import VirError
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import NodeDeviceDriver
from remotevirt.stubs.errors import InternalError, NoNodeDevice
from remotevirt.stubs.remote import NonnullNodeDevice
from remotevirt.stubs.remote.nodedev import ConnectListAllNodeDevicesRet
from remotevirt.xml.node_device import NEW, DeviceModel, format_device, parse_device, read_device

__all__ = ["CAPABILITIES", "TEMPLATE", "VPORT", "DeviceRecord", "DeviceTable", "TestDevices"]

TEMPLATE: Final = "scsi_host11"
"""The device that new adapters are copies of."""

VPORT: Final = "scsi_host12"
"""What new adapters are called."""

CAPABILITIES: Final[dict[str, int]] = {
    "system": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM,
    "pci": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV,
    "usb_device": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV,
    "usb": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE,
    "net": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET,
    "scsi_host": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST,
    "scsi_target": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_TARGET,
    "scsi": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI,
    "storage": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE,
    "fc_host": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_FC_HOST,
    "vports": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS,
    "scsi_generic": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC,
    "drm": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM,
    "mdev_types": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV_TYPES,
    "mdev": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV,
    "ccw": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_CCW_DEV,
    "css": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_CSS_DEV,
    "vdpa": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VDPA,
    "ap_card": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_CARD,
    "ap_queue": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_QUEUE,
    "ap_matrix": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_AP_MATRIX,
    "vpd": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD,
}
"""What a device can be, and the list filter of each."""

FILTERS: Final[int] = 2**22 - 1
"""The filters of libvirt 9.0.0; later ones are refused."""

LIMIT: Final = "REMOTE_NODE_DEVICE_LIST_MAX"
CAPS_LIMIT: Final = "REMOTE_NODE_DEVICE_CAPS_LIST_MAX"
MAX_DEVICES: Final = 65536
"""REMOTE_NODE_DEVICE_LIST_MAX and REMOTE_NODE_DEVICE_CAPS_LIST_MAX."""


class DeviceRef(Kept, NonnullNodeDevice):
    """A reference whose encoding is kept."""


class DeviceList(Kept, ConnectListAllNodeDevicesRet):
    """A list whose encoding is kept as long as the list itself."""


class DeviceRecord:
    """A device of a world's host.

    Attributes:
        name, ref: what it is known by.
        model: its definition, of ``size`` characters.
        filters: the list filters of its capabilities and of those inside them.
        lasts: it is there again after the host has been started anew; virtual adapters are not.
        position: which one it is.
    """

    __slots__ = ("filters", "lasts", "model", "name", "position", "ref", "size")

    def __init__(self, model: DeviceModel, size: int = 0, *, lasts: bool = True) -> None:
        self.name: str = model.name
        self.ref = DeviceRef(self.name)
        self.model = model
        self.size = size
        self.filters = 0
        self.lasts = lasts
        self.position = 0
        for kind in model.kinds:
            self.filters |= CAPABILITIES[kind]


class DeviceTable(Table[DeviceRecord]):
    """The devices of a world's host."""

    __slots__ = ("hub",)

    def __init__(self, hub: EventHub) -> None:
        super().__init__("node device", c.VIR_FROM_TEST)
        self.hub = hub

    def load(self, element: Any, size: int = 0) -> None:
        """Take in a device from a node file, in place of one of its name; raises VirError."""
        self.put(DeviceRecord(read_device(element), size))

    def put(self, device: DeviceRecord) -> None:
        """Take in a device, in place of one of its name; raises OperationFailed."""
        old = self.by_name.get(device.name)
        if old is not None:
            self.remove(old)
        self.add(device)

    def named(self, name: str) -> DeviceRecord:
        """Return the device of a name; raises NoNodeDevice."""
        device = self.by_name.get(name)
        if device is None:
            raise NoNodeDevice(f"no node device with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return device

    def make_vport(self, wwnn: str, wwpn: str) -> DeviceRecord:
        """Make the virtual adapter, in place of one that may be there; raises NoNodeDevice."""
        template = self.named(TEMPLATE)
        device = DeviceRecord(template.model.named(VPORT, wwnn, wwpn), lasts=False)
        self.put(device)
        self.hub.publish(device_lifecycle(device.ref, c.VIR_NODE_DEVICE_EVENT_CREATED))
        return device

    def delete(self, device: DeviceRecord) -> None:
        """Forget a device, and publish it."""
        self.remove(device)
        self.hub.publish(device_lifecycle(device.ref, c.VIR_NODE_DEVICE_EVENT_DELETED))

    def check_parent(self, model: DeviceModel) -> None:
        """Check that a new adapter has a device to hang on: the one that it names, or any.

        Raises:
            InternalError: it has not.
        """
        parent = model.parent
        if parent is not None:
            found = self.by_name.get(parent)
        elif model.parent_names:
            found = next((one for one in self if self._has_names(one.model, model.parent_names)), None)
        elif any(one.model.is_vport_capable for one in self):
            return
        else:
            raise _impossible("Could not find any vport capable device")
        if found is None:
            raise _impossible(f"Could not find parent device for '{NEW}'")
        if not found.model.is_vport_capable:
            raise _impossible(f"Parent device {found.name} is not capable of vport operations")

    @staticmethod
    def _has_names(model: DeviceModel, names: dict[str, str]) -> bool:
        """Return whether an adapter that can carry others has some world-wide names."""
        return model.is_vport_capable and all(
            getattr(model, field) == value
            for field, value in names.items()
            if field != "fabric_wwn" or "wwnn" not in names
        )


class TestDevices(NodeDeviceDriver):
    """The node device sub-driver; devices are found by name."""

    def __init__(self, devices: DeviceTable) -> None:
        self.devices = devices

    def node_num_of_devices(self, cap: str | None, flags: int) -> int:
        """Return how many devices have a capability, or how many there are."""
        check_flags(flags, 0, "testNodeNumOfDevices")
        return self.devices.count(lambda device: cap is None or cap in device.model.kinds)

    def node_list_devices(self, cap: str | None, maxnames: int, flags: int) -> Sequence[str]:
        """Return the names of the devices that have a capability, or of all."""
        found = self.devices.names(
            maxnames, LIMIT, lambda device: cap is None or cap in device.model.kinds, MAX_DEVICES
        )
        check_flags(flags, 0, "testNodeListDevices")
        return found

    def connect_list_all_node_devices(self, need_results: int, flags: int) -> ConnectListAllNodeDevicesRet:
        """Return the devices that have one of some capabilities."""
        found: DeviceList = self.devices.listing(flags, self._list)
        return found if need_results else ConnectListAllNodeDevicesRet((), found.ret)

    def _list(self, flags: int) -> DeviceList:
        check_flags(flags, FILTERS, "testConnectListAllNodeDevices")
        refs = tuple([device.ref for device in self.devices if not flags or flags & device.filters])
        return DeviceList(refs, len(refs))

    def node_device_lookup_by_name(self, name: str) -> NonnullNodeDevice:
        """Return the device of a name."""
        return self.devices.named(name).ref

    def node_device_get_parent(self, name: str) -> str | None:
        """Return the name of the device that another hangs on."""
        return self.devices.named(name).model.parent

    def node_device_num_of_caps(self, name: str) -> int:
        """Return how many capabilities a device has, without those inside them."""
        return len(self.devices.named(name).model.capabilities)

    def node_device_list_caps(self, name: str, maxnames: int) -> Sequence[str]:
        """Return the capabilities of a device, without those inside them."""
        check_count(maxnames, MAX_DEVICES, "maxnames", CAPS_LIMIT)
        model = self.devices.named(name).model
        return [str(dict(tag.attributes)["type"]) for tag in model.capabilities][:maxnames]

    def node_device_get_xml_desc(self, name: str, flags: int) -> str:
        """Return a device's document."""
        check_flags(flags, 0, "testNodeDeviceGetXMLDesc")
        return format_device(self.devices.named(name).model)

    @in_steps
    def node_device_create_xml(self, xml_desc: str, flags: int) -> Steps[NonnullNodeDevice]:
        """Make a virtual host bus adapter; VIR_NODE_DEVICE_CREATE_XML_VALIDATE is stricter with it."""
        check_flags(flags, c.VIR_NODE_DEVICE_CREATE_XML_VALIDATE, "testNodeDeviceCreateXML")
        validate = bool(flags & c.VIR_NODE_DEVICE_CREATE_XML_VALIDATE)
        model = yield Work(len(xml_desc), parse_device, xml_desc, new=True, validate=validate)
        if model.wwnn is None or model.wwpn is None:
            raise _impossible("Device is not a fibre channel HBA")
        self.devices.check_parent(model)
        return self.devices.make_vport(model.wwnn, model.wwpn).ref

    def node_device_destroy(self, name: str) -> None:
        """Remove a host bus adapter that hangs on a device; leave others as they are."""
        device = self.devices.named(name)
        if device.model.wwnn is not None and device.model.parent in self.devices.by_name:
            self.devices.delete(device)


def _impossible(text: str) -> VirError:
    """Return the error for an adapter that cannot be made."""
    return InternalError(text, domain=c.VIR_FROM_NODEDEV)
