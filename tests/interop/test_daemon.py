"""The whole daemon with real clients: who may come in, what each may do, what is written down, how it ends.

Each test starts one ``twistd remotevirt`` and tells one story about it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import make_keys
from remotevirt.auth.users import updating_users
from tests.daemons import TWISTD
from tests.interop.daemons import DaemonError, Remotevirt
from tests.interop.pair import arguments
from tests.interop.peers import TIMEOUT, Running, require, run, run_virsh
from tests.interop.test_browser import OPTIONS
from tests.transport.pki import Authority
from tests.wire import REMOTE, Closed, WireClient, pack_string

GUEST = "<domain type='test'><name>{}</name><memory>8192</memory><os><type>hvm</type></os></domain>"

PASSWORD = "a secret that no log may hold"


class Configured(Remotevirt):
    """A daemon with sockets in the usual places, which gets its configuration from a file.

    Args:
        options: of ``twistd remotevirt``.
        inherited: sockets that systemd would hand over, by their units' names.
        environment: what to add to the daemon's.
        up: what it prints when it serves.
    """

    def __init__(
        self,
        options: Sequence[str],
        inherited: Mapping[str, socket.socket] | None = None,
        environment: Mapping[str, str] | None = None,
        up: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(options=options, **kwargs)
        self.environment = dict(environment or {})
        self.inherited = dict(inherited or {})
        self.passed = [listening.fileno() for listening in self.inherited.values()]
        self.up = up

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        if not self.inherited:
            command, environment = super()._command()
            return command, {**environment, **self.environment}
        # A shell puts the sockets where systemd would.
        moves = " ".join(f"{3 + index}<&{number}" for index, number in enumerate(self.passed))
        shell = f'exec "$0" "$@" {moves}'
        command = [
            "bash",
            "-c",
            shell,
            sys.executable,
            "-c",
            TWISTD,
            "--nodaemon",
            "--pidfile=",
            "remotevirt",
        ]
        command += ["--driver", self.driver, *self.options]
        names = ":".join(self.inherited)
        return command, {
            "PYTHONUNBUFFERED": "1",
            "LISTEN_FDS": str(len(self.passed)),
            "LISTEN_FDNAMES": names,
        }

    def _is_up(self) -> bool:
        return self.up in self.log() if self.up else super()._is_up()

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = TIMEOUT) -> int:
        """Wait until the process has ended by itself; returns its status, negative for a signal."""
        assert self._process is not None
        return self._process.wait(seconds)


class DaemonTestCase(SynchronousTestCase):
    """Runs daemons and clients in a folder of its own."""

    def setUp(self) -> None:
        require("virsh")
        made = tempfile.TemporaryDirectory(prefix="daemon-")  # short, for the paths of sockets
        self.addCleanup(made.cleanup)
        self.folder = Path(made.name)

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def daemon(self, *options: str, **kwargs: Any) -> Configured:
        """Start a daemon; it is ended with the test."""
        daemon = Configured(options, **kwargs)
        self.addCleanup(daemon.stop)
        daemon.start()
        return daemon

    def until(self, daemon: Configured, condition: Callable[[str], Any]) -> None:
        """Wait until a daemon's log is as wanted."""
        self.assertTrue(daemon.wait_for_log(condition, TIMEOUT), daemon.log())

    def reload(self, daemon: Configured) -> None:
        """Send SIGHUP, and wait until that has been done."""
        before = daemon.log().count("reloaded ")
        daemon.signal(signal.SIGHUP)
        self.until(daemon, lambda log: log.count("reloaded ") > before)

    def ok(self, uri: str, *command: str, stdin: str = "", **kwargs: Any) -> str:
        """Run virsh, which succeeds; what it printed."""
        output = run_virsh(uri, *command, stdin=stdin, **kwargs)
        self.assertEqual((0, ""), (output.status, output.err), output)
        return output.out

    def refused(self, text: str, uri: str, *command: str, **kwargs: Any) -> None:
        """Run virsh, which fails with this as its last words."""
        output = run_virsh(uri, *command, **kwargs)
        self.assertEqual(1, output.status, output)
        self.assertTrue(output.err.rstrip().endswith(text), output)

    def names(self, uri: str, **kwargs: Any) -> set[str]:
        """The domains that a client sees."""
        return set(self.ok(uri, "list", "--all", "--name", **kwargs).split())

    def users(self, *names: str) -> Path:
        """Make a file of users; all have the same password."""
        path = self.folder / "users"
        with updating_users(path) as users:
            for name in names:
                users[name] = {"SCRAM-SHA-256": make_keys("SCRAM-SHA-256", PASSWORD)}
        return path

    def login_as(self, name: str, password: str = PASSWORD) -> None:
        """Let virsh log in as somebody from now on."""
        path = self.write(
            "auth.conf",
            f"[credentials-here]\nauthname={name}\npassword={password}\n"
            "[auth-libvirt-default]\ncredentials=here\n",
        )
        self.patch(os, "environ", {**os.environ, "LIBVIRT_AUTH_FILE": str(path)})


