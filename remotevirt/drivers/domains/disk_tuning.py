"""The limits of a disk's throughput, as calls say them: parameters, their order, and what contradicts what.

There are four families of limits: bytes and operations, each on the average and at most (``_max``). In a
family, either the total is limited or reading and writing are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT
from remotevirt.drivers.faults import argument_must, exclusive_flags, too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import string, ullong
from remotevirt.xml.domain.disk import IoTune

__all__ = [
    "ALLOWED",
    "AVERAGES",
    "GROUP",
    "LENGTHS",
    "MAXIMA",
    "MAX_GROUP",
    "ORDER",
    "SIZE",
    "check_asked",
    "check_given",
    "check_totals",
    "take_limit",
    "tune_param",
]

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


def check_asked(disk: str | None, nparams: int, flags: int) -> None:
    """Check what a call asks for, as the daemon and the public API do.

    Raises:
        InternalError: there are more than :data:`MAX_PARAMS` parameters.
        InvalidArg: parameters of no disk; or flags that exclude each other.
    """
    too_large(nparams, MAX_PARAMS, "nparams")
    function = "virDomainGetBlockIoTune"
    if nparams and disk is None:
        raise argument_must(function, "disk", "not be NULL")
    if flags & IMPACT == IMPACT:
        raise exclusive_flags(function)


def check_given(params: Sequence[TypedParam]) -> None:
    """Refuse to set nothing, as the public API does; raises InvalidArg."""
    if not params:
        raise argument_must("virDomainSetBlockIoTune", "nparams", "be greater than zero")


def tune_param(tune: IoTune | None, name: str) -> TypedParam:
    """Return one limit as a parameter."""
    value = getattr(tune, name, None)
    return string(name, value or "") if name == GROUP else ullong(name, value or 0)


def take_limit(tune: IoTune, param: TypedParam, errors: int) -> None:
    """Set one limit; raises ArgumentUnsupported, InvalidArg of a part of libvirt (virErrorDomain)."""
    value = param.value.value
    if param.field == GROUP:
        if len(str(value)) > MAX_GROUP:
            text = f"the name of a throttling group may have {MAX_GROUP} characters"
            raise InvalidArg(text, domain=errors)
    elif int(value) > MAX_LIMIT:
        text = f"block I/O throttle limit value must be no more than {MAX_LIMIT}"
        raise ArgumentUnsupported(text, domain=errors)
    setattr(tune, param.field, value if param.field == GROUP else value or None)


def check_totals(tune: IoTune, errors: int) -> None:
    """Refuse a limit of everything beside one of reading or writing; raises InvalidArg."""
    for kind in (*KINDS, *(f"{kind}_max" for kind in KINDS)):
        total, read, write = (getattr(tune, f"{way}_{kind}") for way in WAYS)
        if total and (read or write):
            text = f"total and read/write of {kind} cannot be set at the same time"
            raise InvalidArg(text, domain=errors)
