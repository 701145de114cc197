"""The host's devices: what there is, and how it looks. Creating and destroying is not supported yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from remotevirt.drivers.test.faults import check_count, check_flags
from remotevirt.drivers.test.objects import MAX_LIST, Table
from remotevirt.drivers.test.plain_xml import child_text, print_element
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import NodeDeviceDriver
from remotevirt.stubs.errors import NoNodeDevice
from remotevirt.stubs.remote import NonnullNodeDevice
from remotevirt.stubs.remote.nodedev import ConnectListAllNodeDevicesRet

__all__ = ["CAPABILITIES", "DeviceRecord", "TestDevices"]

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
    "vport_ops": c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS,
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


class DeviceRecord:
    """A device of a world's host.

    Attributes:
        name, ref: what it is known by.
        parent: the device that it hangs on, None for the first.
        capabilities: its own.
        kinds: list filters of its capabilities and of those inside them.
        nested: the names of all of them.
        xml: its document.
    """

    size = 0
    __slots__ = ("capabilities", "kinds", "name", "nested", "parent", "ref", "xml")

    def __init__(self, element: Any) -> None:
        self.name = child_text(element, "name", "missing name element")
        self.ref = NonnullNodeDevice(self.name)
        self.parent: str | None = element.findtext("parent")
        self.capabilities = [found.get("type") or "" for found in element.findall("capability")]
        self.nested = {found.get("type") or "" for found in element.iter("capability")}
        self.kinds = 0
        for name in self.nested:
            self.kinds |= CAPABILITIES.get(name, 0)
        self.xml = print_element(element)


class TestDevices(NodeDeviceDriver):
    """The node device sub-driver; devices are found by name."""

    def __init__(self, devices: Table[DeviceRecord]) -> None:
        self.devices = devices

    def _named(self, name: str) -> DeviceRecord:
        device = self.devices.by_name.get(name)
        if device is None:
            raise NoNodeDevice(f"no node device with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return device

    def _having(self, cap: str | None) -> Sequence[str]:
        return [device.name for device in self.devices if cap is None or cap in device.nested]

    def node_num_of_devices(self, cap: str | None, flags: int) -> int:
        """Return how many devices have a capability, or how many there are."""
        check_flags(flags, 0, "testNodeNumOfDevices")
        return len(self._having(cap))

    def node_list_devices(self, cap: str | None, maxnames: int, flags: int) -> Sequence[str]:
        """Return the names of the devices that have a capability, or of all."""
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_NODE_DEVICE_LIST_MAX")
        check_flags(flags, 0, "testNodeListDevices")
        return self._having(cap)[:maxnames]

    def connect_list_all_node_devices(self, need_results: int, flags: int) -> ConnectListAllNodeDevicesRet:
        """Return the devices that have one of some capabilities."""
        check_flags(flags, FILTERS, "testConnectListAllNodeDevices")
        refs = [device.ref for device in self.devices if not flags or flags & device.kinds]
        return ConnectListAllNodeDevicesRet(refs if need_results else (), len(refs))

    def node_device_lookup_by_name(self, name: str) -> NonnullNodeDevice:
        """Return the device of a name."""
        return self._named(name).ref

    def node_device_get_parent(self, name: str) -> str | None:
        """Return the name of the device that another hangs on."""
        return self._named(name).parent

    def node_device_num_of_caps(self, name: str) -> int:
        """Return how many capabilities a device has."""
        return len(self._named(name).capabilities)

    def node_device_list_caps(self, name: str, maxnames: int) -> Sequence[str]:
        """Return the capabilities of a device."""
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_NODE_DEVICE_CAPS_LIST_MAX")
        return self._named(name).capabilities[:maxnames]

    def node_device_get_xml_desc(self, name: str, flags: int) -> str:
        """Return a device's document."""
        check_flags(flags, 0, "testNodeDeviceGetXMLDesc")
        return self._named(name).xml
