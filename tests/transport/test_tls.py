"""TLS in memory: who is accepted, who is refused, and what each of them sees."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import BasicConstraints, Name, UnrecognizedExtension
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from remotevirt.description import DescriptionError
from remotevirt.transport.dn import peer_dn
from remotevirt.transport.greeting import Admission, peer_of
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.settings import HANDSHAKE_TIMEOUT, TLSSettings
from remotevirt.transport.tls import LibvirtTLSEndpoint, endpoint_from_fields
from tests.transport.pki import DAY, Authority, now

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
        self.transport.write(self.tls.bio_read(1 << 16))  # type: ignore[union-attr]


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
            self.reactor,  # type: ignore[arg-type]
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
        self.assertRegex(str(peer_dn(transport)), "^O=trustme v.*,CN=client$")

    def test_protocol_learns_of_the_end_once(self) -> None:
        client, pump = self.connect(self.listen(), self.options(self.pair))
        client.transport.loseConnection()  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual([1], [len(protocol.lost) for protocol in self.behind.built])
        self.assertEqual([], self.refusals())

    def test_last_words_arrive(self) -> None:
        """A client that goes on sending while it is let go gets what it was sent before, and a clean end."""
        client, pump = self.connect(self.listen(), self.options(self.pair))
        (server,) = self.behind.built
        server.reply = b"farewell" * 1000
        for _ in range(3):
            client.transport.write(b"call" * 10_000)  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual(b"\x01" + server.reply, client.received)
        self.assertEqual([1, 1], [len(client.lost), len(server.lost)])
        client.lost[0].trap(ConnectionDone)

    def test_time_does_not_run_out_afterwards(self) -> None:
        client, pump = self.connect(self.listen(), self.options(self.pair))
        self.reactor.advance(10 * HANDSHAKE_TIMEOUT)
        pump.flush()
        self.assertEqual([], client.lost)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_versions(self) -> None:
        """The newest is spoken with who can, and the confirmation comes first in each."""
        factory = self.listen()
        for version in (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3):
            client, _ = self.connect(factory, self.options(self.pair, lowerMaximumSecurityTo=version))
            self.assertEqual(b"\x01", client.received)
            handle = self.behind.built[-1].transport.getHandle()  # type: ignore[union-attr]
            self.assertEqual(version.name.replace("_", "."), handle.version)
            self.assertIn("GCM", handle.cipher)

    def test_no_renegotiation(self) -> None:
        """A client that begins another handshake loses its connection over it."""
        options = self.options(self.pair, lowerMaximumSecurityTo=TLSVersion.TLSv1_2)
        client, pump = self.connect(self.listen(), options)
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

    def refused(self, why: str, options: Any, crl: bytes | None = None, **settings: Any) -> None:
        """A client is refused: it sees an error, the log the reason, and nothing was built for it."""
        factory = self.listen(crl, **settings)
        client, _ = self.connect(factory, options)
        self.assertEqual(b"", client.received)
        self.assertEqual(1, len(client.lost))
        self.assertEqual([], self.behind.built)
        self.assertEqual(1, len(self.refusals()), self.refusals())
        self.assertIn(why, self.refusals()[0])
        self.assertEqual([("192.0.2.7;4711", self.refusals()[0])], self.heard)
        self.assertEqual(0, self.endpoint.handshakes)
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
        self.refused("the certificate has been revoked", self.options(self.pair), crl)

    def test_others_stay_welcome_beside_a_revoked_one(self) -> None:
        revoked, _ = self.authority.issue("client")
        client, _ = self.connect(self.listen(self.authority.revoke(revoked)), self.options(self.pair))
        self.assertEqual(b"\x01", client.received)

    def test_authoritys_certificate(self) -> None:
        """As by libvirtd: what may issue certificates is no client's."""
        pair = self.authority.sign("client", (BasicConstraints(True, None), True))
        self.refused("the certificate is an authority's, not a client's ('CN=client')", self.options(pair))

    def test_certificate_without_a_name(self) -> None:
        """As by libvirtd, which needs one to call the client by."""
        pair = self.authority.sign(Name([]))
        self.refused("the certificate does not decode: the subject is empty", self.options(pair))

    def test_certificate_that_cannot_be_read(self) -> None:
        """Whatever OpenSSL thinks of it, no name is taken from it."""
        bad = UnrecognizedExtension(ExtensionOID.TLS_FEATURE, b"\xff")
        self.refused(
            "the certificate does not decode: error parsing asn1 value",
            self.options(self.authority.sign("client", (bad, False))),
        )

    def test_certificate_that_expired_since(self) -> None:
        """A session that is resumed is not verified again."""
        expired = x509.load_pem_x509_certificate(self.authority.expired()[0])
        transport = SimpleNamespace(getPeerCertificate=lambda: crypto.X509.from_cryptography(expired))
        self.assertEqual("the certificate has expired", Admission(TLSSettings()).verdict(transport))

    def test_hook_that_fails(self) -> None:
        """Whoever listens to refusals does not stand in the way of others."""
        factory = self.listen(max_handshakes=1)

        def fail(where: str, why: str) -> None:
            raise LookupError(where)

        self.endpoint.refused = fail
        client, pump = self.connect_plain(factory)
        client.transport.write(HALF_A_HELLO)  # type: ignore[union-attr]
        pump.flush()
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)
        self.assertEqual(1, len(self.flushLoggedErrors(LookupError)))

    def test_name_is_not_on_the_list(self) -> None:
        pair = self.authority.sign("eve\n")
        for names in ([], ["CN=alice", "CN=bob"], ["CN=eve"], ["cn=EVE*"]):
            self.refused(
                r"the name is not on the list of those allowed ('CN=eve\n')",
                self.options(pair),
                allowed_dns=names,
            )
            self.logged.clear()

    def test_name_is_on_the_list(self) -> None:
        client, _ = self.connect(
            self.listen(allowed_dns=["CN=alice", "CN=cl?e*"]), self.options(self.authority.sign())
        )
        self.assertEqual(b"\x01", client.received)

    def test_weak_key(self) -> None:
        weak = rsa.generate_private_key(65537, 1024)
        pair = self.authority.sign("client", key=weak)
        self.refused("the certificate's key is too weak", Lax(pair))

    def test_versions_of_before(self) -> None:
        for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            options = Lax(self.pair)
            options.context.set_max_proto_version(version)
            self.refused("unsupported protocol", options)
            self.logged.clear()

    def test_priority(self) -> None:
        """A version that was taken away is refused, and levels of strength reach both versions."""
        newer = self.options(self.pair, raiseMinimumTo=TLSVersion.TLSv1_3)
        self.refused("unsupported protocol", newer, priority="NORMAL:-VERS-TLS1.3")
        self.logged.clear()
        older = self.options(self.pair, lowerMaximumSecurityTo=TLSVersion.TLSv1_2)
        self.refused("unsupported protocol", older, priority="NORMAL:-VERS-TLS1.2")

    def test_nobody_is_verified(self) -> None:
        """``tls_no_verify_certificate``: no client shows anything, nor has it a name, whatever is listed."""
        foreign = Authority().issue("client")
        factory = self.listen(no_verify=True, allowed_dns=["CN=nobody"])
        self.assertEqual(1, len([event for event in self.logged if "says nothing" in formatEvent(event)]))
        for pair in (None, foreign, self.pair):
            client, _ = self.connect(factory, self.options(pair))
            self.assertEqual(b"\x01", client.received)
            self.assertIsNone(peer_dn(self.behind.built[-1].transport))

    def test_client_refuses_us(self) -> None:
        """The log tells a client that does not like our certificate from one whose certificate we do not."""
        stranger = CertificateOptions(trustRoot=Certificate.loadPEM(Authority().pem))
        self.refused("the client gave up: unknown ca", stranger)

    def test_not_tls(self) -> None:
        for data, why in [
            (b"GET / HTTP/1.0\r\n\r\n", "an HTTP request on a port with TLS"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH client on a port with TLS"),
            (
                bytes.fromhex("0000001c 20008086 00000001 00000042") + bytes(12),
                "a libvirt client without TLS",
            ),
            (b"\xff" * 40, "no TLS, but bytes that start with ff ff ff ff ff ff ff ff"),
        ]:
            client, pump = self.connect_plain(self.listen())
            self.logged.clear()
            client.transport.write(data)  # type: ignore[union-attr]
            pump.flush()
            self.assertEqual([why], self.refusals())
            self.assertEqual(1, len(client.lost))
            self.assertEqual([], self.behind.built)

    def test_port_scan(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.loseConnection()  # type: ignore[union-attr]
        pump.flush()
        self.assertEqual(["it sent nothing, as a port scan does"], self.refusals())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_gone_during_the_handshake(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.write(HALF_A_HELLO)  # type: ignore[union-attr]
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
        self.assertEqual(["it sent nothing, as a port scan does"], self.refusals())

    def test_trickling_client(self) -> None:
        """Bytes that come one by one win no time."""
        client, pump = self.connect_plain(self.listen())
        for byte in b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03":
            client.transport.write(bytes([byte]))  # type: ignore[union-attr]
            pump.flush()
            self.reactor.advance(1)
        pump.flush()
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["the handshake took more than 10 seconds"], self.refusals())

    def test_deadline_can_be_set(self) -> None:
        client, pump = self.connect_plain(self.listen(handshake_timeout=2.5))
        client.transport.write(HALF_A_HELLO)  # type: ignore[union-attr]
        pump.flush()
        self.reactor.advance(2.6)
        pump.flush()
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["the handshake took more than 2.5 seconds"], self.refusals())

    def test_endless_handshake(self) -> None:
        """What a client may send before it is accepted is bounded, and not by OpenSSL's patience only."""
        client, pump = self.connect_plain(self.listen())
        # A hello of 128 KiB in records of 16 KiB: OpenSSL would wait for all of it.
        hello = b"\x01\x01\xff\xff\x03\x03" + bytes(0x1FFFF - 2)
        for start in range(0, len(hello), 1 << 14):
            part = hello[start : start + (1 << 14)]
            client.transport.write(b"\x16\x03\x01" + len(part).to_bytes(2) + part)  # type: ignore[union-attr]
            pump.flush()
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["its handshake is larger than 65536 bytes"], self.refusals())
        self.assertEqual(0, self.endpoint.handshakes)

    def test_refused_client_that_does_not_leave(self) -> None:
        """A goodbye that is not answered is not waited for beyond the deadline."""
        factory = self.listen(allowed_dns=[])
        server = factory.buildProtocol(PEER)
        transport = FakeTransport(server, isServer=True, peerAddress=PEER)
        client = Deaf(self.options(self.pair))
        pump = connect(server, transport, client, FakeTransport(client, isServer=False))
        self.flow(pump)
        self.assertEqual(1, len(self.refusals()))
        self.assertEqual(1, self.endpoint.handshakes)
        self.reactor.advance(HANDSHAKE_TIMEOUT)
        self.flow(pump)
        self.assertEqual(0, self.endpoint.handshakes)
        self.assertTrue(transport.disconnected)
        self.assertEqual(1, len(self.refusals()))


