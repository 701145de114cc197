"""virsh keeps secrets in remotevirt word for word as in libvirt's own secret driver."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.drivers.secret.secrets import UUID, secret_xml
from tests.interop.daemons import Remotevirt
from tests.interop.pair import start
from tests.interop.peers import Running, require, run_virsh

TRIES = 20
"""How often something is done until a listener has heard of it; each time it has half a second."""

DRIVER = "tests.secret_driver:SecretsOnly"
ONE, TWO, THREE = (UUID.format(number) for number in (1, 2, 3))

DOCUMENTS = {
    "one": secret_xml(1, description="it's &amp; &lt;one&gt;"),
    "other": secret_xml(1, name="/b"),
    "two": secret_xml(2, "ceph", "client.x", private="yes"),
    "public": secret_xml(2, "ceph", "client.x"),
    "three": secret_xml(3, None, ephemeral="yes"),
    "taken": secret_xml(4),
    "bad": "<secret><usage type='moon'/></secret>",
}

COMMANDS = f"""
secret-list
secret-define {{one}}
secret-define {{one}} --validate
secret-define {{other}}
secret-define {{two}}
secret-define {{public}}
secret-define {{taken}}
secret-define {{bad}}
secret-define {{bad}} --validate
secret-list
secret-list --private
secret-list --no-private
secret-list --ephemeral
secret-list --no-ephemeral
secret-dumpxml {ONE}
secret-dumpxml {THREE}
secret-get-value {ONE}
secret-set-value {ONE} --base64 AHZhbHVlAA==
secret-set-value {ONE} --file {{value}} --plain
secret-get-value {ONE}
secret-get-value {ONE} --plain
secret-set-value {TWO} --base64 AHZhbHVlAA==
secret-undefine {THREE}
secret-get-value {THREE}
secret-list
"""


class SecretTests(SynchronousTestCase):
    """A daemon with secrets, and libvirt's driver inside virsh."""

    def setUp(self) -> None:
        require("virsh", "libvirtd")
        self.folder = Path(tempfile.mkdtemp(prefix="secrets-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name, text in DOCUMENTS.items():
            (self.folder / f"{name}.xml").write_text(text)
        (self.folder / "value.xml").write_text("plain value")
        for name in ("state", "root"):
            (self.folder / name).mkdir()
        self.daemon = self.begin()

    def begin(self) -> Remotevirt:
        """Start a daemon on the folder for what lasts."""
        daemon = Remotevirt(driver=DRIVER, options=["--state", str(self.folder / "state")])
        start(self, daemon)
        return daemon

    def uri(self, daemon: Remotevirt) -> str:
        """What virsh is told."""
        return f"secret+unix:///system?socket={daemon.unix}"

    def ask(self, uri: str) -> list[tuple[str, str, str]]:
        """Give all commands, each to a new virsh; returns them with output and errors."""
        files = {name: str(self.folder / f"{name}.xml") for name in (*DOCUMENTS, "value")}
        found = []
        for line in COMMANDS.strip().format(**files).splitlines():
            output = run_virsh(uri, *line.split())
            found.append((line, output.out, output.err))
        return found

    def test_alike(self) -> None:
        """The same outputs and errors."""
        theirs = self.ask(f"secret:///embed?root={self.folder}/root")
        ours = self.ask(self.uri(self.daemon))
        self.assertIn("Secret value set", " ".join(out for _, out, _ in theirs))
        for expected, found in zip(theirs, ours, strict=True):
            self.assertEqual(_by_uuid(expected), _by_uuid(found))

    def test_killed(self) -> None:
        """What virsh was told is there after the daemon ended as in a power cut, and is in no file."""
        uri = self.uri(self.daemon)
        run_virsh(uri, "secret-define", str(self.folder / "one.xml"))
        run_virsh(uri, "secret-set-value", ONE, "--file", str(self.folder / "value.xml"), "--plain")
        self.daemon.kill()
        state = self.folder / "state" / "secrets"
        for name in os.listdir(state):
            self.assertNotIn(b"plain value", (state / name).read_bytes())
        again = run_virsh(self.uri(self.begin()), "secret-get-value", ONE, "--plain")
        self.assertEqual("plain value", again.out.strip())

    def test_events(self) -> None:
        """A client that listens hears of definitions, values and farewells."""
        uri = self.uri(self.daemon)
        lives, values = self.listen(uri, "lifecycle"), self.listen(uri, "value-changed")
        document, value = str(self.folder / "one.xml"), ("secret-set-value", ONE, "--base64", "eA==")
        run_virsh(uri, "secret-define", document)
        # listeners do not say when they are ready: try until both have heard of something
        for listener, words, command in (
            (lives, f"event 'lifecycle' for secret {ONE}: Defined", ("secret-define", document)),
            (values, f"event 'value-changed' for secret {ONE}", value),
        ):
            for _ in range(TRIES):
                self.assertEqual(0, run_virsh(uri, *command).status)
                if listener.saw(words):
                    break
            listener.wait_for(words)
        run_virsh(uri, "secret-undefine", ONE)
        lives.wait_for(f"event 'lifecycle' for secret {ONE}: Undefined")

    def listen(self, uri: str, event: str) -> Running:
        """Start a client that prints events of a kind."""
        listener = Running(["virsh", "-c", uri, "secret-event", "--event", event, "--loop"])
        self.addCleanup(listener.stop)
        return listener


def _by_uuid(found: tuple[str, str, str]) -> tuple[str, str, str]:
    """Sort the lines of a list, which libvirt gives in the order of a hash table."""
    line, out, errors = found
    if line.startswith("secret-list"):
        out = "\n".join(sorted(re.sub(r" +", " ", row) for row in out.splitlines()))
    return line, out, errors
