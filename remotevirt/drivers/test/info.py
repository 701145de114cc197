"""What a domain is and how it does: info, state, XML, and the small properties."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.info import DomainInfoCalls
from remotevirt.drivers.faults import check_flags, no_domain, not_running
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.domain import (
    DomainGetControlInfoRet,
    DomainGetInfoRet,
    DomainGetTimeRet,
)

__all__ = ["InfoCalls"]

_new = tuple.__new__
"""Makes a NamedTuple without the detour over its own ``__new__``, in half the time."""

GUEST_TIME: Final = (627319920, 0)
"""The time in every guest at first: 1989-11-17, seconds since 1970, and nanoseconds."""

CONTROL_OK: Final = DomainGetControlInfoRet(c.VIR_DOMAIN_CONTROL_OK, 0, 0)

CONTROL_STATES: Final = (
    (60000, CONTROL_OK.state),
    (30000, c.VIR_DOMAIN_CONTROL_ERROR),
    (10000, c.VIR_DOMAIN_CONTROL_OCCUPIED),
    (0, c.VIR_DOMAIN_CONTROL_JOB),
)
"""How a hypervisor with a domain under control pretends to fare, from which guest's time on."""


class InfoCalls(DomainInfoCalls):
    """Calls that look at one domain."""

    def domain_get_info(self, dom: NonnullDomain) -> DomainGetInfoRet:
        """Return state, memory in KiB, CPUs, and the CPU time: the host's clock, to the microsecond."""
        record = self.domains.get(dom.uuid)
        if record is None:
            raise no_domain(dom)
        cpu_time = self.world.now() // 1000 * 1000
        fields = (record.state, record.max_memory, record.memory, record.vcpus, cpu_time)
        return _new(DomainGetInfoRet, fields)

    def domain_get_control_info(self, dom: NonnullDomain, flags: int) -> DomainGetControlInfoRet:
        """Return that the hypervisor has a domain under control, or by the guest's time something else."""
        check_flags(flags, 0, "testDomainGetControlInfo")
        record = self.active(dom)
        seconds = record.guest_time[0] if record.guest_time is not None else 0
        since, state = next(((at, one) for at, one in CONTROL_STATES if seconds >= at), (0, CONTROL_OK.state))
        if seconds == 0 or state == CONTROL_OK.state:
            return CONTROL_OK
        failed = state == c.VIR_DOMAIN_CONTROL_ERROR
        details = seconds % c.VIR_DOMAIN_CONTROL_ERROR_REASON_LAST if failed else 0
        return DomainGetControlInfoRet(state, details, seconds - since)

    def domain_get_os_type(self, dom: NonnullDomain) -> str:
        """Return "linux" for any domain, even one that is gone, as libvirt does."""
        return "linux"

    def domain_get_hostname(self, dom: NonnullDomain, flags: int) -> str:
        """Return the guest's host name: the domain's, followed by "host"."""
        check_flags(flags, 0, "testDomainGetHostname")
        return f"{self.active(dom).name}host"

    def domain_get_time(self, dom: NonnullDomain, flags: int) -> DomainGetTimeRet:
        """Return the guest's time, which stands still where it was set to."""
        check_flags(flags, 0, "testDomainGetTime")
        record = self.record(dom)
        if record.state != c.VIR_DOMAIN_RUNNING:
            raise not_running(c.VIR_FROM_TEST)
        return DomainGetTimeRet(*(record.guest_time or GUEST_TIME))

    def domain_set_time(self, dom: NonnullDomain, seconds: int, nseconds: int, flags: int) -> None:
        """Set the guest's time; the host's is not looked at, whatever the flag says."""
        check_flags(flags, c.VIR_DOMAIN_TIME_SYNC, "testDomainSetTime")
        self.active(dom).guest_time = (seconds, nseconds)

    def domain_set_autostart(self, dom: NonnullDomain, autostart: int) -> None:
        """Set whether a domain would start with its host; transient ones are taken too."""
        self.world.set_autostart(self.record(dom), bool(autostart))

    def domain_get_messages(self, dom: NonnullDomain, flags: int) -> tuple[str, ...]:
        """Return the warnings about a domain: none."""
        known = c.VIR_DOMAIN_MESSAGE_DEPRECATION | c.VIR_DOMAIN_MESSAGE_TAINTING
        check_flags(flags, known, "testDomainGetMessages")
        self.record(dom)
        return ()
