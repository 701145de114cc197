"""One connection's protocol state, for either end.

:class:`Connection` ties the pieces together: it reads frames, says what each message is and whether the
peer may send it, matches replies with calls, and writes messages. It holds no socket: what it returns
from ``call`` and its like goes to the transport, and what the transport delivers goes to ``receive``.

The server's hot path takes frames straight from :attr:`Connection.reader` and writes replies itself; it
asks :meth:`Connection.admit` only about what is not an ordinary call.
"""

from __future__ import annotations

import enum

from remotevirt.errors import LocalProtocolError, RemoteProtocolError, VirError
from remotevirt.rpc.framing import LENGTH_MAXIMUM, FrameReader
from remotevirt.rpc.message import (
    Kind,
    Message,
    pack_abort,
    pack_call,
    pack_hole,
    pack_stream,
    parse_message,
)
from remotevirt.rpc.stream import Stream, StreamState
from remotevirt.stubs.keepalive import KEEPALIVE_PROGRAM

__all__ = ["Connection", "Role"]


class Role(enum.Enum):
    """Which end of the wire this is."""

    CLIENT = "client"
    SERVER = "server"


_STREAM_KINDS = frozenset({Kind.STREAM_DATA, Kind.STREAM_HOLE, Kind.STREAM_FINISH, Kind.STREAM_ABORT})

ADMITTED: dict[Role, frozenset[Kind]] = {
    Role.SERVER: _STREAM_KINDS | {Kind.CALL},
    Role.CLIENT: _STREAM_KINDS | {Kind.REPLY, Kind.ERROR, Kind.EVENT},
}
"""What each role may be sent. Keepalive messages, which both may be sent, come on top."""

CALLS_MAXIMUM = 1 << 16
"""Calls without a reply that one client connection keeps track of."""

Key = tuple[int, int, int]


class Connection:
    """The protocol state of one connection.

    Args:
        role: which end we are.
        maximum: largest length word that is accepted.
        descriptors: whether the transport can pass descriptors.
        serial: the first serial that calls use (libvirt's client starts at 0, go-libvirt at 1).
    """

    __slots__ = ("_calls", "_serial", "reader", "role", "streams")

    def __init__(
        self, role: Role, maximum: int = LENGTH_MAXIMUM, descriptors: bool = False, serial: int = 0
    ) -> None:
        self.role = role
        self.reader = FrameReader(maximum, descriptors)
        self.streams: dict[int, Stream] = {}
        self._calls: dict[int, Key] = {}
        self._serial = serial

    # -- what arrives --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the transport; return the messages that they complete.

        Raises:
            RemoteProtocolError: the peer broke the protocol, now or before; the connection is over.
                Messages that came before the offending one are lost with it.
        """
        try:
            messages = [self.admit(parse_message(frame)) for frame in self.reader.feed(data)]
        except RemoteProtocolError as error:
            self.reader.failure = error
            raise
        if self.reader.failure:
            raise self.reader.failure
        return messages

    def admit(self, message: Message) -> Message:
        """Check a message against role and state, and note it.

        Raises:
            RemoteProtocolError: the peer may not send this now.
        """
        kind = message.kind
        if kind is Kind.EVENT and message.program == KEEPALIVE_PROGRAM:
            return message
        if kind not in ADMITTED[self.role]:
            raise RemoteProtocolError(f"a {self.role.value} is never sent a message that is a {kind.value}")
        if kind in (Kind.REPLY, Kind.ERROR):
            self._match(message)
        elif kind in _STREAM_KINDS:
            self._note_stream(message)
        return message

    def _match(self, message: Message) -> None:
        """Find the call that a reply answers."""
        key = (message.program, message.version, message.procedure)
        expected = self._calls.pop(message.serial, None)
        if expected is None:
            raise RemoteProtocolError(f"reply with serial {message.serial}, which no call awaits")
        if expected != key:
            raise RemoteProtocolError(f"reply of procedure {key} to a call of {expected}")
        if message.kind is Kind.ERROR:
            self.streams.pop(message.serial, None)

    def _note_stream(self, message: Message) -> None:
        """Advance the stream that a packet belongs to; a packet of none is dropped by whoever gets it."""
        stream = self.streams.get(message.serial)
        if stream is None:
            return
        if stream.key != (message.program, message.version, message.procedure):
            raise RemoteProtocolError(f"stream packet of another procedure with serial {message.serial}")
        stream.received(message.kind)
        self._forget_ended(stream)

    def _forget_ended(self, stream: Stream) -> None:
        """Keep no stream that has ended: what still arrives for it belongs to none."""
        if stream.state in (StreamState.CLOSED, StreamState.ABORTED):
            self.streams.pop(stream.serial, None)

    # -- what we send --------------------------------------------------------------------------------

    def call(
        self, program: int, version: int, procedure: int, payload: bytes = b"", descriptors: int | None = None
    ) -> tuple[int, bytes]:
        """Begin a call.

        Args:
            program, version, procedure: what is called.
            payload: the encoded arguments.
            descriptors: how many file descriptors go along; None for a call that takes none.

        Returns:
            Its serial, and the bytes to send.

        Raises:
            LocalProtocolError: a server does not call, or too many calls are without a reply.
        """
        if self.role is not Role.CLIENT:
            raise LocalProtocolError("only a client calls")
        if len(self._calls) >= CALLS_MAXIMUM:
            raise LocalProtocolError(f"{CALLS_MAXIMUM} calls are without a reply")
        serial = self._serial
        while serial in self._calls or serial in self.streams:
            serial = (serial + 1) & 0xFFFFFFFF
        data = pack_call(program, version, procedure, serial, payload, descriptors)
        self._calls[serial] = (program, version, procedure)
        self._serial = (serial + 1) & 0xFFFFFFFF
        return serial, data

    @property
    def pending(self) -> int:
        """How many calls of ours are without a reply."""
        return len(self._calls)

    def open_stream(
        self, program: int, version: int, procedure: int, serial: int, sparse: bool = False
    ) -> Stream:
        """Note that a call opens a stream.

        Args:
            program, version, procedure, serial: those of the call.
            sparse: the stream may have holes.

        Raises:
            LocalProtocolError: one with this serial is open.
        """
        if serial in self.streams:
            raise LocalProtocolError(f"a stream with serial {serial} is open")
        stream = Stream(program, version, procedure, serial, sparse)
        self.streams[serial] = stream
        return stream

    def send_data(self, stream: Stream, data: bytes) -> bytes:
        """Return the packet that carries stream data."""
        stream.sent(Kind.STREAM_DATA)
        return pack_stream(*stream.key, stream.serial, data)

    def send_hole(self, stream: Stream, length: int) -> bytes:
        """Return the packet that skips ``length`` bytes."""
        stream.sent(Kind.STREAM_HOLE)
        return pack_hole(*stream.key, stream.serial, length)

    def send_finish(self, stream: Stream) -> bytes:
        """Return the packet that finishes our side."""
        stream.sent(Kind.STREAM_FINISH)
        self._forget_ended(stream)
        return pack_stream(*stream.key, stream.serial, finish=True)

    def send_abort(self, stream: Stream, error: VirError | None = None) -> bytes:
        """Return the packet that aborts a stream.

        Args:
            stream: what to abort.
            error: why; a server says it, a client does not.
        """
        if (error is None) is (self.role is Role.SERVER):
            raise LocalProtocolError("a server gives a reason when it aborts a stream, a client does not")
        stream.sent(Kind.STREAM_ABORT)
        self._forget_ended(stream)
        return pack_abort(*stream.key, stream.serial, error)
