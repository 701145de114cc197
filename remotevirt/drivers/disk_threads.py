"""Work that waits for a disk: in threads of its own, so that one that hangs holds up nobody else.

::

    in_thread(place, work) ──► the lane of a place ──► a thread ──► the result
                                  │ full                 │ does not get on for 30 seconds
                                  └── waits, 30 seconds ─┴──► OperationTimeout; the thread goes on by itself

A file system whose server is gone holds whoever touches it, and cannot be told not to. So the reactor touches
none. Threads are the daemon's dearest, so each *place* (the folder that a file is in) has a *lane* that takes
a few of them at a time, and no more: where something hangs, the next calls wait for their turn in vain, and
say so. The threads are not the reactor's, which has ten for whatever there is to compute, and they keep no
daemon from ending.

Work gets a :class:`Stop`, which it looks at between steps: so it hears that nobody waits any more, and it is
seen that it gets on. Long work (:func:`in_long_thread`) has no deadline, nor has what must be done in any
case (:func:`surely_in_thread`); both have lanes of their own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from remotevirt.drivers.regardless import regardless
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationTimeout

__all__ = [
    "DISK_SECONDS",
    "LANE",
    "Lanes",
    "Stop",
    "Stopped",
    "busy",
    "close_in_thread",
    "in_long_thread",
    "in_thread",
    "made_in_thread",
    "open_in_thread",
    "surely_in_thread",
]

DISK_SECONDS: Final = 30.0
"""How long a disk may keep short work waiting between two steps, and a call for its turn. libvirt waits for
ever; disks that have to spin up take some ten seconds."""

LANE: Final = 4
"""Threads that may touch one place at a time, as many for what must be done, and as many for long work."""

MAX_WAITING: Final = 256
"""Calls that wait for the lane of one place; a client has five in flight by default."""

MAX_THREADS: Final = 256
"""Threads in all: some thirty places that hang leave room for the others. One that waits costs some 40 KiB of
memory."""

P = ParamSpec("P")
T = TypeVar("T")

log = Logger()
reactor: Any = _reactor


class Stopped(Exception):
    """The work was stopped."""


class Stop:
    """Whether the work of a thread shall stop, and when it was last seen to get on."""

    __slots__ = ("_event", "seen")

    def __init__(self) -> None:
        self._event = Event()
        self.seen = monotonic()

    def set(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    def check(self) -> None:
        """Note that the work gets on; raise Stopped if it shall stop."""
        self.seen = monotonic()
        if self._event.is_set():
            raise Stopped


class _Daemonic(Thread):
    """A thread that the end of the process does not wait for: it may hang for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _Threads(ThreadPool):
    """The threads; they are never stopped, since one that hangs could not be."""

    threadFactory = _Daemonic


_threads: list[_Threads] = []


def _pool() -> _Threads:
    """Return the threads; made when they are first needed."""
    if not _threads:
        _threads.append(_Threads(0, MAX_THREADS, "disk"))
        _threads[0].start()
    return _threads[0]


