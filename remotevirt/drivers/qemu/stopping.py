"""How a guest ends: asked for, by itself, or because its QEMU died. All ways lead through :func:`gone`.

::

    end(guest, why) ──► SIGTERM, SIGKILL ─┐
    the guest powers off ──► end          ├─► process is over ──► gone(guest) ──► record, event, files
    QEMU crashes ─────────────────────────┘

A guest that has no process yet is taken back by the call that starts it (:func:`abandon`), which looks at
``ending`` after each wait; who wants its end waits for that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.qemu.folders import discard
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import pay_back, soon
from remotevirt.drivers.qemu.hugepages import huge_folders
from remotevirt.drivers.qemu.left_groups import note_group
from remotevirt.drivers.qemu.limits import forget_group
from remotevirt.drivers.qemu.outputs import forget_output
from remotevirt.drivers.regardless import regardless
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed

__all__ = [
    "CRASHED",
    "DESTROYED",
    "FAILED",
    "OFF",
    "PANICKED",
    "SAVED",
    "End",
    "abandon",
    "end",
    "gone",
]

log = Logger()

End = tuple[int, int]
"""Why a guest is off: virDomainShutoffReason, and the detail of the STOPPED event."""

OFF: Final[End] = (c.VIR_DOMAIN_SHUTOFF_SHUTDOWN, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
DESTROYED: Final[End] = (c.VIR_DOMAIN_SHUTOFF_DESTROYED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
CRASHED: Final[End] = (c.VIR_DOMAIN_SHUTOFF_CRASHED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED)
PANICKED: Final[End] = (c.VIR_DOMAIN_SHUTOFF_CRASHED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
SAVED: Final[End] = (c.VIR_DOMAIN_SHUTOFF_SAVED, c.VIR_DOMAIN_EVENT_STOPPED_SAVED)
FAILED: Final[End] = (c.VIR_DOMAIN_SHUTOFF_FAILED, c.VIR_DOMAIN_EVENT_STOPPED_FAILED)


async def end(guest: Guest, why: End, *, graceful: bool = False) -> None:
    """End a guest's QEMU, and wait until it is gone.

    A call that is cancelled meanwhile does not save it.

    Args:
        guest: the guest.
        why: what the domain's state and event say.
        graceful: do not kill a QEMU that does not end when it is asked to.

    Raises:
        VirSystemError: it did not end.
    """
    first = guest.ending is None
    if first:
        guest.ending = why
    if guest.process is None:
        if guest.record.guest is guest:
            await wait_over(guest)
        await left(guest)
        return
    try:
        await regardless(Deferred.fromCoroutine(_kill(guest, force=not graceful)))
    except VirError:
        if first:
            guest.ending = None
        raise


async def abandon(guest: Guest, why: End) -> None:
    """Take back a guest that does not start; only the call that starts it may."""
    if guest.process is not None:
        await end(guest, why)
        return
    if guest.ending is None:
        guest.ending = why
    gone(guest)
    await left(guest)


async def _kill(guest: Guest, *, force: bool) -> None:
    assert guest.process is not None
    await guest.process.kill(guest.world.settings.shutdown_timeout, force=force)
    gone(guest)
    await left(guest)


async def left(guest: Guest) -> None:
    """Wait until a guest that has gone has left nothing behind, unless a disk takes too long."""
    if guest.settled is not None:
        await soon(guest.world, guest.settled)


def wait_over(guest: Guest) -> Deferred[None]:
    """Return what fires when the domain has let go of a guest. May be cancelled."""
    waiter: Deferred[None] = Deferred(guest.over.remove)
    guest.over.append(waiter)
    return waiter


def gone(guest: Guest) -> None:
    """Let go of a guest whose QEMU is over; does nothing if that was done."""
    record, world = guest.record, guest.world
    if record.guest is not guest:
        return
    reason, detail = guest.ending or (OFF if guest.powered_off else CRASHED)
    if guest.ending is None and not guest.powered_off and guest.started:
        log.error("domain {name!r}: its QEMU ended without being asked to", name=record.name)

    folders = (guest.folder, world.settings.channel / guest.folder.name, *huge_folders(guest).values())

    def change() -> None:
        world.touch(record)
        record.guest = None
        world.owe(guest.details.owners)
        if guest.started:
            world.stop_and_tell(record, reason, detail)
            return
        world.stop(record, reason)
        if not record.persistent:
            world.remove(record)

    note = note_group(guest)
    world.apply(change)
    monitor, guest.monitor = guest.monitor, None
    if monitor is not None:
        monitor.close()
    if guest.console is not None:
        guest.console.close()
    guest.settled = pay_back(world, guest.details.owners)
    forget_group(guest, note)
    if guest.details.output is not None:
        forget_output(guest)
    for folder in folders:
        discard(folder)
    with suppress(OSError):
        guest.socket.unlink()
    waiting = [waiter for waiters in guest.waiting.values() for waiter in waiters]
    for waiter in waiting:
        if not waiter.called:
            waiter.errback(OperationFailed("domain is no longer running", domain=c.VIR_FROM_QEMU))
    over, guest.over = guest.over, []
    for waiter in over:
        waiter.callback(None)
