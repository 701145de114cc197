"""Consoles from every kind of place, without a guest behind them."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.qemu_guests import Console
from tests.qemu_guests.console import KEPT

reactor: Any = _reactor


class Echo(Protocol):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Places(TestCase):
    """Where a console may come out."""

    async def exchange(self, console: Console) -> None:
        """Type into something that sends back what was typed."""
        self.addCleanup(console.close)
        console.send(b"one two\r\n")
        found = await console.wait_for("^one (.*)$")
        self.assertEqual(found[1], "two")

    async def test_unix(self) -> None:
        """A UNIX socket."""
        path = f"{self.mktemp()}.sock"
        port = reactor.listenUNIX(path, Factory.forProtocol(Echo))
        self.addCleanup(port.stopListening)
        await self.exchange(await Console.unix(path))

    async def test_device(self) -> None:
        """A pseudo terminal, on whose other side a program is."""
        program = Console.spawn(["sh", "-c", "tty && stty raw -echo && exec sleep 60"])
        self.addCleanup(program.close)
        path = await program.wait_for("^/dev/.*$")
        console = Console.device(path[0])
        self.addCleanup(console.close)
        console.send(b"to the other side\n")
        await program.wait_for("^to the other side$")
        program.send(b"and back\n")
        await console.wait_for("^and back$")

    async def test_program(self) -> None:
        """A program that wants a terminal."""
        console = Console.spawn(["sh", "-c", "test -t 0 && stty -echo && echo ready && exec cat"])
        await console.wait_for("ready")
        await self.exchange(console)

    async def test_file(self) -> None:
        """A file, also what is appended later, and one that is not there yet."""
        path = Path(self.mktemp())
        console = Console.file(path)
        self.addCleanup(console.close)
        with path.open("a") as file:
            for line in ("first", "second"):
                file.write(f"{line}\n")
                file.flush()
                await console.wait_for(f"^{line}$")


class Waiting(TestCase):
    """What is found, and what is said when it is not."""

    def setUp(self) -> None:
        ours, self.guest = socket.socketpair()
        with ours:
            self.console = Console.adopt(ours)
        self.guest.settimeout(5)
        self.addCleanup(self.guest.close)
        self.addCleanup(self.console.close)

    async def fails(self, waiting: Awaitable[object], text: str) -> None:
        """Await a failure that says something."""
        try:
            await waiting
        except AssertionError as error:
            self.assertIn(text, str(error))
        else:
            self.fail("it did not fail")

    async def test_goes_on_behind(self) -> None:
        """Each wait starts behind the line that the last one found."""
        self.guest.sendall(b"a 1\r\nb 2 rest\r\na 3\r\n")
        await self.console.wait_for("b 2")
        self.assertEqual((await self.console.wait_for(r"(?s)^.*$"))[0], "a 3\n")

    async def test_whole_lines(self) -> None:
        """A line counts when it has ended."""
        self.guest.sendall(b"size 10")
        await self.fails(self.console.wait_for(r"size \d+", 0.05), "size 10")
        self.guest.sendall(b"24\n")
        self.assertEqual((await self.console.wait_for(r"size \d+"))[0], "size 1024")

    async def test_command(self) -> None:
        """What a command printed, or that it failed."""
        self.guest.sendall(b"out\r\nput\r\ndone 7 0\r\nbad\r\ndone 8 2\r\n")
        self.assertEqual(await self.console.command("print"), "out\nput")
        await self.fails(self.console.command("break"), "'break' in the guest ended with 2:\nbad")

    async def test_end(self) -> None:
        """A console that ends fails the wait at once, with what was seen."""
        self.guest.sendall(b"last words\n")
        await self.console.wait_for("last")
        self.guest.close()
        await self.fails(self.console.wait_for("more"), "last words")

    async def test_bounded(self) -> None:
        """What nobody waits for is dropped, the oldest first."""
        self.console.dataReceived(b"old\n" + b"x" * KEPT + b"\nnew\n")
        found = await self.console.wait_for("(?s).*new")
        self.assertLessEqual(len(found[0]), KEPT)
        self.assertIsNone(re.search("old", found[0]))
