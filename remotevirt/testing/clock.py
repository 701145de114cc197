"""The time of a world: the reactor's, or one that stands still until a test moves it on.

::

    WorldClock(reactor)   seconds pass as they do; timers are the reactor's
    WorldClock()          advance(60) runs every timer of the next minute in order, each at its own time

A manual clock begins at :data:`EPOCH`, so that what a world does is the same on every day.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import Any, Final

from remotevirt.testing.values import SECONDS_MAXIMUM, WorldError, number

__all__ = ["EPOCH", "STEPS_MAXIMUM", "Timer", "WorldClock"]

EPOCH: Final = 1_700_000_000
"""When a manual clock begins: 2023-11-14 22:13:20 UTC, in seconds since 1970."""

STEPS_MAXIMUM: Final = 1_000_000
"""Timers that one advance runs; more, and it stops with an error rather than hang the daemon."""


class Timer:
    """Something that a manual clock will call, unless it is cancelled before."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def active(self) -> bool:
        """Tell whether it is still to come."""
        return self._call is not None

    def cancel(self) -> None:
        """Let it not happen."""
        self._call = None

    def ring(self) -> None:
        """Let it happen."""
        call, self._call = self._call, None
        if call is not None:
            call()


class WorldClock:
    """The clock of one world.

    Args:
        reactor: whose seconds and timers; None for a clock that is moved by hand.
    """

    def __init__(self, reactor: Any = None) -> None:
        self._reactor = reactor
        self._now = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._origin: float = 0.0 if reactor is None else reactor.seconds()

    @property
    def manual(self) -> bool:
        """Whether it is moved by hand."""
        return self._reactor is None

    def seconds(self) -> float:
        """Return the seconds since the world began."""
        return self._now if self._reactor is None else float(self._reactor.seconds() - self._origin)

    def now(self) -> int:
        """Return the time, in nanoseconds since 1970."""
        return EPOCH * 10**9 + int(self._now * 10**9) if self._reactor is None else time.time_ns()

    def call_later(self, delay: float, call: Callable[..., Any], *args: Any) -> Any:
        """Call something after so many seconds; return what has ``cancel()`` and ``active()``."""
        if self._reactor is not None:
            return self._reactor.callLater(delay, call, *args)
        timer = Timer(lambda: call(*args))
        self._count += 1
        heapq.heappush(self._timers, (self._now + delay, self._count, timer))
        return timer

    def advance(self, seconds: float) -> float:
        """Move a manual clock on; return the seconds since the world began.

        Raises:
            WorldError: the clock is not manual, the time makes no sense, or too much happens in it.
        """
        if not self.manual:
            raise WorldError("this world's clock is not manual: its time cannot be advanced")
        end = self._now + number("seconds", 0, SECONDS_MAXIMUM)(seconds)
        for _ in range(STEPS_MAXIMUM):
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                return end
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            timer.ring()
        raise WorldError(f"more than {STEPS_MAXIMUM} things happen in these {seconds:g} seconds")
