"""How far a guest's memory has got on its way into a file or out of one; and giving that up."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.progress import Progress
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetJobInfoRet, DomainGetJobStatsRet
from remotevirt.stubs.remote.event import DomainEventCallbackJobCompletedMsg
from remotevirt.typed_params import boolean, int_, ullong

__all__ = ["JobCalls", "finished"]

COMPLETED: Final[int] = c.VIR_DOMAIN_JOB_STATS_COMPLETED
KEEP: Final[int] = c.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED

NO_JOB: Final = DomainGetJobInfoRet(c.VIR_DOMAIN_JOB_NONE, *[0] * 11)


def finished(guest: Guest) -> None:
    """Remember and tell that a guest's job has ended well; while ``progress`` is still there."""
    progress = guest.progress
    if progress is None:
        return
    progress.elapsed = _elapsed(guest, progress)
    record = guest.record
    record.finished = progress
    if not progress.migrates:
        return  # as libvirt, which does not tell of dumps of the memory alone
    params = [*_params(progress, progress.elapsed), boolean(c.VIR_DOMAIN_JOB_SUCCESS, True)]
    msg = DomainEventCallbackJobCompletedMsg(0, record.ref, params)
    guest.world.hub.publish(Event("domain", c.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, record.uuid, msg))


def _elapsed(guest: Guest, progress: Progress) -> int:
    """Return how long a job has run, in milliseconds."""
    return max(int((guest.world.reactor.seconds() - progress.began) * 1000), 0)


def _params(progress: Progress, elapsed: int) -> list[TypedParam]:
    """Return what is known of a job, with libvirt's names and in its order."""
    params = [int_(c.VIR_DOMAIN_JOB_OPERATION, progress.operation)]
    params.append(ullong(c.VIR_DOMAIN_JOB_TIME_ELAPSED, elapsed))
    memory = {"total": progress.total, "processed": progress.done, "remaining": progress.left}
    if progress.migrates:
        for name in (c.VIR_DOMAIN_JOB_DOWNTIME, c.VIR_DOMAIN_JOB_SETUP_TIME):
            if name in progress.figures:
                params.append(ullong(name, progress.figures[name]))
        # disks never go along, so memory is all that there is
        params += [ullong(f"data_{name}", value) for name, value in memory.items()]
    params += [ullong(f"memory_{name}", value) for name, value in memory.items()]
    params += [
        ullong(name, value)
        for name, value in progress.figures.items()
        if name not in (c.VIR_DOMAIN_JOB_DOWNTIME, c.VIR_DOMAIN_JOB_SETUP_TIME)
    ]
    return params


class JobCalls(QemuCalls):
    """virDomainGetJobInfo and its family; they never wait for the guest's turn, which the job has."""

    def domain_get_job_info(self, dom: NonnullDomain) -> DomainGetJobInfoRet:
        """Return how far the job is: times in milliseconds, amounts in bytes."""
        guest = self.guest(self.record(dom))
        progress = guest.progress
        if progress is None:
            return NO_JOB
        memory = (progress.total, progress.done, progress.left)
        data = memory if progress.migrates else (0, 0, 0)
        elapsed = _elapsed(guest, progress)
        return DomainGetJobInfoRet(c.VIR_DOMAIN_JOB_UNBOUNDED, elapsed, 0, *data, *memory, 0, 0, 0)

    def domain_get_job_stats(self, dom: NonnullDomain, flags: int) -> DomainGetJobStatsRet:
        """Return how far the job is, or with VIR_DOMAIN_JOB_STATS_COMPLETED how the last one ended, once."""
        self.check_flags(flags, COMPLETED | KEEP, "DomainGetJobStats")
        record = self.record(dom)
        if flags & COMPLETED:
            last = record.finished
            if last is None:
                return DomainGetJobStatsRet(c.VIR_DOMAIN_JOB_NONE, ())
            if not flags & KEEP:
                record.finished = None
            return DomainGetJobStatsRet(c.VIR_DOMAIN_JOB_COMPLETED, _params(last, last.elapsed))
        guest = self.guest(record)
        progress = guest.progress
        if progress is None:
            return DomainGetJobStatsRet(c.VIR_DOMAIN_JOB_NONE, ())
        return DomainGetJobStatsRet(c.VIR_DOMAIN_JOB_UNBOUNDED, _params(progress, _elapsed(guest, progress)))

    async def domain_abort_job(self, dom: NonnullDomain) -> None:
        """Give the job up."""
        await self.domain_abort_job_flags(dom, 0)

    async def domain_abort_job_flags(self, dom: NonnullDomain, flags: int) -> None:
        """As domain_abort_job; VIR_DOMAIN_ABORT_JOB_POSTCOPY is for migrations, of which there are none."""
        self.check_flags(flags, c.VIR_DOMAIN_ABORT_JOB_POSTCOPY, "DomainAbortJobFlags")
        guest = self.guest(self.record(dom))
        progress = guest.progress
        text = ""
        if progress is None:
            text = "no job is active on the domain"
        elif not progress.migrates:
            text = "cannot abort memory-only dump"
        elif progress.operation == c.VIR_DOMAIN_JOB_OPERATION_RESTORE:
            text = "cannot abort incoming migration; use virDomainDestroy instead"
        if text or progress is None:
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        progress.aborted = True
        await guest.execute("migrate_cancel")
