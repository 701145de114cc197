"""How a guest starts.

::

    start ──► commit: paused (starting up)          others see that it is there, and may destroy it
          ──► prepare: aliases, ports, firmware's variables, secrets, files given to the guest's user
          ──► QEMU, with its processors stopped; commit: its process
          ──► monitor: what the command line cannot say
          ──► cont; commit: running; STARTED

What fails on the way takes everything back, and the domain is off again. If QEMU has died, the error is
what it said last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from twisted.internet.threads import deferToThread

from remotevirt.drivers.qemu.configuring import configure
from remotevirt.drivers.qemu.guest import Details, Guest
from remotevirt.drivers.qemu.launching import launch
from remotevirt.drivers.qemu.logs import log_path
from remotevirt.drivers.qemu.monitor import MonitorHungUp
from remotevirt.drivers.qemu.preparing import prepare_definition
from remotevirt.drivers.qemu.process import exit_error
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.running import run_cpus
from remotevirt.drivers.qemu.stopping import FAILED, abandon, gone
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid

__all__ = ["BOOT", "RESTORE", "Incoming", "Start", "start", "take_back"]


class Start(NamedTuple):
    """Why a guest starts, and what is told of it.

    Attributes:
        reason: virDomainRunningReason.
        detail: of the STARTED event.
        resumed: detail of the RESUMED event. That of a guest which boots comes before STARTED, that of one
            which goes on after it, as libvirt's do.
        paused: virDomainPausedReason of one that is left paused.
        suspended: detail of its SUSPENDED event.
    """

    reason: int
    detail: int
    resumed: int
    paused: int
    suspended: int


BOOT: Final = Start(
    c.VIR_DOMAIN_RUNNING_BOOTED,
    c.VIR_DOMAIN_EVENT_STARTED_BOOTED,
    c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED,
    c.VIR_DOMAIN_PAUSED_USER,
    c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED,
)
RESTORE: Final = Start(
    c.VIR_DOMAIN_RUNNING_RESTORED,
    c.VIR_DOMAIN_EVENT_STARTED_RESTORED,
    c.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT,
    c.VIR_DOMAIN_PAUSED_MIGRATION,
    c.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED,
)

Incoming = Callable[[Guest], Awaitable[None]]
"""Fills the memory of a guest whose QEMU waits for it (``-incoming defer``)."""


async def start(
    world: QemuWorld,
    record: QemuRecord,
    why: Start,
    *,
    paused: bool = False,
    incoming: Incoming | None = None,
    autodestroy: bool = False,
    reset_nvram: bool = False,
) -> None:
    """Start a domain that is off; the caller holds its turn.

    Args:
        world: whose domain it is.
        record: the domain.
        why: what its state and events say.
        paused: leave its processors stopped.
        incoming: fills its memory; None for a guest that boots.
        autodestroy: it ends with the client's connection, or with this daemon.
        reset_nvram: its firmware's variables are made anew.

    Raises:
        VirError: it cannot be started, and is off.
    """
    emulator = await world.emulators.get(record.live.model.devices.emulator or "")
    guest = Guest(world, record, world.settings.folder(record.uuid), Details(autodestroy=autodestroy))

    def begin() -> None:
        if world.by_uuid.get(record.uuid) is not record or record.active:
            raise OperationInvalid("domain has changed meanwhile", domain=c.VIR_FROM_QEMU)
        world.touch(record)
        record.guest = guest
        managed_save = record.managed_save
        world.start(record, c.VIR_DOMAIN_PAUSED_STARTING_UP, c.VIR_DOMAIN_PAUSED)
        if incoming is not None:
            world.set_managed_save(record, managed_save)  # until it runs again
        prepare_definition(guest, emulator)

    try:
        world.commit(begin)
    except BaseException:
        _not_begun(guest)
        raise
    try:
        await launch(guest, emulator, incoming=incoming is not None, reset_nvram=reset_nvram)
        await configure(guest, emulator)
        if incoming is not None:
            await incoming(guest)
        await _run(guest, why, paused=paused)
    except BaseException as error:
        process, wanted = guest.process, guest.ending is None
        died = process is not None and (process.exited or isinstance(error, MonitorHungUp))
        await abandon(guest, FAILED)
        if process is None or not (died and wanted and isinstance(error, VirError)):
            raise
        said = log_path(world.settings, record.name)
        raise await deferToThread(exit_error, said, process.log_start) from error


def take_back(world: QemuWorld, record: QemuRecord) -> None:
    """After a start that failed: forget a transient domain, give a persistent one its own definition back."""
    if record.active or world.by_uuid.get(record.uuid) is not record:
        return
    if not record.persistent:
        world.commit(world.remove, record)
    elif record.config is not None:
        world.commit(world.replace_live, record, record.config)


def _not_begun(guest: Guest) -> None:
    """Let go of a guest whose start was refused, or could not be kept."""
    record = guest.record
    if record.guest is not guest:
        return
    if record.active:
        gone(guest)  # what a refusal has changed before was kept
    record.guest = None


async def _run(guest: Guest, why: Start, *, paused: bool) -> None:
    """Let a guest's processors run, and tell that it has started."""
    record, world = guest.record, guest.world
    guest.started = True

    def told() -> None:
        if paused or why is not BOOT:
            world.set_state(record, c.VIR_DOMAIN_PAUSED, why.paused)
        world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, why.detail)
        if paused:
            world.publish(record, c.VIR_DOMAIN_EVENT_SUSPENDED, why.suspended)

    if why is not BOOT:
        world.commit(told)
    if not paused:
        await run_cpus(guest, why.reason, why.resumed)
    if why is BOOT:
        world.commit(told)
