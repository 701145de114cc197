"""The kernel's files of control groups: small ones that are read and written as a whole, in folders.

Making a folder makes a group, with all its files in it; removing the folder removes them as well.
"""

from __future__ import annotations

import os
import time
from typing import Final

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import VirSystemError

__all__ = ["GroupFiles", "unmade", "unreadable", "unwritable"]

LONGEST: Final = 65536
"""Bytes that are read of a file. Those with a line for each process, device or CPU are the longest."""


class GroupFiles:
    """The door to these files. All methods but :meth:`exists` raise OSError."""

    __slots__ = ()

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        return os.path.exists(path)

    def read(self, path: str) -> str:
        """Return what a file says, without the last line feed."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, LONGEST).decode("ascii", "replace").rstrip("\n")
        finally:
            os.close(descriptor)

    def write(self, path: str, text: str) -> None:
        """Tell the kernel something, in one write."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)

    def make(self, path: str) -> None:
        """Make a group below one that is there."""
        os.mkdir(path, 0o755)

    def remove(self, path: str) -> None:
        """Remove a group in which no process is, and that has no other below it."""
        os.rmdir(path)

    def children(self, path: str) -> list[str]:
        """Return the names of the groups below a group."""
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def age(self, path: str) -> float:
        """Return for how many seconds no group was made or removed below a group, nor it itself."""
        return time.time() - os.stat(path).st_mtime

    def device(self, path: str) -> os.stat_result:
        """Return what a device's file is."""
        return os.stat(path)

    def delegated(self, path: str) -> bool:
        """Return whether a service manager has left a group to us (systemd's ``Delegate=``)."""
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(path, name) == b"1":
                    return True
            except OSError:
                continue
        return False


def unwritable(path: str, error: OSError) -> VirSystemError:
    """Return libvirt's error for a file that cannot be written."""
    return _failed(f"Unable to write to '{path}'", error)


def unreadable(path: str, error: OSError) -> VirSystemError:
    """Return libvirt's error for a file that cannot be read."""
    return _failed(f"Unable to read from '{path}'", error)


def unmade(path: str, error: OSError) -> VirSystemError:
    """Return the error for a group that cannot be made."""
    return _failed(f"Failed to create cgroup '{path}'", error)


def _failed(text: str, error: OSError) -> VirSystemError:
    reason = error.strerror or str(error)
    return VirSystemError(f"{text}: {reason}", domain=c.VIR_FROM_CGROUP, int1=error.errno or 0)
