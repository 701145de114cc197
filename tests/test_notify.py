"""What systemd is told, received by a socket like its own."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.notify import NotifyService


class WaitingClock(Clock):
    """A reactor that runs when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def callWhenRunning(self, function: Any, *args: Any) -> None:
        self.waiting.append((function, args))

    def run(self) -> None:
        """It runs now."""
        waiting, self.waiting = self.waiting, []
        for function, args in waiting:
            function(*args)


class NotifyTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        folder = tempfile.mkdtemp(prefix="notify-")
        self.addCleanup(shutil.rmtree, folder)
        self.path = f"{folder}/notify"
        self.listen(self.path)
        self.clock = WaitingClock()
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def listen(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def make(self, **environ: str) -> NotifyService:
        environ = {"NOTIFY_SOCKET": self.path, **environ}
        return NotifyService(self.clock, environ, monotonic=lambda: 5_123_456)

    def told(self) -> list[str]:
        """What has arrived."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def warnings(self) -> list[str]:
        """The lines of the log that are ours."""
        from twisted.logger import formatEvent

        return [formatEvent(e) for e in self.log if e.get("log_namespace") == "remotevirt.notify"]

    def test_life(self) -> None:
        service = self.make()
        service.startService()
        self.assertEqual([], self.told())  # the reactor does not run yet: nobody is served
        self.clock.run()
        self.assertEqual(["READY=1"], self.told())
        service.reloading()
        service.ready()
        service.status("two\nlines")
        self.assertEqual(["RELOADING=1\nMONOTONIC_USEC=5123", "READY=1", "STATUS=two lines"], self.told())
        service.stopService()
        self.assertEqual(["STOPPING=1"], self.told())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stopped_before_the_reactor_runs(self) -> None:
        """What started with it has failed: systemd is not told that we are ready."""
        service = self.make(WATCHDOG_USEC="1000000")
        service.startService()
        service.stopService()
        self.clock.run()
        self.assertEqual([], self.told())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_abstract_name(self) -> None:
        name = f"remotevirt-test-{os.getpid()}"
        self.listen(b"\0" + name.encode())
        self.make(NOTIFY_SOCKET=f"@{name}").ready()
        self.assertEqual(["READY=1"], self.told())

    def test_nobody_wants_to_know(self) -> None:
        service = NotifyService(self.clock, {"WATCHDOG_USEC": "1000000"})
        service.startService()
        self.clock.run()
        service.reloading()
        service.stopService()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.warnings())

    def test_watchdog(self) -> None:
        """Twice in each period, by the reactor's clock: a reactor that hangs is not alive."""
        service = self.make(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
        service.startService()
        self.clock.run()
        self.assertEqual(["READY=1", "WATCHDOG=1"], self.told())
        self.clock.advance(1.4)
        self.assertEqual([], self.told())
        self.clock.advance(0.2)
        self.assertEqual(["WATCHDOG=1"], self.told())
        self.clock.pump([1.5] * 4)
        self.assertEqual(["WATCHDOG=1"] * 4, self.told())
        service.stopService()
        self.clock.advance(10)
        self.assertEqual(["STOPPING=1"], self.told())

    def test_watchdog_of_another(self) -> None:
        service = self.make(WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid() + 1))
        service.startService()
        self.clock.run()
        self.assertEqual(["READY=1"], self.told())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nonsense_in_the_environment(self) -> None:
        for environ, why in [
            ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC=soon is no number"),
            (
                {"NOTIFY_SOCKET": "vsock:2:9"},
                "NOTIFY_SOCKET=vsock:2:9 is neither a path nor an abstract name",
            ),
        ]:
            service = self.make(**environ)
            service.startService()
            self.clock.run()
            service.stopService()
            self.assertIn(why, self.warnings())

    def test_systemd_is_gone(self) -> None:
        """A message that cannot be sent is a line of the log, and stops nothing."""
        self.socket.close()
        os.unlink(self.path)
        self.make().ready()
        (line,) = self.warnings()
        self.assertIn("systemd cannot be told READY=1: ", line)
