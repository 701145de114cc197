"""TLS as libvirt's clients expect it.

Three things set libvirt's TLS apart from a plain TLS listener::

    client                                    server
      |------------- TLS 1.2 handshake --------->|   the client must show a certificate of our authority
      |<------------ one byte, 01 ---------------|   inside TLS: "you are accepted"
      |------------- first call ---------------->|   and only now does the client speak

* The client's certificate is its authentication, so it is demanded and verified
  (:mod:`~remotevirt.transport.pki`).
* The server speaks first, one byte. A client that was refused reads end of file instead, and reports that.
* Nothing may come before that byte, not even TLS 1.3's session tickets; hence the cap at TLS 1.2.

The protocol behind is built and connected when the byte has been written, no earlier: it never sees a peer
who has not proved who it is, and its own limits count accepted clients only. Until then a connection costs
one :class:`Greeting`, has :data:`HANDSHAKE_TIMEOUT` seconds, and is one of at most :data:`MAX_GREETINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.description import MAX_PORT, DescriptionError, number
from remotevirt.transport.pki import Credentials

__all__ = ["TLS_PREFIX", "Greeting", "GreetingFactory", "LibvirtTLSEndpoint", "endpoint_from_fields"]

TLS_PREFIX = "libvirttls"
"""The endpoint string's name."""

ACCEPTED = b"\x01"
"""What libvirt's client waits for after the handshake."""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from the connection to the end of the handshake, which takes a peer that means it milliseconds."""

MAX_GREETINGS = 100
"""Handshakes under way at once per listener; one more is closed at once. Only idle connections get so many,
and the timeout ends those. (libvirtd's name for its like is max_anonymous_clients, 20 by default.)"""

log = Logger()


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Makes OpenSSL connections from one context, which holds keys and trust."""

    def __init__(self, credentials: Credentials) -> None:
        self.verdicts: WeakKeyDictionary[SSL.Connection, str] = WeakKeyDictionary()
        self.context = credentials.context(self.verdicts.__setitem__)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection for one client; Twisted feeds it bytes."""
        return SSL.Connection(self.context, None)


@implementer(IHandshakeListener)
class Greeting(Protocol):
    """One connection, from its first byte until it is accepted; then it only passes bytes on.

    Args:
        greetings: the factory, whose wrapped factory makes the protocol behind.
        address: the peer's.
    """

    def __init__(self, greetings: GreetingFactory, address: IAddress) -> None:
        self.greetings = greetings
        self.address = address
        self.behind: IProtocol | None = None
        self.over = False
        self._timeout: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Start the clock; the TLS layer below starts the handshake."""
        greetings = self.greetings
        greetings.waiting += 1
        if greetings.waiting > greetings.max_greetings:
            self._refuse(f"{greetings.max_greetings} other TLS handshakes are under way")
            return
        self._timeout = greetings.clock.callLater(greetings.timeout, self._timed_out)

    def handshakeCompleted(self) -> None:
        """The certificate has been verified: say so, and make the protocol behind."""
        if self.over:
            return
        self._leave()
        transport: Any = self.transport
        if transport.getPeerCertificate() is None:  # pragma: no cover - OpenSSL has refused it before
            self._refuse("it showed no certificate")
            return
        behind = self.greetings.wrapped.buildProtocol(self.address)
        if behind is None:
            transport.loseConnection()
            return
        transport.write(ACCEPTED)
        self.behind = behind
        behind.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on. Those that come before the client is accepted belong to a refusal: dropped."""
        if self.behind is not None:
            self.behind.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the protocol behind, or say why there is none."""
        if self.behind is not None:
            self.behind.connectionLost(reason)
        elif not self.over:
            self._leave()
            log.info("TLS client {peer} refused: {why}", peer=_show(self.address), why=self._explain(reason))

    def _explain(self, reason: Failure) -> str:
        """Why there was no handshake: the verdict on the certificate, or OpenSSL's words, or neither."""
        transport: Any = self.transport
        verdict = self.greetings.verdicts.get(transport.getHandle())
        if verdict is not None:
            return verdict
        error = reason.value
        if isinstance(error, SSL.Error) and error.args and error.args[0]:
            return ", ".join(str(entry[-1]) for entry in error.args[0])
        return "the connection ended during the handshake"

    def _timed_out(self) -> None:
        self._timeout = None
        self._refuse(f"the handshake took more than {self.greetings.timeout:g} seconds")

    def _refuse(self, why: str) -> None:
        log.info("TLS client {peer} refused: {why}", peer=_show(self.address), why=why)
        self._leave()
        transport: Any = self.transport
        transport.abortConnection()

    def _leave(self) -> None:
        """The greeting is over, one way or the other."""
        if not self.over:
            self.over = True
            self.greetings.waiting -= 1
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None


class GreetingFactory(Factory):
    """Puts a :class:`Greeting` before each protocol of another factory.

    Args:
        wrapped: makes the protocols behind.
        clock: for the timeout.
        verdicts: why a connection's certificate was refused, if it was.
        timeout: seconds for a handshake.
        max_greetings: handshakes under way at once.
    """

    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        verdicts: Mapping[SSL.Connection, str],
        timeout: float = HANDSHAKE_TIMEOUT,
        max_greetings: int = MAX_GREETINGS,
    ) -> None:
        self.wrapped = wrapped
        self.clock = clock
        self.verdicts = verdicts
        self.timeout = timeout
        self.max_greetings = max_greetings
        self.waiting = 0

    def doStart(self) -> None:
        """Start the wrapped factory with this one."""
        self.wrapped.doStart()

    def doStop(self) -> None:
        """Stop the wrapped factory with this one."""
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Greeting | None:
        """A greeting for one connection."""
        return None if addr is None else Greeting(self, addr)


