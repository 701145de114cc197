"""A fake world: libvirt's test hypervisor with its own time, rules, lives of guests and memory of calls.

Everything a test does to a world is a method here, whether it is called in the same process or comes by the
control API (:data:`VERBS`), so that both kits have one vocabulary.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any, Final

import attrs

from remotevirt.drivers.base import ClientInfo
from remotevirt.testing import memento
from remotevirt.testing.building import build
from remotevirt.testing.clock import WorldClock
from remotevirt.testing.description import WorldSpec
from remotevirt.testing.engine import FaultEngine, Who
from remotevirt.testing.guests import Guests
from remotevirt.testing.profile import Profile
from remotevirt.testing.recording import CallLog, Recorded
from remotevirt.testing.rules import Fault
from remotevirt.testing.values import WorldError, make

__all__ = ["VERBS", "FakeWorld"]

SNAPSHOTS_MAXIMUM: Final = 100
"""Snapshots that a world keeps."""


@attrs.frozen
class _Moment:
    contents: bytes
    lives: Mapping[bytes, tuple[Any, ...]]
    profiles: Mapping[str, Profile]


class FakeWorld:
    """One world, isolated from all others.

    Args:
        name: as in its URI.
        spec: what it begins with.
        clock: its time.
        contents: what a world of this description began with, to make another faster; None: build it.

    Attributes:
        contents: what it began with.
        world: the hypervisor's objects.
        engine: its rules; guests: their lives; log: the calls that it has received.

    Raises:
        WorldError: the description makes no sense.
    """

    def __init__(self, name: str, spec: WorldSpec, clock: WorldClock, contents: bytes | None = None) -> None:
        self.name = name
        self.spec = spec
        self.clock = clock
        self.world = build(spec if contents is None else WorldSpec(), clock.now)
        if contents is not None:
            memento.recall(self.world, contents)
        self.contents = memento.remember(self.world) if contents is None else contents
        self.guests = Guests(self.world, clock, spec.profiles())
        self.engine = FaultEngine(clock)
        self.engine.replace(spec.fault)
        self.log = CallLog()
        self.clients = 0
        self._snapshots: dict[str, _Moment] = {}
        self._initial = _Moment(self.contents, self.guests.remember(), dict(self.guests.profiles))

    def __repr__(self) -> str:
        return f"<FakeWorld {self.name}>"

    def admit(self, client: ClientInfo) -> Who:
        """Give a client that opens the world its number."""
        self.clients += 1
        return Who(self, self.clients, client)

    # -- time ------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> float:
        """Move a manual clock on; return the seconds since the world began.

        Raises:
            WorldError: the clock is not manual, or the time makes no sense.
        """
        return self.clock.advance(seconds)

    def time(self) -> float:
        """Return the seconds since the world began."""
        return self.clock.seconds()

    # -- faults ----------------------------------------------------------------------------------------

    def fault(self, **rule: Any) -> str:
        """Put a rule in force (the fields of :class:`~remotevirt.testing.rules.Fault`); return its name.

        Raises:
            WorldError: it makes no sense.
        """
        return self.engine.add(make(Fault, rule, "fault"))

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules in force, each with how often it was asked (``seen``) and counted (``done``)."""
        return [{**rule.fault.table(), "seen": rule.seen, "done": rule.done} for rule in self.engine]

    def heal(self, name: str | None = None) -> None:
        """Take away one rule, or all; raises WorldError if there is none of this name."""
        if name is None:
            self.engine.clear()
        else:
            self.engine.remove(name)

    # -- what was called -------------------------------------------------------------------------------

    def calls(self, procedure: str = "*", object: str = "*", client: int | None = None) -> list[Recorded]:
        """Return the calls that clients have made, oldest first.

        Args:
            procedure, object: patterns of their names.
            client: the number of the client; None: of all.
        """
        return self.log.find(procedure, object, client)

    def forget_calls(self) -> None:
        """Begin a new list of calls."""
        self.log.clear()

    # -- memory ----------------------------------------------------------------------------------------

    def _moment(self) -> _Moment:
        return _Moment(memento.remember(self.world), self.guests.remember(), dict(self.guests.profiles))

    def _go_back(self, moment: _Moment) -> None:
        memento.recall(self.world, moment.contents)
        self.guests.profiles = dict(moment.profiles)
        self.guests.recall(moment.lives)

    def snapshot(self, name: str = "snapshot") -> None:
        """Remember everything in the world, and how far its guests are; a snapshot of this name is replaced.

        Raises:
            WorldError: there are too many.
        """
        if name not in self._snapshots and len(self._snapshots) >= SNAPSHOTS_MAXIMUM:
            raise WorldError(f"a world keeps at most {SNAPSHOTS_MAXIMUM} snapshots")
        self._snapshots[name] = self._moment()

    def restore(self, name: str = "snapshot") -> None:
        """Bring back what a snapshot remembers; rules, calls and time stay. Clients are not told.

        Raises:
            WorldError: there is none of this name.
        """
        moment = self._snapshots.get(name)
        if moment is None:
            raise WorldError(f"there is no snapshot called {name!r:.80}")
        self._go_back(moment)

    def reset(self) -> None:
        """Make the world what it was at first, with the rules it had; its calls are forgotten."""
        self._go_back(self._initial)
        self.engine.replace(self.spec.fault)
        self.log.clear()

    # -- what happens to things ------------------------------------------------------------------------

    def behave(self, domain: str, **profile: Any) -> None:
        """Give domains (a pattern of names) a profile; without fields they behave as libvirt's test driver's.

        Raises:
            WorldError: there is no such domain, or the profile makes no sense.
        """
        found = fnmatch.filter(list(self.world.by_name), domain)
        if not found:
            raise WorldError(f"there is no domain called {domain!r:.80}")
        wanted = make(Profile, profile, "profile") if profile else None
        for name in found:
            self.guests.behave(name, wanted)

    def crash(self, domain: str) -> None:
        """Let an active domain end as if its emulator had died; raises WorldError."""
        self.guests.crash(domain)

    def panic(self, domain: str) -> None:
        """Let the system in an active domain panic, and ``on_crash`` happen; raises WorldError."""
        self.guests.panic(domain)

    def exhaust(self, pool: str, free: int = 0) -> None:
        """Leave a pool so many free bytes; raises WorldError if there is no such pool."""
        record = self.world.pools.by_name.get(pool)
        if record is None:
            raise WorldError(f"there is no pool called {pool!r:.80}")
        record.use(record.model.available - free)
        self.world.pools.changed()

    def domains(self) -> dict[str, dict[str, Any]]:
        """Return all domains by name: ``active``, ``state`` and ``reason`` (numbers), and if it has a life,
        ``uptime``, ``agent`` and ``leased``.
        """
        now = self.clock.seconds()
        found: dict[str, dict[str, Any]] = {}
        for record in self.world.by_uuid.values():
            table = found[record.name] = {
                "active": record.active,
                "state": record.state,
                "reason": record.reason,
            }
            life = self.guests.life(record)
            if life is not None:
                table |= {"uptime": life.age(now), "agent": life.agent(now), "leased": life.leased(now)}
        return found

    def close(self) -> None:
        """End all timers."""
        self.guests.recall({})
        self.engine.close()


VERBS: Final = (
    "advance",
    "time",
    "fault",
    "faults",
    "heal",
    "calls",
    "forget_calls",
    "snapshot",
    "restore",
    "reset",
    "behave",
    "crash",
    "panic",
    "exhaust",
    "domains",
)
"""What the control API can ask of a world: methods, whose arguments are plain values."""
