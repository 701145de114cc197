"""Opening all listeners or none, and failing in one line."""

from __future__ import annotations

import io
import sys
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from remotevirt.transport.listener import Listener
from remotevirt.transport.service import ListeningService, StartupError, explain, print_error

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)
IN_USE = CannotListenError(None, 1, OSError(98, "Address already in use"))


class Port:
    """A port that remembers whether it was closed."""

    open = True

    def getHost(self) -> IPv4Address:
        return ADDRESS

    def stopListening(self) -> Deferred[None]:
        self.open = False
        return succeed(None)


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that does what a test says."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def listen(self, protocolFactory: Any) -> Any:
        self.factory = protocolFactory
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class ListeningServiceTests(TestCase):
    """:class:`ListeningService`."""

    def setUp(self) -> None:
        self.opened: list[str] = []
        self.errors: list[str] = []
        self.stopped = 0

    def service(self, *results: Any) -> ListeningService:
        def stop() -> None:
            self.stopped += 1

        self.listeners = [
            Listener(f"tcp:{number}", Endpoint(result), "tcp") for number, result in enumerate(results)
        ]
        return ListeningService(
            self.listeners,
            lambda listener: Factory.forProtocol(lambda: None),
            lambda listener, address: self.opened.append(listener.text),
            self.errors.append,
            stop,
        )

    def start(self, service: ListeningService) -> None:
        service.privilegedStartService()
        service.startService()

    def test_opens_all(self) -> None:
        ports = [Port(), Port()]
        service = self.service(*(succeed(port) for port in ports))
        self.start(service)
        self.assertEqual(["tcp:0", "tcp:1"], self.opened)
        self.assertTrue(service.running)
        self.successResultOf(service.stopService())
        self.assertEqual([False, False], [port.open for port in ports])

    def test_one_factory_for_each(self) -> None:
        self.start(self.service(succeed(Port()), succeed(Port())))
        factories = {listener.endpoint.factory for listener in self.listeners}
        self.assertEqual(2, len(factories))

    def test_without_privileges(self) -> None:
        """Started by something that knows only startService."""
        self.service(succeed(Port())).startService()
        self.assertEqual(["tcp:0"], self.opened)

    def test_one_fails(self) -> None:
        """The listeners before it are closed, those after it not opened."""
        for failing in (IN_USE, fail(IN_USE)):
            self.opened.clear()
            self.errors.clear()
            port = Port()
            service = self.service(succeed(port), failing, succeed(Port()))
            error = self.assertRaises(StartupError, service.privilegedStartService)
            self.assertEqual("cannot listen on tcp:1: Address already in use", str(error))
            self.assertEqual([str(error)], self.errors)
            self.assertFalse(port.open)
            self.assertEqual(["tcp:0"], self.opened)
            self.assertFalse(hasattr(self.listeners[2].endpoint, "factory"))
            self.assertEqual(0, self.stopped)

    def test_an_endpoint_with_a_bug(self) -> None:
        """What no endpoint should raise is one line too, and the traceback is in the log."""
        service = self.service(ZeroDivisionError("oops"))
        self.assertRaises(StartupError, service.privilegedStartService)
        self.assertEqual(["cannot listen on tcp:0: oops"], self.errors)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_fails_later(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.start(self.service(waiting, succeed(Port())))
        self.assertEqual(["tcp:1"], self.opened)
        waiting.errback(Failure(IN_USE))
        self.assertEqual((["cannot listen on tcp:0: Address already in use"], 1), (self.errors, self.stopped))

    def test_stopped_while_opening(self) -> None:
        waiting: Deferred[Any] = Deferred()
        service = self.service(waiting)
        self.start(service)
        self.successResultOf(service.stopService())
        self.assertEqual(([], 0), (self.errors, self.stopped))

    def test_restart(self) -> None:
        service = self.service(succeed(Port()))
        self.start(service)
        self.successResultOf(service.stopService())
        self.listeners[0].endpoint.result = succeed(Port())
        self.start(service)
        self.assertEqual(["tcp:0", "tcp:0"], self.opened)


class ErrorTests(TestCase):
    """How errors are said."""

    def test_startup_error(self) -> None:
        """The interpreter ends with its code; twistd catches it as an Exception and passes its text on."""
        error = StartupError("no")
        self.assertIsInstance(error, SystemExit)
        self.assertIsInstance(error, Exception)
        self.assertEqual((1, "no"), (error.code, str(error)))

    def test_explanations(self) -> None:
        for error, text in [
            (IN_USE, "Address already in use"),
            (OSError(13, "Permission denied"), "Permission denied"),
            (ValueError("two\n  lines"), "two lines"),
            (ValueError(), "ValueError"),
        ]:
            self.assertEqual(text, explain(Failure(error)))

    def test_printed_past_twistds_log(self) -> None:
        out = io.StringIO()
        self.patch(sys, "__stderr__", out)
        print_error("no room")
        self.assertEqual("remotevirt: no room\n", out.getvalue())
        self.patch(sys, "__stderr__", None)
        print_error("nowhere to say it")
