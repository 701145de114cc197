"""Where guests get huge pages from: folders of their own on the host's huge page file systems.

::

    MOUNT/remotevirt/UUID/      QEMU makes a file in it, which it unlinks at once
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from remotevirt.drivers.mounts import read_mounts

if TYPE_CHECKING:
    from remotevirt.drivers.qemu.guest import Guest

__all__ = ["huge_folders"]

FOLDER: Final = "remotevirt"

KIB: Final = {"K": 1, "M": 1 << 10, "G": 1 << 20}

_PAGE: Final = re.compile(r"(?:^|,)pagesize=(\d{1,9})([KMG])(?:,|$)")

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
        for mount in read_mounts():
            page = _PAGE.search(mount.options)
            if mount.kind == "hugetlbfs" and page is not None:
                found.setdefault(int(page[1]) * KIB[page[2]], Path(mount.place))
    except OSError as error:
        log.error("nobody knows where huge pages are: {error}", error=error)
    return found
