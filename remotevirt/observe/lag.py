"""How late the reactor is: the time by which calls that are due have to wait for others.

Everything happens in one thread, so whatever keeps it busy delays everything else. The meter asks to be
called at regular moments and notes how much later it was.
"""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["LagMeter"]

INTERVAL = 0.5
"""Seconds between two measurements: rare enough to cost nothing, often enough to catch most stalls."""

KEPT = 120
"""Measurements kept: a minute, four times Prometheus's usual interval."""


class LagMeter:
    """Measures lateness.

    Args:
        clock: the reactor.

    Attributes:
        last: seconds by which the last measurement was late.
    """

    def __init__(self, clock: Any) -> None:
        self.last = 0.0
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=KEPT)
        self._call: Any = None

    @property
    def worst(self) -> float:
        """Seconds by which the latest of the last minute's measurements was late."""
        return max(self._recent, default=0.0)

    def start(self) -> None:
        """Begin to measure. May be called again."""
        if self._call is None:
            self._wait()

    def stop(self) -> None:
        """Stop measuring. May be called again."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _wait(self) -> None:
        due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._measure, due)

    def _measure(self, due: float) -> None:
        self.last = max(0.0, self._clock.seconds() - due)
        self._recent.append(self.last)
        self._wait()
