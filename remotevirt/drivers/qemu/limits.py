"""A guest's limits: from its definition into its control groups, and its threads into theirs.

::

    make_group ──► the guest's group, with what counts for all of it
                   the emulator's group ──► QEMU starts ──► all of QEMU is in there
    place_thread ──► a group for each virtual CPU and IO thread, when QEMU has said which thread it is
    forget_group ◄── QEMU is over

A host may have no control groups, or not let us make any; then guests that ask for limits do not start, and
all others do. What is written may make the kernel free or move memory, hence is done in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import made_in_thread
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.iothreads import iothread_pin
from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.control_groups.group import (
    DEVICE_LIMITS,
    MEMORY_LIMITS,
    ControlGroup,
    device_number,
)
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR, PARTITION
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationFailed
from remotevirt.stubs.remote import TypedParam
from remotevirt.stubs.remote.event import DomainEventCallbackTunableMsg
from remotevirt.typed_params import ullong
from remotevirt.xml.bitmap import format_mask, parse_mask
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.tuning import ResourcePartition

__all__ = [
    "check_limits",
    "confine",
    "drop_thread",
    "forget_group",
    "make_group",
    "mems_of",
    "place_thread",
    "tell_tuned",
]

log = Logger()

PLACE: Final = "/sys/fs/cgroup"
"""What the threads that make groups wait for."""

NAMES_TRIED: Final = 16
"""How many guests of one id and name, of other daemons, a host may have."""

REMOVE_SECONDS: Final = 0.2
"""How long to wait before a group is removed that has processes yet; libvirt waits as long."""

REMOVE_TRIES: Final = 50
"""How often that is tried: the kernel may be freeing the memory of a large guest."""

Order = Callable[[ControlGroup], None]
"""Something that is written into a guest's groups. Raises VirError."""

BANDWIDTH: Final = {"": "global_", EMULATOR: "emulator_", "vcpu": "", "iothread": "iothread_"}
"""Groups: how ``<cputune>`` calls their period and quota."""


def check_limits(model: DomainModel, controllers: frozenset[str]) -> None:
    """Refuse a definition that asks for what controllers would have to do that there are not.

    Raises:
        ConfigUnsupported: it does.
    """
    tune, blkio, memory = model.cputune, model.blkiotune, model.memtune
    text = ""
    if model.resource is not None and model.resource.fibrechannel is not None:
        text = "Fibre channel applications are not available on this host"
    elif memory is not None and memory.min_guarantee is not None:
        text = "Parameter 'min_guarantee' not supported by QEMU."
    elif "blkio" not in controllers and blkio is not None and (blkio.weight or blkio.devices):
        text = "Block I/O tuning is not available on this host"
    elif "memory" not in controllers and any(
        _memory_limit(model, name) is not None for name in MEMORY_LIMITS
    ):
        text = "Memory cgroup is not available on this host"
    elif "cpu" not in controllers and tune is not None and tune.shares is not None:
        text = "CPU tuning is not available on this host"
    elif "cpu" not in controllers and any(any(_bandwidth(model, name)) for name in BANDWIDTH):
        text = "cgroup cpu is required for scheduler tuning"
    elif "cpuset" not in controllers and _mode(model) == "restrictive":
        text = "cgroup cpuset is required for NUMA memory mode 'restrictive'"
    if text:
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _memory_limit(model: DomainModel, name: str) -> int | None:
    limit: int | None = getattr(model.memtune, name, None)
    return limit


def _bandwidth(model: DomainModel, kind: str) -> tuple[int | None, int | None]:
    """Return what a definition says of period and quota of a kind of groups."""
    prefix = BANDWIDTH[kind]
    return getattr(model.cputune, f"{prefix}period", None), getattr(model.cputune, f"{prefix}quota", None)


def _mode(model: DomainModel) -> str | None:
    memory = model.numatune.memory if model.numatune is not None else None
    return memory.mode if memory is not None and memory.nodeset else None


def mems_of(model: DomainModel) -> str | None:
    """Return from which of the host's nodes a guest may get memory, None for all of them."""
    tune = model.numatune
    if tune is None or tune.memory is None or _mode(model) not in ("strict", "restrictive"):
        return None
    nodes = parse_mask(tune.memory.nodeset or "")
    for cell in tune.memnodes:
        nodes |= parse_mask(cell.nodeset or "")
    return format_mask(nodes)


async def make_group(guest: Guest) -> None:
    """Make the control groups of a guest that starts, as far as the host lets us; and its limits.

    Raises:
        ConfigUnsupported: the host does not let us, and the definition asks for it.
        VirError: the kernel refuses a limit.
    """
    record, world, groups = guest.record, guest.world, guest.world.groups
    model = record.live.model
    if groups is None or not groups.available:
        check_limits(model, frozenset())
        return
    for again in range(1, NAMES_TRIED + 1):
        partition = model.resource.partition if model.resource is not None else None
        try:
            path = groups.path(partition, record.id, record.name, again)
        except ValueError as error:
            text = f"Resource partition '{error}' must start with '/'"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU) from None
        group = groups.group(path)
        _note(guest, path)
        try:
            await _make(group, groups.makeable)
        except FileExistsError:
            continue
        except BaseException:
            _note(guest, "")
            raise
        break
    else:
        _note(guest, "")
        raise OperationFailed("no name is free for a control group", domain=c.VIR_FROM_QEMU)
    if not group.controllers:
        _note(guest, "")
        check_limits(model, frozenset())
        return
    guest.group = group
    check_limits(model, group.controllers)
    orders = _guest_orders(model, group)
    if group.threaded:
        orders += _thread_orders(record.live, EMULATOR, group)
    await deferToThread(_carry_out, group, orders)
    guest.check_wanted()
    world.commit(_name_partition, guest)
    if model.cputune is not None and model.cputune.shares is not None:
        tell_tuned(guest, [ullong(c.VIR_DOMAIN_TUNABLE_CPU_CPU_SHARES, model.cputune.shares)])


