"""Lingering: stay awake for a moment when requests follow one another closely.

A process that waits for its next event is put to sleep, and waking it takes longer than serving a small
call: on a virtual machine some 30 microseconds against 10. A client that makes one call after another
would pay that for each. So when two requests were served within :data:`CLOSE`, the reactor is kept from
sleeping for up to :data:`MOMENT` after the second: it looks for the next request instead.

Processor time is spent only while calls come faster than about 4,000 a second; for a client that asks
now and then nothing changes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CLOSE", "MOMENT", "Linger"]

CLOSE = 0.000_250
"""Seconds between two requests that make a conversation."""

MOMENT = 0.000_100
"""Seconds to stay awake for the next request of a conversation."""


class Linger:
    """Keeps a reactor awake between requests of a conversation.

    Args:
        reactor: an IReactorTime.
    """

    __slots__ = ("_awake", "_last", "_reactor", "_until")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = 0.0
        self._until = 0.0
        self._awake = False

    def served(self) -> None:
        """Note that replies have just been sent."""
        now = self._reactor.seconds()
        if 0 <= now - self._last < CLOSE:
            self._until = now + MOMENT
            if not self._awake:
                self._awake = True
                self._reactor.callLater(0, self._look)
        self._last = now

    def _look(self) -> None:
        # The reactor's clock may be set back; that must not keep it awake.
        if 0 < self._until - self._reactor.seconds() < CLOSE:
            self._reactor.callLater(0, self._look)
        else:
            self._awake = False
