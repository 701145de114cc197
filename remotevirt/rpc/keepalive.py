"""Keepalive: is the peer still there?

The two messages of the keepalive program, ping and pong, are answered at once and never queued. Whoever
wants to know whether its peer is alive counts intervals: each one in which nothing arrived costs a point,
and any message gives all points back. There is no clock here: the owner calls :meth:`Keepalive.tick` at
the end of each interval.
"""

from __future__ import annotations

import enum

from remotevirt.rpc.message import pack_event
from remotevirt.stubs.keepalive import KEEPALIVE_PROGRAM, KEEPALIVE_PROTOCOL_VERSION

__all__ = ["PING", "PING_PROCEDURE", "PONG", "PONG_PROCEDURE", "Keepalive", "KeepaliveAction"]

PING_PROCEDURE = 1
PONG_PROCEDURE = 2

PING = pack_event(KEEPALIVE_PROGRAM, KEEPALIVE_PROTOCOL_VERSION, PING_PROCEDURE, b"", serial=0)
PONG = pack_event(KEEPALIVE_PROGRAM, KEEPALIVE_PROTOCOL_VERSION, PONG_PROCEDURE, b"", serial=0)


class KeepaliveAction(enum.Enum):
    """What the owner does at the end of an interval."""

    NOTHING = "the peer was heard in this interval"
    PING = "send a ping"
    DEAD = "the peer is gone: close"


class Keepalive:
    """Counts the intervals without a sign of life.

    Args:
        count: how many pings may go unanswered before the peer counts as gone.
    """

    __slots__ = ("_heard", "_left", "count")

    def __init__(self, count: int) -> None:
        self.count = count
        self._left = count
        self._heard = False

    def heard(self) -> None:
        """Note that something arrived."""
        self._left = self.count
        self._heard = True

    def tick(self) -> KeepaliveAction:
        """End an interval."""
        if self._heard:
            self._heard = False
            return KeepaliveAction.NOTHING
        if self._left <= 0:
            return KeepaliveAction.DEAD
        self._left -= 1
        return KeepaliveAction.PING
