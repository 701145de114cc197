"""Calls about disks: sizes, counts, errors, thresholds, and a look into them and into the memory."""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import Any, Final

import attrs

from remotevirt.drivers.disk_threads import Stop, in_thread, surely_in_thread
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS
from remotevirt.drivers.faults import argument_error, too_large
from remotevirt.drivers.qemu.access import check_place
from remotevirt.drivers.qemu.block_figures import BlockFigures, block_figures
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.command import block_id, images_of, node_of
from remotevirt.drivers.qemu.disks import FileSizes, device_of, disk_named, file_sizes
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.launching import forget_secrets
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.storage.chains import read_facts
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    InternalError,
    InvalidArg,
    OperationUnsupported,
    Overflow,
    VirSystemError,
)
from remotevirt.stubs.remote import DomainDiskError, NonnullDomain
from remotevirt.stubs.remote.domain import (
    DomainBlockStatsFlagsRet,
    DomainBlockStatsRet,
    DomainGetBlockInfoRet,
    DomainGetDiskErrorsRet,
)
from remotevirt.typed_params import llong
from remotevirt.xml.domain.disk import Disk

__all__ = ["BlockCalls", "measure"]

MAX_PEEK: Final = 4194304
"""Bytes that one call may ask for: REMOTE_DOMAIN_MEMORY_PEEK_BUFFER_MAX, and the same for disks."""

MAX_DISK_ERRORS: Final = 256
"""REMOTE_DOMAIN_DISK_ERRORS_MAX."""

MAX_KIB: Final = 2**64 // 1024 - 1
"""The largest size in KiB whose number of bytes fits."""

ERRORS: Final = {
    "failed": c.VIR_DOMAIN_DISK_ERROR_UNSPEC,
    "nospace": c.VIR_DOMAIN_DISK_ERROR_NO_SPACE,
}
"""QEMU's words for what went wrong with a disk: virDomainDiskErrorCode."""

NONE: Final = BlockFigures()
"""Of a guest without disks."""

_IMAGE: Final = re.compile(r"(?P<disk>[^\[\]]+)(?:\[(?P<number>\d{1,9})\])?\Z")
"""A disk, or one image of its chain: ``vda[3]``."""


