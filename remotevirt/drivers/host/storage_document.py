"""What a disk or drive says of itself.

udev knows what a drive is; where it does not run, only disks of virtio are known to be disks, as for libvirt.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.host.device_files import Device
from remotevirt.xml.write import Tag, leaf

__all__ = ["storage_capability"]

GUESSES: Final = (("ID_DRIVE_FLOPPY", "floppy"), ("ID_CDROM", "cd"), ("ID_DRIVE_FLASH_SD", "sd"))
"""What udev says of drives that tell no type."""

VIRTIO: Final = "/dev/vd"
REMOVABLE: Final = {"cd", "floppy"}


def _drive(device: Device, node: str) -> str | None:
    """Return what kind of drive it is: disk, cd, floppy or sd; None if nobody knows."""
    found = device.properties.get("ID_TYPE")
    if found is not None and found != "generic":
        return found if found in {"disk", *REMOVABLE, "sd"} else None
    guesses = (name for key, name in GUESSES if device.properties.get(key) == "1")
    return next(guesses, "disk" if node.startswith(VIRTIO) else None)


def _has_medium(device: Device, drive: str) -> bool:
    notes = device.properties
    if drive == "cd":
        return notes.get("ID_CDROM_MEDIA") == "1"
    if "ID_CDROM_MEDIA" in notes:
        return notes.get("DKD_MEDIA_AVAILABLE") == "1"
    return "ID_FS_LABEL" in notes


def storage_capability(device: Device) -> Tag | None:
    """Return the capability of a disk or drive; None for what is neither."""
    node = device.node
    drive = None if node is None else _drive(device, node)
    if drive is None:
        return None
    tag = Tag("capability").set("type", "storage")

    def add(to: Tag, **values: object) -> None:
        for name, value in values.items():
            if value is not None:
                to.add(leaf(name, value))

    notes = device.properties
    add(
        tag,
        block=node,
        bus=notes.get("ID_BUS"),
        drive_type="cdrom" if drive == "cd" else drive,
        model=device.text("device/model"),
        vendor=device.text("device/vendor"),
        serial=notes.get("ID_SERIAL"),
    )
    blocks = device.number("size") or 0
    block_size = device.number("queue/logical_block_size") or 0
    if drive in REMOVABLE:
        there = _has_medium(device, drive)
        if not there:
            blocks = block_size = 0
        if device.number("removable") == 1:
            medium = Tag("capability").set("type", "removable")
            add(medium, media_available=int(there), media_size=blocks * block_size)
            add(medium, media_label=notes.get("ID_FS_LABEL") if there else None)
            add(medium, logical_block_size=block_size or None, num_blocks=blocks or None)
            tag.add(medium)
            return tag
        add(tag, size=0)
    else:
        add(tag, size=blocks * block_size)
    add(tag, logical_block_size=block_size or None, num_blocks=blocks or None)
    return tag
