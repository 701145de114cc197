"""The storage calls that look for volumes and tell what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from remotevirt.drivers.faults import check_count, check_flags
from remotevirt.drivers.pools.records import VolumeList
from remotevirt.drivers.storage.faults import invalid
from remotevirt.drivers.storage.pools import PoolCalls
from remotevirt.drivers.storage.records import PoolRecord, VolumeFile, VolumeRecord
from remotevirt.drivers.tables import MAX_LIST
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoStorageVol
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.stubs.remote.storage import (
    StoragePoolListAllVolumesRet,
    StorageVolGetInfoFlagsRet,
    StorageVolGetInfoRet,
)
from remotevirt.xml.pool_source import sanitize
from remotevirt.xml.storage_volume import VolumeModel, format_volume, volume_kind

__all__ = ["VolumeLookups"]

LIMIT: Final = "REMOTE_STORAGE_VOL_LIST_MAX"
DOMAIN: Final = c.VIR_FROM_STORAGE


class VolumeLookups(PoolCalls):
    """What is told of a volume's sizes is measured when it is asked for."""

    @staticmethod
    def volume(pool: PoolRecord, name: str) -> VolumeRecord:
        """Return the volume of a name; raises NoStorageVol."""
        volume = pool.volumes.by_name.get(name)
        if volume is None:
            raise NoStorageVol(f"no storage vol with matching name '{name}'", domain=DOMAIN)
        return volume

    def found(self, vol: NonnullStorageVol) -> tuple[PoolRecord, VolumeRecord]:
        """Return a volume and its pool, which must be active; raises VirError."""
        pool = self.active(self.named(vol.pool))
        return pool, self.volume(pool, vol.name)

    def locate(self, pool: str, volume: str) -> VolumeFile:
        """Return where a volume is, for a disk of ``type='volume'``.

        Args:
            pool: the pool's name; it must be active.
            volume: the volume's name.

        Raises:
            VirError: there is no such volume, or it is not complete yet.
        """
        record = self.named(pool)
        if not record.active:
            raise invalid(f"storage pool '{pool}' containing volume '{volume}' is not active")
        found = self.volume(record, volume)
        self.check_complete(found)
        model = found.model
        return VolumeFile(model.path, model.format, kind_of(record, model), model.encryption is not None)

    @staticmethod
    def check_complete(volume: VolumeRecord) -> None:
        """Raise OperationInvalid for a volume that is being made."""
        if volume.building:
            raise invalid(f"volume '{volume.name}' is still being allocated.")

    def check_free(self, volume: VolumeRecord) -> None:
        """Raise OperationInvalid for a volume that is being made, or worked on."""
        self.check_complete(volume)
        if volume.uses:
            raise invalid(f"volume '{volume.name}' is still in use.")

    def storage_pool_num_of_volumes(self, pool: NonnullStoragePool) -> int:
        """Return how many volumes an active pool has."""
        return len(self.active(self.meant(pool)).volumes)

    def storage_pool_list_volumes(self, pool: NonnullStoragePool, maxnames: int) -> Sequence[str]:
        """Return the names of an active pool's volumes."""
        check_count(maxnames, MAX_LIST, "maxnames", LIMIT)
        found = self.active(self.meant(pool))
        return found.volumes.names(maxnames, LIMIT, lambda volume: True)

    def storage_pool_list_all_volumes(
        self, pool: NonnullStoragePool, need_results: int, flags: int
    ) -> StoragePoolListAllVolumesRet:
        """Return an active pool's volumes."""
        check_flags(flags, 0, "storagePoolListAllVolumes", DOMAIN)
        record = self.active(self.meant(pool))
        found: VolumeList = record.volumes.listing(0, lambda _: _list_volumes(record))
        return found if need_results else StoragePoolListAllVolumesRet((), found.ret)

    def storage_vol_lookup_by_name(self, pool: NonnullStoragePool, name: str) -> NonnullStorageVol:
        """Return the volume of a name in an active pool."""
        return self.volume(self.active(self.meant(pool)), name).ref

    def storage_vol_lookup_by_key(self, key: str) -> NonnullStorageVol:
        """Return the volume of a key in any active pool."""
        for pool in self.pools:
            volume = pool.by_key.get(key) if pool.active else None
            if volume is not None:
                return volume.ref
        raise NoStorageVol(f"no storage vol with matching key {key}", domain=DOMAIN)

    def storage_vol_lookup_by_path(self, path: str) -> NonnullStorageVol:
        """Return the volume of a path in any active pool."""
        folder, _, name = sanitize(path).rpartition("/")
        for pool in self.pools:
            if pool.active and pool.model.path == folder and name in pool.volumes.by_name:
                return pool.volumes.by_name[name].ref
        raise NoStorageVol(f"no storage vol with matching path '{path}'", domain=DOMAIN)

    async def measure(self, pool: PoolRecord, volume: VolumeRecord) -> VolumeModel:
        """Note what a volume is now, and return that; raises VirError."""
        if not volume.building:
            found = await self.backend(pool.model.type).measure(pool.model, volume.model)
            if found is not None:
                update(volume.model, found)
        return volume.model

    async def storage_vol_get_info(self, vol: NonnullStorageVol) -> StorageVolGetInfoRet:
        """Return a volume's type, and its sizes in bytes."""
        found = await self.storage_vol_get_info_flags(vol, 0)
        return StorageVolGetInfoRet(found.type, found.capacity, found.allocation)

    async def storage_vol_get_info_flags(
        self, vol: NonnullStorageVol, flags: int
    ) -> StorageVolGetInfoFlagsRet:
        """Return a volume's type and sizes; VIR_STORAGE_VOL_GET_PHYSICAL asks for the size on the host."""
        check_flags(flags, c.VIR_STORAGE_VOL_GET_PHYSICAL, "storageVolGetInfoFlags", DOMAIN)
        pool, volume = self.found(vol)
        model = await self.measure(pool, volume)
        size = model.physical if flags & c.VIR_STORAGE_VOL_GET_PHYSICAL else model.allocation
        return StorageVolGetInfoFlagsRet(kind_of(pool, model), model.capacity, size)

    async def storage_vol_get_xml_desc(self, vol: NonnullStorageVol, flags: int) -> str:
        """Return a volume's document."""
        check_flags(flags, 0, "storageVolGetXMLDesc", DOMAIN)
        pool, volume = self.found(vol)
        return format_volume(await self.measure(pool, volume))

    def storage_vol_get_path(self, vol: NonnullStorageVol) -> str:
        """Return where a volume is."""
        return self.found(vol)[1].model.path


def _list_volumes(pool: PoolRecord) -> VolumeList:
    refs = tuple([volume.ref for volume in pool.volumes])
    return VolumeList(refs, len(refs))


def kind_of(pool: PoolRecord, model: VolumeModel) -> int:
    """Return the virStorageVolType of a volume."""
    return c.VIR_STORAGE_VOL_DIR if model.type == "dir" else volume_kind(pool.model.type)


def update(model: VolumeModel, found: VolumeModel) -> None:
    """Take over what was measured; what a definition has said besides stays."""
    if model.format != found.format:
        for field in attrs.fields(VolumeModel):
            if field.name not in ("name", "key", "path"):
                setattr(model, field.name, getattr(found, field.name))
        return
    model.capacity, model.allocation = found.capacity, found.allocation
    model.physical = found.physical
    model.permissions, model.timestamps = found.permissions, found.timestamps
    model.backing = found.backing
