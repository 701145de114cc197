"""TLS in memory: who is accepted, who is refused, and what each of them sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, TLSVersion
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import TestCase

from remotevirt.description import DescriptionError
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.tls import (
    HANDSHAKE_TIMEOUT,
    GreetingFactory,
    LibvirtTLSEndpoint,
    endpoint_from_fields,
)
from tests.transport.pki import DAY, Authority, now

PEER = IPv4Address("TCP", "192.0.2.7", 4711)


class Recorder(Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.made = 0
        self.lost: list[Failure] = []
        self.greeting = b""

    def connectionMade(self) -> None:
        self.made += 1
        if self.greeting and self.transport is not None:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


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

    def listen(self, crl: bytes | None = None) -> Any:
        """Listen, in memory; returns the factory that the reactor would use."""
        folder = self.authority.server_folder(Path(self.mktemp()), crl=crl)
        endpoint = LibvirtTLSEndpoint(self.reactor, 0, Credentials.load(folder), "127.0.0.1")
        self.successResultOf(endpoint.listen(self.behind))
        return self.reactor.tcpServers[-1][1]

    def options(self, pair: tuple[bytes, bytes] | None, **kwargs: Any) -> CertificateOptions:
        """A client's TLS options; without a certificate for None."""
        root = Certificate.loadPEM(self.authority.pem)
        mine: dict[str, Any] = {}
        if pair is not None:
            private = PrivateCertificate.loadPEM(pair[0] + pair[1])
            mine = {"privateKey": private.privateKey.original, "certificate": private.original}
        return CertificateOptions(trustRoot=root, **mine, **kwargs)

    def connect(self, factory: Any, options: CertificateOptions) -> tuple[Recorder, IOPump]:
        """Connect a TLS client, and let bytes flow until there are no more."""
        client = Recorder()
        tls = TLSMemoryBIOFactory(
            options,
            True,
            Factory.forProtocol(lambda: client),
            self.reactor,  # type: ignore[arg-type]
        ).buildProtocol(None)
        server = factory.buildProtocol(PEER)
        pump = connect(
            server,
            FakeTransport(server, isServer=True, peerAddress=PEER),
            tls,
            FakeTransport(tls, isServer=False),
            clock=self.reactor,
        )
        self.flow(pump)
        return client, pump

    def connect_plain(self, factory: Any) -> tuple[Recorder, IOPump]:
        """Connect a client that speaks no TLS by itself."""
        client = Recorder()
        server = factory.buildProtocol(PEER)
        transport = FakeTransport(server, isServer=True, peerAddress=PEER)
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


class AcceptTests(TLSTestCase):
    """A client with a certificate of our authority."""

    def test_confirmation_comes_first_and_alone(self) -> None:
        client, _ = self.connect(self.listen(), self.options(self.pair))
        self.assertEqual(b"\x01", client.received)
        self.assertEqual([1], [protocol.made for protocol in self.behind.built])
        self.assertEqual([], self.refusals())

    def test_confirmation_precedes_what_the_protocol_says(self) -> None:
        self.behind.greeting = b"hello"
        client, _ = self.connect(self.listen(), self.options(self.pair))
        self.assertEqual(b"\x01hello", client.received)

    def test_bytes_pass(self) -> None:
        client, pump = self.connect(self.listen(), self.options(self.pair))
        (server,) = self.behind.built
        client.transport.write(b"ping" * 10_000)  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual(b"ping" * 10_000, server.received)
        server.transport.write(b"pong")  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual(b"\x01pong", client.received)

    def test_protocol_learns_who_came(self) -> None:
        self.connect(self.listen(), self.options(self.pair))
        transport: Any = self.behind.built[0].transport
        self.assertEqual(PEER, self.behind.address)
        self.assertEqual(PEER, transport.getPeer())
        self.assertEqual("client", transport.getPeerCertificate().get_subject().CN)

    def test_protocol_learns_of_the_end_once(self) -> None:
        client, pump = self.connect(self.listen(), self.options(self.pair))
        client.transport.loseConnection()  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual([1], [len(protocol.lost) for protocol in self.behind.built])
        self.assertEqual([], self.refusals())

    def test_time_does_not_run_out_afterwards(self) -> None:
        client, pump = self.connect(self.listen(), self.options(self.pair))
        self.reactor.advance(10 * HANDSHAKE_TIMEOUT)
        pump.flush()
        self.assertEqual([], client.lost)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_capped_at_tls_1_2(self) -> None:
        self.connect(self.listen(), self.options(self.pair))
        transport: Any = self.behind.built[0].transport
        self.assertEqual("TLSv1.2", transport.getHandle().get_protocol_version_name())
        self.assertIn("GCM", transport.getHandle().get_cipher_name())

    def test_no_renegotiation(self) -> None:
        """A client that begins another handshake loses its connection over it."""
        client, pump = self.connect(self.listen(), self.options(self.pair))
        connection = client.transport.getHandle()  # type: ignore[union-attr]
        connection.renegotiate()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        client.transport._flushSendBIO()  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual(1, len(client.lost))

    def test_full_daemon(self) -> None:
        """Where the daemon has no room, the client is let go without the byte."""
        self.behind.full = True
        client, _ = self.connect(self.listen(), self.options(self.pair))
        self.assertEqual(b"", client.received)
        self.assertEqual(1, len(client.lost))


class RefuseTests(TLSTestCase):
    """Everybody else."""

    def refused(self, why: str, options: CertificateOptions, crl: bytes | None = None) -> None:
        """A client is refused: it sees an error, the log the reason, and nothing was built for it."""
        factory = self.listen(crl)
        client, _ = self.connect(factory, options)
        self.assertEqual(b"", client.received)
        self.assertEqual(1, len(client.lost))
        self.assertEqual([], self.behind.built)
        self.assertEqual(1, len(self.refusals()), self.refusals())
        self.assertIn(why, self.refusals()[0])
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_no_certificate(self) -> None:
        self.refused("peer did not return a certificate", self.options(None))

    def test_certificate_of_another_authority(self) -> None:
        self.refused("the certificate is of another authority", self.options(Authority().issue("client")))

    def test_expired_certificate(self) -> None:
        self.refused("the certificate has expired", self.options(self.authority.expired("client")))

    def test_certificate_from_the_future(self) -> None:
        later = self.authority.issue("client", not_before=now() + DAY)
        self.refused("the certificate is not valid yet", self.options(later))

    def test_purpose(self) -> None:
        """A server's certificate does not let its holder in as a client."""
        servers = self.authority.with_purpose(ExtendedKeyUsageOID.SERVER_AUTH)
        self.refused("the certificate is not meant for clients", self.options(servers))
        clients = self.authority.with_purpose(ExtendedKeyUsageOID.CLIENT_AUTH)
        client, _ = self.connect(self.listen(), self.options(clients))
        self.assertEqual(b"\x01", client.received)

    def test_revoked_certificate(self) -> None:
        crl = self.authority.revoke(self.pair[0])
        self.refused("the certificate has been revoked ('CN=client", self.options(self.pair), crl)

    def test_others_stay_welcome_beside_a_revoked_one(self) -> None:
        revoked, _ = self.authority.issue("client")
        client, _ = self.connect(self.listen(self.authority.revoke(revoked)), self.options(self.pair))
        self.assertEqual(b"\x01", client.received)

    def test_only_tls_1_3(self) -> None:
        self.refused("unsupported protocol", self.options(self.pair, raiseMinimumTo=TLSVersion.TLSv1_3))

    def test_not_tls(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.write(b"GET / HTTP/1.0\r\n\r\n")  # type: ignore[union-attr]
        pump.flush()
        self.assertEqual(["http request"], self.refusals())
        self.assertEqual(1, len(client.lost))
        self.assertEqual([], self.behind.built)

    def test_gone_during_the_handshake(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.loseConnection()  # type: ignore[union-attr]
        pump.flush()
        self.assertEqual(["the connection ended during the handshake"], self.refusals())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_silent_client(self) -> None:
        client, pump = self.connect_plain(self.listen())
        self.reactor.advance(HANDSHAKE_TIMEOUT - 0.1)
        pump.flush()
        self.assertEqual([], client.lost)
        self.reactor.advance(0.2)
        pump.flush()
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["the handshake took more than 10 seconds"], self.refusals())

    def test_trickling_client(self) -> None:
        """Bytes that come one by one win no time."""
        client, pump = self.connect_plain(self.listen())
        for byte in b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03":
            client.transport.write(bytes([byte]))  # type: ignore[union-attr]
            pump.flush()
            self.reactor.advance(1)
        pump.flush()
        self.assertEqual(1, len(client.lost))

    def test_too_many_handshakes(self) -> None:
        factory = self.listen()
        self.greetings(factory).max_greetings = 2
        idle = [self.connect_plain(factory) for _ in range(2)]
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["2 other TLS handshakes are under way"], self.refusals())
        idle[0][0].transport.loseConnection()  # type: ignore[union-attr]
        idle[0][1].flush()
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)
        self.assertEqual(1, self.greetings(factory).waiting)

    def greetings(self, factory: Any) -> GreetingFactory:
        found = factory.wrappedFactory
        assert isinstance(found, GreetingFactory)
        return found


class EndpointStringTests(TestCase):
    """``libvirttls:PORT:pki=DIR[:interface=ADDR]``."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.folder = str(Authority().server_folder(Path(self.mktemp())))

    def test_port_and_interface(self) -> None:
        endpoint = endpoint_from_fields(
            self.reactor, ["16514"], {"pki": self.folder, "interface": "127.0.0.1"}
        )
        self.successResultOf(endpoint.listen(Factory()))
        (listening,) = self.reactor.tcpServers
        self.assertEqual((16514, 50, "127.0.0.1"), (listening[0], *listening[2:]))

    def test_every_interface_by_default(self) -> None:
        self.successResultOf(
            endpoint_from_fields(self.reactor, ["0"], {"pki": self.folder, "backlog": "9"}).listen(Factory())
        )
        self.assertEqual((9, ""), self.reactor.tcpServers[0][2:])

    def test_refused(self) -> None:
        pki = {"pki": self.folder}
        for words, options, why in [
            ([], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1", "2"], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1"], {}, "it is libvirttls:PORT:pki=DIR"),
            (["x"], pki, "port: a number from 0 to 65535"),
            (["1"], pki | {"backlog": "-1"}, "backlog: a number"),
            (["1"], pki | {"interfaces": "::"}, "unknown option interfaces="),
        ]:
            error = self.assertRaises(DescriptionError, endpoint_from_fields, self.reactor, words, options)
            self.assertIn(why, str(error))

    def test_bad_certificates(self) -> None:
        self.assertRaises(PKIError, endpoint_from_fields, self.reactor, ["1"], {"pki": "/nonexistent"})
