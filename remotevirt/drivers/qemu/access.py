"""Giving a guest the files that its definition names, and nothing else.

Where the daemon is root, QEMU runs as somebody who owns nothing. What a guest shall open is made its user's
while it runs, and given back when it has ended. Who had it is kept with the guest's row, so that a restart
of the daemon in between loses nothing. A file that several guests share stays theirs until the last of them
has ended.

Others may own folders on the way to an image, and put links in them at any moment. So an owner is changed
only through a descriptor, of which the kernel says that it is the file at that very path, links resolved;
and given back is only what still is QEMU's user's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from twisted.logger import Logger

from remotevirt.drivers.qemu.guest import Owner
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationDenied, VirSystemError

__all__ = ["check_allowed", "check_place", "exactly", "give", "give_back", "owner_before"]

HARMLESS: Final = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")
"""What any guest may have, wherever images must be."""

PACKAGED: Final = "/usr/share"
"""Below it are firmware and ROMs, which any guest may read."""

log = Logger()


def _cannot(action: str, path: str, error: OSError) -> VirError:
    text = f"Cannot {action} '{path}': {error.strerror}"
    return VirSystemError(text, domain=c.VIR_FROM_STORAGE, int1=error.errno or 0)


def check_allowed(path: str, settings: Settings, *, writable: bool = True) -> str:
    """Return where a path leads, whether there is a file or not.

    Args:
        path: named by a client.
        settings: with the folders that the operator allows, and the driver's own.
        writable: it will be written to, or made.

    Raises:
        OperationDenied: it is outside of all these.
    """
    real = os.path.realpath(path)
    if not settings.images:
        return real
    allowed = [*map(str, settings.images), str(settings.nvram), str(settings.channel)]
    if not writable:
        allowed.append(PACKAGED)
    if real not in HARMLESS and not any(os.path.commonpath([real, place]) == place for place in allowed):
        text = f"'{path}' is outside the folders that guests may use"
        raise OperationDenied(text, domain=c.VIR_FROM_QEMU)
    return real


def check_place(path: str, settings: Settings, *, writable: bool = True) -> str:
    """Return the real path of a file that a guest names.

    Raises:
        VirSystemError: it is not there.
        OperationDenied: it is outside the folders that the operator allows, or no file or device.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _cannot("access storage file", path, error) from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode)):
        raise OperationDenied(f"'{path}' is neither a file nor a device", domain=c.VIR_FROM_QEMU)
    return check_allowed(path, settings, writable=writable)


@contextmanager
def exactly(real: str) -> Iterator[int]:
    """Open a file without any right to its content, for as long as the block runs.

    Args:
        real: its path, without links.

    Yields:
        A descriptor of it.

    Raises:
        OSError: it is not there, or something on the way has become a link.
    """
    descriptor = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") != real or stat.S_ISLNK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), real)
        yield descriptor
    finally:
        os.close(descriptor)


def owner_before(path: str, settings: Settings, *, writable: bool) -> Owner | None:
    """Return who has a file that QEMU cannot open as it is; to be noted before :func:`give` changes that.

    Args:
        path: of an existing file.
        settings: who QEMU is.
        writable: it shall write to it; otherwise a file that everybody can read stays as it is.

    Returns:
        None if nothing has to be changed.

    Raises:
        VirSystemError: it is not there, or QEMU cannot get there.
        OperationDenied: the operator does not allow it.
    """
    real = check_place(path, settings, writable=writable)
    user = settings.user
    if user is None:
        return None
    try:
        closed = user.closed_to(real)
        if closed is not None:
            who = f"(as uid:{user.uid}, gid:{user.gid})"
            text = f"Cannot access storage file '{path}' {who}: cannot enter '{closed}'"
            raise VirSystemError(text, domain=c.VIR_FROM_STORAGE, int1=errno.EACCES)
        found = os.lstat(real)
    except OSError as error:
        raise _cannot("access storage file", path, error) from error
    return None if user.may(found, 6 if writable else 4) else Owner(real, found.st_uid, found.st_gid)


def give(owner: Owner, settings: Settings) -> None:
    """Make a file QEMU's user's; raises VirSystemError if that cannot be, or it is not whose it was."""
    user = settings.user
    assert user is not None
    try:
        with exactly(owner.path) as descriptor:
            found = os.fstat(descriptor)
            if (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), owner.path)
            os.chown(f"/proc/self/fd/{descriptor}", user.uid, user.gid)
    except OSError as error:
        raise VirSystemError(
            f"unable to set user and group to '{user.uid}:{user.gid}' on '{owner.path}': {error.strerror}",
            domain=c.VIR_FROM_SECURITY,
            int1=error.errno or 0,
        ) from error


def give_back(owners: Iterable[Owner], settings: Settings) -> None:
    """Give files back to who had them; what cannot be is logged."""
    user = settings.user
    if user is None:
        return
    for owner in owners:
        try:
            with exactly(owner.path) as descriptor:
                if os.fstat(descriptor).st_uid == user.uid:
                    os.chown(f"/proc/self/fd/{descriptor}", owner.uid, owner.gid)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.error("{path} cannot be given back: {error}", path=owner.path, error=error)
