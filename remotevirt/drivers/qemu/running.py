"""Stopping the processors of a guest, and letting them run.

A QEMU that does not answer in time may do it later; clients are then told the reason that was meant.
"""

from __future__ import annotations

from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.watching import pause, resume
from remotevirt.stubs.errors import InternalError

__all__ = ["run_cpus", "stop_cpus"]


async def stop_cpus(guest: Guest, reason: int, detail: int) -> None:
    """Pause a guest that runs.

    Args:
        guest: the guest.
        reason: of virDomainPausedReason.
        detail: of the SUSPENDED event.
    """
    guest.pausing = (reason, detail)
    try:
        await guest.execute("stop")
    except InternalError:
        guest.pausing = None
        raise
    guest.pausing = None
    guest.check_alive()
    pause(guest, reason, detail)


async def run_cpus(guest: Guest, reason: int, detail: int) -> None:
    """Let a paused guest run.

    Args:
        guest: the guest.
        reason: of virDomainRunningReason.
        detail: of the RESUMED event.
    """
    guest.resuming = (reason, detail)
    try:
        await guest.execute("cont")
    except InternalError:
        guest.resuming = None
        raise
    guest.resuming = None
    guest.check_alive()
    resume(guest, reason, detail)
