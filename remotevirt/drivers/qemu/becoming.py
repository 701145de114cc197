"""Starting a program as another user, without the cost of a copy of the daemon.

A child that changes its user before it becomes another program must be a copy of its parent, in Python as in
C: for a daemon of 90 MiB that takes up to 30 ms, during which nothing else runs. One that does not may borrow
the parent's memory (``vfork``), which takes one. So root starts ``setpriv`` (of util-linux, which every
distribution has) like that, and it changes user, groups and then itself into the program: same process, same
session, same descriptors. Where it is not there, the copy it is.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from remotevirt.drivers.qemu.settings import GuestUser

__all__ = ["SETPRIV", "as_user", "mortal"]

SETPRIV: Final = "/usr/bin/setpriv"
"""Where util-linux has it."""


@cache
def _can_become() -> bool:
    """Return whether there is a setpriv that can do what is needed; busybox has one that cannot."""
    try:
        words = [SETPRIV, "--version"]
        said = subprocess.run(words, capture_output=True, check=True, timeout=10, env={}, cwd="/")
    except (OSError, subprocess.SubprocessError):
        return False
    return b"util-linux" in said.stdout


def mortal(words: list[str]) -> list[str]:
    """Return how a program is started so that the kernel kills it when the thread that starts it ends.

    Threads for disks end with the daemon, however that ends. Without setpriv the program goes on.

    Args:
        words: the path of the program and its arguments, or setpriv's that :func:`as_user` has returned.

    Raises:
        OSError: we cannot execute it.
    """
    if not _can_become():
        return words
    if words[0] == SETPRIV:  # the kernel forgets it where the user changes later
        return [SETPRIV, "--pdeathsig=KILL", *words[1:]]
    if not stat.S_ISREG(os.stat(words[0]).st_mode) or not os.access(words[0], os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), words[0])
    return [SETPRIV, "--pdeathsig=KILL", "--", *words]


def as_user(words: list[str], uid: int, gid: int, groups: Sequence[int]) -> tuple[list[str], dict[str, Any]]:
    """Return how a program is started as a user; in a thread.

    Args:
        words: the path of the program and its arguments.
        uid, gid: whom it runs as.
        groups: all other groups that it is then in.

    Returns:
        A command, and more arguments for :class:`subprocess.Popen`.

    Raises:
        OSError: the user cannot execute it.
    """
    if os.geteuid() or not _can_become():
        return words, {"user": uid, "group": gid, "extra_groups": list(groups)}
    found = os.stat(words[0])
    if not stat.S_ISREG(found.st_mode) or not GuestUser(uid, gid, tuple(groups)).may(found, 1):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), words[0])
    other = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return [SETPRIV, f"--reuid={uid}", f"--regid={gid}", other, "--", *words], {}