class FloodTests(TLSTestCase):
    """More handshakes at once than there may be."""

    def stall(self, factory: Any, peer: Any = PEER) -> Recorder:
        """A client that sends half a hello and no more."""
        client, pump = self.connect_plain(factory, peer)
        client.transport.write(HALF_A_HELLO)  # type: ignore[union-attr]
        pump.flush()
        self.pumps = [*getattr(self, "pumps", []), pump]
        return client

    def settle(self) -> None:
        for pump in self.pumps:
            pump.flush()

    def test_oldest_gives_way(self) -> None:
        """Whoever comes while the bound is reached is served: the one that has waited longest is not."""
        factory = self.listen(max_handshakes=3)
        idle = [self.stall(factory, IPv4Address("TCP", f"192.0.2.{i}", i)) for i in range(1, 4)]
        self.assertEqual(3, self.endpoint.handshakes)
        client, _ = self.connect(factory, self.options(self.pair))
        self.settle()
        self.assertEqual(b"\x01", client.received)
        self.assertEqual([1, 0, 0], [len(other.lost) for other in idle])
        self.assertEqual(2, self.endpoint.handshakes)
        self.assertEqual([("192.0.2.1;1", "it had to give way to 3 newer TLS handshakes")], self.heard)

    def test_own_oldest_of_a_peer_gives_way(self) -> None:
        """A peer with too many pushes out itself and nobody else."""
        factory = self.listen(max_handshakes=10, max_peer_handshakes=2)
        other = self.stall(factory, IPv4Address("TCP", "192.0.2.99", 1))
        idle = [self.stall(factory) for _ in range(4)]
        self.settle()
        self.assertEqual([1, 1, 0, 0], [len(client.lost) for client in idle])
        self.assertEqual([], other.lost)
        self.assertEqual(3, self.endpoint.handshakes)
        self.assertEqual("it had to give way to 2 newer TLS handshakes of this peer", self.heard[0][1])

    def test_network_is_one_peer(self) -> None:
        """Who has one IPv6 address has 2 to the 64."""
        factory = self.listen(max_peer_handshakes=2)
        idle = [self.stall(factory, IPv6Address("TCP", f"2001:db8::{i}", i)) for i in range(1, 4)]
        other = self.stall(factory, IPv6Address("TCP", "2001:db8:0:1::1", 1))
        self.settle()
        self.assertEqual([1, 0, 0], [len(client.lost) for client in idle])
        self.assertEqual([], other.lost)

    def test_peers(self) -> None:
        for host, peer in {
            "192.0.2.1": "192.0.2.1",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1:2:3:4%eth0": "fe80::/64",
            "::1": "::/64",
            "somewhere": "somewhere",
        }.items():
            self.assertEqual(peer, peer_of(IPv6Address("TCP", host, 1)))
        self.assertEqual("", peer_of(UNIXAddress(b"x")))

    def test_accepted_ones_do_not_count(self) -> None:
        factory = self.listen(max_handshakes=1)
        clients = [self.connect(factory, self.options(self.pair))[0] for _ in range(3)]
        self.assertEqual([b"\x01"] * 3, [client.received for client in clients])
        self.assertEqual([], self.heard)

    def test_long_flood(self) -> None:
        """A thousand stalled handshakes cost a hundred places, and nobody who means it waits."""
        factory = self.listen()
        for i in range(1000):
            self.stall(factory, IPv4Address("TCP", f"10.0.{i % 250}.{i // 250}", i))
        self.assertEqual(100, self.endpoint.handshakes)
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)
        self.assertEqual(901, len(self.heard))


