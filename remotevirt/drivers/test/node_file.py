"""Reading node files safely: below one folder, no links, bounded.

A client names a path; the operator named a folder. The path must lie below the folder as written, without
``..``, and every step from the folder on is opened by itself and must not be a symbolic link, so that
nothing outside can be reached, not even by somebody who exchanges directories while we look. Whatever is
wrong with a path, the client gets the same answer as for a file that does not exist; the log says more.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from twisted.logger import Logger

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError

__all__ = ["MAX_DEPTH", "MAX_FILE", "NodeFolder"]

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a node file; as long as any other XML document may be."""

MAX_DEPTH: Final = 32
"""Folders between the operator's and the file."""

log = Logger()


class NodeFolder:
    """The folder below which node files may be read.

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

    def read(self, path: str) -> str:
        """Return the text of a file below the folder.

        Raises:
            XmlError: it cannot be read, for whatever reason.
        """
        try:
            data = self._read(path)
            return data.decode("utf-8")
        except (OSError, ValueError) as error:
            log.info("node file {path!r} refused: {error}", path=path[:1024], error=error)
        raise unreadable(path)

    def _read(self, path: str) -> bytes:
        steps = self._steps(path)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps[:-1]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(step, flags, dir_fd=folder)
                os.close(folder)
                folder = below
            # a pipe would block the daemon: open without waiting, then look what it is
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(steps[-1], flags, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("not a plain file")
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise ValueError(f"longer than {MAX_FILE} bytes")
        return data

    def _steps(self, path: str) -> list[str]:
        """Return the names that lead from the folder to the file."""
        prefix = self.path.rstrip("/") + "/"
        if "\0" in path or not path.startswith(prefix):
            raise ValueError(f"not below {self.path}")
        steps = [step for step in path[len(prefix) :].split("/") if step not in ("", ".")]
        if not steps or ".." in steps or len(steps) > MAX_DEPTH:
            raise ValueError("not a plain path of a file")
        return steps


def unreadable(path: str) -> XmlError:
    """Return libvirt's error for a node file that cannot be read."""
    return XmlError(f"failed to parse xml document '{path}'", domain=c.VIR_FROM_TEST)
