"""Small blocks of the document: user mapping, sleep states, performance events."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    children,
    nested_attribute,
)
from remotevirt.xml.values import (
    Choice,
    Integer,
    xml_error,
    yes_no,
)

__all__ = ["PERF_EVENTS", "IdMap", "PerfEvent", "PerfEvents", "PowerManagement"]


_NO_ID = xml_error("invalid idmap start/target/count settings")
_ID = Integer(refusal=_NO_ID)


@attrs.define
class IdRange(Model):
    start: int = attribute("start", _ID, required=_NO_ID)
    target: int = attribute("target", _ID, required=_NO_ID)
    count: int = attribute("count", _ID, required=_NO_ID)


@attrs.define
class UidRange(IdRange):
    TAG: ClassVar[str] = "uid"


@attrs.define
class GidRange(IdRange):
    TAG: ClassVar[str] = "gid"


@attrs.define
class IdMap(Model):
    """A container's users and groups on the host."""

    TAG: ClassVar[str] = "idmap"
    uids: list[UidRange] = children(UidRange)
    gids: list[GidRange] = children(GidRange)

    def complete(self, source: Source, how: Reading) -> None:
        self.uids.sort(key=lambda item: item.start)
        self.gids.sort(key=lambda item: item.start)

    def check(self) -> None:
        """Refuse maps without a root, or for users only; raises ConfigUnsupported."""
        if bool(self.uids) != bool(self.gids):
            raise ConfigUnsupported("uid and gid should be mapped both", domain=VIR_FROM_DOMAIN)
        for ranges in (self.uids, self.gids):
            if ranges and ranges[0].start != 0:
                # said of groups too
                raise ConfigUnsupported("You must map the root user of container", domain=VIR_FROM_DOMAIN)


@attrs.define
class PowerManagement(Model):
    """Which sleep states the guest may use."""

    TAG: ClassVar[str] = "pm"
    mem: bool | None = nested_attribute("suspend-to-mem/enabled", yes_no())
    disk: bool | None = nested_attribute("suspend-to-disk/enabled", yes_no())


PERF_EVENTS = (
    "cmt",
    "mbmt",
    "mbml",
    "cpu_cycles",
    "instructions",
    "cache_references",
    "cache_misses",
    "branch_instructions",
    "branch_misses",
    "bus_cycles",
    "stalled_cycles_frontend",
    "stalled_cycles_backend",
    "ref_cpu_cycles",
    "cpu_clock",
    "task_clock",
    "page_faults",
    "context_switches",
    "cpu_migrations",
    "page_faults_min",
    "page_faults_maj",
    "alignment_faults",
    "emulation_faults",
)
"""The names of events, in libvirt's order."""


@attrs.define
class PerfEvent(Model):
    """Whether a figure of the host's performance counters is kept."""

    TAG: ClassVar[str] = "event"
    name: str = attribute("name", Choice(" ".join(PERF_EVENTS)), required=True)
    enabled: bool = attribute("enabled", yes_no(), required=True)


@attrs.define
class PerfEvents(Model):
    """Which performance events are counted."""

    TAG: ClassVar[str] = "perf"
    events: list[PerfEvent] = children(PerfEvent)

    def complete(self, source: Source, how: Reading) -> None:
        seen: dict[str, PerfEvent] = {}
        for event in self.events:
            if event.name in seen:
                raise XmlError(f"perf event '{event.name}' was already specified", domain=VIR_FROM_DOMAIN)
            seen[event.name] = event
        self.events = [seen[name] for name in PERF_EVENTS if name in seen]
