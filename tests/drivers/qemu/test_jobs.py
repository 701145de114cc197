"""Turns: one call at a time changes a guest, others wait, and none is left held."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.jobs import MAX_WAITING, Job
from remotevirt.stubs.errors import OperationFailed, OperationTimeout

TIMEOUT = 30.0


class JobTests(SynchronousTestCase):
    """Turns of one domain."""

    def setUp(self) -> None:
        """Nobody has the turn."""
        self.clock = Clock()
        self.job = Job()
        self.done: list[str] = []

    def take(self, name: str, work: Deferred[None]) -> Deferred[None]:
        """Have a call take its turn, and hold it until its work is done."""

        async def call() -> None:
            async with self.job.turn(name, self.clock, TIMEOUT):
                await work
                self.done.append(name)

        return Deferred.fromCoroutine(call())

    def free(self) -> None:
        """Check that nobody has the turn, and no timer goes."""
        self.assertIsNone(self.job.owner)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_order(self) -> None:
        """Who came first is served first."""
        works: list[Deferred[None]] = [Deferred() for _ in range(3)]
        for number, work in enumerate(works):
            self.take(str(number), work)
        for number, work in enumerate(works):
            self.assertEqual(str(number), self.job.owner)
            work.callback(None)
        self.assertEqual(["0", "1", "2"], self.done)
        self.free()

    def test_late(self) -> None:
        """Who waits too long is told who has the turn, and is forgotten."""
        work: Deferred[None] = Deferred()
        self.take("remoteDispatchDomainSave", work)
        late = self.take("remoteDispatchDomainSuspend", Deferred())
        self.clock.advance(TIMEOUT - 1)
        self.assertNoResult(late)
        self.clock.advance(1)
        error = self.failureResultOf(late, OperationTimeout).value
        self.assertEqual(
            "Timed out during operation: cannot acquire state change lock "
            "(held by monitor=remoteDispatchDomainSave)",
            error.message,
        )
        work.callback(None)
        self.assertEqual(["remoteDispatchDomainSave"], self.done)
        self.free()

    def test_vanished(self) -> None:
        """A client that goes leaves no turn held: neither one that it has nor one that it waits for."""
        first, second, third = Deferred[None](), Deferred[None](), Deferred[None]()
        holder, waiter, last = self.take("a", first), self.take("b", second), self.take("c", third)
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        holder.cancel()
        self.failureResultOf(holder, CancelledError)
        self.assertEqual("c", self.job.owner)
        third.callback(None)
        self.successResultOf(last)
        self.free()

    def test_failed(self) -> None:
        """Neither does a call that fails."""
        work: Deferred[None] = Deferred()
        failing, next_one = self.take("a", work), self.take("b", Deferred())
        work.errback(OperationFailed("no"))
        self.failureResultOf(failing, OperationFailed)
        self.assertEqual("b", self.job.owner)
        next_one.cancel()
        self.failureResultOf(next_one, CancelledError)
        self.free()

    def test_crowd(self) -> None:
        """Not any number may wait."""
        calls = [self.take("a", Deferred()) for _ in range(1 + MAX_WAITING)]
        error = self.failureResultOf(self.take("b", Deferred()), OperationFailed).value
        self.assertIn("max_queued", error.message)
        for call in reversed(calls):
            call.cancel()
            self.failureResultOf(call, CancelledError)
        self.free()
