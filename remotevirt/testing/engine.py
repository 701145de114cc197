"""The rules in force in one world, and what they do to calls, events and streams.

::

    client ── call ──► FaultEngine.call ──► the first rule that fits and counts now ──► goes wrong
                              └──── none fits ──► the driver's own method

A world without rules costs a call one look. Rules are asked in the order in which they were added; the
first one that is about a call, and whose turn and dice say so, decides, and no later one is asked.
"""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, maybeDeferred

from remotevirt.drivers.base import ClientInfo, DriverConnection
from remotevirt.drivers.events import Event
from remotevirt.drivers.raw import RawReply
from remotevirt.procedures import Procedure, StreamResult
from remotevirt.testing.clock import WorldClock
from remotevirt.testing.cutting import CutStream
from remotevirt.testing.rules import EVENTS, Fault, find_procedures, matches_any
from remotevirt.testing.values import WorldError
from remotevirt.xdr import UINT

__all__ = ["RULES_MAXIMUM", "FaultEngine", "Who"]

RULES_MAXIMUM: Final = 1000
"""Rules of one world: each call looks at all of them."""

HELD_MAXIMUM: Final = 1000
"""Events that wait for the next one, over all rules that reorder."""

NAME: Final = re.compile(r"<name>([^<]{1,1024})</name>")
"""The name in a document that is to be defined."""

DOCUMENT_HEAD: Final = 65536
"""Characters of a document in which its name is looked for."""


class Who:
    """A client of a world, as rules see it.

    Attributes:
        number: the how manieth client of this world it is, from 1; world: which world.
        names: what patterns of clients are compared with.
        disconnect: ends its connection.
    """

    __slots__ = ("disconnect", "names", "number", "world")

    def __init__(self, world: Any, number: int, client: ClientInfo) -> None:
        self.world = world
        self.number = number
        self.disconnect = client.disconnect
        identity = client.identity
        uid = None if identity.uid is None else f"uid:{identity.uid}"
        names = (f"#{number}", identity.sasl, identity.dn, identity.user, uid, identity.transport)
        self.names = tuple(name for name in names if name is not None)


