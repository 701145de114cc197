"""Files that a guest's memory is written into: finished, or gone.

::

    output ──► noted with the guest ──► opened, noted which file it is ──► written ──► finished, not noted
                                             │ fails, or the client goes ──────────► removed
                                             └ the daemon dies ──► a later one finds the note ──► removed

What is removed is the file that was noted: one that somebody has put in its place since stays. Where a daemon
has died before it knew which file it is, that has nothing in it yet, or the mark of an unfinished one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import Stop, in_long_thread, made_in_thread, surely_in_thread
from remotevirt.drivers.qemu.guest import Guest, Output
from remotevirt.drivers.qemu.savefile import PARTIAL
from remotevirt.drivers.regardless import regardless

__all__ = ["drop_output", "forget_output", "output"]

log = Logger()


@asynccontextmanager
async def output(
    guest: Guest, path: str, start: Callable[[], int], finish: Callable[[int], None]
) -> AsyncIterator[int]:
    """Write a file; the caller has the guest's turn.

    Args:
        guest: whose memory it will hold.
        path: of the file.
        start: opens it; in a thread.
        finish: has it complete and on the disk; in a thread, when the block has ended well.

    Yields:
        A descriptor.

    Raises:
        VirError: it cannot be opened or finished, and is not there any more.
    """
    place = os.path.dirname(path)

    def open_it(stop: Stop) -> tuple[int, Output | None]:
        file = start()
        return file, _identity(file, path)

    _note(guest, Output(path, 0, 0))
    try:
        file, opened = await made_in_thread(place, open_it, lambda made: _give_up(*made))
    except BaseException:
        _note(guest, None)
        raise
    try:
        _note(guest, opened)
        yield file
        await in_long_thread(place, lambda stop: finish(file))
    except BaseException:
        await _close(file, opened, place)
        _note(guest, None)
        raise
    await _close(file, None, place)
    _note(guest, None)


async def _close(file: int, unwanted: Output | None, place: str) -> None:
    """Close a file, and remove it if it is unwanted, whether anybody waits for that or not."""
    await regardless(Deferred.fromCoroutine(surely_in_thread(place, lambda stop: _give_up(file, unwanted))))


def _give_up(file: int, unwanted: Output | None) -> None:
    """Remove a file if it is unwanted, and close it; in a thread."""
    try:
        if unwanted is not None:
            _remove(unwanted)
    finally:
        os.close(file)


def _identity(file: int, path: str) -> Output | None:
    """Return which file is open; None for a device, which is not to be removed."""
    found = os.fstat(file)
    return Output(path, found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _remove(unwanted: Output) -> None:
    """Remove a file, unless another one has its path; in a thread."""
    try:
        found = os.lstat(unwanted.path)
        same = (found.st_dev, found.st_ino) == (unwanted.device, unwanted.inode)
        if same or (not unwanted.inode and stat.S_ISREG(found.st_mode) and _is_begun(unwanted.path)):
            os.unlink(unwanted.path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.error("{path} stays behind, unfinished: {error}", path=unwanted.path, error=error)


def _is_begun(path: str) -> bool:
    """Return whether a file has nothing in it, or what :mod:`.savefile` begins with."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.pread(file, len(PARTIAL), 0) in (b"", PARTIAL)
    finally:
        os.close(file)


def _note(guest: Guest, opened: Output | None) -> None:
    """Remember what is being written, so that a later daemon knows of it."""
    if guest.details.output == opened or guest.record.guest is not guest or not guest.world.open:
        return

    def change() -> None:
        guest.details.output = opened
        guest.remember()

    guest.world.apply(change)


def forget_output(guest: Guest) -> None:
    """Have removed what was not finished for a guest that is over; later, and whoever waits."""
    Deferred.fromCoroutine(drop_output(guest)).addErrback(
        lambda failure: log.failure("what was not finished stays behind", failure=failure)
    )


async def drop_output(guest: Guest) -> None:
    """Remove what a daemon before this one has left unfinished."""
    left = guest.details.output
    if left is None:
        return
    log.warn("{path} was not finished, and is removed", path=left.path)
    await surely_in_thread(os.path.dirname(left.path), lambda stop: _remove(left))
    _note(guest, None)
