"""Block I/O tune: how fast a domain's disk may be, on the average and in bursts."""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.disk_tuning import (
    ALLOWED,
    AVERAGES,
    MAXIMA,
    ORDER,
    check_asked,
    check_given,
    check_totals,
    take_limit,
    tune_param,
)
from remotevirt.drivers.domains.parameters import STRINGS, cut
from remotevirt.drivers.faults import check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetBlockIoTuneRet
from remotevirt.typed_params import check_params
from remotevirt.xml.domain.disk import IoTune

__all__ = ["DiskTuningCalls"]


class DiskTuningCalls(DomainCalls):
    """``<iotune>``."""

    def domain_get_block_io_tune(
        self, dom: NonnullDomain, disk: str | None, nparams: int, flags: int
    ) -> DomainGetBlockIoTuneRet:
        """Return the limits of a disk, 0 where there is none; without parameters no disk is needed."""
        check_asked(disk, nparams, flags)
        check_flags(flags, IMPACT | STRINGS, "testDomainGetBlockIoTune")
        if nparams == 0:
            return DomainGetBlockIoTuneRet((), len(ORDER))
        definition = self.one_definition(self.record(dom), flags)
        found = definition.disk(disk or "")
        if found is None:
            text = f"disk '{disk}' was not found in the domain config"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        params = [tune_param(found.iotune, name) for name in ORDER]
        return DomainGetBlockIoTuneRet(cut(params, nparams, flags), 0)

    def domain_set_block_io_tune(
        self, dom: NonnullDomain, disk: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change limits of a disk; as in libvirt 9.0.0's test driver without an event.

        Raises:
            ArgumentUnsupported: a limit is too large.
            InvalidArg: there is no such disk, or the limits contradict each other.
        """
        check_given(params)
        check_flags(flags, IMPACT, "testDomainSetBlockIoTune")
        check_params(params, ALLOWED)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        found = definition.disk(disk)
        if found is None:
            text = f"missing persistent configuration for disk '{disk}'"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        tune = found.iotune.copy() if found.iotune else IoTune()
        for param in params:
            take_limit(tune, param, c.VIR_FROM_TEST)
        _check(tune)
        definition.changing()
        found.iotune = tune
        self.world.redefined(record)


def _check(tune: IoTune) -> None:
    """Refuse limits that contradict each other; raises InvalidArg."""
    check_totals(tune, c.VIR_FROM_TEST)
    for average, maximum in zip(AVERAGES, MAXIMA, strict=True):
        if (getattr(tune, average) or 0) > (getattr(tune, maximum) or 0):
            text = f"{average} cannot be set higher than {maximum} "  # libvirt's text ends in a blank
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
