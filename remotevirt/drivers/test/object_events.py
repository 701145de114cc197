"""The events of networks, pools and devices."""

from __future__ import annotations

from remotevirt.drivers.events import Event
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullNetwork, NonnullNodeDevice, NonnullStoragePool
from remotevirt.stubs.remote.event import (
    NetworkEventCallbackMetadataChangeMsg,
    NetworkEventLifecycleMsg,
    NodeDeviceEventLifecycleMsg,
    StoragePoolEventLifecycleMsg,
    StoragePoolEventRefreshMsg,
)

__all__ = [
    "device_lifecycle",
    "network_lifecycle",
    "network_metadata_change",
    "pool_lifecycle",
    "pool_refresh",
]


def network_lifecycle(ref: NonnullNetwork, event: int) -> Event:
    """Return a lifecycle event of a network."""
    msg = NetworkEventLifecycleMsg(0, ref, event, 0)
    return Event("network", c.VIR_NETWORK_EVENT_ID_LIFECYCLE, ref.uuid, msg)


def network_metadata_change(ref: NonnullNetwork, kind: int, uri: str | None) -> Event:
    """Return the event that a title, a description, or the element of a namespace changed."""
    msg = NetworkEventCallbackMetadataChangeMsg(0, ref, kind, uri)
    return Event("network", c.VIR_NETWORK_EVENT_ID_METADATA_CHANGE, ref.uuid, msg)


def pool_lifecycle(ref: NonnullStoragePool, event: int) -> Event:
    """Return a lifecycle event of a pool."""
    msg = StoragePoolEventLifecycleMsg(0, ref, event, 0)
    return Event("storage_pool", c.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, ref.uuid, msg)


def pool_refresh(ref: NonnullStoragePool) -> Event:
    """Return the event that a pool was looked at anew."""
    msg = StoragePoolEventRefreshMsg(0, ref)
    return Event("storage_pool", c.VIR_STORAGE_POOL_EVENT_ID_REFRESH, ref.uuid, msg)


def device_lifecycle(ref: NonnullNodeDevice, event: int) -> Event:
    """Return a lifecycle event of a device."""
    msg = NodeDeviceEventLifecycleMsg(0, ref, event, 0)
    return Event("node_device", c.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, ref.name, msg)