class Active:
    """A rule in force.

    Attributes:
        fault: the rule.
        seen: how many calls or events were its business; done: how many it has spoilt.
    """

    __slots__ = ("_last", "_random", "done", "fault", "held", "procedures", "seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.procedures = find_procedures(fault.procedure) if fault.event is None else frozenset()
        self.seen = 0
        self.done = 0
        self.held: list[tuple[Callable[[Event], None], Event]] = []
        self._random = random.Random(fault.seed)
        self._last: tuple[Event | None, bool] = (None, False)

    def counts(self, now: float) -> bool:
        """Note one more that is the rule's business, and tell whether it is to go wrong."""
        fault = self.fault
        if not fault.since <= now < fault.until:
            return False
        self.seen += 1
        if self.seen <= fault.after or (fault.count is not None and self.done >= fault.count):
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        self.done += 1
        return True

    def counts_event(self, event: Event, now: float) -> bool:
        """Note an event, once however many clients it goes to, and tell whether it is to go wrong."""
        if self._last[0] is not event:
            self._last = (event, self.counts(now))
        return self._last[1]

    def delay(self) -> float:
        """Return for how long this one waits."""
        low, high = self.fault.delay or (0.0, 0.0)
        return low if low == high else self._random.uniform(low, high)


class FaultEngine:
    """The rules of one world.

    Args:
        clock: the world's.
    """

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._rules: list[Active] = []
        self._timers: list[Any] = []
        self._last = 0

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Active]:
        return iter(self._rules)

    def add(self, fault: Fault) -> str:
        """Put a rule in force, behind those that are; return its name.

        Raises:
            WorldError: there is a rule of this name, or there are too many.
        """
        if not fault.name:
            self._last += 1
            fault = attrs.evolve(fault, name=f"fault-{self._last}")
        if any(rule.fault.name == fault.name for rule in self._rules):
            raise WorldError(f"there is a fault called {fault.name!r}")
        if len(self._rules) >= RULES_MAXIMUM:
            raise WorldError(f"a world has at most {RULES_MAXIMUM} faults")
        self._rules.append(Active(fault))
        return fault.name

    def remove(self, name: str) -> None:
        """Take a rule away; what it holds back is delivered.

        Raises:
            WorldError: there is none of this name.
        """
        for rule in self._rules:
            if rule.fault.name == name:
                self._rules.remove(rule)
                self._release(rule)
                return
        raise WorldError(f"there is no fault called {name!r:.80}")

    def clear(self) -> None:
        """Take all rules away."""
        rules, self._rules = self._rules, []
        for rule in rules:
            self._release(rule)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Put these rules in force, and no others."""
        self.clear()
        for fault in faults:
            self.add(fault)

    def _later(self, delay: float, call: Callable[..., Any], *args: Any) -> Any:
        self._timers = [timer for timer in self._timers if timer.active()]
        timer = self._clock.call_later(delay, call, *args)
        self._timers.append(timer)
        return timer

    def close(self) -> None:
        """Take all rules away; what was delayed never comes."""
        self._rules.clear()
        for timer in self._timers:
            if timer.active():
                timer.cancel()

    # -- calls ---------------------------------------------------------------------------------------

    def call(
        self, name: str, procedure: Procedure, method: Callable[..., Any], args: tuple[Any, ...], who: Who
    ) -> Any:
        """Make a call, or let it go wrong.

        Args:
            name: the procedure, as rules call it; procedure: what is known of it.
            method: the driver's; args: what it is called with.
            who: the client.
        """
        for rule in self._rules:
            if name not in rule.procedures or not matches_any(rule.fault.client, who.names):
                continue
            if rule.fault.object != "*" and not matches_any(rule.fault.object, objects(args)):
                continue
            if (rule.fault.ignore and procedure.ret is not None) or (
                rule.fault.cut is not None and not procedure.opens_stream
            ):
                continue
            if rule.counts(self._clock.seconds()):
                return self._spoil(rule, method, args, who)
        return method(*args)

    def _spoil(self, rule: Active, method: Callable[..., Any], args: tuple[Any, ...], who: Who) -> Any:
        delay = rule.delay()
        if not delay:
            return self._act(rule.fault, method, args, who)
        waiting: Deferred[Any] = Deferred(lambda _: timer.active() and timer.cancel())
        timer = self._later(delay, waiting.callback, None)
        return waiting.addCallback(lambda _: self._act(rule.fault, method, args, who))

    def _act(self, fault: Fault, method: Callable[..., Any], args: tuple[Any, ...], who: Who) -> Any:
        """Do what a rule says; the methods below return what the client gets, or raise it."""
        if fault.error is not None:
            raise fault.vir_error()
        if fault.ignore:
            return None
        if fault.hang:
            return Deferred()
        if fault.drop == "before":
            who.disconnect(f"fault {fault.name}")
            return Deferred()
        if fault.drop == "after":
            return maybeDeferred(method, *args).addBoth(self._drop, fault, who)
        if fault.garbage is not None:
            return maybeDeferred(method, *args).addBoth(_answer_garbage, fault)
        if fault.cut is not None:
            return maybeDeferred(method, *args).addCallback(_cut, fault)
        return method(*args)

    @staticmethod
    def _drop(result: Any, fault: Fault, who: Who) -> Deferred[Any]:
        who.disconnect(f"fault {fault.name}")
        _discard(result)
        return Deferred()

    # -- events --------------------------------------------------------------------------------------

    def deliver(self, event: Event, listener: Callable[[Event], None], who: Who) -> None:
        """Hand an event to a client's listener, or let it go wrong."""
        for rule in self._rules:
            if any(owner is listener for owner, _ in rule.held):
                self._release(rule, listener, event)
                return
        name = EVENTS.get((event.kind, event.id), event.kind)
        for rule in self._rules:
            fault = rule.fault
            if fault.event is None or not fnmatch.fnmatchcase(name, fault.event):
                continue
            if not matches_any(fault.client, who.names) or not matches_any(fault.object, _names_of(event)):
                continue
            if rule.counts_event(event, self._clock.seconds()):
                self._spoil_event(rule, event, listener)
                return
        listener(event)

    def _spoil_event(self, rule: Active, event: Event, listener: Callable[[Event], None]) -> None:
        fault = rule.fault
        if fault.lose:
            return
        if fault.reorder and len(rule.held) < HELD_MAXIMUM:
            rule.held.append((listener, event))
            return
        delay = rule.delay()
        for _ in range(2 if fault.duplicate else 1):
            if delay:
                self._later(delay, listener, event)
            else:
                listener(event)

    @staticmethod
    def _release(
        rule: Active, listener: Callable[[Event], None] | None = None, event: Event | None = None
    ) -> None:
        """Deliver an event, and then those that a rule has held back for the same listener; None: for all."""
        if listener is not None and event is not None:
            listener(event)
        held, rule.held = rule.held, []
        for owner, late in held:
            if listener is None or owner is listener:
                owner(late)
            else:
                rule.held.append((owner, late))


def objects(args: tuple[Any, ...]) -> Iterator[str]:
    """Return what the object of a call is called, as far as its arguments say: names and UUIDs."""
    for value in args:
        if isinstance(value, str):
            found = NAME.search(value, 0, DOCUMENT_HEAD) if value.startswith("<") else None
            yield value if found is None else found[1]
        elif isinstance(value, bytes):
            if len(value) == 16:
                yield str(UUID(bytes=value))
        else:
            yield from _names_of_ref(value)


def _names_of_ref(ref: Any) -> Iterator[str]:
    """Return name and UUID of a reference; nothing of anything else."""
    name, uuid = getattr(ref, "name", None), getattr(ref, "uuid", None)
    if isinstance(name, str):
        yield name
    if isinstance(uuid, bytes) and len(uuid) == 16:
        yield str(UUID(bytes=uuid))


def _names_of(event: Event) -> Iterator[str]:
    """Return what the object of an event is called."""
    for value in event.msg:  # type: ignore[attr-defined]
        yield from _names_of_ref(value)


def _discard(result: Any) -> None:
    """End what came with a result that nobody gets."""
    if isinstance(result, StreamResult):
        result.stream.abort()
    elif isinstance(result, DriverConnection):
        result.on_close()


def _answer_garbage(result: Any, fault: Fault) -> Any:
    """Answer with bytes that mean nothing."""
    _discard(result)

    def payload(head: bytes, serial: bytes) -> bytes:
        body = head + serial + UINT.pack(0) + b"\xff\xff\xff"
        return UINT.pack(4 + len(body)) + body

    def frame(head: bytes, serial: bytes) -> bytes:
        return b"\xff" * 28

    raise RawReply(f"fault {fault.name}", payload if fault.garbage == "payload" else frame)


def _cut(result: Any, fault: Fault) -> Any:
    """Return the result of a call that opens a stream, with its stream cut short."""
    assert fault.cut is not None
    return result._replace(stream=CutStream(result.stream, fault.cut))
