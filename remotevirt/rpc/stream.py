"""Streams: the state of one, as a table.

A stream begins with the reply to the call that opened it and reuses its program, procedure and serial. It
ends in one of two ways. *Finish*: the side that has no more to send sends data of no length (the server)
or the finish packet (the client), and the client's finish packet is answered by the server's. *Abort*:
either side sends an error packet; the server's carries a virNetMessageError, the client's nothing.

    state       data/hole   finish          abort
    OPEN        OPEN        FINISHING       ABORTED       we or the peer sent it
    FINISHING   FINISHING   CLOSED          ABORTED       waiting for the other side's finish
    CLOSED      -           -               -             nothing is allowed
    ABORTED     ABORTED     ABORTED         ABORTED       late packets are dropped
"""

from __future__ import annotations

import enum

from remotevirt.errors import LocalProtocolError, RemoteProtocolError
from remotevirt.rpc.message import Kind

__all__ = ["TRANSITIONS", "Stream", "StreamState"]


class StreamState(enum.Enum):
    """See the module's table."""

    OPEN = "open"
    FINISHING = "finishing"
    CLOSED = "closed"
    ABORTED = "aborted"


TRANSITIONS: dict[tuple[StreamState, Kind], StreamState] = {
    (StreamState.OPEN, Kind.STREAM_DATA): StreamState.OPEN,
    (StreamState.OPEN, Kind.STREAM_HOLE): StreamState.OPEN,
    (StreamState.OPEN, Kind.STREAM_FINISH): StreamState.FINISHING,
    (StreamState.OPEN, Kind.STREAM_ABORT): StreamState.ABORTED,
    (StreamState.FINISHING, Kind.STREAM_DATA): StreamState.FINISHING,
    (StreamState.FINISHING, Kind.STREAM_HOLE): StreamState.FINISHING,
    (StreamState.FINISHING, Kind.STREAM_FINISH): StreamState.CLOSED,
    (StreamState.FINISHING, Kind.STREAM_ABORT): StreamState.ABORTED,
    (StreamState.ABORTED, Kind.STREAM_DATA): StreamState.ABORTED,
    (StreamState.ABORTED, Kind.STREAM_HOLE): StreamState.ABORTED,
    (StreamState.ABORTED, Kind.STREAM_FINISH): StreamState.ABORTED,
    (StreamState.ABORTED, Kind.STREAM_ABORT): StreamState.ABORTED,
}
"""(state, kind of packet) -> next state, whoever sent it; a pair that is missing is not allowed."""


class Stream:
    """The state of one stream, driven by what either side sends.

    Args:
        program, version, procedure, serial: of the call that opened it.
        sparse: whether holes are allowed.
    """

    __slots__ = ("finished_here", "finished_there", "key", "serial", "sparse", "state")

    def __init__(self, program: int, version: int, procedure: int, serial: int, sparse: bool = False) -> None:
        self.key = (program, version, procedure)
        self.serial = serial
        self.sparse = sparse
        self.state = StreamState.OPEN
        self.finished_here = False
        self.finished_there = False

    def sent(self, kind: Kind) -> None:
        """Note a packet of ours.

        Raises:
            LocalProtocolError: the state does not allow it, we have finished, or holes are not wanted.
        """
        if self.finished_here and kind is not Kind.STREAM_ABORT:
            raise LocalProtocolError(f"{kind.value} after the stream's finish")
        if kind is Kind.STREAM_HOLE and not self.sparse:
            raise LocalProtocolError("a hole in a stream that is not sparse")
        state = TRANSITIONS.get((self.state, kind))
        if state is None or self.state is StreamState.ABORTED:
            raise LocalProtocolError(f"{kind.value} on a stream that is {self.state.value}")
        self.state = state
        self.finished_here = self.finished_here or kind is Kind.STREAM_FINISH

    def received(self, kind: Kind) -> bool:
        """Note a packet of the peer's; return whether it means anything (late ones do not).

        Raises:
            RemoteProtocolError: the state does not allow it, or the peer had finished.
        """
        if self.state is StreamState.ABORTED:
            return False
        if self.finished_there and kind is not Kind.STREAM_ABORT:
            raise RemoteProtocolError(f"{kind.value} after the stream's finish")
        if kind is Kind.STREAM_HOLE and not self.sparse:
            raise RemoteProtocolError("a hole in a stream that is not sparse")
        state = TRANSITIONS.get((self.state, kind))
        if state is None:
            raise RemoteProtocolError(f"{kind.value} on a stream that is {self.state.value}")
        self.state = state
        self.finished_there = self.finished_there or kind is Kind.STREAM_FINISH
        return True
