"""One call at a time may change a running guest; the others wait, for a bounded time.

libvirt calls it a job. Looking at a domain needs none; neither does changing what only the daemon knows of it
(its persistent definition, its autostart). What talks to QEMU more than once, or ends it, does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from twisted.internet.defer import Deferred

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationTimeout

__all__ = ["MAX_WAITING", "Job"]

MAX_WAITING: Final = 64
"""Calls that wait for one domain. libvirt: max_queued in qemu.conf, without a bound by default."""


class Job:
    """The turn to change a guest.

    Attributes:
        owner: the procedure whose turn it is, None for nobody's.
    """

    __slots__ = ("_waiting", "owner")

    def __init__(self) -> None:
        self.owner: str | None = None
        self._waiting: deque[tuple[str, Deferred[None]]] = deque()

    @asynccontextmanager
    async def turn(self, name: str, clock: Any, timeout: float) -> AsyncIterator[None]:
        """Hold the turn while the block runs.

        Args:
            name: of the procedure, for who waits in vain.
            clock: the reactor.
            timeout: seconds to wait for it.

        Raises:
            OperationTimeout: it was not to be had in time.
            OperationFailed: too many wait already.
        """
        await self._acquire(name, clock, timeout)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, name: str, clock: Any, timeout: float) -> None:
        if self.owner is None:
            self.owner = name
            return
        if len(self._waiting) >= MAX_WAITING:
            text = "cannot acquire state change lock due to max_queued limit"
            raise OperationFailed(text, domain=c.VIR_FROM_QEMU)
        mine: Deferred[None] = Deferred(lambda _: self._forget(entry))
        entry = (name, mine)
        self._waiting.append(entry)
        late = clock.callLater(timeout, self._give_up, entry)
        try:
            await mine
        finally:
            if late.active():
                late.cancel()

    def _give_up(self, entry: tuple[str, Deferred[None]]) -> None:
        self._forget(entry)
        text = f"cannot acquire state change lock (held by monitor={self.owner})"
        entry[1].errback(OperationTimeout(text, domain=c.VIR_FROM_QEMU))

    def _forget(self, entry: tuple[str, Deferred[None]]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)

    def _release(self) -> None:
        if self._waiting:
            self.owner, mine = self._waiting.popleft()
            mine.callback(None)
        else:
            self.owner = None
