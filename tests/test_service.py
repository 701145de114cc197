"""The daemon as one service: which log it writes to, and the order in which it ends."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Application, IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.logs import Logs
from remotevirt.logs.record import Record
from remotevirt.logs.settings import parse_outputs
from remotevirt.logs.sinks import Sink
from remotevirt.service import DaemonService


class MemorySink(Sink):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def _write(self, record: Record) -> None:
        self.messages.append(record.message)


class ServiceTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        self.sink = MemorySink()
        self.logs = Logs(outputs=parse_outputs("1:stderr"), open_sink=lambda output: self.sink)
        self.happened: list[str] = []

    def part(self, name: str, end: Deferred[None] | None = None) -> Service:
        happened = self.happened

        class Part(Service):
            """Says what happens to it."""

            def startService(self) -> None:
                happened.append(f"start {name}")

            def stopService(self) -> Any:
                happened.append(f"stop {name}")
                return end

        return Part()

    def test_the_only_log(self) -> None:
        """It is the application's, so twistd opens none; nothing is written twice."""
        service = DaemonService(self.logs, replaces=True)
        application: Any = Application("x")
        service.setServiceParent(application)
        self.assertIs(self.logs, application.getComponent(ILogObserver))
        self.assertIs(application, service.parent and application)
        IService(application).privilegedStartService()
        Logger("test").info("hello")
        self.assertEqual([], self.sink.messages)  # it is for twistd to begin

    def test_beside_another(self) -> None:
        service = DaemonService(self.logs)
        application: Any = Application("x")
        service.setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))
        service.privilegedStartService()
        service.startService()
        Logger("test").info("hello")
        self.successResultOf(service.stopService())
        Logger("test").info("too late")
        self.assertEqual(["hello"], self.sink.messages)

    def test_end(self) -> None:
        """Listeners are closed first, then what runs is drained, then the log ends."""
        closed: Deferred[None] = Deferred()
        drained: Deferred[None] = Deferred()

        def drain() -> Deferred[None]:
            self.happened.append("drain")
            return drained

        service = DaemonService(self.logs)
        service.drain = drain
        for part in (self.part("listeners", closed), self.part("notify")):
            service.addService(part)
        service.privilegedStartService()
        service.startService()
        stopped = service.stopService()
        self.assertEqual(["start listeners", "start notify", "stop notify", "stop listeners"], self.happened)
        closed.callback(None)
        self.assertEqual("drain", self.happened[-1])
        self.assertNoResult(stopped)
        Logger("test").info("still draining")
        drained.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(["still draining"], self.sink.messages)

    def test_draining_that_fails(self) -> None:
        def drain() -> None:
            raise ZeroDivisionError

        service = DaemonService(self.logs)
        service.drain = drain
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
