"""virsh logs in with SASL, by its auth file, and is refused where it must be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import make_keys
from remotevirt.auth.users import updating_users
from tests.interop.daemons import Remotevirt, free_port
from tests.interop.peers import Output, find_program, make_pki, require, run, run_python

SCRIPT = """
import sys
from twisted.internet import endpoints, reactor
from twisted.python import log
from remotevirt.auth import Kerberos, SaslService, users_portal
from remotevirt.drivers import load_driver
from remotevirt.server import Daemon, ServerFactory
from remotevirt.transport import parse_listener

users, keytab, unix, unix_ro, pki, *mechanisms = sys.argv[1:]
log.startLogging(sys.stdout)
daemon = Daemon([load_driver("test:keep")])
daemon.sasl = SaslService(
    users_portal(users), reactor, mechanisms, kerberos=Kerberos(keytab).context if keytab else None
)
listeners = [f"unix:{unix}", f"unix:{unix_ro}", "tcp:0:interface=127.0.0.1"]
listeners += [f"libvirttls:0:pki={pki}:interface=127.0.0.1"] if pki else []
for text in listeners:
    listener = parse_listener(reactor, text)

    def opened(port, transport=listener.transport):
        if transport != "unix":
            print(f"Listening on {transport}:127.0.0.1:{port.getHost().port}", flush=True)

    factory = ServerFactory(daemon.server, transport=listener.transport, auth="sasl")
    listener.endpoint.listen(factory).addCallback(opened).addErrback(log.err)
reactor.run()
"""
"""A daemon all of whose listeners want SASL."""

ACT_AS = """
import sys
import libvirt

uri, act_as, name, password = sys.argv[1:]
answers = {
    libvirt.VIR_CRED_USERNAME: act_as,
    libvirt.VIR_CRED_AUTHNAME: name,
    libvirt.VIR_CRED_PASSPHRASE: password,
}

def answer(credentials, _):
    for credential in credentials:
        credential[4] = answers[credential[0]]
    return 0

connection = libvirt.openAuth(uri, [list(answers), answer, None], 0)
print([domain.name() for domain in connection.listAllDomains()])
"""
"""A client that has an authorization name to give."""

PASSWORD = "a secret, with = and ü"


class SaslDaemon(Remotevirt):
    """The daemon of :data:`SCRIPT`.

    Args:
        mechanisms: what it offers.
        pki: see :class:`Daemon`.
        keytab: for GSSAPI.
        environment: for GSSAPI.
    """

    def __init__(
        self,
        mechanisms: Sequence[str],
        pki: Path | None = None,
        keytab: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(pki=pki)
        self.mechanisms = mechanisms
        self.keytab = keytab
        self.environment = dict(environment or {})
        self.users = self.directory / "users"
        names = ("SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-1")
        with updating_users(self.users) as users:
            users["alice"] = {name: make_keys(name, PASSWORD) for name in names}

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command = [sys.executable, "-c", SCRIPT, str(self.users), str(self.keytab or "")]
        command += [str(self.unix), str(self.unix_ro), str(self.pki or ""), *self.mechanisms]
        return command, {"PYTHONUNBUFFERED": "1", **self.environment}


class SaslTestCase(SynchronousTestCase):
    """Runs daemons, and virsh with an auth file."""

    def setUp(self) -> None:
        require("virsh", "scram")
        self.home = Path(self.mktemp()).absolute()
        (self.home / "libvirt").mkdir(parents=True)
        self.write_auth("alice", PASSWORD)

    def write_auth(self, username: str, password: str) -> None:
        """Write virsh's auth file."""
        (self.home / "libvirt" / "auth.conf").write_text(
            f"[credentials-here]\nauthname={username}\npassword={password}\n"
            "[auth-libvirt-localhost]\ncredentials=here\n"
            "[auth-libvirt-127.0.0.1]\ncredentials=here\n"
        )

    def daemon(self, *mechanisms: str, **options: Any) -> SaslDaemon:
        """Start a daemon; it is ended with the test."""
        daemon = SaslDaemon(mechanisms, **options)
        self.addCleanup(daemon.stop)
        daemon.start()
        return daemon

    def virsh(self, uri: str, *arguments: str, **environment: str) -> Output:
        """Run virsh."""
        variables = {"XDG_CONFIG_HOME": str(self.home), **environment}
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return run(["env", *assignments, "virsh", "-c", uri, *(arguments or ("list", "--name"))])

    def assert_in(self, output: Output) -> None:
        """It came in."""
        self.assertEqual((0, "test\n\n", ""), output)

    def assert_refused(self, output: Output, text: str = "authentication failed") -> None:
        """It was refused, and told nothing else."""
        self.assertEqual((1, ""), output[:2])
        self.assertIn(f"error: authentication failed: {text}\n", output.err)


