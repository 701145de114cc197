"""TLS with other implementations: virsh and gnutls-cli (GnuTLS), and the OpenSSL of Python's ``ssl``."""

from __future__ import annotations

import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, inlineCallbacks
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from remotevirt.description import quote
from remotevirt.transport.dn import peer_dn
from remotevirt.transport.pki import Credentials
from remotevirt.transport.settings import TLSSettings
from remotevirt.transport.tls import LibvirtTLSEndpoint
from tests.daemons import ProcessTestCase
from tests.interop.peers import Output, require, run
from tests.transport.pki import Authority

QUIET = "tests.quiet_driver:QuietDriver"

TIMEOUT = 20.0
"""Seconds that a client waits for the server, on a machine that does other things, too."""

HALF_A_HELLO = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03"


class Raw:
    """A client of Python's ``ssl`` that connects and waits; for a thread.

    Args:
        authority: whom it trusts.
        folder: where its certificate is; None for none.
        port: of the server.
        host: the address to connect to.
        version: the only version it speaks; None for any.
    """

    def __init__(
        self,
        authority: Authority,
        folder: Path | None,
        port: int,
        host: str = "127.0.0.1",
        version: ssl.TLSVersion | None = None,
    ) -> None:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        if version is not None:
            # Old versions are only offered by those who have no standards.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        if folder is not None:
            context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
        plain = socket.create_connection((host, port), timeout=TIMEOUT)
        try:
            self.tls = context.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.tls.close()

    @property
    def serial(self) -> int:
        """The serial number of the server's certificate."""
        return x509.load_der_x509_certificate(self.tls.getpeercert(True) or b"").serial_number

    def read(self) -> bytes:
        return self.tls.recv(100)

    def ask(self, question: bytes) -> bytes:
        self.tls.sendall(question)
        return self.read()


def first_bytes(authority: Authority, folder: Path | None, port: int, **kwargs: Any) -> bytes | OSError:
    """What a client gets first from a server; the error, if it is one."""
    try:
        with Raw(authority, folder, port, **kwargs) as client:
            return client.read()
    except OSError as error:
        return error


class DaemonTests(ProcessTestCase):
    """Clients of the daemon's TLS listener."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.folder = Path(os.path.abspath(self.mktemp()))

    @inlineCallbacks
    def serve(self, crl: bytes | None = None, more: str = "") -> Any:
        """Start a daemon; returns its process, with the port in ``port``."""
        folder = self.authority.server_folder(self.folder / "server", crl=crl)
        process: Any = self.twistd(
            "--driver", QUIET, "--listen", f"libvirttls:0:interface=127.0.0.1:pki={folder}{more}"
        )
        process.port = int((yield process.line(r"^Listening on tls:127\.0\.0\.1:(\d+)$"))[1])
        return process

    @inlineCallbacks
    def virsh(self, process: Any, pair: tuple[bytes, bytes] | None = None) -> Any:
        """Ask virsh for its URI with a client's certificate."""
        folder = self.authority.client_folder(self.folder / "client", pair)
        uri = f"test+tls://localhost:{process.port}/default?pkipath={folder}"
        return (yield deferToThread(run, ["virsh", "-c", uri, "uri"]))

    @inlineCallbacks
    def welcomed(self, more: str = "", pair: tuple[bytes, bytes] | None = None) -> Any:
        require("virsh")
        output = yield self.virsh((yield self.serve(more=more)), pair)
        self.assertEqual("", output.err)
        self.assertIn("test+tls://localhost", output.out)

    def test_virsh(self) -> Any:
        return self.welcomed()

    def test_virsh_with_tls_1_3(self) -> Any:
        """The listener speaks nothing else: session tickets before the confirmation would end it here."""
        return self.welcomed(f":priority={quote('NORMAL:-VERS-TLS1.2')}")

    def test_virsh_with_tls_1_2(self) -> Any:
        return self.welcomed(f":priority={quote('NORMAL:-VERS-TLS1.3')}")

    def test_virsh_that_is_not_verified(self) -> Any:
        """virsh looks at its own certificate, so that it has to be of the authority all the same."""
        return self.welcomed(":noverify", self.authority.issue("client"))

    @inlineCallbacks
    def test_virsh_with_a_revoked_certificate(self) -> Any:
        require("virsh")
        pair = self.authority.issue("client")
        process = yield self.serve(self.authority.revoke(pair[0]))
        output = yield self.virsh(process, pair)
        self.assertNotEqual(0, output.status)
        self.assertIn("error: failed to connect to the hypervisor\n", output.err)
        yield process.line("TLS client 127.0.0.1 port .* refused: the certificate has been revoked")

    @inlineCallbacks
    def test_virsh_without_tls(self) -> Any:
        require("virsh")
        process = yield self.serve()
        uri = f"test+tcp://localhost:{process.port}/default"
        output = yield deferToThread(run, ["virsh", "-c", uri, "uri"])
        self.assertNotEqual(0, output.status)
        yield process.line("TLS client 127.0.0.1 port .* refused: a libvirt client without TLS")