@implementer(IStreamServerEndpoint)
class LibvirtTLSEndpoint:
    """Listens for libvirt's clients over TLS.

    Args:
        reactor: provides IReactorTCP and IReactorTime.
        port: 0 for any that is free.
        credentials: ours, and whom we trust.
        interface: the address to listen on; empty for all of IPv4, ``::`` for all of both.
        backlog: connections that may wait to be accepted.
    """

    def __init__(
        self, reactor: Any, port: int, credentials: Credentials, interface: str = "", backlog: int = 50
    ) -> None:
        self.reactor = reactor
        self.credentials = credentials
        self._connections = ServerConnections(credentials)
        self._endpoint = wrapServerTLS(
            self._connections, TCP4ServerEndpoint(reactor, port, backlog, interface), reactor
        )

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Start listening; what `protocolFactory` makes sees accepted clients only."""
        return self._endpoint.listen(
            GreetingFactory(protocolFactory, self.reactor, self._connections.verdicts)
        )


def endpoint_from_fields(
    reactor: Any, words: Sequence[str], options: Mapping[str, str]
) -> LibvirtTLSEndpoint:
    """Make the endpoint from the fields of ``libvirttls:PORT:pki=DIR[:interface=ADDR][:backlog=N]``.

    Raises:
        DescriptionError: a field is missing, unknown, or no number.
        PKIError: the certificates are no good.
    """
    usage = "libvirttls:PORT:pki=DIR[:interface=ADDR]"
    unknown = set(options) - {"pki", "interface", "backlog"}
    if unknown:
        raise DescriptionError(f"libvirttls: unknown option {min(unknown)}=; it is {usage}")
    if len(words) != 1 or "pki" not in options:
        raise DescriptionError(f"libvirttls: it is {usage}")
    port = number("port", words[0], MAX_PORT)
    backlog = number("backlog", options.get("backlog", "50"), 1 << 16)
    return LibvirtTLSEndpoint(
        reactor, port, Credentials.load(options["pki"]), options.get("interface", ""), backlog
    )


def _show(address: IAddress) -> str:
    """A peer's address for the log."""
    host = getattr(address, "host", None)
    return str(address) if host is None else f"{host} port {getattr(address, 'port', '?')}"
