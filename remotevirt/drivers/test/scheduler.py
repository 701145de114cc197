"""Scheduler parameters: one weight, which is always 50."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import argument_must, check_flags, too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetSchedulerTypeRet
from remotevirt.typed_params import check_params, uint

__all__ = ["SchedulerCalls"]

MAX_PARAMS: Final = 16
"""REMOTE_DOMAIN_SCHEDULER_PARAMETERS_MAX."""

WEIGHT: Final = uint(c.VIR_DOMAIN_SCHEDULER_WEIGHT, 50)
"""Every domain's weight; setting it is accepted and changes nothing."""

KNOWN: Final = {WEIGHT.field: WEIGHT.value.type}


class SchedulerCalls(DomainCalls):
    """The "fair" scheduler."""

    def domain_get_scheduler_type(self, dom: NonnullDomain) -> DomainGetSchedulerTypeRet:
        """Return the scheduler's name and how many parameters it has, for any domain."""
        return DomainGetSchedulerTypeRet("fair", 1)

    def domain_get_scheduler_parameters(self, dom: NonnullDomain, nparams: int) -> Sequence[TypedParam]:
        """Return the weight."""
        return self._get_weight(dom, nparams, 0, "virDomainGetSchedulerParameters")

    def domain_get_scheduler_parameters_flags(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> Sequence[TypedParam]:
        """Fail: libvirt's daemon adds VIR_TYPED_PARAM_STRING_OKAY, which its test driver does not know."""
        flags |= c.VIR_TYPED_PARAM_STRING_OKAY
        return self._get_weight(dom, nparams, flags, "virDomainGetSchedulerParametersFlags")

    def _get_weight(
        self, dom: NonnullDomain, nparams: int, flags: int, function: str
    ) -> Sequence[TypedParam]:
        too_large(nparams, MAX_PARAMS, "nparams")
        if nparams == 0:
            raise argument_must(function, "params", "not be NULL")
        check_flags(flags, 0, "testDomainGetSchedulerParametersFlags")
        self.record(dom)
        return (WEIGHT,)

    def domain_set_scheduler_parameters(self, dom: NonnullDomain, params: Sequence[TypedParam]) -> None:
        """Check a weight and forget it."""
        self._set_weight(dom, params, 0, "virDomainSetSchedulerParameters")

    def domain_set_scheduler_parameters_flags(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """As domain_set_scheduler_parameters; no flag is known."""
        self._set_weight(dom, params, flags, "virDomainSetSchedulerParametersFlags")

    def _set_weight(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int, function: str
    ) -> None:
        if not params:
            raise argument_must(function, "params", "not be NULL")
        check_flags(flags, 0, "testDomainSetSchedulerParametersFlags")
        check_params(params, KNOWN)
        self.record(dom)
