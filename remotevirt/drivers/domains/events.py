"""The events of domains that every hypervisor publishes."""

from __future__ import annotations

from remotevirt.drivers.events import Event
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.event import (
    DomainEventCallbackDeviceAddedMsg,
    DomainEventCallbackDeviceRemovalFailedMsg,
    DomainEventCallbackMetadataChangeMsg,
    DomainEventDeviceRemovedMsg,
    DomainEventLifecycleMsg,
)

__all__ = ["device_added", "device_removal_failed", "device_removed", "lifecycle", "metadata_change"]


def lifecycle(ref: NonnullDomain, event: int, detail: int) -> Event:
    """Return a lifecycle event; ``ref`` is the domain as it is after the change."""
    msg = DomainEventLifecycleMsg(ref, event, detail)
    return Event("domain", c.VIR_DOMAIN_EVENT_ID_LIFECYCLE, ref.uuid, msg)


def metadata_change(ref: NonnullDomain, kind: int, uri: str | None) -> Event:
    """Return the event that a title, a description, or the element of a namespace changed."""
    msg = DomainEventCallbackMetadataChangeMsg(0, ref, kind, uri)
    return Event("domain", c.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, ref.uuid, msg)


def device_added(ref: NonnullDomain, alias: str) -> Event:
    """Return the event that a device was plugged in."""
    msg = DomainEventCallbackDeviceAddedMsg(0, ref, alias)
    return Event("domain", c.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, ref.uuid, msg)


def device_removed(ref: NonnullDomain, alias: str) -> Event:
    """Return the event that a device was unplugged."""
    msg = DomainEventDeviceRemovedMsg(ref, alias)
    return Event("domain", c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, ref.uuid, msg)


def device_removal_failed(ref: NonnullDomain, alias: str) -> Event:
    """Return the event that a guest did not let go of a device."""
    msg = DomainEventCallbackDeviceRemovalFailedMsg(0, ref, alias)
    return Event("domain", c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, ref.uuid, msg)
