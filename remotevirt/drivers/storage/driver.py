"""The storage driver: opened once by a daemon, used by every connection of any hypervisor."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from remotevirt.drivers.events import EventHub
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.keeping import TableKeeper
from remotevirt.drivers.storage.active import ActivePools
from remotevirt.drivers.storage.aside import kill_all
from remotevirt.drivers.storage.directory import DirectoryBackend
from remotevirt.drivers.storage.logical import LogicalBackend, is_possible
from remotevirt.drivers.storage.mounting import MountBackend
from remotevirt.drivers.storage.records import PoolRecord, PoolTable
from remotevirt.drivers.storage.volumes import SecretValue, VolumeCalls
from remotevirt.errors import VirError
from remotevirt.store import PoolRow, Store, StoreError
from remotevirt.stubs import constants as c
from remotevirt.xml.storage_pool import PoolModel, format_pool, parse_pool

__all__ = ["RealStorage"]

STORE: str = "pools.db"
"""The file of persistent definitions, in the driver's folder."""

BOOT_SECONDS: Final = 10.0
"""How long whoever opens the driver waits for pools: one that hangs keeps no client from being served."""

log = Logger()
reactor: Any = _reactor


class PoolKeeper(TableKeeper):
    """Keeps the definitions of persistent pools; what they hold is on the disk anyway."""

    def key(self, thing: PoolRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a pool's row."""
        return PoolRow, (thing.uuid,)

    def essence(self, thing: PoolRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a pool."""
        if not thing.persistent or not self.is_there(thing):
            return None
        return id(thing.pending or thing.model), thing.autostart, thing.size

    def row(self, thing: PoolRecord) -> PoolRow:
        """Return a pool's row."""
        document = format_pool(thing.pending or thing.model)
        autostart = int(thing.autostart)
        return PoolRow(thing.uuid, thing.position, thing.name, document, thing.size, autostart, -1)


class RealStorage(VolumeCalls):
    """Pools and volumes of this host.

    Make one with :meth:`open`, start it when the reactor runs, and use it as the ``storage`` of any number of
    connections.
    """

    @classmethod
    def open(cls, folder: str | None, hub: EventHub, secret_value: SecretValue | None = None) -> RealStorage:
        """Open the driver.

        Args:
            folder: where definitions are kept, made if it is not there; None if nothing shall last.
            hub: where events go.
            secret_value: returns the value of a secret, for volumes that are encrypted.

        Raises:
            StoreError: what is kept cannot be read.
        """
        pools = PoolTable()
        backends: dict[str, Any] = {"dir": DirectoryBackend(), "fs": MountBackend()}
        if is_possible():
            backends["logical"] = LogicalBackend()
        if folder is None:
            made = cls(pools, hub, backends)
        else:
            store, actives = _open_store(folder)
            _load(pools, store)
            journal = Journal(store, hub, c.VIR_FROM_STORAGE)
            pools.keeper = PoolKeeper(pools, journal)
            made = cls(pools, hub, backends, journal, actives)
        made.secret_value = secret_value
        return made

    def start(self) -> Deferred[None]:
        """Take up the pools that are active still, and start those that start with the host; all at once.

        Returns:
            Fires when that is done, or takes too long: then it goes on, and nobody waits for it. What does
            not start, the log says.
        """
        waiter: Deferred[None] = Deferred()
        late = reactor.callLater(BOOT_SECONDS, self._boot_on, waiter)

        def done(_: Any) -> None:
            if late.active():
                late.cancel()
                waiter.callback(None)

        Deferred.fromCoroutine(self._boot()).addBoth(done)
        return waiter

    @staticmethod
    def _boot_on(waiter: Deferred[None]) -> None:
        log.warn("some storage pools take long to start")
        waiter.callback(None)

    def close(self) -> None:
        """Let go of the file of definitions; programs that run yet are killed."""
        kill_all()
        if self.journal is not None:
            self.journal.store.close()

    async def _boot(self) -> None:
        documents = () if self.actives is None else tuple(self.actives.documents())
        await self._all(self._resume(document) for document in documents)
        pools = [pool for pool in self.pools if pool.autostart and not pool.active]
        await self._all(self.storage_pool_create(pool.ref, 0) for pool in pools)

    async def _all(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        await DeferredList([Deferred.fromCoroutine(self._try(one)) for one in work])

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except VirError as error:
            log.error("a pool does not start: {error}", error=error)
        except Exception:
            log.failure("a pool does not start")

    async def _resume(self, document: str) -> None:
        """Take up a pool that was active when the daemon ended."""
        model = parse_pool(document)
        backend = self.backend(model.type)
        if not await backend.is_active(model):
            if self.actives is not None:
                self.actives.drop(model.uuid)
            return
        pool: PoolRecord = self.change(self._find_or_assign, model, len(document))
        async with self.turn(pool.ref) as found:
            try:
                await backend.start(model)
                await self.take_up(found, None)
            except VirError:
                self.change(self._leave, found)
                raise

    def _find_or_assign(self, model: PoolModel, size: int) -> PoolRecord:
        """Return the pool that was active: one that is persistent has the same definition, or a newer one."""
        known = self.pools.by_uuid.get(model.uuid)
        if known is not None and known.model.path == model.path:
            return known
        return self._assign_live(model, size)


def _open_store(folder: str) -> tuple[Store, ActivePools]:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        actives = ActivePools(folder)
    except OSError as error:
        raise StoreError(f"{folder}: {error}") from error
    path = os.path.join(folder, STORE)
    return (Store.open(path) if Store.exists(path) else Store.create(path, ())), actives


def _load(pools: PoolTable, store: Store) -> None:
    """Take in the persistent pools, and let go of the rows."""
    for row in store.rows[PoolRow]:
        try:
            pool = PoolRecord(parse_pool(row.document), row.size)
        except VirError as error:
            log.error("pool {name!r} is not served: {error}", name=row.name, error=error)
            continue
        pool.persistent, pool.autostart = True, bool(row.autostart)
        pools.positions = row.position - 1
        pools.add(pool)
    store.rows.clear()
