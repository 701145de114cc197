"""A fake in memory, for tests of the kit itself: its clock is a Clock, its clients have no sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from remotevirt.stubs.remote import NonnullDomain
from remotevirt.testing import Fake, FakeDriver, MemoryClient, WorldSpec

__all__ = ["DOMAIN", "LIFECYCLE", "domain", "in_memory", "register"]

LIFECYCLE = 0
"""VIR_DOMAIN_EVENT_ID_LIFECYCLE."""

DOMAIN = "test"
"""The domain of libvirt's default world, which runs."""


def in_memory(content: dict[str, Any] | None = None, **options: Any) -> Fake:
    """Return a fake whose worlds' clocks are manual, unless ``clock`` says otherwise."""
    clock = Clock()
    world = None if content is None else WorldSpec(**content)
    driver = FakeDriver(world=world, reactor=clock, **{"clock": "manual", **options})
    return Fake(driver, reactor=clock)


def domain(client: MemoryClient, name: str = DOMAIN) -> NonnullDomain:
    """Return the reference to a domain."""
    found: NonnullDomain = client.call("domain_lookup_by_name", name).dom
    return found


def register(client: MemoryClient, event: int = LIFECYCLE) -> None:
    """Register a client for an event of all domains."""
    client.call("connect_domain_event_callback_register_any", event, None)
