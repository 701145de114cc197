"""QEMU's events as they are, for clients that have asked for them (``virsh qemu-monitor-event``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from remotevirt.drivers.events import Event
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs.qemu import DomainMonitorEventMsg

__all__ = ["tell"]

SECONDS_MAXIMUM: Final = 2**63 - 1
MICROSECONDS_MAXIMUM: Final = 999_999

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def tell(guest: Guest, name: str, data: Mapping[str, Any], seconds: int, microseconds: int) -> None:
    """Publish an event of a guest's QEMU; a time that cannot be is 0.

    Args:
        guest: whose QEMU speaks.
        name: of the event.
        data: what it says.
        seconds, microseconds: since 1970, by the host's clock.
    """
    record = guest.record
    if record.guest is not guest:
        return
    details = _encode(data) if data else None
    when = seconds if 0 <= seconds <= SECONDS_MAXIMUM else 0
    micros = microseconds if 0 <= microseconds <= MICROSECONDS_MAXIMUM else 0
    msg = DomainMonitorEventMsg(0, record.ref, name, when, micros, details)
    guest.world.hub.publish(Event("qemu_monitor", 0, record.uuid, msg))
