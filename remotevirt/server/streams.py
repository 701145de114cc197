"""The streams of one client: bytes moved between its packets and a driver's :class:`DriverStream`.

A stream begins with the reply to the call that opened it, and is known by that call's serial. What the wire
allows when is the table of :mod:`remotevirt.rpc.stream`; here is what moves::

    download   a loop: read from the driver, send a packet, until the driver says that it was all. While
               the transport asks for a pause nothing is read, so that a slow client holds back its driver.
    upload     packets go to the driver one at a time. While it works on one, the next wait in a queue; when
               that holds enough, the client is not read from.

It ends when the client's *finish* has been answered, or when either side aborts. The driver's end is told
exactly once, by ``finish`` or ``abort``, also when the client vanishes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.streams import DriverStream, Hole
from remotevirt.errors import RemoteProtocolError, VirError
from remotevirt.procedures import Procedure
from remotevirt.rpc.message import Kind, Message, pack_abort, pack_hole, pack_stream, parse_message
from remotevirt.rpc.stream import Stream
from remotevirt.server.faults import internal_error, stream_error
from remotevirt.server.limits import (
    STREAM_BURST,
    STREAM_CHUNK,
    STREAM_PACKET_COST,
    STREAM_QUEUE_MAXIMUM,
    STREAMS_MAXIMUM,
)
from remotevirt.stubs.message import StreamHole
from remotevirt.xdr import DECODE_ERRORS

__all__ = ["StreamTable"]


class Owner(Protocol):
    """What streams need of the protocol of their client."""

    @property
    def paused(self) -> bool:
        """Whether the transport has asked for a pause."""

    def send_stream(self, procedure: Procedure, message: bytes, moved: int) -> None:
        """Send a packet that carries so many bytes of a stream."""

    def received_stream(self, procedure: Procedure, moved: int) -> None:
        """Note that so many bytes of a stream have come."""

    def update_reading(self) -> None:
        """Look again whether the client is to be read from."""

    def later(self, call: Callable[[], None]) -> None:
        """Call something in the reactor's next turn."""


def _cost(message: Message) -> int:
    """What a packet that waits counts for: its bytes, and what it takes to hold it."""
    return len(message.payload) + STREAM_PACKET_COST


class StreamTable:
    """The open streams of one client.

    Args:
        owner: the protocol.
    """

    __slots__ = ("_by_serial", "_owner", "queued")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._by_serial: dict[int, ServerStream] = {}
        self.queued = 0

    def __len__(self) -> int:
        return len(self._by_serial)

    @property
    def full(self) -> bool:
        """Whether so much waits for drivers that the client shall wait too."""
        return self.queued > STREAM_QUEUE_MAXIMUM

    def check(self, serial: int) -> None:
        """Refuse a call that would open a stream.

        Raises:
            VirError: the client has too many, or one with this serial.
        """
        if serial in self._by_serial:
            raise stream_error(f"a stream with serial {serial} is open")
        if len(self._by_serial) >= STREAMS_MAXIMUM:
            raise stream_error(f"a client may not have more than {STREAMS_MAXIMUM} streams open")

    def open(self, procedure: Procedure, message: Message, driver: DriverStream, sparse: bool) -> None:
        """Begin, after the reply to the call ``message`` was sent."""
        wire = Stream(message.program, message.version, message.procedure, message.serial, sparse)
        stream = ServerStream(self, self._owner, procedure, wire, driver)
        self._by_serial[message.serial] = stream
        if driver.readable:
            stream.pump()

    def receive(self, frame: bytes) -> None:
        """Take a packet; one that belongs to no stream is late, and dropped."""
        try:
            message = parse_message(frame)
        except RemoteProtocolError:
            self._odd(frame)
            return
        stream = self._by_serial.get(message.serial)
        if stream is not None and stream.wire.key == (message.program, message.version, message.procedure):
            stream.receive(message)

    def _odd(self, frame: bytes) -> None:
        """Answer a packet whose status means nothing."""
        serial, status = int.from_bytes(frame[16:20], "big"), int.from_bytes(frame[20:24], "big")
        stream = self._by_serial.get(serial)
        if stream is not None:
            stream.fail(stream_error(f"stream aborted with unexpected status {status}"))

    def forget(self, stream: ServerStream) -> None:
        """Drop a stream that has ended."""
        self._by_serial.pop(stream.wire.serial, None)

    def resume(self) -> None:
        """The transport takes data again: go on with what is read from drivers."""
        for stream in tuple(self._by_serial.values()):
            stream.pump()

    def close(self) -> None:
        """Abort all: the client has gone. May be called again."""
        for stream in tuple(self._by_serial.values()):
            stream.end(abort=True)


