"""What is known of pools and volumes while the daemon runs."""

from __future__ import annotations

import attrs
from twisted.internet.defer import DeferredLock

from remotevirt.drivers.pools.records import Pool, VolumeRef, find_pool
from remotevirt.drivers.storage.faults import internal, invalid
from remotevirt.drivers.tables import KeyedTable
from remotevirt.stubs import constants as c
from remotevirt.xml.permissions import Permissions
from remotevirt.xml.storage_pool import PoolModel
from remotevirt.xml.storage_volume import VolumeModel

__all__ = ["Contents", "PoolRecord", "PoolTable", "VolumeFile", "VolumeRecord"]


@attrs.frozen
class VolumeFile:
    """Where a volume is, for a guest's disk.

    Attributes:
        path: absolute.
        format: one of libvirt's words (``raw``, ``qcow2``, ...); None for volumes that have none.
        kind: virStorageVolType.
        encrypted: it takes a secret to read it.
    """

    path: str
    format: str | None
    kind: int
    encrypted: bool = False


@attrs.frozen
class Contents:
    """What somebody saw who looked into a pool; sizes in bytes."""

    volumes: list[VolumeModel]
    capacity: int
    allocation: int
    available: int
    permissions: Permissions


class VolumeRecord:
    """A volume of a pool.

    Attributes:
        name, ref: what it is known by.
        model: what is known of it.
        size: 0; its document is ours.
        position: which one it is in its pool.
        building: it is being made, and is not there yet.
        uses: how many calls work on its contents.
    """

    __slots__ = ("building", "model", "name", "position", "ref", "size", "uses")

    def __init__(self, pool: str, model: VolumeModel) -> None:
        self.name: str = model.name
        self.ref = VolumeRef(pool, model.name, model.key)
        self.model = model
        self.size = 0
        self.position = 0
        self.building = False
        self.uses = 0


class PoolRecord(Pool[VolumeRecord]):
    """A pool.

    Attributes:
        jobs: how many calls work on the contents of its volumes; it stays active meanwhile. begun: how many
            ever did.
        lock: held while it starts, stops, or is looked at.
    """

    __slots__ = ("begun", "jobs", "lock")

    ERRORS = c.VIR_FROM_STORAGE

    def __init__(self, model: PoolModel, size: int) -> None:
        super().__init__(model, size)
        self.jobs = 0
        self.begun = 0
        self.lock = DeferredLock()

    def begin(self) -> None:
        """Note that a call works on its volumes from now on."""
        self.jobs += 1
        self.begun += 1

    def check_idle(self) -> None:
        """Raise InternalError if calls work on its volumes."""
        if self.jobs:
            raise internal(f"pool '{self.name}' has asynchronous jobs running.")

    def fill(self, contents: Contents) -> None:
        """Take in what was found."""
        self.forget_volumes()
        for volume in contents.volumes:
            self.add(VolumeRecord(self.name, volume))
        model = self.model
        model.capacity = contents.capacity
        model.allocation = contents.allocation
        model.available = contents.available
        model.permissions = contents.permissions

    def add(self, volume: VolumeRecord) -> None:
        """Take in a volume, whose name must be free; raises OperationFailed."""
        self.volumes.add(volume)
        self.by_key[volume.model.key] = volume

    def remove(self, volume: VolumeRecord) -> None:
        """Forget a volume, unless that has happened already."""
        if self.volumes.by_name.get(volume.name) is volume:
            self.volumes.remove(volume)
            self.by_key.pop(volume.ref.key, None)

    def settle(self, volume: VolumeRecord) -> None:
        """Note that a volume is complete: only now its key is certain."""
        volume.building = False
        if self.volumes.by_name.get(volume.name) is volume and volume.ref.key != volume.model.key:
            self.by_key.pop(volume.ref.key, None)
            volume.ref = VolumeRef(self.name, volume.name, volume.model.key)
            self.by_key[volume.ref.key] = volume
            self.volumes.changed()

    def use(self, bytes_: int) -> None:
        """Note that so many bytes more are in use."""
        model = self.model
        model.allocation = max(model.allocation + bytes_, 0)
        model.available = max(model.available - bytes_, 0)


class PoolTable(KeyedTable[PoolRecord]):
    """The pools of a host."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("storage pool", c.VIR_FROM_STORAGE)

    def assign(self, model: PoolModel, size: int, *, live: bool) -> PoolRecord:
        """Take in a definition: of a new pool, or a newer one of a pool that is there.

        Args:
            model: its UUID says which pool is meant.
            size: the characters that it came in.
            live: the pool is about to start with it; a persistent one has its definition back later.

        Raises:
            OperationFailed: see :func:`remotevirt.drivers.pools.records.find_pool`; or there is no room.
            OperationInvalid: it is to be started, and is active.
        """
        record = find_pool(self, model, live=live)
        if record is None:
            record = PoolRecord(model, size)
            self.add(record)
            return record
        if record.lock.locked and not record.active:
            raise invalid(f"pool '{record.name}' is starting up")
        self.touch(record)
        self.grow(size - record.size)
        record.size = size
        if live:
            if record.persistent and record.pending is None:
                record.pending = record.model
            record.model = model
        elif record.active:
            record.pending = model
        else:
            record.model = model
        self.changed()
        return record
