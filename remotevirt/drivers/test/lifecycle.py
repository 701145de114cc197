"""Starting, pausing, resetting and stopping domains.

::

              create                      suspend
    SHUTOFF ----------> RUNNING/BOOTED -----------> PAUSED/USER
       ^                   |   ^   ^                   |   |
       |                   |   |   +-------------------+   |
       |  destroy,         |   |     resume (UNPAUSED)     |
       |  shutdown,        |   +---------------------------+
       |  reboot           |         reboot (BOOTED)       |
       +-------------------+-------------------------------+

What shutdown and reboot lead to is up to ``on_poweroff`` and ``on_reboot``. A transient domain that stops
is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.actions import LifecycleActionCalls
from remotevirt.drivers.domains.domain import POWER_ACTIONS, DomainRecord
from remotevirt.drivers.faults import check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["LifecycleCalls"]

REBOOT_FLAGS: Final[int] = (
    c.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN
    | c.VIR_DOMAIN_REBOOT_GUEST_AGENT
    | c.VIR_DOMAIN_REBOOT_INITCTL
    | c.VIR_DOMAIN_REBOOT_SIGNAL
    | c.VIR_DOMAIN_REBOOT_PARAVIRT
)
"""All ways to reboot; they make no difference."""


class LifecycleCalls(LifecycleActionCalls):
    """Calls that change a domain's state."""

    def domain_create(self, dom: NonnullDomain) -> None:
        """Start an inactive domain."""
        self._start(self.record(dom))

    def domain_create_with_flags(self, dom: NonnullDomain, flags: int) -> NonnullDomain:
        """Start an inactive domain; libvirt 9.0.0's test driver knows no flag."""
        check_flags(flags, 0, "testDomainCreateWithFlags")
        return self._start(self.record(dom))

    def domain_create_with_files(self, dom: NonnullDomain, flags: int, files: Sequence[int]) -> NonnullDomain:
        """As domain_create_with_flags; nothing can use the descriptors."""
        return self.domain_create_with_flags(dom, flags)

    def _start(self, record: DomainRecord) -> NonnullDomain:
        """Start a domain that is shut off."""
        if record.state != c.VIR_DOMAIN_SHUTOFF:
            raise InternalError(f"Domain '{record.name}' is already running", domain=c.VIR_FROM_TEST)
        self.world.start(record, c.VIR_DOMAIN_RUNNING_BOOTED)
        self.world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED)
        return record.ref

    def domain_suspend(self, dom: NonnullDomain) -> None:
        """Pause a domain that runs."""
        record = self.record(dom)
        if record.state in (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_PAUSED):
            raise InternalError(f"domain '{record.name}' not running", domain=c.VIR_FROM_TEST)
        self.world.set_state(record, c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_USER)
        self.world.publish(record, c.VIR_DOMAIN_EVENT_SUSPENDED, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)

    def domain_resume(self, dom: NonnullDomain) -> None:
        """Let a paused domain run again."""
        record = self.record(dom)
        if record.state != c.VIR_DOMAIN_PAUSED:
            raise InternalError(f"domain '{record.name}' not paused", domain=c.VIR_FROM_TEST)
        self.world.set_state(record, c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_UNPAUSED)
        self.world.publish(record, c.VIR_DOMAIN_EVENT_RESUMED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)

    def domain_shutdown(self, dom: NonnullDomain) -> None:
        """Ask a domain to shut down; it obeys at once, in the way of its ``on_poweroff``."""
        self.domain_shutdown_flags(dom, 0)

    def domain_shutdown_flags(self, dom: NonnullDomain, flags: int) -> None:
        """As domain_shutdown; libvirt 9.0.0's test driver knows no flag."""
        check_flags(flags, 0, "testDomainShutdownFlags")
        record = self.record(dom)
        if record.state == c.VIR_DOMAIN_SHUTOFF:
            raise InternalError(f"domain '{record.name}' not running", domain=c.VIR_FROM_TEST)
        self._power(record, record.live.on_poweroff)

    def domain_reboot(self, dom: NonnullDomain, flags: int) -> None:
        """Reboot a domain, in the way of its ``on_reboot``."""
        check_flags(flags, REBOOT_FLAGS, "testDomainReboot")
        record = self.active(dom)
        self._power(record, record.live.on_reboot)

    def _power(self, record: DomainRecord, action: str) -> None:
        """Do what a lifecycle action says."""
        state, reason = POWER_ACTIONS.get(action, POWER_ACTIONS["destroy"])
        if state == c.VIR_DOMAIN_SHUTOFF:
            self.world.stop_and_tell(record, reason, c.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
        else:
            self.world.set_state(record, state, reason)

    def domain_reset(self, dom: NonnullDomain, flags: int) -> None:
        """Reset a domain: nothing of it can be seen from outside."""
        check_flags(flags, 0, "testDomainReset")
        self.active(dom)

    def domain_destroy(self, dom: NonnullDomain) -> None:
        """Stop a domain without asking it."""
        self.domain_destroy_flags(dom, 0)

    def domain_destroy_flags(self, dom: NonnullDomain, flags: int) -> None:
        """As domain_destroy; VIR_DOMAIN_DESTROY_GRACEFUL makes no difference."""
        check_flags(flags, c.VIR_DOMAIN_DESTROY_GRACEFUL, "testDomainDestroyFlags")
        record = self.active(dom)
        self.world.stop_and_tell(record, c.VIR_DOMAIN_SHUTOFF_DESTROYED, c.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
