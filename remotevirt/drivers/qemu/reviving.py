"""Finding guests again after a restart of the daemon.

::

    row of a guest ──► its process? ──no──► the guest ended meanwhile: off (crashed)
                          │
                         yes ──► its monitor? ──no──► nobody can talk to it: ended
                                    │
                                   yes ──► query-status ──► running, paused (why is in the row), off

All rows are taken in before the first client is served, so that nobody starts a second QEMU. Then QEMUs are
talked to, all at once, each with the turn of its domain: one that does not answer holds up nobody but calls
on itself, and is asked again until it answers or ends.

A QEMU that was told to start and whose daemon died before it could note the process is found by its monitor:
its socket is there since before QEMU, and takes connections as long as anybody has it open. QEMU has written
its number into a file by the time that it answers there.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, Final, NamedTuple

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.chains import find_volume
from remotevirt.drivers.qemu.characters import CHANGED, channels_of, find_characters, take_in_states
from remotevirt.drivers.qemu.complete.aliases import assign_aliases
from remotevirt.drivers.qemu.configuring import find_threads
from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.dumping import dump_over
from remotevirt.drivers.qemu.figures import boot_id, task_figures
from remotevirt.drivers.qemu.folders import discard
from remotevirt.drivers.qemu.guest import AskedCpu, Details, Guest, Output, Owner
from remotevirt.drivers.qemu.launching import PID_FILE, attend, converse
from remotevirt.drivers.qemu.left_groups import remove_left
from remotevirt.drivers.qemu.monitor import Monitor
from remotevirt.drivers.qemu.outputs import drop_output
from remotevirt.drivers.qemu.process import QemuProcess, find
from remotevirt.drivers.qemu.reconciling import reconcile
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.running import run_cpus
from remotevirt.drivers.qemu.saving import managed_path
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.stopping import CRASHED, DESTROYED, SAVED, abandon, end, gone
from remotevirt.drivers.qemu.watching import panicked, shut_down
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.store import GuestRow
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationTimeout

__all__ = ["Found", "find_volumes", "reattach", "sweep", "take_in"]

log = Logger()

AGAIN_SECONDS: Final = 1.0
"""How long to wait before a QEMU that did not answer is asked again."""


class Found(NamedTuple):
    """A guest that was there, and what was kept of its process."""

    guest: Guest
    kept: dict[str, Any]


def take_in(world: QemuWorld, rows: list[GuestRow]) -> list[Found]:
    """Make the domains active again that ran when the daemon ended; those without a process are off.

    Args:
        world: with the persistent domains of the store; transient ones come with their guests.
        rows: what was kept of them.
    """
    found: list[Found] = []

    def take_in_all() -> None:
        found.clear()
        for row in rows:
            try:
                found.append(Found(_take_in(world, row), json.loads(row.process)))
            except (VirError, ValueError, TypeError) as error:
                log.error("guest {name!r} is left alone: {error}", name=row.name, error=error)
        world.next_id = max((row.id for row in rows), default=0) + 1

    world.apply(take_in_all)
    alive = []
    for guest, kept in found:
        if kept:
            process = _find(guest, kept)
            if process is None:
                gone(guest)
                continue
            attend(guest, process)
        alive.append(Found(guest, kept))
    return alive


def _take_in(world: QemuWorld, row: GuestRow) -> Guest:
    """Make a domain active as it was; inside of a commit."""
    details = _details(row.details)
    record, _ = world.assign(_live(world, row), live=True)
    assert isinstance(record, QemuRecord)
    guest = Guest(world, record, world.settings.folder(record.uuid), details)
    guest.started = row.reason != c.VIR_DOMAIN_PAUSED_STARTING_UP or row.state != c.VIR_DOMAIN_PAUSED
    record.guest = guest
    guest.group = _group(world, details.group)
    world.next_id = row.id
    managed_save = record.managed_save
    world.start(record, row.reason, row.state)
    world.set_managed_save(record, managed_save)
    return guest


def _group(world: QemuWorld, path: str) -> ControlGroup | None:
    """Return the control groups of a guest that has some."""
    if not path or world.groups is None:
        return None
    group = world.groups.group(path)
    group.find()
    return group if group.controllers else None


def _live(world: QemuWorld, row: GuestRow) -> Definition:
    """Return the live definition of a guest.

    If it cannot be read any more, by a newer daemon say, the persistent one has to do: the guest must not be
    forgotten, since its QEMU has its disks open.
    """
    try:
        return world.definitions(world.definitions.read(row.document, live=True), row.size)
    except VirError as error:
        known = world.by_uuid.get(row.uuid)
        if known is None:
            raise
        log.error("the live definition of guest {name!r} is lost: {error}", name=row.name, error=error)
        live = known.live.copy()
        assign_aliases(live.changing())
        return live


def find_volumes(world: QemuWorld) -> None:
    """Find the volumes that disks of guests name, now that the pools are there again."""
    for guest in world.guests():
        for disk in guest.record.live.model.devices.disks:
            try:
                find_volume(world, disk)
            except VirError as error:
                name = guest.record.name
                log.error("disk {disk} of guest {name!r}: {error}", disk=disk.dev, name=name, error=error)


def _details(text: str) -> Details:
    """Return what was kept of a guest; what the daemon itself wrote is believed."""
    kept: dict[str, Any] = json.loads(text)
    owners = [Owner(**owner) for owner in kept.pop("owners", [])]
    output = kept.pop("output", None)
    if output is not None:
        kept["output"] = Output(**output)
    cpu = kept.pop("cpu", None)
    if cpu is not None:
        kept["cpu"] = AskedCpu(**cpu)
    known = {field.name for field in attrs.fields(Details)}
    return Details(owners=owners, **{name: value for name, value in kept.items() if name in known})


def reattach(world: QemuWorld, found: list[Found]) -> Deferred[Any]:
    """Talk to guests again; each has the turn of its domain from now on until that is done.

    Returns:
        Fires when all is done. May be cancelled.
    """
    return DeferredList([Deferred.fromCoroutine(_reattach(world, *one)) for one in found], consumeErrors=True)


async def _reattach(world: QemuWorld, guest: Guest, kept: dict[str, Any]) -> None:
    record = guest.record
    async with record.job.turn("reattach", world.reactor, world.settings.job_timeout):
        try:
            monitor = await _connect(guest)
            if not kept:
                process = _find(guest, _noted_by_qemu(guest))
                if process is not None:
                    attend(guest, process)
            guest.monitor = monitor
            await _look(guest)
        except VirError as error:
            log.error("guest {name!r} cannot be reached: {error}", name=record.name, error=error)
            if record.guest is guest and guest.monitor is None:
                await abandon(guest, CRASHED)
        except Exception:
            log.failure("guest {name!r} was not looked at", name=record.name)
        else:
            log.info("guest {name!r} was found again", name=record.name)


async def _connect(guest: Guest) -> Monitor:
    """Connect to the monitor of a guest, however long it takes to answer.

    Raises:
        VirError: nobody is there.
    """
    while True:
        try:
            return await converse(guest, guest.world.settings.start_timeout)
        except OperationTimeout:
            log.warn("guest {name!r} does not answer", name=guest.record.name)
        guest.check_wanted()
        await deferLater(guest.world.reactor, AGAIN_SECONDS)
        guest.check_wanted()


def _noted_by_qemu(guest: Guest) -> dict[str, Any]:
    """Return what QEMU has noted of its own process; only if that process was started for this guest."""
    path = guest.folder / PID_FILE
    try:
        # the folder is QEMU's own: a pipe in its place would hold up whoever reads it
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            pid = int(file.read(32) or b"")
        with open(f"/proc/{pid:d}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except (OSError, ValueError):
        return {}
    figures = task_figures(pid)
    if figures is None or os.fsencode(path) not in words:
        return {}
    return {"pid": pid, "start_time": figures.start_time, "boot": boot_id()}


def _find(guest: Guest, kept: dict[str, Any]) -> QemuProcess | None:
    """Return the process of a guest, None if it is over."""
    if not kept:
        return None
    world, program = guest.world, guest.record.live.model.devices.emulator
    return find(kept["pid"], kept["start_time"], kept["boot"], reactor=world.reactor, program=program)


async def _look(guest: Guest) -> None:
    """Find out how a guest does that was alone for a while."""
    world, record = guest.world, guest.record
    if not guest.started:
        # the start was never acknowledged, and nobody knows how far it came
        if guest.process is None:
            with suppress(VirError):
                await guest.execute("quit")
        await abandon(guest, CRASHED)
        return
    if record.managed_save:
        # all of it is in the file, and may not go on here as well
        await end(guest, SAVED)
        return
    if guest.details.autodestroy:
        # the connection that it belonged to ended with the daemon before
        await end(guest, DESTROYED)
        return
    status = await guest.execute("query-status")
    guest.threads = await find_threads(guest)
    await reconcile(guest)
    await _look_at_channels(guest)
    if record.reason not in GIVEN_UP:
        await drop_output(guest)  # of a dump that did not pause the guest
    word = status.get("status") if isinstance(status, dict) else None
    if word == "shutdown":
        shut_down(guest, {})
    elif word == "guest-panicked":
        panicked(guest)
    elif record.state == c.VIR_DOMAIN_PAUSED and record.reason in GIVEN_UP:
        with suppress(VirError):
            await guest.execute("migrate_cancel")
            await dump_over(guest)
        await drop_output(guest)
        await run_cpus(guest, c.VIR_DOMAIN_RUNNING_SAVE_CANCELED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
    elif word == "running" and record.state != c.VIR_DOMAIN_RUNNING:
        state = (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED)
        world.apply(lambda: world.set_state(record, *state))
    elif word in PAUSED and record.state == c.VIR_DOMAIN_RUNNING:
        world.apply(lambda: world.set_state(record, c.VIR_DOMAIN_PAUSED, PAUSED[word]))
    elif word == "suspended" and record.state != c.VIR_DOMAIN_PMSUSPENDED:
        state = (c.VIR_DOMAIN_PMSUSPENDED, c.VIR_DOMAIN_PMSUSPENDED_UNKNOWN)
        world.apply(lambda: world.set_state(record, *state))


async def _look_at_channels(guest: Guest) -> None:
    """Find out which channels a guest has opened or closed meanwhile."""
    world, record = guest.world, guest.record
    if not channels_of(record.live.model):
        return
    characters = await find_characters(guest)

    def change() -> None:
        world.touch(record)
        take_in_states(guest, characters, CHANGED)

    world.apply(change)


GIVEN_UP: Final = frozenset({c.VIR_DOMAIN_PAUSED_SAVE, c.VIR_DOMAIN_PAUSED_DUMP})
"""Why a guest was paused by a call that ended with its daemon; it ran before, and goes on."""

PAUSED: Final = {
    "paused": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "io-error": c.VIR_DOMAIN_PAUSED_IOERROR,
    "watchdog": c.VIR_DOMAIN_PAUSED_WATCHDOG,
    "save-vm": c.VIR_DOMAIN_PAUSED_SAVE,
    "postmigrate": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "debug": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "internal-error": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "prelaunch": c.VIR_DOMAIN_PAUSED_UNKNOWN,
}
"""QEMU's words for a guest whose processors stand still: virDomainPausedReason."""


