"""Calls about the host, for any hypervisor that runs on it: a mixin of its ``HypervisorDriver``.

Figures and words are those of libvirt 9.0.0's QEMU driver. Much of what it says comes from helpers that all
of its drivers share, which report no domain (0); what the driver checks itself carries its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from remotevirt.drivers.domains.parameters import need_params
from remotevirt.drivers.faults import argument_error, check_flags, too_large
from remotevirt.drivers.host.aside import aside
from remotevirt.drivers.host.host import Host
from remotevirt.drivers.host.memory import WHOLE
from remotevirt.drivers.host.processor import read_clock
from remotevirt.drivers.node_arguments import (
    MAX_CELLS,
    MAX_MEMORY_PARAMS,
    MAX_STATS,
    check_cells,
    check_cpu_stats,
    check_new_pages,
    check_pages,
)
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import ArgumentUnsupported, ConfigUnsupported, InternalError, InvalidArg
from remotevirt.stubs.remote import NodeGetCpuStats, TypedParam
from remotevirt.stubs.remote.connect import (
    NodeGetCpuMapRet,
    NodeGetCpuStatsRet,
    NodeGetInfoRet,
    NodeGetMemoryParametersRet,
    NodeGetMemoryStats,
    NodeGetMemoryStatsRet,
    NodeGetSecurityModelRet,
)
from remotevirt.typed_params import allowed, check_params, to_dict, uint, ullong

__all__ = ["HostNodeCalls"]

STAT_MAXIMUM: Final = 1024 * 1024
"""Bytes of /proc/stat that are read; its lines of CPUs come first, 8192 of them fit."""

STAT_FIELDS: Final = 7
"""user, nice, system, idle, iowait, irq, softirq: what a line must have."""

TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of a unit of /proc/stat."""

MERGING: Final[tuple[tuple[str, Callable[[str, int], TypedParam]], ...]] = (
    ("pages_to_scan", uint),
    ("sleep_millisecs", uint),
    ("pages_shared", ullong),
    ("pages_sharing", ullong),
    ("pages_unshared", ullong),
    ("pages_volatile", ullong),
    ("full_scans", ullong),
    ("merge_across_nodes", uint),
)
"""The figures of same-page merging, and the type that each travels as."""

SETTABLE: Final = allowed(
    c.VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN,
    c.VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS,
    c.VIR_NODE_MEMORY_SHARED_MERGE_ACROSS_NODES,
)

SLEEPS: Final = {
    c.VIR_NODE_SUSPEND_TARGET_MEM: "Suspend-to-RAM",
    c.VIR_NODE_SUSPEND_TARGET_DISK: "Suspend-to-Disk",
    c.VIR_NODE_SUSPEND_TARGET_HYBRID: "Hybrid-Suspend",
}


