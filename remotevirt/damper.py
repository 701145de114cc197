"""Lines that strangers can cause, held down to what somebody may still read.

Whoever reaches a port can be turned away a thousand times a second, and a line for each of them fills a disk.
So the lines of each kind have a bucket of tokens: a burst is written whole, then one every few seconds, and
with it how many were left out since. Metrics count every one of them all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LINES_MAXIMUM", "LINE_SECONDS", "Damper"]

LINES_MAXIMUM = 50
"""Lines of one kind that are written one after another, when there were none for a while. libvirtd leaves out
none."""

LINE_SECONDS = 5.0
"""Seconds that it takes until one more of them is written."""


class Damper:
    """Says which lines are written.

    Args:
        now: the time in seconds, from a clock that is never set back.
        lines, seconds: see :data:`LINES_MAXIMUM` and :data:`LINE_SECONDS`.
    """

    def __init__(
        self, now: Callable[[], float], lines: int = LINES_MAXIMUM, seconds: float = LINE_SECONDS
    ) -> None:
        self._now = now
        self._lines = lines
        self._seconds = seconds
        self._kinds: dict[str, _Kind] = {}

    def admit(self, kind: str) -> int | None:
        """Ask for a line.

        Args:
            kind: of the line; one of few, none that a stranger could choose.

        Returns:
            None if it is to be left out, else how many of its kind were left out since the last one.
        """
        now = self._now()
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(self._lines, now)
        found.tokens = min(self._lines, found.tokens + (now - found.at) / self._seconds)
        found.at = now
        if found.tokens < 1:
            found.left_out += 1
            return None
        found.tokens -= 1
        left_out, found.left_out = found.left_out, 0
        return left_out

    def write(self, kind: str, write: Callable[..., object], text: str, **fields: Any) -> None:
        """Write a line of a log, unless it is to be left out.

        Args:
            kind: of the line.
            write: a method of a Logger.
            text, fields: what it is given.
        """
        left_out = self.admit(kind)
        if left_out is None:
            return
        if left_out:
            write("{left_out} lines like the next were left out", left_out=left_out)
        write(text, **fields)


class _Kind:
    """The bucket of one kind of lines."""

    __slots__ = ("at", "left_out", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at
        self.left_out = 0
