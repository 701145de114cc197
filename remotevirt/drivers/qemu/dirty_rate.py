"""How fast a guest writes to its memory: QEMU measures for some seconds, and is asked for the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from remotevirt.drivers.faults import both_flags
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.typed_params import int_, llong, string

__all__ = ["DirtyRateCalls", "dirty_rate_params"]

BITMAP: Final[int] = c.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP
RING: Final[int] = c.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING

LONGEST: Final = 60
"""Seconds that QEMU measures at most."""

STATUS: Final = {
    "unstarted": c.VIR_DOMAIN_DIRTYRATE_UNSTARTED,
    "measuring": c.VIR_DOMAIN_DIRTYRATE_MEASURING,
    "measured": c.VIR_DOMAIN_DIRTYRATE_MEASURED,
}
"""QEMU's words for virDomainDirtyRateStatus."""

MODES: Final = ("page-sampling", "dirty-bitmap", "dirty-ring")
"""QEMU's and libvirt's words for how it measures."""


class DirtyRateCalls(QemuCalls):
    """virDomainStartDirtyRateCalc."""

    async def domain_start_dirty_rate_calc(self, dom: NonnullDomain, seconds: int, flags: int) -> None:
        """Have QEMU measure for some seconds; the statistics tell the result.

        Raises:
            ConfigUnsupported: that is too short or too long.
            OperationUnsupported: there is no dirty ring, which no guest of this driver has.
        """
        names = ("VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP", "VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING")
        if flags & BITMAP and flags & RING:
            raise both_flags("virDomainStartDirtyRateCalc", *names)
        self.check_flags(flags, BITMAP | RING, "DomainStartDirtyRateCalc")
        if not 1 <= seconds <= LONGEST:
            text = f"seconds={seconds} is invalid, please choose value within [1, {LONGEST}]."
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainStartDirtyRateCalc"):
            guest = self.guest(record)
            if flags & RING:
                text = "dirty-ring calculation mode requires dirty-ring feature enabled."
                raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
            mode = MODES[1] if flags & BITMAP else MODES[0]
            await guest.execute("calc-dirty-rate", {"calc-time": seconds, "mode": mode})


def dirty_rate_params(answer: Any) -> Iterator[TypedParam]:
    """Yield what the answer of ``query-dirty-rate`` says, with libvirt's names."""
    said = answer.get("status") if isinstance(answer, dict) else None
    status = STATUS.get(said) if isinstance(said, str) else None
    if status is None:
        return
    numbers = [answer.get(name) for name in ("start-time", "calc-time", "dirty-rate")]
    began, period, rate = (one if type(one) is int and 0 <= one < 2**31 else 0 for one in numbers)
    yield int_("dirtyrate.calc_status", status)
    yield llong("dirtyrate.calc_start_time", began)
    yield int_("dirtyrate.calc_period", period)
    mode = answer.get("mode")
    yield string("dirtyrate.calc_mode", mode if mode in MODES else MODES[0])
    if said == "measured":
        yield llong("dirtyrate.megabytes_per_second", rate)
