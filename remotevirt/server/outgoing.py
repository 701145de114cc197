"""The sending side of one client's connection: replies, events and packets of streams, in order and bounded.

The dispatcher collects pieces of replies in ``out``; everything else that is sent is put there too, so that
order is what it was, and leaves in one write. What a client does not read, it makes wait: replies, since no
more of its calls are made (:mod:`~remotevirt.server.protocol`); streams, which ask ``paused``; and events, of
which so many bytes may wait before it is disconnected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Protocol

from remotevirt.drivers.events import Event
from remotevirt.procedures import Procedure
from remotevirt.server.dispatch import Dispatcher
from remotevirt.server.files import Descriptors
from remotevirt.server.limits import OUTPUT_HIGH_WATER

if TYPE_CHECKING:
    from remotevirt.server.daemon import Daemon
    from remotevirt.server.server import Server

__all__ = ["Outgoing"]


class Outgoing(Protocol):
    """What :class:`~remotevirt.server.protocol.ServerProtocol` sends, and how.

    Attributes:
        daemon, server: what governs the client.
        dispatcher: collects what is to be sent.
        descriptors: those on their way.
        paused: whether the client does not read what it is sent, as far as the transport can tell.
    """

    __slots__ = (
        "_closing",
        "_direct",
        "_layer",
        "_lost",
        "_running",
        "_unsent",
        "daemon",
        "descriptors",
        "dispatcher",
        "paused",
        "server",
    )

    daemon: Daemon
    server: Server
    dispatcher: Dispatcher
    descriptors: Descriptors
    paused: bool
    _closing: bool
    _direct: bool
    _layer: Any
    _lost: bool
    _running: bool
    _unsent: int

    if TYPE_CHECKING:

        def drop(self, reason: str) -> None:
            """Disconnect the client; the other side of the connection knows how."""

    def flush(self) -> None:
        """Hand the pieces that the dispatcher has made to the transport, in one write.

        A transport only queues what is written until the reactor comes round to it. Where the transport
        is a descriptor itself (TCP, UNIX; not TLS) and nothing is queued, the bytes go to the socket at once,
        which saves a turn of the reactor and two of epoll's calls. What the socket does not take, or an error
        of its, is left to the reactor.
        """
        dispatcher = self.dispatcher
        if self.descriptors.busy:
            return  # what is written now would come between a message and its descriptors
        data = b"".join(dispatcher.out)
        dispatcher.out.clear()
        dispatcher.bulk = 0
        transport: Any = self.transport
        if self._lost:
            return
        if self._layer is not None:
            data = self._layer.wrap(data)
        if self._direct and not transport.disconnecting:
            if not transport.dataBuffer:
                sent = transport.writeSomeData(data)
                if sent == len(data):
                    self.daemon.linger.served()
                    return
                if isinstance(sent, int):
                    data = data[sent:]
            transport.write(data)
            transport.doWrite()  # from now on dataBuffer holds all that is queued, until it is sent
        else:
            transport.write(data)
        self.daemon.linger.served()

    def send_event(self, message: bytes, event: Event) -> None:
        """Send a driver's event."""
        self.send(message)
        if self.daemon.tracers:
            self.daemon.tell("event_sent", self, event.kind, event.id, len(message))

    def send(self, message: bytes) -> None:
        """Send a message that is no reply. A client that lets too much pile up is disconnected."""
        if self._closing or self._lost:
            return
        if self.paused:
            self._unsent += len(message)
            if self._unsent > self.server.limits.max_unsent_bytes:
                self.drop(f"{self._unsent} bytes of events are waiting for a client that does not read")
                return
        self._put(message)

    def _put(self, message: bytes) -> None:
        self.dispatcher.out.append(message)
        if not self._running or self.dispatcher.bulk > OUTPUT_HIGH_WATER:
            self.flush()

    def write_now(self, message: bytes) -> None:
        """Hand a message to the transport, behind all that was to be sent before."""
        self.dispatcher.out.append(message)
        self.flush()

    def send_stream(self, procedure: Procedure, message: bytes, moved: int) -> None:
        """Send a packet of a stream."""
        if self._lost:
            return
        self.dispatcher.bulk += len(message)
        self._put(message)
        if self.daemon.tracers and moved:
            self.daemon.tell("stream_moved", self, procedure, moved, 0)

    def received_stream(self, procedure: Procedure, moved: int) -> None:
        """Note bytes of a stream that have come."""
        if self.daemon.tracers and moved:
            self.daemon.tell("stream_moved", self, procedure, 0, moved)
