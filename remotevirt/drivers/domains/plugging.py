"""What can be plugged into a running guest, and out of it, by libvirt's rules and in its words.

Only what no hypervisor could do is refused here; the rest is for QEMU, or for the guest, to refuse.
"""

from __future__ import annotations

from typing import Final

from remotevirt.stubs.errors import ConfigUnsupported, OperationUnsupported
from remotevirt.xml.domain.device import Device

__all__ = ["PLUGGABLE", "check_disk_pluggable", "check_disk_unpluggable"]

PLUGGABLE: Final = frozenset({"virtio", "usb", "scsi"})
"""Buses that disks can be plugged into while a domain runs."""


def check_disk_pluggable(disk: Device, errors: int) -> None:
    """Refuse a disk that cannot be plugged into a running domain, wherever it shall sit.

    Args:
        disk: with its bus.
        errors: which part of libvirt complains (virErrorDomain).

    Raises:
        OperationUnsupported, ConfigUnsupported: it cannot.
    """
    if disk.device == "floppy":
        raise OperationUnsupported("floppy device hotplug isn't supported", domain=errors)
    if disk.bus == "usb" and disk.device == "lun":
        raise ConfigUnsupported("disk device='lun' is not supported for usb bus", domain=errors)
    if disk.bus == "virtio" and disk.device == "cdrom":
        raise OperationUnsupported("cdrom device with virtio bus isn't supported", domain=errors)


def check_disk_unpluggable(disk: Device, errors: int) -> None:
    """Refuse to take a disk out of a running domain that no host could take out.

    Raises:
        OperationUnsupported: it is one.
    """
    if disk.device == "floppy" or (disk.device == "cdrom" and disk.bus not in {"usb", "scsi"}):
        text = f"disk device type '{disk.device}' cannot be detached"
        raise OperationUnsupported(text, domain=errors)
    if disk.bus not in PLUGGABLE:
        raise OperationUnsupported("This type of disk cannot be hot unplugged", domain=errors)
