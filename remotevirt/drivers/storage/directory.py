"""Pools that are folders; where a file system is mounted, see :mod:`remotevirt.drivers.storage.mounting`."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final, TypeAlias

from twisted.internet.defer import CancelledError

from remotevirt.drivers.disk_threads import (
    Stop,
    close_in_thread,
    in_long_thread,
    in_thread,
    made_in_thread,
    open_in_thread,
    surely_in_thread,
)
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.storage import qemu_img
from remotevirt.drivers.storage.aside import FOLDER_FD
from remotevirt.drivers.storage.bytes import make_folder, make_raw, resize_raw, wipe
from remotevirt.drivers.storage.chains import chain, read_facts
from remotevirt.drivers.storage.faults import internal, invalid, system, unsupported
from remotevirt.drivers.storage.files import (
    DRAFT,
    FOLDER,
    Draft,
    look,
    open_volume,
    remove_volume,
    scan,
    scan_draft,
    set_permissions,
)
from remotevirt.drivers.storage.records import Contents
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, NoSupport, OperationInvalid, OperationUnsupported
from remotevirt.xml.storage_pool import PoolModel
from remotevirt.xml.storage_volume import VolumeModel

__all__ = ["DirectoryBackend", "GetSecret", "check_algorithm", "no_secret", "path_of"]

DEFAULT_MODE: Final = 0o711
"""The mode of folders that are made for pools."""

OVERWRITE: Final = c.VIR_STORAGE_POOL_BUILD_OVERWRITE
NO_OVERWRITE: Final = c.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE


def _build(stop: Stop, model: PoolModel) -> None:
    """Make a pool's folder and those above it; one that is there is given its permissions."""
    path = model.path or ""
    if not os.path.isabs(path):
        raise invalid(f"target path '{path}' is not absolute")
    mode = model.permissions.mode
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise system(f"cannot create path '{path}'", error, c.VIR_FROM_NONE) from error
    made = False
    try:
        os.mkdir(path, DEFAULT_MODE if mode is None else mode)
        made = True
    except FileExistsError:
        pass
    except OSError as error:
        raise system(f"cannot create directory '{path}'", error, c.VIR_FROM_NONE) from error
    try:
        folder = os.open(path, FOLDER)
    except OSError as error:
        raise system(f"cannot create directory '{path}'", error, c.VIR_FROM_NONE) from error
    try:
        set_permissions(folder, path, model.permissions, DEFAULT_MODE if made else None)
    finally:
        os.close(folder)


def _delete(stop: Stop, path: str) -> None:
    with suppress(FileNotFoundError):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise system(f"failed to remove pool '{path}'", error) from error


def _open_folder_of(stop: Stop, path: str, name: str) -> int:
    """Open the folder of a volume that can be written to, and is no link."""
    os.close(open_volume(stop, path, name, "Unable to open", c.VIR_FROM_NONE, write=True))
    try:
        return os.open(path, FOLDER)
    except OSError as error:
        raise system(f"cannot open directory '{path}'", error, c.VIR_FROM_NONE) from error


GetSecret: TypeAlias = Callable[[], Awaitable[bytes | None]]


async def no_secret() -> bytes | None:
    """Return None: there is no passphrase."""
    return None


