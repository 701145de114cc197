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

__all__ = ["CLOSE", "MOMENT", "TURNS", "Linger"]

CLOSE = 0.000_250
"""Seconds between two requests that make a conversation."""

MOMENT = 0.000_100
"""Seconds to stay awake for the next request of a conversation."""


TURNS = 100
"""Most turns of the reactor in which to look; some 20 fit into the moment. It may seem longer than it is to a
clock that is set back."""


class Linger:
    """Keeps a reactor awake between requests of a conversation.

    Args:
        reactor: an IReactorTime.
    """

    __slots__ = ("_awake", "_last", "_reactor", "_turns", "_until")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = 0.0
        self._until = 0.0
        self._turns = 0
        self._awake = False

    def served(self) -> None:
        """Note that replies have just been sent."""
        now = self._reactor.seconds()
        if now - self._last < CLOSE:
            self._until = now + MOMENT
            self._turns = TURNS
            if not self._awake:
                self._awake = True
                self._reactor.callLater(0, self._look)
        self._last = now

    def _look(self) -> None:
        self._turns -= 1
        if self._turns and self._reactor.seconds() < self._until:
            self._reactor.callLater(0, self._look)
        else:
            self._awake = False
