"""Methods that run in a thread: not on the reactor, few at once, and not for who has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from remotevirt.drivers.host.aside import AT_ONCE, aside


class Slow:
    """Something whose method waits until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.full = threading.Event()
        self.running = 0
        self.most = 0
        self.begun: list[int] = []
        self.lock = threading.Lock()

    @aside
    def work(self, number: int) -> int:
        """Wait, and return the number; fail for those below zero."""
        with self.lock:
            self.begun.append(number)
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == AT_ONCE:
                self.full.set()
        self.gate.wait(30)
        with self.lock:
            self.running -= 1
        if number < 0:
            raise ValueError(number)
        return number


class AsideTests(TestCase):
    """Results, errors and turns."""

    def _start(self, count: int) -> tuple[Slow, list[Deferred[int]]]:
        slow = Slow()
        self.addCleanup(slow.gate.set)
        return slow, [slow.work(number) for number in range(count)]

    async def test_turns(self) -> None:
        """However many are asked for, few run at once; all are answered, each with its own."""
        slow, pending = self._start(3 * AT_ONCE)
        await deferToThread(slow.full.wait, 30)
        self.assertFalse(any(one.called for one in pending))
        slow.gate.set()
        self.assertEqual(await gatherResults(pending), list(range(3 * AT_ONCE)))
        self.assertEqual(slow.most, AT_ONCE)

    async def test_gone(self) -> None:
        """What nobody waits for any more is not begun, and leaves its turn to others."""
        slow, pending = self._start(AT_ONCE + 2)
        await deferToThread(slow.full.wait, 30)
        for one in (pending[0], pending[AT_ONCE]):
            one.cancel()
            await self.assertFailure(one, CancelledError)
        slow.gate.set()
        self.assertEqual(await pending[-1], AT_ONCE + 1)
        self.assertEqual(sorted(slow.begun), [*range(AT_ONCE), AT_ONCE + 1])

    async def test_error(self) -> None:
        """An error reaches who asked, and the name of the method stays."""
        slow = Slow()
        slow.gate.set()
        await self.assertFailure(slow.work(-1), ValueError)
        named: Callable[..., object] = Slow.work
        self.assertEqual(named.__name__, "work")
