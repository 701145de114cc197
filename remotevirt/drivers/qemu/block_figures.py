"""What QEMU and the host know of a running guest's disks: counts, sizes, errors.

QEMU is asked once for all disks. What it says is taken apart carefully: it may be in a guest's hands.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.command import block_id
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg
from remotevirt.xml.domain.disk import Disk

__all__ = ["BlockFigures", "FileSizes", "block_figures", "device_of", "disk_named", "file_sizes"]

COUNTS: Final = (
    "rd_operations",
    "rd_bytes",
    "rd_total_time_ns",
    "wr_operations",
    "wr_bytes",
    "wr_total_time_ns",
    "flush_operations",
    "flush_total_time_ns",
)
"""QEMU's words, in the order of :class:`BlockFigures`."""


class BlockFigures(NamedTuple):
    """What a guest has done to a disk: operations, bytes, nanoseconds; and the highest byte written."""

    reads: int
    read_bytes: int
    read_time: int
    writes: int
    written_bytes: int
    write_time: int
    flushes: int
    flush_time: int
    highest: int


class FileSizes(NamedTuple):
    """How long a file is, and how much of it is stored, in bytes."""

    physical: int
    allocated: int
    is_file: bool


def _count(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0


def _entries(answer: Any) -> Iterable[dict[str, Any]]:
    return (one for one in answer if isinstance(one, dict)) if isinstance(answer, list) else ()


async def block_figures(guest: Guest) -> dict[str, BlockFigures]:
    """Return what a guest has done to its disks, by their aliases; disks that QEMU does not tell of miss.

    Raises:
        VirError: QEMU does not answer.
    """
    answer = await guest.execute("query-blockstats")
    told = {one.get("qdev"): one for one in _entries(answer) if isinstance(one.get("qdev"), str)}
    found: dict[str, BlockFigures] = {}
    for disk in guest.record.live.model.devices.disks:
        one = told.get(block_id(disk)) if disk.info.alias else None
        stats = one.get("stats") if one is not None else None
        if one is None or not isinstance(stats, dict):
            continue
        parent = one.get("parent")
        below = parent.get("stats") if isinstance(parent, dict) else None
        highest = _count(below if isinstance(below, dict) else stats, "wr_highest_offset")
        counts = [*(_count(stats, name) for name in COUNTS), highest]
        found[disk.info.alias or ""] = BlockFigures(*counts)
    return found


async def device_of(guest: Guest, disk: Disk) -> dict[str, Any]:
    """Return what QEMU says of the device of a disk (``query-block``).

    Raises:
        InternalError: it knows of no such device.
    """
    wanted = block_id(disk)
    for one in _entries(await guest.execute("query-block")):
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
