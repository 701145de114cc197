"""A running domain of the test hypervisor, and what its snapshots are asked."""

from __future__ import annotations

from typing import Any

from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomainSnapshot
from tests.drivers.driving import domain_xml
from tests.drivers.test_test_domains import UUID, DomainCase

REDEFINE = c.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE

STARTED, SUSPENDED, STOPPED = (c.VIR_DOMAIN_EVENT_STARTED, 3), (c.VIR_DOMAIN_EVENT_SUSPENDED, 5), (5, 6)
"""Lifecycle events with the detail "from snapshot"."""

DISK = "<devices><disk type='file'{}><source file='/img'/><target dev='{}'/></disk></devices>"


def snapshot(name: str = "", inside: str = "") -> str:
    """Return a document that asks for a snapshot."""
    title = f"<name>{name}</name>" if name else ""
    return f"<domainsnapshot>{title}{inside}</domainsnapshot>"


def described(name: str, state: str = "running", parent: str = "", inside: str = "", guest: str = "") -> str:
    """Return the description of a snapshot."""
    above = f"<parent><name>{parent}</name></parent>" if parent else ""
    guest = guest or domain_xml("guest", uuid=UUID)
    return snapshot(
        name, f"<state>{state}</state><creationTime>1386166249</creationTime>{above}{inside}{guest}"
    )


class SnapshotCase(DomainCase):
    """The running domain "guest", and shorter names for what is done with it."""

    def take(self, name: str = "", inside: str = "", flags: int = 0) -> NonnullDomainSnapshot:
        """Take a snapshot."""
        made: NonnullDomainSnapshot = self.calls.domain_snapshot_create_xml(
            self.guest, snapshot(name, inside), flags
        )
        return made

    def describe(self, *arguments: str, flags: int = REDEFINE, **words: str) -> NonnullDomainSnapshot:
        """Take in a description."""
        text = described(*arguments, **words)
        made: NonnullDomainSnapshot = self.calls.domain_snapshot_create_xml(self.guest, text, flags)
        return made

    def ref(self, name: str) -> NonnullDomainSnapshot:
        """Return a reference."""
        return NonnullDomainSnapshot(name, self.guest)

    def back(self, name: str, flags: int = 0) -> None:
        """Go back to a snapshot."""
        self.calls.domain_revert_to_snapshot(self.ref(name), flags)

    def names(self, flags: int = 0, of: str | None = None) -> list[str]:
        """Return the names of snapshots, after checking that all calls agree about them."""
        if of is None:
            names = self.calls.domain_snapshot_list_names(self.guest, 100, flags)
            count = self.calls.domain_snapshot_num(self.guest, flags)
            listed = self.calls.domain_list_all_snapshots(self.guest, 1, flags)
            counted = self.calls.domain_list_all_snapshots(self.guest, 0, flags)
        else:
            ref = self.ref(of)
            names = self.calls.domain_snapshot_list_children_names(ref, 100, flags)
            count = self.calls.domain_snapshot_num_children(ref, flags)
            listed = self.calls.domain_snapshot_list_all_children(ref, 1, flags)
            counted = self.calls.domain_snapshot_list_all_children(ref, 0, flags)
        self.assertEqual([snap.name for snap in listed.snapshots], list(names))
        self.assertTrue(all(snap.dom == self.guest for snap in listed.snapshots))
        self.assertEqual([count, listed.ret, counted.ret], [len(names)] * 3)
        self.assertEqual(counted.snapshots, [])
        return list(names)

    def current(self) -> str | None:
        """Return the name of the current snapshot."""
        if not self.calls.domain_has_current_snapshot(self.guest, 0):
            return None
        name: str = self.calls.domain_snapshot_current(self.guest, 0).name
        self.assertEqual(self.calls.domain_snapshot_is_current(self.ref(name), 0), 1)
        return name

    def events(self) -> list[tuple[Any, ...]]:
        """Return the lifecycle events since the last call: event and detail."""
        return [event[4:] for event in self.watcher.take()]

    def state(self) -> tuple[int, int]:
        """Return state and reason."""
        return tuple(self.calls.domain_get_state(self.guest, 0))  # type: ignore[return-value]
