"""The images below a guest's disks, found when it starts and spelled out for QEMU, which looks for none.

The format of the topmost image is what the definition says, ``raw`` if nothing: looking at what is in an
image to find out would let a guest make its raw disk into an image of something else. What is below is what
the headers the headers say, of those formats that have any; a header that names an image but not its format
is refused.

A guest that has taken over its QEMU can write any name into a header. So a file that only a header names is
not given to the guests' user, unless it lies where images are known to be: beside the image that names it,
in a folder of an active pool, or in one that the operator has named. Elsewhere it has to be open to that
user already.
"""

from __future__ import annotations

import os
from typing import Final

import attrs

from remotevirt.drivers.disk_threads import Stop, in_thread
from remotevirt.drivers.qemu.access import check_place
from remotevirt.drivers.qemu.command import number_images
from remotevirt.drivers.qemu.settings import GuestUser, Settings
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.drivers.storage.chains import WITH_BACKING, read_facts
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationDenied, OperationInvalid, VirSystemError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.backing import BackingStore, Format
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.storage import BlockSource, FileSource, StorageSource, VolumeSource

__all__ = ["Trust", "complete_disk", "find_disk", "find_images", "find_volume"]

MAX_DEPTH: Final = 200
"""Images above each other; libvirt's bound too."""


async def find_images(world: QemuWorld, model: DomainModel) -> None:
    """Find the images of all disks, and number them; raises VirError."""
    for disk in model.devices.disks:
        await find_disk(world, disk)
    number_images(model)


async def find_disk(world: QemuWorld, disk: Disk) -> None:
    """Find the images of one disk: the volume that it names, and what is below.

    Raises:
        VirError: the volume is not there, or an image cannot be read.
    """
    find_volume(world, disk)
    pools = () if world.storage is None else world.storage.folders()
    places = frozenset(pools) | {str(folder) for folder in world.settings.images}
    place = os.path.dirname(disk.source.place() or "") if disk.source is not None else ""
    trust = Trust(world.settings.user, places)
    await in_thread(place, lambda stop: _read(stop, disk, world.settings, trust))


def _read(stop: Stop, disk: Disk, settings: Settings, trust: Trust) -> None:
    """Find the images below a disk, whose own must be one that guests may have; in a thread."""
    path = None if disk.source is None else disk.source.place()
    if path is not None:
        check_place(path, settings)
    complete_disk(disk, trust, stop)


def find_volume(world: QemuWorld, disk: Disk) -> None:
    """Find the volume that a disk names, if it names one; raises VirError."""
    source = disk.source
    if isinstance(source, VolumeSource) and source.pool is not None and source.volume is not None:
        if world.storage is None:
            raise ConfigUnsupported("there is no storage driver", domain=c.VIR_FROM_STORAGE)
        file = world.storage.locate(source.pool, source.volume)
        is_block = file.kind == c.VIR_STORAGE_VOL_BLOCK
        source.found = BlockSource(dev=file.path) if is_block else FileSource(file=file.path)


@attrs.frozen
class Trust:
    """Which files a header may name.

    Attributes:
        user: whom guests run as; None if that is the daemon's own user, who gives nobody anything.
        places: the folders where images are known to be.
    """

    user: GuestUser | None = None
    places: frozenset[str] = frozenset()

    def check(self, path: str, named_by: str) -> None:
        """Check a file that a header names.

        Raises:
            VirSystemError: it is not there.
            OperationDenied: it would have to be given to the guests' user, and is nowhere where images are.
        """
        if self.user is None:
            return
        try:
            real = os.path.realpath(path, strict=True)
            if self.user.may(os.stat(real), 4):
                return
        except OSError as error:
            text = f"Cannot access storage file '{path}': {error.strerror}"
            raise VirSystemError(text, domain=c.VIR_FROM_STORAGE, int1=error.errno or 0) from error
        folders = {*self.places, os.path.dirname(os.path.realpath(named_by))}
        if not any(os.path.commonpath([real, folder]) == folder for folder in folders):
            text = (
                f"'{path}' is named only by the header of '{named_by}', and guests may not read it: put it"
                " into a storage pool, name it in <backingStore>, or let everybody read it"
            )
            raise OperationDenied(text, domain=c.VIR_FROM_STORAGE)


def complete_disk(disk: Disk, trust: Trust, stop: Stop | None = None) -> None:
    """Find the images below a disk whose definition does not tell them. To be called in a thread.

    Raises:
        VirSystemError: an image cannot be read.
        OperationInvalid: a header says too little, or too much.
        OperationDenied: a header names a file that guests may not have.
    """
    path = None if disk.source is None else disk.source.place()
    if path is None or disk.backing is not None:
        return
    kind = (disk.driver.type if disk.driver is not None else None) or "raw"
    disk.backing = _below(stop or Stop(), path, kind, trust, MAX_DEPTH)


def _below(stop: Stop, path: str, kind: str, trust: Trust, depth: int) -> BackingStore:
    """Return what is below an image: the next one, or the end."""
    end = BackingStore()
    if kind not in WITH_BACKING:
        return end
    stop.check()
    facts, _ = read_facts(stop, path)
    if facts.format != kind:
        text = f"image '{path}' is not in the format '{kind}' that its definition says"
        raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
    if facts.external:
        text = f"image '{path}' has its data in another file, which is not supported"
        raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
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
    trust.check(below, path)
    source: StorageSource = BlockSource(dev=below) if below.startswith("/dev/") else FileSource(file=below)
    return BackingStore(
        type="block" if isinstance(source, BlockSource) else "file",
        format=Format(type=facts.backing_format),
        source=source,
        backing=_below(stop, below, facts.backing_format, trust, depth - 1),
    )
