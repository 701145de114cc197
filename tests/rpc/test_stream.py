"""Streams: the table, all states and all packets, from both sides."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import LocalProtocolError, RemoteProtocolError
from remotevirt.rpc.message import Kind
from remotevirt.rpc.stream import TRANSITIONS, Stream, StreamState
from tests.strategies import STREAM_KINDS

DATA, HOLE, FINISH, ABORT = STREAM_KINDS
OPEN, FINISHING, CLOSED, ABORTED = StreamState

REACHED: dict[str, tuple[StreamState, Callable[[Stream], object]]] = {
    "new": (OPEN, lambda stream: None),
    "data sent": (OPEN, lambda stream: stream.sent(DATA)),
    "we finished": (FINISHING, lambda stream: stream.sent(FINISH)),
    "they finished": (FINISHING, lambda stream: stream.received(FINISH)),
    "both finished": (CLOSED, lambda stream: (stream.sent(FINISH), stream.received(FINISH))),
    "we aborted": (ABORTED, lambda stream: stream.sent(ABORT)),
    "they aborted": (ABORTED, lambda stream: stream.received(ABORT)),
    "finished, then aborted": (ABORTED, lambda stream: (stream.sent(FINISH), stream.received(ABORT))),
}
"""How a stream gets into a state."""

SENT = {
    "new": {DATA: OPEN, HOLE: OPEN, FINISH: FINISHING, ABORT: ABORTED},
    "data sent": {DATA: OPEN, HOLE: OPEN, FINISH: FINISHING, ABORT: ABORTED},
    "we finished": {ABORT: ABORTED},
    "they finished": {DATA: FINISHING, HOLE: FINISHING, FINISH: CLOSED, ABORT: ABORTED},
}
"""What we may send, and the state it leads to; anything else is our mistake."""

RECEIVED = {
    "new": {DATA: OPEN, HOLE: OPEN, FINISH: FINISHING, ABORT: ABORTED},
    "data sent": {DATA: OPEN, HOLE: OPEN, FINISH: FINISHING, ABORT: ABORTED},
    "we finished": {DATA: FINISHING, HOLE: FINISHING, FINISH: CLOSED, ABORT: ABORTED},
    "they finished": {ABORT: ABORTED},
}
"""What the peer may send; anything else ends the connection, save late packets of an aborted stream."""


def stream_in(name: str, sparse: bool = True) -> Stream:
    """A stream that has got there."""
    stream = Stream(1, 1, 9, 3, sparse)
    REACHED[name][1](stream)
    return stream


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_total(self) -> None:
        """Every state but the last takes every packet."""
        self.assertEqual(
            {pair for pair in product(StreamState, STREAM_KINDS) if pair[0] is not CLOSED}, set(TRANSITIONS)
        )

    def test_ends_are_ends(self) -> None:
        """Nothing leads out of the states that end a stream."""
        for (before, _), after in TRANSITIONS.items():
            if before is ABORTED:
                self.assertIs(ABORTED, after)
            self.assertIsNot(CLOSED, before)


class StateTests(SynchronousTestCase):
    """All states, all packets, both directions."""

    def test_reached(self) -> None:
        """The ways into the states lead there."""
        for name, (state, _) in REACHED.items():
            self.assertIs(state, stream_in(name).state, name)

    def test_sending(self) -> None:
        """What is allowed moves the stream; what is not raises and leaves it where it is."""
        for name, kind in product(REACHED, Kind):
            stream = stream_in(name)
            expected = SENT.get(name, {}).get(kind)
            if expected is None:
                self.assertRaises(LocalProtocolError, stream.sent, kind)
                expected = REACHED[name][0]
            else:
                stream.sent(kind)
            self.assertIs(expected, stream.state, f"{name}: {kind}")

    def test_receiving(self) -> None:
        """The same for the peer; late packets of an aborted stream are told apart."""
        for name, kind in product(REACHED, Kind):
            stream = stream_in(name)
            expected = RECEIVED.get(name, {}).get(kind)
            if REACHED[name][0] is ABORTED:
                self.assertFalse(stream.received(kind))
                expected = ABORTED
            elif expected is None:
                self.assertRaises(RemoteProtocolError, stream.received, kind)
                expected = REACHED[name][0]
            else:
                self.assertTrue(stream.received(kind))
            self.assertIs(expected, stream.state, f"{name}: {kind}")

    def test_holes_only_where_wanted(self) -> None:
        """A stream that is not sparse takes no holes in either direction."""
        stream = stream_in("new", sparse=False)
        self.assertRaises(LocalProtocolError, stream.sent, HOLE)
        self.assertRaises(RemoteProtocolError, stream.received, HOLE)
        stream.sent(DATA)
        self.assertTrue(stream.received(DATA))
