"""Limits, and what is not offered, over real sockets."""

from __future__ import annotations

import json
import socket

from tests.interop.configured import PASSWORD, DaemonTestCase
from tests.interop.daemons import DaemonError
from tests.interop.pair import arguments
from tests.interop.peers import TIMEOUT, Running, require, run_virsh
from tests.wire import REMOTE, Closed, WireClient, pack_string


class RoomTests(DaemonTestCase):
    """Limits, and what is not offered, over real sockets."""

    def test_max_clients(self) -> None:
        """On each listener by itself; who leaves makes room; refusals do not fill log or audit trail."""
        audit = self.folder / "audit"
        daemon = self.daemon("--max-clients", "2", "--audit", str(audit), "--trace")
        self.ok(daemon.uri(), "uri")  # whoever looked whether it is up has gone by now
        first, second = (WireClient(str(daemon.unix)) for _ in range(2))
        for client in (first, second):
            self.addCleanup(client.close)
            client.open()
        self.assertNotEqual(0, run_virsh(daemon.uri(), "uri").status)
        self.ok(daemon.uri("tcp"), "uri")
        self.assertIn("2 clients are connected (max_clients)", daemon.log())
        (line,) = [json.loads(line) for line in audit.read_text().splitlines()]
        self.assertEqual(("refused", "denied"), (line["event"], line["outcome"]))
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as visitor:
                visitor.connect(str(daemon.unix))
                visitor.settimeout(TIMEOUT)
                self.assertEqual(b"", visitor.recv(1))
        logged = [line for line in daemon.log().splitlines() if "✗ refused" not in line]  # that is the trace
        self.assertLess("\n".join(logged).count("(max_clients)"), 100)
        self.assertLess(len(audit.read_text().splitlines()), 500)
        gone = daemon.log().count("- left:")
        first.close()
        self.until(daemon, lambda log: log.count("- left:") > gone)
        self.ok(daemon.uri(), "uri")

    def test_max_anonymous_clients(self) -> None:
        """Those who only connect keep nobody out who logs in; those who have logged in stay."""
        require("scram")
        daemon = self.daemon(
            *["--auth-unix-rw", "sasl", "--sasl-users", str(self.users("alice"))],
            *["--set", "max_anonymous_clients=2"],
        )
        self.login_as("alice")
        session = Running(["virsh", "-c", daemon.uri()])
        self.addCleanup(session.stop)
        session.type("domstate test")
        session.wait_for("running")
        idle = [WireClient(str(daemon.unix)) for _ in range(5)]
        for client in idle:
            self.addCleanup(client.close)
        self.ok(daemon.uri(), "uri")
        for client in idle[:3]:
            self.assertRaises(Closed, client.receive)
        session.type("domuuid test")
        session.wait_for("6695eb01-")

    def test_anonymous_clients_without_a_bound(self) -> None:
        """0 is none, as for libvirtd."""
        require("scram")
        users = ("--auth-unix-rw", "sasl", "--sasl-users", str(self.users("alice")))
        daemon = self.daemon(*users, "--set", "max_anonymous_clients=0")
        idle = [WireClient(str(daemon.unix)) for _ in range(30)]
        for client in idle:
            self.addCleanup(client.close)
        self.login_as("alice")
        self.ok(daemon.uri(), "uri")
        for client in idle:
            self.assertEqual(0, client.call(REMOTE, 66).status)

    def test_nothing_weak_over_tcp(self) -> None:
        """What does not encrypt is not offered; PLAIN is not even where the operator says all is well."""
        require("scram")
        users = ("--auth-tcp", "sasl", "--sasl-users", str(self.users("alice")))
        error = self.assertRaises(DaemonError, self.daemon, *users)
        self.assertIn("no SASL mechanism", str(error))
        more = ("--set", 'sasl_mechanisms=["PLAIN", "SCRAM-SHA-256"]', "--set", "tcp_min_ssf=0")
        daemon = self.daemon(*users, *more)
        with WireClient(("127.0.0.1", daemon.tcp_port)) as client:
            self.assertEqual(0, client.call(REMOTE, 66).status)
            self.assertEqual(pack_string("SCRAM-SHA-256"), client.call(REMOTE, 67).payload)
            message = arguments("auth_sasl_start", "PLAIN", 0, f"\0alice\0{PASSWORD}".encode())
            self.assertEqual(1, client.call(REMOTE, 68, message).status)
        self.assertRegex(daemon.log(), "authentication of .* failed: .*PLAIN")
        self.assertNotIn(PASSWORD, daemon.log())
