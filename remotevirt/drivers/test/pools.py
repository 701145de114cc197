"""Storage pools of the test hypervisor: the records and their table.

Every pool has 100 GiB. A pool's volumes stay where they are while it is inactive, but no call shows them.
As in libvirt's test driver a newer definition of an active pool waits and is never put in force, and every
definition makes the pool look empty, whatever its volumes hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from remotevirt.drivers.pools.records import Pool, VolumeRef, find_pool
from remotevirt.drivers.tables import KeyedTable
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.storage_pool import PoolModel, read_pool
from remotevirt.xml.storage_volume import VolumeModel, read_volume

__all__ = ["CAPACITY", "WRAP", "PoolRecord", "PoolTable", "VolumeRecord"]

CAPACITY: Final = 100 * 1024**3
"""Bytes that every pool has."""

WRAP: Final = 1 << 64
"""Where libvirt's sizes begin again at 0: a pool defined anew that then loses a volume falls below it."""


class VolumeRecord:
    """A volume of a pool.

    Attributes:
        name, ref: what it is known by.
        model: its definition.
        size: the characters of it.
        pool: where it is; position: which one there.

    Args:
        keep: the volume comes from a node file, whose word for path and key counts.
    """

    __slots__ = ("model", "name", "pool", "position", "ref", "size")

    def __init__(self, pool: PoolRecord, model: VolumeModel, size: int, *, keep: bool = False) -> None:
        # libvirt prints a path that is not there like this, and so pools without one have it in keys
        path = f"{pool.model.path or '(null)'}/{model.name}"
        model.path = (model.path if keep else "") or path
        model.key = (model.key if keep else "") or model.path
        self.name: str = model.name
        self.ref = VolumeRef(pool.name, self.name, model.key)
        self.model = model
        self.size = size
        self.pool = pool
        self.position = 0


class PoolRecord(Pool[VolumeRecord]):
    """A pool of a world."""

    __slots__ = ()

    ERRORS = c.VIR_FROM_TEST

    def __init__(self, model: PoolModel, size: int) -> None:
        super().__init__(model, size)
        self.empty()

    def empty(self) -> None:
        """Make the pool look empty."""
        self.model.capacity = CAPACITY
        self.use(-self.model.allocation)

    def use(self, bytes_: int) -> None:
        """Note that so many bytes more are in use."""
        self.model.allocation = (self.model.allocation + bytes_) % WRAP
        self.model.available = (CAPACITY - self.model.allocation) % WRAP

    def add(self, volume: VolumeRecord) -> None:
        """Take in a volume, whose name must be free; raises OperationFailed."""
        self.volumes.add(volume)
        self.by_key[volume.model.key] = volume
        self.use(volume.model.allocation)

    def remove(self, volume: VolumeRecord) -> None:
        """Forget a volume."""
        self.volumes.remove(volume)
        self.by_key.pop(volume.model.key, None)
        self.use(-volume.model.allocation)

    def check_room(self, model: VolumeModel) -> None:
        """Check that a new volume fits; raises InternalError."""
        if (self.model.allocation + model.allocation) % WRAP > self.model.capacity:
            text = f"Not enough free space in pool for volume '{model.name}'"
            raise InternalError(text, domain=c.VIR_FROM_TEST)


class PoolTable(KeyedTable[PoolRecord]):
    """The pools of a world."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("storage pool", c.VIR_FROM_TEST)

    def load(self, element: Any, size: int = 0, inner: Callable[[Any], Any] | None = None) -> None:
        """Take in an active pool with its volumes from a node file; raises VirError.

        Args:
            element: the pool.
            size: the characters that it came in.
            inner: finds a volume's element, which may stand in a file of its own.
        """
        record = self.assign(read_pool(element), size, live=False)
        record.active = record.persistent = True
        for found in element.findall("volume"):
            volume = read_volume(inner(found) if inner else found, record.model.type)
            record.check_room(volume)
            record.add(VolumeRecord(record, volume, 0, keep=True))
        self.changed()

    def assign(self, model: PoolModel, size: int, *, live: bool) -> PoolRecord:
        """Take in a definition: of a new pool, or a newer one of a pool that is there.

        Args:
            model: its UUID says which pool is meant.
            size: the characters that it came in.
            live: the pool is about to start with it; otherwise it is the persistent definition.

        Raises:
            OperationFailed: name and UUID belong to different pools, another pool uses the same source,
                or there is no room.
            OperationInvalid: it is to be started, and is active.
        """
        record = find_pool(self, model, live=live)
        if record is None:
            record = PoolRecord(model, size)
            self.add(record)
            return record
        self.touch(record)
        self.grow(size - record.size)
        record.size = size
        if record.active:
            record.pending = model
        else:
            record.model = model
        record.empty()
        self.changed()
        return record
