"""What lasts of domains, as rows; and how one becomes again what it was.

Persistent domains last: definition, autostart, managed save, snapshots and checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.moments import MomentTable
from remotevirt.drivers.domains.table import DomainTable
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.keeping import in_order
from remotevirt.store import DomainRow, MomentRow
from remotevirt.xml.checkpoint import format_checkpoint
from remotevirt.xml.moment import Moment
from remotevirt.xml.snapshot import SnapshotModel, format_snapshot

__all__ = ["DomainKeeper"]


class DomainKeeper:
    """Keeps domains."""

    def __init__(self, world: DomainTable, journal: Journal) -> None:
        self.world = world
        self.journal = journal

    def touch(self, record: DomainRecord) -> None:
        """Note a domain that is about to change, or to come."""
        if not self.journal.knows(record):
            self.journal.note(self, record, self.essence(record), self._remember(record))

    def found(self, record: DomainRecord) -> None:
        """Note a domain that a call may change, if it is one that may change something."""
        if self.journal.unit is not None:
            self.touch(record)

    def touch_moments(self, record: DomainRecord, table: MomentTable[Any]) -> None:
        """Note a domain, and its snapshots or checkpoints."""
        self.touch(record)
        if self.journal.knows(table):
            return
        lasted = self.essence(record) is not None
        before = {name: (moment, moment.parent, table.places[name]) for name, moment in table.by_name.items()}

        def changes() -> tuple[list[Any], list[Any]]:
            if not lasted or self.essence(record) is None:
                return [], []  # all of them came with the domain, or went with it
            kind = _kind(record, table)
            gone = [(MomentRow, (record.uuid, kind, name)) for name in before if name not in table.by_name]
            puts = [
                _moment_row(record, table, moment)
                for name, moment in table.by_name.items()
                if before.get(name) != (moment, moment.parent, table.places[name])
            ]
            return puts, gone

        self.journal.note_table(table, changes, table.remember())

    def _remember(self, record: DomainRecord) -> Callable[[], None]:
        world = self.world
        there = world.by_uuid.get(record.uuid) is record
        next_id, text = world.next_id, world.text
        restore = record.remember()

        def undo() -> None:
            is_there = world.by_uuid.get(record.uuid) is record
            if is_there:
                world.by_id.pop(record.id, None)
                del world.by_name[record.name]
            restore()
            world.next_id, world.text = next_id, text
            if there:
                world.by_name[record.name] = record
                world.by_uuid[record.uuid] = record
                if not is_there:
                    in_order(world.by_uuid)
                if record.active:
                    world.by_id[record.id] = record
                    by_id = sorted(world.by_id.items())
                    world.by_id.clear()
                    world.by_id.update(by_id)
            elif is_there:
                del world.by_uuid[record.uuid]
            world.changed(record)

        return undo

    def key(self, record: DomainRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a domain's row."""
        return DomainRow, (record.uuid,)

    def essence(self, record: DomainRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a domain."""
        if not record.persistent or self.world.by_uuid.get(record.uuid) is not record:
            return None
        return (
            record.name,
            record.persistent_definition.stamp,
            record.autostart,
            record.managed_save,
            record.snapshots.current,
            record.checkpoints.current,
        )

    def row(self, record: DomainRecord) -> DomainRow:
        """Return a domain's row."""
        definition = record.persistent_definition
        return DomainRow(
            record.uuid,
            record.position,
            record.name,
            definition.document(),
            definition.size,
            definition.max_memory,
            definition.memory,
            definition.vcpus,
            int(record.autostart),
            int(record.managed_save),
            record.snapshots.current,
            record.checkpoints.current,
        )

    def parts(self, record: DomainRecord) -> list[Any]:
        """Return the rows of a domain's snapshots and checkpoints."""
        tables: tuple[MomentTable[Any], ...] = (record.snapshots, record.checkpoints)
        return [_moment_row(record, table, moment) for table in tables for moment in table]


def _kind(record: DomainRecord, table: MomentTable[Any]) -> str:
    return "snapshot" if table is record.snapshots else "checkpoint"


def _moment_row(record: DomainRecord, table: MomentTable[Any], moment: Any) -> MomentRow:
    """Return the row of a snapshot or checkpoint."""
    place, rank = table.places[moment.name]
    return MomentRow(
        record.uuid,
        _kind(record, table),
        moment.name,
        place,
        rank,
        moment.parent,
        moment.created,
        _document(moment),
        moment.size,
        moment.guest_size,
    )


def _document(moment: Moment) -> str:
    """Return the description of a snapshot or checkpoint; what the row says besides counts more."""
    if not moment.created:
        moment = attrs.evolve(moment, created=1)  # a description without a time could not be read
    if isinstance(moment, SnapshotModel):
        return format_snapshot(moment, secure=True)
    return format_checkpoint(moment, guest=True, secure=True)  # type: ignore[arg-type]