class _Lane:
    """What happens at one place: how many work, and who waits."""

    __slots__ = ("busy", "late", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.late = 0
        self.waiting: deque[Deferred[None]] = deque()


class Lanes:
    """The right to touch places: so many at a time for each.

    Args:
        width: how many.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    async def enter(self, place: str, seconds: float | None) -> None:
        """Wait for one's turn at a place.

        Args:
            place: where; any name.
            seconds: how long; None for as long as it takes.

        Raises:
            OperationTimeout: it did not come, or could not: all who are there have waited too long already.
            OperationFailed: too many wait.
        """
        lane = self._lanes.setdefault(place, _Lane())
        if lane.busy < self.width:
            lane.busy += 1
            return
        if seconds is not None:
            if lane.late >= self.width:
                raise _late(place)
            if len(lane.waiting) >= MAX_WAITING:
                text = f"too many calls wait for the storage at '{place}'"
                raise OperationFailed(text, domain=c.VIR_FROM_STORAGE)
        turn: Deferred[None] = Deferred(lambda _: lane.waiting.remove(turn))
        lane.waiting.append(turn)
        timer = None if seconds is None else reactor.callLater(seconds, self._give_up, place, lane, turn)
        try:
            await turn
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    @staticmethod
    def _give_up(place: str, lane: _Lane, turn: Deferred[None]) -> None:
        lane.waiting.remove(turn)
        turn.errback(_late(place))

    def leave(self, place: str, *, late: bool = False) -> None:
        """Let the next one have the turn; ``late`` if that had been said (:meth:`linger`)."""
        lane = self._lanes[place]
        lane.late -= late
        if lane.waiting:
            lane.waiting.popleft().callback(None)
            return
        lane.busy -= 1
        if not lane.busy:
            del self._lanes[place]

    def linger(self, place: str) -> None:
        """Take note that somebody who has the turn does not get on, and may never."""
        self._lanes[place].late += 1


_short = Lanes(LANE)
_sure = Lanes(LANE)
_long = Lanes(LANE)


def busy() -> int:
    """Return at how many places something goes on."""
    return len(_short) + len(_sure) + len(_long)


def _late(place: str) -> OperationTimeout:
    text = f"the storage at '{place}' does not answer"
    return OperationTimeout(text, domain=c.VIR_FROM_STORAGE)


def _nothing(result: Any) -> None:
    """Do nothing with what came too late."""


async def in_thread(
    place: str, work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do something short in a thread.

    Args:
        place: the folder that it touches, or any other name of what may hang.
        work: gets a :class:`Stop` first.
        args, kwargs: what it gets then.

    Raises:
        OperationTimeout: its turn did not come, or it did not get on; it is left to itself, and told to stop.
        OperationFailed: too many wait for that place.
        CancelledError: nobody waits any more; the thread has ended, or does not get on.
        Exception: what the work raises.
    """
    return await _do(_short, place, DISK_SECONDS, lambda stop: work(stop, *args, **kwargs), _nothing)


async def open_in_thread(
    place: str, work: Callable[Concatenate[Stop, P], int], *args: P.args, **kwargs: P.kwargs
) -> int:
    """Open something in a thread; as :func:`in_thread`. What nobody waits for any more is closed.

    Args:
        place: where it is.
        work: returns a descriptor.
        args, kwargs: for it.
    """
    return await _do(_short, place, DISK_SECONDS, lambda stop: work(stop, *args, **kwargs), os.close)


async def made_in_thread(place: str, work: Callable[[Stop], T], undo: Callable[[T], Any]) -> T:
    """Make something in a thread; as :func:`in_thread`.

    Args:
        place: where.
        work: makes it.
        undo: is called in a thread, with the result, if nobody waits for that any more.
    """
    return await _do(_short, place, DISK_SECONDS, work, undo)


async def surely_in_thread(
    place: str, work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do something short in a thread that has to be done however late, or whose end has to be waited for.

    As :func:`in_long_thread`, with lanes of its own, so that it need not wait for long work.
    """
    return await _do(_sure, place, None, lambda stop: work(stop, *args, **kwargs), _nothing)


async def in_long_thread(
    place: str, work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do something in a thread that may take as long as it likes.

    As :func:`in_thread`, without a deadline: who cancels it waits until it has ended.
    """
    return await _do(_long, place, None, lambda stop: work(stop, *args, **kwargs), _nothing)


async def close_in_thread(place: str, descriptor: int) -> None:
    """Close a descriptor, which a file system may take long for.

    It is closed whether anybody waits for that or not, and nobody waits for longer than for short work.
    """
    closing = surely_in_thread(place, lambda stop: os.close(descriptor))
    try:
        await regardless(Deferred.fromCoroutine(closing)).addTimeout(DISK_SECONDS, reactor)
    except TimeoutError:
        log.warn("the storage at {place} does not answer", place=place)


async def _do(
    lanes: Lanes, place: str, seconds: float | None, work: Callable[[Stop], T], undo: Callable[[T], Any]
) -> T:
    """Do something in a thread, when it is its turn; ``undo`` is called, in the thread, with what nobody
    takes."""
    await lanes.enter(place, seconds)
    piece = _Piece(lanes, place, seconds, work, undo)
    while True:
        try:
            result: T = await piece.wait()
            return result
        except CancelledError:
            if piece.over:
                raise
            piece.cancel()


class _Piece:
    """A piece of work that has its turn."""

    def __init__(
        self,
        lanes: Lanes,
        place: str,
        seconds: float | None,
        work: Callable[[Stop], Any],
        undo: Callable[[Any], Any],
    ) -> None:
        self._lanes = lanes
        self._place = place
        self._seconds = seconds
        self._work = work
        self._undo = undo
        self._stop = Stop()
        self._answer: Deferred[Any] | None = None
        self._outcome: list[Any] = []
        self._cancelled = False
        self._left = False
        """It does not get on, and nobody waits for it any more."""
        self._timer = None if seconds is None else reactor.callLater(seconds, self._look)
        deferToThreadPool(reactor, _pool(), self._run).addBoth(self._ended)

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return bool(self._outcome)

    def wait(self) -> Deferred[Any]:
        """Return what fires with the outcome."""
        self._answer = Deferred()
        if self._outcome:
            self._answer.callback(self._outcome[0])
        return self._answer

    def cancel(self) -> None:
        """Tell the work that its result is of no use any more."""
        self._cancelled = True
        self._stop.set()

    def _run(self) -> Any:
        """Do it; in the thread."""
        self._stop.check()
        result = self._work(self._stop)
        if self._cancelled or self._left:
            self._undo(result)
            raise CancelledError
        return result

    def _look(self) -> None:
        """See whether the work gets on."""
        assert self._seconds is not None
        rest = self._stop.seen + self._seconds - monotonic()
        if rest > 0:
            self._timer = reactor.callLater(rest, self._look)
            return
        self._timer = None
        self._left = True
        self._stop.set()
        self._lanes.linger(self._place)
        log.warn("the storage at {place} does not answer", place=self._place)
        self._settle(Failure(CancelledError() if self._cancelled else _late(self._place)))

    def _ended(self, result: Any) -> None:
        """Take note that the thread is free again."""
        self._lanes.leave(self._place, late=self._left)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._left:
            self._drop(result)
            return
        if self._cancelled:
            self._drop(result)
            result = Failure(CancelledError())
        self._settle(result)

    def _drop(self, result: Any) -> None:
        """Let go of an outcome that nobody waits for; what is undone was seen too late to be undone there."""
        if not isinstance(result, Failure):
            deferToThreadPool(reactor, _pool(), self._undo, result).addErrback(self._unheard)
        elif not result.check(CancelledError, Stopped):
            self._unheard(result)

    def _unheard(self, failure: Failure) -> None:
        log.warn("too late, at {place}: {error}", place=self._place, error=failure.value)

    def _settle(self, result: Any) -> None:
        self._outcome.append(result)
        if self._answer is not None and not self._answer.called:
            self._answer.callback(result)
