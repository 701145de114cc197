"""The storage driver on temporary folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from remotevirt.drivers.events import Event, EventHub
from remotevirt.drivers.storage import RealStorage
from remotevirt.errors import VirError
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from tests.drivers.hanging import quiet

BUILD = 1
KIB = 1024
MIB = 1024 * KIB

T = TypeVar("T")


def pool_xml(name: str, path: str | Path, extra: str = "", uuid: str = "", kind: str = "dir") -> str:
    """Return a pool's document."""
    middle = f"<uuid>{uuid}</uuid>" if uuid else ""
    return (
        f"<pool type='{kind}'><name>{name}</name>{middle}{extra}<target><path>{path}</path></target></pool>"
    )


def volume_xml(
    name: str,
    capacity: int = MIB,
    allocation: int | None = 0,
    kind: str = "raw",
    target: str = "",
    rest: str = "",
) -> str:
    """Return a volume's document."""
    room = "" if allocation is None else f"<allocation>{allocation}</allocation>"
    return (
        f"<volume><name>{name}</name><capacity>{capacity}</capacity>{room}"
        f"<target><format type='{kind}'/>{target}</target>{rest}</volume>"
    )


class StorageCase(TestCase):
    """A driver of which nothing lasts, unless a test asks for it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.hub = EventHub()
        self.events: list[Event] = []
        self.hub.listen(self.events.append)
        self.secrets: dict[bytes | str, bytes] = {}
        self.storage = self.open(None)
        self.addCleanup(lambda: Deferred.fromCoroutine(quiet()))

    def open(self, state: str | None) -> RealStorage:
        """Open a driver."""
        storage = RealStorage.open(state, self.hub, self.secrets.get)
        self.addCleanup(storage.close)
        return storage

    async def call(self, name: str, *args: Any) -> Any:
        """Call the driver as a daemon does."""
        found = getattr(self.storage, name)(*args)
        return await found if isawaitable(found) else found

    async def pool(self, name: str = "p") -> NonnullStoragePool:
        """Build and start a transient pool."""
        ref: NonnullStoragePool = await self.call(
            "storage_pool_create_xml", pool_xml(name, self.folder / name), BUILD
        )
        return ref

    async def make(self, pool: NonnullStoragePool, name: str, **how: Any) -> NonnullStorageVol:
        """Make a volume."""
        ref: NonnullStorageVol = await self.call("storage_vol_create_xml", pool, volume_xml(name, **how), 0)
        return ref

    async def names(self, pool: NonnullStoragePool) -> list[str]:
        """Return the names of a pool's volumes."""
        return sorted(await self.call("storage_pool_list_volumes", pool, 1000))

    async def refused(self, work: Any, text: str) -> VirError:
        """Check that something is refused with a text."""
        try:
            if isawaitable(work):
                await work
        except VirError as error:
            self.assertIn(text, str(error))
            return error
        raise self.failureException(f"not refused: {text}")

    async def no(self, text: str, name: str, *args: Any) -> VirError:
        """Check that a call is refused with a text."""
        return await self.refused(self.call(name, *args), text)

    def lifecycle(self) -> list[int]:
        """Return the lifecycle events since the last call; -1 for a refresh."""
        taken, self.events[:] = list(self.events), []
        return [getattr(event.msg, "event", -1) for event in taken]


async def aside(work: Awaitable[T]) -> T:
    """Await something."""
    return await work


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


async def all_closed(before: int) -> None:
    """Wait until there are as few descriptors as before: some are closed in threads."""
    for _ in range(2000):
        if descriptors() <= before:
            return
        await turn()
    raise AssertionError(f"{descriptors() - before} descriptors are left")


async def turn() -> None:
    """Let the reactor go round, by way of a thread."""
    await deferToThread(os.getpid)
