"""How a guest ends: asked for, by itself, or because its QEMU died. All ways lead through :func:`gone`.

::

    end(guest, why) ──► SIGTERM, SIGKILL ─┐
    the guest powers off ──► end          ├─► process is over ──► gone(guest) ──► record, event, files
    QEMU crashes ─────────────────────────┘
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import Final

from twisted.logger import Logger

from remotevirt.drivers.qemu.access import give_back
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed

__all__ = ["CRASHED", "DESTROYED", "FAILED", "OFF", "PANICKED", "SAVED", "End", "end", "gone"]

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

    Args:
        guest: the guest.
        why: what the domain's state and event say.
        graceful: do not kill a QEMU that does not end when it is asked to.

    Raises:
        OperationFailed: it did not end; only if ``graceful``.
    """
    if guest.ending is None:
        guest.ending = why
    process = guest.process
    if process is not None:
        try:
            await process.kill(guest.world.settings.shutdown_timeout, force=not graceful)
        except VirError:
            guest.ending = None
            raise
    gone(guest)


def gone(guest: Guest) -> None:
    """Let go of a guest whose QEMU is over; does nothing if that was done."""
    record, world = guest.record, guest.world
    if record.guest is not guest:
        return
    reason, detail = guest.ending or (OFF if guest.powered_off else CRASHED)
    if guest.ending is None and not guest.powered_off and guest.started:
        log.error("domain {name!r}: its QEMU ended without being asked to", name=record.name)

    def change() -> None:
        world.touch(record)
        record.guest = None
        if guest.started:
            world.stop_and_tell(record, reason, detail)
            return
        world.stop(record, reason)
        if not record.persistent:
            world.remove(record)

    world.apply(change)
    monitor, guest.monitor = guest.monitor, None
    if monitor is not None:
        monitor.close()
    if guest.console is not None:
        guest.console.close()
    give_back(guest.details.owners, world.settings, world.paths_in_use())
    with suppress(OSError):
        shutil.rmtree(guest.folder)
    for waiters in guest.waiting.values():
        for waiter in waiters:
            if not waiter.called:
                waiter.errback(OperationFailed("domain is no longer running", domain=c.VIR_FROM_QEMU))
