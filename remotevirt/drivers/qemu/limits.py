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

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import made_in_thread
from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.control_groups.group import (
    ControlGroup,
)
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR, PARTITION
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.left_groups import remove_group
from remotevirt.drivers.qemu.limit_orders import carry_out, check_limits, guest_orders, thread_orders
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationFailed
from remotevirt.stubs.remote import TypedParam
from remotevirt.stubs.remote.event import DomainEventCallbackTunableMsg
from remotevirt.typed_params import ullong
from remotevirt.xml.bitmap import format_mask
from remotevirt.xml.domain.tuning import ResourcePartition

__all__ = [
    "confine",
    "drop_thread",
    "forget_group",
    "make_group",
    "name_partition",
    "place_thread",
    "tell_tuned",
]

log = Logger()

PLACE: Final = "/sys/fs/cgroup"
"""What the threads that make groups wait for."""

NAMES_TRIED: Final = 16
"""How many guests of one id and name, of other daemons, a host may have."""


async def make_group(guest: Guest) -> None:
    """Make the control groups of a guest that starts, as far as the host lets us; and its limits.

    Raises:
        ConfigUnsupported: the host does not let us, and the definition asks for it.
        VirError: the kernel refuses a limit.
    """
    record, groups = guest.record, guest.world.groups
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
    orders = guest_orders(model, group)
    if group.threaded:
        orders += thread_orders(record.live, EMULATOR, group)
    await deferToThread(carry_out, group, orders)
    guest.check_wanted()
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


def name_partition(guest: Guest) -> None:
    """Say in the live definition which partition the guest is in; inside of a commit."""
    if guest.group is None:
        return
    model = guest.record.live.changing()
    if model.resource is None:
        model.resource = ResourcePartition(partition=PARTITION)


async def place_thread(guest: Guest, name: str, thread: int) -> None:
    """Put a thread of a guest into a group of its own, with its limits. Raises VirError.

    QEMU says which thread it is, and may lie: one of another process is not touched.
    """
    group, process = guest.group, guest.process
    if group is None or not group.threaded or process is None:
        return
    orders = thread_orders(guest.record.live, name, group)

    def move(one: ControlGroup) -> None:
        if task_figures(process.pid, thread) is not None:
            one.move(name, thread)

    await deferToThread(carry_out, group, [*orders, move])


async def confine(guest: Guest, name: str, cpus: int) -> None:
    """Change on which CPUs the group of a thread may run, where there is one. Raises VirError."""
    group = guest.group
    if group is not None and "cpuset" in group.controllers and name in group.children():
        await deferToThread(group.set_cpuset, name, "cpus", format_mask(cpus))


def drop_thread(guest: Guest, name: str) -> None:
    """Remove the group of a thread that is no more."""
    if guest.group is not None and guest.group.threaded:
        guest.group.drop(name)


def forget_group(guest: Guest, note: Path | None) -> None:
    """Remove the groups of a guest that is over, as soon as the kernel lets them go, and the note of them."""
    group, guest.group = guest.group, None
    if group is not None:
        remove_group(guest.world, group, note)


def tell_tuned(guest: Guest, params: Sequence[TypedParam]) -> None:
    """Tell what of a guest's tuning has changed: ``cputune.cpu_shares`` and its like."""
    record = guest.record
    msg = DomainEventCallbackTunableMsg(0, record.ref, params)
    guest.world.hub.publish(Event("domain", c.VIR_DOMAIN_EVENT_ID_TUNABLE, record.uuid, msg))
