"""The whole daemon with real clients: how it is reloaded and ends, its ways in, what one sees of it.

Each test starts one ``twistd remotevirt`` and tells one story about it.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import textwrap
import urllib.request

from cryptography import x509

from tests.interop.configured import GUEST, PASSWORD, Configured, DaemonTestCase
from tests.interop.peers import TIMEOUT, Running, require, run, run_virsh
from tests.interop.test_browser import OPTIONS
from tests.transport.pki import Authority


class LifeTests(DaemonTestCase):
    """How it is reloaded, how it ends."""

    SLOW = """
        from twisted.internet import reactor
        from twisted.internet.task import deferLater
        from zope.interface import implementer
        from remotevirt.drivers import DriverConnection, IDriver
        from remotevirt.stubs.drivers import HypervisorDriver

        class Calls(HypervisorDriver):
            def connect_get_hostname(self):
                print("asked", flush=True)
                return deferLater(reactor, 1, lambda: "slow")

        @implementer(IDriver)
        class Slow:
            name, schemes, default_uri = "slow", ("test",), "test:///default"

            def open(self, uri, client):
                return DriverConnection(uri.text, hypervisor=Calls())
        """

    def session(self, uri: str) -> Running:
        """A virsh that is connected, and waits for commands."""
        session = Running(["virsh", "-c", uri])
        self.addCleanup(session.stop)
        session.type("uri")
        session.wait_for("test+")
        return session

    def test_drain(self) -> None:
        """SIGTERM: what runs ends, who waits is told, nobody new comes in, and the sockets are gone."""
        self.write("slow.py", textwrap.dedent(self.SLOW))
        daemon = self.daemon(driver="slow:Slow", environment={"PYTHONPATH": str(self.folder)})
        idle = self.session(daemon.uri())
        busy = Running(["virsh", "-c", daemon.uri("tcp"), "hostname"])
        self.addCleanup(busy.stop)
        self.until(daemon, lambda log: "asked" in log)
        daemon.signal(signal.SIGTERM)
        idle.wait_for("error: Disconnected from test+unix://")
        self.assertFalse(busy.saw("slow", 0), "it has ended already")
        for transport in ("unix", "unix-ro", "tcp"):
            self.assertNotEqual(0, run_virsh(daemon.uri(transport), "uri").status)
        busy.wait_for("slow")
        self.assertEqual(-signal.SIGTERM, daemon.wait())
        self.assertIn("Server Shut Down.", daemon.log())
        self.assertFalse(daemon.unix.exists())

    def test_drain_takes_so_long_at_most(self) -> None:
        self.write("slow.py", textwrap.dedent(self.SLOW).replace("reactor, 1,", "reactor, 1000,"))
        options = ("--set", "drain_timeout=1")
        daemon = self.daemon(*options, driver="slow:Slow", environment={"PYTHONPATH": str(self.folder)})
        busy = Running(["virsh", "-c", daemon.uri(), "hostname"])
        self.addCleanup(busy.stop)
        self.until(daemon, lambda log: "asked" in log)
        daemon.signal(signal.SIGTERM)
        busy.wait_for("error: ")
        self.assertEqual(-signal.SIGTERM, daemon.wait())

    def test_reload(self) -> None:
        """SIGHUP: new certificates for new clients, and the files of log and audit trail begun anew."""
        authority = Authority()
        pki = authority.server_folder(self.folder / "pki")
        client = authority.client_folder(self.folder / "client")
        log, audit = self.folder / "log", self.folder / "audit"
        outputs = ("--log-outputs", f"2:file:{log} 2:stdout", "--audit", str(audit))
        daemon = self.daemon(*outputs, pki=pki)
        tls = f"test+tls://localhost:{daemon.tls_port}/default?pkipath={client}"
        session = self.session(tls)
        self.ok(daemon.uri(), "destroy", "test")

        certificate, key = authority.issue()
        (pki / "servercert.pem").write_bytes(certificate)
        (pki / "serverkey.pem").write_bytes(b"half of it")
        self.reload(daemon)
        self.assertIn("certificates could not be reloaded, and stays as it is:", daemon.log())
        self.ok(tls, "uri")
        (pki / "serverkey.pem").write_bytes(key)
        for path in (log, audit):
            path.rename(path.with_suffix(".1"))
        self.reload(daemon)
        with socket.create_connection(("127.0.0.1", daemon.tls_port)) as plain:
            context = ssl.create_default_context(cadata=authority.pem.decode())
            context.load_cert_chain(client / "clientcert.pem", client / "clientkey.pem")
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                shown = x509.load_der_x509_certificate(wrapped.getpeercert(True) or b"")
        self.assertEqual(x509.load_pem_x509_certificate(certificate), shown)
        self.ok(tls, "start", "test")
        session.type("domstate test")
        session.wait_for("running")

        self.assertIn("reloaded audit trail, log, certificates", log.read_text())
        self.assertIn("starting up", log.with_suffix(".1").read_text())
        for path, procedure in ((audit.with_suffix(".1"), "domain_destroy"), (audit, "domain_create")):
            self.assertEqual(
                [procedure], [json.loads(line)["procedure"] for line in path.read_text().splitlines()]
            )

    def test_timeout(self) -> None:
        """It stays as long as somebody is there, and a second longer."""
        daemon = self.daemon("--timeout", "1")
        session = self.session(daemon.uri())
        self.assertRaises(subprocess.TimeoutExpired, daemon.wait, 2)
        session.type("quit")
        self.assertEqual(0, daemon.wait())


class WaysInTests(DaemonTestCase):
    """Sockets of systemd, and both families of addresses."""

    def test_sockets_of_systemd(self) -> None:
        """One of each kind, TLS with the certificates of the configuration among them."""
        authority = Authority()
        pki = authority.server_folder(self.folder / "pki", authority.issue("::1"))
        client = authority.client_folder(self.folder / "client")
        config = self.write(
            "remotevirt.conf",
            f'ca_file = "{pki}/cacert.pem"\n'
            f'cert_file = "{pki}/servercert.pem"\nkey_file = "{pki}/serverkey.pem"\n'
            'tls_allowed_dn_list = [ "*CN=client" ]\n',
        )
        sockets = {}
        for name, family, address in (
            ("remotevirt.socket", socket.AF_UNIX, f"{self.folder}/rw"),
            ("remotevirt-ro.socket", socket.AF_UNIX, f"{self.folder}/ro"),
            ("remotevirt-tcp.socket", socket.AF_INET, ("127.0.0.1", 0)),
            ("remotevirt-tls.socket", socket.AF_INET6, ("::1", 0)),
        ):
            sockets[name] = listening = socket.socket(family)
            self.addCleanup(listening.close)
            listening.bind(address)
            listening.listen()
        # Who comes while the daemon starts, waits for it.
        early = Running(["virsh", "-c", f"test+unix:///default?socket={self.folder}/rw", "list", "--name"])
        self.addCleanup(early.stop)
        daemon = self.daemon("--config", str(config), inherited=sockets, up="Listening on tls:")
        early.wait_for("test")
        port = sockets["remotevirt-tls.socket"].getsockname()[1]
        tls = f"test+tls://[::1]:{port}/default?pkipath={client}"
        self.assertIn(f"Listening on tls:[::1]:{port}\n", daemon.log())
        self.assertIn(f"virsh -c 'test+tls://[::1]:{port}/default'", daemon.log())
        self.assertEqual({"test"}, self.names(tls))
        tcp = sockets["remotevirt-tcp.socket"].getsockname()[1]
        self.assertEqual({"test"}, self.names(f"test+tcp://127.0.0.1:{tcp}/default"))
        forbidden = "error: operation forbidden: read only access prevents virDomainDestroy"
        readonly = f"test+unix:///default?socket={self.folder}/ro"
        self.refused(forbidden, readonly, "destroy", "test", readonly=True)

        (pki / "servercert.pem").write_bytes((certificate := authority.issue("::1"))[0])
        (pki / "serverkey.pem").write_bytes(certificate[1])
        config.write_text(config.read_text().replace("CN=client", "CN=nobody"))
        self.reload(daemon)
        self.assertIn("reloaded log, certificates", daemon.log())
        self.assertEqual(1, run_virsh(tls, "uri").status)
        self.assertIn("the name is not on the list of those allowed", daemon.log())
        daemon.signal(signal.SIGTERM)
        daemon.wait()
        self.assertTrue((self.folder / "rw").exists())

    def test_ipv6(self) -> None:
        authority = Authority()
        pki = authority.server_folder(self.folder / "pki", authority.issue("::1"))
        client = authority.client_folder(self.folder / "client")
        listen = (
            "--listen",
            r"tcp6:0:interface=\:\:1",
            "--listen",
            rf"libvirttls:0:pki={pki}:interface=\:\:1",
        )
        daemon = self.daemon(*listen, "--audit", str(self.folder / "audit"))
        self.until(daemon, lambda log: "Listening on tls:[::1]:" in log)
        ports = dict(re.findall(r"Listening on (\w+):\[::1\]:(\d+)", daemon.log()))
        self.assertIn(f"virsh -c 'test+tcp://[::1]:{ports['tcp']}/default'", daemon.log())
        self.ok(f"test+tcp://[::1]:{ports['tcp']}/default", "destroy", "test")
        self.ok(f"test+tls://[::1]:{ports['tls']}/default?pkipath={client}", "start", "test")
        lines = [json.loads(line) for line in (self.folder / "audit").read_text().splitlines()]
        self.assertEqual(
            [("tcp", "domain_destroy"), ("tls", "domain_create")],
            [(line["who"]["transport"], line["procedure"]) for line in lines],
        )
        for line in lines:
            self.assertRegex(line["who"]["address"], r"^::1;\d+$")


class WatchedTests(DaemonTestCase):
    """What one sees of it while virsh works."""

    def test_trace_shows_no_secrets(self) -> None:
        """Not of a login, not of a document, not of what is read back."""
        require("scram")
        users = self.users("alice")
        daemon = self.daemon(
            *["--trace", "--auth-unix-rw", "sasl", "--sasl-users", str(users)],
            *["--set", 'sasl_mechanisms=["PLAIN"]', "--audit", str(self.folder / "audit"), "--verbose"],
        )
        self.login_as("alice")
        vnc = "<devices><graphics type='vnc' port='5900' passwd='vnc-secret'/></devices></domain>"
        guest = self.write("guest.xml", GUEST.format("web").replace("</domain>", vnc))
        self.ok(daemon.uri(), "define", str(guest))
        self.assertIn("vnc-secret", self.ok(daemon.uri(), "dumpxml", "web", "--security-info"))
        self.ok(daemon.uri(), "set-user-password", "test", "root", "root-secret")
        log = daemon.log()
        self.assertIn(f'→ domain_define_xml xml="{GUEST[:20]}', log)
        self.assertIn("by PLAIN", log)
        for secret in (PASSWORD, "vnc-secret", "root-secret"):
            self.assertNotIn(secret, log + (self.folder / "audit").read_text())

    def test_metrics(self) -> None:
        """Prometheus's page by curl, and the status page in a browser, with a client at work."""
        require("chromium")
        daemon = self.daemon("--metrics", "tcp:0:interface=127.0.0.1")
        url = self.page(daemon)
        session = Running(["virsh", "-c", daemon.uri("tcp")])
        self.addCleanup(session.stop)
        for line in ("domstate test", "domstate no-such-guest", "destroy test"):
            session.type(line)
        session.wait_for("destroyed")
        text = self.fetch(f"{url}metrics")
        for line in (
            'remotevirt_calls_total{outcome="ok",procedure="domain_destroy",program="remote"} 1.0',
            'remotevirt_errors_total{code="VIR_ERR_NO_DOMAIN"',
            "remotevirt_clients{",
        ):
            self.assertIn(line, text)
        self.assertEqual("ok", self.fetch(f"{url}healthz").strip())
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            page = run(
                [
                    "env",
                    f"HOME={home}",
                    "chromium",
                    *OPTIONS,
                    f"--user-data-dir={home}/data",
                    "--dump-dom",
                    url,
                ]
            )
        self.assertEqual(0, page.status, page.err)
        for words in (">live<", "domain_destroy", "1 with an error", "shut off"):
            self.assertIn(words, page.out)
        self.assertNotIn("Content Security Policy", page.err)

    def page(self, daemon: Configured) -> str:
        """Where the daemon says that its pages are."""
        found = re.search(r"^Status and metrics on (http://127\.0\.0\.1:\d+/)$", daemon.log(), re.MULTILINE)
        assert found is not None, daemon.log()
        return found[1]

    def fetch(self, url: str) -> str:
        """Fetch a page, with its success."""
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            text: str = answer.read().decode()
        return text
