"""Statistics of many domains at once.

What the kernel and the records know is there at once: state, CPU times, virtual CPUs, cards. The rest QEMU
has to be asked for, and all guests are asked side by side, some at a time. A guest that does not answer in
time, or whose turn is taken when the client does not want to wait, is told of without that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, gatherResults
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.domains.filters import GROUPS, groups_of, matches
from remotevirt.drivers.qemu.block import measure
from remotevirt.drivers.qemu.block_figures import BlockFigures, block_figures
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.cgroups import cpu_times
from remotevirt.drivers.qemu.command import Image, images_of
from remotevirt.drivers.qemu.cpu_plugging import enabled_vcpus
from remotevirt.drivers.qemu.dirty_rate import dirty_rate_params
from remotevirt.drivers.qemu.figures import halt_polling, task_figures, waiting_times
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.memory import memory_stats
from remotevirt.drivers.qemu.network import card_name, interface_figures
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.threads import find_iothreads
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported
from remotevirt.stubs.remote import DomainStatsRecord, NonnullDomain, TypedParam
from remotevirt.typed_params import int_, string, uint, ullong
from remotevirt.xml.domain.disk import Disk

__all__ = ["StatisticsCalls"]

log = Logger()

AT_ONCE: Final = 16
"""Guests that one call asks at the same time."""

SECONDS: Final = 5.0
"""How long a call waits for one guest: for its turn, and then for all its answers. libvirt: 30, then ever."""

FILTERS: Final[int] = GROUPS[0] | GROUPS[1] | GROUPS[2]
"""The list filters that the statistics know: by activity, persistence and state."""

NOWAIT: Final[int] = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
BACKING: Final[int] = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING
ENFORCE: Final[int] = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
KNOWN_FLAGS: Final[int] = FILTERS | NOWAIT | BACKING | ENFORCE

BALLOON_NAMES: Final = {
    c.VIR_DOMAIN_MEMORY_STAT_SWAP_IN: "swap_in",
    c.VIR_DOMAIN_MEMORY_STAT_SWAP_OUT: "swap_out",
    c.VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT: "major_fault",
    c.VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT: "minor_fault",
    c.VIR_DOMAIN_MEMORY_STAT_UNUSED: "unused",
    c.VIR_DOMAIN_MEMORY_STAT_AVAILABLE: "available",
    c.VIR_DOMAIN_MEMORY_STAT_RSS: "rss",
    c.VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE: "last-update",
    c.VIR_DOMAIN_MEMORY_STAT_USABLE: "usable",
    c.VIR_DOMAIN_MEMORY_STAT_DISK_CACHES: "disk_caches",
    c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC: "hugetlb_pgalloc",
    c.VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL: "hugetlb_pgfail",
}
"""What the figures of memory are called here."""


@attrs.define
class Answers:
    """What a guest's QEMU said; None for what it was not asked, or did not say.

    Attributes:
        memory: numbers of virDomainMemoryStatTags, and values.
        blocks: figures by the names of disks and nodes.
        threads: of IO threads, by their number.
        dirty_rate: how fast memory is written to.
        sizes: of the disks of a guest that is off, by their targets: allocation, capacity, physical size.
    """

    memory: list[tuple[int, int]] | None = None
    blocks: dict[str, BlockFigures] | None = None
    threads: dict[int, Mapping[str, Any]] | None = None
    dirty_rate: Any = None
    sizes: dict[str, tuple[int, int, int]] = attrs.Factory(dict)


async def _ask(guest: Guest, stats: int, answers: Answers) -> None:
    """Ask a guest's QEMU for what the groups need. Raises VirError."""
    if stats & c.VIR_DOMAIN_STATS_BALLOON:
        answers.memory = await memory_stats(guest)
    if stats & c.VIR_DOMAIN_STATS_BLOCK and guest.record.live.model.devices.disks:
        answers.blocks = await block_figures(guest)
    if stats & c.VIR_DOMAIN_STATS_IOTHREAD:
        answers.threads = await find_iothreads(guest)
    if stats & c.VIR_DOMAIN_STATS_DIRTYRATE:
        answers.dirty_rate = await guest.execute("query-dirty-rate")


