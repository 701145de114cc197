"""The service that opens every listener, says where they are, and fails as one.

``twistd`` starts services in two steps, before and after it gives up root's rights; sockets are opened in the
first. Opening is all or nothing. If one listener fails, those already open are closed and
:class:`StartupError` ends the start: one line on standard error, a non-zero status, no traceback, the process
id file removed. A listener that only fails later (an endpoint plug-in whose ``listen`` takes its time) ends
the running process the same way.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.transport.listener import Listener
from remotevirt.transport.unix import UnixEndpoint

__all__ = ["ListeningService", "StartupError"]

log = Logger()


class StartupError(SystemExit, Exception):
    """The daemon cannot start; its text is one line that says why.

    Two bases, for the two who catch it. ``twistd`` catches Exception to remove its process id file and, of a
    daemon in the background, to tell the waiting parent; then it lets the error go on. The interpreter, where
    a traceback would be printed for another Exception, ends quietly with status 1 for a SystemExit.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.code = 1

    def __str__(self) -> str:
        return self.text


class ListeningService(Service):
    """Opens and closes a set of listeners.

    Args:
        listeners: where to listen.
        make_factory: gives the factory for a listener.
        opened: called with each listener and the address it really has, in the order of `listeners`.
        fail: called with one line when the service cannot start or go on; prints it by default.
        stop: called when a listener fails after the start; by default ends this process with an error.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        make_factory: Callable[[Listener], IProtocolFactory],
        opened: Callable[[Listener, IAddress], object],
        fail: Callable[[str], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> None:
        self.listeners = listeners
        self.make_factory = make_factory
        self.opened = opened
        self.fail = print_error if fail is None else fail
        self.stop = stop_process if stop is None else stop
        self._waiting: list[Deferred[IListeningPort | None]] = []
        self._starting = False

    def privilegedStartService(self) -> None:
        """Open the listeners, while the process may still open privileged ports.

        Raises:
            StartupError: one could not be opened; the others are closed again.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        failures: list[str] = []

        def failed(failure: Failure, listener: Listener) -> None:
            if failure.check(CancelledError):
                return
            text = f"cannot listen on {listener.text}: {explain(failure)}"
            if not failure.check(CannotListenError, OSError):
                log.failure("listening on {listener} failed", failure, listener=listener.text)
            if self._starting:
                failures.append(text)
            else:
                self.fail(text)
                self.stop()

        def opened(port: IListeningPort, listener: Listener) -> IListeningPort:
            self.opened(listener, port.getHost())
            return port

        self._starting = True
        for listener in self.listeners:
            try:
                waiting: Deferred[Any] = listener.endpoint.listen(self.make_factory(listener))
            except Exception:
                failed(Failure(), listener)
                break
            waiting.addCallback(opened, listener).addErrback(failed, listener)
            if failures:
                break
            self._waiting.append(waiting)
        self._starting = False
        if failures:
            self._close_all()
            for listener in self.listeners:
                if isinstance(listener.endpoint, UnixEndpoint):
                    listener.endpoint.remove_name()
            self.fail(failures[0])
            raise StartupError(failures[0])

    def startService(self) -> None:
        """Open the listeners, unless :meth:`privilegedStartService` has."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self._waiting:
            self.privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        """Close the listeners.

        Returns:
            A Deferred that fires when all are closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return DeferredList(self._close_all(), consumeErrors=True)

    def _close_all(self) -> list[Deferred[Any]]:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.cancel()
            deferred.addCallback(lambda port: None if port is None else port.stopListening())
        return waiting


def explain(failure: Failure) -> str:
    """What went wrong with a listener, in the words of the operating system."""
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError if isinstance(error.socketError, Exception) else error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def print_error(text: str) -> None:
    """Print one line on the standard error that the process began with: ``twistd`` logs the present one."""
    log.error("{text}", text=text)
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"remotevirt: {text}\n")
        stream.flush()


def stop_process() -> None:
    """Shut down in order, then end as if by SIGTERM: the only non-zero status twistd can be asked for."""
    os.kill(os.getpid(), signal.SIGTERM)
