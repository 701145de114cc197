"""Block I/O parameters: a domain's weight, and limits for single devices of the host.

The limits of devices travel as text, ``/dev/sda,300,/dev/sdb,400``. A parameter changes only the devices
that it names; those that the definition does not know yet are added, and 0 takes a limit away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS, cut, need_params
from remotevirt.drivers.faults import exclusive_flags, too_large
from remotevirt.errors import VirError
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetBlkioParametersRet
from remotevirt.typed_params import allowed, check_params, string, uint
from remotevirt.xml.domain.tuning import BlockDevice, BlockIoTune

__all__ = ["DEVICE_LIMITS", "MAX_DEVICES", "MAX_PATH", "WEIGHT", "BlkioTuningCalls", "parse_limits"]

MAX_DEVICES: Final = 256
"""Devices that a definition may hold limits for after a call. libvirt: none."""

MAX_PATH: Final = 4096
"""Characters of a device's path, PATH_MAX of Linux. libvirt: none."""

WEIGHT: Final[str] = c.VIR_DOMAIN_BLKIO_WEIGHT

DEVICE_LIMITS: Final[dict[str, tuple[str, int]]] = {
    c.VIR_DOMAIN_BLKIO_DEVICE_WEIGHT: ("weight", 32),
    c.VIR_DOMAIN_BLKIO_DEVICE_READ_IOPS: ("read_iops", 32),
    c.VIR_DOMAIN_BLKIO_DEVICE_WRITE_IOPS: ("write_iops", 32),
    c.VIR_DOMAIN_BLKIO_DEVICE_READ_BPS: ("read_bytes", 64),
    c.VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS: ("write_bytes", 64),
}
"""Parameter -> the model's field, and the bits that its numbers have; in the order of cuts."""

ALLOWED: Final = allowed(WEIGHT, *DEVICE_LIMITS)

NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
"""A number as C's strtoul reads it."""


class BlkioTuningCalls(DomainCalls):
    """``<blkiotune>``."""

    def domain_get_blkio_parameters(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> DomainGetBlkioParametersRet:
        """Return the weight and the limits of devices."""
        too_large(nparams, MAX_PARAMS, "nparams")
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetBlkioParameters")
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetBlkioParameters")
        if nparams == 0:
            return DomainGetBlkioParametersRet((), len(ALLOWED))
        record = self.record(dom)
        tune = self.one_definition(record, flags).model.blkiotune or BlockIoTune()
        params = [uint(WEIGHT, self.io_weight(record, flags))]
        params += [string(name, _join(tune, field)) for name, (field, _) in DEVICE_LIMITS.items()]
        return DomainGetBlkioParametersRet(cut(params, nparams, flags), 0)

    def domain_set_blkio_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> Result[None]:
        """Change the weight and limits.

        As in libvirt, a parameter that cannot be read does not keep the others from being set.

        Raises:
            InvalidArg: the text of a parameter cannot be read, or there are too many devices.
        """
        self.check_blkio(params, flags)
        record = self.record(dom)
        self.keep_blkio(record, self.one_definition(record, flags), params)
        return None

    def io_weight(self, record: DomainRecord, flags: int) -> int:
        """Return the weight of the definition that is meant, 0 for none."""
        tune = self.one_definition(record, flags).model.blkiotune
        return tune.weight or 0 if tune is not None else 0

    def check_blkio(self, params: Sequence[TypedParam], flags: int) -> None:
        """Refuse parameters that there are not."""
        need_params(params, "virDomainSetBlkioParameters")
        self.check_flags(flags, IMPACT, "DomainSetBlkioParameters")
        check_params(params, ALLOWED)

    def keep_blkio(self, record: DomainRecord, definition: Definition, params: Sequence[TypedParam]) -> None:
        """Put parameters into a definition; raises InvalidArg, after those that can be read."""
        self.world.touch(record)
        model = definition.changing()
        if model.blkiotune is None:
            model.blkiotune = BlockIoTune()
        failure: VirError | None = None
        for name, (_, value) in params:
            try:
                if name == WEIGHT:
                    model.blkiotune.weight = int(value) or None
                else:
                    _merge(model.blkiotune, name, parse_limits(str(value), name), self.world.ERRORS)
            except InvalidArg as error:
                failure = error
        self.world.redefined(record)
        if failure is not None:
            raise failure


def _join(tune: BlockIoTune, field: str) -> str:
    """Return the text for one limit of all devices."""
    found = ((device.path, getattr(device, field)) for device in tune.devices)
    return ",".join(f"{path},{limit}" for path, limit in found if limit)


def parse_limits(text: str, name: str) -> dict[str, int]:
    """Read the text of a parameter: path -> limit, the last one of a path winning.

    Raises:
        InvalidArg: it is not pairs of path and number.
    """
    if not text:
        return {}
    bad = InvalidArg(f"unable to parse blkio device '{name}' '{text}'", domain=c.VIR_FROM_DOMAIN)
    if text.count(",") % 2 == 0:
        raise bad
    limits: dict[str, int] = {}
    rest = text
    while True:
        path, _, rest = rest.partition(",")
        match = NUMBER.match(rest)
        if match is None and rest.startswith(","):
            raise bad
        number = -1 if match is None or match[1] == "-" else int(match[2][:32])
        if match is None or not 0 <= number < 2 ** DEVICE_LIMITS[name][1]:
            problem = f"invalid value '{rest}' for parameter '{name}' of device '{path}'"
            raise InvalidArg(problem, domain=c.VIR_FROM_DOMAIN)
        limits[path] = number
        rest = rest[match.end() :]
        if not rest:
            return limits
        if not rest.startswith(","):
            raise bad
        rest = rest[1:]


def _merge(tune: BlockIoTune, name: str, limits: dict[str, int], errors: int) -> None:
    """Set one limit of devices, adding those that are not there.

    Raises:
        InvalidArg: there are too many, or a path is too long.
    """
    known = {device.path: device for device in tune.devices}
    added = [path for path in limits if path not in known]
    if len(known) + len(added) > MAX_DEVICES or any(len(path) > MAX_PATH for path in added):
        text = f"a domain may have limits for {MAX_DEVICES} devices, with paths of {MAX_PATH} characters"
        raise InvalidArg(text, domain=errors)
    for path in added:
        known[path] = device = BlockDevice(path)
        tune.devices.append(device)
    for path, limit in limits.items():
        setattr(known[path], DEVICE_LIMITS[name][0], limit or None)