class BlockCalls(QemuCalls):
    """Calls about the disks of a domain."""

    async def domain_get_block_info(self, dom: NonnullDomain, path: str, flags: int) -> DomainGetBlockInfoRet:
        """Return a disk's size as the guest sees it, as it is stored, and how much is written, in bytes."""
        if not path:
            function = "virDomainGetBlockInfo"
            raise argument_error(function, "disk", f"string disk in {function} must not be empty")
        self.check_flags(flags, 0, "DomainGetBlockInfo")
        record = self.record(dom)
        disk = disk_named(record.live, path, f"invalid path {path} not assigned to domain")
        if disk.source is None or disk.source_is_empty():
            text = f"disk '{disk.dev}' does not currently have a source assigned"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        place, kind = disk.source.place() or "", _format(disk)
        guest = record.guest if record.active else None
        if guest is None:
            sizes, capacity = await in_thread(
                os.path.dirname(place), lambda stop: measure(place, kind, self.world.settings)
            )
            return DomainGetBlockInfoRet(sizes.allocated, capacity, sizes.physical)
        image = (await device_of(guest, disk)).get("inserted")
        size = image.get("image", {}).get("virtual-size") if isinstance(image, dict) else None
        figures = (await block_figures(guest)).get(disk.info.alias or "")
        sizes = await in_thread(os.path.dirname(place), lambda stop: _sizes(place, self.world.settings))
        capacity = size if isinstance(size, int) and 0 <= size < 2**63 else sizes.physical
        if kind == "raw" and sizes.is_file:
            allocated = sizes.allocated
        else:
            written, stored = (figures.highest_write, figures.physical) if figures is not None else (0, 0)
            allocated = written or stored or sizes.physical
        return DomainGetBlockInfoRet(allocated, capacity, sizes.physical)

    async def _figures(self, dom: NonnullDomain, path: str) -> BlockFigures:
        """Return what a guest has done to a disk, or with an empty name to all of them."""
        record = self.record(dom)
        guest = self.guest(record)
        alias = None
        if path:
            alias = disk_named(record.live, path, f"invalid path: {path}").info.alias or ""
        found = await block_figures(guest)
        if alias is None:
            disks = (disk.info.alias for disk in record.live.model.devices.disks)
            columns = zip(*(attrs.astuple(found.get(name or "", NONE)) for name in disks), strict=True)
            return BlockFigures(*map(sum, columns))
        if alias not in found:
            raise InternalError(f"cannot find statistics for device '{alias}'", domain=c.VIR_FROM_QEMU)
        return found[alias]

    async def domain_block_stats(self, dom: NonnullDomain, path: str) -> DomainBlockStatsRet:
        """Return operations and bytes of a disk; errors are not counted."""
        found = await self._figures(dom, path)
        return DomainBlockStatsRet(found.reads, found.read_bytes, found.writes, found.written_bytes, -1)

    async def domain_block_stats_flags(
        self, dom: NonnullDomain, path: str, nparams: int, flags: int
    ) -> DomainBlockStatsFlagsRet:
        """Return operations, bytes and times of a disk."""
        too_large(nparams, MAX_PARAMS, "nparams")
        self.check_flags(flags, STRINGS, "DomainBlockStatsFlags")
        found = await self._figures(dom, path)
        params = [
            llong(c.VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, found.written_bytes),
            llong(c.VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, found.writes),
            llong(c.VIR_DOMAIN_BLOCK_STATS_READ_BYTES, found.read_bytes),
            llong(c.VIR_DOMAIN_BLOCK_STATS_READ_REQ, found.reads),
            llong(c.VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, found.flushes),
            llong(c.VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES, found.write_time),
            llong(c.VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES, found.read_time),
            llong(c.VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES, found.flush_time),
        ]
        if nparams == 0:
            return DomainBlockStatsFlagsRet((), len(params))
        return DomainBlockStatsFlagsRet(params[:nparams], 0)

    async def domain_block_resize(self, dom: NonnullDomain, disk: str, size: int, flags: int) -> None:
        """Change the size of a disk: KiB, or bytes with VIR_DOMAIN_BLOCK_RESIZE_BYTES."""
        self.check_flags(flags, c.VIR_DOMAIN_BLOCK_RESIZE_BYTES, "DomainBlockResize")
        if not flags:
            if size > MAX_KIB:
                raise Overflow(f"size must be less than {MAX_KIB}", domain=c.VIR_FROM_QEMU)
            size *= 1024
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainBlockResize"):
            guest = self.guest(record)
            found = disk_named(record.live, disk, f"disk '{disk}' was not found in the domain config")
            if found.source_is_empty() or found.readonly:
                text = f"can't resize empty or readonly disk '{found.dev}'"
                raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
            if _format(found) in {"qcow2", "qed"}:
                size = -(-size // 512) * 512
            await guest.execute("block_resize", {"node-name": node_of(found), "size": size})

    async def domain_get_disk_errors(
        self, dom: NonnullDomain, maxerrors: int, flags: int
    ) -> DomainGetDiskErrorsRet:
        """Return which disks have failed, and how; with room for none, how many disks there are."""
        too_large(maxerrors, MAX_DISK_ERRORS, "maxerrors")
        self.check_flags(flags, 0, "DomainGetDiskErrors")
        record = self.record(dom)
        guest = self.guest(record)
        disks = record.live.model.devices.disks
        if maxerrors == 0:
            return DomainGetDiskErrorsRet((), len(disks))
        answer = await guest.execute("query-block")
        states: dict[Any, Any] = {}
        for one in objects_of(answer):
            if isinstance(one.get("io-status"), str):
                states[str(one.get("qdev"))] = one["io-status"]
        errors = [
            DomainDiskError(disk.dev, ERRORS[state])
            for disk in record.live.model.devices.disks
            if (state := states.get(_device(disk))) in ERRORS
        ][:maxerrors]
        return DomainGetDiskErrorsRet(errors, len(errors))

    async def domain_set_block_threshold(
        self, dom: NonnullDomain, dev: str, threshold: int, flags: int
    ) -> None:
        """Have it told once when a guest writes beyond a byte of an image: ``vda``, ``vda[3]``."""
        self.check_flags(flags, 0, "DomainSetBlockThreshold")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainSetBlockThreshold"):
            guest = self.guest(record)
            node = _storage_node(guest, dev)
            arguments = {"node-name": node, "write-threshold": threshold}
            await guest.execute("block-set-write-threshold", arguments)

    async def domain_block_peek(
        self, dom: NonnullDomain, path: str, offset: int, size: int, flags: int
    ) -> bytes:
        """Return bytes of a raw disk's file."""
        _check_peek(size)
        if not path:
            function = "virDomainBlockPeek"
            raise argument_error(function, "disk", f"string disk in {function} must not be empty")
        self.check_flags(flags, 0, "DomainBlockPeek")
        record = self.record(dom)
        disk = disk_named(record.live, path, f"disk '{path}' not found in domain")
        kind = "none" if disk.source_is_empty() else _format(disk)
        if kind != "raw" or disk.source is None:
            text = f"peeking is only supported for disk with 'raw' format not '{kind}'"
            raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
        place = disk.source.place() or ""
        return await in_thread(
            os.path.dirname(place), lambda stop: _peek(place, offset, size, path, self.world.settings)
        )

    async def domain_memory_peek(self, dom: NonnullDomain, offset: int, size: int, flags: int) -> bytes:
        """Return bytes of a guest's memory, at an address as its processor sees it or a physical one."""
        _check_peek(size)
        virtual, physical = c.VIR_MEMORY_VIRTUAL, c.VIR_MEMORY_PHYSICAL
        if flags & virtual and flags & physical:
            text = "Flags 'VIR_MEMORY_VIRTUAL' and 'VIR_MEMORY_PHYSICAL' are mutually exclusive"
            raise argument_error("virDomainMemoryPeek", "ctl", text)
        self.check_flags(flags, virtual | physical, "DomainMemoryPeek")
        record = self.record(dom)
        if not flags:
            text = "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainMemoryPeek"):
            guest = self.guest(record)
            command = "memsave" if flags == virtual else "pmemsave"
            # a name that nobody knows yet, in the guest's own folder, where only its QEMU can write
            path = f"{guest.folder}/peek-{secrets.token_hex(8)}"
            try:
                await guest.execute(command, {"val": offset, "size": size, "filename": path})
                return await in_thread(str(guest.folder), lambda stop: _read_bounded(path, size))
            finally:
                await surely_in_thread(str(guest.folder), lambda stop: forget_secrets([path]))


