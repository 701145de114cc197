"""What lasts of each kind of object, as rows; and how an object becomes again what it was.

====================  =================================================================================
domains               persistent ones: definition, autostart, managed save, snapshots and checkpoints
networks, pools       persistent ones: the newest persistent definition, autostart; of pools the volumes
interfaces            definitions
devices               the host's own; virtual adapters go with the host's next start
====================  =================================================================================

Each keeper implements :class:`remotevirt.drivers.journal.Keeper`, and the notes that
:class:`remotevirt.drivers.test.world.World` and :class:`remotevirt.drivers.tables.Table` take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.moments import MomentTable
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.keeper import TableKeeper, in_order
from remotevirt.drivers.tables import Table
from remotevirt.drivers.test.interfaces import InterfaceRecord
from remotevirt.drivers.test.networks import NetworkRecord
from remotevirt.drivers.test.nodedevs import DeviceRecord
from remotevirt.drivers.test.pools import PoolRecord, VolumeRecord
from remotevirt.drivers.test.world import World
from remotevirt.store import (
    DeviceRow,
    DomainRow,
    InterfaceRow,
    MomentRow,
    NetworkRow,
    PoolRow,
    VolumeRow,
)
from remotevirt.xml.checkpoint import format_checkpoint
from remotevirt.xml.interface import format_interface
from remotevirt.xml.moment import Moment
from remotevirt.xml.network import format_network
from remotevirt.xml.node_device import format_device
from remotevirt.xml.snapshot import SnapshotModel, format_snapshot
from remotevirt.xml.storage_pool import format_pool
from remotevirt.xml.storage_volume import format_volume

__all__ = ["all_rows", "attach"]


def attach(world: World, journal: Journal) -> None:
    """Let a world's changes be noted in a journal from now on."""
    world.keeper = DomainKeeper(world, journal)
    world.networks.keeper = NetworkKeeper(world.networks, journal)
    world.pools.keeper = PoolKeeper(world.pools, journal)
    world.interfaces.keeper = InterfaceKeeper(world.interfaces, journal)
    world.devices.keeper = DeviceKeeper(world.devices, journal)


def all_rows(world: World) -> list[Any]:
    """Return the rows of everything in a world that lasts, owners before what they own."""
    rows: list[Any] = []
    journal: Any = None  # nothing is going to change
    domains = DomainKeeper(world, journal)
    tables = (
        (domains, world.by_uuid.values()),
        (NetworkKeeper(world.networks, journal), world.networks),
        (PoolKeeper(world.pools, journal), world.pools),
        (InterfaceKeeper(world.interfaces, journal), world.interfaces),
        (DeviceKeeper(world.devices, journal), world.devices),
    )
    keeper: Any
    for keeper, things in tables:
        for thing in things:
            if keeper.essence(thing) is not None:
                rows.append(keeper.row(thing))
                rows.extend(keeper.parts(thing))
    return rows


class DomainKeeper:
    """Keeps domains."""

    def __init__(self, world: World, journal: Journal) -> None:
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


class NetworkKeeper(TableKeeper):
    """Keeps networks."""

    ROW = NetworkRow

    def key(self, thing: NetworkRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a network's row."""
        return NetworkRow, (thing.uuid,)

    def essence(self, thing: NetworkRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a network."""
        if not thing.persistent or not self.is_there(thing):
            return None
        return thing.pending or thing.live, thing.autostart, thing.size

    def row(self, thing: NetworkRecord) -> NetworkRow:
        """Return a network's row."""
        document = format_network(thing.pending or thing.live)
        return NetworkRow(thing.uuid, thing.position, thing.name, document, thing.size, int(thing.autostart))


class PoolKeeper(TableKeeper):
    """Keeps pools, and with them their volumes."""

    ROW = PoolRow

    def __init__(self, table: Table[Any], journal: Journal) -> None:
        super().__init__(table, journal)
        for pool in table if journal is not None else ():
            self._watch(pool)

    def _watch(self, pool: PoolRecord) -> None:
        """Keep the volumes of a pool too."""
        if pool.volumes.keeper is None:
            pool.volumes.keeper = VolumeKeeper(pool.volumes, self.journal, self, pool)

    def touch(self, thing: PoolRecord) -> None:
        """Note a pool that is about to change, to come or to go."""
        self._watch(thing)
        super().touch(thing)

    def remember(self, thing: PoolRecord) -> Callable[[], None]:
        """Return what makes a pool as it is now, volumes excepted."""
        restore = super().remember(thing)
        model = thing.model
        sizes = model.capacity, model.allocation, model.available

        def restore_all() -> None:
            restore()
            model.capacity, model.allocation, model.available = sizes

        return restore_all

    def key(self, thing: PoolRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a pool's row."""
        return PoolRow, (thing.uuid,)

    def essence(self, thing: PoolRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a pool."""
        if not thing.persistent or not self.is_there(thing):
            return None
        return thing.pending or thing.model, thing.autostart, thing.model.allocation, thing.size

    def row(self, thing: PoolRecord) -> PoolRow:
        """Return a pool's row."""
        return PoolRow(
            thing.uuid,
            thing.position,
            thing.name,
            format_pool(thing.pending or thing.model),
            thing.size,
            int(thing.autostart),
            thing.model.allocation,
        )

    def parts(self, thing: PoolRecord) -> list[Any]:
        """Return the rows of a pool's volumes."""
        return [_volume_row(volume) for volume in thing.volumes]


class VolumeKeeper(TableKeeper):
    """Keeps the volumes of a pool."""

    ROW = VolumeRow

    def __init__(self, table: Table[Any], journal: Journal, pools: PoolKeeper, pool: PoolRecord) -> None:
        super().__init__(table, journal)
        self.pools = pools
        self.pool = pool

    def touch(self, thing: VolumeRecord) -> None:
        """Note a volume that comes or goes, and the pool whose room it takes."""
        self.pools.touch(self.pool)
        super().touch(thing)

    def _remember(self, thing: VolumeRecord) -> Callable[[], None]:
        undo, by_key = super()._remember(thing), self.pool.by_key
        key = thing.model.key
        known = by_key.get(key)

        def undo_all() -> None:
            undo()
            by_key.pop(key, None)
            if known is not None:
                by_key[key] = known

        return undo_all

    def key(self, thing: VolumeRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a volume's row."""
        return VolumeRow, (thing.pool.uuid, thing.name)

    def essence(self, thing: VolumeRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a volume."""
        if self.pools.essence(self.pool) is None:
            return None
        return super().essence(thing)

    def row(self, thing: VolumeRecord) -> VolumeRow:
        """Return a volume's row."""
        return _volume_row(thing)


def _volume_row(volume: VolumeRecord) -> VolumeRow:
    model = volume.model
    return VolumeRow(
        volume.pool.uuid,
        volume.name,
        volume.position,
        format_volume(model),
        volume.size,
        model.path,
        model.key,
    )


class InterfaceKeeper(TableKeeper):
    """Keeps interfaces."""

    ROW = InterfaceRow

    def row(self, thing: InterfaceRecord) -> InterfaceRow:
        """Return an interface's row."""
        return InterfaceRow(thing.name, thing.position, format_interface(thing.model), thing.size)


class DeviceKeeper(TableKeeper):
    """Keeps the host's own devices."""

    ROW = DeviceRow

    def essence(self, thing: DeviceRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a device."""
        return super().essence(thing) if thing.lasts else None

    def row(self, thing: DeviceRecord) -> DeviceRow:
        """Return a device's row."""
        return DeviceRow(thing.name, thing.position, format_device(thing.model), thing.size)
