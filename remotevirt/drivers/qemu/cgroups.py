"""Limits of running guests: calls that the kernel's control groups answer and carry out.

Where a guest has not got the controller, a call that means the running guest is refused in libvirt's words.
What is written may take the kernel long (it frees and moves memory), so it is done in threads, in the turn of
the domain, and to the end; the definitions follow what the kernel has taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from remotevirt.drivers.domains.calls import LIVE
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.control_groups.group import ControlGroup, CpuTimes
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid

__all__ = ["CgroupCalls", "cpu_times", "no_controller"]

T = TypeVar("T")

log = Logger()

_WORDS: Final = {
    "cpu": "cgroup CPU controller is not mounted",
    "cpuacct": "cgroup CPUACCT controller is not mounted",
    "memory": "cgroup memory controller is not mounted",
    "cpuset": "cgroup cpuset controller is not mounted",
    "blkio": "blkio cgroup isn't mounted",
}
"""libvirt's, by the controller."""


def no_controller(controller: str) -> OperationInvalid:
    """Return the error for what a controller would have to do: cpu, cpuacct, memory, cpuset or blkio."""
    return OperationInvalid(_WORDS[controller], domain=c.VIR_FROM_QEMU)


class CgroupCalls(QemuCalls):
    """The base of calls that need a controller for a running guest."""

    def live_group(self, record: QemuRecord, flags: int, controller: str) -> ControlGroup | None:
        """Return the groups of a running guest that a call means; None if it means only the definition.

        Raises:
            OperationInvalid: it has not got the controller, or :meth:`impact` says no.
        """
        if not self.impact(record, flags) & LIVE:
            return None
        return self.group_of(record, controller)

    def group_of(self, record: QemuRecord, controller: str) -> ControlGroup:
        """Return the groups of a running guest; raises OperationInvalid without the controller."""
        group = self.guest(record).group
        if group is None or controller not in group.controllers:
            raise no_controller(controller)
        return group

    async def tell_kernel(self, record: QemuRecord, order: Callable[[], T]) -> T:
        """Do something with a guest's groups, in a thread.

        Raises:
            VirError: it fails, or the guest went away meanwhile.
        """
        guest = self.guest(record)
        result = await deferToThread(order)
        guest.check_wanted()
        self.still(record)
        return result


def cpu_times(guest: Guest) -> CpuTimes | None:
    """Return the CPU time of a guest: of its group, or else of its process; None if there is none."""
    group = guest.group
    if group is not None and "cpuacct" in group.controllers:
        try:
            return group.times()
        except VirError as error:
            log.debug("{path}: {error}", path=group.path, error=error)
    figures = None if guest.process is None else task_figures(guest.process.pid)
    return None if figures is None else CpuTimes(figures.cpu, figures.user, figures.system)
