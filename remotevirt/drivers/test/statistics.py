"""Statistics: of CPUs, memory, disks and interfaces, and those of many domains at once.

The figures are libvirt's inventions: constants, or the host's clock divided by something.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.filters import GROUPS, groups_of, matches
from remotevirt.drivers.faults import argument_error, argument_must, check_flags, too_large
from remotevirt.drivers.test.info import GUEST_TIME
from remotevirt.drivers.test.iothreads import iothread_params
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InternalError, InvalidArg, OperationUnsupported
from remotevirt.stubs.remote import (
    DomainDiskError,
    DomainMemoryStat,
    DomainStatsRecord,
    NonnullDomain,
    TypedParam,
)
from remotevirt.stubs.remote.domain import (
    DomainBlockStatsRet,
    DomainGetBlockInfoRet,
    DomainGetCpuStatsRet,
    DomainGetDiskErrorsRet,
    DomainInterfaceStatsRet,
)
from remotevirt.typed_params import int_, ullong

__all__ = ["StatisticsCalls"]

TOTAL_CPU_TIME: Final = 48772617035
TOTAL_VCPU_TIME: Final = 46303481255
TOTAL_USER_TIME: Final = 5540000000
TOTAL_SYSTEM_TIME: Final = 6460000000
"""Of every domain, in nanoseconds."""

MAX_CPUS: Final = 128
"""REMOTE_DOMAIN_GET_CPU_STATS_NCPUS_MAX."""

MAX_CPU_PARAMS: Final = 16
"""REMOTE_NODE_CPU_STATS_MAX, which the daemon uses here too."""

MAX_MEMORY_STATS: Final = 1024
"""REMOTE_DOMAIN_MEMORY_STATS_MAX."""

MAX_DISK_ERRORS: Final = 256
"""REMOTE_DOMAIN_DISK_ERRORS_MAX."""

BULK_FILTERS: Final[int] = GROUPS[0] | GROUPS[1] | GROUPS[2]
"""The list filters that the bulk statistics know: by activity, persistence and state."""

ENFORCE: Final[int] = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
BULK_FLAGS: Final[int] = (
    BULK_FILTERS
    | ENFORCE
    | c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    | c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
)


def state_params(record: DomainRecord) -> Iterable[TypedParam]:
    """Return the parameters of the group "state"."""
    return _state_figures(record.state, record.reason)


BULK: Final[dict[int, Callable[[DomainRecord], Iterable[TypedParam]]]] = {
    c.VIR_DOMAIN_STATS_STATE: state_params,
    c.VIR_DOMAIN_STATS_IOTHREAD: iothread_params,
}
"""The groups of bulk statistics that there are."""

BULK_GROUPS: Final = sum(BULK)


class Figures(tuple[TypedParam, ...]):
    """Parameters that many domains share, with their encoding."""

    wire: bytes

    @classmethod
    def of(cls, params: Iterable[TypedParam]) -> Figures:
        """Return parameters with their encoding."""
        figures = cls(params)
        figures.wire = len(figures).to_bytes(4, "big") + b"".join([param.pack() for param in figures])
        return figures


class SharedStats(DomainStatsRecord):
    """A domain's statistics, where they are :class:`Figures`: of thousands of domains at once."""

    params: Figures

    def pack(self) -> bytes:
        """Return the encoding."""
        return self.dom.pack() + self.params.wire


@lru_cache(maxsize=64)
def _state_figures(state: int, reason: int) -> Figures:
    """Return the group "state", which says the same of most domains."""
    return Figures.of((int_("state.state", state), int_("state.reason", reason)))


NO_FIGURES: Final = Figures.of(())

_new = tuple.__new__
"""Makes a NamedTuple without the detour over its own ``__new__``."""


