"""Reloading: by SIGHUP and by call; what fails stays as it was, and what else there is is reloaded."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.errors import RemotevirtError
from remotevirt.reload import ReloadService

reactor: Any = _reactor


class Told:
    """Stands for the service that tells systemd."""

    def __init__(self, happened: list[str]) -> None:
        self.happened = happened

    def reloading(self) -> None:
        self.happened.append("RELOADING")

    def ready(self) -> None:
        self.happened.append("READY")


class ReloadTests(TestCase):
    """The service."""

    def setUp(self) -> None:
        self.happened: list[str] = []
        told: Any = Told(self.happened)
        self.service = ReloadService(reactor, told)
        self.log = EventLoggingObserver()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def add(self, name: str, error: Exception | None = None) -> None:
        def reload() -> None:
            self.happened.append(name)
            if error is not None:
                raise error

        self.service.add(name, reload)

    def lines(self) -> list[str]:
        return [formatEvent(e) for e in self.log if e.get("log_namespace") == "remotevirt.reload"]

    def test_in_order(self) -> None:
        self.add("policy")
        self.add("certificates")
        self.assertEqual([], self.successResultOf(self.service.reload()))
        self.assertEqual(["RELOADING", "policy", "certificates", "READY"], self.happened)
        self.assertEqual(["reloaded policy, certificates"], self.lines())

    def test_again(self) -> None:
        """A reload that is through at once does not stand in the way of the next."""
        self.add("policy")
        for _ in range(3):
            self.assertEqual([], self.successResultOf(self.service.reload()))
        self.assertEqual(["RELOADING", "policy", "READY"] * 3, self.happened)

    def test_nothing_to_reload(self) -> None:
        self.assertEqual([], self.successResultOf(self.service.reload()))
        self.assertEqual(["RELOADING", "READY"], self.happened)

    def test_failures(self) -> None:
        """Each is one line; the others are reloaded, and systemd is told that it is over."""
        self.add("policy", RemotevirtError("policy.toml:3:\nno such right"))
        self.add("users", FileNotFoundError(2, "No such file or directory"))
        self.add("log")
        self.assertEqual(["policy", "users"], self.successResultOf(self.service.reload()))
        self.assertEqual(["RELOADING", "policy", "users", "log", "READY"], self.happened)
        self.assertEqual(
            [
                "policy could not be reloaded, and stays as it is: policy.toml:3: no such right",
                "users could not be reloaded, and stays as it is: [Errno 2] No such file or directory",
                "reloaded log",
            ],
            self.lines(),
        )

    def test_a_bug_gets_its_traceback(self) -> None:
        self.add("policy", ZeroDivisionError())
        self.assertEqual(["policy"], self.successResultOf(self.service.reload()))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual("READY", self.happened[-1])

    def test_a_part_that_takes_its_time(self) -> None:
        """It is waited for; who asks meanwhile gets what is there after that, once."""
        waiting: list[Deferred[None]] = []

        def reload() -> Deferred[None]:
            self.happened.append("slow")
            waiting.append(Deferred())
            return waiting[-1]

        self.service.add("slow", reload)
        results = [self.service.reload() for _ in range(3)]
        self.assertEqual(["RELOADING", "slow"], self.happened)
        waiting[0].callback(None)
        self.assertEqual(["RELOADING", "slow", "slow"], self.happened)
        for result in results:
            self.assertNoResult(result)
        waiting[1].errback(ValueError("oops"))
        self.assertEqual([["slow"]] * 3, [self.successResultOf(result) for result in results])
        self.assertEqual(["RELOADING", "slow", "slow", "READY"], self.happened)
        again = self.service.reload()
        waiting[2].callback(None)
        self.assertEqual([], self.successResultOf(again))

    @inlineCallbacks
    def test_signal(self) -> Any:
        """SIGHUP reloads while the service runs; afterwards whoever had the signal has it again."""
        theirs: list[int] = []
        before = signal.signal(signal.SIGHUP, lambda number, frame: theirs.append(number))
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        done: Deferred[None] = Deferred()
        self.service.add("log", lambda: done.callback(None))
        running: Deferred[None] = Deferred()
        reactor.callWhenRunning(running.callback, None)
        yield running
        self.service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        yield done.addTimeout(30, reactor)
        self.assertEqual([], theirs)
        self.service.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([signal.SIGHUP], theirs)
        self.service.stopService()

    def test_stopped_before_the_reactor_runs(self) -> None:
        """The signal is never taken."""
        before = signal.getsignal(signal.SIGHUP)
        waiting: list[Any] = []
        self.service.reactor = type("Reactor", (), {"callWhenRunning": lambda self, f: waiting.append(f)})()
        self.service.startService()
        self.service.stopService()
        for function in waiting:
            function()
        self.assertIs(before, signal.getsignal(signal.SIGHUP))
