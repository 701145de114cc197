"""Drivers for the durability test: one that empties its log all the time, and some that break the promise."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI
from remotevirt.drivers.qemu.driver import QemuDriver
from remotevirt.drivers.test.driver import TestDriver

reactor: Any = _reactor

SMALL_LOG = 64 * 1024
"""Bytes after which the log is emptied: with these writers many times a second."""

HASTE = 0.05
"""Seconds between an acknowledgement and the writing of what it said, in the store that must be caught."""


class CompactingDriver(TestDriver):
    """The test hypervisor with a log that is short."""

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a world, and make its log short."""
        connection = super().open(uri, client)
        assert self.lasting is not None
        _, journal = self.lasting.get("default")
        journal.store = self.change(journal.store)
        return connection

    def change(self, store: Any) -> Any:
        """Return the store to use."""
        store.checkpoint_bytes = SMALL_LOG
        return store


class CompactingQemuDriver(QemuDriver):
    """QEMU with a log that is short."""

    async def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open the world, and make its log short."""
        connection = await super().open(uri, client)
        assert self.world is not None and self.world.journal is not None
        self.world.journal.store.checkpoint_bytes = SMALL_LOG
        return connection


class UnsyncedDriver(CompactingDriver):
    """A hypervisor whose store leaves it to the kernel when something goes to the disk."""

    def change(self, store: Any) -> Any:
        """Return a store that does not wait for the disk."""
        store._connection.execute("PRAGMA synchronous = OFF")
        return store


class HastyStore:
    """Acknowledges first and writes a little later."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def write(self, puts: Any, drops: Any) -> None:
        """Promise to write."""
        reactor.callLater(HASTE, self.store.write, puts, drops)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class HastyDriver(CompactingDriver):
    """A hypervisor that acknowledges before it writes."""

    def change(self, store: Any) -> Any:
        """Return a store that promises too much."""
        return store if isinstance(store, HastyStore) else HastyStore(store)


class TearingStore(HastyStore):
    """Writes what a call changes in pieces: what goes now, what comes later."""

    def write(self, puts: Any, drops: Any) -> None:
        """Write one row at a time, each at another moment."""
        for number, row in enumerate(puts):
            cut = row
            if number == 0 and row.TABLE == "domains":
                # the new generation's document under the old generation's memory, for a moment
                cut = row._replace(document=row.document.replace("</title>", " torn</title>"))
                self.store.write([cut], drops)
                drops = ()
            reactor.callLater(HASTE, self.store.write, [row], ())
        if drops:
            self.store.write([], drops)


class TearingDriver(CompactingDriver):
    """A hypervisor whose calls are not kept as a whole."""

    def change(self, store: Any) -> Any:
        """Return a store that writes in pieces."""
        return store if isinstance(store, TearingStore) else TearingStore(store)
