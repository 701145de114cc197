"""What a guest's agent would do: freeze, thaw and trim file systems, name them, set passwords.

Every guest has the same two file systems, on the first of its hard disks. Whether they are frozen belongs to
the domain, running or not, as in libvirt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import argument_must, check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import DomainFsinfo, NonnullDomain
from remotevirt.stubs.remote.domain import DomainGetFsinfoRet

__all__ = ["GuestFileCalls"]

MOUNT_POINTS: Final = ("/", "/boot")
"""Where every guest's file systems are mounted."""


class GuestFileCalls(DomainCalls):
    """The agent's part of libvirt's API, as far as its test driver has it."""

    def domain_fsfreeze(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Freeze file systems, all if none is named; return how many were not frozen before."""
        check_flags(flags, 0, "testDomainFSFreeze")
        record = self.active(dom)
        wanted = _mounted(mountpoints) - record.frozen
        record.frozen |= wanted
        return len(wanted)

    def domain_fsthaw(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Thaw file systems, all if none is named; return how many were frozen before."""
        check_flags(flags, 0, "testDomainFSThaw")
        record = self.active(dom)
        wanted = _mounted(mountpoints) & record.frozen
        record.frozen -= wanted
        return len(wanted)

    def domain_fstrim(self, dom: NonnullDomain, mountPoint: str | None, minimum: int, flags: int) -> None:
        """Pretend to give back what a file system, or with None all, no longer needs."""
        check_flags(flags, 0, "testDomainFSTrim")
        self.active(dom)
        _mounted([] if mountPoint is None else [mountPoint])

    def domain_get_fsinfo(self, dom: NonnullDomain, flags: int) -> DomainGetFsinfoRet:
        """Return the file systems; there are none without a hard disk."""
        check_flags(flags, 0, "testDomainGetFSInfo")
        for disk in self.active(dom).live.model.devices.disks:
            if disk.device == "disk":
                info = [
                    DomainFsinfo(mount_point, f"{disk.dev}{number}", "ext4", [disk.dev])
                    for number, mount_point in enumerate(MOUNT_POINTS, 1)
                ]
                return DomainGetFsinfoRet(info, len(info))
        return DomainGetFsinfoRet((), 0)

    def domain_set_user_password(
        self, dom: NonnullDomain, user: str | None, password: str | None, flags: int
    ) -> None:
        """Accept a password and forget it."""
        function = "virDomainSetUserPassword"
        for name, value in (("user", user), ("password", password)):
            if value is None:
                raise argument_must(function, name, "not be NULL")
        check_flags(flags, c.VIR_DOMAIN_PASSWORD_ENCRYPTED, "testDomainSetUserPassword")
        self.active(dom)


def _mounted(mountpoints: Sequence[str]) -> set[str]:
    """Return the mount points that are meant, all if none is named; raises OperationInvalid."""
    for name in mountpoints:
        if name not in MOUNT_POINTS:
            raise OperationInvalid(f"mount point not found: {name}", domain=c.VIR_FROM_TEST)
    return set(mountpoints or MOUNT_POINTS)
