"""Folders that a guest may have filled with anything, and how they go.

QEMU can write into its own folder, so a guest that has broken out leaves there what it likes: files without
number, folders in folders deeper than any path or stack, without the right to look inside. Folders are
therefore not walked through: whatever is inside one is moved up beside it, until none has any in it.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import Stop, surely_in_thread

__all__ = ["discard", "remove_folder"]

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

OWN: Final = 0o700

log = Logger()


def remove_folder(stop: Stop, path: str) -> None:
    """Remove a folder and what is in it, with two descriptors and no recursion; in a thread.

    Args:
        stop: asked between files.
        path: of the folder, whose own folder only the daemon may change; it may not be there.

    Raises:
        OSError: something cannot be removed.
    """
    try:
        top = os.open(path, FOLDER)
    except FileNotFoundError:
        return
    try:
        os.fchown(top, os.geteuid(), os.getegid())  # nobody else shall put anything there any more
        os.fchmod(top, OWN)
        while names := os.listdir(top):
            for name in names:
                stop.check()
                if not _is_folder(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                if os.geteuid() != 0:
                    os.chmod(name, OWN, dir_fd=top)  # root looks into any
                _empty(stop, name, top)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(stop: Stop, name: str, top: int) -> None:
    """Remove the files of a folder in another one, and move its folders up to it."""
    folder = os.open(name, FOLDER, dir_fd=top)
    try:
        os.fchown(folder, os.geteuid(), os.getegid())
        os.fchmod(folder, OWN)
        for one in os.listdir(folder):
            stop.check()
            if not _is_folder(one, folder):
                os.unlink(one, dir_fd=folder)
                continue
            if os.geteuid() != 0:
                os.chmod(one, OWN, dir_fd=folder)  # who moves a folder must be able to write into it
            os.rename(one, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def discard(folder: Path) -> None:
    """Take a guest's folder out of the way at once, and remove it later, whoever waits.

    What is left when the daemon is killed meanwhile, the next one removes.
    """
    doomed = folder.with_name(f"{folder.name.partition('-')[0]}-{secrets.token_hex(8)}")
    with suppress(FileNotFoundError):
        os.rename(folder, doomed)
        Deferred.fromCoroutine(_remove(doomed))


async def _remove(doomed: Path) -> None:
    try:
        await surely_in_thread(str(doomed.parent), remove_folder, str(doomed))
    except Exception as error:
        log.error("{path} stays behind: {error}", path=doomed, error=error)
