"""Ending a daemon that nobody has used for a while; systemd starts it again with the next client.

libvirtd's ``--timeout``, which distributions set to 120 seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

__all__ = ["IdleService"]

CHECK_SECONDS = 1.0
"""How often the clients are counted. One that came and went in between has to be told of by ``touch``."""

log = Logger()


class IdleService(Service):
    """Stops the daemon when there was no client for some time.

    Args:
        reactor: the clock.
        seconds: how long; 0: never.
        clients: how many clients there are.
        stop: ends the daemon.
    """

    def __init__(
        self, reactor: Any, seconds: int, clients: Callable[[], int], stop: Callable[[], object]
    ) -> None:
        self.reactor = reactor
        self.seconds = seconds
        self.clients = clients
        self.stop = stop
        self._idle_since = 0.0
        self._call: IDelayedCall | None = None

    def set_timeout(self, seconds: int) -> None:
        """Change how long; the time without a client counts from now. 0: never."""
        self.seconds = seconds
        self.touch()
        self._cancel()
        if self.running:
            self._schedule()

    def touch(self) -> None:
        """Somebody has used the daemon just now."""
        self._idle_since = self.reactor.seconds()

    def startService(self) -> None:
        """Begin to count; the time without a client begins now."""
        super().startService()  # type: ignore[no-untyped-call]
        self.touch()
        self._schedule()

    def stopService(self) -> None:
        """Count no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._cancel()

    def _schedule(self) -> None:
        if self.seconds > 0:
            self._call = self.reactor.callLater(min(CHECK_SECONDS, self.seconds), self._check)

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _check(self) -> None:
        self._call = None
        if self.clients():
            self.touch()
        if self.reactor.seconds() - self._idle_since >= self.seconds:
            log.info("no client for {seconds} seconds: the daemon ends", seconds=self.seconds)
            self.stop()
        else:
            self._schedule()
