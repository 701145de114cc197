"""What QEMU counts of its disks and images: requests, bytes, times, sizes.

QEMU tells of every device (by its id, such as ``virtio-disk0``) what the guest has asked of it, and of every
node of the block graph (``libvirt-1-format``) how large it is; both are found here under these names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.guest import Guest

__all__ = ["MAX_NODES", "BlockFigures", "block_figures", "read_figures"]

MAX_NODES: Final = 4096
"""Nodes and devices that are taken of an answer: 200 images above each other on 10 disks, two nodes each."""

_PERIPHERAL: Final = "/machine/peripheral/"


def _count(value: Any) -> int:
    """Return a number of QEMU's, 0 for what is none."""
    return value if type(value) is int and 0 <= value < 2**63 else 0


@attrs.frozen
class BlockFigures:
    """A device, or a node.

    Attributes:
        reads, writes, flushes: requests of the guest that were carried out.
        read_bytes, written_bytes: what they moved.
        read_time, write_time, flush_time: what they took together, in nanoseconds.
        failed: requests of the guest that were not carried out.
        highest_write: bytes from the beginning of the file to the end of what was written last on.
        capacity: bytes that the guest sees, 0 if that is unknown.
        physical: bytes that the file takes, 0 if that is unknown.
        threshold: bytes at which a write is told of, 0 for none.
    """

    reads: int = 0
    read_bytes: int = 0
    read_time: int = 0
    writes: int = 0
    written_bytes: int = 0
    write_time: int = 0
    flushes: int = 0
    flush_time: int = 0
    failed: int = 0
    highest_write: int = 0
    capacity: int = 0
    physical: int = 0
    threshold: int = 0


async def block_figures(guest: Guest) -> dict[str, BlockFigures]:
    """Ask a guest's QEMU for its figures; the turn is not needed.

    Returns:
        By the alias of the disk, and by the name of the node.

    Raises:
        VirError: QEMU does not answer.
    """
    devices = await guest.execute("query-blockstats")
    nodes = await guest.execute("query-named-block-nodes", {"flat": True})
    return read_figures(devices, nodes)


def read_figures(devices: Any, nodes: Any) -> dict[str, BlockFigures]:
    """Return what the answers of ``query-blockstats`` and ``query-named-block-nodes`` say.

    What is no such answer, or more than ``MAX_NODES``, is left out.
    """
    sizes = dict(_sizes(nodes))
    highest: dict[str, int] = {}
    found: dict[str, BlockFigures] = {}
    for device in _objects(devices):
        node = device.get("node-name")
        for name, mark in _marks(device):
            highest[name] = mark
        figures = _of_device(device, sizes.get(node) if isinstance(node, str) else None)
        alias = _alias(device)
        if alias:
            found[alias] = figures
        if isinstance(node, str) and node:
            found[node] = figures
    for name, (capacity, physical, threshold) in sizes.items():
        if name not in found:
            found[name] = BlockFigures(
                highest_write=highest.get(name, 0),
                capacity=capacity,
                physical=physical,
                threshold=threshold,
            )
    return found


def _objects(answer: Any) -> Iterable[Mapping[str, Any]]:
    return [one for one in answer[:MAX_NODES] if isinstance(one, Mapping)] if isinstance(answer, list) else ()


def _sizes(nodes: Any) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield of each node its name, capacity, physical size and threshold."""
    for node in _objects(nodes):
        name, image = node.get("node-name"), node.get("image")
        if not isinstance(name, str) or not isinstance(image, Mapping):
            continue
        capacity = _count(image.get("virtual-size"))
        # an image without a size of its own is not thin
        physical = _count(image["actual-size"]) if "actual-size" in image else capacity
        yield name, (capacity, physical, _count(node.get("write_threshold")))


def _marks(device: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the names of a device's node and of those below, and how far each was written."""
    node: Any = device
    for _ in range(MAX_NODES):
        if not isinstance(node, Mapping):
            return
        name, stats = node.get("node-name"), node.get("stats")
        if isinstance(name, str) and isinstance(stats, Mapping):
            yield name, _count(stats.get("wr_highest_offset"))
        node = node.get("backing")


def _alias(device: Mapping[str, Any]) -> str:
    """Return the id of a device; virtio's are paths with a part of the device at the end."""
    path = device.get("qdev")
    if not isinstance(path, str):
        return ""
    return path.removeprefix(_PERIPHERAL).partition("/")[0]


def _of_device(device: Mapping[str, Any], size: tuple[int, int, int] | None) -> BlockFigures:
    stats = device.get("stats")
    if not isinstance(stats, Mapping):
        stats = {}
    capacity, physical, threshold = size or (0, 0, 0)
    failed = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations")
    return BlockFigures(
        reads=_count(stats.get("rd_operations")),
        read_bytes=_count(stats.get("rd_bytes")),
        read_time=_count(stats.get("rd_total_time_ns")),
        writes=_count(stats.get("wr_operations")),
        written_bytes=_count(stats.get("wr_bytes")),
        write_time=_count(stats.get("wr_total_time_ns")),
        flushes=_count(stats.get("flush_operations")),
        flush_time=_count(stats.get("flush_total_time_ns")),
        failed=sum(_count(stats.get(name)) for name in failed),
        highest_write=_count(stats.get("wr_highest_offset")),
        capacity=capacity,
        physical=physical,
        threshold=threshold,
    )
