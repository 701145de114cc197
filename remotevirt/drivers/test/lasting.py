"""A world from its store: as a host finds it when it has been started anew.

What is transient is gone and nothing is active but what starts with the host: networks and pools with
autostart, interfaces that say ``onboot``, domains with autostart; in that order, each kind in the order of
definition, ids from 1 on.

Definitions of domains are read when somebody looks inside, so that a world of thousands is there at once.
What cannot be read any more although it is as it was written (a newer daemon refuses it, say) is left where
it is and not served, and the log says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from remotevirt.drivers.domains.loading import load_domains
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.pools.events import pool_lifecycle
from remotevirt.drivers.tables import Table
from remotevirt.drivers.test.default_world import default_world
from remotevirt.drivers.test.interfaces import InterfaceRecord
from remotevirt.drivers.test.keepers import all_rows, attach
from remotevirt.drivers.test.networks import NetworkRecord
from remotevirt.drivers.test.node import default_node
from remotevirt.drivers.test.nodedevs import DeviceRecord
from remotevirt.drivers.test.object_events import network_lifecycle
from remotevirt.drivers.test.pools import PoolRecord, VolumeRecord
from remotevirt.drivers.test.vports import VportMaker
from remotevirt.drivers.test.world import World
from remotevirt.errors import VirError
from remotevirt.store import (
    DeviceRow,
    InterfaceRow,
    NetworkRow,
    PoolRow,
    Store,
    VolumeRow,
)
from remotevirt.stubs import constants as c
from remotevirt.xml.interface import parse_interface
from remotevirt.xml.network import parse_network
from remotevirt.xml.node_device import parse_device
from remotevirt.xml.storage_pool import parse_pool
from remotevirt.xml.storage_volume import parse_volume

__all__ = ["open_world"]

log = Logger()

BY_VOLUMES: Final = -1
"""In the row of a pool: its volumes together are what it says of its allocation."""


def open_world(path: str) -> tuple[World, Journal]:
    """Open the world in a store; if there is none, one with libvirt's default contents begins.

    Raises:
        StoreError: it cannot be opened, or not be made.
    """
    began = time.monotonic()
    if not Store.exists(path):
        world = default_world()
        store = Store.create(path, all_rows(world))
        store.rows.clear()
    else:
        store = Store.open(path)
        world = World(default_node())
        _Loader(world, store).load()
    journal = Journal(store, world.hub, c.VIR_FROM_TEST)
    attach(world, journal)
    try:
        journal.run(_boot, world)
    except VirError as error:
        log.error("{path}: what starts with the host does not: {error}", path=path, error=error)
    log.info(
        "{path}: {count} domains, in {seconds:.3f} seconds",
        path=path,
        count=len(world.by_uuid),
        seconds=time.monotonic() - began,
    )
    return world, journal


class _Loader:
    """Fills an empty world from the rows of a store."""

    def __init__(self, world: World, store: Store) -> None:
        self.world = world
        self.path = store.path
        self.rows = store.rows

    def load(self) -> None:
        """Take in everything, and let go of the rows."""
        world = self.world
        load_domains(world, self.rows, self._try)
        self._fill(world.networks, NetworkRow, _network)
        self._fill(world.pools, PoolRow, _pool)
        for row in self.rows[VolumeRow]:
            self._try(row, lambda row: _add_volume(world, row))
        for row in self.rows[PoolRow]:
            pool = world.pools.by_uuid.get(row.uuid)
            if pool is not None and row.allocation != BY_VOLUMES:
                pool.use(row.allocation - pool.model.allocation)
        self._fill(world.interfaces, InterfaceRow, _interface)
        self._fill(world.devices, DeviceRow, _device)
        self.rows.clear()

    def _try(self, row: Any, make: Callable[[Any], Any]) -> Any:
        """Return what a row makes; None if that fails, which the log says."""
        try:
            return make(row)
        except VirError as error:
            log.error(
                "{path}: {kind} {name!r} is not served, and left where it is: {error}",
                path=self.path,
                kind=row.TABLE,
                name=row.name,
                error=error,
            )
            return None

    def _fill(self, table: Table[Any], kind: Any, make: Callable[[Any], Any]) -> None:
        """Fill a table from the rows of a kind."""
        for row in self.rows[kind]:
            thing = self._try(row, make)
            if thing is not None:
                table.positions = row.position - 1
                table.add(thing)


def _network(row: NetworkRow) -> NetworkRecord:
    record = NetworkRecord(parse_network(row.document, titled=True), row.size)
    record.autostart = bool(row.autostart)
    return record


def _pool(row: PoolRow) -> PoolRecord:
    record = PoolRecord(parse_pool(row.document), row.size)
    record.persistent, record.autostart = True, bool(row.autostart)
    return record


def _add_volume(world: World, row: VolumeRow) -> None:
    pool = world.pools.by_uuid.get(row.pool)
    if pool is None:
        return  # the pool is not served either, which was said
    model = parse_volume(row.document, pool.model.type)
    model.path, model.key = row.path, row.key
    pool.volumes.positions = row.position - 1
    pool.add(VolumeRecord(pool, model, row.size, keep=True))


def _interface(row: InterfaceRow) -> InterfaceRecord:
    return InterfaceRecord(parse_interface(row.document), row.size)


def _device(row: DeviceRow) -> DeviceRecord:
    return DeviceRecord(parse_device(row.document), row.size)


def _boot(world: World) -> None:
    """Start what starts with the host."""
    for network in world.networks:
        if network.autostart and not network.active:
            world.networks.touch(network)
            network.active = True
            world.hub.publish(network_lifecycle(network.ref, c.VIR_NETWORK_EVENT_STARTED))
    world.networks.changed()
    for pool in world.pools:
        if pool.autostart and not pool.active:
            _start_pool(world, pool)
    world.pools.changed()
    for interface in world.interfaces:
        if interface.model.start == "onboot" and not interface.active:
            world.interfaces.touch(interface)
            interface.active = True
    world.interfaces.changed()
    for record in list(world.by_uuid.values()):
        if record.autostart and not record.active:
            world.start(record, c.VIR_DOMAIN_RUNNING_BOOTED)
            world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED)


def _start_pool(world: World, pool: PoolRecord) -> None:
    """Start a pool, and make the device that it may stand on; one that cannot be had leaves it off."""
    try:
        VportMaker(world.devices).make(pool.model)
    except VirError as error:
        log.error("pool {name!r} does not start: {error}", name=pool.name, error=error)
        return
    world.pools.touch(pool)
    pool.active = True
    world.hub.publish(pool_lifecycle(pool.ref, c.VIR_STORAGE_POOL_EVENT_STARTED))
