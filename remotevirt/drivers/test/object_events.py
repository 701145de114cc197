"""The events of networks and devices."""

from __future__ import annotations

from remotevirt.drivers.events import Event
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullNetwork, NonnullNodeDevice
from remotevirt.stubs.remote.event import (
    NetworkEventCallbackMetadataChangeMsg,
    NetworkEventLifecycleMsg,
    NodeDeviceEventLifecycleMsg,
)

__all__ = ["device_lifecycle", "network_lifecycle", "network_metadata_change"]


def network_lifecycle(ref: NonnullNetwork, event: int) -> Event:
    """Return a lifecycle event of a network."""
    msg = NetworkEventLifecycleMsg(0, ref, event, 0)
    return Event("network", c.VIR_NETWORK_EVENT_ID_LIFECYCLE, ref.uuid, msg)


def network_metadata_change(ref: NonnullNetwork, kind: int, uri: str | None) -> Event:
    """Return the event that a title, a description, or the element of a namespace changed."""
    msg = NetworkEventCallbackMetadataChangeMsg(0, ref, kind, uri)
    return Event("network", c.VIR_NETWORK_EVENT_ID_METADATA_CHANGE, ref.uuid, msg)


def device_lifecycle(ref: NonnullNodeDevice, event: int) -> Event:
    """Return a lifecycle event of a device."""
    msg = NodeDeviceEventLifecycleMsg(0, ref, event, 0)
    return Event("node_device", c.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, ref.name, msg)
