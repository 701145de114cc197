"""Pools that are volume groups, by LVM's own programs."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from typing import Final

from remotevirt.drivers.disk_threads import Stop, in_long_thread, in_thread, open_in_thread
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.storage.aside import find_program, locate_program, run
from remotevirt.drivers.storage.bytes import wipe_open
from remotevirt.drivers.storage.directory import GetSecret, check_algorithm, no_secret
from remotevirt.drivers.storage.faults import internal, invalid, system, unsupported
from remotevirt.drivers.storage.records import Contents
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoSupport
from remotevirt.xml.permissions import Permissions
from remotevirt.xml.storage_pool import PoolModel
from remotevirt.xml.storage_volume import VolumeModel

__all__ = ["PROGRAMS", "LogicalBackend", "is_possible"]

PROGRAMS: Final = ("vgs", "lvs", "vgchange", "lvcreate", "lvremove")
"""What must be there for pools of this type."""

KIBI: Final = 1024
SEPARATOR: Final = "#"
"""Between what LVM's programs tell; no name has it."""

_NAME = re.compile(r"[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]{0,126}")
"""What LVM takes for a name; none is an option."""


def is_possible() -> bool:
    """Return whether LVM's programs are there."""
    return all(find_program(name) is not None for name in PROGRAMS)


async def _lvm(program: str, group: str, *args: str, long: bool = False) -> list[list[str]]:
    """Run one of LVM's programs for a group; returns the lines that it tells, in fields; raises VirError."""
    path = await locate_program(program)
    if path is None:
        raise internal(f"{program} is not there any more")
    said = await run(f"/dev/{group}", path, args, long=long)
    lines = said.decode("utf-8", "replace").splitlines()
    return [line.strip().split(SEPARATOR) for line in lines if line.strip()]


async def _report(program: str, options: str, group: str) -> list[list[str]]:
    how = ("--noheadings", "--units", "b", "--nosuffix", "--separator", SEPARATOR)
    found = await _lvm(program, group, *how, "--options", options, "--", group)
    count = options.count(",") + 1
    if any(len(line) != count for line in found):
        raise internal(f"{program} says what cannot be understood")
    return found


