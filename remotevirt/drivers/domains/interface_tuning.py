"""Interface parameters: how much a domain's network card may send and receive, in KiB per second and KiB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS, cut, need_params
from remotevirt.drivers.faults import too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetInterfaceParametersRet
from remotevirt.typed_params import allowed, check_params, to_dict, uint
from remotevirt.xml.domain.interface import Bandwidth, Interface
from remotevirt.xml.domain.switch import Inbound, Outbound, Rate

__all__ = ["InterfaceTuningCalls"]

RATES: Final[dict[str, tuple[str, str]]] = {
    c.VIR_DOMAIN_BANDWIDTH_IN_AVERAGE: ("inbound", "average"),
    c.VIR_DOMAIN_BANDWIDTH_IN_PEAK: ("inbound", "peak"),
    c.VIR_DOMAIN_BANDWIDTH_IN_BURST: ("inbound", "burst"),
    c.VIR_DOMAIN_BANDWIDTH_IN_FLOOR: ("inbound", "floor"),
    c.VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE: ("outbound", "average"),
    c.VIR_DOMAIN_BANDWIDTH_OUT_PEAK: ("outbound", "peak"),
    c.VIR_DOMAIN_BANDWIDTH_OUT_BURST: ("outbound", "burst"),
}
"""Parameter -> direction and field of the model; in the order of cuts."""

ALLOWED: Final = allowed(*RATES)

R = TypeVar("R", bound=Rate)


class InterfaceTuningCalls(DomainCalls):
    """``<bandwidth>``."""

    def domain_get_interface_parameters(
        self, dom: NonnullDomain, device: str, nparams: int, flags: int
    ) -> DomainGetInterfaceParametersRet:
        """Return the rates of an interface, 0 for those that are not limited."""
        too_large(nparams, MAX_PARAMS, "nparams")
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetInterfaceParameters")
        if nparams == 0:
            return DomainGetInterfaceParametersRet((), len(RATES))
        definition = self.one_definition(self.record(dom), flags)
        bandwidth = _interface(definition, device).bandwidth
        params = [
            uint(name, getattr(getattr(bandwidth, way, None), field, None) or 0)
            for name, (way, field) in RATES.items()
        ]
        return DomainGetInterfaceParametersRet(cut(params, nparams, flags), 0)

    def domain_set_interface_parameters(
        self, dom: NonnullDomain, device: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Replace the rates of a direction, or of both.

        A direction changes if its average or floor is among the parameters: to what they say, with nothing
        kept of before, and to no limits if both are 0.
        """
        need_params(params, "virDomainSetInterfaceParameters")
        self.check_flags(flags, IMPACT, "DomainSetInterfaceParameters")
        check_params(params, ALLOWED)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        interface = _interface(definition, device)
        definition.changing()
        if interface.bandwidth is None:
            interface.bandwidth = Bandwidth()
        bandwidth = interface.bandwidth
        bandwidth.empty = True
        wanted: dict[str, dict[str, int]] = {"inbound": {}, "outbound": {}}
        for name, value in to_dict(params).items():
            way, field = RATES[name]
            wanted[way][field] = int(value)
        if "average" in wanted["inbound"] or "floor" in wanted["inbound"]:
            bandwidth.inbound = _rate(Inbound(), wanted["inbound"])
        if "average" in wanted["outbound"]:
            bandwidth.outbound = _rate(Outbound(), wanted["outbound"])
        self.world.redefined(record)


def _interface(definition: Definition, device: str) -> Interface:
    """Return an interface by its target or MAC address; raises InvalidArg."""
    interface = definition.interface(device)
    if interface is None:
        raise InvalidArg(f"'{device}' is not a known interface", domain=c.VIR_FROM_DOMAIN)
    return interface


def _rate(rate: R, wanted: dict[str, int]) -> R | None:
    """Fill in the limits of one direction; None if there are none."""
    for field, value in wanted.items():
        setattr(rate, field, value or None)
    return rate if rate.average or rate.floor else None
