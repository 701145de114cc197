"""What QEMU says: a log for each domain, of bounded length.

QEMU appends to the file by itself, so that nothing is lost while the daemon is away. A guest that makes it
talk without end must not fill the disk: the files of guests that run are looked at every few seconds, and one
that has grown too long loses its beginning. Nobody looks while the daemon is away; when it starts, it looks
at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import surely_in_thread
from remotevirt.drivers.qemu.settings import Settings

__all__ = ["KEPT", "LOOK_SECONDS", "MAX_LOG", "Logs", "cut", "log_path"]

MAX_LOG: Final = 2 * 1024 * 1024
"""Bytes of a log. libvirt: the same (max_size of virtlogd), and up to three older files."""

KEPT: Final = 128 * 1024
"""Bytes at its end that stay of a log that was too long."""

LOOK_SECONDS: Final = 5.0
"""How often logs are looked at."""

NAME_BYTES: Final = 240
"""Bytes of a domain's name in that of its log: with the suffix below the 255 that a file may have."""


log = Logger()


def log_path(settings: Settings, name: str) -> Path:
    """Return where the log of a domain is."""
    safe = name.replace("/", "_").encode()[:NAME_BYTES].decode(errors="ignore")
    return settings.log / f"{safe}.log"


def cut(path: Path) -> None:
    """Take the beginning from a log that is too long; one that is missing, or no file, stays as it is.

    QEMU may write meanwhile: it appends, so that it goes on behind what is left.
    """
    with suppress(OSError):
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_size > MAX_LOG:
                end = os.pread(descriptor, KEPT, found.st_size - KEPT)
                os.ftruncate(descriptor, 0)
                os.write(descriptor, end)
        finally:
            os.close(descriptor)


def _cut_all(paths: Iterable[Path]) -> None:
    for path in paths:
        cut(path)


class Logs:
    """Keeps the logs of guests that run short.

    Args:
        reactor: provides IReactorTime.
        folder: of all logs.
        paths: returns those of guests that run.
    """

    def __init__(self, reactor: Any, folder: Path, paths: Callable[[], Iterable[Path]]) -> None:
        self._folder = folder
        self._paths = paths
        self._begun = False
        self._call = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._call.clock = reactor

    def start(self) -> None:
        """Look at all logs now, as guests may have ended meanwhile, and then at those that are written."""
        self._call.start(LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        if self._call.running:
            self._call.stop()

    async def _look(self) -> None:
        begun, self._begun = self._begun, True
        paths = list(self._paths())
        if begun and not paths:
            return
        try:
            await surely_in_thread(
                str(self._folder), lambda stop: _cut_all(paths if begun else self._folder.glob("*.log"))
            )
        except Exception:
            log.failure("the logs of guests were not looked at")
