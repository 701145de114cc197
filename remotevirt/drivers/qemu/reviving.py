"""Finding guests again after a restart of the daemon.

::

    row of a guest ──► its process? ──no──► the guest ended meanwhile: off (crashed)
                          │
                         yes ──► its monitor? ──no──► nobody can talk to it: ended
                                    │
                                   yes ──► query-status ──► running, paused (why is in the row), off

A QEMU that was told to start and whose daemon died before it could note the process is found by the file
into which it writes its number. All guests are looked for at once; one that does not answer holds up nobody
but calls on itself.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from remotevirt.drivers.qemu.configuring import find_threads
from remotevirt.drivers.qemu.figures import boot_id, task_figures
from remotevirt.drivers.qemu.guest import Details, Guest, Owner
from remotevirt.drivers.qemu.launching import PID_FILE, attend, converse
from remotevirt.drivers.qemu.process import QemuProcess, find
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.stopping import CRASHED, OFF, end, gone
from remotevirt.drivers.qemu.unplugging import gone_meanwhile
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.store import GuestRow
from remotevirt.stubs import constants as c

__all__ = ["revive"]

log = Logger()


async def revive(world: QemuWorld, rows: list[GuestRow]) -> None:
    """Find the guests that ran when the daemon ended.

    Args:
        world: with the persistent domains of the store; transient ones come with their guests.
        rows: what was kept of them.
    """
    guests: list[tuple[Guest, GuestRow]] = []

    def take_in() -> None:
        for row in rows:
            try:
                guests.append((_take_in(world, row), row))
            except VirError as error:
                log.error("guest {name!r} is left alone: {error}", name=row.name, error=error)

    world.commit(take_in)
    await DeferredList([Deferred.fromCoroutine(_reattach(*one)) for one in guests], consumeErrors=True)


def _take_in(world: QemuWorld, row: GuestRow) -> Guest:
    """Make a domain active as it was; inside of a commit."""
    model = world.definitions.read(row.document, live=True)
    live = world.definitions(model, row.size)
    record, _ = world.assign(live, live=True)
    assert isinstance(record, QemuRecord)
    details = _details(row.details)
    guest = Guest(world, record, world.settings.folder(record.uuid), details)
    guest.started = row.reason != c.VIR_DOMAIN_PAUSED_STARTING_UP or row.state != c.VIR_DOMAIN_PAUSED
    record.guest = guest
    world.next_id = row.id
    world.start(record, row.reason, row.state)
    return guest


def _details(text: str) -> Details:
    """Return what was kept of a guest; what the daemon itself wrote is believed."""
    kept: dict[str, Any] = json.loads(text)
    owners = [Owner(**owner) for owner in kept.pop("owners", [])]
    known = {field.name for field in attrs.fields(Details)}
    return Details(owners=owners, **{name: value for name, value in kept.items() if name in known})


def _find(guest: Guest, kept: dict[str, Any]) -> QemuProcess | None:
    """Return the process of a guest, None if it is over."""
    world, program = guest.world, guest.record.live.model.devices.emulator
    if not kept:
        # the daemon ended before it could note the process; QEMU itself writes its number into a file
        try:
            pid = int((guest.folder / PID_FILE).read_text()[:32])
        except (OSError, ValueError):
            return None
        figures = task_figures(pid)
        kept = {"pid": pid, "start_time": figures.start_time if figures else 0, "boot": boot_id()}
    return find(kept["pid"], kept["start_time"], kept["boot"], reactor=world.reactor, program=program)


async def _reattach(guest: Guest, row: GuestRow) -> None:
    """Find a guest's QEMU, or note that it is over."""
    world, record = guest.world, guest.record
    try:
        process = _find(guest, json.loads(row.process))
        if process is None:
            guest.ending = CRASHED if guest.started else None
            gone(guest)
            return
        attend(guest, process)
        guest.monitor = await converse(guest, world.settings.start_timeout)
        await _look(guest)
    except VirError as error:
        log.error("guest {name!r} cannot be reached: {error}", name=record.name, error=error)
        if record.guest is guest and guest.monitor is None:
            await end(guest, CRASHED)
    else:
        log.info("guest {name!r} was found again, process {pid}", name=record.name, pid=process.pid)


async def _look(guest: Guest) -> None:
    """Find out how a guest does that was alone for a while."""
    world, record = guest.world, guest.record
    if not guest.started:
        # the start was never acknowledged, and nobody knows how far it came
        await end(guest, CRASHED)
        return
    status = await guest.execute("query-status")
    guest.threads = await find_threads(guest)
    await gone_meanwhile(guest)
    word = status.get("status") if isinstance(status, dict) else None
    if word == "running" and record.state != c.VIR_DOMAIN_RUNNING:
        state = (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED)
        world.apply(lambda: world.set_state(record, *state))
    elif word in PAUSED and record.state == c.VIR_DOMAIN_RUNNING:
        world.apply(lambda: world.set_state(record, c.VIR_DOMAIN_PAUSED, PAUSED[word]))
    elif word == "shutdown":
        guest.powered_off = True
        await end(guest, OFF)
    elif word == "guest-panicked" and record.state != c.VIR_DOMAIN_CRASHED:
        state = (c.VIR_DOMAIN_CRASHED, c.VIR_DOMAIN_CRASHED_PANICKED)
        world.apply(lambda: world.set_state(record, *state))
    elif word == "suspended":
        state = (c.VIR_DOMAIN_PMSUSPENDED, c.VIR_DOMAIN_PMSUSPENDED_UNKNOWN)
        world.apply(lambda: world.set_state(record, *state))


PAUSED = {
    "paused": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "io-error": c.VIR_DOMAIN_PAUSED_IOERROR,
    "watchdog": c.VIR_DOMAIN_PAUSED_WATCHDOG,
    "save-vm": c.VIR_DOMAIN_PAUSED_SAVE,
    "debug": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "internal-error": c.VIR_DOMAIN_PAUSED_UNKNOWN,
    "prelaunch": c.VIR_DOMAIN_PAUSED_UNKNOWN,
}
"""QEMU's words for a guest whose processors stand still: virDomainPausedReason."""
