"""What only the kernel's control groups can do for a running guest: shares, quotas and limits.

Guests of this driver have no control groups, so a running guest is never told to have what nobody enforces:
calls that look at such limits or change them are refused in the words of a libvirt without the controller.
The persistent definition can be changed.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import LIVE
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["CgroupCalls", "no_controller"]

_WORDS: Final = {
    "cpu": "cgroup CPU controller is not mounted",
    "memory": "cgroup memory controller is not mounted",
    "cpuset": "cgroup cpuset controller is not mounted",
    "blkio": "blkio cgroup isn't mounted",
}
"""libvirt's, by the controller."""


def no_controller(controller: str) -> OperationInvalid:
    """Return the error for what a controller would have to do: cpu, memory, cpuset or blkio."""
    return OperationInvalid(_WORDS[controller], domain=c.VIR_FROM_QEMU)


class CgroupCalls(QemuCalls):
    """The base of calls that need a controller for a running guest."""

    def only_config(self, dom: NonnullDomain, flags: int, controller: str) -> None:
        """Refuse a call that means a running guest.

        Raises:
            OperationInvalid: it does, or :meth:`impact` says no.
        """
        if self.impact(self.record(dom), flags) & LIVE:
            raise no_controller(controller)
