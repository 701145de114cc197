"""Saved memory: to be written by its own developer."""

from __future__ import annotations

from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.world import QemuWorld

__all__ = ["drop_managed", "restore_managed"]


async def restore_managed(world: QemuWorld, record: QemuRecord, *, paused: bool) -> None:
    """Start a domain from its managed save."""
    raise NotImplementedError


def drop_managed(world: QemuWorld, record: QemuRecord) -> None:
    """Forget the managed save of a domain."""
    raise NotImplementedError
