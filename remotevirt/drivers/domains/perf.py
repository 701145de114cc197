"""Performance events: which of them would be counted for a domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.parameters import STRINGS, need_params
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.typed_params import boolean, check_params, to_dict
from remotevirt.xml.domain.general import PERF_EVENTS, PerfEvent, PerfEvents

__all__ = ["ALLOWED", "PerfCalls"]

ALLOWED: Final[dict[str, int]] = dict.fromkeys(PERF_EVENTS, c.VIR_TYPED_PARAM_BOOLEAN)
"""The parameters, and their types."""


class PerfCalls(DomainCalls):
    """``<perf>``."""

    def domain_get_perf_events(self, dom: NonnullDomain, flags: int) -> Sequence[TypedParam]:
        """Return of every event whether it is counted."""
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetPerfEvents")
        perf = self.one_definition(self.record(dom), flags).model.perf or PerfEvents()
        on = {event.name for event in perf.events if event.enabled}
        return [boolean(name, name in on) for name in PERF_EVENTS]

    def domain_set_perf_events(self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int) -> None:
        """Turn events on and off."""
        need_params(params, "virDomainSetPerfEvents")
        self.check_flags(flags, IMPACT, "DomainSetPerfEvents")
        check_params(params, ALLOWED)
        record = self.record(dom)
        model = self.one_definition(record, flags).changing()
        enabled = {event.name: event.enabled for event in (model.perf.events if model.perf else ())}
        enabled |= {name: bool(value) for name, value in to_dict(params).items()}
        model.perf = PerfEvents([PerfEvent(name, enabled[name]) for name in PERF_EVENTS if name in enabled])
        self.world.redefined(record)
