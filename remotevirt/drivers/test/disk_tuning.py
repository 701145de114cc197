"""Block I/O tune: how fast a domain's disk may be, on the average and in bursts.

There are four families of limits: bytes and operations, each on the average and at most (``_max``). In a
family, either the total is limited or reading and writing are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.parameters import STRINGS, cut
from remotevirt.drivers.faults import argument_error, check_flags, exclusive_flags, too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetBlockIoTuneRet
from remotevirt.typed_params import check_params, string, ullong
from remotevirt.xml.domain.disk import IoTune

__all__ = ["DiskTuningCalls"]

MAX_PARAMS: Final = 32
"""REMOTE_DOMAIN_BLOCK_IO_TUNE_PARAMETERS_MAX."""

MAX_LIMIT: Final = 10**15
"""The largest limit that libvirt's drivers take."""

MAX_GROUP: Final = 4096
"""Characters of a group's name. libvirt: none."""

GROUP: Final[str] = c.VIR_DOMAIN_BLOCK_IOTUNE_GROUP_NAME
SIZE: Final[str] = c.VIR_DOMAIN_BLOCK_IOTUNE_SIZE_IOPS_SEC

WAYS: Final = ("total", "read", "write")
KINDS: Final = ("bytes_sec", "iops_sec")
AVERAGES: Final = tuple(f"{way}_{kind}" for kind in KINDS for way in WAYS)
MAXIMA: Final = tuple(f"{name}_max" for name in AVERAGES)
LENGTHS: Final = tuple(f"{name}_max_length" for name in AVERAGES)

ORDER: Final = (*AVERAGES, *MAXIMA, SIZE, GROUP, *LENGTHS)
"""The parameters, in the order of answers; the document's elements have the same names."""

ALLOWED: Final = {
    name: c.VIR_TYPED_PARAM_STRING if name == GROUP else c.VIR_TYPED_PARAM_ULLONG for name in ORDER
}


class DiskTuningCalls(DomainCalls):
    """``<iotune>``."""

    def domain_get_block_io_tune(
        self, dom: NonnullDomain, disk: str | None, nparams: int, flags: int
    ) -> DomainGetBlockIoTuneRet:
        """Return the limits of a disk, 0 where there is none; without parameters no disk is needed."""
        too_large(nparams, MAX_PARAMS, "nparams")
        function = "virDomainGetBlockIoTune"
        if nparams and disk is None:
            raise argument_error(function, "disk", f"disk in {function} must not be NULL")
        if flags & IMPACT == IMPACT:
            raise exclusive_flags(function)
        check_flags(flags, IMPACT | STRINGS, "testDomainGetBlockIoTune")
        if nparams == 0:
            return DomainGetBlockIoTuneRet((), len(ORDER))
        definition = self.one_definition(self.record(dom), flags)
        found = definition.disk(disk or "")
        if found is None:
            text = f"disk '{disk}' was not found in the domain config"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        params = [_param(found.iotune, name) for name in ORDER]
        return DomainGetBlockIoTuneRet(cut(params, nparams, flags), 0)

    def domain_set_block_io_tune(
        self, dom: NonnullDomain, disk: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change limits of a disk; as in libvirt 9.0.0's test driver without an event.

        Raises:
            ArgumentUnsupported: a limit is too large.
            InvalidArg: there is no such disk, or the limits contradict each other.
        """
        if not params:
            function = "virDomainSetBlockIoTune"
            raise argument_error(function, "nparams", f"nparams in {function} must be greater than zero")
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
            _take(tune, param)
        _check(tune)
        definition.changing()
        found.iotune = tune
        self.world.redefined(record)


def _param(tune: IoTune | None, name: str) -> TypedParam:
    """Return one limit as a parameter."""
    value = getattr(tune, name, None)
    return string(name, value or "") if name == GROUP else ullong(name, value or 0)


def _take(tune: IoTune, param: TypedParam) -> None:
    """Set one limit; raises ArgumentUnsupported, InvalidArg."""
    value = param.value.value
    if param.field == GROUP:
        if len(str(value)) > MAX_GROUP:
            text = f"the name of a throttling group may have {MAX_GROUP} characters"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
    elif int(value) > MAX_LIMIT:
        text = f"block I/O throttle limit value must be no more than {MAX_LIMIT}"
        raise ArgumentUnsupported(text, domain=c.VIR_FROM_TEST)
    setattr(tune, param.field, value if param.field == GROUP else value or None)


def _check(tune: IoTune) -> None:
    """Refuse limits that contradict each other; raises InvalidArg."""
    for kind in (*KINDS, *(f"{kind}_max" for kind in KINDS)):
        total, read, write = (getattr(tune, f"{way}_{kind}") for way in WAYS)
        if total and (read or write):
            text = f"total and read/write of {kind} cannot be set at the same time"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
    for average, maximum in zip(AVERAGES, MAXIMA, strict=True):
        if (getattr(tune, average) or 0) > (getattr(tune, maximum) or 0):
            text = f"{average} cannot be set higher than {maximum} "  # libvirt's text ends in a blank
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
