"""The events of storage pools."""

from __future__ import annotations

from remotevirt.drivers.events import Event
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.stubs.remote.event import StoragePoolEventLifecycleMsg, StoragePoolEventRefreshMsg

__all__ = ["pool_lifecycle", "pool_refresh"]


def pool_lifecycle(ref: NonnullStoragePool, event: int) -> Event:
    """Return a lifecycle event of a pool."""
    msg = StoragePoolEventLifecycleMsg(0, ref, event, 0)
    return Event("storage_pool", c.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, ref.uuid, msg)


def pool_refresh(ref: NonnullStoragePool) -> Event:
    """Return the event that a pool was looked at anew."""
    msg = StoragePoolEventRefreshMsg(0, ref)
    return Event("storage_pool", c.VIR_STORAGE_POOL_EVENT_ID_REFRESH, ref.uuid, msg)
