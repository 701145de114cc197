"""Reading files again while the daemon runs: what ``systemctl reload`` and SIGHUP do.

What can be read again is a list of named functions. Each either replaces what it has read before or raises,
and then the old state stays in force and one line of the log says why; the others are called nevertheless.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from remotevirt.errors import RemotevirtError
from remotevirt.notify import NotifyService

__all__ = ["ReloadService"]

log = Logger()


class ReloadService(Service):
    """Reloads on SIGHUP, while it runs.

    Args:
        reactor: when to take the signal, and in which thread to reload.
        notify: who is told that we reload, and that it is over.
    """

    def __init__(self, reactor: Any, notify: NotifyService | None = None) -> None:
        self.reactor = reactor
        self.notify = notify
        self.parts: list[tuple[str, Callable[[], object]]] = []
        self._before: Any = None
        self._installed = False
        self._waiting: list[Deferred[list[str]]] | None = None
        self._again = False

    def add(self, name: str, reload: Callable[[], object]) -> None:
        """Let a part be reloaded, after those that were added before.

        Args:
            name: what to call it in the log, for instance ``"certificates"``.
            reload: reads it again. May return a Deferred. Raises, or fails, if the old state stays in force.
        """
        self.parts.append((name, reload))

    def startService(self) -> None:
        """Take SIGHUP from when the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self.reactor.callWhenRunning(self._install)

    def stopService(self) -> None:
        """Give SIGHUP back to whoever had it."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._installed:
            self._installed = False
            signal.signal(signal.SIGHUP, self._before)

    def _install(self) -> None:
        if self.running and not self._installed:
            self._installed = True
            self._before = signal.signal(signal.SIGHUP, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # In the middle of whatever the main thread does; the reactor makes a turn of its own of it.
        self.reactor.callFromThread(self.reload)

    def reload(self) -> Deferred[list[str]]:
        """Reload everything. Asked again meanwhile, it begins anew when it is through.

        Returns:
            A Deferred of the names of the parts that failed.
        """
        over: Deferred[list[str]] = Deferred()
        if self._waiting is None:
            self._waiting = [over]
            Deferred.fromCoroutine(self._reload())  # which may be through when this returns
        else:
            self._again = True
            self._waiting.append(over)
        return over

    async def _reload(self) -> None:
        if self.notify is not None:
            self.notify.reloading()
        while True:
            self._again = False
            failed = []
            for name, reload in self.parts:
                try:
                    await maybeDeferred(reload)
                except Exception as error:
                    failed.append(name)
                    _report(name, error)
            if not self._again:
                break
        log.info("reloaded {what}", what=", ".join(n for n, _ in self.parts if n not in failed) or "nothing")
        if self.notify is not None:
            self.notify.ready()
        waiting, self._waiting = self._waiting or [], None
        for over in waiting:
            over.callback(failed)


def _report(name: str, error: Exception) -> None:
    """One line, for what an operator can put right; a bug gets its traceback."""
    text = f"{name} could not be reloaded, and stays as it is"
    if isinstance(error, RemotevirtError | ValueError | OSError):
        log.error("{text}: {error}", text=text, error=" ".join(str(error).split()))
    else:
        log.failure("{text}", text=text)
