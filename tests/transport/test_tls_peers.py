"""TLS with other implementations: the real virsh (GnuTLS), and Python's own OpenSSL, against the daemon."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread

from tests.daemons import Process, ProcessTestCase
from tests.interop.peers import require, run
from tests.transport.pki import Authority

QUIET = "tests.quiet_driver:QuietDriver"


class PeerTests(ProcessTestCase):
    """Clients of the daemon's TLS listener."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.folder = Path(os.path.abspath(self.mktemp()))

    @inlineCallbacks
    def serve(self, crl: bytes | None = None) -> Any:
        """Start a daemon; returns its process, with the port in ``port``."""
        folder = self.authority.server_folder(self.folder / "server", crl=crl)
        process: Any = self.twistd(
            "--driver", QUIET, "--listen", f"libvirttls:0:interface=127.0.0.1:pki={folder}"
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
    def raw(self, process: Any, pair: tuple[bytes, bytes] | None) -> Any:
        """Connect with Python's ssl; returns what the daemon says first, or the error."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if pair is not None:
            folder = self.authority.client_folder(self.folder / "raw", pair)
            context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")

        def talk() -> bytes | Exception:
            try:
                with (
                    socket.create_connection(("127.0.0.1", process.port), timeout=20) as plain,
                    context.wrap_socket(plain, server_hostname="localhost") as secure,
                ):
                    return secure.recv(10)
            except OSError as error:
                return error

        return (yield deferToThread(talk))

    @inlineCallbacks
    def test_virsh(self) -> Any:
        require("virsh")
        output = yield self.virsh((yield self.serve()))
        self.assertEqual("", output.err)
        self.assertIn("test+tls://localhost", output.out)

    @inlineCallbacks
    def test_virsh_with_a_revoked_certificate(self) -> Any:
        require("virsh")
        pair = self.authority.issue("client")
        process = yield self.serve(self.authority.revoke(pair[0]))
        output = yield self.virsh(process, pair)
        self.assertNotEqual(0, output.status)
        yield process.line("TLS client 127.0.0.1 port .* refused: the certificate has been revoked")

    @inlineCallbacks
    def test_raw_client(self) -> Any:
        process = yield self.serve()
        self.assertEqual(b"\x01", (yield self.raw(process, self.authority.issue("client"))))

    @inlineCallbacks
    def refused(self, process: Process, pair: tuple[bytes, bytes] | None, why: str) -> Any:
        found = yield self.raw(process, pair)
        self.assertIsInstance(found, OSError)
        yield process.line(f"TLS client 127.0.0.1 port .* refused: {why}")

    @inlineCallbacks
    def test_raw_client_without_certificate(self) -> Any:
        yield self.refused((yield self.serve()), None, "peer did not return a certificate")

    @inlineCallbacks
    def test_raw_client_of_another_authority(self) -> Any:
        process = yield self.serve()
        yield self.refused(process, Authority().issue("client"), "the certificate is of another authority")

    @inlineCallbacks
    def test_raw_client_with_an_expired_certificate(self) -> Any:
        process = yield self.serve()
        yield self.refused(process, self.authority.expired("client"), "the certificate has expired")
