"""The daemon as one Twisted service: its parts, its log, and how it ends.

::

    start   log ──► listeners open ──► reload on SIGHUP ──► idle clock ──► READY
    stop    STOPPING ──► listeners close ──► drain: running calls end, clients are told ──► log closed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized

from remotevirt.logs import Logs

__all__ = ["DaemonService"]

log = Logger()


class DaemonService(MultiService):
    """The parts of a daemon, started in the order they were added and stopped in the opposite one.

    Args:
        logs: the daemon's log.
        replaces: whether it takes the place of the log that ``twistd`` would open; otherwise it is written to
            beside that one.

    Attributes:
        drain: called when no new client can come in any more; what it returns is waited for, so it has to be
            bounded in time.
    """

    def __init__(self, logs: Logs, *, replaces: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.logs = logs
        self.replaces = replaces
        self.drain: Callable[[], object] | None = None
        self._observing = False

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join an application, and give it our log if that is to be its only one."""
        if self.replaces and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.logs)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """Begin to log, then start the parts."""
        if not self.replaces and not self._observing:
            self._observing = True
            globalLogPublisher.addObserver(self.logs)
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[Any]:
        """Stop the parts, then drain.

        Returns:
            A Deferred that fires when that is over.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        if self.drain is not None:
            try:
                await maybeDeferred(self.drain)
            except Exception:
                log.failure("draining failed")
        if self._observing:
            self._observing = False
            globalLogPublisher.removeObserver(self.logs)
