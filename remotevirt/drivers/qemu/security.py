"""Security labels, which guests here have none of, and guests with encrypted memory, which there are none of.

What keeps guests apart is their user: see :mod:`remotevirt.drivers.qemu.access`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.parameters import STRINGS, need_params
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.connect import NodeGetSevInfoRet
from remotevirt.stubs.remote.domain import DomainGetSecurityLabelListRet, DomainGetSecurityLabelRet

__all__ = ["SecurityCalls"]

NO_LABEL: Final = DomainGetSecurityLabelRet(b"\0", 0)
"""The label of the security model ``none``; the text ends in a zero byte."""


class SecurityCalls(QemuCalls):
    """Calls about labels and launch security; the answers are libvirt's without a security model."""

    def domain_get_security_label(self, dom: NonnullDomain) -> DomainGetSecurityLabelRet:
        """Return the empty label."""
        self.record(dom)
        return NO_LABEL

    def domain_get_security_label_list(self, dom: NonnullDomain) -> DomainGetSecurityLabelListRet:
        """Return the empty label of a running guest; no label of one that is off."""
        if self.record(dom).active:
            return DomainGetSecurityLabelListRet((NO_LABEL,), 1)
        return DomainGetSecurityLabelListRet((), 0)

    def domain_get_launch_security_info(self, dom: NonnullDomain, flags: int) -> Sequence[TypedParam]:
        """Return nothing: no guest measures what it is started with. libvirt looks at no flag then."""
        self.record(dom)
        return ()

    def node_get_sev_info(self, nparams: int, flags: int) -> NodeGetSevInfoRet:
        """Fail: no guest has encrypted memory."""
        self.check_flags(flags, STRINGS, "NodeGetSEVInfo")
        raise OperationUnsupported("QEMU does not support SEV guest", domain=c.VIR_FROM_QEMU)

    def domain_set_launch_security_state(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Fail: no guest has encrypted memory to put a secret into."""
        need_params(params, "virDomainSetLaunchSecurityState")
        self.check_flags(flags, STRINGS, "DomainSetLaunchSecurityState")
        self.record(dom)
        text = "setting a launch secret is only supported in SEV-enabled domains"
        raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
