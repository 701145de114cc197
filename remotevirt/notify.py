"""Telling systemd how the daemon is: ready, reloading, stopping, alive (sd_notify(3), without its library).

::

    start ──► READY=1 ──► WATCHDOG=1, twice in each period ──► STOPPING=1
                 ▲  │
                 │  └── reload begins: RELOADING=1, MONOTONIC_USEC=...
                 └───── and ends

Each message is one datagram of ``KEY=VALUE`` lines to the socket that ``$NOTIFY_SOCKET`` names. Without that
variable nobody wants to know, and nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["NotifyService"]

SEND_TIMEOUT = 1.0
"""Seconds that a message may wait for room in systemd's queue, which takes thousands."""

MICROSECONDS = 1_000_000

log = Logger()


class NotifyService(Service):
    """Says READY when the reactor runs, STOPPING when it is to end, WATCHDOG in between if that is wanted.

    Put it last among the services of a daemon: it starts when the others have, and is stopped first.

    Args:
        reactor: when we run, and the clock of the watchdog.
        environ: the variables that systemd has set; None: the process's.
        monotonic: CLOCK_MONOTONIC in nanoseconds.
    """

    def __init__(
        self,
        reactor: Any,
        environ: Mapping[str, str] | None = None,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.reactor = reactor
        self.monotonic = monotonic
        self.address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog_seconds(environ)
        self._beat: LoopingCall | None = None
        self._ready = False

    def startService(self) -> None:
        """Say that we are ready as soon as the reactor runs; start the watchdog."""
        super().startService()  # type: ignore[no-untyped-call]
        if self.address:
            self.reactor.callWhenRunning(self._started)

    def _started(self) -> None:
        if not self.running:  # what started with us has failed, and we are on the way out
            return
        self._ready = True
        self.ready()
        if self.watchdog:
            self._beat = LoopingCall(self.send, "WATCHDOG=1")
            self._beat.clock = self.reactor
            self._beat.start(self.watchdog / 2)

    def stopService(self) -> Deferred[None] | None:
        """Say that we are stopping."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._beat is not None:
            self._beat.stop()
            self._beat = None
        if self._ready:
            self._ready = False
            self.send("STOPPING=1")
        return None

    def ready(self) -> None:
        """Say that starting, or reloading, is over."""
        self.send("READY=1")

    def reloading(self) -> None:
        """Say that reloading begins; :meth:`ready` must follow."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={self.monotonic() // 1000}")

    def status(self, text: str) -> None:
        """Say in one line what we are doing; ``systemctl status`` shows it."""
        self.send(f"STATUS={' '.join(text.split())}")

    def send(self, *lines: str) -> None:
        """Send a message; that it could not be sent is logged."""
        if not self.address:
            return
        name = self.address
        if name.startswith("@"):  # a name that is in no folder
            name = "\0" + name[1:]
        elif not name.startswith("/"):
            log.warn("NOTIFY_SOCKET={address} is neither a path nor an abstract name", address=self.address)
            self.address = ""
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(SEND_TIMEOUT)
                sending.sendto("\n".join(lines).encode(), name)
        except OSError as error:
            log.warn("systemd cannot be told {line}: {error}", line=lines[0], error=error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Within how many seconds systemd wants to hear of us; 0 if it does not."""
    wanted = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0  # it is somebody else whom it wants to hear
    if not wanted.isascii() or not wanted.isdecimal():
        if wanted:
            log.warn("WATCHDOG_USEC={wanted} is no number", wanted=wanted)
        return 0.0
    return int(wanted) / MICROSECONDS
