"""Streams and descriptors with real clients: virsh uploads, downloads and opens consoles."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.daemons import Remotevirt
from tests.interop.pair import start
from tests.interop.peers import TIMEOUT, make_pki, require, run_python, run_virsh

MIB = 1024 * 1024

GRAPHICS = """
import os, socket, sys, libvirt
connection = libvirt.open(sys.argv[1])
descriptor = connection.lookupByName("test").openGraphicsFD(0)
print(os.read(descriptor, 100))
print(connection.lookupByName("test").info()[0])
"""

FILES = """
import os, sys, libvirt
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("test")
domain.destroy()
pairs = [os.pipe() for _ in range(3)]
domain.createWithFiles([writer for _, writer in pairs])
for reader, writer in pairs:
    os.close(writer)
    print(os.read(reader, 100), os.read(reader, 100))
print(domain.isActive())
"""

MANY = """
import sys, libvirt
connection = libvirt.open(sys.argv[1])
pool = connection.storagePoolLookupByName("default-pool")
volume = pool.createXML("<volume><name>many</name><capacity unit='M'>1</capacity></volume>")
streams = []
for number in range(20):
    stream = connection.newStream()
    volume.download(stream, 0, 0)
    streams.append(stream)
print("open", len(streams), connection.getHostname() != "")
for stream in streams[::2]:
    stream.abort()
for stream in streams[1::2]:
    print(stream.recv(100) == b"", end=" ")
    stream.finish()
