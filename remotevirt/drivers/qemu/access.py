"""Giving a guest the files that its definition names, and nothing else.

Where the daemon is root, QEMU runs as somebody who owns nothing. What a guest shall open is made its user's
while it runs, and given back when it has ended. Who had it is kept with the guest's row, so that a restart
of the daemon in between loses nothing. A file that several guests share stays theirs until the last of them
has ended.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from twisted.logger import Logger

from remotevirt.drivers.qemu.guest import Owner
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationDenied, VirSystemError

__all__ = ["check_place", "give", "give_back"]

log = Logger()


def _cannot(action: str, path: str, error: OSError) -> VirError:
    text = f"Cannot {action} '{path}': {error.strerror}"
    return VirSystemError(text, domain=c.VIR_FROM_STORAGE, int1=error.errno or 0)


def check_place(path: str, settings: Settings) -> str:
    """Return the real path of a file that a guest names.

    Raises:
        VirSystemError: it is not there.
        OperationDenied: it is outside the folders that the operator allows, or no file or block device.
    """
    try:
        real = os.path.realpath(path, strict=True)
        mode = os.stat(real).st_mode
    except OSError as error:
        raise _cannot("access storage file", path, error) from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode) or stat.S_ISDIR(mode)):
        raise OperationDenied(f"'{path}' is neither a file nor a device", domain=c.VIR_FROM_QEMU)
    if settings.images and not any(
        os.path.commonpath([real, place]) == str(place) for place in settings.images
    ):
        text = f"'{path}' is outside the folders that guests may use"
        raise OperationDenied(text, domain=c.VIR_FROM_QEMU)
    return real


def give(path: str, settings: Settings, *, writable: bool) -> Owner | None:
    """Let QEMU open a file.

    Args:
        path: of an existing file.
        settings: who QEMU is.
        writable: it shall write to it; otherwise a file that everybody can read stays as it is.

    Returns:
        Who had it; None if nothing had to be changed.

    Raises:
        VirSystemError: it is not there, or cannot be given.
        OperationDenied: the operator does not allow it.
    """
    real = check_place(path, settings)
    user = settings.user
    if user is None:
        return None
    closed = user.closed_to(real)
    if closed is not None:
        who = f"(as uid:{user.uid}, gid:{user.gid})"
        text = f"Cannot access storage file '{path}' {who}: cannot enter '{closed}'"
        raise VirSystemError(text, domain=c.VIR_FROM_STORAGE, int1=errno.EACCES)
    try:
        descriptor = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot("access storage file", path, error) from error
    try:
        found = os.fstat(descriptor)
        if user.may(found, 6 if writable else 4):
            return None
        # by its descriptor, so that nobody can put another file in its place meanwhile
        os.chown(f"/proc/self/fd/{descriptor}", user.uid, user.gid)
        return Owner(real, found.st_uid, found.st_gid)
    except OSError as error:
        raise VirSystemError(
            f"unable to set user and group to '{user.uid}:{user.gid}' on '{path}': {error.strerror}",
            domain=c.VIR_FROM_SECURITY,
            int1=error.errno or 0,
        ) from error
    finally:
        os.close(descriptor)


def give_back(owners: Iterable[Owner], settings: Settings, still: frozenset[str] = frozenset()) -> None:
    """Give files back to who had them; those in ``still`` are in use by another guest."""
    if settings.user is None:
        return
    for owner in owners:
        if owner.path in still:
            continue
        try:
            os.chown(owner.path, owner.uid, owner.gid, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.error("{path} cannot be given back: {error}", path=owner.path, error=error)
