"""Threads for what waits for a disk: lanes, deadlines, and what comes too late."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from remotevirt.drivers import disk_threads
from remotevirt.drivers.disk_threads import (
    LANE,
    Lanes,
    Stop,
    close_in_thread,
    in_long_thread,
    in_thread,
    made_in_thread,
    open_in_thread,
    surely_in_thread,
)
from remotevirt.stubs.errors import OperationFailed, OperationTimeout
from tests.daemons import ROOT
from tests.drivers.hanging import quiet

reactor: Any = _reactor

SOON = 0.5
"""The deadline of these tests."""


class DiskCase(TestCase):
    """A disk that hangs, and one that does not."""

    def setUp(self) -> None:
        self.patch(disk_threads, "DISK_SECONDS", SOON)
        self.recovered = threading.Event()
        self.hung = threading.Semaphore(0)
        self.addCleanup(lambda: Deferred.fromCoroutine(quiet()))
        self.addCleanup(self.recovered.set)

    def hang(self, stop: Stop) -> int:
        """Touch the disk that hangs; what is there is a descriptor."""
        self.hung.release()
        self.recovered.wait()
        return os.open("/dev/null", os.O_RDONLY)

    def begin(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Begin a coroutine."""
        return Deferred.fromCoroutine(work())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition."""
        for _ in range(1000):
            if condition():
                return
            await deferLater(reactor, 0.01)
        self.fail("it does not come true")


class DeadlineTests(DiskCase):
    """Work that does not get on."""

    async def test_others_go_on(self) -> None:
        """One that hangs is given up, with words that name the place; elsewhere nothing is felt."""
        hanging = self.begin(lambda: in_thread("/slow", self.hang))
        self.assertEqual("read", await in_thread("/fast", lambda stop: "read"))
        error = await self.assertFailure(hanging, OperationTimeout)
        self.assertIn("the storage at '/slow' does not answer", str(error))

    async def test_places_are_bounded(self) -> None:
        """So many may hang at a place; the next ones wait, then are told at once; it recovers."""
        calls = [self.begin(lambda: in_thread("/slow", self.hang)) for _ in range(LANE + 3)]
        for call in calls:
            await self.assertFailure(call, OperationTimeout)
        self.assertEqual(LANE, sum(1 for _ in range(LANE + 3) if self.hung.acquire(blocking=False)))
        told = self.begin(lambda: in_thread("/slow", self.hang))
        self.failureResultOf(told, OperationTimeout)
        self.recovered.set()
        await quiet()
        self.assertEqual(1, await in_thread("/slow", lambda stop: 1))

    async def test_waiting_is_bounded(self) -> None:
        """No more may wait than there is room for."""
        self.patch(disk_threads, "MAX_WAITING", 2)
        calls = [self.begin(lambda: in_thread("/slow", self.hang)) for _ in range(LANE + 2)]
        self.failureResultOf(self.begin(lambda: in_thread("/slow", self.hang)), OperationFailed)
        for call in calls:
            await self.assertFailure(call, OperationTimeout)

    async def test_slow_is_not_hanging(self) -> None:
        """Who gets on may take as long as it likes."""

        def work(stop: Stop) -> str:
            for _ in range(8):
                stop.check()
                self.recovered.wait(SOON / 3)
            return "done"

        self.assertEqual("done", await in_thread("/slow", work))

    async def test_long_work(self) -> None:
        """Long work has no deadline, and does not take the places of short work."""
        calls = [self.begin(lambda: in_long_thread("/slow", self.hang)) for _ in range(LANE)]
        await deferLater(reactor, 2 * SOON)
        for kind in (in_thread, surely_in_thread):
            self.assertEqual(1, await kind("/slow", lambda stop: 1))
        for call in calls:
            self.assertNoResult(call)
        self.recovered.set()
        for call in calls:
            os.close(await call)


class LateTests(DiskCase):
    """What comes when nobody waits any more."""

    async def test_descriptor(self) -> None:
        """A file that is opened too late is closed."""
        await in_thread("/", lambda stop: None)
        before = len(os.listdir("/proc/self/fd"))
        opening = self.begin(lambda: open_in_thread("/slow", self.hang))
        await self.assertFailure(opening, OperationTimeout)
        self.recovered.set()
        await quiet()
        await self.until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    async def test_undone(self) -> None:
        """What is made too late is undone, in a thread."""
        undone: list[Any] = []

        def undo(made: int) -> None:
            os.close(made)
            undone.append(threading.get_ident())

        making = self.begin(lambda: made_in_thread("/slow", self.hang, undo))
        await self.assertFailure(making, OperationTimeout)
        self.assertEqual([], undone)
        self.recovered.set()
        await self.until(lambda: bool(undone))
        self.assertNotEqual([threading.get_ident()], undone)

    async def test_told_to_stop(self) -> None:
        """Work that was given up hears of it at its next step, and does not take it."""
        steps: list[int] = []

        def work(stop: Stop) -> None:
            self.recovered.wait()
            stop.check()
            steps.append(1)

        await self.assertFailure(self.begin(lambda: in_thread("/slow", work)), OperationTimeout)
        self.recovered.set()
        await quiet()
        self.assertEqual([], steps)

    async def test_client_goes(self) -> None:
        """Who goes while it hangs is let go at the deadline, or when the work has ended."""
        for late in (True, False):
            self.recovered.clear()
            opening = self.begin(lambda: open_in_thread("/slow", self.hang))
            await self.until(lambda: self.hung.acquire(blocking=False))
            opening.cancel()
            self.assertNoResult(opening)
            if not late:
                self.recovered.set()
            await self.assertFailure(opening, CancelledError)
            self.recovered.set()
            await quiet()

    async def test_close(self) -> None:
        """A descriptor is closed also when nobody waits for that, and an error is told to who does."""
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        closing = self.begin(lambda: close_in_thread("/dev", theirs))
        closing.cancel()
        await self.assertFailure(closing, CancelledError)
        await quiet()
        self.assertEqual(b"", os.read(ours, 1))
        await self.assertFailure(self.begin(lambda: close_in_thread("/dev", 1 << 20)), OSError)


class LaneTests(DiskCase):
    """Turns at places."""

    async def test_nothing_is_kept(self) -> None:
        """Places where nothing goes on are forgotten, also when who waited there has gone."""
        lanes = Lanes(1)
        await lanes.enter("/a", None)
        waiting = self.begin(lambda: lanes.enter("/a", None))
        other = self.begin(lambda: lanes.enter("/a", None))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        lanes.leave("/a")
        self.successResultOf(other)
        self.assertEqual(1, len(lanes))
        lanes.leave("/a")
        self.assertEqual(0, len(lanes))


class EndTests(TestCase):
    """The end of the process."""

    def test_hanging_thread(self) -> None:
        """A disk that hangs keeps no daemon from ending."""
        code = (
            "from threading import Event\n"
            "from twisted.internet import reactor\n"
            "from twisted.internet.defer import Deferred\n"
            "from remotevirt.drivers.disk_threads import in_thread\n"
            "def work(stop):\n    reactor.callFromThread(reactor.stop)\n    Event().wait()\n"
            "reactor.callWhenRunning(lambda: Deferred.fromCoroutine(in_thread('/', work)))\n"
            "reactor.run()\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
