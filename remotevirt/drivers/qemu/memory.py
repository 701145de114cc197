"""A guest's memory: how much of it the guest gives back through its balloon, and what the guest says of it.

What is asked of the balloon is done by the guest, in its own time or not at all. So the live definition
follows what the balloon tells (``BALLOON_CHANGE``), and not what it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, LIVE
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.memory import MAXIMUM, MemorySizeCalls
from remotevirt.drivers.domains.memory_tuning import HARD, SOFT, SWAP, UNLIMITED, MemoryTuningCalls
from remotevirt.drivers.faults import argument_must
from remotevirt.drivers.qemu.calls import to_the_end
from remotevirt.drivers.qemu.cgroups import CgroupCalls
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.monitor import qmp_class
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationInvalid, Rpc
from remotevirt.stubs.remote import DomainMemoryStat, NonnullDomain, TypedParam

__all__ = ["QemuMemoryCalls", "balloon_path", "memory_stats"]

MAX_STATS: Final = 1024
"""REMOTE_DOMAIN_MEMORY_STATS_MAX."""

UNKNOWN: Final = 2**64 - 1
"""What the balloon says of a figure that the guest does not tell."""

FIGURES: Final = (
    (c.VIR_DOMAIN_MEMORY_STAT_SWAP_IN, "stat-swap-in", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, "stat-swap-out", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, "stat-major-faults", 1),
    (c.VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, "stat-minor-faults", 1),
    (c.VIR_DOMAIN_MEMORY_STAT_UNUSED, "stat-free-memory", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_AVAILABLE, "stat-total-memory", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_USABLE, "stat-available-memory", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, "", 1),
    (c.VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, "stat-disk-caches", 1024),
    (c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC, "stat-htlb-pgalloc", 1),
    (c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL, "stat-htlb-pgfail", 1),
)
"""Figures in libvirt's order: what they are called by QEMU, and how many of QEMU's make one of libvirt's."""


def balloon_path(definition: Definition) -> str:
    """Return where QEMU has the balloon of a running guest."""
    balloon = definition.model.devices.memballoon
    return f"/machine/peripheral/{balloon.info.alias if balloon else ''}"


async def memory_stats(guest: Guest) -> list[tuple[int, int]]:
    """Return what is known of a guest's memory: numbers of virDomainMemoryStatTags, and values.

    Raises:
        VirError: QEMU does not answer.
    """
    live = guest.record.live
    found: list[tuple[int, int]] = []
    if live.has_balloon:
        actual = await _actual(guest)
        if actual is not None:
            found.append((c.VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, actual))
        found += await _told(guest)
    figures = None if guest.process is None else task_figures(guest.process.pid)
    if figures is not None:
        found.append((c.VIR_DOMAIN_MEMORY_STAT_RSS, figures.rss))
    return found


async def _actual(guest: Guest) -> int | None:
    """Return what the guest has, in KiB; None where its balloon does not work."""
    try:
        answer = await guest.execute("query-balloon")
    except VirError as error:
        if qmp_class(error) is None:
            raise
        return None
    actual = answer.get("actual") if isinstance(answer, Mapping) else None
    return actual // 1024 if type(actual) is int and 0 <= actual < 2**63 else None