class ServerStream:
    """One stream.

    Attributes:
        wire: its state on the wire.
    """

    __slots__ = (
        "_at_end",
        "_driver",
        "_looping",
        "_over",
        "_owner",
        "_procedure",
        "_queue",
        "_reading",
        "_table",
        "_waiting",
        "_working",
        "wire",
    )

    log = Logger()

    def __init__(
        self, table: StreamTable, owner: Owner, procedure: Procedure, wire: Stream, driver: DriverStream
    ) -> None:
        self._table = table
        self._owner = owner
        self._procedure = procedure
        self.wire = wire
        self._driver = driver
        self._queue: deque[Message] = deque()
        self._reading = False
        self._working = False
        self._looping = False
        self._at_end = False
        self._over = False
        self._waiting: set[Deferred[Any]] = set()

    # -- from the driver to the client ---------------------------------------------------------------

    def pump(self) -> None:
        """Read from the driver and send, until it has to be waited for, or the client."""
        burst = STREAM_BURST
        while not (self._reading or self._at_end or self._over or self._owner.paused):
            if burst <= 0:
                self._reading = True
                self._owner.later(self._next_burst)
                return
            burst -= STREAM_CHUNK
            self._reading = True
            self._call(self._driver.read, (STREAM_CHUNK,), self._read)

    def _next_burst(self) -> None:
        self._reading = False
        self.pump()

    def _read(self, data: Any) -> None:
        self._reading = False
        wire, (program, version, procedure) = self.wire, self.wire.key
        if isinstance(data, Hole):
            if not wire.sparse or data.length <= 0:
                raise TypeError(f"a driver gave {data} in a stream that does not take it")
            packet = pack_hole(program, version, procedure, wire.serial, data.length)
            self._owner.send_stream(self._procedure, packet, 0)
        else:
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError(f"a driver gave {type(data).__name__} where a stream takes bytes")
            self._at_end = not data
            packet = pack_stream(program, version, procedure, wire.serial, bytes(data))
            self._owner.send_stream(self._procedure, packet, len(data))

    # -- from the client to the driver -----------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take a packet of the client's."""
        if message.kind is Kind.STREAM_ABORT:
            self._answer(pack_stream(*self.wire.key, self.wire.serial, finish=True))
            self.end(abort=True)
            return
        try:
            self.wire.received(message.kind)
        except RemoteProtocolError as error:
            self.fail(stream_error(str(error)))
            return
        self._queue.append(message)
        self._table.queued += _cost(message)
        self._owner.received_stream(self._procedure, len(message.payload))
        self._work()
        if self._table.full:
            self._owner.update_reading()

    def _work(self) -> None:
        """Give the driver the packets that wait, one after the other."""
        if self._looping:
            return
        self._looping = True
        while self._queue and not (self._working or self._over):
            message = self._queue.popleft()
            self._table.queued -= _cost(message)
            self._working = True
            if message.kind is Kind.STREAM_FINISH:
                self._call(self._driver.finish, (), self._finished)
            elif message.kind is Kind.STREAM_HOLE:
                self._hole(message.payload)
            elif message.payload:
                self._data(message.payload)
            else:
                self._working = False  # "no more data" of a client; its finish follows
        self._looping = False

    def _data(self, payload: bytes) -> None:
        if not self._driver.writable:
            self.fail(stream_error("stream had unexpected termination"))
            return
        self._call(self._driver.write, (payload,), self._written)

    def _hole(self, payload: bytes) -> None:
        try:
            hole, _ = StreamHole.unpack(payload, 0)
        except DECODE_ERRORS:
            self.fail(stream_error("Unable to decode message payload"))
            return
        if hole.length < 0 or hole.flags or not self._driver.writable:
            self.fail(stream_error(f"a hole of {hole.length} bytes with flags {hole.flags:#x}"))
            return
        self._call(self._driver.write_hole, (hole.length,), self._written)

    def _written(self, _: object) -> None:
        self._working = False
        was_full = self._table.full
        self._work()
        if was_full or not self._queue:
            self._owner.update_reading()

    def _finished(self, _: object) -> None:
        self._answer(pack_stream(*self.wire.key, self.wire.serial, finish=True))
        self.end(abort=False)

    # -- the end ---------------------------------------------------------------------------------------

    def fail(self, error: VirError) -> None:
        """Tell the client why the stream ends, and the driver that it has."""
        if not self._over:
            self._answer(pack_abort(*self.wire.key, self.wire.serial, error))
            self.end(abort=True)

    def end(self, abort: bool) -> None:
        """Forget the stream; with ``abort`` tell the driver. May be called again."""
        if self._over:
            return
        self._over = True
        self._table.queued -= sum(map(_cost, self._queue))
        self._queue.clear()
        self._table.forget(self)
        for deferred in tuple(self._waiting):
            deferred.cancel()
        if abort:
            try:
                self._driver.abort()
            except Exception:
                name = self._procedure.name
                self.log.failure("a stream of {procedure} could not be aborted", procedure=name)
        self._owner.update_reading()

    def _answer(self, packet: bytes) -> None:
        self._owner.send_stream(self._procedure, packet, 0)

    def _call(self, method: Callable[..., Any], args: tuple[Any, ...], then: Callable[[Any], None]) -> None:
        """Call the driver; go on when it has what it returns, or tell the client what went wrong."""
        try:
            value = method(*args)
            if iscoroutine(value):
                value = Deferred.fromCoroutine(value)
            if not isinstance(value, Deferred):
                then(value)
                return
        except Exception:
            self._failed(Failure())
            return
        self._waiting.add(value)
        value.addBoth(self._came, value, then)
        value.addErrback(self._failed)

    def _came(self, value: Any, deferred: Deferred[Any], then: Callable[[Any], None]) -> Any:
        self._waiting.discard(deferred)
        if self._over:
            return None
        if isinstance(value, Failure):
            return value
        then(value)
        if self._driver.readable:
            self.pump()
        return None

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, VirError):
            name = self._procedure.name
            self.log.failure("a stream of {procedure} ended with an exception", failure, procedure=name)
            error = internal_error(f"unexpected failure in a stream of {name}")
        self.fail(error)
