"""Who may do what: a policy, clients who show who they are, and the audit trail."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from remotevirt.auth.users import updating_users
from tests.interop.configured import GUEST, PASSWORD, Configured, DaemonTestCase
from tests.interop.peers import Running, require
from tests.transport.pki import Authority


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
