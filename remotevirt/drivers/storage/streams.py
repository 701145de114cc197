"""Volumes in streams: read and written in threads, piece by piece, as fast as the other end goes.

A descriptor is closed when the last piece has been dealt with, however the stream ends, so never while a
thread has it. That is why pieces have no deadline: of a disk that hangs, the client of its stream tires.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from inspect import isawaitable
from typing import Concatenate, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import Stop, surely_in_thread
from remotevirt.drivers.regardless import regardless
from remotevirt.drivers.storage.bytes import next_part
from remotevirt.drivers.storage.faults import system
from remotevirt.drivers.streams import DriverStream, Hole
from remotevirt.errors import VirError
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c

__all__ = ["Download", "Upload"]

BLOCK_SPACE: Final = 2**63 - 1
"""The last place in any file."""

log = Logger()

P = ParamSpec("P")
T = TypeVar("T")


def _failed(what: str, error: OSError | int) -> VirError:
    return system(what, error, c.VIR_FROM_STREAMS)


class _FileStream(DriverStream):
    """A part of a file.

    Args:
        file: its descriptor; closed in the end.
        start, length: the part, in bytes; length 0 is all that follows.
        over: called once, when the stream has ended and the file is closed.
        where: the folder that the file is in.
    """

    def __init__(
        self, file: int, start: int, length: int, over: Callable[[], Result[None]], *, where: str
    ) -> None:
        self.file = file
        self.where = where
        self.place = start
        self.end = min(start + length, BLOCK_SPACE) if length else BLOCK_SPACE
        self._over: Callable[[], Result[None]] | None = over
        self._busy = 0
        self._ended = False

    async def work(self, do: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the file in a thread."""
        self._busy += 1
        try:
            return await surely_in_thread(self.where, do, *args, **kwargs)
        finally:
            self._busy -= 1
            self._close_unheard()

    def _last(self) -> Callable[[], Result[None]] | None:
        """Return what is to be called if the stream has ended, and nothing goes on with the file; once."""
        if not self._ended or self._busy:
            return None
        over, self._over = self._over, None
        return over

    def _close_unheard(self) -> None:
        """Close the file if it is time to; closing may take long where it is on another host."""
        over = self._last()
        if over is not None:
            over()
            Deferred.fromCoroutine(self._close()).addErrback(
                lambda failure: log.error("{error}", error=failure.value)
            )

    async def _close(self) -> None:
        await surely_in_thread(self.where, lambda stop: close_file(self.file))

    async def finish(self) -> None:
        """Complete; raises VirSystemError if closing the file shows that not all of it was written."""
        self._ended = True
        over = self._last()
        if over is None:
            return
        try:
            # it may wait for its turn for as long as a disk hangs, and must be closed though the client goes
            await regardless(Deferred.fromCoroutine(self._close()))
        finally:
            after = over()
            if isawaitable(after):
                await after

    def abort(self) -> None:
        """Give up."""
        self._ended = True
        self._close_unheard()


def close_file(file: int) -> None:
    """Close a file, in a thread; what could not be written shows here at the latest."""
    try:
        os.close(file)
    except OSError as error:
        raise _failed("cannot close stream", error) from error


class Download(_FileStream):
    """Sends a part of a file; with ``sparse`` holes as such."""

    readable = True

    def __init__(
        self,
        file: int,
        start: int,
        length: int,
        over: Callable[[], Result[None]],
        *,
        where: str,
        sparse: bool,
    ) -> None:
        super().__init__(file, start, length, over, where=where)
        self.sparse = sparse

    async def read(self, size: int) -> bytes | Hole:
        """Return the next bytes, or the next hole."""
        found = await self.work(self._read, size)
        self.place += found.length if isinstance(found, Hole) else len(found)
        return found

    def _read(self, stop: Stop, size: int) -> bytes | Hole:
        if self.place >= self.end:
            return b""
        try:
            if self.sparse:
                end = min(os.lseek(self.file, 0, os.SEEK_END), self.end)
                if self.place >= end:
                    return b""
                there, until = next_part(self.file, self.place, end)
                if not there:
                    return Hole(until - self.place)
                size = min(size, until - self.place)
            return os.pread(self.file, min(size, self.end - self.place), self.place)
        except OSError as error:
            raise _failed("cannot read from stream", error) from error


class Upload(_FileStream):
    """Writes a part of a file."""

    writable = True

    async def write(self, data: bytes) -> None:
        """Write bytes at the place that has been reached."""
        self._check(len(data))
        await self.work(self._write, data)
        self.place += len(data)

    def _check(self, length: int) -> None:
        """Refuse more than the part that the client asked for."""
        if length < 0:
            raise _failed("unable to create hole", errno.EINVAL)
        if self.place + length > self.end:
            raise _failed("cannot write to stream", errno.ENOSPC)

    def _write(self, stop: Stop, data: bytes) -> None:
        view, place = memoryview(data), self.place
        try:
            while view:
                done = os.pwrite(self.file, view, place)
                view, place = view[done:], place + done
        except OSError as error:
            raise _failed("cannot write to stream", error) from error

    async def write_hole(self, length: int) -> None:
        """Make a hole: what was there is zero afterwards, and a file that ends before is made longer."""
        self._check(length)
        await self.work(self._write_hole, length)
        self.place += length

    def _write_hole(self, stop: Stop, length: int) -> None:
        end = self.place + length
        try:
            size = os.lseek(self.file, 0, os.SEEK_END)
            if self.place < size:
                self._clear(stop, min(end, size))
            if end > size:
                os.ftruncate(self.file, end)
        except OSError as error:
            raise _failed("unable to create hole", error) from error

    def _clear(self, stop: Stop, end: int) -> None:
        """Overwrite the bytes up to ``end`` that are there with zeros."""
        zeros, place = memoryview(bytes(1024**2)), self.place
        while place < end:
            stop.check()
            there, until = next_part(self.file, place, end)
            while there and place < until:
                place += os.pwrite(self.file, zeros[: min(len(zeros), until - place)], place)
            place = until
