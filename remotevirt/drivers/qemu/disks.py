"""A guest's disks, as calls name them, as QEMU knows them, and as files."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.command import block_id
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg
from remotevirt.xml.domain.disk import Disk

__all__ = ["FileSizes", "device_of", "disk_named", "file_sizes"]


class FileSizes(NamedTuple):
    """How long a file is, and how much of it is stored, in bytes."""

    physical: int
    allocated: int
    is_file: bool


async def device_of(guest: Guest, disk: Disk) -> dict[str, Any]:
    """Return what QEMU says of the device of a disk (``query-block``).

    Raises:
        InternalError: it knows of no such device.
    """
    wanted = block_id(disk)
    answer = await guest.execute("query-block")
    for one in objects_of(answer):
        if one.get("qdev") == wanted:
            return one
    raise InternalError(f"cannot find device '{disk.dev}' in QEMU", domain=c.VIR_FROM_QEMU)


def disk_named(definition: Definition, name: str, refusal: str) -> Disk:
    """Return the disk with a target or source. Raises InvalidArg with a text."""
    disk = definition.disk(name)
    if disk is None:
        raise InvalidArg(refusal, domain=c.VIR_FROM_QEMU)
    return disk


def file_sizes(path: str) -> FileSizes:
    """Return the size of a file or block device; to be called in a thread. Raises OSError."""
    found = os.stat(path)
    if stat.S_ISBLK(found.st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)
        return FileSizes(size, size, is_file=False)
    return FileSizes(found.st_size, found.st_blocks * 512, is_file=True)
