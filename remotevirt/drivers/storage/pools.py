"""The storage calls that are about pools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.pools.calls import PoolReading
from remotevirt.drivers.pools.events import pool_lifecycle, pool_refresh
from remotevirt.drivers.pools.kinds import TYPES
from remotevirt.drivers.storage.active import ActivePools
from remotevirt.drivers.storage.aside import parsed
from remotevirt.drivers.storage.capabilities import format_capabilities
from remotevirt.drivers.storage.faults import internal, invalid
from remotevirt.drivers.storage.records import PoolRecord, PoolTable
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoStoragePool, NoSupport, OperationTimeout
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.xml.pool_source import sanitize
from remotevirt.xml.storage_pool import PoolModel, format_pool, parse_pool, parse_pool_source

__all__ = ["PoolCalls"]

BUILD: Final = c.VIR_STORAGE_POOL_CREATE_WITH_BUILD
BUILD_OVERWRITE: Final = c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE
BUILD_NO_OVERWRITE: Final = c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE
BUILDS: Final = BUILD | BUILD_OVERWRITE | BUILD_NO_OVERWRITE

DOMAIN: Final = c.VIR_FROM_STORAGE

TURN_SECONDS: Final = 30.0
"""How long a call waits for another one on the same pool, as long as calls on the same guest do."""

T = TypeVar("T")


class PoolCalls(PoolReading):
    """Pools are found by the UUID in a reference, volumes by the names of their pool and their own.

    Attributes:
        pools: what they work on.
        hub: where events go.
        backends: by type of pool, those that can be had.
        journal: keeps what changes; None where nothing lasts.
        actives: keeps which pools are active; None where nothing lasts.
    """

    ERRORS = DOMAIN
    FUNCTION = "storage"
    pools: PoolTable

    def __init__(
        self,
        pools: PoolTable,
        hub: EventHub,
        backends: dict[str, Any],
        journal: Journal | None = None,
        actives: ActivePools | None = None,
    ) -> None:
        self.pools = pools
        self.hub = hub
        self.backends = backends
        self.journal = journal
        self.actives = actives

    def change(self, method: Callable[..., T], *args: Any) -> T:
        """Change pools, and keep what lasts of it before anybody hears of it; raises VirError."""
        if self.journal is None:
            return method(*args)
        result: T = self.journal.run(method, *args)
        return result

    def meant(self, ref: NonnullStoragePool) -> PoolRecord:
        """Return the pool of a reference; raises NoStoragePool."""
        pool = self.pools.by_uuid.get(ref.uuid)
        if pool is None:
            raise _gone(ref)
        return pool

    keyed = meant

    def backend(self, kind: str) -> Any:
        """Return what serves pools of a type; raises InternalError."""
        found = self.backends.get(kind)
        if found is None:
            if kind not in TYPES:
                raise internal(f"unknown storage pool type {kind}")
            raise internal(f"missing backend for pool type {tuple(TYPES).index(kind)} ({kind})")
        return found

    def active(self, pool: PoolRecord) -> PoolRecord:
        """Return a pool that must be active; raises OperationInvalid."""
        if not pool.active:
            raise invalid(f"storage pool '{pool.name}' is not active")
        return pool

    def _inactive(self, pool: PoolRecord, how: str) -> None:
        if pool.active:
            raise invalid(f"storage pool '{pool.name}' is {how} active")

    @asynccontextmanager
    async def turn(self, ref: NonnullStoragePool) -> AsyncIterator[PoolRecord]:
        """Yield a pool that nobody else starts, stops or looks at meanwhile.

        Raises:
            NoStoragePool: it is not there, or not any more.
            OperationTimeout: somebody else does, and takes too long.
        """
        pool = self.meant(ref)
        try:
            await pool.lock.acquire().addTimeout(TURN_SECONDS, reactor)
        except TimeoutError:
            text = f"another call starts, stops or looks at pool '{pool.name}', and does not come to its end"
            raise OperationTimeout(text, domain=DOMAIN) from None
        try:
            if self.pools.by_uuid.get(ref.uuid) is not pool:
                raise _gone(ref)
            yield pool
        finally:
            pool.lock.release()

    def _publish(self, pool: PoolRecord, event: int) -> None:
        self.hub.publish(pool_lifecycle(pool.ref, event))

    def connect_get_storage_pool_capabilities(self, flags: int) -> str:
        """Return which types of pools can be had."""
        check_flags(flags, 0, "storageConnectGetStoragePoolCapabilities", DOMAIN)
        return format_capabilities(self.backends)

    async def connect_find_storage_pool_sources(self, type: str, srcSpec: str | None, flags: int) -> str:
        """Return what pools of a type could be made of."""
        check_flags(flags, 0, "storageConnectFindStoragePoolSources", DOMAIN)
        backend = self.backend(type)
        find = getattr(backend, "find_sources", None)
        if find is None:
            raise NoSupport(f"pool type '{type}' does not support source discovery", domain=DOMAIN)
        source = await parsed(srcSpec, parse_pool_source, srcSpec, type) if srcSpec else None
        found: str = await find(source)
        return found

    def storage_pool_lookup_by_target_path(self, path: str) -> NonnullStoragePool:
        """Return the active pool that stands on a path."""
        clean = sanitize(path)
        for pool in self.pools:
            if pool.active and pool.model.path == clean:
                return pool.ref
        text = f"no storage pool with matching target path '{path}'"
        raise NoStoragePool(text, domain=DOMAIN)

    @in_steps
    def storage_pool_get_xml_desc(self, pool: NonnullStoragePool, flags: int) -> Steps[str]:
        """Return a pool's document; VIR_STORAGE_XML_INACTIVE asks for a definition that waits."""
        check_flags(flags, c.VIR_STORAGE_XML_INACTIVE, "storagePoolGetXMLDesc", DOMAIN)
        found = self.meant(pool)
        waits = flags & c.VIR_STORAGE_XML_INACTIVE and found.pending is not None
        text: str = yield Work(found.size, format_pool, found.pending if waits else found.model)
        return text

    def storage_pool_set_autostart(self, pool: NonnullStoragePool, autostart: int) -> None:
        """Set whether a persistent pool starts with its host."""
        found = self.meant(pool)
        if not found.persistent:
            raise internal("pool has no config file")
        self.change(self._set_autostart, found, bool(autostart))

    def _set_autostart(self, pool: PoolRecord, autostart: bool) -> None:
        self.pools.touch(pool)
        pool.autostart = autostart
        self.pools.changed()

    @in_steps
    def storage_pool_define_xml(self, xml: str, flags: int) -> Steps[NonnullStoragePool]:
        """Define a pool, or give one a newer definition, which an active one takes when it stops."""
        check_flags(flags, c.VIR_STORAGE_POOL_DEFINE_VALIDATE, "storagePoolDefineXML", DOMAIN)
        validate = bool(flags & c.VIR_STORAGE_POOL_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_pool, xml, validate=validate)
        self.backend(model.type)
        return self.change(self._define, model, len(xml))

    def _define(self, model: PoolModel, size: int) -> NonnullStoragePool:
        pool = self.pools.assign(model, size, live=False)
        pool.persistent = True
        self.pools.changed()
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_DEFINED)
        return pool.ref

    def storage_pool_create_xml(self, xml: str, flags: int) -> Deferred[NonnullStoragePool]:
        """Start a pool from a document; a persistent one stays persistent."""
        return Deferred.fromCoroutine(self._create_xml(xml, flags))

    async def _create_xml(self, xml: str, flags: int) -> NonnullStoragePool:
        check_flags(flags, BUILDS, "storagePoolCreateXML", DOMAIN)
        model = await parsed(xml, parse_pool, xml)
        self.backend(model.type)
        pool: PoolRecord = self.change(self._assign_live, model, len(xml))
        async with self.turn(pool.ref):
            try:
                await self._start(pool, flags)
            except BaseException:
                self.change(self._leave, pool)
                raise
        return pool.ref

    def _assign_live(self, model: PoolModel, size: int) -> PoolRecord:
        return self.pools.assign(model, size, live=True)

    def _leave(self, pool: PoolRecord) -> None:
        """Make a pool what it is when it does not run: gone, or as it was defined."""
        self.pools.touch(pool)
        pool.active = False
        pool.forget_volumes()
        if pool.pending is not None:
            pool.model, pool.pending = pool.pending, None
        self.pools.changed()
        if not pool.persistent:
            self.pools.remove(pool)
        if self.actives is not None:
            self.actives.drop(pool.uuid)

    async def storage_pool_create(self, pool: NonnullStoragePool, flags: int) -> None:
        """Start an inactive pool; flags build it before."""
        check_flags(flags, BUILDS, "storagePoolCreate", DOMAIN)
        async with self.turn(pool) as found:
            self._inactive(found, "already")
            await self._start(found, flags)

    async def _start(self, pool: PoolRecord, flags: int = 0) -> None:
        """Start a pool whose turn it is."""
        backend = self.backend(pool.model.type)
        if flags & BUILDS:
            overwrite = c.VIR_STORAGE_POOL_BUILD_OVERWRITE if flags & BUILD_OVERWRITE else 0
            keep = c.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE if flags & BUILD_NO_OVERWRITE else 0
            await backend.build(pool.model, overwrite or keep)
        await backend.start(pool.model)
        await self.take_up(pool, c.VIR_STORAGE_POOL_EVENT_STARTED)

    async def take_up(self, pool: PoolRecord, event: int | None) -> None:
        """Look into a pool that can be reached, and let it be active; raises VirError."""
        backend = self.backend(pool.model.type)
        try:
            contents = await backend.scan(pool.model)
        except BaseException:
            await backend.stop(pool.model)
            raise
        self.change(self._activate, pool, contents, event)

    def _activate(self, pool: PoolRecord, contents: Any, event: int | None) -> None:
        self.pools.touch(pool)
        pool.fill(contents)
        pool.active = True
        self.pools.changed()
        if self.actives is not None:
            self.actives.keep(pool.uuid, format_pool(pool.model))
        if event is not None:
            self._publish(pool, event)

    async def storage_pool_destroy(self, pool: NonnullStoragePool) -> None:
        """Stop an active pool; a transient one is gone afterwards."""
        async with self.turn(pool) as found:
            self.active(found).check_idle()
            await self.backend(found.model.type).stop(found.model)
            self.change(self._stop, found)

    def _stop(self, pool: PoolRecord) -> None:
        self._leave(pool)
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_STOPPED)

    async def storage_pool_undefine(self, pool: NonnullStoragePool) -> None:
        """Forget an inactive pool."""
        async with self.turn(pool) as found:
            self._inactive(found, "still")
            self.change(self._undefine, found)

    def _undefine(self, pool: PoolRecord) -> None:
        self.pools.remove(pool)
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_UNDEFINED)

    async def storage_pool_build(self, pool: NonnullStoragePool, flags: int) -> None:
        """Make what an inactive pool stands on."""
        async with self.turn(pool) as found:
            self._inactive(found, "already")
            await self.backend(found.model.type).build(found.model, flags)
            self._publish(found, c.VIR_STORAGE_POOL_EVENT_CREATED)

    async def storage_pool_delete(self, pool: NonnullStoragePool, flags: int) -> None:
        """Delete what an inactive pool stands on."""
        async with self.turn(pool) as found:
            self._inactive(found, "still")
            await self.backend(found.model.type).delete(found.model, flags)
            self._publish(found, c.VIR_STORAGE_POOL_EVENT_DELETED)

    async def storage_pool_refresh(self, pool: NonnullStoragePool, flags: int) -> None:
        """Look again at what an active pool holds; one that cannot be looked at stops."""
        check_flags(flags, 0, "storagePoolRefresh", DOMAIN)
        async with self.turn(pool) as found:
            self.active(found).check_idle()
            await self.look_again(found)

    async def look_again(self, pool: PoolRecord) -> None:
        """Look at what a pool holds whose turn it is; raises VirError."""
        backend = self.backend(pool.model.type)
        begun = -1
        while begun != pool.begun:
            if pool.jobs:
                return  # somebody has begun to work on its volumes, and notes what comes of it
            begun = pool.begun
            try:
                contents = await backend.scan(pool.model)
            except OperationTimeout:
                raise  # it may answer again, and who uses it does not want it to stop
            except VirError:
                await backend.stop(pool.model)
                self.change(self._stop, pool)
                raise
        self.pools.changed()
        pool.fill(contents)
        self.hub.publish(pool_refresh(pool.ref))


def _gone(ref: NonnullStoragePool) -> VirError:
    """Return the error for a reference to a pool that is not there, or not any more."""
    text = f"no storage pool with matching uuid '{UUID(bytes=ref.uuid)}' ({ref.name})"
    return NoStoragePool(text, domain=DOMAIN)
