"""Reading what the kernel says in /proc and /sys: small files, some of which are not there.

Everything is read below a root, which is ``/`` but in tests, where it is a recorded tree. What cannot be read
(another kernel, no privilege, a device that has just gone) is None or empty: which of it matters, the reader
knows. Nothing here may be called from the reactor's thread: most files take microseconds, but some ask a
device.
"""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = ["Files"]

FILE_MAXIMUM: Final = 64 * 1024
"""Bytes that are read of a file unless the caller knows better; the kernel's own bound for an attribute is a
page."""

NUMBERS_MAXIMUM: Final = 65536
"""Numbers of CPUs and NUMA nodes are below this; Linux can be built for 8192 CPUs."""

_RANGE: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Files:
    """The files below a root; paths are absolute, as if the root were ``/``."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    @property
    def is_live(self) -> bool:
        """Whether this is the running host, of which the kernel can also be asked in other ways."""
        return not self.root

    def path(self, name: str) -> str:
        """Return where a file really is."""
        return self.root + name

    def read_bytes(self, name: str, limit: int = FILE_MAXIMUM) -> bytes | None:
        """Return the first bytes of a file; None if it cannot be read."""
        try:
            with open(self.path(name), "rb", buffering=0) as file:
                parts = []
                while limit > 0 and (part := file.read(limit)):
                    parts.append(part)
                    limit -= len(part)
                return b"".join(parts)
        except OSError:
            return None

    def read(self, name: str, limit: int = FILE_MAXIMUM) -> str | None:
        """Return a file's text without zero bytes and white space around it; None if it cannot be read."""
        data = self.read_bytes(name, limit)
        return None if data is None else data.replace(b"\0", b"").decode("utf-8", "replace").strip()

    def number(self, name: str, base: int = 10) -> int | None:
        """Return the number that a file holds; None if there is none."""
        text = self.read(name, 64)
        try:
            return None if text is None else int(text, base)
        except ValueError:
            return None

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a list such as ``0-3,8``, in order; none of parts that are no such list."""
        found: list[int] = []
        for part in (self.read(name) or "").split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                continue
            first, last = int(match[1]), int(match[2] or match[1])
            if last < NUMBERS_MAXIMUM:
                found.extend(range(first, last + 1))
        return found

    def names(self, name: str) -> list[str]:
        """Return the names in a directory, sorted; none if it is not there.

        A name that is no UTF-8 (a network interface may have one) can be told to nobody, and is left out.
        """
        try:
            return sorted(found for found in os.listdir(self.path(name)) if _is_text(found))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return os.path.exists(self.path(name))

    def size(self, name: str) -> int:
        """Return the size that a file is said to have, in bytes; 0 if it is not there."""
        try:
            return os.stat(self.path(name)).st_size
        except OSError:
            return 0

    def link_name(self, name: str) -> str | None:
        """Return the last part of what a symbolic link points to; None if there is no link."""
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except OSError:
            return None

    def resolve(self, name: str) -> str:
        """Return a path without symbolic links, below the root."""
        real = os.path.realpath(self.path(name))
        root = os.path.realpath(self.root or "/")
        return real[len(root) :] if root != "/" and real.startswith(root) else real
