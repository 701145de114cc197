"""The base of those calls on domains that look at the rest of the world too."""

from __future__ import annotations

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.test.world import World

__all__ = ["WorldCalls"]


class WorldCalls(DomainCalls):
    """Calls on domains that need the host, or other objects of the world."""

    world: World
