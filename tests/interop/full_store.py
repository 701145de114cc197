"""A QEMU driver whose store is full as long as there is a file ``full`` in its state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI
from remotevirt.drivers.qemu.driver import QemuDriver
from remotevirt.store import StoreError


class FullStore:
    """Writes only while there is room."""

    def __init__(self, store: Any, mark: Path) -> None:
        self.store, self.mark = store, mark

    def write(self, puts: Any, drops: Any) -> None:
        """Write, or fail as a full disk does."""
        if self.mark.exists():
            raise StoreError("the disk is full")
        self.store.write(puts, drops)

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class FullQemuDriver(QemuDriver):
    """The driver."""

    async def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open the world, with a store that may be full."""
        connection = await super().open(uri, client)
        assert self.world is not None and self.world.journal is not None
        journal: Any = self.world.journal
        if not isinstance(journal.store, FullStore):
            journal.store = FullStore(journal.store, self.settings.root / "full")
        return connection