class ScramTests(SaslTestCase):
    """SCRAM and PLAIN."""

    def test_every_mechanism(self) -> None:
        """Over a UNIX socket; which one is taken is the client's choice, or the URI's."""
        daemon = self.daemon("SCRAM-SHA-256", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-512")
        self.assert_in(self.virsh(daemon.uri()))
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"):
            self.assert_in(self.virsh(f"{daemon.uri()}&auth=sasl.{mechanism}"))
            self.assertIn(f"logged in as 'alice' by {mechanism}", daemon.log())
        self.assert_refused(
            self.virsh(f"{daemon.uri()}&auth=sasl.GSSAPI"), "SASL mechanism GSSAPI not supported by server"
        )

    def test_authorization_name(self) -> None:
        """A program that asks its user whom to act as, too, sends the name along with SCRAM and PLAIN."""
        require("libvirt-python")
        daemon = self.daemon("SCRAM-SHA-256", "PLAIN")
        for mechanism in ("SCRAM-SHA-256", "PLAIN"):
            uri = f"{daemon.uri()}&auth=sasl.{mechanism}"
            for act_as, status in (("alice", 0), ("bob", 1)):
                output = run_python(ACT_AS, uri, act_as, "alice", PASSWORD)
                self.assertEqual((status, "['test']\n" if status == 0 else ""), output[:2], output)
                if status:
                    self.assertIn("authentication failed: authentication failed", output.err)
        self.assertIn("user 'alice' asks to act as 'bob'", daemon.log())

    def test_wrong(self) -> None:
        """A password, and a name."""
        daemon = self.daemon("SCRAM-SHA-256", "PLAIN")
        self.write_auth("alice", "wrong")
        self.assert_refused(self.virsh(daemon.uri()))
        self.assertIn("user 'alice': The client keys don't match", daemon.log())
        self.assert_refused(self.virsh(f"{daemon.uri()}&auth=sasl.PLAIN"))
        self.assertIn("user 'alice': wrong password", daemon.log())
        self.write_auth("mallory", PASSWORD)
        self.assert_refused(self.virsh(daemon.uri()))
        self.assertIn("user 'mallory': no such user", daemon.log())

    def test_users_file_changes(self) -> None:
        daemon = self.daemon("SCRAM-SHA-256")
        self.assert_in(self.virsh(daemon.uri()))
        with updating_users(daemon.users) as users:
            users.clear()
        self.assert_refused(self.virsh(daemon.uri()))

    def test_tls(self) -> None:
        daemon = self.daemon("SCRAM-SHA-256", pki=make_pki(self.home / "pki"))
        self.assert_in(self.virsh(daemon.uri("tls")))
        self.write_auth("alice", "wrong")
        self.assert_refused(self.virsh(daemon.uri("tls")))

    def test_plain_tcp(self) -> None:
        """There is no mechanism that encrypts, so none is offered; libvirtd's words are the same."""
        daemon = self.daemon("SCRAM-SHA-256", "PLAIN")
        self.assert_refused(self.virsh(daemon.uri("tcp")))


class KerberosTests(SaslTestCase):
    """GSSAPI, with a Kerberos of its own on the loopback address."""

    def setUp(self) -> None:
        super().setUp()
        require("kerberos")
        self.realm = Path(tempfile.mkdtemp(prefix="realm-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(self.realm)], check=True)
        port = free_port()
        (self.realm / "krb5.conf").write_text(
            "[libdefaults]\ndefault_realm = EXAMPLE.TEST\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\n"
            f"[realms]\nEXAMPLE.TEST = {{\nkdc = 127.0.0.1:{port}\n}}\n"
            "[domain_realm]\nlocalhost = EXAMPLE.TEST\n"
        )
        (self.realm / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n"
            f"[realms]\nEXAMPLE.TEST = {{\ndatabase_name = {self.realm}/db\n"
            f"key_stash_file = {self.realm}/stash\nacl_file = {self.realm}/acl\n}}\n"
            f"[logging]\nkdc = FILE:{self.realm}/log\n"
        )
        self.environment = {
            "KRB5_CONFIG": str(self.realm / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.realm / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.realm}/tickets",
            "KRB5RCACHEDIR": str(self.realm),
        }
        self.keytab = self.realm / "keytab"
        self.call("kdb5_util", "create", "-s", "-P", "master", "-r", "EXAMPLE.TEST")
        for query in (
            "addprinc -pw joe joe",
            "addprinc -randkey libvirt/localhost",
            f"ktadd -k {self.keytab} libvirt/localhost",
        ):
            self.call("kadmin.local", "-q", query)
        self.start_kdc()

    def program(self, name: str) -> str:
        path = find_program(name)
        assert path is not None
        return path

    def call(self, name: str, *arguments: str, stdin: str = "") -> None:
        """Run one of Kerberos's programs."""
        environment = [f"{key}={value}" for key, value in self.environment.items()]
        output = run(["env", *environment, self.program(name), *arguments], stdin=stdin)
        self.assertEqual(0, output.status, output)

    def start_kdc(self) -> None:
        """Start the KDC, and wait until it says that it runs."""
        kdc = subprocess.Popen(
            [self.program("krb5kdc"), "-n"],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def stop() -> None:
            kdc.terminate()
            kdc.communicate(timeout=10)

        self.addCleanup(stop)
        assert kdc.stdout is not None
        self.assertIn("starting", kdc.stdout.readline())

    def test_encrypted_over_tcp(self) -> None:
        """A ticket lets a client in over plain TCP, and nothing of what follows can be read there."""
        daemon = self.daemon("GSSAPI", keytab=self.keytab, environment=self.environment)
        self.call("kinit", "joe", stdin="joe\n")
        with Tap(daemon.tcp_port) as tap:
            uri = f"test+tcp://localhost:{tap.port}/default"
            self.assert_in(self.virsh(uri, **self.environment))
        self.assertIn("logged in as 'joe@EXAMPLE.TEST' by GSSAPI", daemon.log())
        self.assertIn(b"GSSAPI", tap.seen)
        self.assertNotIn(b"test:///default", tap.seen)
        # Several kilobytes in one reply, and many replies.
        xml = self.virsh(
            f"test+tcp://localhost:{daemon.tcp_port}/default", "capabilities", **self.environment
        )
        self.assertEqual(0, xml.status)
        self.assertTrue(xml.out.rstrip().endswith("</capabilities>"))

    def test_protected_transport(self) -> None:
        daemon = self.daemon("GSSAPI", "SCRAM-SHA-256", keytab=self.keytab, environment=self.environment)
        self.call("kinit", "joe", stdin="joe\n")
        self.assert_in(self.virsh(f"{daemon.uri()}&auth=sasl.GSSAPI", **self.environment))

    def test_no_ticket(self) -> None:
        daemon = self.daemon("GSSAPI", keytab=self.keytab, environment=self.environment)
        output = self.virsh(f"test+tcp://localhost:{daemon.tcp_port}/default", **self.environment)
        self.assertEqual((1, ""), output[:2])
        self.assertIn("Failed to start SASL negotiation", output.err)


class Tap:
    """Passes one connection on to a port, and keeps what went through."""

    def __init__(self, target: int) -> None:
        import threading

        self.seen = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._target = target
        self._thread = threading.Thread(target=self._pass, daemon=True)

    def __enter__(self) -> Tap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)

    def _pass(self) -> None:
        import select

        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        with client, server:
            while True:
                for end in select.select([client, server], [], [], 30)[0] or [client]:
                    try:
                        data = end.recv(65536)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    self.seen += data
                    (server if end is client else client).sendall(data)
