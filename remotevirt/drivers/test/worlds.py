"""The worlds that last: each has a name, and a store in the folder of the driver.

::

    test:///NAME  ->  STATE/test/NAME.db

A world is opened when it is first asked for and stays open until the daemon ends. A client that may not
change anything can open those that are there, and does not make any.
"""

from __future__ import annotations

import os
import re
from typing import Final

from twisted.logger import Logger

from remotevirt.drivers.journal import Journal
from remotevirt.drivers.test.lasting import open_world
from remotevirt.drivers.test.world import World
from remotevirt.store import Store, StoreBusy, StoreError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoConnect, OperationDenied, OperationFailed

__all__ = ["DEFAULT", "MAX_WORLDS", "Worlds"]

DEFAULT: Final = "default"
"""The world of ``test:///default``."""

MAX_WORLDS: Final = 64
"""Worlds in a folder, each with bounds of its own. libvirt: one, which lasts as long as it is open."""

_PATH: Final = re.compile(r"/([A-Za-z0-9][A-Za-z0-9_-]{0,63})")
"""What of a URI names a world; a node file's path has more than one part, or a dot."""

log = Logger()


class Worlds:
    """The worlds of a folder.

    Args:
        state: the folder for what must outlive the daemon; the worlds have one of their own inside.

    Raises:
        ValueError: it is not an absolute path of a folder.
    """

    def __init__(self, state: str) -> None:
        if not os.path.isabs(state) or not os.path.isdir(state):
            raise ValueError(f"state={state}: not an absolute path of a folder")
        self.folder = os.path.join(state, "test")
        self._open: dict[str, tuple[World, Journal]] = {}
        self._refused: dict[str, tuple[object, OperationFailed]] = {}

    @staticmethod
    def name_in(path: str) -> str | None:
        """Return the name of the world that a URI's path means, None if it means a file."""
        found = _PATH.fullmatch(path)
        return None if found is None else found[1]

    def get(self, name: str, *, readonly: bool = False) -> tuple[World, Journal]:
        """Return a world, which is made if it is not there.

        Args:
            name: from a URI.
            readonly: whoever asks may not make one.

        Raises:
            NoConnect: it is not there, and there are too many.
            OperationDenied: it is not there, and may not be made.
            OperationFailed: its store cannot be opened.
        """
        found = self._open.get(name)
        if found is not None:
            return found
        path = os.path.join(self.folder, f"{name}.db")
        if name in self._refused:
            # to look through a damaged file takes time, which clients must not be able to ask for at will
            look, refusal = self._refused[name]
            if look == _look_of(path):
                raise refusal
            del self._refused[name]
        try:
            if not Store.exists(path) and name != DEFAULT:
                if readonly:
                    text = "read only access prevents making a world"
                    raise OperationDenied(text, domain=c.VIR_FROM_TEST)
                if self._count() >= MAX_WORLDS:
                    raise NoConnect(f"there are {MAX_WORLDS} worlds already", domain=c.VIR_FROM_TEST)
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            found = self._open[name] = open_world(path)
        except (StoreError, OSError) as error:
            log.critical("world {name}: {error}", name=name, error=error)
            refusal = OperationFailed(f"world '{name}': {error}", domain=c.VIR_FROM_TEST)
            if isinstance(error, StoreError) and not isinstance(error, StoreBusy):
                self._refused[name] = _look_of(path), refusal
            raise refusal from error
        return found

    def _count(self) -> int:
        """Return how many worlds there are."""
        with os.scandir(self.folder) as entries:
            return sum(1 for entry in entries if entry.name.endswith(".db"))

    def start(self) -> None:
        """Open the default world, so that what is wrong with it is known before a client asks."""
        try:
            self.get(DEFAULT)
        except OperationFailed:
            log.warn("the other worlds are served; this one is tried again when a client asks for it")

    def stop(self) -> None:
        """Close all stores; safe to call again."""
        while self._open:
            _, (_, journal) = self._open.popitem()
            journal.store.close()


def _look_of(path: str) -> object:
    """Return what changes when somebody puts another file in place."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns
