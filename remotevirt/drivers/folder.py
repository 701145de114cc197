"""Files that clients name: below one folder, reached without following links, bounded.

A client names a path; the operator named a folder. The path must lie below the folder as written, without
``..``, and every step from the folder on is opened by itself and must not be a symbolic link, so that nothing
outside can be reached, not even by somebody who exchanges directories while we look.

Whatever lies outside does not exist for clients: they get the error of a file that is not there, and the log
says more. A file is written beside its place and then put there, so that it is the old one or the new one,
never half of either; and it is on the disk, under its name, before anybody is told.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from twisted.logger import Logger

__all__ = ["MAX_DEPTH", "Folder"]

MAX_DEPTH: Final = 32
"""Folders between the operator's and the file."""

STEP: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder on the way is opened."""

log = Logger()


class Folder:
    """A folder below which clients may name files.

    Args:
        path: absolute, and a folder.

    Raises:
        ValueError: it is not.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        if not os.path.isabs(path) or not os.path.isdir(path):
            raise ValueError(f"files={path}: not an absolute path of a folder")
        self.path = os.path.normpath(path)

    def read(self, path: str, maximum: int) -> bytes:
        """Return the contents of a plain file.

        Args:
            path: as the client named it.
            maximum: bytes that it may have.

        Raises:
            OSError: it cannot be read, or is not a plain file, or is too long (EFBIG).
        """
        with self._parent(path) as (folder, name):
            # a pipe would block the daemon: open without waiting, then look what it is
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise _error(errno.EISDIR)
            if not stat.S_ISREG(mode):
                log.info("{path!r} refused: not a plain file", path=path[:1024])
                raise _error(errno.ENOENT)
            data = file.read(maximum + 1)
        if len(data) > maximum:
            raise _error(errno.EFBIG)
        return data

    def write(self, path: str, data: bytes) -> None:
        """Put a file in place, for the daemon's user only.

        Raises:
            OSError: it cannot be written.
        """
        with self._parent(path) as (folder, name):
            draft = f".remotevirt-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(draft, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(descriptor)
                os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=folder)
                raise

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the folder that a path's last name is in; yields its descriptor and the name."""
        steps = self._steps(path)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps[:-1]:
                below = os.open(step, STEP, dir_fd=folder)
                os.close(folder)
                folder = below
            yield folder, steps[-1]
        finally:
            os.close(folder)

    def _steps(self, path: str) -> list[str]:
        """Return the names that lead from the folder to the file.

        Raises:
            OSError: there are none, because it lies outside.
        """
        prefix = self.path.rstrip("/") + "/"
        if "\0" in path or not path.startswith(prefix):
            log.info("{path!r} refused: not below {folder}", path=path[:1024], folder=self.path)
            above = path.startswith("/") and prefix.startswith(path.rstrip("/") + "/")
            raise _error(errno.EISDIR if above else errno.ENOENT)
        steps = [step for step in path[len(prefix) :].split("/") if step not in ("", ".")]
        if ".." in steps or len(steps) > MAX_DEPTH:
            log.info("{path!r} refused: not a plain path", path=path[:1024])
            raise _error(errno.ENOENT)
        if not steps:
            raise _error(errno.EISDIR)
        return steps


def _error(number: int) -> OSError:
    """Return the error of a system call."""
    return OSError(number, os.strerror(number))
