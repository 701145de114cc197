"""The host's memory: how much there is and is free, pools of pages of each size, same-page merging.

::

    /proc/meminfo                                             MemTotal:  24684096 kB
    /sys/devices/system/node/node0/meminfo                    Node 0 MemTotal:  8480984 kB
    /sys/devices/system/node/node0/hugepages/hugepages-2048kB/{nr,free}_hugepages
    /sys/kernel/mm/hugepages/hugepages-2048kB/                the same, of the whole host
    /sys/kernel/mm/ksm/
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.host.files import Files
from remotevirt.drivers.host.topology import NODES
from remotevirt.stubs.errors import OperationFailed, OperationUnsupported, VirSystemError

__all__ = ["WHOLE", "Memory"]

WHOLE: Final = -1
"""The cell that stands for the whole host."""

KSM: Final = "/sys/kernel/mm/ksm"
POOLS: Final = "/sys/kernel/mm/hugepages"

_LINE: Final = re.compile(r"^(?:Node \d+ )?(\w+):\s+(\d{1,18}) kB$", re.MULTILINE)
_POOL: Final = re.compile(r"hugepages-(\d{1,9})kB")


class Memory:
    """Reads the figures; sizes are in KiB."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.page_size = os.sysconf("SC_PAGE_SIZE") // 1024

    def _place(self, cell: int) -> int:
        """Return whose files tell of a cell: the host's, where the kernel knows of no cells."""
        return WHOLE if cell == 0 and not self.files.exists(f"{NODES}/node0") else cell

    def _pools(self, cell: int) -> str:
        """Return where the pools of a cell are."""
        place = self._place(cell)
        return POOLS if place == WHOLE else f"{NODES}/node{place}/hugepages"

    def figures(self, cell: int = WHOLE) -> dict[str, int]:
        """Return what the kernel says of a cell, or of the host: ``MemTotal``, ``MemFree``, ..."""
        place = self._place(cell)
        name = "/proc/meminfo" if place == WHOLE else f"{NODES}/node{place}/meminfo"
        return {key: int(value) for key, value in _LINE.findall(self.files.read(name) or "")}

    def in_cells(self, name: str, cell: int = WHOLE) -> int:
        """Return a figure of a cell, or of the host: then it is the sum of the cells', if there are any.

        libvirt counts so, and it makes a difference: memory that was added to a running host need not be in
        a cell.
        """
        cells = self.files.numbers(f"{NODES}/online") if cell == WHOLE else []
        return sum(self.figures(one).get(name, 0) for one in cells or [cell])

    def huge_sizes(self) -> list[int]:
        """Return the sizes of huge pages, in order."""
        matches = map(_POOL.fullmatch, self.files.names(POOLS))
        return sorted(int(match[1]) for match in matches if match)

    def page_sizes(self) -> list[int]:
        """Return the sizes of all pages, in order."""
        return [self.page_size, *self.huge_sizes()]

    def _pool(self, size: int, cell: int) -> str:
        """Return where the pool of a size is; raises OperationFailed if there is none."""
        place = f"{self._pools(cell)}/hugepages-{size}kB"
        if not self.files.exists(place):
            on_node = "" if cell == WHOLE else f" on node {cell}"
            raise OperationFailed(f"page size {size} is not available{on_node}")
        return place

    def pages(self, size: int, cell: int = WHOLE) -> tuple[int, int]:
        """Return how many pages of a size there are, and how many of them are free.

        Raises:
            OperationFailed: there are no pages of that size.
        """
        if size != self.page_size:
            place = self._pool(size, cell)
            numbers = [self.files.number(f"{place}/{name}_hugepages") or 0 for name in ("nr", "free")]
            return numbers[0], numbers[1]
        pools = self._pools(cell)
        taken = sum(
            huge * (self.files.number(f"{pools}/hugepages-{huge}kB/nr_hugepages") or 0)
            for huge in self.huge_sizes()
        )
        total = max(self.in_cells("MemTotal", cell) - taken, 0)
        return total // size, self.in_cells("MemFree", cell) // size

    def set_pages(self, size: int, count: int, cell: int, *, add: bool) -> None:
        """Change how many huge pages of a size there are.

        Args:
            size: of the pages.
            count: how many there are to be, or with ``add`` how many more.
            cell: where, or WHOLE for wherever there is room.

        Raises:
            OperationUnsupported: ordinary pages are no pool.
            OperationFailed: there are no pages of that size, or not so much memory.
            VirSystemError: the kernel refuses it.
        """
        if size == self.page_size:
            raise OperationUnsupported("system pages pool can't be modified")
        place = f"{self._pool(size, cell)}/nr_hugepages"
        before = self.files.number(place) or 0
        wanted = before + count if add else count
        if wanted == before:
            return
        self._write(place, wanted, f"unable to write to {place}")
        now = self.files.number(place) or 0
        if now != wanted:
            raise OperationFailed(f"Unable to allocate {count} pages. Allocated only {now}")

    def merging(self, name: str) -> int | None:
        """Return a figure of same-page merging; None if the kernel does not have it."""
        return self.files.number(f"{KSM}/{name}")

    def set_merging(self, values: Sequence[tuple[str, int]]) -> None:
        """Change settings of same-page merging; raises VirSystemError."""
        for name, value in values:
            self._write(f"{KSM}/{name}", value, f"failed to set shm_{name}")

    def _write(self, name: str, value: int, what: str) -> None:
        try:
            with open(self.files.path(name), "w", encoding="ascii") as file:
                file.write(str(value))
        except OSError as error:
            text = f"{what}: {error.strerror}"
            raise VirSystemError(message=text, str1="%s", str2=text, int1=error.errno or 0) from error