class RightsTests(DaemonTestCase):
    """A policy, and clients who show who they are in three ways."""

    EVERYBODY = """
        [[rule]]
        who = "*"
        allow = ["connect:getattr", "connect:read", "connect:search_domains"]
        """

    def setUp(self) -> None:
        super().setUp()
        self.audit = self.folder / "audit.log"

    def rule(self, who: str, name: str, allow: str = '["read-only", "domain:start", "domain:stop"]') -> str:
        return f"""
            [[rule]]
            who = "{who}"
            allow = {allow}
            on = {{ name = "{name}" }}
            """

    def watch(self, daemon: Configured, uri: str) -> Running:
        """Watch lifecycle events; returns when the daemon knows of it."""
        answered = "← connect_domain_event_callback_register_any"
        before = daemon.log().count(answered)
        watcher = Running(["virsh", "-c", uri, "event", "--event", "lifecycle", "--loop"])
        self.addCleanup(watcher.stop)
        self.until(daemon, lambda log: log.count(answered) > before)
        return watcher

    def trail(self) -> list[dict[str, Any]]:
        """The audit trail so far."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def of(self, name: str, procedure: str) -> list[tuple[str, str]]:
        """What the trail says of somebody's calls: the outcome, and the name of the object."""
        return [
            (line["outcome"], line.get("object", {}).get("name", ""))
            for line in self.trail()
            if line["event"] == "call" and line["procedure"] == procedure and line["who"]["name"] == name
        ]

    def check_rights(self, daemon: Configured, uris: Mapping[str, str]) -> None:
        """Each of these clients sees its own domain, starts it, and hears of it; and nothing of others'."""
        watchers = {name: self.watch(daemon, uri) for name, uri in uris.items()}
        for name, uri in uris.items():
            self.assertEqual({name}, self.names(uri))
            self.assertIn(f"Domain '{name}' started", self.ok(uri, "start", name))
            denied = "error: access denied: 'domain' denied 'suspend' access"
            self.refused(denied, uri, "suspend", name)
            for other in {*uris, "test"} - {name}:
                self.refused(f"error: failed to get domain '{other}'", uri, "domstate", other)
        for name, uri in uris.items():
            self.ok(uri, "destroy", name)
        for name, watcher in watchers.items():
            watcher.wait_for(f"'{name}': Stopped")
            self.assertEqual({name}, set(re.findall(r"for domain '([^']*)'", "\n".join(watcher.lines))))

    def test_uid_and_certificate(self) -> None:
        """The user of a UNIX socket and the owner of a certificate."""
        authority = Authority()
        pki = self.folder / "pki"
        authority.server_folder(pki)
        for name in ("client", "stranger"):
            authority.client_folder(self.folder / name, authority.sign(name))
        policy = self.write("policy.toml", f'[[rule]]\nwho = "uid:{os.getuid()}"\nallow = "all"\n')
        daemon = self.daemon("--policy", str(policy), "--audit", str(self.audit), "--trace", pki=pki)
        unix = daemon.uri()
        tls = f"test+tls://localhost:{daemon.tls_port}/default?pkipath="
        for name in ("web-1", "db-1"):
            self.ok(unix, "define", str(self.write("guest.xml", GUEST.format(name))))
        self.assertEqual({"test", "web-1", "db-1"}, self.names(unix))
        self.refused(
            "error: access denied: 'connect' denied 'getattr' access", f"{tls}{self.folder}/client", "uri"
        )

        broken = policy.read_text() + '\n[[rule]]\nwho = "dn:*"\nallow = ["domain:strat"]\n'
        policy.write_text(broken)
        self.reload(daemon)
        self.assertRegex(
            daemon.log(),
            "policy could not be reloaded, and stays as it is: .*policy.toml:7: rule 2: allow: "
            "no permission 'strat' of object 'domain'; did you mean 'start'",
        )
        self.assertEqual({"test", "web-1", "db-1"}, self.names(unix))

        policy.write_text(
            self.EVERYBODY + self.rule(f"uid:{os.getuid()}", "web-*") + self.rule("dn:CN=client", "db-*")
        )
        self.reload(daemon)
        self.check_rights(daemon, {"web-1": unix, "db-1": f"{tls}{self.folder}/client"})
        self.assertEqual(set(), self.names(f"{tls}{self.folder}/stranger"))
        forbidden = "error: operation forbidden: read only access prevents virDomainCreate"
        self.refused(forbidden, daemon.uri("unix-ro"), "start", "web-1", readonly=True)

        user = "root" if os.getuid() == 0 else None
        if user is not None:
            self.assertEqual([("ok", "web-1"), ("ok", "db-1")], self.of(user, "domain_define_xml"))
            self.assertEqual([("ok", "web-1")], self.of(user, "domain_create"))
        self.assertEqual([("ok", "db-1")], self.of("CN=client", "domain_create"))
        self.assertEqual([("denied", "db-1")], self.of("CN=client", "domain_suspend"))
        (line,) = [
            line
            for line in self.trail()
            if line["event"] == "call"
            and line["procedure"] == "domain_suspend"
            and line["who"]["transport"] == "tls"
        ]
        self.assertRegex(line["who"]["address"], r"^127\.0\.0\.1;\d+$")
        self.assertEqual("VIR_ERR_ACCESS_DENIED", line["error"]["name"])

    def test_sasl(self) -> None:
        """Users who log in, over a UNIX socket and over TLS."""
        require("scram")
        authority = Authority()
        pki = authority.server_folder(self.folder / "pki")
        client = authority.client_folder(self.folder / "client")
        users = self.users("admin", "alice", "bob")
        policy = self.write(
            "policy.toml",
            self.EVERYBODY
            + '[[rule]]\nwho = "sasl:admin"\nallow = "all"\n'
            + self.rule("sasl:alice", "web-*")
            + self.rule("sasl:bob", "db-*"),
        )
        daemon = self.daemon(
            *["--policy", str(policy), "--audit", str(self.audit), "--trace", "--sasl-users", str(users)],
            *["--auth-unix-rw", "sasl", "--auth-tls", "sasl"],
            pki=pki,
        )
        tls = f"test+tls://localhost:{daemon.tls_port}/default?pkipath={client}"
        self.login_as("admin")
        for name in ("web-1", "db-1"):
            self.ok(daemon.uri(), "define", str(self.write("guest.xml", GUEST.format(name))))
        self.assertEqual({"test", "web-1", "db-1"}, self.names(tls))
        self.login_as("alice")
        self.check_rights(daemon, {"web-1": daemon.uri()})
        self.login_as("bob")
        self.check_rights(daemon, {"db-1": tls})
        self.assertEqual([("ok", "web-1")], self.of("alice", "domain_create"))
        self.assertEqual([("ok", "db-1")], self.of("bob", "domain_create"))
        self.assertEqual([("denied", "db-1")], self.of("bob", "domain_suspend"))

        # Nobody comes in with the wrong password, and then for a while nobody from here under that name.
        self.login_as("bob", "wrong")
        for _ in range(7):
            self.refused("error: authentication failed: authentication failed", tls, "uri")
        refusals = [line for line in self.trail() if line["event"] == "refused"]
        self.assertEqual(7, len(refusals))
        self.assertEqual("denied", refusals[0]["outcome"])
        self.assertIn("user 'bob'", refusals[0]["reason"])
        self.assertIn("has failed 6 times", refusals[-1]["reason"])

        # A user who is taken out of the file is out at once; the others stay.
        with updating_users(users) as known:
            del known["alice"]
        self.login_as("alice")
        self.refused("error: authentication failed: authentication failed", daemon.uri(), "uri")
        self.login_as("admin")
        self.ok(daemon.uri(), "uri")
        self.assertNotIn(PASSWORD, daemon.log() + self.audit.read_text())


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


class RoomTests(DaemonTestCase):
    """Limits, and what is not offered, over real sockets."""

    def test_max_clients(self) -> None:
        """On each listener by itself; who leaves makes room; refusals do not fill log or audit trail."""
        audit = self.folder / "audit"
        daemon = self.daemon("--max-clients", "2", "--audit", str(audit))
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
        self.assertLess(daemon.log().count("(max_clients)"), 100)
        self.assertLess(len(audit.read_text().splitlines()), 500)
        first.close()
        # its place is free once the daemon has noticed, which no peer is told
        admitted = any(run_virsh(daemon.uri(), "uri").status == 0 for _ in range(100))
        self.assertTrue(admitted, daemon.log())

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
