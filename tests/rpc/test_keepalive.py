"""Keepalive: which interval ends how."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc.keepalive import (
    PING,
    PING_PROCEDURE,
    PONG,
    PONG_PROCEDURE,
    Keepalive,
    KeepaliveAction,
)
from remotevirt.rpc.message import Kind, Message, parse_message
from tests.strategies import bounded

NOTHING, SEND_PING, DEAD = KeepaliveAction


class KeepaliveTests(SynchronousTestCase):
    """The counting of intervals."""

    def test_silence(self) -> None:
        """So many pings as were asked for, then the peer is gone, and stays so."""
        for count in (1, 3, 5):
            keepalive = Keepalive(count)
            actions = [keepalive.tick() for _ in range(count + 2)]
            self.assertEqual([SEND_PING] * count + [DEAD, DEAD], actions)

    def test_no_pings_allowed(self) -> None:
        """With a count of 0 the first silent interval is the last."""
        self.assertIs(DEAD, Keepalive(0).tick())

    def test_a_sign_of_life(self) -> None:
        """It makes its own interval a good one, and gives all points back."""
        keepalive = Keepalive(2)
        self.assertEqual([SEND_PING, SEND_PING], [keepalive.tick(), keepalive.tick()])
        keepalive.heard()
        keepalive.heard()
        self.assertEqual(
            [NOTHING, SEND_PING, SEND_PING, DEAD],
            [keepalive.tick() for _ in range(4)],
        )

    @bounded(100)
    @given(st.integers(0, 5), st.lists(st.booleans(), max_size=40))
    def test_against_a_table(self, count: int, intervals: list[bool]) -> None:
        """Each interval: heard or not, and how many silent ones came before it in a row."""
        keepalive = Keepalive(count)
        silent = 0
        for heard in intervals:
            if heard:
                keepalive.heard()
                silent = 0
                expected = NOTHING
            else:
                expected = SEND_PING if silent < count else DEAD
                silent += 1
            self.assertIs(expected, keepalive.tick())

    def test_messages(self) -> None:
        """Ping and pong are what libvirt sends: an event of the keepalive program, serial 0, no payload."""
        for data, procedure in ((PING, PING_PROCEDURE), (PONG, PONG_PROCEDURE)):
            self.assertEqual(28, len(data))
            self.assertEqual(
                Message(0x6B656570, 1, procedure, 0, Kind.EVENT, b"", 0), parse_message(data[4:])
            )
        self.assertEqual((1, 2), (PING_PROCEDURE, PONG_PROCEDURE))
