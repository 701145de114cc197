"""Looking at a domain's snapshots: lists, numbers, names, relations.

All lists have the same filters; the old calls (a number, then that many names) and the new ones differ only
in the form of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.moments import ListFlags, references
from remotevirt.drivers.faults import check_count, check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoDomainSnapshot
from remotevirt.stubs.remote import NonnullDomain, NonnullDomainSnapshot
from remotevirt.stubs.remote.snapshot import (
    REMOTE_DOMAIN_SNAPSHOT_LIST_MAX,
    DomainListAllSnapshotsRet,
    DomainSnapshotListAllChildrenRet,
)
from remotevirt.xml.snapshot import DISK_SNAPSHOT, OFF, SnapshotModel

__all__ = ["SnapshotLists"]

GROUPS: Final[tuple[int, ...]] = (
    c.VIR_DOMAIN_SNAPSHOT_LIST_METADATA | c.VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA,
    c.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES | c.VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES,
    c.VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE
    | c.VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE
    | c.VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY,
    c.VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL | c.VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL,
)
"""Flags that exclude one another, group by group."""

STATE_FACTS: Final[dict[str, int]] = {
    OFF: c.VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE,
    DISK_SNAPSHOT: c.VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY,
}
"""The flags of states that have one of their own; all others are ACTIVE."""


def _facts_of(model: SnapshotModel, has_children: bool) -> int:
    """Return the flags that are true of a snapshot, one of each group."""
    return (
        c.VIR_DOMAIN_SNAPSHOT_LIST_METADATA
        | (c.VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES if has_children else c.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES)
        | STATE_FACTS.get(model.state, c.VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE)
        | (c.VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL if model.external else c.VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL)
    )


LISTS: Final = ListFlags(
    deep=c.VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS,
    topological=c.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL,
    groups=GROUPS,
    facts=_facts_of,
)
"""What the flags of list calls mean."""


class SnapshotLists(DomainCalls):
    """Calls that find snapshots, and change nothing."""

    def snapshot(self, snap: NonnullDomainSnapshot) -> tuple[DomainRecord, SnapshotModel]:
        """Return the domain and the snapshot that a reference means.

        Raises:
            NoDomain: the domain is not there.
            NoDomainSnapshot: the snapshot is not there.
        """
        record = self.record(snap.dom)
        return record, self.snapshot_named(record, snap.name)

    @staticmethod
    def snapshot_named(record: DomainRecord, name: str) -> SnapshotModel:
        """Return the snapshot of a name; raises NoDomainSnapshot."""
        found = record.snapshots.by_name.get(name)
        if found is None:
            text = f"no domain snapshot with matching name '{name}'"
            raise NoDomainSnapshot(text, domain=c.VIR_FROM_TEST)
        return found

    def domain_snapshot_num(self, dom: NonnullDomain, flags: int) -> int:
        """Return how many snapshots pass a filter."""
        check_flags(flags, LISTS.all, "testDomainSnapshotNum")
        return len(LISTS.names(self.record(dom).snapshots, None, flags))

    def domain_snapshot_list_names(self, dom: NonnullDomain, maxnames: int, flags: int) -> Sequence[str]:
        """Return the names of the snapshots that pass a filter, at most ``maxnames``."""
        _check_names(maxnames)
        check_flags(flags, LISTS.all, "testDomainSnapshotListNames")
        return LISTS.names(self.record(dom).snapshots, None, flags)[:maxnames]

    def domain_list_all_snapshots(
        self, dom: NonnullDomain, need_results: int, flags: int
    ) -> DomainListAllSnapshotsRet:
        """Return the snapshots that pass a filter, or with ``need_results`` 0 only how many."""
        check_flags(flags, LISTS.all, "testDomainListAllSnapshots")
        names = LISTS.names(self.record(dom).snapshots, None, flags)
        return DomainListAllSnapshotsRet(
            references(NonnullDomainSnapshot, dom, names, need_results), len(names)
        )

    def domain_snapshot_num_children(self, snap: NonnullDomainSnapshot, flags: int) -> int:
        """Return how many of a snapshot's children, or descendants, pass a filter."""
        check_flags(flags, LISTS.all, "testDomainSnapshotNumChildren")
        record, found = self.snapshot(snap)
        return len(LISTS.names(record.snapshots, found.name, flags))

    def domain_snapshot_list_children_names(
        self, snap: NonnullDomainSnapshot, maxnames: int, flags: int
    ) -> Sequence[str]:
        """Return the names of children, or descendants, that pass a filter, at most ``maxnames``."""
        _check_names(maxnames)
        check_flags(flags, LISTS.all, "testDomainSnapshotListChildrenNames")
        record, found = self.snapshot(snap)
        return LISTS.names(record.snapshots, found.name, flags)[:maxnames]

    def domain_snapshot_list_all_children(
        self, snapshot: NonnullDomainSnapshot, need_results: int, flags: int
    ) -> DomainSnapshotListAllChildrenRet:
        """Return children, or descendants, that pass a filter, or with ``need_results`` 0 how many."""
        check_flags(flags, LISTS.all, "testDomainSnapshotListAllChildren")
        record, found = self.snapshot(snapshot)
        names = LISTS.names(record.snapshots, found.name, flags)
        return DomainSnapshotListAllChildrenRet(
            references(NonnullDomainSnapshot, snapshot.dom, names, need_results), len(names)
        )

    def domain_snapshot_lookup_by_name(
        self, dom: NonnullDomain, name: str, flags: int
    ) -> NonnullDomainSnapshot:
        """Return the snapshot of a name."""
        check_flags(flags, 0, "testDomainSnapshotLookupByName")
        return NonnullDomainSnapshot(self.snapshot_named(self.record(dom), name).name, dom)

    def domain_has_current_snapshot(self, dom: NonnullDomain, flags: int) -> int:
        """Return 1 if the domain's state descends from a snapshot."""
        check_flags(flags, 0, "testDomainHasCurrentSnapshot")
        return int(self.record(dom).snapshots.current is not None)

    def domain_snapshot_current(self, dom: NonnullDomain, flags: int) -> NonnullDomainSnapshot:
        """Return the snapshot that the domain's state descends from."""
        check_flags(flags, 0, "testDomainSnapshotCurrent")
        current = self.record(dom).snapshots.current
        if current is None:
            text = "the domain does not have a current snapshot"
            raise NoDomainSnapshot(text, domain=c.VIR_FROM_TEST)
        return NonnullDomainSnapshot(current, dom)

    def domain_snapshot_get_parent(self, snap: NonnullDomainSnapshot, flags: int) -> NonnullDomainSnapshot:
        """Return the snapshot that another comes from."""
        check_flags(flags, 0, "testDomainSnapshotGetParent")
        _, found = self.snapshot(snap)
        if found.parent is None:
            text = f"snapshot '{found.name}' does not have a parent"
            raise NoDomainSnapshot(text, domain=c.VIR_FROM_TEST)
        return NonnullDomainSnapshot(found.parent, snap.dom)

    def domain_snapshot_is_current(self, snap: NonnullDomainSnapshot, flags: int) -> int:
        """Return 1 if the domain's state descends from this snapshot."""
        check_flags(flags, 0, "testDomainSnapshotIsCurrent")
        record, found = self.snapshot(snap)
        return int(record.snapshots.current == found.name)

    def domain_snapshot_has_metadata(self, snap: NonnullDomainSnapshot, flags: int) -> int:
        """Return 1: of every snapshot something is kept here."""
        check_flags(flags, 0, "testDomainSnapshotHasMetadata")
        self.snapshot(snap)
        return 1


def _check_names(maxnames: int) -> None:
    """Bound the size of an answer; raises Rpc."""
    check_count(maxnames, REMOTE_DOMAIN_SNAPSHOT_LIST_MAX, "maxnames", "REMOTE_DOMAIN_SNAPSHOT_LIST_MAX")
