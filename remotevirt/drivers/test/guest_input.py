"""What is done to a guest from outside: keys, signals and interrupts. It never reacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.keycodes import CODESETS, KEYCODES, check_keys
from remotevirt.drivers.faults import argument_must, check_flags, signed
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["GuestInputCalls"]

INIT: Final = 1
"""The only process of a guest that signals reach."""


class GuestInputCalls(DomainCalls):
    """Keys, signals and interrupts."""

    def domain_send_key(
        self, dom: NonnullDomain, codeset: int, holdtime: int, keycodes: Sequence[int], flags: int
    ) -> None:
        """Press keys at once.

        Args:
            dom: the domain.
            codeset: of virKeycodeSet.
            holdtime: milliseconds.
            keycodes: the keys' numbers in the set.
            flags: none is known.

        Raises:
            InternalError: the set has no such key.
        """
        check_keys(codeset, keycodes)
        check_flags(flags, 0, "testDomainSendKey")
        self.active(dom)
        name = CODESETS[codeset]
        for code in keycodes:
            if code not in KEYCODES[name]:
                raise InternalError(f"invalid keycode {code} of {name} codeset", domain=c.VIR_FROM_TEST)

    def domain_inject_nmi(self, dom: NonnullDomain, flags: int) -> None:
        """Interrupt a guest."""
        check_flags(flags, 0, "testDomainInjectNMI")
        self.active(dom)

    def domain_send_process_signal(self, dom: NonnullDomain, pid_value: int, signum: int, flags: int) -> None:
        """Send a signal to a guest's first process, even of a domain that does not run, as libvirt does.

        Raises:
            InvalidArg: it is for another process, or there is no such signal.
        """
        function = "virDomainSendProcessSignal"
        if pid_value == 0:
            raise argument_must(function, "pid_value", "not be zero")
        check_flags(flags, 0, "testDomainSendProcessSignal")
        if pid_value != INIT:
            raise InvalidArg("only sending a signal to pid 1 is supported", domain=c.VIR_FROM_TEST)
        if signum >= c.VIR_DOMAIN_PROCESS_SIGNAL_LAST:
            raise InvalidArg(f"signum value {signed(signum)} is out of range", domain=c.VIR_FROM_TEST)
        self.record(dom)