def _number(text: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise internal(f"LVM says {text!r} where a size should be")
    return int(text)


def _group(model: PoolModel) -> str:
    name = model.source.name or ""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise invalid(f"'{name}' is no name of a volume group")
    return name


class LogicalBackend:
    """A volume group."""

    async def build(self, model: PoolModel, flags: int) -> None:
        """Refuse: devices are not made into volume groups here."""
        check_flags(flags, 0, "virStorageBackendLogicalBuildPool", c.VIR_FROM_STORAGE)
        raise NoSupport("storage pool does not support pool building", domain=c.VIR_FROM_STORAGE)

    async def start(self, model: PoolModel) -> None:
        """Activate the volumes; raises VirError."""
        group = _group(model)
        await _lvm("vgchange", group, "-aly", "--", group)

    async def stop(self, model: PoolModel) -> None:
        """Deactivate the volumes; raises VirError, if a guest uses one."""
        group = _group(model)
        await _lvm("vgchange", group, "-aln", "--", group)

    async def delete(self, model: PoolModel, flags: int) -> None:
        """Refuse."""
        raise NoSupport("storage pool does not support pool deletion", domain=c.VIR_FROM_STORAGE)

    async def is_active(self, model: PoolModel) -> bool:
        """Return whether the volumes can be reached."""
        place = f"/dev/{_group(model)}"
        return await in_thread(place, lambda stop: os.path.isdir(place))

    async def scan(self, model: PoolModel) -> Contents:
        """Return what the group holds; raises VirError."""
        group = _group(model)
        sizes = await _report("vgs", "vg_size,vg_free", group)
        if len(sizes) != 1:
            raise internal(f"vgs does not know '{group}'")
        capacity, free = (_number(text) for text in sizes[0])
        volumes = []
        for name, uuid, size, attributes in await _report("lvs", "lv_name,lv_uuid,lv_size,lv_attr", group):
            if not _NAME.fullmatch(name) or attributes[:1] in ("t", "V"):
                continue  # pools of thin volumes are no volumes, and these have no room of their own
            bytes_ = _number(size)
            volume = VolumeModel(name, bytes_, bytes_, "block", uuid, f"/dev/{group}/{name}")
            volume.physical = bytes_
            volumes.append(volume)
        return Contents(volumes, capacity, capacity - free, free, Permissions())

    def prepare(self, pool: PoolModel, model: VolumeModel) -> None:
        """Complete the definition of a new volume; raises VirError."""
        if not _NAME.fullmatch(model.name) or model.name in (".", ".."):
            raise invalid(f"'{model.name}' is no name of a logical volume")
        if model.encryption is not None or model.backing is not None:
            raise unsupported("logical volumes have neither encryption nor backing store")
        model.path = model.key = f"/dev/{_group(pool)}/{model.name}"
        model.type = "block"

    async def create(
        self,
        pool: PoolModel,
        model: VolumeModel,
        flags: int,
        *,
        secret: GetSecret = no_secret,
        source: VolumeModel | None = None,
        folders: Collection[str] = (),
    ) -> None:
        """Make a volume, with all the room that it may take; raises VirError."""
        if source is not None:
            text = "storage pool does not support volume creation from an existing volume"
            raise NoSupport(text, domain=c.VIR_FROM_STORAGE)
        if flags & c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA:
            raise unsupported("metadata preallocation is not supported for logical volumes")
        size = f"{-(-max(model.capacity, model.allocation) // KIBI)}K"
        group = _group(pool)
        await _lvm("lvcreate", group, "--yes", "--name", model.name, "-L", size, "--", group)
        for volume in (await self.scan(pool)).volumes:
            if volume.name == model.name:
                model.key, model.physical = volume.key, volume.physical
                model.capacity = model.allocation = volume.capacity

    async def remove(self, pool: PoolModel, model: VolumeModel, flags: int) -> None:
        """Remove a volume; raises VirError."""
        check_flags(flags, 0, "virStorageBackendLogicalDeleteVol", c.VIR_FROM_STORAGE)
        group = _group(pool)
        # it may have to tell the disks that the room is free
        await _lvm("lvremove", group, "-f", "--", f"{group}/{model.name}", long=True)

    async def measure(self, pool: PoolModel, model: VolumeModel) -> VolumeModel | None:
        """Return None: volumes stay as long as they are."""
        return None

    async def resize(
        self, pool: PoolModel, model: VolumeModel, capacity: int, flags: int, folders: Collection[str]
    ) -> None:
        """Refuse, as libvirt does."""
        text = "storage pool does not support changing of volume capacity"
        raise NoSupport(text, domain=c.VIR_FROM_STORAGE)

    async def wipe(self, pool: PoolModel, model: VolumeModel, algorithm: int) -> None:
        """Overwrite a volume; raises VirError."""
        check_algorithm(algorithm)
        await in_long_thread(os.path.dirname(model.path), _wipe, model.path)

    async def open(self, pool: PoolModel, model: VolumeModel, *, write: bool) -> int:
        """Open a volume; returns its descriptor; raises VirError."""
        return await open_in_thread(os.path.dirname(model.path), _open, model.path, write)


def _wipe(stop: Stop, path: str) -> None:
    wipe_open(stop, _open(stop, path, write=True), path)


def _open(stop: Stop, path: str, write: bool) -> int:
    """Open a device by the link that LVM has made."""
    flags = os.O_RDWR if write else os.O_RDONLY
    try:
        file = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise system(f"Unable to open {path}", error, c.VIR_FROM_STREAMS) from error
    if not stat.S_ISBLK(os.fstat(file).st_mode):
        os.close(file)
        raise invalid(f"'{path}' is no device")
    return file
