"""The time of a world: the reactor's, or one that stands still until a test moves it on.

::

    AUTO     seconds pass as they do; timers are the reactor's
    MANUAL   advance(60) runs every timer of the next minute in order, each at its own time, and returns

A manual clock begins at :data:`EPOCH`, so that what a world does is the same on every day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import Clock

from remotevirt.testing.values import SECONDS_MAXIMUM, WorldError

__all__ = ["EPOCH", "STEPS_MAXIMUM", "WorldClock"]

EPOCH: Final = 1_700_000_000
"""When a manual clock begins: 2023-11-14 22:13:20 UTC, in seconds since 1970."""

STEPS_MAXIMUM: Final = 1_000_000
"""Timers that one advance runs; more, and it stops with an error rather than hang the daemon."""


class WorldClock:
    """The clock of one world.

    Args:
        reactor: whose seconds and timers; None for a clock that is moved by hand.
    """

    def __init__(self, reactor: Any = None) -> None:
        self.manual = reactor is None
        self._timers: Any = Clock() if reactor is None else reactor
        self._origin: float = self._timers.seconds()

    def seconds(self) -> float:
        """Return the seconds since the world began."""
        return float(self._timers.seconds() - self._origin)

    def now(self) -> int:
        """Return the time, in nanoseconds since 1970."""
        if not self.manual:
            return time.time_ns()
        return EPOCH * 10**9 + int(self._timers.seconds() * 10**9)

    def call_later(self, delay: float, call: Callable[..., Any], *args: Any) -> Any:
        """Call something after so many seconds; return what can ``cancel()`` it."""
        return self._timers.callLater(delay, call, *args)

    def advance(self, seconds: float) -> float:
        """Move a manual clock on; return the seconds since the world began.

        Raises:
            WorldError: the clock is not manual, the time makes no sense, or too much happens in it.
        """
        if not self.manual:
            raise WorldError("this world's clock is not manual: its time cannot be advanced")
        clock = self._timers
        if isinstance(seconds, bool) or not 0 <= seconds <= SECONDS_MAXIMUM:
            raise WorldError(f"a clock advances by 0 to {SECONDS_MAXIMUM} seconds, not {seconds!r:.80}")
        end = clock.seconds() + seconds
        for _ in range(STEPS_MAXIMUM):
            waiting = clock.getDelayedCalls()
            if not waiting or waiting[0].getTime() > end:
                clock.rightNow = end
                return self.seconds()
            clock.rightNow = max(clock.rightNow, waiting[0].getTime())
            clock.advance(0)
        raise WorldError(f"more than {STEPS_MAXIMUM} things happen in these {seconds:g} seconds")