class ReloadTests(TLSTestCase):
    """New certificates for a listener that listens."""

    def serial(self, client: Recorder) -> int:
        """The serial number of the certificate that the server showed."""
        return int(client.transport.getPeerCertificate().get_serial_number())  # type: ignore[union-attr]

    def replace(self, **files: bytes) -> None:
        for name, data in files.items():
            (self.folder / f"{name}.pem").write_bytes(data)

    def test_new_certificate_for_new_clients(self) -> None:
        factory = self.listen()
        old, pump = self.connect(factory, self.options(self.pair))
        certificate, key = self.authority.issue()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        new, _ = self.connect(factory, self.options(self.pair))
        self.assertNotEqual(self.serial(old), self.serial(new))
        self.assertEqual(x509.load_pem_x509_certificate(certificate).serial_number, self.serial(new))
        self.assertEqual(self.serial(new), self.endpoint.credentials.chain[0].serial_number)
        old.transport.write(b"still here")  # type: ignore[union-attr]
        self.flow(pump)
        self.assertEqual(b"still here", self.behind.built[0].received)

    def test_broken_set_changes_nothing(self) -> None:
        factory = self.listen()
        before = self.endpoint.credentials
        certificate, key = self.authority.issue()
        for files, why in [
            ({"servercert": b"rubbish"}, "servercert.pem: holds no readable PEM certificate"),
            ({"servercert": certificate}, "serverkey.pem: is not the key of"),
            ({"servercert": self.authority.expired()[0]}, "servercert.pem"),
            ({"cacrl": b"rubbish"}, "cacrl.pem: holds no readable PEM revocation list"),
        ]:
            self.replace(**files)
            self.assertIn(why, str(self.assertRaises(PKIError, self.endpoint.reload)))
            self.assertIs(before, self.endpoint.credentials)
            client, _ = self.connect(factory, self.options(self.pair))
            self.assertEqual(before.chain[0].serial_number, self.serial(client))
        (self.folder / "cacrl.pem").unlink()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        self.assertIsNot(before, self.endpoint.credentials)

    def test_revocation_list_comes(self) -> None:
        factory = self.listen()
        self.replace(cacrl=self.authority.revoke(self.pair[0]))
        self.endpoint.reload()
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"", client.received)
        self.assertEqual(["the certificate has been revoked"], self.refusals())

    def test_other_settings(self) -> None:
        """The list of names is held against those whose handshake ends after it has changed."""
        factory = self.listen()
        self.endpoint.reload(TLSSettings(allowed_dns=["CN=nobody"]))
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"", client.received)
        self.endpoint.reload(TLSSettings())
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)

    def test_verification_comes(self) -> None:
        """Whoever was not asked for a certificate, but ends its handshake when one is needed, has none."""
        factory = self.listen(no_verify=True)
        server = factory.buildProtocol(PEER)
        client = Deaf(self.options(self.pair))
        transport = FakeTransport(server, isServer=True, peerAddress=PEER)
        pump = connect(server, transport, client, FakeTransport(client, isServer=False), greet=False)
        pump.pump()  # the hello, and what the server makes of it
        self.assertEqual(1, self.endpoint.handshakes)
        self.endpoint.reload(TLSSettings())
        self.flow(pump)
        self.assertEqual(["it showed no certificate"], self.refusals())
        self.assertEqual([], self.behind.built)

    def test_sanity_at_reload(self) -> None:
        self.listen(no_sanity=True)
        certificate, key = self.authority.expired()
        self.replace(servercert=certificate, serverkey=key)
        self.endpoint.reload()
        self.assertRaises(PKIError, self.endpoint.reload, TLSSettings())


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

    def test_ipv6(self) -> None:
        for given, meant in {"::": "::", "::1": "::1", "[::1]": "::1"}.items():
            endpoint = endpoint_from_fields(self.reactor, ["0"], {"pki": self.folder, "interface": given})
            self.successResultOf(endpoint.listen(Factory()))
            self.assertEqual(meant, self.reactor.tcpServers[-1][3])

    def test_settings(self) -> None:
        pki = {"pki": self.folder}
        defaults = TLSSettings(allowed_dns=["CN=a"], max_handshakes=7)
        self.assertEqual(TLSSettings(), endpoint_from_fields(self.reactor, ["0"], pki).settings)
        self.assertEqual(defaults, endpoint_from_fields(self.reactor, ["0"], pki, defaults).settings)
        found = endpoint_from_fields(
            self.reactor, ["0", "noverify"], pki | {"priority": "NORMAL:-VERS-TLS1.2"}, defaults
        )
        self.assertEqual(
            attrs.evolve(defaults, no_verify=True, priority="NORMAL:-VERS-TLS1.2"), found.settings
        )

    def test_bad_settings(self) -> None:
        for bad, why in [
            ({"handshake_timeout": 0}, "handshake_timeout: more than 0 is wanted, not 0"),
            ({"max_handshakes": -1}, "max_handshakes: more than 0"),
            ({"max_peer_handshakes": 0}, "max_peer_handshakes: more than 0"),
            ({"priority": "SYSTEM"}, "TLS priority 'SYSTEM': SYSTEM is not among"),
        ]:
            error = self.assertRaises(ValueError, TLSSettings, **bad)
            self.assertIn(why, str(error))

    def test_refused(self) -> None:
        pki = {"pki": self.folder}
        for words, options, why in [
            ([], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1", "2"], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1", "noverify", "noverify"], pki, "it is libvirttls:PORT:pki=DIR"),
            (["1"], pki | {"priority": "NORMAL:+MD5"}, "'NORMAL:+MD5': +MD5 is not offered here"),
            (["1"], {}, "it is libvirttls:PORT:pki=DIR"),
            (["x"], pki, "port: a number from 0 to 65535"),
            (["1"], pki | {"backlog": "-1"}, "backlog: a number"),
            (["1"], pki | {"interfaces": "::"}, "unknown option interfaces="),
        ]:
            error = self.assertRaises(DescriptionError, endpoint_from_fields, self.reactor, words, options)
            self.assertIn(why, str(error))

    def test_bad_certificates(self) -> None:
        self.assertRaises(PKIError, endpoint_from_fields, self.reactor, ["1"], {"pki": "/nonexistent"})
