"""What stands between a TLS connection and the protocol behind it, until the client is accepted.

Three things set libvirt's TLS apart from a plain TLS listener::

    client                                    server
      |------------- TLS handshake ------------->|   the client must show a certificate of our authority
      |<------------ one byte, 01 ---------------|   inside TLS: "you are accepted"
      |------------- first call ---------------->|   and only now does the client speak

* The client's certificate is its authentication, so it is demanded and verified, and its name is held against
  the list of those who may come in.
* The server speaks first, one byte. A client that was refused reads end of file instead, and reports that.
* Nothing may come before that byte, not even TLS 1.3's session tickets
  (:mod:`~remotevirt.transport.connection`).

The protocol behind is built and connected when the byte has been written, no earlier: it never sees a peer
who has not proved who it is, and its own limits count accepted clients only. Until then a connection costs
one :class:`Greeting`, has a bounded time and number of bytes, and is one of a bounded number. At that bound
the one that has waited longest gives way: those who mean it need milliseconds, so a flood of others, who do
nothing, pushes out its own.
"""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.damper import Damper
from remotevirt.transport.connection import Connection
from remotevirt.transport.dn import compile_patterns, gnutls_dn
from remotevirt.transport.sanity import UNREADABLE, is_authority
from remotevirt.transport.settings import TLSSettings
from remotevirt.transport.strangers import describe_stranger

__all__ = ["Admission", "Greeting", "GreetingFactory", "RefusedHook"]

ACCEPTED = b"\x01"
"""What libvirt's client waits for after the handshake."""

MAX_NAME = 300
"""Characters of a certificate's name that go into the log."""

IPV6_NETWORK = 64
"""Bits of an IPv6 address that make a peer: whoever has one such address has all of its network's."""

RefusedHook = Callable[[str, str], object]
"""Hears of a client that was turned away: its address as ``HOST;PORT``, and why."""

log = Logger()


class Admission:
    """Who may come in, and who is on the way: what all handshakes of a listener share.

    Args:
        settings: the rules. Another set may be given at any time, and holds for whoever is not in yet.
        refused: hears of those who were turned away.
    """

    def __init__(self, settings: TLSSettings, refused: RefusedHook | None = None) -> None:
        self.refused = refused
        self.settings = settings
        self._damper = Damper(time.monotonic)
        self._waiting: dict[Greeting, str] = {}

    @property
    def settings(self) -> TLSSettings:
        """The rules."""
        return self._settings

    @settings.setter
    def settings(self, settings: TLSSettings) -> None:
        self._settings = settings
        self._matches = None if settings.allowed_dns is None else compile_patterns(settings.allowed_dns)

    @property
    def handshakes(self) -> int:
        """Handshakes under way."""
        return len(self._waiting)

    def begin(self, greeting: Greeting) -> None:
        """A connection has come; if it is one too many, the oldest goes: of the same peer, or of all."""
        peer = peer_of(greeting.address)
        same = [other for other, whose in self._waiting.items() if whose == peer]
        if len(same) >= self.settings.max_peer_handshakes:
            same[0].give_way(f"{self.settings.max_peer_handshakes} newer TLS handshakes of this peer")
        elif len(self._waiting) >= self.settings.max_handshakes:
            next(iter(self._waiting)).give_way(f"{self.settings.max_handshakes} newer TLS handshakes")
        self._waiting[greeting] = peer

    def end(self, greeting: Greeting) -> None:
        """A handshake is over, one way or the other."""
        self._waiting.pop(greeting, None)

    def verdict(self, transport: Any) -> str | None:
        """What speaks against a client whose certificate OpenSSL has verified: None for nothing."""
        if self.settings.no_verify:
            return None
        try:
            shown = transport.getPeerCertificate()
            if shown is None:  # its handshake began when none was asked for
                return "it showed no certificate"
            certificate = shown.to_cryptography()
            name = gnutls_dn(certificate)
            authority = is_authority(certificate)
        except UNREADABLE as error:
            return f"the certificate does not decode: {' '.join(str(error).split())[:MAX_NAME]}"
        if certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            return "the certificate has expired"  # since its session began, which OpenSSL lets it resume
        if authority:
            return f"the certificate is an authority's, not a client's ({quoted(name)})"
        if self._matches is not None and not self._matches(name):
            return f"the name is not on the list of those allowed ({quoted(name)})"
        return None

    def turned_away(self, address: IAddress, why: str) -> None:
        """Tell of a client that was refused."""
        host, port = getattr(address, "host", "?"), getattr(address, "port", 0)
        text = "TLS client {host} port {port} refused: {why}"
        self._damper.write("refused", log.info, text, host=host, port=port, why=why)
        if self.refused is not None:
            try:
                self.refused(f"{host};{port}", why)
            except Exception:
                log.failure("telling of a refused TLS client failed")


def peer_of(address: IAddress) -> str:
    """What handshakes are counted by: an IPv4 address, or the network of an IPv6 one."""
    host = str(getattr(address, "host", ""))
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))


def quoted(name: str) -> str:
    """A name that a stranger wrote, escaped and cut short."""
    return ascii(name[:MAX_NAME])


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
        self.refused = False
        self._timeout: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Start the clock; the TLS layer below starts the handshake."""
        admission = self.greetings.admission
        admission.begin(self)
        self._timeout = self.greetings.clock.callLater(admission.settings.handshake_timeout, self._timed_out)

    def handshakeCompleted(self) -> None:
        """The certificate has been verified: look at its name, say so, and make the protocol behind."""
        if self.refused:
            return
        transport: Any = self.transport
        why = self.greetings.admission.verdict(transport)
        if why is not None:
            self._refuse(why)
            transport.loseConnection()
            return
        behind = self.greetings.wrapped.buildProtocol(self.address)
        if behind is None:
            self.refused = True
            transport.loseConnection()
            return
        self._leave()
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
            return
        if not self.refused:
            self._refuse(self._explain() or "the connection ended during the handshake")
        self._leave()

    def give_way(self, to: str) -> None:
        """End this handshake, the oldest, for newer ones."""
        self._refuse(self._explain() or f"it had to give way to {to}")
        self._abort()

    def _timed_out(self) -> None:
        """A peer that has been refused may take this long, too, to say goodbye."""
        self._timeout = None
        seconds = self.greetings.admission.settings.handshake_timeout
        self._refuse(self._explain() or f"the handshake took more than {seconds:g} seconds")
        self._abort()

    def _explain(self) -> str | None:
        """Why there was no handshake, as far as the client's bytes say."""
        transport: Any = self.transport
        connection: Connection = transport.getHandle()
        return describe_stranger(connection.first) or connection.refusal

    def _refuse(self, why: str) -> None:
        if not self.refused:
            self.refused = True
            self.greetings.admission.turned_away(self.address, why)

    def _abort(self) -> None:
        self._leave()
        transport: Any = self.transport
        transport.abortConnection()

    def _leave(self) -> None:
        """This connection is no handshake any more."""
        self.greetings.admission.end(self)
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None


class GreetingFactory(Factory):
    """Puts a :class:`Greeting` before each protocol of another factory.

    Args:
        wrapped: makes the protocols behind.
        clock: for the timeout.
        admission: who may come in.
    """

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, clock: IReactorTime, admission: Admission) -> None:
        self.wrapped = wrapped
        self.clock = clock
        self.admission = admission

    def doStart(self) -> None:
        """Start the wrapped factory with this one."""
        self.wrapped.doStart()

    def doStop(self) -> None:
        """Stop the wrapped factory with this one."""
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Greeting | None:
        """A greeting for one connection."""
        return None if addr is None else Greeting(self, addr)
