"""IO threads of guests: those that there are, where they may run, how they work; they come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.iothreads import check_unused, keep_threads, map_bytes, threads_of
from remotevirt.drivers.domains.parameters import need_params
from remotevirt.drivers.faults import argument_must, exclusive_flags
from remotevirt.drivers.qemu.calls import QemuCalls, to_the_end
from remotevirt.drivers.qemu.figures import affinity
from remotevirt.drivers.qemu.limits import confine, drop_thread, place_thread
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.threads import (
    find_iothreads,
    host_cpus,
    iothread_cpus,
    pin_thread,
    tell_tunable,
)
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg, OperationInvalid, OperationUnsupported
from remotevirt.stubs.remote import DomainIothreadInfo, NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetIothreadInfoRet
from remotevirt.typed_params import check_params, to_dict
from remotevirt.xml.bitmap import format_mask
from remotevirt.xml.domain.cpu_tuning import CpuTune, IoThread, IoThreadPin

__all__ = ["IoThreadCalls"]

MAX_THREADS: Final = 1024
"""IO threads of a domain. libvirt: none."""

MAX_VALUE: Final = 2**31 - 1
"""The largest number that QEMU takes for how a thread polls; as libvirt checks it."""

POLLING: Final = {
    c.VIR_DOMAIN_IOTHREAD_POLL_MAX_NS: ("poll-max-ns", c.VIR_TYPED_PARAM_ULLONG),
    c.VIR_DOMAIN_IOTHREAD_POLL_GROW: ("poll-grow", c.VIR_TYPED_PARAM_UINT),
    c.VIR_DOMAIN_IOTHREAD_POLL_SHRINK: ("poll-shrink", c.VIR_TYPED_PARAM_UINT),
}
"""Parameters of how a thread polls: QEMU's property, and the type."""

POOL_MIN: Final[str] = c.VIR_DOMAIN_IOTHREAD_THREAD_POOL_MIN
POOL_MAX: Final[str] = c.VIR_DOMAIN_IOTHREAD_THREAD_POOL_MAX
POOL: Final = {POOL_MIN: "thread-pool-min", POOL_MAX: "thread-pool-max"}
"""Parameters of the pool of workers that a thread has: QEMU's property."""

TYPES: Final = {
    **{name: kind for name, (_, kind) in POLLING.items()},
    **dict.fromkeys(POOL, c.VIR_TYPED_PARAM_INT),
}
"""Parameters: their types."""


