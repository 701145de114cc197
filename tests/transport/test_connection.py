"""The seam to Python's ``ssl``: what follows a handshake, what contexts cost, and what Twisted sees."""

from __future__ import annotations

import contextlib
import gc
import os
import ssl
import weakref
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.transport import context as context_module
from remotevirt.transport.connection import MAX_HANDSHAKE_BYTES, Connection
from remotevirt.transport.context import MAX_SESSIONS, Connections, make_context
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.settings import TLSSettings
from tests.transport.pki import Authority

RECORD_OF_DATA = 23


class Client:
    """A TLS client of Python's ``ssl``, fed by hand."""

    def __init__(self, authority: Authority, folder: Path | None, version: ssl.TLSVersion) -> None:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        context.minimum_version = context.maximum_version = version
        if folder is not None:
            context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake(self, server: Connection) -> list[bytes]:
        """Make the handshake; returns what the server sent, turn by turn."""
        sent: list[bytes] = []
        done = False
        for _ in range(10):
            if not done:
                try:
                    self.tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
            if self.outgoing.pending:
                server.bio_write(self.outgoing.read())
            try:
                server.do_handshake()
            except SSL.WantReadError:
                sent.append(pull(server))
                self.incoming.write(sent[-1])
                continue
            sent.append(pull(server))
            self.incoming.write(sent[-1])
            if done:
                break
        return sent

    def read(self, server: Connection) -> bytes:
        self.incoming.write(pull(server))
        return self.tls.read(1 << 16)


def pull(server: Connection) -> bytes:
    """All that the server has to send."""
    try:
        return server.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""