class HostNodeCalls(HypervisorDriver):
    """The calls that look at the host.

    Attributes:
        host: the host; whoever mixes this in sets it.
        NAME, DOMAIN: how the driver's own functions and errors are called.
    """

    NAME: ClassVar[str] = "qemu"
    DOMAIN: ClassVar[int] = c.VIR_FROM_QEMU

    host: Host

    @aside
    def connect_get_hostname(self) -> str:
        """Return the host's name."""
        return self.host.name()

    @aside
    def connect_get_sysinfo(self, flags: int) -> str:
        """Return what the firmware says of the host."""
        check_flags(flags, 0, f"{self.NAME}ConnectGetSysinfo", self.DOMAIN)
        text = self.host.sysinfo
        if text is None:
            raise ConfigUnsupported("Host SMBIOS information is not available", domain=self.DOMAIN)
        return text

    @aside
    def node_get_info(self) -> NodeGetInfoRet:
        """Return the host's architecture and figures; memory in KiB."""
        host, topology = self.host, self.host.topology()
        return NodeGetInfoRet(
            host.arch.encode().ljust(32, b"\0"),
            host.memory.in_cells("MemTotal"),
            len(topology.online),
            read_clock(host.files),
            topology.nodes,
            topology.sockets,
            topology.cores,
            topology.threads,
        )

    @aside
    def node_get_free_memory(self) -> int:
        """Return the free memory of all cells, in bytes."""
        return self.host.memory.in_cells("MemFree") * 1024

    @aside
    def node_get_cells_free_memory(self, startCell: int, maxcells: int) -> Sequence[int]:
        """Return the free memory of some cells, in bytes."""
        check_cells(startCell, maxcells)
        cells = self._cells(startCell, maxcells)
        return [self.host.memory.figures(cell).get("MemFree", 0) * 1024 for cell in cells]

    def _cells(self, start: int, count: int) -> list[int]:
        """Return some cells; raises InternalError if there is not even the first."""
        last = self.host.topology().cells[-1].id
        if not WHOLE <= start <= last:
            raise InternalError(f"start cell {start} out of range (0-{last})")
        known = {cell.id for cell in self.host.topology().cells} | {WHOLE}
        return [cell for cell in range(start, min(last + 1, start + count)) if cell in known]

    @aside
    def node_get_cpu_stats(self, cpuNum: int, nparams: int, flags: int) -> NodeGetCpuStatsRet:
        """Return the times of a CPU or of all, in nanoseconds; with ``nparams`` 0 how many there are."""
        check_cpu_stats(cpuNum, nparams)
        check_flags(flags, 0, "virHostCPUGetStats", c.VIR_FROM_NONE)
        if nparams == 0:
            return NodeGetCpuStatsRet((), 4)
        _need_count(nparams, 4, "virHostCPUGetStatsLinux")
        user, nice, system, idle, waiting, hard, soft = self._cpu_times(cpuNum)
        times = (
            (c.VIR_NODE_CPU_STATS_KERNEL, system + hard + soft),
            (c.VIR_NODE_CPU_STATS_USER, user + nice),
            (c.VIR_NODE_CPU_STATS_IDLE, idle),
            (c.VIR_NODE_CPU_STATS_IOWAIT, waiting),
        )
        return NodeGetCpuStatsRet([NodeGetCpuStats(name, ticks * TICK) for name, ticks in times], 0)

    def _cpu_times(self, number: int) -> list[int]:
        """Return the figures of /proc/stat; raises InvalidArg if there is no such CPU."""
        label = "cpu" if number == c.VIR_NODE_CPU_STATS_ALL_CPUS else f"cpu{number}"
        for line in (self.host.files.read("/proc/stat", STAT_MAXIMUM) or "").splitlines():
            name, *words = line.split() or [""]
            times = [int(word) for word in words[:STAT_FIELDS] if word.isdecimal()]
            if name == label and len(times) == STAT_FIELDS:
                return times
        function = "virHostCPUGetStatsLinux"
        raise argument_error(function, "cpuNum", f"Invalid cpuNum in {function}", c.VIR_FROM_NONE)

    @aside
    def node_get_memory_stats(self, nparams: int, cellNum: int, flags: int) -> NodeGetMemoryStatsRet:
        """Return figures of a cell or of all, in KiB; with ``nparams`` 0 how many there are."""
        too_large(nparams, MAX_STATS, "nparams")
        function = "virHostMemGetStats"
        if cellNum < WHOLE:
            public = "virNodeGetMemoryStats"
            text = f"cellNum in {public} only accepts -1 as a negative value"
            raise argument_error(public, "cpuNum", text)
        check_flags(flags, 0, function, c.VIR_FROM_NONE)
        names = [(c.VIR_NODE_MEMORY_STATS_TOTAL, "MemTotal"), (c.VIR_NODE_MEMORY_STATS_FREE, "MemFree")]
        if cellNum == WHOLE:
            names.append((c.VIR_NODE_MEMORY_STATS_BUFFERS, "Buffers"))
            names.append((c.VIR_NODE_MEMORY_STATS_CACHED, "Cached"))
        elif cellNum > (last := self.host.topology().cells[-1].id):
            text = f"cellNum in {function} must be less than or equal to {last}"
            raise argument_error(function, "cellNum", text, c.VIR_FROM_NONE)
        if nparams == 0:
            return NodeGetMemoryStatsRet((), len(names))
        _need_count(nparams, len(names), "virHostMemGetStatsLinux")
        figures = self.host.memory.figures(cellNum)
        return NodeGetMemoryStatsRet(
            [NodeGetMemoryStats(name, figures.get(key, 0)) for name, key in names], 0
        )

    @aside
    def node_get_cpu_map(self, need_map: int, need_online: int, flags: int) -> NodeGetCpuMapRet:
        """Return which CPUs are on, a bit each, how many they are, and how many the host has."""
        check_flags(flags, 0, "virHostCPUGetMap", c.VIR_FROM_NONE)
        topology = self.host.topology()
        bits = sum(1 << number for number in topology.online)
        size = (bits.bit_length() + 7) // 8
        cpumap = bits.to_bytes(size, "little") if need_map else b""
        return NodeGetCpuMapRet(cpumap, len(topology.online) if need_online else 0, topology.count)

    @aside
    def node_get_free_pages(
        self, pages: Sequence[int], startCell: int, cellCount: int, flags: int
    ) -> Sequence[int]:
        """Return how many pages of some sizes are free, for each of some cells."""
        check_pages(pages, cellCount)
        check_flags(flags, 0, f"{self.NAME}NodeGetFreePages", self.DOMAIN)
        cells = self._cells(startCell, cellCount)
        return [self.host.memory.pages(size, cell)[1] for cell in cells for size in pages]

    @aside
    def node_alloc_pages(
        self,
        pageSizes: Sequence[int],
        pageCounts: Sequence[int],
        startCell: int,
        cellCount: int,
        flags: int,
    ) -> int:
        """Change how many huge pages some cells have.

        Returns:
            How many pools were set.

        Raises:
            VirError: one could not be; those before it are.
        """
        check_new_pages(pageSizes, pageCounts, cellCount)
        if len(pageSizes) * cellCount > MAX_CELLS or len(pageSizes) != len(pageCounts):
            raise InternalError("the request is too large", domain=c.VIR_FROM_RPC)
        check_flags(flags, c.VIR_NODE_ALLOC_PAGES_SET, f"{self.NAME}NodeAllocPages", self.DOMAIN)
        add = not flags & c.VIR_NODE_ALLOC_PAGES_SET
        pools = [
            (size, count, cell)
            for cell in self._cells(startCell, cellCount)
            for size, count in zip(pageSizes, pageCounts, strict=True)
        ]
        for size, count, cell in pools:
            self.host.memory.set_pages(size, count, cell, add=add)
        return len(pools)

    @aside
    def node_get_memory_parameters(self, nparams: int, flags: int) -> NodeGetMemoryParametersRet:
        """Return the figures of same-page merging; with ``nparams`` 0 how many there are."""
        too_large(nparams, MAX_MEMORY_PARAMS, "nparams")
        # All of them are numbers, so that it does not matter whether the client understands texts.
        known = c.VIR_TYPED_PARAM_STRING_OKAY
        check_flags(flags, known, "virHostMemGetParameters", c.VIR_FROM_NONE)
        if nparams == 0:
            return NodeGetMemoryParametersRet((), len(MERGING))
        found = [(name, made, self.host.memory.merging(name)) for name, made in MERGING]
        params = [made(f"shm_{name}", value) for name, made, value in found if value is not None]
        return NodeGetMemoryParametersRet(params[:nparams], 0)

    @aside
    def node_set_memory_parameters(self, params: Sequence[TypedParam], flags: int) -> None:
        """Change settings of same-page merging."""
        need_params(params, "virNodeSetMemoryParameters")
        check_flags(flags, 0, "virHostMemSetParameters", c.VIR_FROM_NONE)
        check_params(params, SETTABLE)
        values = to_dict(params)
        names = [name for name, _ in MERGING if f"shm_{name}" in values]
        self.host.memory.set_merging([(name, int(values[f"shm_{name}"])) for name in names])

    def node_get_security_model(self) -> NodeGetSecurityModelRet:
        """Return that guests are not confined beyond their user; both texts end in a zero byte."""
        return NodeGetSecurityModelRet(b"none\0", b"0\0")

    def node_suspend_for_duration(self, target: int, duration: int, flags: int) -> None:
        """Refuse, as libvirt does on a host that cannot sleep: a host of guests is not for us to stop.

        Raises:
            ArgumentUnsupported: there is such a way to sleep.
            InvalidArg: there is not.
        """
        check_flags(flags, 0, "virNodeSuspend", c.VIR_FROM_NONE)
        if target not in SLEEPS:
            raise InvalidArg("Invalid suspend target")
        raise ArgumentUnsupported(SLEEPS[target])


def _need_count(nparams: int, needed: int, function: str) -> None:
    """Refuse an array that is not as long as what goes into it."""
    if nparams != needed:
        text = f"nparams in {function} must be equal to {needed}"
        raise argument_error(function, "nparams", text, c.VIR_FROM_NONE)