def _format(disk: Disk) -> str:
    return (disk.driver.type if disk.driver is not None else None) or "raw"


def _device(disk: Disk) -> str:
    return block_id(disk) if disk.info.alias else ""


def _storage_node(guest: Guest, dev: str) -> str:
    """Return the node of the file of an image; raises InvalidArg."""
    said = _IMAGE.match(dev)
    disk = guest.record.live.disk(said["disk"]) if said is not None else None
    if said is not None and disk is not None:
        number = said["number"]
        for image in images_of(disk):
            if number is None or image.index == int(number):
                return image.storage
    raise InvalidArg(f"failed to find disk '{dev}'", domain=c.VIR_FROM_QEMU)


def _check_peek(size: int) -> None:
    """Bound the answer as libvirt's daemon does."""
    if size > MAX_PEEK:
        raise InternalError("size > maximum buffer size", domain=c.VIR_FROM_RPC)


def _failed(text: str, error: OSError) -> VirSystemError:
    return VirSystemError(f"{text}: {error.strerror}", domain=c.VIR_FROM_QEMU, int1=error.errno or 0)


def _sizes(place: str, settings: Settings) -> FileSizes:
    try:
        return file_sizes(check_place(place, settings))
    except OSError as error:
        raise _failed(f"cannot stat file '{place}'", error) from error


def measure(place: str, kind: str, settings: Settings) -> tuple[FileSizes, int]:
    """Return the sizes of an image that is not in use, and what its header says is its capacity."""
    sizes = _sizes(place, settings)
    if kind == "raw":
        return sizes, sizes.physical
    facts, size = read_facts(Stop(), check_place(place, settings))
    return sizes, size if facts.format != kind or facts.capacity is None else facts.capacity


def _peek(place: str, offset: int, size: int, name: str, settings: Settings) -> bytes:
    """Read bytes of a file; in a thread."""
    real = check_place(place, settings)
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            if offset + size > end:
                text = f"'{name}' starting from {offset} has only {max(end - offset, 0)} bytes available"
                raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failed(f"cannot read '{place}'", error) from error


def _read_bounded(path: str, size: int) -> bytes:
    """Read what QEMU has written into a file, which must be one; in a thread."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InternalError("QEMU has written no file", domain=c.VIR_FROM_QEMU)
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failed("failed to read temporary file", error) from error
