"""The images below a guest's disks, found when it starts and spelled out for QEMU, which looks for none.

The format of the topmost image is what the definition says, ``raw`` if nothing: looking at what is in an
image to find out would let a guest make its raw disk into an image of something else. What is below is what
the headers say, of those formats that have any; a header that names an image but not its format is refused.
"""

from __future__ import annotations

import os
from typing import Final

from remotevirt.drivers.qemu.command import number_images
from remotevirt.drivers.storage.aside import Stop
from remotevirt.drivers.storage.chains import WITH_BACKING, read_facts
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.backing import BackingStore, Format
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.storage import BlockSource, FileSource, StorageSource

__all__ = ["complete_chains", "complete_disk"]

MAX_DEPTH: Final = 200
"""Images above each other; libvirt's bound too."""


def complete_chains(model: DomainModel) -> None:
    """Find the images below all disks, and number them. To be called in a thread; raises VirError."""
    for disk in model.devices.disks:
        complete_disk(disk)
    number_images(model)


def complete_disk(disk: Disk) -> None:
    """Find the images below a disk whose definition does not tell them.

    Raises:
        VirSystemError: an image cannot be read.
        OperationInvalid: a header says too little, or too much.
    """
    path = None if disk.source is None else disk.source.place()
    if path is None or disk.backing is not None:
        return
    kind = (disk.driver.type if disk.driver is not None else None) or "raw"
    disk.backing = _below(path, kind, MAX_DEPTH)


def _below(path: str, kind: str, depth: int) -> BackingStore:
    """Return what is below an image: the next one, or the end."""
    end = BackingStore()
    if kind not in WITH_BACKING:
        return end
    facts, _ = read_facts(Stop(), path)
    if facts.backing is None:
        return end
    if facts.backing_format is None:
        text = (
            f"format of backing image '{facts.backing}' of image '{path}' was not specified in the image"
            " metadata (See https://libvirt.org/kbase/backing_chains.html for troubleshooting)"
        )
        raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
    if depth <= 0:
        raise OperationInvalid(f"'{path}' stands on too many images", domain=c.VIR_FROM_STORAGE)
    if ":" in facts.backing.partition("/")[0]:
        text = f"backing image '{facts.backing}' of image '{path}' is not a file"
        raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
    below = os.path.normpath(os.path.join(os.path.dirname(path), facts.backing))
    source: StorageSource = BlockSource(dev=below) if below.startswith("/dev/") else FileSource(file=below)
    return BackingStore(
        type="block" if isinstance(source, BlockSource) else "file",
        format=Format(type=facts.backing_format),
        source=source,
        backing=_below(below, facts.backing_format, depth - 1),
    )
