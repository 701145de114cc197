"""The storage calls that are about pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.test.object_events import pool_lifecycle, pool_refresh
from remotevirt.drivers.test.pools import FILTERS, PoolRecord, PoolTable
from remotevirt.drivers.test.vports import VportMaker
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import StorageDriver
from remotevirt.stubs.errors import InternalError, InvalidArg, NoStoragePool, NoSupport, OperationInvalid
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.stubs.remote.storage import ConnectListAllStoragePoolsRet, StoragePoolGetInfoRet
from remotevirt.xml.storage_pool import format_pool, parse_pool, parse_pool_source

__all__ = ["PoolCalls"]

LIMIT: Final = "REMOTE_STORAGE_POOL_LIST_MAX"

LOGICAL_SOURCES: Final = """\
<sources>
  <source>
    <device path='/dev/sda20'/>
    <name>testvg1</name>
    <format type='lvm2'/>
  </source>
  <source>
    <device path='/dev/sda21'/>
    <name>testvg2</name>
    <format type='lvm2'/>
  </source>
</sources>
"""
NETFS_SOURCES: Final = """\
<sources>
  <source>
    <host name='{host}'/>
    <dir path='/testshare'/>
    <format type='nfs'/>
  </source>
</sources>
"""


class PoolList(Kept, ConnectListAllStoragePoolsRet):
    """A list whose encoding is kept as long as the list itself."""


class PoolCalls(StorageDriver):
    """Most calls go by the name in a reference, some by its UUID, as in libvirt.

    Attributes:
        pools: what they work on.
        hub: where events go.
        vports: makes and unmakes the devices of pools on virtual adapters.
    """

    def __init__(self, pools: PoolTable, hub: EventHub, vports: VportMaker) -> None:
        self.pools = pools
        self.hub = hub
        self.vports = vports

    def named(self, name: str) -> PoolRecord:
        """Return the pool of a name; raises NoStoragePool."""
        pool = self.pools.by_name.get(name)
        if pool is None:
            raise NoStoragePool(f"no storage pool with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return pool

    def identified(self, uuid: bytes) -> PoolRecord:
        """Return the pool of a UUID; raises NoStoragePool."""
        pool = self.pools.by_uuid.get(uuid)
        if pool is None:
            text = f"no storage pool with matching uuid '{UUID(bytes=uuid)}'"
            raise NoStoragePool(text, domain=c.VIR_FROM_TEST)
        return pool

    def in_state(self, name: str, *, active: bool) -> PoolRecord:
        """Return the pool of a name, which must be active, or must not.

        Raises:
            NoStoragePool: it is not there.
            OperationInvalid: it is in the other state.
        """
        pool = self.named(name)
        if pool.active != active:
            state = "is active" if pool.active else "is not active"
            raise OperationInvalid(f"storage pool '{pool.name}' {state}", domain=c.VIR_FROM_TEST)
        return pool

    def _publish(self, pool: PoolRecord, event: int) -> None:
        self.hub.publish(pool_lifecycle(pool.ref, event))

    def connect_num_of_storage_pools(self) -> int:
        """Return how many pools are active."""
        return self.pools.count(lambda pool: pool.active)

    def connect_num_of_defined_storage_pools(self) -> int:
        """Return how many pools are inactive."""
        return self.pools.count(lambda pool: not pool.active)

    def connect_list_storage_pools(self, maxnames: int) -> Sequence[str]:
        """Return the names of active pools."""
        return self.pools.names(maxnames, LIMIT, lambda pool: pool.active)

    def connect_list_defined_storage_pools(self, maxnames: int) -> Sequence[str]:
        """Return the names of inactive pools."""
        return self.pools.names(maxnames, LIMIT, lambda pool: not pool.active)

    def connect_list_all_storage_pools(self, need_results: int, flags: int) -> ConnectListAllStoragePoolsRet:
        """Return the pools that pass a filter."""
        found: PoolList = self.pools.listing(flags, self._list)
        return found if need_results else ConnectListAllStoragePoolsRet((), found.ret)

    def _list(self, flags: int) -> PoolList:
        check_flags(flags, FILTERS, "testConnectListAllStoragePools")
        refs = tuple([pool.ref for pool in self.pools if pool.passes(flags)])
        return PoolList(refs, len(refs))

    @in_steps
    def connect_find_storage_pool_sources(self, type: str, srcSpec: str | None, flags: int) -> Steps[str]:
        """Return what there would be to make pools of, of the two types that have an answer ready."""
        check_flags(flags, 0, "testConnectFindStoragePoolSources")
        if type == "dir":
            raise InternalError(f"unknown storage pool type {type}", domain=c.VIR_FROM_TEST)
        source = (yield Work(len(srcSpec), parse_pool_source, srcSpec, type)) if srcSpec is not None else None
        if type == "logical":
            return LOGICAL_SOURCES
        if type == "netfs":
            if source is None or not source.hosts:
                text = "hostname must be specified for netfs sources"
                raise InvalidArg(text, domain=c.VIR_FROM_TEST)
            return NETFS_SOURCES.format(host=source.hosts[0].name)
        raise NoSupport(f"pool type '{type}' does not support source discovery", domain=c.VIR_FROM_TEST)

    def storage_pool_lookup_by_name(self, name: str) -> NonnullStoragePool:
        """Return the pool of a name."""
        return self.named(name).ref

    def storage_pool_lookup_by_uuid(self, uuid: bytes) -> NonnullStoragePool:
        """Return the pool of a UUID."""
        return self.identified(uuid).ref

    def storage_pool_get_info(self, pool: NonnullStoragePool) -> StoragePoolGetInfoRet:
        """Return a pool's state, and its sizes in bytes."""
        found = self.named(pool.name)
        model = found.model
        state = c.VIR_STORAGE_POOL_RUNNING if found.active else c.VIR_STORAGE_POOL_INACTIVE
        return StoragePoolGetInfoRet(state, model.capacity, model.allocation, model.available)

    @in_steps
    def storage_pool_get_xml_desc(self, pool: NonnullStoragePool, flags: int) -> Steps[str]:
        """Return a pool's document."""
        check_flags(flags, 0, "testStoragePoolGetXMLDesc")
        found = self.named(pool.name)
        text: str = yield Work(found.size, format_pool, found.model)
        return text

    def storage_pool_get_autostart(self, pool: NonnullStoragePool) -> int:
        """Return 1 if a pool starts with its host."""
        return int(self.named(pool.name).autostart)

    def storage_pool_set_autostart(self, pool: NonnullStoragePool, autostart: int) -> None:
        """Set whether a persistent pool starts with its host."""
        found = self.named(pool.name)
        if not found.persistent:
            raise InvalidArg("pool has no config file", domain=c.VIR_FROM_TEST)
        self.pools.touch(found)
        found.autostart = bool(autostart)
        self.pools.changed()

    def storage_pool_is_active(self, pool: NonnullStoragePool) -> int:
        """Return 1 for an active pool; found by its UUID."""
        return int(self.identified(pool.uuid).active)

    def storage_pool_is_persistent(self, pool: NonnullStoragePool) -> int:
        """Return 1 for a persistent pool; found by its UUID."""
        return int(self.identified(pool.uuid).persistent)

    @in_steps
    def storage_pool_define_xml(self, xml: str, flags: int) -> Steps[NonnullStoragePool]:
        """Define a pool, or give one a newer definition; it looks empty from then on."""
        check_flags(flags, c.VIR_STORAGE_POOL_DEFINE_VALIDATE, "testStoragePoolDefineXML")
        validate = bool(flags & c.VIR_STORAGE_POOL_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_pool, xml, validate=validate)
        pool = self.pools.assign(model, len(xml), live=False)
        pool.persistent = True
        self.pools.changed()
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_DEFINED)
        return pool.ref

    @in_steps
    def storage_pool_create_xml(self, xml: str, flags: int) -> Steps[NonnullStoragePool]:
        """Start a pool from a document; it is transient, even if it was not before."""
        check_flags(flags, 0, "testStoragePoolCreateXML")
        model = yield Work(len(xml), parse_pool, xml)
        pool = self.pools.assign(model, len(xml), live=True)
        pool.persistent = pool.autostart = False
        try:
            self.vports.make(pool.model)
        except Exception:
            self.pools.remove(pool)
            raise
        self._start(pool)
        return pool.ref

    def storage_pool_create(self, pool: NonnullStoragePool, flags: int) -> None:
        """Start an inactive pool."""
        check_flags(flags, 0, "testStoragePoolCreate")
        self._start(self.in_state(pool.name, active=False))

    def _start(self, pool: PoolRecord) -> None:
        self.pools.touch(pool)
        pool.active = True
        self.pools.changed()
        self._publish(pool, c.VIR_STORAGE_POOL_EVENT_STARTED)

    def storage_pool_destroy(self, pool: NonnullStoragePool) -> None:
        """Stop an active pool; a transient one is gone afterwards."""
        found = self.in_state(pool.name, active=True)
        self.pools.touch(found)
        found.active = False
        self.pools.changed()
        self.vports.unmake(found.model)
        if not found.persistent:
            self.pools.remove(found)
        self._publish(found, c.VIR_STORAGE_POOL_EVENT_STOPPED)

    def storage_pool_undefine(self, pool: NonnullStoragePool) -> None:
        """Forget an inactive pool."""
        found = self.in_state(pool.name, active=False)
        self.pools.remove(found)
        self._publish(found, c.VIR_STORAGE_POOL_EVENT_UNDEFINED)

    def storage_pool_build(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to make what an inactive pool stands on."""
        check_flags(flags, 0, "testStoragePoolBuild")
        self._publish(self.in_state(pool.name, active=False), c.VIR_STORAGE_POOL_EVENT_CREATED)

    def storage_pool_delete(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to delete what an inactive pool stands on."""
        check_flags(flags, 0, "testStoragePoolDelete")
        self._publish(self.in_state(pool.name, active=False), c.VIR_STORAGE_POOL_EVENT_DELETED)

    def storage_pool_refresh(self, pool: NonnullStoragePool, flags: int) -> None:
        """Pretend to look again at what an active pool holds."""
        check_flags(flags, 0, "testStoragePoolRefresh")
        self.hub.publish(pool_refresh(self.in_state(pool.name, active=True).ref))
