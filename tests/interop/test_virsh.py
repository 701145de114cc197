"""virsh manages guests through remotevirt over every transport, word for word as through a real libvirtd."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.daemons import Daemon, Remotevirt
from tests.interop.pair import Pair, start
from tests.interop.peers import Output, Running, make_pki, require, run, run_virsh

GUEST = """<domain type='test'><name>guest</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
<title>A title</title><memory>65536</memory><vcpu>2</vcpu><os><type arch='i686'>hvm</type></os></domain>
"""
MARKER = "<domain type='test'><name>marker</name><memory>65536</memory><os><type>hvm</type></os></domain>"

LIFE = """
uri
version
hostname
nodeinfo
list --all
define {guest}
define {guest}
list --all
list --all --uuid
list --all --title
list --inactive --name
dominfo guest
domstate guest --reason
start guest
start guest
domid guest
domstate guest --reason
suspend guest
domstate guest --reason
resume guest
domstate guest --reason
reboot guest
dumpxml guest
dumpxml guest --inactive --security-info
dommemstat guest
domstats guest --state --balloon --vcpu
setmem guest 32768
setvcpus guest 1
vcpucount guest
vcpuinfo guest
schedinfo guest
desc guest
metadata guest --uri http://example.org/ns --key ex --set <data/>
metadata guest --uri http://example.org/ns
autostart guest
autostart guest --disable
shutdown guest
domstate guest --reason
start guest --paused
domstate guest --reason
destroy guest
domstate guest --reason
domrename guest other
undefine other
undefine other
domstate nothing
list --all
create {guest}
undefine guest
dominfo guest
destroy guest
list --all --transient
destroy test
start test
dominfo test
capabilities
maxvcpus
freecell
"""
"""One virsh each, on a fresh connection; the words are split at spaces."""

EVENTFUL = """
define {guest}
start guest
suspend guest
resume guest
reboot guest
shutdown guest
start guest --paused
resume guest
destroy guest
undefine guest
create {guest}
destroy guest
"""

VOLATILE = ("CPU time:", "Used memory:  ")
"""Lines that depend on the time of day, by their beginning."""


def steady(output: Output) -> Output:
    """An output without what changes from second to second."""
    lines = [line for line in output.out.splitlines() if not line.startswith(VOLATILE)]
    return Output(output.status, "\n".join(lines), output.err)


class VirshTests(SynchronousTestCase):
    """Every transport."""

    def setUp(self) -> None:
        require("virsh")
        folder = Path(self.mktemp()).resolve()
        self.pki = make_pki(folder / "pki")
        self.guest = folder / "guest.xml"
        self.guest.write_text(GUEST)

    def _commands(self, text: str) -> list[list[str]]:
        return [line.format(guest=self.guest).split() for line in text.strip().splitlines()]

    def _compare_lives(self, transport: str) -> None:
        pair = Pair(self, pki=self.pki)
        differing = []
        for command in self._commands(LIFE):
            theirs, ours = (steady(run_virsh(daemon.uri(transport), *command)) for daemon in pair.daemons)
            if command == ["uri"]:
                theirs, ours = (
                    Output(output.status, output.out.replace(daemon.uri(transport), "URI"), output.err)
                    for output, daemon in zip((theirs, ours), pair.daemons, strict=True)
                )
            if theirs != ours:
                differing.append(f"virsh {' '.join(command)}\n  libvirtd   {theirs}\n  remotevirt {ours}")
        if differing:
            self.fail("\n".join(differing))

    def test_life_over_unix(self) -> None:
        """A guest's life, every command on its own connection, over the UNIX socket."""
        self._compare_lives("unix")

    def test_life_over_tcp(self) -> None:
        """The same over TCP."""
        self._compare_lives("tcp")

    def test_life_over_tls(self) -> None:
        """The same over TLS, the client showing its certificate."""
        self._compare_lives("tls")

    def test_read_only(self) -> None:
        """``virsh -r`` may look and may not change."""
        pair = Pair(self)
        for command in ("list --all", "dominfo test", "destroy test", "dumpxml test --security-info"):
            theirs, ours = (
                steady(run_virsh(daemon.uri("unix-ro"), *command.split(), readonly=True))
                for daemon in pair.daemons
            )
            self.assertEqual(theirs, ours, command)
        self.assertEqual(
            run_virsh(pair.remotevirt.uri("unix-ro"), "destroy", "test", readonly=True).status, 1
        )

    def test_one_shell(self) -> None:
        """The same life again on a single connection: what a shell prints."""
        pair = Pair(self)
        lines = [" ".join(command) for command in self._commands(LIFE) if command != ["uri"]]
        script = "\n".join(lines) + "\n"
        theirs, ours = (steady(run_virsh(daemon.uri(), stdin=script)) for daemon in pair.daemons)
        self.assertEqual(theirs.out.splitlines(), ours.out.splitlines())
        self.assertEqual(theirs.err.splitlines(), ours.err.splitlines())

    def _events(self, daemon: Daemon, *options: str) -> list[str]:
        """The lines of ``virsh event`` while another virsh leads a guest through its life."""
        marker = self.guest.with_name("marker.xml")
        marker.write_text(MARKER)
        watcher = Running(["virsh", "-c", daemon.uri(), "event", "--loop", *options])
        self.addCleanup(watcher.stop)
        # Nothing says when virsh has subscribed but the first event it prints.
        while not watcher.saw("marker"):
            run_virsh(daemon.uri(), "define", str(marker))
            run_virsh(daemon.uri(), "undefine", "marker")
        for command in self._commands(EVENTFUL):
            run_virsh(daemon.uri(), *command)
        run_virsh(daemon.uri(), "destroy", "test")
        watcher.wait_for("'test': Stopped")
        return [line for line in watcher.lines if "marker" not in line]

    def test_events(self) -> None:
        """``virsh event`` prints the same lifecycle events, for all domains and for all kinds of events."""
        pair = Pair(self)
        for options in (["--event", "lifecycle"], ["--all"]):
            theirs, ours = (self._events(daemon, *options) for daemon in pair.daemons)
            self.assertGreater(len(ours), 8)
            self.assertEqual(theirs, ours, str(options))
            for daemon in pair.daemons:
                run_virsh(daemon.uri(), "start", "test")

    def test_keepalive(self) -> None:
        """A virsh that asks for signs of life each second stays connected while nothing else happens."""
        daemon = Remotevirt()
        start(self, daemon)
        command = ["virsh", "-k", "1", "-K", "1", "-c", daemon.uri()]
        output = run([*command, "event", "--event", "lifecycle", "--timeout", "4"])
        self.assertEqual(output.err, "")
        self.assertEqual(output.out, "event loop timed out\nevents received: 0\n\n")

    def test_second_client_sees_the_first_ones_guest(self) -> None:
        """The option ``keep`` holds the world while nobody is connected."""
        daemon = Remotevirt()
        start(self, daemon)
        self.assertEqual(run_virsh(daemon.uri(), "define", str(self.guest)).status, 0)
        self.assertIn("guest", run_virsh(daemon.uri(), "list", "--all").out)

    def test_world_ends_with_its_last_connection(self) -> None:
        """Without ``keep`` the world is libvirt's: made anew when the last client has gone."""
        daemon = Remotevirt(driver="test")
        start(self, daemon)
        self.assertEqual(run_virsh(daemon.uri(), "define", str(self.guest)).status, 0)
        self.assertNotIn("guest", run_virsh(daemon.uri(), "list", "--all").out)