class IoThreadCalls(QemuCalls):
    """``<iothreads>``."""

    async def domain_get_iothread_info(self, dom: NonnullDomain, flags: int) -> DomainGetIothreadInfoRet:
        """Return the threads and where they may run: of a running guest, as the kernel has it."""
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetIOThreadInfo")
        self.check_flags(flags, IMPACT, "DomainGetIOThreadInfo")
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        info = []
        if record.active and definition is record.live:
            async with self.turn(record, "remoteDispatchDomainGetIothreadInfo"):
                guest = self.guest(record)
                found = await find_iothreads(guest)
                guest.check_alive()
            for number in sorted(found):
                pid = guest.process.pid if guest.process is not None else 0
                cpus = affinity(pid, found[number]["thread-id"]) or ()
                info.append(DomainIothreadInfo(number, map_bytes(sum(1 << cpu for cpu in cpus))))
        else:
            everywhere = (1 << host_cpus()) - 1
            for thread in threads_of(definition.model):
                where = iothread_cpus(definition, thread.id)
                bits = everywhere if where is None else where
                info.append(DomainIothreadInfo(thread.id, map_bytes(bits)))
        return DomainGetIothreadInfoRet(info, len(info))

    @to_the_end
    async def domain_add_iothread(self, dom: NonnullDomain, iothread_id: int, flags: int) -> None:
        """Add a thread; raises InvalidArg if there is one of this number."""
        self.check_flags(flags, IMPACT, "DomainAddIOThread")
        _check_id(iothread_id)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainAddIothread"):
            live, config = self.definitions(record, flags)
            for definition in (live, config):
                if definition is not None:
                    _check_new(definition, iothread_id)
            if live is not None:
                guest = self.guest(record)
                name = f"iothread{iothread_id}"
                await guest.execute("object-add", {"qom-type": "iothread", "id": name})
                one = (await find_iothreads(guest)).get(iothread_id)
                guest.check_alive()
                if one is not None:
                    await place_thread(guest, name, one["thread-id"])
                    guest.check_alive()
                confined = live.emulator_pin is not None  # whose thread has made this one
                if one is not None and (confined or live.cpu_mask is not None):
                    pin_thread(guest, one["thread-id"], live.cpu_mask)
                live, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                self.world.touch(record)
                for definition in (live, config):
                    if definition is not None:
                        threads = threads_of(definition.model)
                        keep_threads(definition.changing(), [*threads, IoThread(iothread_id)])

            self.world.commit(change)

    @to_the_end
    async def domain_del_iothread(self, dom: NonnullDomain, iothread_id: int, flags: int) -> None:
        """Remove a thread that no device uses."""
        function = "virDomainDelIOThread"
        if iothread_id == 0:
            raise argument_must(function, "iothread_id", "not be zero")
        self.check_flags(flags, IMPACT, "DomainDelIOThread")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainDelIothread"):
            live, config = self.definitions(record, flags)
            for definition in (live, config):
                if definition is not None:
                    if all(thread.id != iothread_id for thread in threads_of(definition.model)):
                        text = f"cannot find IOThread '{iothread_id}' in iothreadids list"
                        raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
                    check_unused(definition, iothread_id)
            if live is not None:
                guest, name = self.guest(record), f"iothread{iothread_id}"
                await guest.execute("object-del", {"id": name})
                drop_thread(guest, name)
                live, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                self.world.touch(record)
                for definition in (live, config):
                    if definition is not None:
                        _drop(definition, iothread_id)

            self.world.commit(change)

    @to_the_end
    async def domain_pin_iothread(
        self, dom: NonnullDomain, iothreads_id: int, cpumap: bytes, flags: int
    ) -> None:
        """Say on which host CPUs a thread may run."""
        if not cpumap:
            function = "virDomainPinIOThread"
            raise argument_must(function, "cpumap", "not be NULL")
        self.check_flags(flags, IMPACT, "DomainPinIOThread")
        bits = int.from_bytes(cpumap, "little")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainPinIothread"):
            live, config = self.definitions(record, flags)
            if not bits:
                raise InvalidArg("Empty iothread cpumap list for pinning", domain=c.VIR_FROM_QEMU)
            for definition, word in ((live, "iothread"), (config, "iothreadid")):
                if definition is not None and all(
                    thread.id != iothreads_id for thread in threads_of(definition.model)
                ):
                    raise InvalidArg(f"{word} {iothreads_id} not found", domain=c.VIR_FROM_QEMU)
            if live is not None:
                guest = self.guest(record)
                one = (await find_iothreads(guest)).get(iothreads_id)
                guest.check_alive()
                if one is not None:
                    await confine(guest, f"iothread{iothreads_id}", bits)
                    pin_thread(guest, one["thread-id"], bits)
                live, config = self.definitions(self.record(dom), flags)
            self._keep_pin(record, (live, config), iothreads_id, bits)
            if live is not None:
                tell_tunable(guest, f"iothreadpin{iothreads_id}", bits)

    def _keep_pin(
        self, record: QemuRecord, meant: Sequence[Definition | None], number: int, bits: int
    ) -> None:
        def change() -> None:
            self.world.touch(record)
            for definition in meant:
                if definition is not None:
                    model = definition.changing()
                    if model.cputune is None:
                        model.cputune = CpuTune()
                    pins = [pin for pin in model.cputune.iothreadpin if pin.iothread != number]
                    model.cputune.iothreadpin = [*pins, IoThreadPin(number, format_mask(bits))]

        self.world.commit(change)

    @to_the_end
    async def domain_set_iothread_params(
        self, dom: NonnullDomain, iothread_id: int, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change how a thread of a running guest polls, and how many workers it may have."""
        need_params(params, "virDomainSetIOThreadParams")
        self.check_flags(flags, IMPACT, "DomainSetIOThreadParams")
        _check_id(iothread_id)
        check_params(params, TYPES)
        wanted = {name: int(value) for name, value in to_dict(params).items()}
        _check_wanted(wanted)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetIothreadParams"):
            live, config = self.definitions(record, flags)
            for definition in (live, config):
                if definition is not None:
                    thread = _thread(definition, iothread_id)
                    if definition is config and not POLLING.keys().isdisjoint(wanted):
                        text = "configuring persistent polling values is not supported"
                        raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
                    _check_pool(thread, wanted, live=definition is live)
            if live is not None:
                guest = self.guest(record)
                for property_name, value in _orders(_thread(live, iothread_id), wanted):
                    path = f"/objects/iothread{iothread_id}"
                    order = {"path": path, "property": property_name, "value": value}
                    await guest.execute("qom-set", order)
                guest.check_alive()
                live, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                self.world.touch(record)
                for definition in (live, config):
                    if definition is not None:
                        threads = threads_of(definition.changing())
                        for thread in threads:
                            if thread.id == iothread_id:
                                thread.pool_min, thread.pool_max = _pool(thread, wanted)
                                thread.counted = False
                        keep_threads(definition.changing(), threads)

            if not POOL.keys().isdisjoint(wanted):
                self.world.commit(change)


def _check_wanted(wanted: Mapping[str, int]) -> None:
    """Refuse parameters that no thread can have; raises ConfigUnsupported."""
    for name, (property_name, _) in POLLING.items():
        if wanted.get(name, 0) > MAX_VALUE:
            text = f"{property_name} ({wanted[name]}) must be less than or equal to {MAX_VALUE}"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
    if wanted.get(POOL_MIN, 0) < -1:
        text = f"{POOL_MIN} ({wanted[POOL_MIN]}) must be equal to or greater than -1"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
    if wanted.get(POOL_MAX, 1) < -1 or wanted.get(POOL_MAX) == 0:
        text = f"{POOL_MAX} ({wanted[POOL_MAX]}) must be a positive number or -1"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _thread(definition: Definition, iothread_id: int) -> IoThread:
    """Return a thread of a definition; raises InvalidArg."""
    for thread in threads_of(definition.model):
        if thread.id == iothread_id:
            return thread
    text = f"cannot find IOThread '{iothread_id}' in iothreadids"
    raise InvalidArg(text, domain=c.VIR_FROM_QEMU)


def _pool(thread: IoThread, wanted: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Return the least and the most workers that a thread shall have, None for what QEMU chooses."""
    found = wanted.get(POOL_MIN, thread.pool_min), wanted.get(POOL_MAX, thread.pool_max)
    low, high = (None if value == -1 else value for value in found)
    return low, high


def _check_pool(thread: IoThread, wanted: Mapping[str, int], *, live: bool) -> None:
    """Refuse a pool whose least is more than its most; raises OperationInvalid.

    Args:
        thread: as it is.
        wanted: the parameters.
        live: the guest runs, and QEMU cannot be told to choose anew.
    """
    for name in POOL:
        if live and wanted.get(name) == -1:
            text = f"{name} (-1) must be equal to or greater than 0 for live change"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
    low, high = (-1 if value is None else value for value in _pool(thread, wanted))
    if low > high:
        # also where there is no most, as in libvirt
        text = f"{POOL_MIN} ({low}) can't be greater than {POOL_MAX} ({high})"
        raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)