async def sweep(world: QemuWorld) -> None:
    """Remove what guests have left that are no more; called before the first guest starts.

    Their folders are taken out of the way and removed later: nobody knows what is in them. What cannot be
    removed is logged.
    """
    names = frozenset(guest.folder.name for guest in world.guests())
    sockets = frozenset(guest.socket.name for guest in world.guests())
    saves = frozenset(managed_path(world, record).name for record in world.records() if record.managed_save)
    known = frozenset(managed_path(world, record).name for record in world.records())
    settings = world.settings
    for folder in (settings.run, settings.channel):
        try:
            for entry in folder.iterdir():
                if entry.name not in names:
                    discard(entry)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.error("{folder} is not swept: {error}", folder=folder, error=error)
    await in_thread(str(settings.state), lambda stop: _sweep(settings, sockets, known - saves))
    try:
        remove_left(world)
    except OSError as error:
        log.error("control groups may be left: {error}", error=error)


def _sweep(settings: Settings, sockets: frozenset[str], saves: frozenset[str]) -> None:
    """Remove other sockets than those, and managed saves that do not count; in a thread.

    The saves of domains that this daemon cannot read stay.
    """
    for name in saves:
        with suppress(OSError):
            os.unlink(settings.save / name)
    with suppress(OSError):
        for entry in settings.monitor.iterdir():
            if entry.name not in sockets:
                entry.unlink()
