"""Storage pools: what there is, and how it looks. Volumes and changes are not supported yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from remotevirt.drivers.test.faults import check_count, check_flags
from remotevirt.drivers.test.objects import MAX_LIST, Table, passes
from remotevirt.drivers.test.plain_xml import child_text, take_uuid
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import StorageDriver
from remotevirt.stubs.errors import NoStoragePool, XmlError
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.stubs.remote.storage import ConnectListAllStoragePoolsRet, StoragePoolGetInfoRet
from remotevirt.xml.write import escape

__all__ = ["CAPACITY", "PoolRecord", "TestPools"]

CAPACITY: Final = 100 * 1024**3
"""Bytes that every pool has."""

TYPES: Final[dict[str, int]] = {
    "dir": c.VIR_CONNECT_LIST_STORAGE_POOLS_DIR,
    "fs": c.VIR_CONNECT_LIST_STORAGE_POOLS_FS,
    "netfs": c.VIR_CONNECT_LIST_STORAGE_POOLS_NETFS,
    "logical": c.VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL,
    "disk": c.VIR_CONNECT_LIST_STORAGE_POOLS_DISK,
    "iscsi": c.VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI,
    "scsi": c.VIR_CONNECT_LIST_STORAGE_POOLS_SCSI,
    "mpath": c.VIR_CONNECT_LIST_STORAGE_POOLS_MPATH,
    "rbd": c.VIR_CONNECT_LIST_STORAGE_POOLS_RBD,
    "sheepdog": c.VIR_CONNECT_LIST_STORAGE_POOLS_SHEEPDOG,
    "gluster": c.VIR_CONNECT_LIST_STORAGE_POOLS_GLUSTER,
    "zfs": c.VIR_CONNECT_LIST_STORAGE_POOLS_ZFS,
    "vstorage": c.VIR_CONNECT_LIST_STORAGE_POOLS_VSTORAGE,
    "iscsi-direct": c.VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT,
}
"""The kinds of pools, and the list filter of each."""

ACTIVITY: Final = (c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE)
PERSISTENCE: Final = (
    c.VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT,
    c.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT,
)
AUTOSTART: Final = (
    c.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART,
    c.VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART,
)
KINDS: Final[int] = sum(TYPES.values())
FILTERS: Final[int] = KINDS | sum(ACTIVITY + PERSISTENCE + AUTOSTART)

DOCUMENT: Final = """\
<pool type='{kind}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <capacity unit='bytes'>{capacity}</capacity>
  <allocation unit='bytes'>{allocation}</allocation>
  <available unit='bytes'>{available}</available>
  <source>
  </source>
  <target>
    <path>{path}</path>
  </target>
</pool>
"""


class PoolRecord:
    """A pool of a world.

    Attributes:
        kind, name, uuid, ref: what it is and is known by.
        path: where its volumes would be.
        allocation: bytes in use.
        active, persistent, autostart: what they say.
    """

    size = 0
    __slots__ = ("active", "allocation", "autostart", "kind", "name", "path", "persistent", "ref", "uuid")

    def __init__(self, element: Any) -> None:
        self.kind = element.get("type") or ""
        if self.kind not in TYPES:
            raise XmlError(f"unknown storage pool type {self.kind}", domain=c.VIR_FROM_STORAGE)
        self.name = child_text(element, "name", "missing pool source name element")
        self.uuid = take_uuid(element)
        self.ref = NonnullStoragePool(self.name, self.uuid)
        self.path = (element.findtext("target/path") or "").strip()
        self.allocation = 0
        self.active = self.persistent = True
        self.autostart = False

    def passes(self, flags: int) -> bool:
        """Return whether the pool passes a list filter."""
        if flags & KINDS and not flags & TYPES[self.kind]:
            return False
        return passes(
            flags,
            (*ACTIVITY, self.active),
            (*PERSISTENCE, self.persistent),
            (*AUTOSTART, self.autostart),
        )

    def document(self) -> str:
        """Return the pool's XML."""
        return DOCUMENT.format(
            kind=self.kind,
            name=escape(self.name),
            uuid=UUID(bytes=self.uuid),
            capacity=CAPACITY,
            allocation=self.allocation,
            available=CAPACITY - self.allocation,
            path=escape(self.path),
        )


