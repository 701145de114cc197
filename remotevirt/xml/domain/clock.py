"""``<clock>``: what time it is in the guest, and its timers."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.fields import Model, Reading, Source, attribute, child, children
from remotevirt.xml.model import merged
from remotevirt.xml.parse import Element
from remotevirt.xml.values import (
    Choice,
    Integer,
    Where,
    internal,
    parse_integer,
    unsupported,
    xml_error,
    yes_no,
)

__all__ = ["Clock", "Timer"]


@attrs.define
class Catchup(Model):
    TAG: ClassVar[str] = "catchup"
    threshold: int | None = attribute("threshold", Integer(bits=64, zero="silent"))
    slew: int | None = attribute("slew", Integer(bits=64, zero="silent"))
    limit: int | None = attribute("limit", Integer(bits=64, zero="silent"))

    def says(self) -> bool:
        """Whether it says anything: zeros do not."""
        return bool(self.threshold or self.slew or self.limit)


_SUPPORT = {
    "tickpolicy": frozenset(("platform", "rtc", "tsc", "hpet", "pit", "armvtimer")),
    "track": frozenset(("platform", "rtc")),
    "frequency": frozenset(("tsc",)),
    "mode": frozenset(("tsc",)),
}


@attrs.define
class Timer(Model):
    """One of the guest's timers."""

    TAG: ClassVar[str] = "timer"
    name: str = attribute(
        "name", Choice("platform pit rtc hpet tsc kvmclock hypervclock armvtimer"), required=True
    )
    present: bool | None = attribute("present", yes_no())
    tickpolicy: str | None = attribute("tickpolicy", Choice("delay catchup merge discard"))
    track: str | None = attribute("track", Choice("boot guest wall realtime"))
    frequency: int | None = attribute("frequency", Integer(bits=64, zero="silent"))
    mode: str | None = attribute("mode", Choice("auto native emulate paravirt smpsafe"))
    catchup: Catchup | None = child(Catchup)

    def check(self) -> None:
        """Refuse what this timer does not have; raises VirError."""
        if self.catchup is not None and self.catchup.says() and self.tickpolicy != "catchup":
            raise XmlError(
                "setting of timer catchup policies is only supported with tickpolicy='catchup'",
                domain=VIR_FROM_DOMAIN,
            )
        for what in ("tickpolicy", "track", "frequency", "mode"):
            if getattr(self, what) is not None and self.name not in _SUPPORT[what]:
                raise ConfigUnsupported(
                    f"timer {self.name} doesn't support setting of timer {what}", domain=VIR_FROM_DOMAIN
                )


_BASES = Choice("utc localtime", refusal=unsupported("unknown clock basis '{}'"))


@attrs.define
class Clock(Model):
    """The guest's clock; of several, the first, with the timers of all."""

    TAG: ClassVar[str] = "clock"
    KEEP: ClassVar[bool] = True
    offset: str = attribute(
        "offset",
        Choice(
            "utc localtime variable timezone absolute",
            silent="",
            refusal=unsupported("unknown clock offset '{}'"),
        ),
        default="utc",
    )
    adjustment: str | None = attribute("adjustment")
    basis: str | None = attribute("basis")
    timezone: str | None = attribute("timezone")
    start: int | None = attribute("start", Integer(bits=64, lenient=True))
    timers: list[Timer] = children(Timer)

    @classmethod
    def read_all(cls, elements: list[Element], how: Reading) -> Self:
        """Read the clocks of a document; raises VirError."""
        source = merged(elements)
        source.get = elements[0].get
        return cls.read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        wanted = self.adjustment
        number = parse_integer(wanted, low=-(2**63), high=2**63 - 1) if wanted else None
        self.adjustment = None
        if self.offset in {"utc", "localtime"}:
            if wanted == "reset":
                self.adjustment = "reset"
            elif wanted:
                if number is None:
                    raise xml_error("unknown clock adjustment '{}'")(wanted)
                self.offset, self.basis, self.adjustment = "variable", self.offset, str(number)
                self.timezone = self.start = None
                return
        elif self.offset == "variable":
            self.adjustment = str(number or 0)
            self.basis = _BASES.read(self.basis, Where("clock", "basis")) if self.basis else "utc"
        elif self.offset == "timezone" and self.timezone is None:
            raise internal("missing 'timezone' attribute for clock with offset='timezone'")("")
        elif self.offset == "absolute" and self.start is None:
            raise internal("missing 'start' attribute for clock with offset='absolute'")("")
        if self.offset != "variable":
            self.basis = None
        if self.offset != "timezone":
            self.timezone = None
        if self.offset != "absolute":
            self.start = None
