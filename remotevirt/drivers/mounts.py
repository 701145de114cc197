"""What is mounted where, as this process sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["MOUNTS", "Mount", "parse_mounts", "read_mounts"]

MOUNTS: Final = "/proc/self/mountinfo"
"""Where the kernel tells; see proc(5)."""

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system that is mounted.

    Attributes:
        place: the path that it is mounted on.
        kind: its type: ``ext4``, ``cgroup2``, ``hugetlbfs``.
        source: its device, or what else it was called when it was mounted.
        options: its own, with commas in between; not those of this mount alone.
    """

    place: str
    kind: str
    source: str
    options: str


def parse_mounts(lines: Iterable[str]) -> Iterator[Mount]:
    """Yield what lines of ``/proc/PID/mountinfo`` tell; lines of another form are left out."""
    for line in lines:
        words, _, more = line.partition(" - ")
        where, what = words.split(), more.split()
        if len(where) >= 5 and len(what) >= 3:
            yield Mount(_plain(where[4]), what[0], _plain(what[1]), what[2])


def read_mounts() -> Iterator[Mount]:
    """Yield what is mounted now; raises OSError."""
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        yield from parse_mounts(file)


def _plain(text: str) -> str:
    """Return a path as the kernel means it: it writes blanks and backslashes as octal numbers."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
