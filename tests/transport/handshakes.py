"""TLS in memory: a listener, and clients of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from remotevirt.transport.pki import Credentials
from remotevirt.transport.settings import TLSSettings
from remotevirt.transport.tls import LibvirtTLSEndpoint
from tests.transport.pki import Authority

PEER = IPv4Address("TCP", "192.0.2.7", 4711)

HALF_A_HELLO = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"
"""How a TLS client begins; 245 bytes are missing."""


class Recorder(Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.made = 0
        self.lost: list[Failure] = []
        self.greeting = b""
        self.reply = b""

    def connectionMade(self) -> None:
        self.made += 1
        if self.greeting and self.transport is not None:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.reply and self.transport is not None:
            self.transport.write(self.reply)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


class Deaf(Protocol):
    """A TLS client that makes its handshake and answers nothing after it."""

    def __init__(self, options: CertificateOptions) -> None:
        self.tls = SSL.Connection(options.getContext(), None)
        self.tls.set_connect_state()
        self.done = False

    def connectionMade(self) -> None:
        self.go_on()

    def dataReceived(self, data: bytes) -> None:
        if not self.done:
            self.tls.bio_write(data)
            self.go_on()

    def go_on(self) -> None:
        try:
            self.tls.do_handshake()
            self.done = True
        except SSL.WantReadError:
            pass
        self.transport.write(self.tls.bio_read(1 << 16))


@implementer(IOpenSSLClientConnectionCreator)
class Lax:
    """Options of a client with no standards: any version, any key."""

    def __init__(self, pair: tuple[bytes, bytes]) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_cipher_list(b"ALL:@SECLEVEL=0")
        self.context.set_min_proto_version(SSL.TLS1_VERSION)
        private = PrivateCertificate.loadPEM(b"".join(pair))
        self.context.use_certificate(private.original)
        self.context.use_privatekey(private.privateKey.original)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)


class Behind(Factory):
    """Makes recorders, and keeps them."""

    def __init__(self) -> None:
        self.built: list[Recorder] = []
        self.full = False
        self.greeting = b""

    def buildProtocol(self, addr: Any) -> Recorder | None:
        if self.full:
            return None
        self.address = addr
        self.built.append(Recorder())
        self.built[-1].greeting = self.greeting
        return self.built[-1]


class TLSTestCase(TestCase):
    """A listener in memory, with an authority."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.pair = self.authority.issue("client")
        self.reactor = MemoryReactorClock()
        self.behind = Behind()
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def listen(self, crl: bytes | None = None, **settings: Any) -> Any:
        """Listen, in memory; returns the factory that the reactor would use. It sets `endpoint`."""
        self.folder = self.authority.server_folder(Path(self.mktemp()), crl=crl)
        self.heard: list[tuple[str, str]] = []
        self.endpoint = LibvirtTLSEndpoint(
            self.reactor,
            0,
            Credentials.load(self.folder),
            "127.0.0.1",
            settings=TLSSettings(**settings),
            refused=lambda where, why: self.heard.append((where, why)),
        )
        self.successResultOf(self.endpoint.listen(self.behind))
        return self.reactor.tcpServers[-1][1]

    def options(self, pair: tuple[bytes, bytes] | None, **kwargs: Any) -> CertificateOptions:
        """A client's TLS options; without a certificate for None."""
        root = Certificate.loadPEM(self.authority.pem)
        mine: dict[str, Any] = {}
        if pair is not None:
            private = PrivateCertificate.loadPEM(pair[0] + pair[1])
            mine = {"privateKey": private.privateKey.original, "certificate": private.original}
        return CertificateOptions(trustRoot=root, **mine, **kwargs)

    def connect(self, factory: Any, options: CertificateOptions, peer: Any = PEER) -> tuple[Recorder, IOPump]:
        """Connect a TLS client, and let bytes flow until there are no more."""
        client = Recorder()
        tls = TLSMemoryBIOFactory(
            options,
            True,
            Factory.forProtocol(lambda: client),
            self.reactor,
        ).buildProtocol(None)
        server = factory.buildProtocol(peer)
        pump = connect(
            server,
            FakeTransport(server, isServer=True, peerAddress=peer),
            tls,
            FakeTransport(tls, isServer=False),
            clock=self.reactor,
        )
        self.flow(pump)
        return client, pump

    def connect_plain(self, factory: Any, peer: Any = PEER) -> tuple[Recorder, IOPump]:
        """Connect a client that speaks no TLS by itself."""
        client = Recorder()
        server = factory.buildProtocol(peer)
        transport = FakeTransport(server, isServer=True, peerAddress=peer)
        pump = connect(server, transport, client, FakeTransport(client, isServer=False))
        return client, pump

    def flow(self, pump: IOPump) -> None:
        """Let bytes flow, and the small writes be flushed that TLS gathers."""
        for _ in range(3):
            pump.flush()
            self.reactor.advance(0)

    def refusals(self) -> list[str]:
        """What the log says of refused clients."""
        return [event["why"] for event in self.logged if "refused" in str(event.get("log_format"))]