async def _make(group: ControlGroup, makeable: str) -> None:
    """Make a group; if nobody waits for that any more, it is removed again."""
    await made_in_thread(PLACE, lambda stop: group.make(makeable), lambda _: group.remove())


def _note(guest: Guest, path: str) -> None:
    """Keep where a guest's group is, before it is made: so it is removed even if we die meanwhile."""

    def change() -> None:
        guest.details.group = path
        guest.remember()

    guest.world.commit(change)


def _name_partition(guest: Guest) -> None:
    """Say in the live definition which partition the guest is in."""
    guest.world.touch(guest.record)
    model = guest.record.live.changing()
    if model.resource is None:
        model.resource = ResourcePartition(partition=PARTITION)


def _guest_orders(model: DomainModel, group: ControlGroup) -> list[Order]:
    """Return what counts for a guest as a whole."""
    orders: list[Order] = []
    if model.blkiotune is not None:
        weight = model.blkiotune.weight
        if weight:
            orders.append(lambda one: one.set_weight(weight))
        for device in model.blkiotune.devices:
            for name in DEVICE_LIMITS:
                limit = getattr(device, name)
                if limit:
                    orders.append(_limit_device(name, device.path or "", limit))
    for name in MEMORY_LIMITS:
        limit = _memory_limit(model, name)
        if limit is not None:
            orders.append(_limit_memory(name, limit))
    shares = None if model.cputune is None else model.cputune.shares
    if shares is not None:
        orders.append(lambda one: one.set_shares(shares))
    return orders + _bandwidth_orders(model, "", "")


def _limit_device(name: str, path: str, limit: int) -> Order:
    return lambda group: group.set_device_limit(name, device_number(group.files, path), limit)


def _limit_memory(name: str, limit: int) -> Order:
    return lambda group: group.set_memory_limit(name, limit)


def _bandwidth_orders(model: DomainModel, kind: str, name: str) -> list[Order]:
    period, quota = _bandwidth(model, kind)
    orders: list[Order] = []
    if period:
        orders.append(lambda group: group.set_period(name, period))
    if quota:
        orders.append(lambda group: group.set_quota(name, quota))
    return orders


def _thread_orders(live: Definition, name: str, group: ControlGroup) -> list[Order]:
    """Return what makes and fills the group of a thread: ``emulator``, ``vcpu0``, ``iothread1``."""
    orders: list[Order] = [lambda one: one.add(name)]
    if "cpuset" in group.controllers:
        cpus, mems = _cpus(live, name), mems_of(live.model)
        if cpus is not None:
            orders.append(lambda one: one.set_cpuset(name, "cpus", format_mask(cpus)))
        if mems is not None:
            orders.append(lambda one: one.set_cpuset(name, "mems", mems))
    return orders + _bandwidth_orders(live.model, name.rstrip("0123456789"), name)


def _cpus(live: Definition, name: str) -> int | None:
    """Return where a thread may run, as its definition says; None for anywhere."""
    if name == EMULATOR:
        pin = live.emulator_pin
    elif name.startswith("vcpu"):
        pin = live.vcpu_pin(int(name.removeprefix("vcpu")))
    else:
        pin = iothread_pin(live.model, int(name.removeprefix("iothread")))
    return live.cpu_mask if pin is None else pin


def _carry_out(group: ControlGroup, orders: Sequence[Order]) -> None:
    for order in orders:
        order(group)


async def place_thread(guest: Guest, name: str, thread: int) -> None:
    """Put a thread of a guest into a group of its own, with its limits. Raises VirError.

    QEMU says which thread it is, and may lie: one of another process is not touched.
    """
    group, process = guest.group, guest.process
    if group is None or not group.threaded or process is None:
        return
    orders = _thread_orders(guest.record.live, name, group)

    def move(one: ControlGroup) -> None:
        if task_figures(process.pid, thread) is not None:
            one.move(name, thread)

    await deferToThread(_carry_out, group, [*orders, move])


async def confine(guest: Guest, name: str, cpus: int) -> None:
    """Change on which CPUs the group of a thread may run, where there is one. Raises VirError."""
    group = guest.group
    if group is not None and "cpuset" in group.controllers and name in group.children():
        await deferToThread(group.set_cpuset, name, "cpus", format_mask(cpus))


def drop_thread(guest: Guest, name: str) -> None:
    """Remove the group of a thread that is no more."""
    if guest.group is not None and guest.group.threaded:
        guest.group.drop(name)


def forget_group(guest: Guest) -> None:
    """Remove the groups of a guest that is over, as soon as the kernel lets them go."""
    group, guest.group = guest.group, None
    if group is not None:
        removing = Deferred.fromCoroutine(_remove(guest, group))
        removing.addErrback(lambda failure: log.failure("a control group is left", failure=failure))


async def _remove(guest: Guest, group: ControlGroup) -> None:
    for _ in range(REMOVE_TRIES):
        if await deferToThread(group.remove):
            return
        await deferLater(guest.world.reactor, REMOVE_SECONDS)
    log.error(
        "domain {name!r}: control group {path} cannot be removed", name=guest.record.name, path=group.path
    )


def tell_tuned(guest: Guest, params: Sequence[TypedParam]) -> None:
    """Tell what of a guest's tuning has changed: ``cputune.cpu_shares`` and its like."""
    record = guest.record
    msg = DomainEventCallbackTunableMsg(0, record.ref, params)
    guest.world.hub.publish(Event("domain", c.VIR_DOMAIN_EVENT_ID_TUNABLE, record.uuid, msg))