async def _sizes(record: QemuRecord, settings: Settings) -> dict[str, tuple[int, int, int]]:
    """Return the sizes of those images of a guest that is off which are there."""
    found = {}
    for disk in record.live.model.devices.disks:
        place = None if disk.source is None or disk.source_is_empty() else disk.source.place()
        if place is not None and disk.type in {"file", "block"}:
            kind = (disk.driver.type if disk.driver is not None else None) or "raw"
            with suppress(VirError):
                sizes, capacity = await in_thread(
                    os.path.dirname(place), lambda stop, *image: measure(*image), place, kind, settings
                )
                found[disk.dev] = sizes.allocated, capacity, sizes.physical
    return found


def _state(record: QemuRecord, answers: Answers, flags: int) -> Iterable[TypedParam]:
    return int_("state.state", record.state), int_("state.reason", record.reason)


def _pid(record: QemuRecord) -> int | None:
    guest = record.guest
    return None if guest is None or guest.process is None else guest.process.pid


def _cpu(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    times = None if record.guest is None else cpu_times(record.guest)
    if times is not None:
        yield ullong("cpu.time", times.total)
        yield ullong("cpu.user", times.user)
        yield ullong("cpu.system", times.system)
    pid = _pid(record)
    if pid is not None:
        polled = halt_polling(pid)
        yield uint("cpu.cache.monitor.count", 0)
        yield ullong("cpu.haltpoll.success.time", polled.success)
        yield ullong("cpu.haltpoll.fail.time", polled.fail)


def _balloon(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    yield ullong("balloon.current", record.memory)
    yield ullong("balloon.maximum", record.max_memory)
    for tag, value in answers.memory or ():
        name = BALLOON_NAMES.get(tag)
        if name is not None:
            yield ullong(f"balloon.{name}", value)


def _vcpu(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    live, pid = record.live, _pid(record)
    yield uint("vcpu.current", live.vcpus)
    yield uint("vcpu.maximum", live.max_vcpus)
    if record.guest is None or pid is None:
        return
    for number in enabled_vcpus(live.model):
        thread = record.guest.threads.get(number)
        figures = None if thread is None else task_figures(pid, thread)
        if thread is None or figures is None:
            continue
        yield int_(f"vcpu.{number}.state", c.VIR_VCPU_RUNNING)
        yield ullong(f"vcpu.{number}.time", figures.cpu)
        waits = waiting_times(pid, thread)
        if waits is not None:
            yield ullong(f"vcpu.{number}.wait", waits.io)
            yield ullong(f"vcpu.{number}.delay", waits.queue)


def _interface(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    if not record.active:
        return
    cards = record.live.model.devices.interfaces
    yield uint("net.count", len(cards))
    for number, card in enumerate(cards):
        name = card_name(card)
        if name is None:
            continue
        yield string(f"net.{number}.name", name)
        try:
            counts = interface_figures(name)
        except VirError:
            continue
        for way in ("rx", "tx"):
            yield ullong(f"net.{number}.{way}.bytes", getattr(counts, f"{way}_bytes"))
            yield ullong(f"net.{number}.{way}.pkts", getattr(counts, f"{way}_packets"))
            yield ullong(f"net.{number}.{way}.errs", getattr(counts, f"{way}_errs"))
            yield ullong(f"net.{number}.{way}.drop", getattr(counts, f"{way}_drop"))


def _block(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    shown = list(_images(record, bool(flags & BACKING)))
    yield uint("block.count", len(shown))
    for number, (disk, image, top) in enumerate(shown):
        yield from _image(f"block.{number}", disk, image, top, answers.blocks)
        sizes = answers.sizes.get(disk.dev)
        if sizes is not None:
            yield ullong(f"block.{number}.allocation", sizes[0])
            yield ullong(f"block.{number}.capacity", sizes[1])
            yield ullong(f"block.{number}.physical", sizes[2])


def _images(record: QemuRecord, backing: bool) -> Iterator[tuple[Disk, Image | None, bool]]:
    """Yield the disks, each image of them that is shown, and whether it is the one that the guest sees."""
    for disk in record.live.model.devices.disks:
        if disk.source is None or disk.source_is_empty():
            yield disk, None, True
            continue
        try:
            images = list(images_of(disk))
        except VirError:  # of a kind that no guest can have
            images = []
        if not images:
            yield disk, None, True
        for place, image in enumerate(images if backing and record.active else images[:1]):
            yield disk, image, place == 0


def _image(
    prefix: str, disk: Disk, image: Image | None, top: bool, blocks: Mapping[str, BlockFigures] | None
) -> Iterator[TypedParam]:
    yield string(f"{prefix}.name", disk.dev)
    path = image.source.place() if image is not None else None
    if path is not None:
        yield string(f"{prefix}.path", path)
    if image is not None and image.index is not None:
        yield uint(f"{prefix}.backingIndex", image.index)
    if blocks is None:
        return
    device = blocks.get(disk.info.alias or "")
    if top and device is not None:
        yield ullong(f"{prefix}.rd.reqs", device.reads)
        yield ullong(f"{prefix}.rd.bytes", device.read_bytes)
        yield ullong(f"{prefix}.rd.times", device.read_time)
        yield ullong(f"{prefix}.wr.reqs", device.writes)
        yield ullong(f"{prefix}.wr.bytes", device.written_bytes)
        yield ullong(f"{prefix}.wr.times", device.write_time)
        yield ullong(f"{prefix}.fl.reqs", device.flushes)
        yield ullong(f"{prefix}.fl.times", device.flush_time)
    node = blocks.get(image.node) if image is not None and image.index is not None else None
    if node is None:
        return
    yield ullong(f"{prefix}.allocation", node.highest_write)
    if node.capacity:
        yield ullong(f"{prefix}.capacity", node.capacity)
    if node.physical:
        yield ullong(f"{prefix}.physical", node.physical)
    storage = blocks.get(image.storage) if image is not None else None
    if storage is not None and storage.threshold:
        yield ullong(f"{prefix}.threshold", storage.threshold)


def _iothread(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    threads = answers.threads
    if not threads:
        return
    yield uint("iothread.count", len(threads))
    for number in sorted(threads):
        says = threads[number]
        for name, make, most in (("max-ns", ullong, 2**63), ("grow", uint, 2**31), ("shrink", uint, 2**31)):
            value = says.get(f"poll-{name}")
            if type(value) is int and 0 <= value < most:
                yield make(f"iothread.{number}.poll-{name}", value)


def _dirty_rate(record: QemuRecord, answers: Answers, flags: int) -> Iterator[TypedParam]:
    return dirty_rate_params(answers.dirty_rate)


def _nothing(record: QemuRecord, answers: Answers, flags: int) -> Iterable[TypedParam]:
    return ()


MAKERS: Final[dict[int, Callable[[QemuRecord, Answers, int], Iterable[TypedParam]]]] = {
    c.VIR_DOMAIN_STATS_STATE: _state,
    c.VIR_DOMAIN_STATS_CPU_TOTAL: _cpu,
    c.VIR_DOMAIN_STATS_BALLOON: _balloon,
    c.VIR_DOMAIN_STATS_VCPU: _vcpu,
    c.VIR_DOMAIN_STATS_INTERFACE: _interface,
    c.VIR_DOMAIN_STATS_BLOCK: _block,
    c.VIR_DOMAIN_STATS_PERF: _nothing,
    c.VIR_DOMAIN_STATS_IOTHREAD: _iothread,
    c.VIR_DOMAIN_STATS_MEMORY: _nothing,
    c.VIR_DOMAIN_STATS_DIRTYRATE: _dirty_rate,
    c.VIR_DOMAIN_STATS_VM: _nothing,
}
"""The groups that there are, in libvirt's order. No performance events and memory bandwidths are counted."""

RUNNING: Final[int] = c.VIR_DOMAIN_STATS_DIRTYRATE | c.VIR_DOMAIN_STATS_VM
"""The groups that only a guest that runs has."""

ASKING: Final[int] = (
    c.VIR_DOMAIN_STATS_BALLOON
    | c.VIR_DOMAIN_STATS_BLOCK
    | c.VIR_DOMAIN_STATS_IOTHREAD
    | c.VIR_DOMAIN_STATS_DIRTYRATE
)
"""The groups that QEMU is asked for."""


class StatisticsCalls(QemuCalls):
    """virConnectGetAllDomainStats."""

    async def connect_get_all_domain_stats(
        self, doms: Sequence[NonnullDomain], stats: int, flags: int
    ) -> Sequence[DomainStatsRecord]:
        """Return statistics of the given domains, of all if none is given.

        Args:
            doms: those that are gone are left out.
            stats: groups; 0 means all that there are.
            flags: list filters; NOWAIT leaves out what somebody else's call keeps from being asked, BACKING
                tells of all images of disks, ENFORCE makes groups that there are not an error.
        """
        self.check_flags(flags, KNOWN_FLAGS, "ConnectGetAllDomainStats")
        wanted = stats & sum(MAKERS) if stats else sum(MAKERS)
        groups = groups_of(flags & FILTERS)
        chosen: Iterable[Any] = self.world.records()
        if doms:
            chosen = (record for dom in doms if (record := self.domains.get(dom.uuid)) is not None)
        records: list[QemuRecord] = [record for record in chosen if matches(record.facts, groups)]
        for record in records if flags & ENFORCE else ():
            missing = stats & ~(sum(MAKERS) & (-1 if record.active else ~RUNNING))
            if missing:
                text = f"Stats types bits {missing:#x} are not supported by this daemon or QEMU"
                raise ArgumentUnsupported(text, domain=c.VIR_FROM_QEMU)
        some = DeferredSemaphore(AT_ONCE)

        def ask(record: QemuRecord) -> Deferred[Answers]:
            return Deferred.fromCoroutine(self._answers(record, wanted, flags))

        answers = await gatherResults([some.run(ask, record) for record in records], consumeErrors=True)
        return [
            DomainStatsRecord(
                record.ref,
                [
                    param
                    for group, make in MAKERS.items()
                    if wanted & group
                    for param in make(record, told, flags)
                ],
            )
            for record, told in zip(records, answers, strict=True)
        ]

    async def _answers(self, record: QemuRecord, stats: int, flags: int) -> Answers:
        """Return what a domain's QEMU says; as much of it as can be had."""
        answers = Answers()
        guest = record.guest
        if stats & c.VIR_DOMAIN_STATS_BLOCK and not record.active:
            answers.sizes = await _sizes(record, self.world.settings)
        if not stats & ASKING or guest is None or guest.monitor is None or guest.monitor.wedged:
            return answers
        if flags & NOWAIT and record.job.owner is not None:
            return answers
        reactor = self.world.reactor
        asking = Deferred.fromCoroutine(self._ask_in_turn(record, guest, stats, answers))
        asking.addTimeout(SECONDS, reactor)
        try:
            await asking
        except (VirError, TimeoutError) as error:
            log.debug("domain {name!r}: not all statistics: {error}", name=record.name, error=error)
        return answers

    async def _ask_in_turn(self, record: QemuRecord, guest: Guest, stats: int, answers: Answers) -> None:
        async with self.turn(record, "remoteDispatchConnectGetAllDomainStats"):
            guest.check_alive()
            await _ask(guest, stats, answers)
