"""The end of a daemon that nobody uses."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.idle import IdleService


class IdleTests(SynchronousTestCase):
    """The service."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clients = 0
        self.stopped = 0

    def start(self, seconds: int) -> IdleService:
        service = IdleService(self.clock, seconds, lambda: self.clients, self.stop)
        service.startService()
        return service

    def stop(self) -> None:
        self.stopped += 1

    def advance(self, seconds: int) -> None:
        self.clock.pump([0.5] * (2 * seconds))

    def test_nobody_comes(self) -> None:
        self.start(120)
        self.advance(119)
        self.assertEqual(0, self.stopped)
        self.advance(2)
        self.assertEqual(1, self.stopped)
        self.advance(500)
        self.assertEqual(1, self.stopped)

    def test_somebody_is_there(self) -> None:
        self.start(10)
        self.advance(5)
        self.clients = 1
        self.advance(500)
        self.clients = 0
        self.advance(9)
        self.assertEqual(0, self.stopped)
        self.advance(2)
        self.assertEqual(1, self.stopped)

    def test_somebody_between_two_looks(self) -> None:
        service = self.start(10)
        for _ in range(20):
            self.advance(6)
            service.touch()
        self.assertEqual(0, self.stopped)

    def test_never(self) -> None:
        self.start(0)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_changed_while_it_runs(self) -> None:
        service = self.start(0)
        self.advance(100)
        service.set_timeout(10)
        self.advance(9)
        self.assertEqual(0, self.stopped)
        service.set_timeout(20)
        self.advance(19)
        self.assertEqual(0, self.stopped)
        service.set_timeout(0)
        self.advance(100)
        self.assertEqual((0, []), (self.stopped, self.clock.getDelayedCalls()))

    def test_stopped(self) -> None:
        service = self.start(10)
        service.stopService()
        service.stopService()
        service.set_timeout(5)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.advance(100)
        self.assertEqual(0, self.stopped)
