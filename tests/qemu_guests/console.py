"""A guest's serial console, read and written by a test, wherever it comes out."""

from __future__ import annotations

import os
import re
import socket
import termios
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import fdesc
from twisted.internet import reactor as _reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["BOOT_TIMEOUT", "Console"]

KEPT = 1 << 18
"""Bytes kept of what nobody has waited for yet; what is older is dropped."""

TAIL = 2000
"""Characters of the console's end that a failure shows."""

TIMEOUT = 20.0
"""Seconds that a guest may take for one thing: it is emulated, on a machine that does much else."""

BOOT_TIMEOUT = 90.0
"""Seconds that a guest may take to boot."""

LOCAL_MODES = 3
"""Where tcgetattr has the flags of c_lflag."""

reactor: Any = _reactor


class Console(Protocol):
    """What a guest prints, and a way to type.

    Make one with :meth:`unix`, :meth:`device`, :meth:`spawn`, :meth:`file` or :meth:`adopt`, and
    ``self.addCleanup(console.close)``. One wait at a time; each goes on behind what the last one found.
    Carriage returns are left out of what is seen.
    """

    def __init__(self) -> None:
        self.seen = ""
        """The end of everything printed so far, for messages."""
        self._unread = ""
        self._wanted: tuple[re.Pattern[str], Deferred[re.Match[str]]] | None = None
        self._lost: str | None = None
        self._closed: Deferred[None] = Deferred()

    @classmethod
    async def unix(cls, path: str | Path) -> Console:
        """A UNIX socket that listens."""
        console = cls()
        await connectProtocol(UNIXClientEndpoint(reactor, str(path), timeout=TIMEOUT), console)
        return console

    @classmethod
    def adopt(cls, connected: socket.socket) -> Console:
        """The other end of a socket that somebody was given; the socket stays the caller's."""
        console = cls()
        connected.setblocking(False)
        _Terminal(os.dup(connected.fileno()), console)
        return console

    @classmethod
    def device(cls, path: str | Path) -> Console:
        """A pseudo terminal's device, as ``virsh ttyconsole`` and the live XML tell it."""
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        tty.setraw(descriptor)
        console = cls()
        _Terminal(descriptor, console)
        return console

    @classmethod
    def file(cls, path: str | Path) -> Console:
        """A file that something appends to, from its beginning; nothing can be typed there."""
        return cls.spawn(["tail", "--bytes=+1", "--follow=name", "--retry", str(path)], terminal=False)

    @classmethod
    def spawn(
        cls, command: Sequence[str], *, env: Mapping[str, str] | None = None, terminal: bool = True
    ) -> Console:
        """A program that shows the console, such as ``["virsh", "-c", uri, "console", "guest"]``.

        Args:
            command: the program, looked up in PATH, and its arguments.
            env: what to add to this process's environment.
            terminal: it runs on a pseudo terminal, which virsh insists on; otherwise on pipes.
        """
        console = cls()
        environment = {**os.environ, "LC_ALL": "C", **(env or {})}
        reactor.spawnProcess(_Program(console), command[0], command, environment, usePTY=terminal)
        return console

    def dataReceived(self, data: bytes) -> None:
        text = data.decode(errors="replace").replace("\r", "")
        self.seen = (self.seen + text)[-TAIL:]
        self._unread = (self._unread + text)[-KEPT:]
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason.getErrorMessage()
        self._gone()
        self._look()

    def _look(self) -> None:
        if self._wanted is None:
            return
        pattern, waiting = self._wanted
        # Whole lines only, so that what is found does not depend on how they arrive.
        found = pattern.search(self._unread, 0, self._unread.rfind("\n") + 1)
        if found is not None:
            self._wanted = None
            self._unread = self._unread[self._unread.index("\n", max(found.start(), found.end() - 1)) + 1 :]
            waiting.callback(found)
        elif self._lost is not None:
            self._wanted = None
            waiting.errback(self._failure(pattern, f"the console ended ({self._lost})"))

    def _failure(self, pattern: re.Pattern[str], why: str) -> AssertionError:
        return AssertionError(f"no {pattern.pattern!r}: {why}; the console's end:\n{self.seen}")

    async def wait_for(self, pattern: str, timeout: float = TIMEOUT) -> re.Match[str]:
        """Wait until a line is printed that nobody has waited for yet; it and those before it are then past.

        Args:
            pattern: a regular expression to find in whole lines; ``^`` and ``$`` match at each.
            timeout: seconds.

        Raises:
            AssertionError: it was not printed in time, or the console ended; with the end of what was.
        """
        assert self._wanted is None, "one wait at a time"
        waiting: Deferred[re.Match[str]] = Deferred()
        compiled = re.compile(pattern, re.MULTILINE)
        self._wanted = compiled, waiting

        def too_slow(value: object, seconds: float) -> re.Match[str]:
            self._wanted = None
            raise self._failure(compiled, f"not printed within {seconds:g} seconds")

        timed = waiting.addTimeout(timeout, reactor, too_slow)
        self._look()
        return await timed

    async def boot(self, timeout: float = BOOT_TIMEOUT) -> str:
        """Wait until the guest is ready.

        Returns:
            everything it printed before, its report included.
        """
        return (await self.wait_for(r"(?s)(.*)^guest-ready$", timeout))[1]

    async def command(self, line: str, timeout: float = TIMEOUT) -> str:
        """Have the guest's shell run a command.

        Returns:
            what was printed until it ended, which lines of the guest's own may be among.

        Raises:
            AssertionError: it failed, or took too long.
        """
        self.send_line(line)
        found = await self.wait_for(r"(?s)(.*?)^done \d+ (\d+)$", timeout)
        if found[2] != "0":
            raise AssertionError(f"{line!r} in the guest ended with {found[2]}:\n{found[1]}")
        return found[1].removesuffix("\n")

    def reads_keys(self) -> bool:
        """Whether the program that shows the console, on its terminal, asks for single keys."""
        assert isinstance(self.transport, _Program)
        return self.transport.reads_keys()

    def send_line(self, text: str) -> None:
        """Type a line."""
        self.send(f"{text}\r".encode())

    def send(self, data: bytes) -> None:
        """Type anything."""
        assert self.transport is not None, "not connected"
        self.transport.write(data)

    def close(self) -> Deferred[None]:
        """Let go of the console; a program that shows it is ended.

        Returns:
            a Deferred that fires when that is done.
        """
        if self.transport is not None and self._lost is None:
            self.transport.loseConnection()
        else:
            self._gone()
        return self._closed

    def _gone(self) -> None:
        if not self._closed.called:
            self._closed.callback(None)


class _Terminal(FileDescriptor):
    """An open descriptor as a transport."""

    def __init__(self, descriptor: int, console: Console) -> None:
        super().__init__(reactor)
        self.connected = True
        self._descriptor = descriptor
        self._console = console
        console.makeConnection(self)
        self.startReading()

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> object:
        return fdesc.readFromFD(self._descriptor, self._console.dataReceived)

    def writeSomeData(self, data: bytes) -> Any:
        return fdesc.writeToFD(self._descriptor, data)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        os.close(self._descriptor)
        self._descriptor = -1
        self._console.connectionLost(reason)


class _Program(ProcessProtocol):
    """A program as a transport."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def connectionMade(self) -> None:
        self._console.makeConnection(self)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def reads_keys(self) -> bool:
        """Whether its terminal gives it single keys."""
        flags: int = termios.tcgetattr(self.transport.fd)[LOCAL_MODES]
        return not flags & termios.ICANON

    def loseConnection(self) -> None:
        assert self.transport is not None
        self.transport.signalProcess("TERM")

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        self._console.dataReceived(data)

    def processEnded(self, reason: Failure) -> None:
        self._console.connectionLost(reason)
