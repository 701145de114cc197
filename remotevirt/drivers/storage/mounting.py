"""Pools that are file systems of block devices: made, mounted where the pool's folder is, and unmounted.

What is mounted is taken for the pool's only if it is the pool's device: nothing else is ever unmounted.
"""

from __future__ import annotations

import os
from typing import Final

from twisted.internet.defer import Deferred

from remotevirt.drivers.disk_threads import Stop, in_thread
from remotevirt.drivers.faults import both_flags, check_flags
from remotevirt.drivers.mounts import read_mounts
from remotevirt.drivers.regardless import regardless
from remotevirt.drivers.storage.aside import locate_program, run
from remotevirt.drivers.storage.directory import DirectoryBackend, path_of
from remotevirt.drivers.storage.faults import invalid, unsupported
from remotevirt.drivers.storage.files import scan_draft
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import StoragePoolBuilt
from remotevirt.xml.storage_pool import PoolModel

__all__ = ["MountBackend"]

OVERWRITE: Final = c.VIR_STORAGE_POOL_BUILD_OVERWRITE
NO_OVERWRITE: Final = c.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE

LOOP: Final = "/sys/class/block/{}/loop/backing_file"
"""Where the kernel tells of which file a loop device is."""


class MountBackend(DirectoryBackend):
    """A file system of a device; where it is mounted already, that counts."""

    async def build(self, model: PoolModel, flags: int) -> None:
        """Make the folder, and with a flag the file system; raises VirError."""
        check_flags(flags, OVERWRITE | NO_OVERWRITE, "virStorageBackendFileSystemBuild", c.VIR_FROM_STORAGE)
        if flags & OVERWRITE and flags & NO_OVERWRITE:
            names = ("VIR_STORAGE_POOL_BUILD_OVERWRITE", "VIR_STORAGE_POOL_BUILD_NO_OVERWRITE")
            function = "virStorageBackendFileSystemBuild"
            raise both_flags(function, *names, c.VIR_FROM_STORAGE)
        await super().build(model, 0)
        if flags:
            await self._format(model, overwrite=bool(flags & OVERWRITE))

    @staticmethod
    async def _format(model: PoolModel, *, overwrite: bool) -> None:
        """Make a file system on the device of a pool.

        Raises:
            StoragePoolBuilt: there is something on it.
        """
        device, kind = _device(model), model.source.format or "auto"
        place = os.path.dirname(device)
        if not await in_thread(place, lambda stop: os.path.exists(device)):
            raise invalid(f"Source device does not exist when formatting pool '{model.name}'")
        if not overwrite:
            # partition tables too, which libvirt does not look for
            options = ["--noheadings", "--output", "TYPE", "--", device]
            output = await run(device, await _program("wipefs"), options)
            found = output.decode(errors="replace").split()
            text = f"Format of device '{device}' does not match the expected format '{kind}',"
            if kind in found:
                text = f"Device '{device}' already formatted using '{kind}'"
                raise StoragePoolBuilt(text, domain=c.VIR_FROM_STORAGE)
            if found:
                text = f"{text} forced overwrite is necessary"
                raise StoragePoolBuilt(text, domain=c.VIR_FROM_STORAGE)
        force = ["-f"] if kind == "xfs" else []  # it looks for itself otherwise
        await run(device, await _program("mkfs"), ["-t", kind, *force, device], long=True)

    async def start(self, model: PoolModel) -> None:
        """Mount the file system, if it is not; raises VirError."""
        path = path_of(model)
        if await self.is_active(model):
            await in_thread(path, scan_draft, path)
            return
        try:
            await self._mount(model)
            await in_thread(path, scan_draft, path)
        except BaseException:
            await regardless(Deferred.fromCoroutine(self.stop(model)))
            raise

    @staticmethod
    async def _mount(model: PoolModel) -> None:
        program = await locate_program("mount")
        if program is None or os.geteuid() != 0:
            raise invalid(f"'{model.path}' is not mounted, and only root may mount it")
        kind = model.source.format or "auto"
        options = ["-o", "nodev,nosuid,noexec", "-t", kind, "--", _device(model), path_of(model)]
        await run(path_of(model), program, options)

    async def stop(self, model: PoolModel) -> None:
        """Unmount the file system; raises VirError."""
        program = await locate_program("umount")
        if program is not None and os.geteuid() == 0 and await self.is_active(model):
            # what was written goes to the disk first
            await run(path_of(model), program, ["--", path_of(model)], long=True)

    async def is_active(self, model: PoolModel) -> bool:
        """Return whether the file system is mounted."""
        path, device = path_of(model), _device(model)
        return await in_thread(path, _is_mounted, path, device)


def _device(model: PoolModel) -> str:
    """Return the device of a pool; raises OperationInvalid."""
    device = model.source.devices[0].path
    if not os.path.isabs(device) or "\0" in device:
        raise invalid(f"device path '{device}' is not absolute")
    return device


async def _program(name: str) -> str:
    """Return the path of a program; raises ConfigUnsupported."""
    found = await locate_program(name)
    if found is None:
        raise unsupported(f"Cannot find '{name}' in path")
    return found


def _is_mounted(stop: Stop, path: str, device: str) -> bool:
    """Return whether a device, or a file by a loop device, is mounted on a path."""
    place, source = os.path.realpath(path), os.path.realpath(device)
    for mount in read_mounts():
        stop.check()
        if mount.place == place and source in _sources(mount.source):
            return True
    return False


def _sources(mounted: str) -> set[str]:
    """Return what a mounted device is: itself, and the file behind it."""
    if not mounted.startswith("/"):
        return set()
    real = os.path.realpath(mounted)
    found = {real}
    try:
        with open(LOOP.format(os.path.basename(real)), encoding="utf-8", errors="surrogateescape") as file:
            found.add(file.read().rstrip("\n"))
    except OSError:
        pass  # no loop device
    return found
