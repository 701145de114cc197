"""Lines to guests: bytes both ways, holders, and what a hostile end may not do."""

from __future__ import annotations

import os
import pty
import socket
import tty
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.lines import LineHolders, LineStream, open_socket, open_terminal
from remotevirt.drivers.qemu.settings import GuestUser, Settings
from remotevirt.stubs.errors import OperationDenied, Rpc, VirSystemError

reactor: Any = _reactor

MIB = 1 << 20


class LineTests(TestCase):
    """A stream on one end, and what stands for QEMU on the other."""

    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.settings = Settings(self.folder)

    def by_socket(self) -> tuple[LineStream, socket.socket]:
        """A connected pair."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = LineStream(reactor, ours.detach())
        self.addCleanup(stream.abort)
        self.addCleanup(theirs.close)
        return stream, theirs

    async def test_much(self) -> None:
        """A MiB each way, through a terminal that holds a few KiB; nothing is lost, and nobody blocks."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        tty.setraw(slave)
        stream = LineStream(reactor, open_terminal(os.ttyname(slave), self.settings))
        self.addCleanup(stream.abort)
        data = os.urandom(MIB)

        def echo() -> None:
            left = MIB
            while left:
                part = os.read(master, 4096)
                left -= len(part)
                while part:
                    part = part[os.write(master, part) :]

        echoing = deferToThread(echo)

        async def send() -> None:
            for place in range(0, MIB, 65536):
                await done(stream.write(data[place : place + 65536]))

        sending = Deferred.fromCoroutine(send())
        got = b""
        while len(got) < MIB:
            got += await done(stream.read(65536))
        self.assertTrue(got == data)
        await sending
        await echoing

    async def test_held_back(self) -> None:
        """While QEMU takes nothing, a write does not end, and what is read comes all the same."""
        stream, theirs = self.by_socket()
        writing = stream.write(bytes(4 * MIB))
        assert writing is not None
        theirs.send(b"answer")
        self.assertEqual(b"answer", await done(stream.read(100)))
        self.assertFalse(writing.called)

        def drain() -> int:
            taken = 0
            while taken < 4 * MIB:
                taken += len(theirs.recv(65536))
            return taken

        self.assertEqual(4 * MIB, await deferToThread(drain))
        await writing

    async def test_end(self) -> None:
        """When the guest ends, what it said last is read, and then the end."""
        stream, theirs = self.by_socket()
        holders = LineHolders()
        holders.put("serial0", stream)
        waiting = stream.read(100)
        theirs.send(b"last words")
        holders.close()
        self.assertEqual(b"last words", await done(waiting))
        self.assertEqual(b"", await done(stream.read(100)))
        self.assertNotIn("serial0", holders)

    async def test_hung_up(self) -> None:
        """QEMU closes its end: the end for who reads, a failure for who writes."""
        stream, theirs = self.by_socket()
        waiting = stream.read(100)
        theirs.close()
        self.assertEqual(b"", await done(waiting))
        self.assertRaises(Rpc, stream.write, b"x")

    async def test_force(self) -> None:
        """Who is thrown out is told; who came holds the line, until it is let go of."""
        first, _ = self.by_socket()
        second, _ = self.by_socket()
        holders = LineHolders()
        holders.put("serial0", first)
        waiting = first.read(100)
        assert isinstance(waiting, Deferred)
        holders.put("serial0", second)
        error = await self.assertFailure(waiting, Rpc)
        self.assertEqual("stream had I/O failure", str(error))
        self.assertRaises(Rpc, first.read, 100)
        first.abort()
        self.assertIn("serial0", holders)
        second.finish()
        self.assertNotIn("serial0", holders)

    def test_not_the_guests(self) -> None:
        """Links, files, and what belongs to another user are not opened."""
        other = Settings(self.folder, GuestUser(os.geteuid() + 1, 0))
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        self.assertRaises(OperationDenied, open_terminal, os.ttyname(slave), other)
        dotted = os.ttyname(slave).replace("/pts/", "/pts/../pts/")
        for path in ("/dev/null", "/dev/pts/ptmx", dotted):
            self.assertRaises(OperationDenied, open_terminal, path, self.settings)
        place = self.folder / "line"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(place))
            listener.listen()
            os.close(open_socket(str(place), self.settings))
            self.assertRaises(OperationDenied, open_socket, str(place), other)
            link = self.folder / "link"
            link.symlink_to(place)
            self.assertRaises(OperationDenied, open_socket, str(link), self.settings)
        file = self.folder / "file"
        file.touch()
        self.assertRaises(OperationDenied, open_socket, str(file), self.settings)
        self.assertRaises(VirSystemError, open_socket, str(self.folder / "none"), self.settings)
        self.assertRaises(VirSystemError, open_socket, str(place), self.settings)


async def done(result: Any) -> Any:
    """What a method of a stream returns, waited for if it must be."""
    return await result if isinstance(result, Deferred) else result
