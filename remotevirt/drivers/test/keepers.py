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

from remotevirt.drivers.domains.keeper import DomainKeeper
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.keeping import TableKeeper
from remotevirt.drivers.tables import Table
from remotevirt.drivers.test.interfaces import InterfaceRecord
from remotevirt.drivers.test.networks import NetworkRecord
from remotevirt.drivers.test.nodedevs import DeviceRecord
from remotevirt.drivers.test.pools import WRAP, PoolRecord, VolumeRecord
from remotevirt.drivers.test.world import World
from remotevirt.store import (
    DeviceRow,
    InterfaceRow,
    NetworkRow,
    PoolRow,
    VolumeRow,
)
from remotevirt.xml.interface import format_interface
from remotevirt.xml.network import format_network
from remotevirt.xml.node_device import format_device
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
        return thing.pending or thing.model, thing.autostart, _signed(thing.model.allocation), thing.size

    def row(self, thing: PoolRecord) -> PoolRow:
        """Return a pool's row."""
        return PoolRow(
            thing.uuid,
            thing.position,
            thing.name,
            format_pool(thing.pending or thing.model),
            thing.size,
            int(thing.autostart),
            _signed(thing.model.allocation),
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


def _signed(size: int) -> int:
    """Return a size as a row holds it: one below zero, which has wrapped around, as what it stands for."""
    return size - WRAP if size >= WRAP // 2 else size


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
