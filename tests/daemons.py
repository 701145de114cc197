"""Running the real daemon, and other programs, from tests.

Everything started here is ended with the test that started it, reads nothing, and may print a bounded amount.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""

OUTPUT_MAXIMUM = 1 << 20
"""Bytes kept of what a process prints; it is killed if it prints more."""

TWISTD = (
    "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
    "from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
)
"""The ``twistd`` command, by this interpreter; with the process id that systemd would tell it."""

QUIET = "tests.quiet_driver:QuietDriver"
"""A driver that has nothing, for what is not about drivers."""

TCP = "tcp:0:interface=127.0.0.1"
"""Where to listen: on a port that the system chooses."""

TIMEOUT = 30.0
"""Seconds that a process may take to do what a test waits for."""

reactor: Any = _reactor


class Process(ProcessProtocol):
    """A running program, and what it has printed."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self.alive = True
        self._wanted: list[tuple[re.Pattern[str], Deferred[re.Match[str]]]] = []

    def outReceived(self, data: bytes) -> None:
        self.out += data
        self._printed()

    def errReceived(self, data: bytes) -> None:
        self.err += data
        self._printed()

    def _printed(self) -> None:
        if len(self.out) + len(self.err) > OUTPUT_MAXIMUM:
            self.signal(signal.SIGKILL)
        for wanted in list(self._wanted):
            found = wanted[0].search(self.out.decode(errors="replace"))
            if found is not None:
                self._wanted.remove(wanted)
                wanted[1].callback(found)

    def processEnded(self, reason: Failure) -> None:
        self.alive = False
        value: Any = reason.value
        status = 0 if reason.check(ProcessDone) else value.exitCode
        for _, deferred in self._wanted:
            deferred.errback(AssertionError(f"ended before it printed that\n{self.printed()}"))
        self.ended.callback(-value.signal if status is None else status)

    def printed(self) -> str:
        """Everything it printed, for messages."""
        return f"stdout:\n{self.out.decode(errors='replace')}\nstderr:\n{self.err.decode(errors='replace')}"

    def line(self, pattern: str) -> Deferred[re.Match[str]]:
        """Wait until standard output matches; fails if the process ends before, or takes too long."""
        deferred: Deferred[re.Match[str]] = Deferred()
        deferred.addTimeout(TIMEOUT, reactor, self._too_slow)
        self._wanted.append((re.compile(pattern, re.MULTILINE), deferred))
        self._printed()
        return deferred

    def _too_slow(self, value: object, timeout: float) -> object:
        raise AssertionError(f"not printed within {timeout:g} seconds\n{self.printed()}")

    def signal(self, number: int) -> None:
        """Send a signal, if it is still there."""
        try:
            if self.transport is not None:
                self.transport.signalProcess(number)
        except ProcessExitedAlready:
            pass


class ProcessTestCase(TestCase):
    """A test case that starts processes."""

    timeout = 120

    def spawn(
        self,
        *command: str,
        cwd: str | Path | None = None,
        env: dict[str, str] | None = None,
        descriptors: dict[int, int] | None = None,
    ) -> Process:
        """Start a program; it is ended after the test.

        Args:
            command: the program, a whole path, and its arguments.
            cwd: where it runs.
            env: what to add to this process's environment.
            descriptors: its file descriptors beyond the standard ones, and which of ours each is.
        """
        process = Process()
        fixed = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LC_ALL": "C"}
        environment = {**os.environ, **fixed, **(env or {})}
        folder = None if cwd is None else str(cwd)
        pipes: dict[int, int | str] = {0: "w", 1: "r", 2: "r", **(descriptors or {})}
        reactor.spawnProcess(process, command[0], command, environment, folder, childFDs=pipes)
        self.addCleanup(self.end, process)
        return process

    @inlineCallbacks
    def end(self, process: Process, number: int = signal.SIGTERM) -> Any:
        """End a process, gently first.

        Returns:
            A Deferred of its exit status; negative: the signal that ended it.
        """
        if process.alive:
            process.signal(number)
            later = reactor.callLater(10, process.signal, signal.SIGKILL)
            yield self.ended(process)
            if later.active():
                later.cancel()
        return (yield self.ended(process))

    def ended(self, process: Process) -> Deferred[int]:
        """Wait for the end of a process; fails if that takes too long."""
        waiting: Deferred[int] = Deferred()

        def pass_on(status: int) -> int:
            if not waiting.called:
                waiting.callback(status)
            return status

        process.ended.addCallback(pass_on)
        return waiting.addTimeout(TIMEOUT, reactor, process._too_slow)

    def twistd(self, *options: str, before: Sequence[str] = ("-n", "--pidfile="), **kwargs: Any) -> Process:
        """Start ``twistd remotevirt`` with options, in a folder of its own."""
        folder = Path(kwargs.pop("cwd", None) or self.mktemp())
        folder.mkdir(parents=True, exist_ok=True)
        return self.spawn(sys.executable, "-c", TWISTD, *before, "remotevirt", *options, cwd=folder, **kwargs)