async def _told(guest: Guest) -> list[tuple[int, int]]:
    """Return what the guest has told its balloon."""
    order = {"path": balloon_path(guest.record.live), "property": "guest-stats"}
    try:
        answer = await guest.execute("qom-get", order)
    except VirError as error:
        if qmp_class(error) is None:
            raise
        return []
    stats = answer.get("stats") if isinstance(answer, Mapping) else None
    if not isinstance(stats, Mapping):
        return []
    found = []
    for tag, name, unit in FIGURES:
        value = stats.get(name) if name else answer.get("last-update")
        if type(value) is int and 0 <= value < UNKNOWN:
            found.append((tag, value // unit))
    return found


class QemuMemoryCalls(CgroupCalls, MemorySizeCalls, MemoryTuningCalls):
    """Memory, in KiB."""

    async def domain_set_max_memory(self, dom: NonnullDomain, memory: int) -> None:
        """Change the most that an inactive domain can have."""
        self.check_memory(memory, "virDomainSetMaxMemory")
        await self._resize(dom, memory, MAXIMUM)

    async def domain_set_memory(self, dom: NonnullDomain, memory: int) -> None:
        """Ask the guest to give memory back, or let it have it again."""
        self.check_memory(memory, "virDomainSetMemory")
        await self._resize(dom, memory, LIVE)

    async def domain_set_memory_flags(self, dom: NonnullDomain, memory: int, flags: int) -> None:
        """Change what a domain has, or with VIR_DOMAIN_MEM_MAXIMUM can have, now, later or both."""
        self.check_memory(memory, "virDomainSetMemoryFlags")
        await self._resize(dom, memory, flags)

    @to_the_end
    async def _resize(self, dom: NonnullDomain, memory: int, flags: int) -> None:
        self.check_flags(flags, IMPACT | MAXIMUM, "DomainSetMemoryFlags")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetMemoryFlags"):
            live, config = self.definitions(record, flags)
            self._check_change(live, config, memory, flags)
            if live is not None:
                await _inflate(self.guest(record), memory)
                _, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                if config is None:
                    return
                self.world.touch(record)
                if flags & MAXIMUM:
                    config.max_memory = memory
                    config.memory = min(config.memory, memory)
                else:
                    config.memory = memory
                record.refresh()

            self.world.commit(change)

    def _check_change(
        self, live: Definition | None, config: Definition | None, memory: int, flags: int
    ) -> None:
        """Refuse what cannot be."""
        meant = [one for one in (live, config) if one is not None]
        if flags & MAXIMUM:
            if live is not None:
                text = "cannot resize the maximum memory on an active domain"
                raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
            cpu = meant[0].model.cpu
            if cpu is not None and cpu.numa is not None and cpu.numa.cells:
                text = "initial memory size of a domain with NUMA nodes cannot be modified with this API"
                raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        elif any(memory > one.max_memory for one in meant):
            raise InvalidArg("cannot set memory higher than max memory", domain=c.VIR_FROM_QEMU)

    @to_the_end
    async def domain_set_memory_stats_period(self, dom: NonnullDomain, period: int, flags: int) -> None:
        """Change how often, in seconds, the guest tells of its memory; 0 is never."""
        if period < 0:
            function = "virDomainSetMemoryStatsPeriod"
            raise argument_must(function, "period", "be zero or greater")
        self.check_flags(flags, IMPACT, "DomainSetMemoryStatsPeriod")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetMemoryStatsPeriod"):
            chosen = self.definitions(record, flags)
            if any(one is not None and not one.has_balloon for one in chosen):
                text = "Memory balloon model must be virtio to set the collection period"
                raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
            if chosen[0] is not None:
                path = balloon_path(record.live)
                order = {"path": path, "property": "guest-stats-polling-interval", "value": period}
                await self.guest(record).execute("qom-set", order)

            def change() -> None:
                self.world.touch(record)
                for one in self.definitions(self.record(dom), flags):
                    if one is not None:
                        one.balloon_period = period

            self.world.commit(change)

    async def domain_memory_stats(
        self, dom: NonnullDomain, maxStats: int, flags: int
    ) -> Sequence[DomainMemoryStat]:
        """Return at most ``maxStats`` figures: sizes in KiB, numbers of faults, the time of the last ones."""
        if maxStats > MAX_STATS:
            raise Rpc("maxStats > REMOTE_DOMAIN_MEMORY_STATS_MAX", domain=c.VIR_FROM_RPC)
        self.check_flags(flags, 0, "DomainMemoryStats")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainMemoryStats"):
            found = await memory_stats(self.guest(record))
        return [DomainMemoryStat(tag, value) for tag, value in found[:maxStats]]

    def memory_limit(self, record: DomainRecord, flags: int, name: str) -> int:
        """Return a limit: of a running guest, the one that the kernel holds it to."""
        assert isinstance(record, QemuRecord)
        group = self.live_group(record, flags, "memory")
        return super().memory_limit(record, flags, name) if group is None else group.memory_limit(name)

    @to_the_end
    async def domain_set_memory_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change limits, now, later or both."""
        wanted = self.wanted_limits(params, flags)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetMemoryParameters"):
            group = self.live_group(record, flags, "memory")
            self.check_swap(record, wanted)
            if group is not None:
                for name in _in_order(record.live, wanted):
                    await self.tell_kernel(record, partial(group.set_memory_limit, name, wanted[name]))
                    self.world.commit(self.keep_limits, record, record.live, {name: wanted[name]})
            _, config = self.definitions(record, flags)
            self.world.commit(self.keep_limits, record, config, wanted)


def _in_order(live: Definition, wanted: Mapping[str, int]) -> list[str]:
    """Return the limits in an order that the kernel takes: the hard one is never above the one with swap."""
    tune = live.model.memtune
    now = None if tune is None else tune.hard_limit
    lower = HARD in wanted and wanted[HARD] < (UNLIMITED if now is None else now)
    return [name for name in ((SOFT, HARD, SWAP) if lower else (SOFT, SWAP, HARD)) if name in wanted]


async def _inflate(guest: Guest, memory: int) -> None:
    """Ask a guest to have so much memory.

    Raises:
        OperationInvalid: it has no balloon.
    """
    try:
        await guest.execute("balloon", {"value": memory * 1024})
    except VirError as error:
        if qmp_class(error) not in ("DeviceNotActive", "KVMMissingCap"):
            raise
        text = (
            "Unable to change memory of active domain without the balloon device and guest OS balloon driver"
        )
        raise OperationInvalid(text, domain=c.VIR_FROM_QEMU) from error
