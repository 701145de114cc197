"""The storage calls that are about volumes. Volumes hold nothing; they only take room in their pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.faults import argument_error, check_count, check_flags
from remotevirt.drivers.pools.records import VolumeList
from remotevirt.drivers.tables import MAX_LIST
from remotevirt.drivers.test.pool_calls import PoolCalls
from remotevirt.drivers.test.pools import PoolRecord, VolumeRecord
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoStorageVol, OperationFailed, OperationInvalid
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.stubs.remote.storage import StoragePoolListAllVolumesRet, StorageVolGetInfoRet
from remotevirt.xml.storage_volume import VolumeModel, format_volume, parse_volume, volume_kind

__all__ = ["TestPools"]

LIMIT: Final = "REMOTE_STORAGE_VOL_LIST_MAX"


VALIDATE: Final[int] = c.VIR_STORAGE_VOL_CREATE_VALIDATE


class TestPools(PoolCalls):
    """The storage sub-driver."""

    @staticmethod
    def _volume(pool: PoolRecord, name: str) -> VolumeRecord:
        volume = pool.volumes.by_name.get(name)
        if volume is None:
            raise NoStorageVol(f"no storage vol with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return volume

    def _found(self, vol: NonnullStorageVol) -> tuple[PoolRecord, VolumeRecord]:
        """Return a volume and its pool, which must be active."""
        pool = self.in_state(vol.pool, active=True)
        return pool, self._volume(pool, vol.name)

    def storage_pool_num_of_volumes(self, pool: NonnullStoragePool) -> int:
        """Return how many volumes an active pool has."""
        return len(self.in_state(pool.name, active=True).volumes)

    def storage_pool_list_volumes(self, pool: NonnullStoragePool, maxnames: int) -> Sequence[str]:
        """Return the names of an active pool's volumes."""
        check_count(maxnames, MAX_LIST, "maxnames", LIMIT)
        found = self.in_state(pool.name, active=True)
        return found.volumes.names(maxnames, LIMIT, lambda volume: True)

    def storage_pool_list_all_volumes(
        self, pool: NonnullStoragePool, need_results: int, flags: int
    ) -> StoragePoolListAllVolumesRet:
        """Return an active pool's volumes; the pool is found by its UUID."""
        check_flags(flags, 0, "testStoragePoolListAllVolumes")
        record: PoolRecord = self.identified(pool.uuid)
        if not record.active:
            raise OperationInvalid("storage pool is not active", domain=c.VIR_FROM_TEST)
        found: VolumeList = record.volumes.listing(0, lambda _: self._list_volumes(record))
        return found if need_results else StoragePoolListAllVolumesRet((), found.ret)

    @staticmethod
    def _list_volumes(pool: PoolRecord) -> VolumeList:
        refs = tuple([volume.ref for volume in pool.volumes])
        return VolumeList(refs, len(refs))

    def storage_vol_lookup_by_name(self, pool: NonnullStoragePool, name: str) -> NonnullStorageVol:
        """Return the volume of a name in an active pool."""
        return self._volume(self.in_state(pool.name, active=True), name).ref

    def storage_vol_lookup_by_key(self, key: str) -> NonnullStorageVol:
        """Return the volume of a key in any active pool."""
        return self._anywhere(key, "key")

    def storage_vol_lookup_by_path(self, path: str) -> NonnullStorageVol:
        """Return the volume of a path in any active pool."""
        return self._anywhere(path, "path")

    def _anywhere(self, text: str, what: str) -> NonnullStorageVol:
        for pool in self.pools:
            volume = pool.by_key.get(text) if pool.active else None
            if volume is not None:
                return volume.ref
        raise NoStorageVol(f"no storage vol with matching {what} '{text}'", domain=c.VIR_FROM_TEST)

    def storage_vol_get_info(self, vol: NonnullStorageVol) -> StorageVolGetInfoRet:
        """Return a volume's type, and its sizes in bytes."""
        pool, volume = self._found(vol)
        model = volume.model
        return StorageVolGetInfoRet(volume_kind(pool.model.type), model.capacity, model.allocation)

    def storage_vol_get_xml_desc(self, vol: NonnullStorageVol, flags: int) -> str:
        """Return a volume's document."""
        check_flags(flags, 0, "testStorageVolGetXMLDesc")
        return format_volume(self._found(vol)[1].model)

    def storage_vol_get_path(self, vol: NonnullStorageVol) -> str:
        """Return where a volume would be."""
        return self._found(vol)[1].model.path

    @in_steps
    def storage_vol_create_xml(
        self, pool: NonnullStoragePool, xml: str, flags: int
    ) -> Steps[NonnullStorageVol]:
        """Make a volume in an active pool; see :meth:`_read` for the flags."""
        check_flags(flags, VALIDATE, "testStorageVolCreateXML")
        model = yield Work(len(xml), self._read, xml, self.in_state(pool.name, active=True).model.type, flags)
        found = self.in_state(pool.name, active=True)
        self._check_new(found, model)
        return self._add(found, model, len(xml))

    @in_steps
    def storage_vol_create_xml_from(
        self, pool: NonnullStoragePool, xml: str, clonevol: NonnullStorageVol, flags: int
    ) -> Steps[NonnullStorageVol]:
        """Make a volume beside one that is there: that is looked for by its name, in the same pool."""
        check_flags(flags, VALIDATE, "testStorageVolCreateXMLFrom")
        model = yield Work(len(xml), self._read, xml, self.in_state(pool.name, active=True).model.type, flags)
        found = self.in_state(pool.name, active=True)
        self._check_new(found, model)
        self._volume(found, clonevol.name)
        return self._add(found, model, len(xml))

    @staticmethod
    def _read(xml: str, kind: str, flags: int) -> VolumeModel:
        """Read a document; VIR_STORAGE_VOL_CREATE_VALIDATE libvirt takes, and then refuses."""
        model = parse_volume(xml, kind, validate=bool(flags & VALIDATE))
        check_flags(flags, 0, "virStorageVolDefParseXML", domain=c.VIR_FROM_STORAGE)
        return model

    @staticmethod
    def _check_new(pool: PoolRecord, model: VolumeModel) -> None:
        if model.name in pool.volumes.by_name:
            raise OperationFailed("storage vol already exists", domain=c.VIR_FROM_TEST)

    def _add(self, pool: PoolRecord, model: VolumeModel, size: int) -> NonnullStorageVol:
        pool.check_room(model)
        self.pools.touch(pool)
        volume = VolumeRecord(pool, model, size)
        pool.add(volume)
        return volume.ref

    def storage_vol_resize(self, vol: NonnullStorageVol, capacity: int, flags: int) -> Result[None]:
        """Refuse: no volume can be resized, and what libvirt checks before it finds that out comes first."""
        if not capacity and not flags & (c.VIR_STORAGE_VOL_RESIZE_DELTA | c.VIR_STORAGE_VOL_RESIZE_SHRINK):
            function = "virStorageVolResize"
            text = f"capacity in {function} cannot be zero without 'delta' or 'shrink' flags set"
            raise argument_error(function, "capacity", text, c.VIR_FROM_STORAGE)
        return super().storage_vol_resize(vol, capacity, flags)

    def storage_vol_delete(self, vol: NonnullStorageVol, flags: int) -> None:
        """Delete a volume of an active pool."""
        check_flags(flags, 0, "testStorageVolDelete")
        pool, volume = self._found(vol)
        self.pools.touch(pool)
        pool.remove(volume)