class DirectoryBackend:
    """A folder of the host."""

    async def build(self, model: PoolModel, flags: int) -> None:
        """Make the folder; raises VirError."""
        if flags & (OVERWRITE | NO_OVERWRITE):
            text = f"No source device specified when formatting pool '{model.name}'"
            raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
        check_flags(flags, 0, "virStorageBackendFileSystemBuild", c.VIR_FROM_STORAGE)
        await in_thread(path_of(model), _build, model)

    async def start(self, model: PoolModel) -> None:
        """Make the volumes reachable, and remove what was never completed; raises VirError."""
        await in_thread(path_of(model), scan_draft, path_of(model))

    async def stop(self, model: PoolModel) -> None:
        """Make the volumes unreachable: they stay as they are."""

    async def delete(self, model: PoolModel, flags: int) -> None:
        """Remove the folder, which must be empty; raises VirError."""
        check_flags(flags, 0, "virStorageBackendDeleteLocal", c.VIR_FROM_STORAGE)
        await in_thread(path_of(model), _delete, path_of(model))

    async def is_active(self, model: PoolModel) -> bool:
        """Return whether the pool can be taken for active, as it was before a restart of the daemon."""
        return await in_thread(path_of(model), lambda stop: os.path.isdir(path_of(model)))

    async def scan(self, model: PoolModel) -> Contents:
        """Return what the pool holds; raises VirError."""
        return await in_thread(path_of(model), scan, path_of(model))

    def prepare(self, pool: PoolModel, model: VolumeModel) -> None:
        """Complete the definition of a new volume: path, key and type; raises VirError."""
        name = model.name
        if "/" in name:
            raise invalid(f"volume name '{name}' cannot contain '/'")
        if name.startswith(DRAFT) or any(ord(char) < 32 or ord(char) == 127 for char in name):
            raise invalid(f"volume name {name!r} is not possible")
        model.path = model.key = f"{path_of(pool)}/{name}"
        model.type = "dir" if model.format == "dir" else "file"
        if model.format == "luks":
            raise unsupported("unknown volume format type luks")
        if model.format == "ploop":
            raise internal("unable to find ploop, please install ploop tools", c.VIR_FROM_NONE)

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
        """Make a volume.

        Args:
            pool: where.
            model: what :meth:`prepare` has made of its definition.
            flags: virStorageVolCreateFlags.
            secret: returns the passphrase of one that is encrypted.
            source: the volume that it is a copy of.
            folders: those of active pools.

        Raises:
            VirError: it cannot be made, and nothing of it is there.
        """
        metadata = bool(flags & c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
        program = qemu_img.needs_program(model) or (source is not None and qemu_img.needs_program(source))
        args: list[str] = []
        if program and model.format != "dir":
            size = None if source is not None else await self._backing(pool, model)
            args = qemu_img.creation(model, metadata=metadata, copies=source is not None, backing_size=size)
        elif metadata:
            raise unsupported(f"metadata preallocation is not supported for {model.format} volumes")
        elif model.backing is not None and source is None:
            text = f"backing storage not supported for {model.format or 'raw'} volumes"
            raise NoSupport(text, domain=c.VIR_FROM_STORAGE)
        place = path_of(pool)
        draft = Draft(place, model.name)
        await made_in_thread(place, draft.open, lambda _: draft.remove())
        try:
            if model.format == "dir":
                await surely_in_thread(place, make_folder, draft)
            elif not program:
                origin = None if source is None else source.path
                reflink = bool(flags & c.VIR_STORAGE_VOL_CREATE_REFLINK)
                size, allocation = model.capacity, model.allocation
                await in_long_thread(place, make_raw, draft, size, allocation, origin, reflink=reflink)
            else:
                await self._make_image(draft, model, args, await secret(), source, folders)
            try:
                await in_long_thread(place, draft.publish, model.permissions)
            except CancelledError:
                if not draft.published:
                    raise
        finally:
            await surely_in_thread(place, lambda stop: draft.remove())

    @staticmethod
    async def _make_image(
        draft: Draft,
        model: VolumeModel,
        args: list[str],
        secret: bytes | None,
        source: VolumeModel | None,
        folders: Collection[str],
    ) -> None:
        if source is None:
            await qemu_img.create(draft.folder, draft.name, args, where=model.path, secret=secret)
            return
        if model.encryption is not None or source.encryption is not None:
            raise unsupported("volumes that are encrypted cannot be cloned into another format")
        image = await in_thread(draft.path, chain, source.path, source.format, folders)
        await qemu_img.convert(draft.folder, draft.name, args, image, where=model.path)

    @staticmethod
    async def _backing(pool: PoolModel, model: VolumeModel) -> int | None:
        """Check and complete what a new image stands on; returns its capacity in bytes, None without one."""
        backing = model.backing
        if backing is None:
            return None
        if model.format not in ("qcow", "qcow2", "qed", "vmdk"):
            text = f"backing storage not supported for {model.format} volumes"
            raise NoSupport(text, domain=c.VIR_FROM_STORAGE)
        where = os.path.join(path_of(pool), backing.path)
        try:
            facts, size = await in_thread(os.path.dirname(where), read_facts, where)
        except OperationInvalid:
            raise
        except Exception as error:
            number = getattr(error, "int1", 0)
            if number <= 0:
                raise
            text = f"inaccessible backing store volume {backing.path}"
            raise system(text, number) from error
        backing.format = backing.format or facts.format
        if ":" in backing.path.partition("/")[0]:
            backing.path = where  # QEMU would take the first word for a protocol
        return size if backing.format == "raw" or facts.capacity is None else facts.capacity

    async def remove(self, pool: PoolModel, model: VolumeModel, flags: int) -> None:
        """Remove a volume; raises VirError."""
        check_flags(flags, 0, "virStorageBackendVolDeleteLocal", c.VIR_FROM_STORAGE)
        place = path_of(pool)
        await in_thread(place, remove_volume, place, model.name, is_folder=model.type == "dir")

    async def measure(self, pool: PoolModel, model: VolumeModel) -> VolumeModel | None:
        """Return what a volume is now; None if it is gone."""
        kind = model.format if model.encryption is None else None  # its header tells its size
        return await in_thread(path_of(pool), look, path_of(pool), model.name, kind)

    async def resize(
        self, pool: PoolModel, model: VolumeModel, capacity: int, flags: int, folders: Collection[str]
    ) -> None:
        """Change a volume's capacity; raises VirError."""
        allocate = bool(flags & c.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
        raw = model.format in ("raw", "iso", None) and model.encryption is None
        place = path_of(pool)
        if raw:
            await in_long_thread(place, resize_raw, place, model.name, capacity, allocate=allocate)
            return
        if allocate:
            text = "preallocate is only supported for raw type volume"
            raise OperationUnsupported(text, domain=c.VIR_FROM_STORAGE)
        if model.encryption is not None or model.format == "dir":
            text = f"volume '{model.name}' cannot be resized"
            raise OperationUnsupported(text, domain=c.VIR_FROM_STORAGE)
        folder = await open_in_thread(place, _open_folder_of, place, model.name)
        try:
            await self._resize_image(pool, model, capacity, folder, folders)
        finally:
            await close_in_thread(place, folder)

    @staticmethod
    async def _resize_image(
        pool: PoolModel, model: VolumeModel, capacity: int, folder: int, folders: Collection[str]
    ) -> None:
        opened = f"/proc/self/fd/{FOLDER_FD}/{model.name}"
        image = await in_thread(path_of(pool), chain, model.path, model.format, folders, opened)
        shrink = capacity < model.capacity
        await qemu_img.resize(folder, image, capacity, where=model.path, shrink=shrink)

    async def wipe(self, pool: PoolModel, model: VolumeModel, algorithm: int) -> None:
        """Overwrite a volume; raises VirError."""
        check_algorithm(algorithm)
        await in_long_thread(path_of(pool), wipe, path_of(pool), model.name)

    async def open(self, pool: PoolModel, model: VolumeModel, *, write: bool) -> int:
        """Open a volume for a stream; returns its descriptor; raises VirError."""
        what = "Unable to open" if write else "Unable to read"
        place = path_of(pool)
        return await open_in_thread(
            place, open_volume, place, model.name, what, c.VIR_FROM_STREAMS, write=write
        )


def check_algorithm(algorithm: int) -> None:
    """Refuse what takes the program scrub, as libvirt does without it; raises VirError."""
    if algorithm == c.VIR_STORAGE_VOL_WIPE_ALG_TRIM:
        raise ArgumentUnsupported("'trim' algorithm not supported", domain=c.VIR_FROM_STORAGE)
    if algorithm != c.VIR_STORAGE_VOL_WIPE_ALG_ZERO:
        raise system("Cannot find 'scrub' in path", errno.ENOENT, c.VIR_FROM_NONE)


def path_of(model: PoolModel) -> str:
    """Return the folder of a pool; raises OperationInvalid if it is relative to nobody knows what."""
    path = model.path or ""
    if not os.path.isabs(path) or "\0" in path:
        raise invalid(f"target path '{path}' is not absolute")
    return path
