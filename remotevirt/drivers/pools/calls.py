"""The calls that look for pools and tell their state: the same for every storage driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.pools.kinds import FILTERS
from remotevirt.drivers.pools.records import PoolList
from remotevirt.drivers.tables import KeyedTable
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import StorageDriver
from remotevirt.stubs.errors import NoStoragePool
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.stubs.remote.storage import ConnectListAllStoragePoolsRet, StoragePoolGetInfoRet

__all__ = ["PoolReading"]

LIMIT: Final = "REMOTE_STORAGE_POOL_LIST_MAX"


class PoolReading(StorageDriver):
    """Most calls go by the name in a reference, some by its UUID, as in libvirt.

    Attributes:
        ERRORS: which part of libvirt complains (virErrorDomain).
        FUNCTION: what the names of libvirt's functions of this driver begin with.
        pools: the table (its records are :class:`remotevirt.drivers.pools.records.Pool`).
    """

    ERRORS: ClassVar[int]
    FUNCTION: ClassVar[str]
    pools: KeyedTable[Any]

    def named(self, name: str) -> Any:
        """Return the pool of a name; raises NoStoragePool."""
        pool = self.pools.by_name.get(name)
        if pool is None:
            raise NoStoragePool(f"no storage pool with matching name '{name}'", domain=self.ERRORS)
        return pool

    def identified(self, uuid: bytes) -> Any:
        """Return the pool of a UUID; raises NoStoragePool."""
        pool = self.pools.by_uuid.get(uuid)
        if pool is None:
            text = f"no storage pool with matching uuid '{UUID(bytes=uuid)}'"
            raise NoStoragePool(text, domain=self.ERRORS)
        return pool

    def meant(self, ref: NonnullStoragePool) -> Any:
        """Return the pool of a reference; raises NoStoragePool."""
        return self.named(ref.name)

    def keyed(self, ref: NonnullStoragePool) -> Any:
        """Return the pool of a reference by its UUID; raises NoStoragePool."""
        return self.identified(ref.uuid)

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
        check_flags(flags, FILTERS, f"{self.FUNCTION}ConnectListAllStoragePools", self.pools.errors)
        refs = tuple([pool.ref for pool in self.pools if pool.passes(flags)])
        return PoolList(refs, len(refs))

    def storage_pool_lookup_by_name(self, name: str) -> NonnullStoragePool:
        """Return the pool of a name."""
        ref: NonnullStoragePool = self.named(name).ref
        return ref

    def storage_pool_lookup_by_uuid(self, uuid: bytes) -> NonnullStoragePool:
        """Return the pool of a UUID."""
        ref: NonnullStoragePool = self.identified(uuid).ref
        return ref

    def storage_pool_lookup_by_volume(self, vol: NonnullStorageVol) -> NonnullStoragePool:
        """Return the pool that a reference to a volume names."""
        ref: NonnullStoragePool = self.named(vol.pool).ref
        return ref

    def storage_pool_get_info(self, pool: NonnullStoragePool) -> StoragePoolGetInfoRet:
        """Return a pool's state, and its sizes in bytes."""
        found = self.meant(pool)
        model = found.model
        state = c.VIR_STORAGE_POOL_RUNNING if found.active else c.VIR_STORAGE_POOL_INACTIVE
        return StoragePoolGetInfoRet(state, model.capacity, model.allocation, model.available)

    def storage_pool_get_autostart(self, pool: NonnullStoragePool) -> int:
        """Return 1 if a pool starts with its host."""
        return int(self.meant(pool).autostart)

    def storage_pool_is_active(self, pool: NonnullStoragePool) -> int:
        """Return 1 for an active pool; found by its UUID."""
        return int(self.keyed(pool).active)

    def storage_pool_is_persistent(self, pool: NonnullStoragePool) -> int:
        """Return 1 for a persistent pool; found by its UUID."""
        return int(self.keyed(pool).persistent)