class EndpointTestCase(TestCase):
    """The endpoint itself, in this process; its clients run in threads."""

    timeout = 120

    def setUp(self) -> None:
        self.authority = Authority()
        self.folder = Path(os.path.abspath(self.mktemp()))
        self.client = self.authority.client_folder(self.folder / "client")
        self.server = self.authority.server_folder(self.folder / "server")
        self.refused: list[str] = []
        self.names: list[str | None] = []
        self.ports: list[IListeningPort] = []

    @inlineCallbacks
    def tearDown(self) -> Any:
        for port in self.ports:
            yield port.stopListening()
        # Whoever is still there (a client of a thread that has ended) is cut off.
        for connection in list(Echo.open):
            connection.transport.abortConnection()
        if self.ports:
            yield self.until(lambda: not Echo.open and self.endpoint.handshakes == 0)

    @inlineCallbacks
    def until(self, condition: Any) -> Any:
        """Let the reactor turn until something is so."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            yield deferToThread(time.sleep, 0.005)

    @inlineCallbacks
    def listen(self, interface: str = "127.0.0.1", **settings: Any) -> Any:
        self.endpoint = LibvirtTLSEndpoint(
            reactor,
            0,
            Credentials.load(self.server),
            interface,
            settings=TLSSettings(**settings),
            refused=lambda where, why: self.refused.append(why),
        )
        port = yield self.endpoint.listen(Factory.forProtocol(lambda: Echo(self.names)))
        self.ports.append(port)
        self.port = port.getHost().port

    def raw(self, pair: tuple[bytes, bytes] | None = None, **kwargs: Any) -> Any:
        """What a raw client gets first; the error, if it is one."""
        folder = self.client
        if pair is not None:
            folder = self.authority.client_folder(self.folder / f"client{time.monotonic()}", pair)
        return deferToThread(first_bytes, self.authority, folder, self.port, **kwargs)

    @inlineCallbacks
    def turned_away(self, why: str, pair: tuple[bytes, bytes] | None = None, **kwargs: Any) -> Any:
        """A raw client is refused: it gets no byte, and the hook hears why."""
        before = len(self.refused)
        found = yield self.raw(pair, **kwargs)
        self.assertTrue(found == b"" or isinstance(found, OSError), found)
        yield self.until(lambda: len(self.refused) > before)
        self.assertIn(why, self.refused[-1])


class EndpointTests(EndpointTestCase):
    """Clients of the endpoint."""

    @inlineCallbacks
    def test_accepted(self) -> Any:
        yield self.listen()
        for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertEqual(b"\x01", (yield self.raw(version=version)))
        self.assertEqual(3, len(self.names))
        self.assertRegex(str(self.names[0]), "^O=trustme v.*,CN=client$")

    @inlineCallbacks
    def test_refused(self) -> Any:
        """With every version: in TLS 1.3 the client learns it only when it reads."""
        yield self.listen()
        foreign = Authority().issue("client")
        servers = self.authority.with_purpose(ExtendedKeyUsageOID.SERVER_AUTH)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            yield self.turned_away("of another authority", foreign, version=version)
            yield self.turned_away("has expired", self.authority.expired("client"), version=version)
            yield self.turned_away("is not meant for clients", servers, version=version)
        self.assertEqual([], self.names)

    @inlineCallbacks
    def test_no_certificate(self) -> Any:
        yield self.listen()
        self.client = None
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            yield self.turned_away("peer did not return a certificate", version=version)

    @inlineCallbacks
    def test_revoked(self) -> Any:
        pair = self.authority.issue("client")
        (self.server / "cacrl.pem").write_bytes(self.authority.revoke(pair[0]))
        yield self.listen()
        yield self.turned_away("has been revoked", pair)
        self.assertEqual(b"\x01", (yield self.raw()))

    @inlineCallbacks
    def test_old_versions(self) -> Any:
        yield self.listen()
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            yield self.turned_away("unsupported protocol", version=version)

    @inlineCallbacks
    def test_names(self) -> Any:
        yield self.listen(allowed_dns=["CN=alice", "CN=b*"])
        self.assertEqual(b"\x01", (yield self.raw(self.authority.sign("bob"))))
        yield self.turned_away(
            "the name is not on the list of those allowed ('CN=mallory')", self.authority.sign("mallory")
        )
        self.assertEqual(["CN=bob"], self.names)

    @inlineCallbacks
    def test_virsh_whose_name_is_not_on_the_list(self) -> Any:
        require("virsh")
        yield self.listen(allowed_dns=[])
        uri = f"test+tls://localhost:{self.port}/default?pkipath={self.client}"
        output: Output = yield deferToThread(run, ["virsh", "-c", uri, "uri"])
        self.assertNotEqual(0, output.status)
        # What docs/tls.rst says that virsh says.
        self.assertIn("server verification (of our certificate or IP address) failed", output.err)
        self.assertIn("not on the list", self.refused[0])

    @inlineCallbacks
    def test_gnutls_cli(self) -> Any:
        require("gnutls-cli")
        yield self.listen()
        output: Output = yield deferToThread(
            run,
            [
                "gnutls-cli",
                f"--x509cafile={self.client / 'cacert.pem'}",
                f"--x509certfile={self.client / 'clientcert.pem'}",
                f"--x509keyfile={self.client / 'clientkey.pem'}",
                f"--port={self.port}",
                "localhost",
            ],
        )
        self.assertIn("Description: (TLS1.3-", output.out)
        self.assertIn("- Handshake was completed", output.out)
        self.assertEqual(1, len(self.names))

    @inlineCallbacks
    def test_reload(self) -> Any:
        """A new certificate is for new clients; who is there stays, and is served."""
        yield self.listen()
        old: Raw = yield deferToThread(Raw, self.authority, self.client, self.port)
        with old:
            self.assertEqual(b"\x01", (yield deferToThread(old.read)))
            certificate, key = self.authority.issue()
            (self.server / "servercert.pem").write_bytes(certificate)
            (self.server / "serverkey.pem").write_bytes(key)
            self.endpoint.reload()
            new: Raw = yield deferToThread(Raw, self.authority, self.client, self.port)
            with new:
                self.assertNotEqual(old.serial, new.serial)
                self.assertEqual(x509.load_pem_x509_certificate(certificate).serial_number, new.serial)
                self.assertEqual(b"\x01", (yield deferToThread(new.read)))
                self.assertEqual(b"still here?", (yield deferToThread(old.ask, b"still here?")))

    @inlineCallbacks
    def test_stalled_handshakes(self) -> Any:
        """Three hundred half hellos from one host, and a client that means it is served at once."""
        yield self.listen()
        stalled = []
        try:
            for _ in range(300):
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
                stalled.append(connection)
                connection.sendall(HALF_A_HELLO)
                yield deferToThread(lambda: None)
            before = time.monotonic()
            self.assertEqual(b"\x01", (yield self.raw()))
            self.assertLess(time.monotonic() - before, 2)
            self.assertLessEqual(self.endpoint.handshakes, self.endpoint.settings.max_peer_handshakes)
            self.assertIn("it had to give way to 30 newer TLS handshakes of this peer", self.refused)
        finally:
            for connection in stalled:
                connection.close()

    @inlineCallbacks
    def test_many_at_once(self) -> Any:
        """As many as may be under way at once all get in."""
        yield self.listen()
        found = yield DeferredList([self.raw() for _ in range(20)])
        self.assertEqual([(True, b"\x01")] * 20, found)

    @inlineCallbacks
    def test_ipv6(self) -> Any:
        yield self.listen("[::1]")
        self.assertEqual(b"\x01", (yield self.raw(host="::1")))

    @inlineCallbacks
    def test_both_families(self) -> Any:
        yield self.listen("::")
        for host in ("::1", "127.0.0.1"):
            self.assertEqual(b"\x01", (yield self.raw(host=host)))

    @inlineCallbacks
    def test_scan(self) -> Any:
        yield self.listen()
        yield deferToThread(
            lambda: socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT).close()
        )
        yield self.until(lambda: self.refused)
        self.assertEqual(["it sent nothing, as a port scan does"], self.refused)


class Echo(Protocol):
    """Says what it is told, and whom it was told by."""

    open: set[Echo] = set()

    def __init__(self, names: list[str | None]) -> None:
        self.names = names

    def connectionMade(self) -> None:
        self.names.append(peer_dn(self.transport))
        self.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self.open.discard(self)
