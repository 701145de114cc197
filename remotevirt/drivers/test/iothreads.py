"""IO threads: which a domain has, where they may run, and how they poll.

A document may name its threads or only count them; those that were only counted are numbered from 1 and not
named in turn, until something about them is changed. How a thread polls is no part of the document: as in
libvirt, the threads that were added by a call poll, and are known to the statistics, for as long as the
domain is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from remotevirt.drivers.domains.calls import IMPACT, LIVE, DomainCalls
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.iothreads import check_unused, keep_threads, map_bytes, threads_of
from remotevirt.drivers.domains.parameters import need_params
from remotevirt.drivers.faults import argument_must, check_flags, exclusive_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, Rpc
from remotevirt.stubs.remote import DomainIothreadInfo, NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetIothreadInfoRet
from remotevirt.typed_params import check_params, to_dict, uint, ullong
from remotevirt.xml.bitmap import format_mask, parse_mask
from remotevirt.xml.domain.cpu_tuning import CpuTune, IoThread, IoThreadPin

__all__ = ["IoThreadCalls", "Polling", "iothread_params"]

MAX_INFO: Final = 16384
"""REMOTE_IOTHREAD_INFO_MAX."""

MAX_POLLING: Final = 1024
"""Threads that calls may add to a domain: statistics of all of them fit a reply. libvirt: none."""

MAX_NS: Final[str] = c.VIR_DOMAIN_IOTHREAD_POLL_MAX_NS
GROW: Final[str] = c.VIR_DOMAIN_IOTHREAD_POLL_GROW
SHRINK: Final[str] = c.VIR_DOMAIN_IOTHREAD_POLL_SHRINK

ALLOWED: Final[dict[str, int]] = {
    MAX_NS: c.VIR_TYPED_PARAM_ULLONG,
    GROW: c.VIR_TYPED_PARAM_UINT,
    SHRINK: c.VIR_TYPED_PARAM_UINT,
}


@attrs.define(eq=False)
class Polling:
    """How an IO thread polls.

    Attributes:
        id: the thread's number.
        poll_max_ns: nanoseconds of polling at most.
        poll_grow, poll_shrink: by how much the time changes.
    """

    id: int
    poll_max_ns: int = 32768
    poll_grow: int = 0
    poll_shrink: int = 0


def iothread_params(record: DomainRecord) -> Iterable[TypedParam]:
    """Return the statistics of a domain's IO threads: of an active one, those that were added by calls."""
    if not record.active or not record.polling:
        return
    yield uint(c.VIR_DOMAIN_STATS_IOTHREAD_COUNT, len(record.polling))
    for thread in record.polling:
        prefix = f"iothread.{thread.id}.poll"
        yield ullong(f"{prefix}-max-ns", thread.poll_max_ns)
        yield uint(f"{prefix}-grow", thread.poll_grow)
        yield uint(f"{prefix}-shrink", thread.poll_shrink)


