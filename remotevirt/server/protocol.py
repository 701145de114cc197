"""One client's connection: Twisted's side of the server.

Bytes come in, whole requests go to the dispatcher, and the replies to one read leave in one write. What
this class adds is order and bounds:

* calls whose results are awaited run side by side up to ``max_client_requests``; later calls wait in
  order, and a client with too many waiting is no longer read from;
* a client that has many calls at hand has its turn, then others have theirs;
* keepalive is answered at once, past that queue (:mod:`~remotevirt.server.pinger`);
* a client that does not read its replies is not read from either (Twisted's producer protocol), and one
  that lets events pile up is disconnected;
* a message has so long to arrive, and a client to show who it is (:mod:`~remotevirt.server.deadlines`);
* descriptors are closed, whatever becomes of their message (:mod:`~remotevirt.server.files`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.identity import Identity
from remotevirt.procedures import Procedure
from remotevirt.rpc.framing import LENGTH_MAXIMUM, FrameReader
from remotevirt.server.deadlines import AuthDeadline, FrameDeadline
from remotevirt.server.dispatch import KEEPALIVE, Dispatcher
from remotevirt.server.files import Descriptors
from remotevirt.server.limits import (
    ANONYMOUS_FRAME_MAXIMUM,
    CLOSING_TIMEOUT,
    OUTPUT_HIGH_WATER,
    TURN_CALLS,
    TURN_SECONDS,
    UNSENT_MAXIMUM,
    WAITING_BYTES_MAXIMUM,
    WAITING_MAXIMUM,
)
from remotevirt.server.pinger import Pinger
from remotevirt.server.streams import StreamTable
from remotevirt.server.traced import TracedDispatcher

if TYPE_CHECKING:
    from remotevirt.server.factory import ServerFactory
    from remotevirt.server.server import Server

__all__ = ["ServerProtocol"]


@implementer(IPushProducer, IFileDescriptorReceiver)
class ServerProtocol(Protocol):
    """Serves one client.

    Args:
        server: what governs it.
        listener: the factory of the listener that it came in by.

    Attributes:
        id: its number in the server.
        identity: who it is, as far as it has shown.
        authenticated: whether that is enough.
        connected_at: when it came, in seconds since 1970.
        session: what answers its calls.
        streams: those that it has open; descriptors: those on their way; pinger: its keepalive.
        paused: whether it does not read what it is sent, as far as the transport can tell.
    """

    log = Logger()

    # Some two thousand bytes less for each client than a dictionary of so many attributes.
    __slots__ = (  # noqa: SIM905 (a literal list would take thirty lines)
        "_abort_call _auth_deadline _closing _direct _draining _frame_deadline _layer _lost _produces "
        "_reading _reason _requests _running _silent _turn_over _unsent _waiting authenticated "
        "connected_at daemon descriptors dispatcher id identity listener paused peer pinger reader "
        "readonly server session streams"
    ).split()

    def __init__(self, server: Server, listener: ServerFactory) -> None:
        self.server = server
        self.daemon = server.daemon
        self.listener = listener
        self.readonly = listener.readonly
        self.id = server.number()
        self.identity = Identity(transport=listener.transport)
        self.peer = self.identity.peer
        self.authenticated = listener.auth == "none"
        self.connected_at = time.time()
        self.streams = StreamTable(self)
        self.session = server.make_session(self)
        make = TracedDispatcher if self.daemon.tracers else Dispatcher
        self.dispatcher = make(server.programs, self.session, self)
        longest = LENGTH_MAXIMUM if self.authenticated else ANONYMOUS_FRAME_MAXIMUM
        self.reader = FrameReader(longest, descriptors=listener.transport == "unix")
        self.paused = False
        self._layer: Any = None
        self._waiting: deque[bytes] = deque()
        self._requests = server.limits.max_client_requests
        self._reading = True
        self._running = False
        self._silent = True
        self._turn_over = False
        self._closing = False
        self._draining = False
        self._unsent = 0
        self._lost = False
        self._produces = False
        self._direct = False
        self._reason = ""
        self.descriptors = Descriptors(self)
        self.pinger = Pinger(self)
        self._frame_deadline = FrameDeadline(self)
        self._auth_deadline = AuthDeadline(self)
        self._abort_call: Any = None

    # -- transport -----------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin: see who it is, whether there is room, and ask the transport to say when it does not read."""
        transport: Any = self.transport
        self.identity = self.listener.identify(transport, self.listener.transport)
        self.peer = self.identity.peer
        if not self.listener.admit(self):
            self._stop()
            transport.abortConnection()
            return
        self.server.clients[self.id] = self
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if isinstance(transport, FileDescriptor):
            self._direct = True
        transport.registerProducer(self, True)
        self._produces = True
        self._auth_deadline.start()
        self.daemon.tell("client_connected", self)
        if self.authenticated:
            self.daemon.tell("client_authenticated", self)

    def dataReceived(self, data: bytes) -> None:
        """Serve the requests that these bytes complete."""
        if self._closing:
            return
        self._silent = False
        if self.pinger.asking:
            self.pinger.heard()
        if self._layer is not None:
            data = self._unwrap(data)
        reader = self.reader
        frames = reader.feed(data)
        self._waiting.extend(frames)
        if reader.held or self._frame_deadline.held:
            self._frame_deadline.note(len(reader.held), bool(frames))
        self._run()
        if self._waiting:
            self._pass_keepalive()
        if reader.failure is not None:
            self.drop(str(reader.failure))

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Take a descriptor; the message that it belongs to is still to come."""
        self.descriptors.received(descriptor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Clean up after the client, whatever it had open or in flight. May be called again."""
        if self._lost:
            return
        self._lost = True
        if not self._reason:
            self._reason = "closed" if reason.check(ConnectionDone) else reason.getErrorMessage()
            self.log.debug("client {id} lost: {reason}", id=self.id, reason=self._reason)
        known = self.server.clients.pop(self.id, None) is not None
        self.listener.forget(self)
        self._waiting.clear()
        for timer in (self._auth_deadline, self._frame_deadline, self.pinger):
            timer.stop()
        if self._abort_call is not None and self._abort_call.active():
            self._abort_call.cancel()
        self.daemon.unfinished.note(self, 0)
        self.streams.close()
        self.dispatcher.close()
        self.descriptors.close()
        self.session.close()
        if known:
            if self._silent:
                self._note_silence()
            self.daemon.tell("client_disconnected", self, self._reason)
        self.daemon.client_gone()

    def _note_silence(self) -> None:
        """Say that somebody came and left without a word."""
        where = self.identity.address or self.listener.name
        self.log.info(
            "client {id} sent nothing: a port scan, or a look whether the port is open ({where})",
            id=self.id,
            where=where,
        )

    # -- requests ------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Dispatch waiting requests until they are done, or until the next one has to wait; send the replies.

        Also called when a call that was in flight has ended: its reply goes out, and the next one comes in.
        """
        if self._running:
            return
        waiting = self._waiting
        dispatcher = self.dispatcher
        dispatch = dispatcher.dispatch
        in_flight = dispatcher.in_flight
        many = len(waiting) > 1
        end = self.daemon.reactor.seconds() + TURN_SECONDS if many else 0.0
        left = TURN_CALLS
        self._running = True
        try:
            while waiting and not self.paused and len(in_flight) < self._requests:
                dispatch(waiting.popleft())
                left -= 1
                if dispatcher.bulk > OUTPUT_HIGH_WATER:
                    self.flush()
                    left = 0
                if left <= 0 and many:
                    if self.daemon.reactor.seconds() >= end:
                        self._yield_turn()
                        break
                    left = TURN_CALLS
        finally:
            self._running = False
        if dispatcher.out:
            self.flush()
        self.update_reading()
        if self._draining:
            self._drain_on()

    def _yield_turn(self) -> None:
        """Let other clients have their turn before the next call."""
        if not self._turn_over:
            self._turn_over = True
            self.daemon.reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._turn_over = False
        if not self._lost:
            self._run()

    def update_reading(self) -> None:
        """Read from the client, or stop: as there is room for what it sends."""
        if self._closing:
            return
        waiting = self._waiting
        wanted = not (
            self.paused or self._draining or self.streams.full or (waiting and not self._has_room())
        )
        if wanted is not self._reading:
            self._reading = wanted
            transport: Any = self.transport
            if wanted:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    def _has_room(self) -> bool:
        """Tell whether more requests may wait."""
        waiting = self._waiting
        return len(waiting) < WAITING_MAXIMUM and sum(map(len, waiting)) < WAITING_BYTES_MAXIMUM

    def _pass_keepalive(self) -> None:
        """Take keepalive messages out of the queue, past the calls that have to wait."""
        messages = [frame for frame in self._waiting if frame[:8] == KEEPALIVE]
        if messages:
            calls = [frame for frame in self._waiting if frame[:8] != KEEPALIVE]
            self._waiting.clear()
            self._waiting.extend(calls)
            for message in messages:
                self.dispatcher.dispatch(message)

    def call_ended(self) -> None:
        """Send the reply to a call that was in flight, and begin those that have waited for it."""
        self._run()

    def later(self, call: Callable[[], None]) -> None:
        """Call something in the reactor's next turn."""
        self.daemon.reactor.callLater(0, call)

    # -- sending -------------------------------------------------------------------------------------

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

    def send(self, message: bytes) -> None:
        """Send an event. A client that lets too much pile up is disconnected."""
        if self._closing or self._lost:
            return
        if self.paused:
            self._unsent += len(message)
            if self._unsent > UNSENT_MAXIMUM:
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

    # -- who it is -------------------------------------------------------------------------------------

    def authenticate(self, identity: Identity, layer: Any = None) -> None:
        """Note that the client has shown who it is.

        Args:
            identity: all that is known of it.
            layer: wraps and unwraps every byte from the next message on; None: nothing does.
        """
        self.identity = identity
        self.authenticated = True
        self.reader.maximum = LENGTH_MAXIMUM
        self._auth_deadline.stop()
        self.dispatcher.forget()
        if layer is not None:
            # The reply that says so goes out as it is. The client waits for it before it sends more.
            self.later(lambda: setattr(self, "_layer", layer))
        self.daemon.tell("client_authenticated", self)

    def _unwrap(self, data: bytes) -> bytes:
        try:
            return bytes(self._layer.unwrap(data))
        except Exception as error:
            self.drop(f"its security layer does not unwrap: {error}")
            return b""

    # -- the end -------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close once what has been written is sent: the client has said that it is done."""
        self._reason = self._reason or "closed"
        self._stop()
        self.daemon.reactor.callLater(0, self._disconnect)

    def drop(self, reason: str) -> None:
        """Disconnect a client that broke the protocol, or that does not read."""
        if self._closing:
            return
        self._note_end(reason)
        self._disconnect(at_once=self.paused)

    def cut(self, reason: str) -> None:
        """Disconnect a client at once, whatever it has not read."""
        if self._lost:
            return
        if not self._closing:
            self._note_end(reason)
        self._disconnect(at_once=True)

    def drain(self) -> None:
        """Read nothing more; when what runs has ended, say goodbye and disconnect."""
        if not self._closing:
            self._draining = True
            self._waiting.clear()
            self.update_reading()
            self._drain_on()

    def _drain_on(self) -> None:
        if not (self._closing or self.dispatcher.in_flight or len(self.streams) or self._running):
            self.session.say_goodbye()
            self._note_end("the daemon ends")
            self._disconnect()

    def _note_end(self, reason: str) -> None:
        self._reason = reason
        self.log.info("client {id} disconnected: {reason}", id=self.id, reason=reason, client=self)
        self._stop()

    def _stop(self) -> None:
        """Read and serve nothing more."""
        self._closing = True
        self._requests = 0
        self._waiting.clear()

    def _disconnect(self, at_once: bool = False) -> None:
        """Close, at once or when all is sent; a client that does not take it in time is cut off."""
        if self._lost:
            return
        transport: Any = self.transport
        if self._produces:
            self._produces = False
            transport.unregisterProducer()
        if at_once:
            transport.abortConnection()
        elif self._abort_call is None:
            self._abort_call = self.daemon.reactor.callLater(CLOSING_TIMEOUT, transport.abortConnection)
            transport.loseConnection()

    # -- IPushProducer: the transport asks for a pause when its buffer is full ---------------------------

    def pauseProducing(self) -> None:
        """The client does not read its replies: make no more, and read no more of its calls."""
        self.paused = True
        self.update_reading()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self.descriptors.resume()
        if self.descriptors.busy:
            return
        self.paused = False
        self._unsent = 0
        self.pinger.resume()
        self._run()
        if len(self.streams):
            self.later(self.streams.resume)  # a transport may say so in the middle of a write

    def stopProducing(self) -> None:
        """The transport is going away; connectionLost follows."""

    # -- keepalive and limits ----------------------------------------------------------------------------

    def start_keepalive(self) -> None:
        """Begin to ask for signs of life: the client has said that it answers pings (feature 10)."""
        self.pinger.ask()

    @property
    def held_back(self) -> bool:
        """Whether the client is not read from, because of what it has sent already."""
        return not self._reading

    def limits_changed(self) -> None:
        """Put new limits of the server in force."""
        if not self._closing:
            self._requests = self.server.limits.max_client_requests
            self.pinger.limits_changed()
            self._run()
