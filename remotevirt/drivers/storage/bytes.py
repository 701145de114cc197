"""What is done to the bytes of volumes: reserved, copied, overwritten. In threads, in steps.

Between steps the work looks whether it shall stop.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from remotevirt.drivers.disk_threads import Stop
from remotevirt.drivers.storage.faults import system
from remotevirt.drivers.storage.files import Draft, open_volume
from remotevirt.stubs import constants as c

__all__ = ["make_folder", "make_raw", "next_part", "resize_raw", "wipe", "wipe_open"]

RESERVE_STEP: Final = 1024**3
"""Bytes that are reserved at a time; where a file system cannot, the C library writes them all."""

COPY_STEP: Final = 16 * 1024**2
WRITE_STEP: Final = 1024**2

FICLONE: Final = 0x40049409
"""Linux's ioctl that lets two files share their blocks."""

NO_COPY: Final = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM)
"""What systems say that cannot copy for us."""


def make_folder(stop: Stop, draft: Draft) -> None:
    """Make a volume that is a folder; raises VirSystemError."""
    try:
        os.mkdir(draft.name, 0o700, dir_fd=draft.folder)
    except OSError as error:
        raise system(f"cannot create path '{draft.path}/{draft.name}'", error) from error


def make_raw(
    stop: Stop,
    draft: Draft,
    capacity: int,
    allocation: int,
    source: str | None = None,
    *,
    reflink: bool = False,
) -> None:
    """Make a raw volume.

    Args:
        stop: asked between steps.
        draft: where.
        capacity: bytes that it has.
        allocation: bytes that are reserved.
        source: the path of what it is a copy of.
        reflink: share the blocks of the source, or fail.

    Raises:
        VirSystemError: there is no room, or it cannot be.
    """
    where = f"{draft.path}/{draft.name}"
    file = draft.create()
    try:
        _extend(file, where, capacity)
        if source is None:
            _reserve(stop, file, where, allocation)
            return
        folder, _, name = source.rpartition("/")
        origin = open_volume(stop, folder, name, "cannot open file", c.VIR_FROM_STORAGE, write=False)
        try:
            if reflink:
                _share(file, origin, source)
                _extend(file, where, capacity)
            else:
                _reserve(stop, file, where, allocation)
                _copy(stop, origin, file, where, capacity)
        finally:
            os.close(origin)
    finally:
        os.close(file)


def _extend(file: int, where: str, capacity: int) -> None:
    try:
        os.ftruncate(file, capacity)
    except (OSError, OverflowError) as error:
        number = error if isinstance(error, OSError) else errno.EFBIG
        raise system(f"cannot extend file '{where}'", number) from error


def _reserve(stop: Stop, file: int, where: str, size: int) -> None:
    done = 0
    try:
        while done < size:
            stop.check()
            step = min(RESERVE_STEP, size - done)
            os.posix_fallocate(file, done, step)
            done += step
    except (OSError, OverflowError) as error:
        number = error if isinstance(error, OSError) else errno.EFBIG
        raise system(f"cannot allocate {size} bytes in file '{where}'", number) from error


def _share(file: int, origin: int, source: str) -> None:
    try:
        fcntl.ioctl(file, FICLONE, origin)
    except OSError as error:
        raise system(f"failed to clone files from '{source}'", error) from error


def next_part(file: int, place: int, end: int) -> tuple[bool, int]:
    """Return whether there are bytes at a place of a file, or a hole, and where that ends."""
    try:
        data = os.lseek(file, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            return True, end  # a file that knows no holes
        return False, end  # nothing but a hole from here on
    if data > place:
        return False, min(data, end)
    return True, min(os.lseek(file, place, os.SEEK_HOLE), end)


def _copy(stop: Stop, source: int, file: int, where: str, capacity: int) -> None:
    """Copy what is no hole; what is reserved in the copy stays so, and is zero."""
    end = min(os.lseek(source, 0, os.SEEK_END), capacity)
    place = 0
    try:
        while place < end:
            there, until = next_part(source, place, end)
            while there and place < until:
                stop.check()
                place += _copy_some(source, file, place, min(COPY_STEP, until - place))
            place = until
        os.fsync(file)
    except OSError as error:
        raise system(f"failed writing to file '{where}'", error) from error


def _copy_some(source: int, file: int, place: int, size: int) -> int:
    """Copy some bytes; returns how many."""
    try:
        done = os.copy_file_range(source, file, size, place, place)
    except OSError as error:
        if error.errno not in NO_COPY:
            raise
        done = _write_all(file, os.pread(source, min(size, WRITE_STEP), place), place)
    if not done:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # the source has become shorter
    return done


def _write_all(file: int, data: bytes | memoryview, place: int) -> int:
    view, size = memoryview(data), len(data)
    while view:
        done = os.pwrite(file, view, place)
        view = view[done:]
        place += done
    return size


def wipe(stop: Stop, path: str, name: str) -> None:
    """Overwrite a volume with zeros; one with holes is emptied instead, and stays as long.

    Raises:
        VirSystemError: it cannot be written.
    """
    what = "Failed to open storage volume with path"
    wipe_open(stop, open_volume(stop, path, name, what, c.VIR_FROM_STORAGE, write=True), f"{path}/{name}")


def wipe_open(stop: Stop, file: int, where: str) -> None:
    """Overwrite a volume that is open, and close it; see :func:`wipe`."""
    try:
        found = os.fstat(file)
        size = os.lseek(file, 0, os.SEEK_END)
        if found.st_size and found.st_blocks < found.st_size // 512:
            os.ftruncate(file, 0)
            os.ftruncate(file, size)
            return
        zeros = memoryview(bytes(WRITE_STEP))
        for place in range(0, size, WRITE_STEP):
            stop.check()
            _write_all(file, zeros[: min(WRITE_STEP, size - place)], place)
        os.fsync(file)
    except OSError as error:
        raise system(f"Failed to write to storage volume with path '{where}'", error) from error
    finally:
        os.close(file)


def resize_raw(stop: Stop, path: str, name: str, capacity: int, *, allocate: bool) -> None:
    """Make a raw volume longer or shorter.

    Raises:
        VirSystemError: it cannot be.
    """
    where = f"{path}/{name}"
    file = open_volume(stop, path, name, "Unable to open", c.VIR_FROM_NONE, write=True)
    try:
        if allocate:
            _reserve(stop, file, where, capacity)
        os.ftruncate(file, capacity)
    except (OSError, OverflowError) as error:
        number = error if isinstance(error, OSError) else errno.EFBIG
        raise system(f"Failed to truncate file '{where}'", number, c.VIR_FROM_NONE) from error
    finally:
        os.close(file)
