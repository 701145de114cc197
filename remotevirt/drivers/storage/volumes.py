"""The storage calls that make volumes and change them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.faults import argument_error, check_flags
from remotevirt.drivers.regardless import regardless
from remotevirt.drivers.storage.aside import parsed
from remotevirt.drivers.storage.faults import internal
from remotevirt.drivers.storage.lookups import VolumeLookups
from remotevirt.drivers.storage.records import PoolRecord, VolumeRecord
from remotevirt.drivers.storage.streams import Download, Upload
from remotevirt.errors import VirError
from remotevirt.procedures import StreamResult
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoSecret, NoStoragePool, OperationFailed, StorageVolExist
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from remotevirt.xml.domain.secret import Encryption
from remotevirt.xml.storage_volume import VolumeModel, parse_volume

__all__ = ["SecretValue", "VolumeCalls"]

DOMAIN: Final = c.VIR_FROM_STORAGE
METADATA: Final = c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA
REFLINK: Final = c.VIR_STORAGE_VOL_CREATE_REFLINK
VALIDATE: Final = c.VIR_STORAGE_VOL_CREATE_VALIDATE
ALLOCATE: Final = c.VIR_STORAGE_VOL_RESIZE_ALLOCATE
DELTA: Final = c.VIR_STORAGE_VOL_RESIZE_DELTA
SHRINK: Final = c.VIR_STORAGE_VOL_RESIZE_SHRINK

SecretValue = Callable[[bytes | str], Any]
"""Returns the value of a secret, by UUID (bytes) or usage (text): bytes, None if there is none, or a Deferred
or coroutine of that."""

log = Logger()


class VolumeCalls(VolumeLookups):
    """Calls that take long leave the pool to others: a volume that is being made shows, and is refused to
    those who would change it; one that is worked on likewise.

    Attributes:
        secret_value: see :data:`SecretValue`; None where there are no secrets.
    """

    secret_value: SecretValue | None = None

    async def storage_vol_create_xml(
        self, pool: NonnullStoragePool, xml: str, flags: int
    ) -> NonnullStorageVol:
        """Make a volume in an active pool."""
        check_flags(flags, METADATA | VALIDATE, "storageVolCreateXML", DOMAIN)
        model = await self._parse(self.active(self.meant(pool)), xml, flags)
        record = self.active(self.meant(pool))
        if model.name in record.volumes.by_name:
            raise StorageVolExist(f"'{model.name}'", domain=DOMAIN)
        return await self._make(record, model, flags, None)

    async def storage_vol_create_xml_from(
        self, pool: NonnullStoragePool, xml: str, clonevol: NonnullStorageVol, flags: int
    ) -> NonnullStorageVol:
        """Make a volume that is a copy of one, of this or another pool."""
        check_flags(flags, METADATA | REFLINK | VALIDATE, "storageVolCreateXMLFrom", DOMAIN)
        model = await self._parse(self.active(self.meant(pool)), xml, flags)
        origin, source = self.found(clonevol)
        self.check_complete(source)
        await self.measure(origin, source)
        record = self.active(self.meant(pool))
        if model.name in record.volumes.by_name:
            raise internal(f"storage volume name '{model.name}' already in use.")
        model.capacity = max(model.capacity, source.model.capacity)
        async with self._working(origin, source):
            return await self._make(record, model, flags, source)

    @staticmethod
    async def _parse(pool: PoolRecord, xml: str, flags: int) -> VolumeModel:
        """Return the definition of a new volume; raises VirError."""
        validate = bool(flags & VALIDATE)
        return await parsed(xml, parse_volume, xml, pool.model.type, validate=validate)

    async def _make(
        self, pool: PoolRecord, model: VolumeModel, flags: int, source: VolumeRecord | None
    ) -> NonnullStorageVol:
        """Make a volume whose name is free."""
        backend = self.backend(pool.model.type)
        backend.prepare(pool.model, model)
        volume = VolumeRecord(pool.name, model)
        volume.building = True
        pool.add(volume)
        pool.begin()
        try:
            try:
                secret = partial(self._secret, model.encryption)
                copied = None if source is None else source.model
                await backend.create(
                    pool.model, model, flags, secret=secret, source=copied, folders=self.folders()
                )
            except BaseException:
                pool.remove(volume)
                raise
            pool.settle(volume)
            await self.measure(pool, volume)
            pool.use(model.allocation)
        finally:
            volume.building = False
            pool.jobs -= 1
        return volume.ref

    def folders(self) -> frozenset[str]:
        """Return the folders of active pools."""
        return frozenset(pool.model.path for pool in self.pools if pool.active and pool.model.path)

    async def _secret(self, encryption: Encryption | None) -> bytes | None:
        """Return the passphrase of a new volume; raises VirError."""
        if encryption is None or not encryption.secrets:
            return None
        wanted = encryption.secrets[0]
        key = wanted.uuid if wanted.uuid is not None else wanted.usage
        value = None
        if self.secret_value is not None and key is not None:
            value = self.secret_value(key)
            if value is not None and not isinstance(value, bytes):
                value = await value
        if value is None:
            shown = key.hex() if isinstance(key, bytes) else key
            raise NoSecret(f"no secret with a value for '{shown}'", domain=c.VIR_FROM_SECRET)
        return bytes(value)

    @asynccontextmanager
    async def _working(self, pool: PoolRecord, volume: VolumeRecord) -> AsyncIterator[None]:
        """Keep a volume from changes by others, and its pool active."""
        volume.uses += 1
        pool.begin()
        try:
            yield
        finally:
            volume.uses -= 1
            pool.jobs -= 1

    async def storage_vol_delete(self, vol: NonnullStorageVol, flags: int) -> None:
        """Delete a volume of an active pool."""
        pool, volume = self.found(vol)
        self.check_free(volume)
        # a file that has gone is no volume any more, whether the client waits or not
        await regardless(Deferred.fromCoroutine(self._delete(pool, volume, flags)))

    async def _delete(self, pool: PoolRecord, volume: VolumeRecord, flags: int) -> None:
        async with self._working(pool, volume):
            await self.backend(pool.model.type).remove(pool.model, volume.model, flags)
        pool.remove(volume)
        pool.use(-volume.model.allocation)

    async def storage_vol_resize(self, vol: NonnullStorageVol, capacity: int, flags: int) -> None:
        """Change a volume's capacity."""
        if not capacity and not flags & (DELTA | SHRINK):
            function = "virStorageVolResize"
            text = f"capacity in {function} cannot be zero without 'delta' or 'shrink' flags set"
            raise argument_error(function, "capacity", text, DOMAIN)
        check_flags(flags, ALLOCATE | DELTA | SHRINK, "storageVolResize", DOMAIN)
        pool, volume = self.found(vol)
        self.check_free(volume)
        model = volume.model
        wanted = capacity
        if flags & DELTA:
            shrink = bool(flags & SHRINK)
            wanted = model.capacity - min(capacity, model.capacity) if shrink else model.capacity + capacity
        if wanted < model.allocation:
            raise InvalidArg("can't shrink capacity below existing allocation", domain=DOMAIN)
        if wanted < model.capacity and not flags & SHRINK:
            text = "Can't shrink capacity below current capacity unless shrink flag explicitly specified"
            raise InvalidArg(text, domain=DOMAIN)
        if flags & ALLOCATE and wanted > model.capacity + pool.model.available:
            raise OperationFailed("Not enough space left in storage pool", domain=DOMAIN)
        before = model.allocation
        async with self._working(pool, volume):
            backend = self.backend(pool.model.type)
            await backend.resize(pool.model, model, wanted, flags, self.folders())
            await self.measure(pool, volume)
        pool.use(model.allocation - before)

    def storage_vol_wipe(self, vol: NonnullStorageVol, flags: int) -> Deferred[None]:
        """Overwrite a volume with zeros."""
        return Deferred.fromCoroutine(self._wipe(vol, c.VIR_STORAGE_VOL_WIPE_ALG_ZERO, flags))

    def storage_vol_wipe_pattern(self, vol: NonnullStorageVol, algorithm: int, flags: int) -> Deferred[None]:
        """Overwrite a volume by an algorithm."""
        return Deferred.fromCoroutine(self._wipe(vol, algorithm, flags))

    async def _wipe(self, vol: NonnullStorageVol, algorithm: int, flags: int) -> None:
        check_flags(flags, 0, "storageVolWipePattern", DOMAIN)
        if algorithm >= c.VIR_STORAGE_VOL_WIPE_ALG_LAST:
            raise InvalidArg(f"wiping algorithm {algorithm} not supported", domain=DOMAIN)
        pool, volume = self.found(vol)
        self.check_free(volume)
        async with self._working(pool, volume):
            await self.backend(pool.model.type).wipe(pool.model, volume.model, algorithm)
            await self.measure(pool, volume)

    async def storage_vol_download(
        self, vol: NonnullStorageVol, offset: int, length: int, flags: int
    ) -> StreamResult[None]:
        """Open a stream of a volume's bytes."""
        sparse = c.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM
        check_flags(flags, sparse, "storageVolDownload", DOMAIN)
        pool, volume = self.found(vol)
        self.check_complete(volume)
        file = await self.backend(pool.model.type).open(pool.model, volume.model, write=False)
        return StreamResult(
            Download(
                file, offset, length, _nothing, where=pool.model.path or "", sparse=bool(flags & sparse)
            ),
            None,
        )

    async def storage_vol_upload(
        self, vol: NonnullStorageVol, offset: int, length: int, flags: int
    ) -> StreamResult[None]:
        """Open a stream that overwrites a volume's bytes; the pool is looked at again when it ends."""
        check_flags(flags, c.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, "storageVolUpload", DOMAIN)
        pool, volume = self.found(vol)
        self.check_free(volume)
        volume.uses += 1
        try:
            file = await self.backend(pool.model.type).open(pool.model, volume.model, write=True)
        except BaseException:
            volume.uses -= 1
            raise

        def over() -> Deferred[None]:
            volume.uses -= 1
            return Deferred.fromCoroutine(self._after_upload(pool)).addErrback(
                lambda failure: log.failure("{pool} could not be looked at", failure, pool=pool.name)
            )

        return StreamResult(Upload(file, offset, length, over, where=pool.model.path or ""), None)

    async def _after_upload(self, pool: PoolRecord) -> None:
        """Look at a pool again, unless it has stopped or gone, or somebody works on its volumes."""
        if self.pools.by_uuid.get(pool.uuid) is not pool:
            return
        try:
            async with self.turn(pool.ref) as found:
                if found.active and not found.jobs:
                    await self.look_again(found)
        except NoStoragePool:
            return  # it has gone while we waited
        except VirError as error:
            log.error("pool {name!r} has stopped: {error}", name=pool.name, error=error)


def _nothing() -> None:
    """Do nothing at the end of a stream."""
