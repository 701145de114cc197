"""TLS in memory: who is accepted, who is refused, and what each of them sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import BasicConstraints, Name, UnrecognizedExtension
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
)
from twisted.logger import formatEvent
from twisted.test.iosim import FakeTransport, connect

from remotevirt.transport.dn import peer_dn
from remotevirt.transport.greeting import Admission
from remotevirt.transport.settings import HANDSHAKE_TIMEOUT, TLSSettings
from tests.transport.handshakes import HALF_A_HELLO, PEER, Deaf, Lax, TLSTestCase
from tests.transport.pki import DAY, Authority, now


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
        client.transport.write(b"ping" * 10_000)
        self.flow(pump)
        self.assertEqual(b"ping" * 10_000, server.received)
        server.transport.write(b"pong")
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
        client.transport.loseConnection()
        self.flow(pump)
        self.assertEqual([1], [len(protocol.lost) for protocol in self.behind.built])
        self.assertEqual([], self.refusals())

    def test_last_words_arrive(self) -> None:
        """A client that goes on sending while it is let go gets what it was sent before, and a clean end."""
        client, pump = self.connect(self.listen(), self.options(self.pair))
        (server,) = self.behind.built
        server.reply = b"farewell" * 1000
        for _ in range(3):
            client.transport.write(b"call" * 10_000)
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
            handle = self.behind.built[-1].transport.getHandle()
            self.assertEqual(version.name.replace("_", "."), handle.version)
            self.assertIn("GCM", handle.cipher)

    def test_no_renegotiation(self) -> None:
        """A client that begins another handshake loses its connection over it."""
        options = self.options(self.pair, lowerMaximumSecurityTo=TLSVersion.TLSv1_2)
        client, pump = self.connect(self.listen(), options)
        connection = client.transport.getHandle()
        connection.renegotiate()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        client.transport._flushSendBIO()
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
        client.transport.write(HALF_A_HELLO)
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
            client.transport.write(data)
            pump.flush()
            self.assertEqual([why], self.refusals())
            self.assertEqual(1, len(client.lost))
            self.assertEqual([], self.behind.built)

    def test_port_scan(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.loseConnection()
        pump.flush()
        self.assertEqual(["it sent nothing, as a port scan does"], self.refusals())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_gone_during_the_handshake(self) -> None:
        client, pump = self.connect_plain(self.listen())
        client.transport.write(HALF_A_HELLO)
        client.transport.loseConnection()
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
            client.transport.write(bytes([byte]))
            pump.flush()
            self.reactor.advance(1)
        pump.flush()
        self.assertEqual(1, len(client.lost))
        self.assertEqual(["the handshake took more than 10 seconds"], self.refusals())

    def test_deadline_can_be_set(self) -> None:
        client, pump = self.connect_plain(self.listen(handshake_timeout=2.5))
        client.transport.write(HALF_A_HELLO)
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
            client.transport.write(b"\x16\x03\x01" + len(part).to_bytes(2) + part)
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
