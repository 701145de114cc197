"""Stopping the processors of a guest, and letting them run."""

from __future__ import annotations

from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.watching import pause, resume

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
    finally:
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
    finally:
        guest.resuming = None
    guest.check_alive()
    resume(guest, reason, detail)
