"""Security labels, and guests with encrypted memory, which there are none of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.parameters import STRINGS, need_params
from remotevirt.drivers.faults import check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoSupport
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetSecurityLabelListRet, DomainGetSecurityLabelRet

__all__ = ["SecurityCalls"]

LABEL: Final = DomainGetSecurityLabelRet(b"libvirt-test\0", 1)
NO_LABEL: Final = DomainGetSecurityLabelRet(b"\0", 0)


class SecurityCalls(DomainCalls):
    """Calls about labels and launch security."""

    def domain_get_security_label(self, dom: NonnullDomain) -> DomainGetSecurityLabelRet:
        """Return the label that every active domain has; the text ends in a zero byte."""
        return LABEL if self.record(dom).active else NO_LABEL

    def domain_get_security_label_list(self, dom: NonnullDomain) -> DomainGetSecurityLabelListRet:
        """Return that there is no list: libvirt's daemon answers with -1 here, not with an error."""
        return DomainGetSecurityLabelListRet((), -1)

    def domain_get_launch_security_info(self, dom: NonnullDomain, flags: int) -> Sequence[TypedParam]:
        """Fail: libvirt's daemon adds VIR_TYPED_PARAM_STRING_OKAY, which its test driver does not know."""
        check_flags(flags | STRINGS, 0, "testDomainGetLaunchSecurityInfo")
        return ()

    def domain_set_launch_security_state(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Fail: libvirt's test driver has no such guests."""
        function = "virDomainSetLaunchSecurityState"
        need_params(params, function)
        raise NoSupport(function, domain=c.VIR_FROM_DOMAIN)
