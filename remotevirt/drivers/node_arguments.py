"""What calls about the host take, whatever driver has them: checked as the daemon and the public API do.

The daemon bounds how large an answer may get, the public API refuses what makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.faults import argument_error, argument_must, check_count, too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError

__all__ = [
    "MAX_CELLS",
    "MAX_MEMORY_PARAMS",
    "MAX_STATS",
    "check_cells",
    "check_cpu_stats",
    "check_new_pages",
    "check_pages",
]

MAX_CELLS: Final = 1024
"""REMOTE_NODE_MAX_CELLS."""

MAX_STATS: Final = 16
"""REMOTE_NODE_CPU_STATS_MAX and REMOTE_NODE_MEMORY_STATS_MAX."""

MAX_MEMORY_PARAMS: Final = 64
"""REMOTE_NODE_MEMORY_PARAMETERS_MAX."""


def check_cells(start: int, count: int) -> None:
    """Check a range of cells whose memory is asked for.

    Raises:
        InvalidArg: it is empty, or starts before the first cell.
        Rpc: there are more than :data:`MAX_CELLS`.
    """
    check_count(count, MAX_CELLS, "maxcells", "REMOTE_NODE_MAX_CELLS")
    function = "virNodeGetCellsFreeMemory"
    if count == 0:
        raise argument_must(function, "maxCells", "be greater than zero")
    if start < 0:
        raise argument_must(function, "startCell", "be zero or greater")


def check_cpu_stats(cpu: int, nparams: int) -> None:
    """Check whose times are asked for, and how many figures.

    Raises:
        InternalError: there are more than :data:`MAX_STATS`.
        InvalidArg: the CPU's number is negative, and not the one that means all.
    """
    too_large(nparams, MAX_STATS, "nparams")
    if cpu < c.VIR_NODE_CPU_STATS_ALL_CPUS:
        function = "virNodeGetCPUStats"
        text = f"cpuNum in {function} only accepts -1 as a negative value"
        raise argument_error(function, "cpuNum", text)


def check_pages(sizes: Sequence[int], cells: int) -> None:
    """Check of which pages, and of how many cells, it is asked how many are free.

    Raises:
        InternalError: the answer would have more than :data:`MAX_CELLS` numbers.
        InvalidArg: it would have none.
    """
    if len(sizes) * cells > MAX_CELLS:
        text = "the result won't fit into REMOTE_NODE_MAX_CELLS"
        raise InternalError(text, domain=c.VIR_FROM_RPC)
    function = "virNodeGetFreePages"
    _not_zero(function, "npages", len(sizes))
    _not_zero(function, "cellCount", cells)


def check_new_pages(sizes: Sequence[int], counts: Sequence[int], cells: int) -> None:
    """Check which pages, and how many, some cells shall have; raises InvalidArg if it is nothing."""
    function = "virNodeAllocPages"
    _not_zero(function, "npages", len(sizes))
    if not counts:
        raise argument_must(function, "pageCounts", "not be NULL")
    _not_zero(function, "cellCount", cells)


def _not_zero(function: str, name: str, count: int) -> None:
    if count == 0:
        raise argument_must(function, name, "not be zero")
