"""What needs a guest's agent, with which this driver does not talk: libvirt's refusals, in its order.

A client must get the same answer as from libvirt's daemon for a guest whose agent does not run, so that
tools that try the agent first (``virsh domfsinfo``, virt-manager, backup programs) go on without it. What is
wrong with the call itself is said first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from remotevirt.drivers.faults import argument_error, argument_must, both_flags, not_running, signed
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.lifecycle import no_agent
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetFsinfoRet, DomainGetTimeRet
from remotevirt.xml.bitmap import parse_bitmap

__all__ = ["AgentCalls"]

INFO_TYPES: Final[int] = (
    c.VIR_DOMAIN_GUEST_INFO_USERS
    | c.VIR_DOMAIN_GUEST_INFO_OS
    | c.VIR_DOMAIN_GUEST_INFO_TIMEZONE
    | c.VIR_DOMAIN_GUEST_INFO_HOSTNAME
    | c.VIR_DOMAIN_GUEST_INFO_FILESYSTEM
    | c.VIR_DOMAIN_GUEST_INFO_DISKS
    | c.VIR_DOMAIN_GUEST_INFO_INTERFACES
)
"""What an agent can be asked for in libvirt 9.0.0."""

APPEND: Final[int] = c.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
REMOVE: Final[int] = c.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE


class AgentCalls(QemuCalls):
    """Calls that an agent would answer."""

    def _ask(self, dom: NonnullDomain, domain: int = c.VIR_FROM_DOMAIN) -> NoReturn:
        """Fail: the domain does not run, in which case ``domain`` complains, or it has no agent."""
        record = self.record(dom)
        if record.guest is None or not record.active:
            raise not_running(domain)
        raise no_agent(record)

    def qemu_domain_agent_command(self, dom: NonnullDomain, cmd: str, timeout: int, flags: int) -> str | None:
        """Send a command to the agent."""
        self.check_flags(flags, 0, "DomainQemuAgentCommand")
        self._ask(dom)

    def domain_agent_set_response_timeout(self, dom: NonnullDomain, timeout: int, flags: int) -> int:
        """Take a time that no agent will need, as libvirt does; returns 0."""
        self.check_flags(flags, 0, "DomainAgentSetResponseTimeout")
        least = c.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK
        if timeout < least:
            text = f"guest agent timeout '{timeout}' is less than the minimum '{least}'"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        self.record(dom)
        return 0

    def domain_get_time(self, dom: NonnullDomain, flags: int) -> DomainGetTimeRet:
        """Return the guest's time."""
        self.check_flags(flags, 0, "DomainGetTime")
        self._ask(dom)

    def domain_set_time(self, dom: NonnullDomain, seconds: int, nseconds: int, flags: int) -> None:
        """Set the guest's time."""
        self.check_flags(flags, c.VIR_DOMAIN_TIME_SYNC, "DomainSetTime")
        self._ask(dom)

    def domain_fsfreeze(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Freeze file systems."""
        self.check_flags(flags, 0, "DomainFSFreeze")
        self._ask(dom)

    def domain_fsthaw(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Thaw file systems."""
        self.check_flags(flags, 0, "DomainFSThaw")
        self._ask(dom)

    def domain_fstrim(self, dom: NonnullDomain, mountPoint: str | None, minimum: int, flags: int) -> None:
        """Give back what file systems do not need."""
        self.check_flags(flags, 0, "DomainFSTrim")
        self._ask(dom)

    def domain_get_fsinfo(self, dom: NonnullDomain, flags: int) -> DomainGetFsinfoRet:
        """Return the file systems."""
        self.check_flags(flags, 0, "DomainGetFSInfo")
        self._ask(dom)

    def domain_get_guest_info(self, dom: NonnullDomain, types: int, flags: int) -> Sequence[TypedParam]:
        """Return what the agent knows of a guest."""
        self.check_flags(flags, 0, "DomainGetGuestInfo")
        if types & ~INFO_TYPES:
            text = f"unsupported guest information types '0x{types & ~INFO_TYPES:x}'"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        self._ask(dom, c.VIR_FROM_QEMU)

    def domain_set_user_password(
        self, dom: NonnullDomain, user: str | None, password: str | None, flags: int
    ) -> None:
        """Set a password of somebody in the guest."""
        function = "virDomainSetUserPassword"
        for name, value in (("user", user), ("password", password)):
            if value is None:
                raise argument_must(function, name, "not be NULL")
        self.check_flags(flags, c.VIR_DOMAIN_PASSWORD_ENCRYPTED, "DomainSetUserPassword")
        self._ask(dom)

    def domain_get_guest_vcpus(self, dom: NonnullDomain, flags: int) -> Sequence[TypedParam]:
        """Return which processors the guest uses."""
        self.check_flags(flags, 0, "DomainGetGuestVcpus")
        self._ask(dom)

    def domain_set_guest_vcpus(self, dom: NonnullDomain, cpumap: str, state: int, flags: int) -> None:
        """Say which processors the guest shall use."""
        self.check_flags(flags, 0, "DomainSetGuestVcpus")
        if signed(state) not in (0, 1):
            text = "unsupported state value"
            raise argument_error("qemuDomainSetGuestVcpus", "state", text, c.VIR_FROM_QEMU)
        parse_bitmap(cpumap)
        self._ask(dom, c.VIR_FROM_QEMU)

    def domain_authorized_ssh_keys_get(self, dom: NonnullDomain, user: str, flags: int) -> Sequence[str]:
        """Return the keys with which somebody may log in."""
        self.check_flags(flags, 0, "DomainAuthorizedSSHKeysGet")
        self._ask(dom, c.VIR_FROM_QEMU)

    def domain_authorized_ssh_keys_set(
        self, dom: NonnullDomain, user: str, keys: Sequence[str], flags: int
    ) -> None:
        """Say with which keys somebody may log in."""
        function = "virDomainAuthorizedSSHKeysSet"
        if flags & APPEND and flags & REMOVE:
            name = "VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET"
            raise both_flags(function, f"{name}_APPEND", f"{name}_REMOVE")
        if flags & (APPEND | REMOVE) and not keys:
            raise argument_must(function, "keys", "not be NULL")
        self.check_flags(flags, APPEND | REMOVE, "DomainAuthorizedSSHKeysSet")
        self._ask(dom, c.VIR_FROM_QEMU)

    def domain_pm_suspend_for_duration(
        self, dom: NonnullDomain, target: int, duration: int, flags: int
    ) -> None:
        """Let the guest put itself to sleep."""
        self.check_flags(flags, 0, "DomainPMSuspendForDuration")
        if duration:
            raise ArgumentUnsupported("Duration not supported. Use 0 for now", domain=c.VIR_FROM_QEMU)
        if target >= c.VIR_NODE_SUSPEND_TARGET_LAST:
            raise InvalidArg(f"Unknown suspend target: {target}", domain=c.VIR_FROM_QEMU)
        self._ask(dom, c.VIR_FROM_QEMU)
