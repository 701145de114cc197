"""A stream that breaks in the middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred

from remotevirt.drivers.streams import DriverStream, Hole
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import OperationFailed

__all__ = ["CutStream"]


class CutStream(DriverStream):
    """A driver's stream of which only the first bytes get through.

    Args:
        stream: the whole one.
        left: how many bytes.
    """

    def __init__(self, stream: DriverStream, left: int) -> None:
        self._stream = stream
        self._left = left
        self.readable = stream.readable
        self.writable = stream.writable

    def _broken(self) -> OperationFailed:
        return OperationFailed("the stream broke", domain=vir.VIR_FROM_STREAMS)

    def read(self, size: int) -> Any:
        """Return the next bytes, until it breaks."""
        if not self._left:
            raise self._broken()

        def count(data: bytes | Hole) -> bytes | Hole:
            self._left -= min(self._left, data.length if isinstance(data, Hole) else len(data))
            return data

        method: Callable[..., Any] = self._stream.read
        return maybeDeferred(method, min(size, self._left)).addCallback(count)

    def write(self, data: bytes) -> Any:
        """Take bytes, until it breaks."""
        if len(data) > self._left:
            raise self._broken()
        self._left -= len(data)
        return self._stream.write(data)

    def write_hole(self, length: int) -> Any:
        """Take a hole, until it breaks."""
        if length > self._left:
            raise self._broken()
        self._left -= length
        return self._stream.write_hole(length)

    def finish(self) -> Any:
        """Complete, in case that it has not broken."""
        return self._stream.finish()

    def abort(self) -> None:
        """Give up."""
        self._stream.abort()
