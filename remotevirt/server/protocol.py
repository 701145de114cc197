"""One client's connection: Twisted's side of the server.

Bytes come in, whole requests go to the dispatcher, and the replies to one read leave in one write. What
this class adds is order and bounds:

* calls whose results are awaited run side by side up to ``max_client_requests``; later calls wait in
  order, and a client with too many waiting is no longer read from;
* keepalive is answered at once, past that queue;
* a client that does not read its replies is not read from either (Twisted's producer protocol), and one
  that lets events pile up is disconnected;
* descriptors that arrive are closed if nothing takes them.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Any

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

from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.keepalive import PING, PING_PROCEDURE, PONG, Keepalive, KeepaliveAction
from remotevirt.server.daemon import Daemon
from remotevirt.server.dispatch import KEEPALIVE, Dispatcher
from remotevirt.server.limits import (
    CLOSING_TIMEOUT,
    OUTPUT_HIGH_WATER,
    UNSENT_MAXIMUM,
    WAITING_BYTES_MAXIMUM,
    WAITING_MAXIMUM,
)
from remotevirt.server.session import Session

__all__ = ["ServerProtocol"]


@implementer(IPushProducer, IFileDescriptorReceiver)
class ServerProtocol(Protocol):
    """Serves one client.

    Args:
        daemon: what all clients share.
        readonly: whether the client may change anything.
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
    """

    log = Logger()

    def __init__(self, daemon: Daemon, readonly: bool, transport: str) -> None:
        self.daemon = daemon
        self.session = Session(daemon, self, readonly, transport)
        self.dispatcher = Dispatcher(daemon.programs, self.session, self._run, self._on_keepalive)
        self.reader = FrameReader(descriptors=transport == "unix")
        self._waiting: deque[bytes] = deque()
        self._requests = daemon.limits.max_client_requests
        self._reading = True
        self._paused = False
        self._running = False
        self._closing = False
        self._unsent = 0
        self._pong_unsent = False
        self._lost = False
        self._direct = False
        self._keepalive: Keepalive | None = None
        self._keepalive_call: Any = None
        self._abort_call: Any = None

    # -- transport -----------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin: ask the transport to say when the client does not read."""
        self.daemon.clients.add(self)
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if isinstance(transport, FileDescriptor):
            self._direct = True
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Serve the requests that these bytes complete."""
        if self._closing:
            return
        if self._keepalive is not None:
            self._keepalive.heard()
        self._waiting.extend(self.reader.feed(data))
        self._run()
        if self._waiting:
            self._pass_keepalive()
        if self.reader.failure is not None:
            self.drop(str(self.reader.failure))

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Take a descriptor. No procedure that is served takes one yet, so it is closed."""
        os.close(descriptor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Clean up after the client, whatever it had open or in flight. May be called again."""
        if self._lost:
            return
        self._lost = True
        if not reason.check(ConnectionDone):
            self.log.debug("client lost: {reason}", reason=reason.getErrorMessage())
        self.daemon.clients.discard(self)
        self._waiting.clear()
        for call in (self._keepalive_call, self._abort_call):
            if call is not None and call.active():
                call.cancel()
        self.dispatcher.close()
        self.session.close()

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
        self._running = True
        try:
            while waiting and not self._paused and len(in_flight) < self._requests:
                dispatch(waiting.popleft())
                if dispatcher.bulk > OUTPUT_HIGH_WATER:
                    self._flush()
        finally:
            self._running = False
        if dispatcher.out:
            self._flush()
        wanted = not self._paused and (not waiting or self._has_room())
        if wanted is not self._reading and not self._closing:
            self._read(wanted)

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

    def _flush(self) -> None:
        """Hand the pieces that the dispatcher has made to the transport, in one write.

        A transport only queues what is written until the reactor comes round to it. Where the transport
        is a descriptor itself (TCP, UNIX; not TLS) and nothing is queued, the bytes go to the socket at once,
        which saves a turn of the reactor and two of epoll's calls. What the socket does not take, or an error
        of its, is left to the reactor.
        """
        dispatcher = self.dispatcher
        data = b"".join(dispatcher.out)
        dispatcher.out.clear()
        dispatcher.bulk = 0
        transport: Any = self.transport
        if self._lost:
            return
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

    def _read(self, wanted: bool) -> None:
        self._reading = wanted
        transport: Any = self.transport
        if wanted:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def send(self, message: bytes) -> None:
        """Send an event. A client that lets too much pile up is disconnected."""
        if self._closing or self._lost:
            return
        if self._paused:
            self._unsent += len(message)
            if self._unsent > UNSENT_MAXIMUM:
                self.drop(f"{self._unsent} bytes of events are waiting for a client that does not read")
                return
        self.dispatcher.out.append(message)
        if not self._running:
            self._flush()

    def finish(self) -> None:
        """Close once what has been written is sent: the client has said that it is done."""
        self._stop()
        self.daemon.reactor.callLater(0, self._disconnect)

    def drop(self, reason: str) -> None:
        """Disconnect a client that broke the protocol, or that does not read."""
        if self._closing:
            return
        self.log.info("client disconnected: {reason}", reason=reason)
        self._stop()
        self._disconnect(at_once=self._paused)

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
        transport.unregisterProducer()
        if at_once:
            transport.abortConnection()
        else:
            self._abort_call = self.daemon.reactor.callLater(CLOSING_TIMEOUT, transport.abortConnection)
            transport.loseConnection()

    # -- IPushProducer: the transport asks for a pause when its buffer is full ---------------------------

    def pauseProducing(self) -> None:
        """The client does not read its replies: make no more, and read no more of its calls."""
        self._paused = True
        if self._reading:
            self._read(False)

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._paused = False
        self._unsent = 0
        if self._pong_unsent:
            self._pong_unsent = False
            self.send(PONG)
        self._run()

    def stopProducing(self) -> None:
        """The transport is going away; connectionLost follows."""

    # -- keepalive ---------------------------------------------------------------------------------------

    def _on_keepalive(self, procedure: int) -> None:
        """Answer a ping, at most one while the client does not read. A pong needs no answer."""
        if procedure != PING_PROCEDURE:
            return
        if self._paused:
            self._pong_unsent = True
        else:
            self.send(PONG)

    def start_keepalive(self) -> None:
        """Begin to ask for signs of life: the client has said that it answers pings (feature 10)."""
        limits = self.daemon.limits
        if self._keepalive is None and limits.keepalive_interval > 0:
            self._keepalive = Keepalive(limits.keepalive_count)
            self._keepalive_call = self.daemon.reactor.callLater(limits.keepalive_interval, self._tick)

    def _tick(self) -> None:
        assert self._keepalive is not None
        self._keepalive_call = self.daemon.reactor.callLater(
            self.daemon.limits.keepalive_interval, self._tick
        )
        if self._paused:
            # It is not read from, so nothing can be heard of it, and a ping would wait behind what it has
            # not read. A slow reader is not dead; if it is gone, the system's sending will fail.
            return
        action = self._keepalive.tick()
        if action is KeepaliveAction.PING:
            self.send(PING)
        elif action is KeepaliveAction.DEAD:
            self.log.info("client disconnected: no answer to {count} pings", count=self._keepalive.count)
            transport: Any = self.transport
            transport.abortConnection()
