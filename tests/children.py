"""The processes that a test has started, and not reaped."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["children"]


def children() -> frozenset[int]:
    """The numbers of this process's children, those that have ended and nobody has asked for included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue  # it has ended meanwhile
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return frozenset(found)