class ConnectionTestCase(TestCase):
    """Contexts of an authority."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.credentials = Credentials.load(self.authority.server_folder(Path(self.mktemp())))
        self.folder = self.authority.client_folder(Path(self.mktemp()))
        self.settings = TLSSettings()

    def client(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Client:
        return Client(self.authority, self.folder, version)


class ConnectionTests(ConnectionTestCase):
    """:class:`Connection`."""

    def connected(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[Client, Connection]:
        server = Connection(make_context(self.credentials, self.settings))
        client = self.client(version)
        client.shake(server)
        return client, server

    def test_no_tickets(self) -> None:
        """After TLS 1.3's handshake the server is silent: virsh takes the next record for its answer."""
        server = Connection(make_context(self.credentials, self.settings))
        sent = self.client().shake(server)
        self.assertEqual("TLSv1.3", server.version)
        self.assertEqual(b"", sent[-1])
        server.send(b"\x01")
        record = pull(server)
        self.assertEqual((RECORD_OF_DATA, 5 + 1 + 1 + 16), (record[0], len(record)))

    def test_data_both_ways(self) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client, server = self.connected(version)
            data = os.urandom(100_000)
            self.assertEqual(len(data), server.send(data))
            client.incoming.write(pull(server) + pull(server))
            found = b""
            while len(found) < len(data):
                found += client.tls.read(1 << 16)
            self.assertEqual(data, found)
            client.tls.write(b"hello")
            server.bio_write(client.outgoing.read())
            self.assertEqual(b"hello", server.recv(100))
            self.assertRaises(SSL.WantReadError, server.recv, 100)

    def test_goodbyes(self) -> None:
        client, server = self.connected()
        self.assertFalse(server.shutdown())
        client.incoming.write(pull(server))
        client.tls.unwrap()
        server.bio_write(client.outgoing.read())
        self.assertTrue(server.shutdown())
        self.assertRaises(SSL.ZeroReturnError, server.recv, 100)

    def test_clients_goodbye(self) -> None:
        client, server = self.connected()
        self.assertRaises(ssl.SSLWantReadError, client.tls.unwrap)
        server.bio_write(client.outgoing.read())
        self.assertRaises(SSL.ZeroReturnError, server.recv, 100)
        self.assertTrue(server.shutdown())

    def test_goodbye_while_data_comes(self) -> None:
        """What the client sent before it knew is still read, and its goodbye after it."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client, server = self.connected(version)
            for data in (b"one", b"two", b"three"):
                client.tls.write(data)
            server.bio_write(client.outgoing.read())
            self.assertEqual(b"one", server.recv(100))
            self.assertFalse(server.shutdown())
            self.assertEqual([b"two", b"three"], [server.recv(100), server.recv(100)])
            self.assertRaises(SSL.WantReadError, server.recv, 100)
            client.tls.write(b"four")
            client.incoming.write(pull(server))
            client.tls.unwrap()
            server.bio_write(client.outgoing.read())
            self.assertEqual(b"four", server.recv(100))
            self.assertRaises(SSL.ZeroReturnError, server.recv, 100)

    def test_cut(self) -> None:
        """An end without a goodbye is not one with it."""
        _, server = self.connected()
        server.bio_shutdown()
        error = self.assertRaises(SSL.SysCallError, server.recv, 100)
        self.assertEqual((-1, "Unexpected EOF"), error.args)

    def test_rubbish(self) -> None:
        _, server = self.connected()
        server.bio_write(b"\xff" * 100)
        error = self.assertRaises(SSL.Error, server.recv, 100)
        self.assertIsInstance(error.args[0][0][2], str)

    def test_early(self) -> None:
        """Before the handshake there is nothing to say of the client, nor to it."""
        server = Connection(make_context(self.credentials, self.settings))
        self.assertIsNone(server.get_peer_certificate())
        self.assertIsNone(server.version)
        self.assertIsNone(server.cipher)
        self.assertRaises(SSL.WantReadError, server.do_handshake)
        self.assertRaises(SSL.Error, server.shutdown)

    def test_bytes_of_a_handshake(self) -> None:
        """They are counted while it lasts, and the first ones kept."""
        client = self.client()
        server = Connection(make_context(self.credentials, self.settings))
        client.shake(server)
        counted = server.received
        self.assertTrue(0 < counted < MAX_HANDSHAKE_BYTES)
        self.assertEqual(b"\x16\x03\x01", server.first[:3])
        client.tls.write(b"x" * 1000)
        server.bio_write(client.outgoing.read())
        self.assertEqual(counted, server.received)

    def test_levels(self) -> None:
        """SECURE192 reaches TLS 1.3, whose ciphers and curves Python cannot choose."""
        key = ec.generate_private_key(ec.SECP384R1())
        strong = self.authority.sign("localhost", key=key, digest=hashes.SHA384())
        credentials = Credentials.load(self.authority.server_folder(Path(self.mktemp()), strong))

        def agreed(priority: str, suite: bytes, group: str) -> str | None:
            """The suite that is agreed on with a client that has one and one group; None for none."""
            settings = TLSSettings(priority=priority, no_verify=True)
            server = Connection(make_context(credentials, settings))
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_min_proto_version(SSL.TLS1_3_VERSION)
            context.set_tls13_ciphersuites(suite)
            context.set_tmp_ecdh(ec.SECP384R1() if group == "P-384" else ec.SECP256R1())
            client = SSL.Connection(context, None)
            client.set_connect_state()
            for _ in range(4):
                with contextlib.suppress(SSL.WantReadError):
                    client.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    server.bio_write(client.bio_read(1 << 16))
                try:
                    server.do_handshake()
                except SSL.WantReadError:
                    client.bio_write(pull(server))
                except SSL.Error:
                    return None
                else:
                    return server.cipher
            return None

        weaker, stronger = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"
        self.assertEqual(weaker, agreed("NORMAL", weaker.encode(), "P-256"))
        self.assertEqual(stronger, agreed("SECURE192", stronger.encode(), "P-384"))
        self.assertIsNone(agreed("SECURE192", weaker.encode(), "P-384"))
        self.assertIsNone(agreed("SECURE192", stronger.encode(), "P-256"))


class ContextTests(ConnectionTestCase):
    """:func:`make_context` and :class:`Connections`."""

    def test_weak_key(self) -> None:
        pair = self.authority.sign("localhost", key=rsa.generate_private_key(65537, 1024))
        credentials = Credentials.load(self.authority.server_folder(Path(self.mktemp()), pair))
        error = self.assertRaises(PKIError, make_context, credentials, self.settings)
        self.assertEqual(
            f"{credentials.files.cert}: OpenSSL does not take the certificate: ee key too small", str(error)
        )

    def test_nothing_is_left_open(self) -> None:
        before = os.listdir("/proc/self/fd")
        make_context(self.credentials, self.settings)
        self.assertEqual(before, os.listdir("/proc/self/fd"))

    def test_intermediate_chain_is_sent(self) -> None:
        leaf = self.authority.ca.create_child_ca().issue_cert("localhost")
        pair = (b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes())
        folder = self.authority.server_folder(Path(self.mktemp()), pair)
        server = Connection(make_context(Credentials.load(folder), self.settings))
        client = self.client()
        client.shake(server)
        server.send(b"\x01")
        self.assertEqual(b"\x01", client.read(server))

    def test_intermediate_authority_is_enough(self) -> None:
        """As for GnuTLS: the operator may trust one branch of a tree."""
        branch = self.authority.ca.create_child_ca()
        leaf = branch.issue_cert("client")
        self.folder = self.authority.client_folder(
            Path(self.mktemp()), (leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())
        )
        folder = self.authority.server_folder(Path(self.mktemp()))
        (folder / "cacert.pem").write_bytes(branch.cert_pem.bytes())
        server = Connection(make_context(Credentials.load(folder), self.settings))
        self.client().shake(server)
        self.assertIsNotNone(server.get_peer_certificate())
        self.folder = self.authority.client_folder(Path(self.mktemp()))
        server = Connection(make_context(Credentials.load(folder), self.settings))
        self.client().shake(server)
        self.assertIsNone(server.get_peer_certificate())
        self.assertEqual("the certificate is of another authority", server.refusal)

    def test_refused_clients_end_it(self) -> None:
        """They read why, and may send the rest before that; but not without end."""
        others = self.authority.server_folder(Path(self.mktemp()))
        (others / "cacert.pem").write_bytes(Authority().ca.cert_pem.bytes())
        server = Connection(make_context(Credentials.load(others), self.settings))
        client = self.client()
        client.shake(server)
        self.assertRaisesRegex(ssl.SSLError, "UNKNOWN_CA", client.read, server)
        server.bio_write(b"more")
        self.assertRaises(SSL.WantReadError, server.do_handshake)
        server.bio_write(bytes(MAX_HANDSHAKE_BYTES))
        self.assertRaises(SSL.Error, server.do_handshake)

    def test_refused_clients_that_go(self) -> None:
        server = Connection(make_context(self.credentials, self.settings))
        Client(self.authority, None, ssl.TLSVersion.TLSv1_3).shake(server)
        self.assertEqual("peer did not return a certificate", server.refusal)
        server.bio_shutdown()
        self.assertRaises(SSL.Error, server.recv, 1)

    def sessions(self, connections: Connections, number: int, version: ssl.TLSVersion) -> int:
        """Make so many connections; returns how many contexts were used."""
        contexts = set()
        for _ in range(number):
            server = connections.serverConnectionForTLS(None)
            self.client(version).shake(server)
            server.shutdown()  # of those who leave without a goodbye OpenSSL forgets the session
            contexts.add(id(connections.context))
        return len(contexts)

    def test_sessions_are_forgotten(self) -> None:
        connections = Connections(self.credentials, self.settings)
        first = weakref.ref(connections.context)
        self.assertEqual(1, self.sessions(connections, MAX_SESSIONS, ssl.TLSVersion.TLSv1_2))
        self.sessions(connections, 1, ssl.TLSVersion.TLSv1_2)
        self.assertIsNot(first(), connections.context)
        self.assertEqual(1, connections.context.session_stats()["number"])
        gc.collect()
        self.assertIsNone(first())

    def test_no_sessions_of_the_newer_version(self) -> None:
        connections = Connections(self.credentials, self.settings)
        self.sessions(connections, 5, ssl.TLSVersion.TLSv1_3)
        self.assertEqual(0, connections.context.session_stats()["number"])

    def test_context_that_cannot_be_made_again(self) -> None:
        """Without a descriptor to spare the old one goes on, and the log says so."""
        connections = Connections(self.credentials, self.settings)
        self.sessions(connections, MAX_SESSIONS, ssl.TLSVersion.TLSv1_2)
        before = connections.context
        logged: list[LogEvent] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)

        def full(*args: Any) -> int:
            raise OSError(24, "Too many open files")

        self.patch(context_module.os, "memfd_create", full)
        self.sessions(connections, 1, ssl.TLSVersion.TLSv1_2)
        self.assertIs(before, connections.context)
        self.assertIn("Too many open files", formatEvent(logged[0]))
