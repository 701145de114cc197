"""What a daemon with a state folder asks of the kernel, in which order, and what it does when that fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.durability.objects import call, ref_of
from tests.interop.daemons import Remotevirt
from tests.interop.pair import start
from tests.interop.peers import require
from tests.wire import Frame, WireClient

CALLS = "fdatasync,fsync,pwrite64,ftruncate,sendto,sendmsg,write,writev"
"""What a store and a socket are written with."""


def document(name: str) -> str:
    """A small domain."""
    return (
        f"<domain type='test'><name>{name}</name><memory>1024</memory><vcpu>1</vcpu>"
        "<os><type>hvm</type></os></domain>"
    )


class Strace:
    """strace, attached to a daemon.

    Args:
        pid: the process.
        output: where it writes.
        options: what to trace, and what to let fail.
    """

    def __init__(self, pid: int, output: str, *options: str) -> None:
        command = ["strace", "-f", "-y", "-p", str(pid), "-o", output, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if b"attached" not in line:
            raise AssertionError(f"strace: {line!r}")
        self.output = output

    def detach(self) -> str:
        """Let go of the daemon; returns what was written."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process.wait()
        return Path(self.output).read_text(errors="replace")


class StateCase(SynchronousTestCase):
    """A daemon with a state folder, and two clients."""

    def setUp(self) -> None:
        require("strace")
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(f"{self.folder}/state")
        self.daemon = self.start()

    def start(self) -> Remotevirt:
        """Start a daemon."""
        daemon = Remotevirt(driver="test", options=["--state", f"{self.folder}/state"])
        start(self, daemon)
        self.client = self.connect(daemon)
        return daemon

    def connect(self, daemon: Remotevirt) -> WireClient:
        """Connect a client."""
        client = WireClient(str(daemon.unix))
        self.addCleanup(client.close)
        client.open()
        return client

    def trace(self, *options: str) -> Strace:
        """Attach strace."""
        tracer = Strace(self.daemon.pid, f"{self.folder}/trace", *options)
        self.addCleanup(tracer.process.kill)
        return tracer

    def define(self, name: str) -> Frame:
        """Define a domain."""
        return call(self.client, "domain_define_xml", document(name))

    def has(self, name: str) -> bool:
        """Whether there is a domain."""
        return call(self.client, "domain_lookup_by_name", name).status == 0

    def error(self, reply: Frame) -> str:
        """The text of a reply that is an error."""
        self.assertEqual(1, reply.status)
        return reply.payload.decode(errors="replace")


class OrderTests(StateCase):
    """The disk before the wire."""

    def test_synced_before_it_is_said(self) -> None:
        """Between the last write to the log and the reply, or an event, the log goes to the disk."""
        listener = self.connect(self.daemon)
        call(listener, "connect_domain_event_register")
        tracer = self.trace("-e", f"trace={CALLS}")
        count = 12
        for number in range(count):
            self.assertEqual(0, self.define(f"d{number}").status)
        trace = tracer.detach()
        steps = "".join(self._step(line) for line in trace.splitlines())
        # pages into the log, the log onto the disk, then one event and one reply: so for each call; when the
        # log is new its header goes to the disk by itself
        self.assertRegex(steps, f"^((W+S)+PP){{{count}}}$")

    @staticmethod
    def _step(line: str) -> str:
        """W: something is written into the store's log; S: it goes to the disk; P: a client is told."""
        if re.search(r"pwrite64\(\d+<[^>]*default\.db-wal>", line):
            return "W"
        if re.search(r"f(data)?sync\(\d+<[^>]*default\.db-wal>\)\s+= 0", line):
            return "S"
        if re.search(r"(sendto|sendmsg|writev?)\(\d+<(UNIX|socket|TCP)", line):
            return "P"
        return "" if "default.db" not in line else "?"

    def test_the_check_would_notice(self) -> None:
        """With SQLite's synchronous off the same trace has no step to the disk."""
        self.daemon.stop()
        daemon = Remotevirt(
            driver="tests.durability.drivers:UnsyncedDriver", options=["--state", f"{self.folder}/state"]
        )
        start(self, daemon)
        self.daemon, self.client = daemon, self.connect(daemon)
        tracer = self.trace("-e", f"trace={CALLS}")
        self.assertEqual(0, self.define("a").status)
        steps = "".join(self._step(line) for line in tracer.detach().splitlines())
        self.assertRegex(steps, "^W+P$")


class FailureTests(StateCase):
    """Calls to the kernel that fail."""

    def test_fsync(self) -> None:
        """A change that did not reach the disk is refused, and so is every other until the next start."""
        self.assertEqual(0, self.define("before").status)
        tracer = self.trace("-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO")
        self.assertIn("cannot keep this change", self.error(self.define("lost")))
        tracer.detach()
        self.assertFalse(self.has("lost"))
        self.assertTrue(self.has("before"))
        self.assertIn("until the daemon is started anew", self.error(self.define("later")))
        self.assertEqual(0, call(self.client, "domain_suspend", ref_of_default()).status)
        self.assertIn("nothing can be changed", self.daemon.log())
        self.daemon.kill()
        self.daemon = self.start()
        self.assertTrue(self.has("before"))
        self.assertFalse(self.has("later"))
        self.assertEqual(0, self.define("later").status)

    def test_no_space(self) -> None:
        """A full disk refuses changes as long as it is full; everything is served."""
        tracer = self.trace("-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC")
        self.assertIn("full", self.error(self.define("a")))
        self.assertFalse(self.has("a"))
        self.assertTrue(self.has("test"))
        tracer.detach()
        self.assertEqual(0, self.define("a").status)
        self.daemon.kill()
        self.daemon = self.start()
        self.assertTrue(self.has("a"))


def ref_of_default() -> Any:
    """The reference to the domain that every world begins with."""
    return ref_of("test")._replace(uuid=bytes.fromhex("6695eb01f6a4830479aa97f2502e193f"))


class DaemonTests(StateCase):
    """The daemon around it."""

    def test_two_daemons(self) -> None:
        """A second daemon on the same folder serves, and says why it cannot open the world."""
        second = Remotevirt(driver="test", options=["--state", f"{self.folder}/state"])
        start(self, second)
        refused = self.assertRaisesRegex(AssertionError, "in use by another process")
        with WireClient(str(second.unix)) as client, refused:
            client.open()
        self.assertIn("in use by another process", second.log())

    def test_it_ends_in_order(self) -> None:
        """A daemon that is asked to end leaves one file, with everything in it."""
        self.assertEqual(0, self.define("a").status)
        self.daemon.stop()
        self.assertEqual(["default.db"], os.listdir(f"{self.folder}/state/test"))
        self.daemon = self.start()
        self.assertTrue(self.has("a"))
        self.assertIn("default.db: 2 domains, in", self.daemon.log())
