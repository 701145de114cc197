"""The calls that worlds have received, for tests to look at.

A :class:`Recorder` is a tracer: it hears of every call that a client makes, also of those that the daemon
itself answers. What it keeps is the call as it came, and decodes it for whoever asks.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

from remotevirt.drivers.raw import RawReply
from remotevirt.errors import VirError
from remotevirt.server.trace import Call, Tracer
from remotevirt.testing.engine import Who

__all__ = ["CALLS_MAXIMUM", "CallLog", "Recorded", "Recorder"]

CALLS_MAXIMUM: Final = 100_000
"""Calls that a world remembers; the oldest are forgotten."""

BYTES_MAXIMUM: Final = 64 * 1024 * 1024
"""Bytes of the calls that a world remembers; the oldest are forgotten."""

FRAME_COST: Final = 200
"""Bytes that a call takes besides what came on the wire."""


class Recorded:
    """A call that a world has received.

    Attributes:
        procedure: its name, ``domain_create``.
        client: the how manieth client of its world made it, from 1.
        started: when, in seconds of the world's clock.
        outcome: ``"ok"``, ``"error"``, ``"garbage"``, ``"pending"``, ``"cancelled"`` (its client went away).
        error: the error that it was answered with; None without one.
        latency: seconds of the daemon's clock until it ended.
    """

    __slots__ = ("_call", "client", "error", "latency", "outcome", "procedure", "started")

    def __init__(self, call: Call, who: Who, started: float) -> None:
        self.procedure = call.name
        self.client = who.number
        self.started = started
        self.outcome = "pending"
        self.error: VirError | None = None
        self.latency = 0.0
        copy = Call(None, call.frame, call.started)
        copy.program, copy.procedure = call.program, call.procedure
        self._call = copy

    @property
    def size(self) -> int:
        """What it counts for."""
        return len(self._call.frame) + FRAME_COST

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, as plain values: structs are dictionaries, UUIDs texts, other bytes hex."""
        found = plain(self._call.arguments())
        return found if isinstance(found, dict) else {}

    @property
    def object(self) -> str | None:
        """The name of the object that it is about, None where its arguments have none."""
        for value in self.arguments.values():
            if isinstance(value, dict) and isinstance(value.get("name"), str):
                return str(value["name"])
        return None

    def table(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        error = self.error
        return {
            "procedure": self.procedure,
            "arguments": self.arguments,
            "object": self.object,
            "client": self.client,
            "started": self.started,
            "outcome": self.outcome,
            "error": None if error is None else {"code": error.code, "message": error.message},
            "latency": self.latency,
        }

    def __repr__(self) -> str:
        return f"<{self.procedure} {self.arguments} by client {self.client}: {self.outcome}>"


class CallLog:
    """The calls of one world, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[Recorded] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(tuple(self._calls))

    def add(self, call: Recorded) -> None:
        """Remember a call; the oldest are forgotten if that is too much."""
        self._calls.append(call)
        self._bytes += call.size
        while len(self._calls) > CALLS_MAXIMUM or self._bytes > BYTES_MAXIMUM:
            self._bytes -= self._calls.popleft().size

    def clear(self) -> None:
        """Forget all."""
        self._calls.clear()
        self._bytes = 0

    def find(self, procedure: str = "*", object: str = "*", client: int | None = None) -> list[Recorded]:
        """Return the calls of procedures and about objects that patterns mean, by one client or all."""
        return [
            call
            for call in self._calls
            if fnmatch.fnmatchcase(call.procedure, procedure)
            and (client is None or call.client == client)
            and (object == "*" or fnmatch.fnmatchcase(call.object or "", object))
        ]


class Recorder(Tracer):
    """Writes each call into the log of the world that its client has opened."""

    def __init__(self) -> None:
        self._pending: dict[Call, Recorded] = {}

    def _note(self, call: Call) -> Recorded | None:
        connection = call.client.session.connection
        who = None if connection is None else getattr(connection.hypervisor, "who", None)
        if not isinstance(who, Who):
            return None
        recorded = Recorded(call, who, who.world.clock.seconds())
        who.world.log.add(recorded)
        return recorded

    def call_started(self, call: Call) -> None:
        """Remember a call."""
        recorded = self._note(call)
        if recorded is not None:
            self._pending[call] = recorded

    def _ended(self, call: Call, outcome: str, error: VirError | None = None) -> None:
        recorded = self._pending.pop(call, None)
        if recorded is None and outcome == "ok" and call.name == "connect_open":
            recorded = self._note(call)  # only now it is known which world was meant
        if recorded is not None:
            recorded.outcome, recorded.error, recorded.latency = outcome, error, call.latency

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Note that a call was answered."""
        self._ended(call, "ok")

    def call_failed(self, call: Call, error: VirError) -> None:
        """Note that a call was refused."""
        self._ended(call, "garbage" if isinstance(error, RawReply) else "error", error)

    def call_cancelled(self, call: Call) -> None:
        """Note that a call was never answered."""
        self._ended(call, "cancelled")


def plain(value: Any) -> Any:
    """Return a decoded value as JSON can carry it."""
    fields: Callable[[], dict[str, Any]] | None = getattr(value, "_asdict", None)
    if fields is not None:
        return {name: plain(part) for name, part in fields().items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return str(UUID(bytes=value)) if len(value) == 16 else value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)