class IoThreadCalls(DomainCalls):
    """``<iothreads>``."""

    def domain_get_iothread_info(self, dom: NonnullDomain, flags: int) -> DomainGetIothreadInfoRet:
        """Return the threads and where they may run."""
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetIOThreadInfo")
        check_flags(flags, IMPACT, "testDomainGetIOThreadInfo")
        definition = self.one_definition(self.record(dom), flags)
        threads = threads_of(definition.model)
        if len(threads) > MAX_INFO:
            text = f"Too many IOThreads in info: {len(threads)} for limit {MAX_INFO}"
            raise Rpc(text, domain=c.VIR_FROM_RPC)
        tune = definition.model.cputune
        pins = {pin.iothread: parse_mask(pin.cpuset or "") for pin in (tune.iothreadpin if tune else ())}
        anywhere = definition.cpu_mask
        if anywhere is None:
            anywhere = (1 << definition.vcpus) - 1  # libvirt counts the guest's CPUs for the host's
        info = [DomainIothreadInfo(thread.id, map_bytes(pins.get(thread.id, anywhere))) for thread in threads]
        return DomainGetIothreadInfoRet(info, len(info))

    def domain_add_iothread(self, dom: NonnullDomain, iothread_id: int, flags: int) -> None:
        """Add a thread.

        Raises:
            InvalidArg: there is one of this number, or there are too many.
        """
        check_flags(flags, IMPACT, "testDomainAddIOThread")
        _check_id(iothread_id)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        threads = threads_of(definition.model)
        if any(thread.id == iothread_id for thread in threads):
            text = f"an IOThread is already using iothread_id '{iothread_id}'"
            raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
        if len(record.polling) >= MAX_POLLING:
            raise InvalidArg(f"a domain may get {MAX_POLLING} more IOThreads", domain=c.VIR_FROM_TEST)
        keep_threads(definition.changing(), [*threads, IoThread(iothread_id)])
        record.polling.append(Polling(iothread_id))
        self.world.redefined(record)

    def domain_del_iothread(self, dom: NonnullDomain, iothread_id: int, flags: int) -> None:
        """Remove a thread that no device uses.

        Raises:
            InvalidArg: there is none of this number, or a disk or controller uses it.
        """
        function = "virDomainDelIOThread"
        if iothread_id == 0:
            raise argument_must(function, "iothread_id", "not be zero")
        check_flags(flags, IMPACT, "testDomainDelIOThread")
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        threads = threads_of(definition.model)
        place = next((n for n, thread in enumerate(threads) if thread.id == iothread_id), None)
        if place is None:
            text = f"cannot find IOThread '{iothread_id}' in iothreadids list"
            raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
        check_unused(definition, iothread_id)
        for thread in threads[place + 1 :]:
            if not thread.counted:
                break
            thread.counted = False
        del threads[place]
        keep_threads(definition.changing(), threads)
        polling = _polling(record, iothread_id)
        if polling is not None:
            record.polling.remove(polling)
        self.world.redefined(record)

    def domain_pin_iothread(self, dom: NonnullDomain, iothreads_id: int, cpumap: bytes, flags: int) -> None:
        """Say on which host CPUs a thread may run."""
        if not cpumap:
            function = "virDomainPinIOThread"
            raise argument_must(function, "cpumap", "not be NULL")
        check_flags(flags, IMPACT, "testDomainPinIOThread")
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        bits = int.from_bytes(cpumap, "little")
        if not bits:
            raise InvalidArg("Empty iothread cpumap list for pinning", domain=c.VIR_FROM_TEST)
        threads = threads_of(definition.model)
        thread = next((thread for thread in threads if thread.id == iothreads_id), None)
        if thread is None:
            raise InvalidArg(f"iothreadid {iothreads_id} not found", domain=c.VIR_FROM_TEST)
        thread.counted = False
        model = definition.changing()
        if model.cputune is None:
            model.cputune = CpuTune()
        pins = [pin for pin in model.cputune.iothreadpin if pin.iothread != iothreads_id]
        model.cputune.iothreadpin = [*pins, IoThreadPin(iothreads_id, format_mask(bits))]
        keep_threads(model, threads)
        self.world.redefined(record)

    def domain_set_iothread_params(
        self, dom: NonnullDomain, iothread_id: int, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change how a thread polls."""
        need_params(params, "virDomainSetIOThreadParams")
        check_flags(flags, LIVE, "testDomainSetIOThreadParams")
        _check_id(iothread_id)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        if all(thread.id != iothread_id for thread in threads_of(definition.model)):
            text = f"cannot find IOThread '{iothread_id}' in iothreadids"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        check_params(params, ALLOWED)
        polling = _polling(record, iothread_id)
        if polling is None:
            polling = Polling(iothread_id)
            record.polling.append(polling)
        for name, value in to_dict(params).items():
            setattr(polling, name, value)
        self.world.redefined(record)


def _check_id(iothread_id: int) -> None:
    """Refuse the number 0, which no thread has."""
    if iothread_id == 0:
        raise InvalidArg("invalid value of 0 for iothread_id", domain=c.VIR_FROM_TEST)


def _polling(record: DomainRecord, iothread_id: int) -> Polling | None:
    """Return how a thread polls; the first of two, if both definitions got it by a call."""
    return next((thread for thread in record.polling if thread.id == iothread_id), None)