print(connection.isAlive())
"""

CONSOLE = """
import sys, libvirt
connection = libvirt.open(sys.argv[1])
stream = connection.newStream()
connection.lookupByName("test").openConsole(None, stream)
print(stream.recv(100))
stream.send(b"ls -l")
print(stream.recv(100))
stream.send(b" exit")
print(stream.recv(100))
print(stream.recv(100))
stream.finish()
"""


class StreamTests(SynchronousTestCase):
    """One daemon with a driver that has streams, over three transports."""

    transports: ClassVar = ("unix", "tcp", "tls")

    def setUp(self) -> None:
        require("virsh", "libvirt-python")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        pki = make_pki(self.folder / "pki")
        self.daemon = Remotevirt(driver="tests.stream_driver:StreamDriver:keep", pki=pki)
        start(self, self.daemon)

    def virsh(self, *words: str, transport: str = "unix") -> str:
        """What virsh prints; it must succeed."""
        output = run_virsh(self.daemon.uri(transport), *words)
        self.assertEqual((0, ""), (output.status, output.err), words)
        return output.out

    def volume(self) -> None:
        """Make a volume."""
        self.virsh("vol-create-as", "default-pool", "vol", "100M")

    def test_up_and_down(self) -> None:
        """What was uploaded comes back, over every transport, many packets long."""
        self.volume()
        source, target = self.folder / "source", self.folder / "target"
        for number, transport in enumerate(self.transports):
            data = os.urandom(5 * MIB + number)
            source.write_bytes(data)
            self.virsh("vol-upload", "vol", str(source), "--pool", "default-pool", transport=transport)
            self.virsh("vol-download", "vol", str(target), "--pool", "default-pool", transport=transport)
            self.assertEqual(data, target.read_bytes(), transport)

    def test_part(self) -> None:
        """From an offset, so many bytes."""
        self.volume()
        source, target = self.folder / "source", self.folder / "target"
        source.write_bytes(bytes(range(256)) * 100)
        self.virsh("vol-upload", "vol", str(source), "--pool", "default-pool")
        words = ["vol-download", "vol", str(target), "--pool", "default-pool"]
        self.virsh(*words, "--offset", "1000", "--length", "50")
        self.assertEqual((bytes(range(256)) * 100)[1000:1050], target.read_bytes())

    def test_sparse(self) -> None:
        """Holes stay holes, in both directions; nothing is sent for them."""
        self.volume()
        source, target = self.folder / "source", self.folder / "target"
        with source.open("wb") as file:
            file.write(b"begin" * 1000)
            file.truncate(40 * MIB)
            file.seek(30 * MIB)
            file.write(b"middle" * 1000)
        for transport in self.transports:
            words = ("vol", "--pool", "default-pool", "--sparse")
            self.virsh("vol-upload", *words, "--file", str(source), transport=transport)
            self.virsh("vol-download", *words, "--file", str(target), transport=transport)
            self.assertEqual(source.read_bytes(), target.read_bytes(), transport)
            self.assertLess(target.stat().st_blocks * 512, 4 * MIB, "holes were filled")

    def test_driver_refuses(self) -> None:
        """In the middle of an upload: virsh prints the driver's reason, and the daemon lives."""
        self.volume()
        source = self.folder / "source"
        source.write_bytes(b"\xee" * MIB)
        output = run_virsh(self.daemon.uri(), "vol-upload", "vol", str(source), "--pool", "default-pool")
        self.assertEqual(1, output.status)
        self.assertIn("the disk is full", output.err)
        self.assertIn("test", self.virsh("list"))

    def test_console(self) -> None:
        """Both directions at once."""
        output = run_python(CONSOLE, self.daemon.uri())
        self.assertEqual((0, ""), (output.status, output.err))
        lines = ["b'hello\\r\\n'", "b'LS -L'", "b' EXIT'", "b''"]
        self.assertEqual(lines, output.out.splitlines())

    def test_virsh_console(self) -> None:
        """As a person opens one, on a terminal."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        virsh = subprocess.Popen(
            ["virsh", "-c", self.daemon.uri(), "console", "test"], stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.addCleanup(virsh.wait)
        self.addCleanup(virsh.kill)
        self.read_until(ours, b"hello")
        os.write(ours, b"ls exit\r")
        self.read_until(ours, b"LS EXIT")
        self.assertEqual(0, virsh.wait(TIMEOUT), "the console ends when the guest's end does")

    def read_until(self, terminal: int, wanted: bytes) -> None:
        """Read from a terminal until it has shown something."""
        shown = b""
        while wanted not in shown:
            ready, _, _ = select.select([terminal], [], [], TIMEOUT)
            self.assertTrue(ready, shown)
            shown += os.read(terminal, 4096)

    def test_many_at_once(self) -> None:
        """Twenty streams of one client, half of them aborted; calls are answered in between."""
        output = run_python(MANY, self.daemon.uri())
        self.assertEqual((0, ""), (output.status, output.err))
        self.assertEqual(["open 20 True", "True " * 10 + "1"], output.out.splitlines())

    def test_descriptor_from_the_daemon(self) -> None:
        """libvirt's client gets it with the reply."""
        output = run_python(GRAPHICS, self.daemon.uri())
        self.assertEqual((0, "b'RFB 003.008\\n'\n1\n", ""), output)

    def test_descriptor_over_tcp(self) -> None:
        """Is refused; there is no way to pass it."""
        output = run_python(GRAPHICS, self.daemon.uri("tcp"))
        self.assertEqual(1, output.status)
        self.assertIn("descriptors can be passed over UNIX sockets only", output.err)

    def test_descriptors_to_the_daemon(self) -> None:
        """The driver writes into what the client gave; afterwards nobody holds them."""
        output = run_python(FILES, self.daemon.uri())
        self.assertEqual((0, ""), (output.status, output.err))
        expected = [f"b'init got file {number}\\n' b''" for number in range(3)]
        self.assertEqual([*expected, "1"], output.out.splitlines())

    def test_nothing_is_left_open(self) -> None:
        """After clients that are killed in the middle of streams."""
        self.volume()
        folder = Path(f"/proc/{self.daemon.pid}/fd")
        before = len(list(folder.iterdir()))
        for _ in range(3):
            output = run_python(
                CONSOLE.replace("print(stream.recv(100))\nstream.finish", "import os; os.abort"),
                self.daemon.uri(),
            )
            self.assertNotEqual(0, output.status)
        self.assertIn("test", self.virsh("list"))
        self.assertLessEqual(len(list(folder.iterdir())), before)