class StatisticsCalls(DomainCalls):
    """Calls that return statistics."""

    def connect_get_all_domain_stats(
        self, doms: Sequence[NonnullDomain], stats: int, flags: int
    ) -> Sequence[DomainStatsRecord]:
        """Return statistics of the given domains, of all if none is given.

        Args:
            doms: those that are gone are left out.
            stats: groups; 0 means all that there are.
            flags: list filters; VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS makes groups that there
                are not an error.
        """
        check_flags(flags, BULK_FLAGS, "testConnectGetAllDomainStats")
        if flags & ENFORCE and stats & ~BULK_GROUPS:
            text = f"Stats types bits {stats & ~BULK_GROUPS:#x} are not supported by this daemon"
            raise ArgumentUnsupported(text, domain=c.VIR_FROM_TEST)
        stats = stats or BULK_GROUPS
        wanted = [make for group, make in BULK.items() if stats & group]
        groups = groups_of(flags & BULK_FILTERS)
        if doms:
            found = (self.domains.get(dom.uuid) for dom in doms)
            records: Iterable[DomainRecord] = [record for record in found if record is not None]
        else:
            records = self.domains.values()
        if groups:
            records = [record for record in records if matches(record.facts, groups)]
        told = bool(stats & c.VIR_DOMAIN_STATS_STATE)
        threads = bool(stats & c.VIR_DOMAIN_STATS_IOTHREAD)
        return [
            DomainStatsRecord(record.ref, [param for make in wanted for param in make(record)])
            if threads and record.polling
            else _new(
                SharedStats, (record.ref, _state_figures(record.state, record.reason) if told else NO_FIGURES)
            )
            for record in records
        ]

    def domain_get_cpu_stats(
        self, dom: NonnullDomain, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> DomainGetCpuStatsRet:
        """Return CPU times of a domain, in total (``start_cpu`` -1) or for each of some host CPUs.

        With ``nparams`` 0 only a number: of parameters, or with ``ncpus`` 0 too, of CPUs.
        """
        too_large(nparams, MAX_CPU_PARAMS, "nparams")
        too_large(ncpus, MAX_CPUS, "ncpus")
        function = "virDomainGetCPUStats"
        if start_cpu < -1:
            raise argument_must(function, "start_cpu", "be zero or greater")
        if start_cpu == -1 and ncpus != 1:
            raise argument_error(function, "start_cpu", "ncpus must be 1 when start_cpu is -1")
        if bool(nparams) != bool(ncpus) and nparams:
            raise argument_must(function, "params", "not be NULL")
        check_flags(flags, c.VIR_TYPED_PARAM_STRING_OKAY, "testDomainGetCPUStats")
        self.active(dom)
        if start_cpu == -1:
            return _total_cpu_stats(nparams)
        return _cpu_stats(nparams, start_cpu, ncpus, os.cpu_count() or 1)

    def domain_memory_stats(
        self, dom: NonnullDomain, maxStats: int, flags: int
    ) -> Sequence[DomainMemoryStat]:
        """Return at most ``maxStats`` figures, in KiB; none of a domain without a balloon."""
        if maxStats > MAX_MEMORY_STATS:
            text = "maxStats > REMOTE_DOMAIN_MEMORY_STATS_MAX"
            raise InternalError(text, domain=c.VIR_FROM_RPC)
        if maxStats == 0:
            return ()
        check_flags(flags, 0, "testDomainMemoryStats")
        record = self.active(dom)
        if not record.live.has_balloon:
            return ()
        memory = record.memory
        half = memory // 2
        return [
            DomainMemoryStat(tag, value)
            for tag, value in (
                (c.VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, memory),
                (c.VIR_DOMAIN_MEMORY_STAT_SWAP_IN, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_UNUSED, half),
                (c.VIR_DOMAIN_MEMORY_STAT_AVAILABLE, memory),
                (c.VIR_DOMAIN_MEMORY_STAT_USABLE, half),
                (c.VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, GUEST_TIME[0]),
                (c.VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, memory // 8),
                (c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL, 0),
                (c.VIR_DOMAIN_MEMORY_STAT_RSS, half),
            )[:maxStats]
        ]

    def domain_block_stats(self, dom: NonnullDomain, path: str) -> DomainBlockStatsRet:
        """Return figures of a disk, found by its target or its source."""
        if not path:
            text = "summary statistics are not supported yet"
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
        record = self.active(dom)
        if record.live.disk(path) is None:
            raise InvalidArg(f"invalid path: {path}", domain=c.VIR_FROM_TEST)
        micros = self.world.now() // 1000
        return DomainBlockStatsRet(
            rd_req=micros // 10,
            rd_bytes=micros // 20,
            wr_req=micros // 30,
            wr_bytes=micros // 40,
            errs=micros // 1000000 // 2,
        )

    def domain_get_block_info(self, dom: NonnullDomain, path: str, flags: int) -> DomainGetBlockInfoRet:
        """Return the sizes of a disk, in bytes: the same for all."""
        if not path:
            function = "virDomainGetBlockInfo"
            raise argument_error(function, "disk", f"string disk in {function} must not be empty")
        check_flags(flags, 0, "testDomainGetBlockInfo")
        disk = self.record(dom).live.disk(path)
        if disk is None:
            raise InvalidArg(f"invalid path {path} not assigned to domain", domain=c.VIR_FROM_TEST)
        if disk.source_is_empty():
            text = f"disk '{path}' does not currently have a source assigned"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        return DomainGetBlockInfoRet(allocation=1099511627776, capacity=1099506450432, physical=1099511627776)

    def domain_interface_stats(self, dom: NonnullDomain, device: str) -> DomainInterfaceStatsRet:
        """Return figures of an interface, found by its target or its MAC address."""
        record = self.active(dom)
        if record.live.interface(device) is None:
            raise InvalidArg(f"'{device}' is not a known interface", domain=c.VIR_FROM_DOMAIN)
        micros = self.world.now() // 1000
        seconds = micros // 1000000
        return DomainInterfaceStatsRet(
            rx_bytes=micros // 10,
            rx_packets=micros // 100,
            rx_errs=seconds,
            rx_drop=seconds // 2,
            tx_bytes=micros // 20,
            tx_packets=micros // 110,
            tx_errs=seconds // 3,
            tx_drop=seconds // 4,
        )

    def domain_get_disk_errors(
        self, dom: NonnullDomain, maxerrors: int, flags: int
    ) -> DomainGetDiskErrorsRet:
        """Return an error for every disk, in turn of its kinds; with ``maxerrors`` 0 only how many."""
        too_large(maxerrors, MAX_DISK_ERRORS, "maxerrors")
        check_flags(flags, 0, "testDomainGetDiskErrors")
        targets = [disk.dev for disk in self.active(dom).live.model.devices.disks]
        if maxerrors == 0:
            return DomainGetDiskErrorsRet((), len(targets))
        kinds = c.VIR_DOMAIN_DISK_ERROR_NO_SPACE
        errors = [
            DomainDiskError(target, number % kinds + 1) for number, target in enumerate(targets[:maxerrors])
        ]
        return DomainGetDiskErrorsRet(errors, len(errors))


def _total_cpu_stats(nparams: int) -> DomainGetCpuStatsRet:
    """Return the times of all CPUs together."""
    params = [
        ullong(c.VIR_DOMAIN_CPU_STATS_CPUTIME, TOTAL_CPU_TIME),
        ullong(c.VIR_DOMAIN_CPU_STATS_USERTIME, TOTAL_USER_TIME),
        ullong(c.VIR_DOMAIN_CPU_STATS_SYSTEMTIME, TOTAL_SYSTEM_TIME),
    ]
    if nparams == 0:
        return DomainGetCpuStatsRet((), len(params))
    return DomainGetCpuStatsRet(params[:nparams], min(nparams, len(params)))


def _cpu_stats(nparams: int, start_cpu: int, ncpus: int, cpus: int) -> DomainGetCpuStatsRet:
    """Return the times of some host CPUs: equal shares, told apart by a nanosecond."""
    if ncpus == 0:
        return DomainGetCpuStatsRet((), cpus)
    if nparams == 0:
        return DomainGetCpuStatsRet((), 2)
    if start_cpu >= cpus:
        text = f"start_cpu {start_cpu} larger than maximum of {cpus - 1}"
        raise InvalidArg(text, domain=c.VIR_FROM_TEST)
    params: list[TypedParam] = []
    for cpu in range(start_cpu, min(start_cpu + ncpus, cpus)):
        params += [
            ullong(c.VIR_DOMAIN_CPU_STATS_CPUTIME, TOTAL_CPU_TIME // cpus + cpu),
            ullong(c.VIR_DOMAIN_CPU_STATS_VCPUTIME, TOTAL_VCPU_TIME // cpus + cpu),
        ][:nparams]
    return DomainGetCpuStatsRet(params, min(nparams, 2))
