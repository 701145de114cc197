"""Namespaces for daemons that mount file systems or make bridges: the machine sees nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from twisted.trial.unittest import SkipTest

__all__ = ["Space", "require_space"]

PATH = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

HOLD = 'import sys; exec(sys.argv[1]); print("ready", flush=True); sys.stdin.read()'
"""Prepare, and stay until nobody listens."""


class Space:
    """Namespaces, which last until :meth:`close`.

    Args:
        kinds: options of unshare: ``--mount``, ``--net``.
        prepare: Python that runs inside first.
    """

    def __init__(self, kinds: Sequence[str], prepare: str = "") -> None:
        self._kinds = list(kinds)
        self._holder = subprocess.Popen(
            ["unshare", *kinds, "--", sys.executable, "-c", HOLD, prepare],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **PATH},
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, said = self._holder.communicate()
            raise OSError(said.decode(errors="replace"))

    def enter(self) -> list[str]:
        """The words before a command that shall run inside."""
        return ["nsenter", f"--target={self._holder.pid}", *self._kinds, "--"]

    def close(self) -> None:
        """Let the namespaces go, when the last process inside has ended."""
        self._holder.communicate()


@cache
def _is_possible(kinds: tuple[str, ...], probe: str) -> bool:
    try:
        Space(kinds, probe).close()
    except OSError:
        return False
    return True


def require_space(kinds: Sequence[str], probe: str) -> None:
    """Leave out a test where we get no such namespaces, or cannot do in them what a probe does."""
    if os.geteuid() != 0 or not _is_possible(tuple(kinds), probe):
        raise SkipTest(f"the system does not let us make such namespaces: {' '.join(kinds)}")
