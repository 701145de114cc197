"""What host devices may be together: each device of the host once, each SCSI address once."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.devices import Devices
from remotevirt.xml.domain.hostdev import HostDevice

__all__ = ["check_hostdevs"]


def check_hostdevs(devices: Devices) -> None:
    """Check all host devices; raises VirError."""
    for device in devices.hostdevs:
        _check_address(device)
    _check_sources(devices.hostdevs)
    _check_addresses(devices)
    usb = any(device.mode == "subsystem" and device.type == "usb" for device in devices.hostdevs)
    if usb and any(one.type == "usb" and one.model == "none" for one in devices.controllers):
        text = "Can't add host USB device: USB is disabled in this host"
        raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)


_ADDRESSES: Final = {
    "pci": ({"pci", "unassigned"}, "PCI host devices must use 'pci' or 'unassigned' address type"),
    "usb": ({"usb"}, "USB host device must use 'usb' address type"),
    "scsi": ({"drive"}, "SCSI host device must use 'drive' address type"),
    "scsi_host": ({"pci", "ccw"}, "SCSI_host host device must use 'pci' or 'ccw' address type"),
}
"""Where devices of the host may be in the guest, and what is said if they are elsewhere."""

_MEDIATED: Final = {"vfio-pci": "pci", "vfio-ccw": "ccw"}


def _check_address(device: HostDevice) -> None:
    """Refuse a place in the guest that does not suit the kind of device."""
    place = getattr(device.info.address, "type", None)
    if place is None or device.mode != "subsystem":
        return
    if device.type == "mdev" and place != _MEDIATED.get(device.model or "", place):
        text = f"Unsupported address type '{place}' with mediated device model '{device.model}'"
        raise XmlError(text, domain=VIR_FROM_DOMAIN)
    allowed, text = _ADDRESSES.get(device.type, ({place}, ""))
    if place not in allowed:
        error = InternalError if device.type == "pci" else ConfigUnsupported
        raise error(text, domain=VIR_FROM_DOMAIN)


def _check_sources(hostdevs: list[HostDevice]) -> None:
    """Refuse a device of the host that is there twice."""
    seen: set[Any] = set()
    for device in hostdevs:
        if device.mode != "subsystem":
            continue
        keys = _keys(device)
        if any(key in seen for key in keys):
            raise XmlError("Hostdev already exists in the domain configuration", domain=VIR_FROM_DOMAIN)
        seen.update(keys[:1])  # the earlier of two devices says what they are compared by


def _keys(device: HostDevice) -> list[tuple[Any, ...]]:
    """Return what a device is known by; a USB device by its place and by its kind, if both are given."""
    source: Any = device.source
    address = getattr(source, "address", None)
    if device.type == "usb":
        keys: list[tuple[Any, ...]] = []
        if address is not None:
            keys.append(("usb place", address.bus, address.device))
        if source.vendor is not None:
            keys.append(("usb kind", source.vendor, source.product))
        return keys
    if device.type == "pci" and address is not None:
        return [("pci", address.domain, address.bus, address.slot, address.function)]
    if device.type == "scsi" and source.protocol == "iscsi":
        host = source.hosts[0]
        return [("iscsi", source.name, host.name, host.port)]
    if device.type == "scsi" and address is not None:
        return [("scsi", source.adapter, address.bus, address.target, address.unit)]
    if device.type == "scsi_host":
        return [("scsi_host", source.wwpn)]
    if device.type == "mdev" and address is not None:
        return [("mdev", address.uuid)]
    return []


def _check_addresses(devices: Devices) -> None:
    """Refuse a SCSI address that a disk or another host device has."""
    disks = {_place(disk.info.address) for disk in devices.disks if disk.bus == "scsi"}
    taken: set[tuple[Any, ...]] = set()
    for device in devices.hostdevs:
        place = _place(device.info.address) if device.type == "scsi" else None
        if place is None:
            continue
        shown = "SCSI host address controller='{}' bus='{}' target='{}' unit='{}' in use by".format(*place)
        if place in disks:
            raise XmlError(f"{shown} a SCSI disk", domain=VIR_FROM_DOMAIN)
        if place in taken:
            raise ConfigUnsupported(f"{shown} another SCSI host device", domain=VIR_FROM_DOMAIN)
        taken.add(place)


def _place(address: Any) -> tuple[Any, ...] | None:
    """Return the numbers of a drive's address, None for any other."""
    if not isinstance(address, DriveAddress):
        return None
    return (address.controller, address.bus, address.target, address.unit)
