"""References and lists whose encoding is kept, and which pool a definition means."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from remotevirt.drivers.pools.kinds import pool_passes
from remotevirt.drivers.tables import KeyedTable, Named, Table
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationInvalid
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.stubs.remote.storage import ConnectListAllStoragePoolsRet, StoragePoolListAllVolumesRet
from remotevirt.xml.storage_pool import PoolModel, conflict

__all__ = ["Pool", "PoolList", "PoolRef", "VolumeList", "VolumeRef", "find_pool"]


class PoolRef(Kept, NonnullStoragePool):
    """A reference whose encoding is kept."""


class VolumeRef(Kept, NonnullStorageVol):
    """A reference whose encoding is kept."""


class PoolList(Kept, ConnectListAllStoragePoolsRet):
    """A list whose encoding is kept as long as the list itself."""


class VolumeList(Kept, StoragePoolListAllVolumesRet):
    """A list whose encoding is kept as long as the list itself."""


V = TypeVar("V", bound=Named)


class Pool(Generic[V]):
    """A pool, as every storage driver knows one.

    Attributes:
        name, uuid, ref: what it is known by; they never change.
        model: the definition in force, with the sizes; pending: a newer one of an active pool.
        size: characters of the definition.
        volumes: by name; their list is cached as all lists are; by_key: the same by key.
        active, persistent: what they say; autostart: of a persistent pool.
        position: which one it is.
    """

    __slots__ = (
        "active",
        "autostart",
        "by_key",
        "model",
        "name",
        "pending",
        "persistent",
        "position",
        "ref",
        "size",
        "uuid",
        "volumes",
    )

    ERRORS: ClassVar[int]
    """Which part of libvirt complains of its volumes (virErrorDomain)."""

    def __init__(self, model: PoolModel, size: int) -> None:
        self.name: str = model.name
        self.uuid: bytes = model.uuid
        self.ref = PoolRef(self.name, self.uuid)
        self.model = model
        self.pending: PoolModel | None = None
        self.size = size
        self.active = False
        self.persistent = False
        self.autostart = False
        self.position = 0
        self.forget_volumes()

    def forget_volumes(self) -> None:
        """Know no volumes any more."""
        self.volumes: Table[V] = Table("storage volume", self.ERRORS)
        self.by_key: dict[str, V] = {}

    def passes(self, flags: int) -> bool:
        """Return whether the pool passes a list filter."""
        return pool_passes(
            flags,
            self.model.type,
            active=self.active,
            persistent=self.persistent,
            autostart=self.autostart,
        )


P = TypeVar("P", bound=Pool[Any])


def find_pool(pools: KeyedTable[P], model: PoolModel, *, live: bool) -> P | None:
    """Return the pool that a definition means, None if it is a new one.

    Args:
        pools: those that are there.
        model: the definition; its UUID says which pool is meant.
        live: the pool is about to start with it.

    Raises:
        OperationFailed: name and UUID belong to different pools, or another pool uses the same source.
        OperationInvalid: it is to be started, and is active.
    """
    for other in pools:
        if other.name != model.name and conflict(other.model, model):
            text = f"Storage source conflict with pool: '{other.name}'"
            raise OperationFailed(text, domain=c.VIR_FROM_STORAGE)
    record = pools.by_uuid.get(model.uuid)
    if record is not None:
        if record.name != model.name:
            uuid = UUID(bytes=record.uuid)
            text = f"pool '{record.name}' is already defined with uuid {uuid}"
            raise OperationFailed(text, domain=c.VIR_FROM_STORAGE)
        if live and record.active:
            text = f"pool is already active as '{record.name}'"
            raise OperationInvalid(text, domain=c.VIR_FROM_STORAGE)
        return record
    named = pools.by_name.get(model.name)
    if named is not None:
        uuid = UUID(bytes=named.uuid)
        text = f"pool '{named.name}' already exists with uuid {uuid}"
        raise OperationFailed(text, domain=c.VIR_FROM_STORAGE)
    return None
