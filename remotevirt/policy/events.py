"""Which events a client may see."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from remotevirt.drivers.base import DriverConnection
from remotevirt.drivers.events import Event
from remotevirt.policy.engine import Rights
from remotevirt.policy.finder import Finder, thing_of
from remotevirt.policy.turns import run

__all__ = ["REMEMBERED_MAXIMUM", "Watcher"]

REMEMBERED_MAXIMUM: Final = 16384
"""Domains whose last answer is kept, where metadata decides: as many as a list can hold."""

SUBJECTS: Final[dict[str, tuple[str, str]]] = {
    "domain": ("domain", "dom"),
    "network": ("network", "net"),
    "node_device": ("node_device", "dev"),
    "qemu_monitor": ("domain", "dom"),
    "secret": ("secret", "secret"),
    "storage_pool": ("storage_pool", "pool"),
}
"""Kind of event -> kind of object, and the field of its message that refers to it."""


class Watcher:
    """Decides for one client about events, by ``getattr`` on their objects, as libvirt does.

    Events are not held up: a driver that takes time to say what metadata a domain has leaves it unknown, and
    a domain that has just gone has none. There the last answer stands; without one it counts as not known.

    Args:
        rights: of the client.
        connection: what it has opened.
    """

    __slots__ = ("_finder", "_last", "_rights")

    def __init__(self, rights: Rights, connection: DriverConnection) -> None:
        self._rights = rights
        self._finder = Finder(connection)
        self._last: dict[bytes, bool] = {}

    def may_see(self, event: Event) -> bool:
        """Tell whether the client may see an event."""
        subject = SUBJECTS.get(event.kind)
        if subject is None:
            return False
        kind, field = subject
        if self._rights.certain(kind, "getattr"):
            return True
        ref = getattr(event.msg, field, None)
        if ref is None:
            return False
        thing = thing_of(kind, ref)
        uris = self._rights.uris(kind, "getattr")
        if not uris:
            return self._rights.check(kind, "getattr", thing).allowed
        later = run(self._finder.learn(thing, ref, uris))
        if later is not None:
            Deferred.fromCoroutine(later).addErrback(_forget)
        known = len(thing.metadata) == len(uris)
        if not known and thing.uuid in self._last:
            return self._last[thing.uuid]
        allowed = self._rights.check(kind, "getattr", thing).allowed
        if known and thing.uuid:
            if len(self._last) >= REMEMBERED_MAXIMUM:
                self._last.clear()
            self._last[thing.uuid] = allowed
        return allowed


def _forget(failure: Failure) -> None:
    """Drop what comes of a question that was asked for an event that is past."""
