"""Disks that hang, and who touches them: for tests that nothing waits for a disk but threads that may."""

from __future__ import annotations

import builtins
import os
import posixpath
import threading
import traceback
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from remotevirt.drivers import disk_threads

reactor: Any = _reactor

FUNCTIONS = (
    *(
        "access",
        "chmod",
        "chown",
        "link",
        "listdir",
        "lstat",
        "mkdir",
        "open",
        "readlink",
        "remove",
        "rename",
    ),
    *("replace", "rmdir", "scandir", "stat", "statvfs", "symlink", "truncate", "unlink", "utime"),
)
"""Functions of ``os`` that take a path. ``os.path``, ``pathlib`` and ``shutil`` end in these."""

BY_DESCRIPTOR = (
    *("close", "fchmod", "fchown", "fstat", "fstatvfs", "fsync", "ftruncate", "lseek", "pread", "pwrite"),
    *("posix_fallocate", "read", "write"),
)
"""Those that take a descriptor."""


class Disk:
    """The files below a folder: who touches them is seen, and held up while the disk hangs.

    Attributes:
        touched: how often threads have touched them.
        by_reactor: where the reactor's thread has: the innermost lines of the driver's code.
    """

    def __init__(self, case: TestCase, *folders: str) -> None:
        self.folders = tuple(folders)
        self.touched = 0
        self.by_reactor: list[str] = []
        self.held = 0
        self._reactor = threading.get_ident()
        self._open = threading.Event()
        self._open.set()
        self._exempt = threading.local()
        case.addCleanup(self.recover)
        for name in FUNCTIONS:
            case.patch(os, name, self._watched(name, getattr(os, name), self._by_path))
        for name in BY_DESCRIPTOR:
            case.patch(os, name, self._watched(name, getattr(os, name), self._by_number))
        case.patch(builtins, "open", self._watched("open", builtins.open, self._by_path))
        case.patch(posixpath, "realpath", self._watched("realpath", posixpath.realpath, self._by_path))

    def hang(self) -> None:
        """Hold up whoever touches a file, until :meth:`recover`."""
        self._open.clear()

    def recover(self) -> None:
        """Let everybody go on."""
        self._open.set()

    def _below(self, path: Any) -> bool:
        try:
            text = os.fsdecode(path)
        except TypeError:
            return False
        return any(text == folder or text.startswith(f"{folder}/") for folder in self.folders)

    def _by_path(self, thing: Any, kwargs: dict[str, Any]) -> bool:
        if self._below(thing):
            return True
        folder = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
        if isinstance(thing, int) or folder is not None:
            return self._by_number(thing if folder is None else folder, kwargs)
        return False

    def _by_number(self, thing: Any, kwargs: dict[str, Any]) -> bool:
        if not isinstance(thing, int):
            return False
        try:
            return self._below(self._readlink(f"/proc/self/fd/{thing}"))
        except OSError:
            return False

    _readlink = staticmethod(os.readlink)

    def _watched(self, name: str, real: Callable[..., Any], is_ours: Callable[..., bool]) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            thing = args[0] if args else None
            if thing is None or getattr(self._exempt, "on", False) or not is_ours(thing, kwargs):
                return real(*args, **kwargs)
            if threading.get_ident() == self._reactor:
                where = [frame for frame in traceback.extract_stack() if "/remotevirt/" in frame.filename]
                if where:
                    self.by_reactor.append(
                        f"{name}({thing!r}) by "
                        + " < ".join(
                            f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in where[-3:][::-1]
                        )
                    )
                return real(*args, **kwargs)
            self.touched += 1
            if not self._open.is_set():
                self.held += 1
                self._open.wait()
                self.held -= 1
            return real(*args, **kwargs)

        return call


async def quiet() -> None:
    """Wait until no thread does anything for a disk any more."""
    for _ in range(3000):
        if not disk_threads.busy():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("a thread does not end")


async def held(disk: Disk, count: int = 1) -> None:
    """Wait until so many threads are held up."""
    for _ in range(3000):
        if disk.held >= count:
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("nothing was held up")