def _orders(thread: IoThread, wanted: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return what QEMU is told, one after the other: its properties, and their values.

    A pool's most may not be less than its least at any time.
    """
    names = [POOL_MAX, POOL_MIN]
    if wanted.get(POOL_MAX, MAX_VALUE) < (thread.pool_min or 0):
        names.reverse()
    found = [(property_name, wanted[name]) for name, (property_name, _) in POLLING.items() if name in wanted]
    return found + [(POOL[name], wanted[name]) for name in names if name in wanted]


def _check_id(iothread_id: int) -> None:
    """Refuse the number 0, which no thread has."""
    if iothread_id == 0:
        raise InvalidArg("invalid value of 0 for iothread_id", domain=c.VIR_FROM_QEMU)


def _check_new(definition: Definition, iothread_id: int) -> None:
    """Refuse a second thread of a number, and too many."""
    threads = threads_of(definition.model)
    if any(thread.id == iothread_id for thread in threads):
        text = f"an IOThread is already using iothread_id '{iothread_id}'"
        raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
    if len(threads) >= MAX_THREADS:
        raise InvalidArg(f"a domain may have {MAX_THREADS} IOThreads", domain=c.VIR_FROM_QEMU)


def _drop(definition: Definition, iothread_id: int) -> None:
    """Take a thread out of a definition; the others keep their numbers."""
    threads = threads_of(definition.model)
    kept = [thread for thread in threads if thread.id != iothread_id]
    for place, thread in enumerate(kept):
        if thread.id != place + 1:
            thread.counted = False
    if len(kept) != len(threads):
        keep_threads(definition.changing(), kept)