class TestPools(StorageDriver):
    """The storage sub-driver; most calls go by the name in the reference, as in libvirt."""

    def __init__(self, pools: Table[PoolRecord]) -> None:
        self.pools = pools

    def _named(self, name: str) -> PoolRecord:
        pool = self.pools.by_name.get(name)
        if pool is None:
            raise NoStoragePool(f"no storage pool with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return pool

    def _by_uuid(self, uuid: bytes) -> PoolRecord:
        for pool in self.pools:
            if pool.uuid == uuid:
                return pool
        text = f"no storage pool with matching uuid '{UUID(bytes=uuid)}'"
        raise NoStoragePool(text, domain=c.VIR_FROM_TEST)

    def _names(self, maxnames: int, wanted: Callable[[PoolRecord], bool]) -> Sequence[str]:
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_STORAGE_POOL_LIST_MAX")
        return [pool.name for pool in self.pools if wanted(pool)][:maxnames]

    def connect_num_of_storage_pools(self) -> int:
        """Return how many pools are active."""
        return sum(pool.active for pool in self.pools)

    def connect_num_of_defined_storage_pools(self) -> int:
        """Return how many pools are inactive."""
        return sum(not pool.active for pool in self.pools)

    def connect_list_storage_pools(self, maxnames: int) -> Sequence[str]:
        """Return the names of active pools."""
        return self._names(maxnames, lambda pool: pool.active)

    def connect_list_defined_storage_pools(self, maxnames: int) -> Sequence[str]:
        """Return the names of inactive pools."""
        return self._names(maxnames, lambda pool: not pool.active)

    def connect_list_all_storage_pools(self, need_results: int, flags: int) -> ConnectListAllStoragePoolsRet:
        """Return the pools that pass a filter."""
        check_flags(flags, FILTERS, "testConnectListAllStoragePools")
        refs = [pool.ref for pool in self.pools if pool.passes(flags)]
        return ConnectListAllStoragePoolsRet(refs if need_results else (), len(refs))

    def storage_pool_lookup_by_name(self, name: str) -> NonnullStoragePool:
        """Return the pool of a name."""
        return self._named(name).ref

    def storage_pool_lookup_by_uuid(self, uuid: bytes) -> NonnullStoragePool:
        """Return the pool of a UUID."""
        return self._by_uuid(uuid).ref

    def storage_pool_get_info(self, pool: NonnullStoragePool) -> StoragePoolGetInfoRet:
        """Return a pool's state, and its sizes in bytes."""
        found = self._named(pool.name)
        state = c.VIR_STORAGE_POOL_RUNNING if found.active else c.VIR_STORAGE_POOL_INACTIVE
        return StoragePoolGetInfoRet(state, CAPACITY, found.allocation, CAPACITY - found.allocation)

    def storage_pool_get_xml_desc(self, pool: NonnullStoragePool, flags: int) -> str:
        """Return a pool's document."""
        check_flags(flags, 0, "testStoragePoolGetXMLDesc")
        return self._named(pool.name).document()

    def storage_pool_get_autostart(self, pool: NonnullStoragePool) -> int:
        """Return 1 if a pool starts with its host."""
        return int(self._named(pool.name).autostart)

    def storage_pool_set_autostart(self, pool: NonnullStoragePool, autostart: int) -> None:
        """Set whether a pool starts with its host."""
        self._named(pool.name).autostart = bool(autostart)

    def storage_pool_is_active(self, pool: NonnullStoragePool) -> int:
        """Return 1 for an active pool; found by its UUID."""
        return int(self._by_uuid(pool.uuid).active)

    def storage_pool_is_persistent(self, pool: NonnullStoragePool) -> int:
        """Return 1 for a persistent pool; found by its UUID."""
        return int(self._by_uuid(pool.uuid).persistent)
