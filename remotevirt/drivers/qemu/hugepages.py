"""Where guests get huge pages from: folders of their own on the host's huge page file systems.

::

    MOUNT/remotevirt/UUID/      QEMU makes a file in it, which it unlinks at once
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from remotevirt.drivers.qemu.guest import Guest

__all__ = ["huge_folders"]

MOUNTS: Final = "/proc/self/mounts"

FOLDER: Final = "remotevirt"

KIB: Final = {"K": 1, "M": 1 << 10, "G": 1 << 20}

_PAGE: Final = re.compile(r"(?:^|,)pagesize=(\d{1,9})([KMG])(?:,|$)")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

log = Logger()


def huge_folders(guest: Guest) -> dict[int, Path]:
    """Return a guest's folders, by the size of a page in KiB; none for one that wants no huge pages."""
    backing = guest.record.live.model.memory_backing
    if backing is None or backing.hugepages is None:
        return {}
    return {size: mount / FOLDER / guest.record.uuid.hex() for size, mount in _mounts().items()}


def _mounts() -> dict[int, Path]:
    """Return where huge page file systems are mounted, the first of each size."""
    found: dict[int, Path] = {}
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, where, kind, options, *_ = line.split(" ")
                page = _PAGE.search(options)
                if kind == "hugetlbfs" and page is not None:
                    path = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), where)
                    found.setdefault(int(page[1]) * KIB[page[2]], Path(path))
    except (OSError, ValueError) as error:
        log.error("nobody knows where huge pages are: {error}", error=error)
    return found
