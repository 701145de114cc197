"""A guest's memory on its way into a file, or out of one: QEMU's migration, watched until it is over.

QEMU is handed a descriptor, so it opens nothing itself. While memory flows the call holds its guest's turn;
how far it is can be asked (``domjobinfo``), and it can be given up (``domjobabort``), without that turn.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from twisted.internet.task import deferLater

from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.jobs_info import finished
from remotevirt.drivers.qemu.progress import Progress
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationAborted, OperationFailed

__all__ = ["fill", "pour"]

POLL_SECONDS: Final = 0.05
"""How often QEMU is asked how far it is; libvirt hears of it by events."""

CANCEL_SECONDS: Final = 5.0
"""How long QEMU has to take note that nobody wants the memory any more; it does that also later."""

UNBOUNDED: Final = 2**63 - 1
"""Bytes a second: as fast as the disk takes it. libvirt: the same, on QEMUs that know no larger number."""

NAME: Final = "memory"
"""What the descriptor is called in QEMU's monitor."""


async def pour(guest: Guest, file: int, operation: int) -> None:
    """Write a guest's memory and devices into a file, from where the descriptor is.

    Args:
        guest: paused, and with the caller's turn.
        file: the descriptor; it stays the caller's.
        operation: of virDomainJobOperation.

    Raises:
        OperationAborted: somebody asked to give up.
        OperationFailed: QEMU could not.
    """
    await guest.execute(
        "migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]}
    )
    await guest.execute("migrate-set-parameters", {"max-bandwidth": UNBOUNDED})
    await guest.execute("getfd", {"fdname": NAME}, files=[file])
    guest.progress = Progress(operation, guest.world.reactor.seconds())
    try:
        await guest.execute("migrate", {"uri": f"fd:{NAME}"})
        await _watch(guest, "saved")
        finished(guest)
    except BaseException:
        with suppress(VirError):
            # or it would stop the guest again when it is done
            await guest.execute("migrate_cancel", timeout=CANCEL_SECONDS)
        raise
    finally:
        guest.progress = None


async def fill(guest: Guest, file: int) -> None:
    """Read the memory and devices of a guest that waits for them, from where the descriptor is.

    Raises:
        OperationFailed: QEMU could not.
    """
    await guest.execute("getfd", {"fdname": NAME}, files=[file])
    guest.progress = Progress(c.VIR_DOMAIN_JOB_OPERATION_RESTORE, guest.world.reactor.seconds())
    try:
        await guest.execute("migrate-incoming", {"uri": f"fd:{NAME}"})
        await _watch(guest, "restored")
    finally:
        guest.progress = None


async def _watch(guest: Guest, what: str) -> None:
    while True:
        answer: Any = await guest.execute("query-migrate")
        status = answer.get("status") if isinstance(answer, dict) else None
        if guest.progress is not None and isinstance(answer, dict):
            guest.progress.take(answer)
        if status == "completed":
            return
        if status in ("cancelled", "cancelling") and guest.progress is not None and guest.progress.aborted:
            raise OperationAborted("canceled by client", domain=c.VIR_FROM_QEMU)
        if status in ("failed", "cancelled"):
            why = answer.get("error-desc")
            text = why[:1024] if isinstance(why, str) else "unexpectedly failed"
            raise OperationFailed(f"guest memory cannot be {what}: {text}", domain=c.VIR_FROM_QEMU)
        guest.check_alive()
        await deferLater(guest.world.reactor, POLL_SECONDS)
