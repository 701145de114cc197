"""An image with everything below it, spelled out, so that QEMU's tools open nothing that a header names.

A guest that had a raw disk may have written a header into it that names any file of the host as its backing
file. So what QEMU's tools shall open is told to the last file; headers are read by us, and what they name is
taken only where it lies in a folder of an active pool.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from typing import Any, Final

from remotevirt.drivers.disk_threads import Stop
from remotevirt.drivers.storage.faults import invalid, system
from remotevirt.drivers.storage.files import READ
from remotevirt.drivers.storage.images import HEADER_BYTES, ImageFacts, probe
from remotevirt.drivers.storage.qemu_img import qemu_format

__all__ = ["MAX_DEPTH", "chain", "read_facts"]

MAX_DEPTH: Final = 200
"""Images above each other; libvirt's bound too."""

WITH_BACKING: Final = ("qcow", "qcow2", "qed", "vmdk")
"""Formats that may name a backing file."""


def read_facts(stop: Stop, path: str) -> tuple[ImageFacts, int]:
    """Return what the header of a file says, and how long it is.

    A guest may have written the path into the image that is above. Of what is no file nothing is opened:
    a watchdog begins to count when somebody does, a tape is wound.

    Raises:
        VirSystemError: it cannot be read.
        OperationInvalid: it is neither a file nor a block device.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            mode = os.fstat(place).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
                raise invalid(f"'{path}' is no image")
            file = os.open(f"/proc/self/fd/{place}", READ)
        finally:
            os.close(place)
        try:
            size = os.lseek(file, 0, os.SEEK_END)
            return probe(os.pread(file, HEADER_BYTES, 0), size), size
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise system(f"cannot open file '{path}'", error if isinstance(error, OSError) else 22) from error


def chain(
    stop: Stop, path: str, kind: str | None, folders: Collection[str], opened: str | None = None
) -> dict[str, Any]:
    """Return an image as QEMU's options spell it.

    Args:
        stop: asked between files.
        path: of the file.
        kind: its format.
        folders: those of active pools.
        opened: the name by which the program opens it, if that is another.

    Raises:
        VirError: a file cannot be read, or lies elsewhere.
    """
    return _image(stop, path, kind or "raw", folders, opened or path, 0)


def _image(
    stop: Stop, path: str, kind: str, folders: Collection[str], opened: str, depth: int
) -> dict[str, Any]:
    stop.check()
    if depth > MAX_DEPTH:
        raise invalid(f"'{path}' stands on too many images")
    is_device = path.startswith("/dev/")
    file = {"driver": "host_device" if is_device else "file", "filename": opened}
    image: dict[str, Any] = {"driver": qemu_format(kind), "file": file}
    if kind not in WITH_BACKING:
        return image
    facts, _ = read_facts(stop, path)
    if facts.format != kind:
        raise invalid(f"'{path}' is not in {kind} format")
    if facts.external:
        raise invalid(f"the data of '{path}' are in another file, which is not opened")
    image["backing"] = None
    if facts.backing is not None:
        folder = os.path.dirname(path)
        below = os.path.normpath(os.path.join(folder, facts.backing))
        protocol = ":" in facts.backing.partition("/")[0]
        if protocol or os.path.dirname(below) not in folders or os.path.islink(below):
            raise invalid(f"the backing file '{facts.backing}' of '{path}' is in no active pool")
        what = facts.backing_format or read_facts(stop, below)[0].format
        image["backing"] = _image(stop, below, what, folders, below, depth + 1)
    return image
