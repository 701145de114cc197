"""The memory of this process, and giving back what it no longer needs.

What Python frees, the C library keeps for the next who asks: after a hundred clients have downloaded a
megabyte each, tens of megabytes stay with the process though nothing is in them. glibc gives them back when
it is asked to; this module asks, when there may be something to give.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

__all__ = ["MemoryService", "resident_bytes", "trim"]

CHECK_SECONDS: Final = 5.0
"""How often the memory is looked at; that takes some 20 microseconds."""

GROWTH: Final = 16 << 20
"""Bytes by which it has to have grown to be worth the milliseconds that giving back takes."""


def resident_bytes() -> int | None:
    """Return how many bytes of memory this process holds (resident); None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _find_trim() -> Callable[[int], int] | None:
    """Return glibc's ``malloc_trim``; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None


_malloc_trim = _find_trim()


def trim() -> None:
    """Give the system what the C library keeps of freed memory; without glibc this does nothing."""
    if _malloc_trim is not None:
        _malloc_trim(0)


class MemoryService(Service):
    """Gives memory back some seconds after it has grown.

    Args:
        reactor: the clock.
        resident: bytes that the process holds, None if that is not known.
        give_back: gives the system what is free.
    """

    def __init__(
        self,
        reactor: Any,
        resident: Callable[[], int | None] = resident_bytes,
        give_back: Callable[[], object] = trim,
    ) -> None:
        self.reactor = reactor
        self.resident = resident
        self.give_back = give_back
        self._needed = 0
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to look; what is held now counts as needed."""
        super().startService()  # type: ignore[no-untyped-call]
        self._needed = self.resident() or 0
        self._schedule()

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _schedule(self) -> None:
        self._call = self.reactor.callLater(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        held = self.resident()
        if held is None:  # it will not be known later either
            self._call = None
            return
        if held > self._needed + GROWTH:
            self.give_back()
            held = self.resident() or held
            self._needed = held
        self._needed = min(self._needed, held)
        self._schedule()
