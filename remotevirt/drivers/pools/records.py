"""References and lists whose encoding is kept, and which pool a definition means."""

from __future__ import annotations

from typing import Protocol, TypeVar
from uuid import UUID

from remotevirt.drivers.tables import KeyedTable
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationInvalid
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.stubs.remote.storage import ConnectListAllStoragePoolsRet, StoragePoolListAllVolumesRet
from remotevirt.xml.storage_pool import PoolModel, conflict

__all__ = ["AnyPool", "PoolList", "PoolRef", "VolumeList", "VolumeRef", "find_pool"]


class PoolRef(Kept, NonnullStoragePool):
    """A reference whose encoding is kept."""


class VolumeRef(Kept, NonnullStorageVol):
    """A reference whose encoding is kept."""


class PoolList(Kept, ConnectListAllStoragePoolsRet):
    """A list whose encoding is kept as long as the list itself."""


class VolumeList(Kept, StoragePoolListAllVolumesRet):
    """A list whose encoding is kept as long as the list itself."""


class AnyPool(Protocol):
    """What all records of pools have."""

    name: str
    uuid: bytes
    size: int
    position: int
    ref: PoolRef
    model: PoolModel
    active: bool
    persistent: bool
    autostart: bool

    def passes(self, flags: int) -> bool:
        """Return whether the pool passes a list filter."""


P = TypeVar("P", bound=AnyPool)


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
