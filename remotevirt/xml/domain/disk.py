"""``<disk>``: hard disks, CD-ROM drives, floppies and LUNs."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, NoTarget, XmlError
from remotevirt.xml.domain.address import BootableInfo
from remotevirt.xml.domain.backing import BackingStore
from remotevirt.xml.domain.storage import (
    FORMATS,
    STORAGE_TYPES,
    Auth,
    Encryption,
    StorageSource,
    read_source,
)
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    flag,
    hook,
    inline,
    leaf,
    nested_attribute,
)
from remotevirt.xml.sizes import sized
from remotevirt.xml.values import Choice, Integer, Text, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import Tag

__all__ = ["Disk", "DiskTarget", "disk_index"]

BUSES = "ide fdc scsi virtio xen usb uml sata sd"
_PREFIXES = ("fd", "hd", "vd", "sd", "xvd", "ubd")
_BUS_OF_PREFIX = {"hd": "ide", "sd": "scsi", "vd": "virtio", "xvd": "xen", "ubd": "uml"}


def split_target(name: str) -> tuple[str, str]:
    """The prefix of a disk's name in the guest (``vd``) and the rest, both empty for an unknown one."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return prefix, name[len(prefix) :]
    return "", ""


def disk_index(name: str) -> int:
    """The number of a disk by its name in the guest: 0 for ``vda``, 26 for ``vdaa``; -1 if it has none.

    Digits after the letters name a partition and do not count.
    """
    rest = split_target(name)[1]
    letters = rest.rstrip("0123456789")
    if (
        not letters
        or len(letters) > 6
        or not letters.isascii()
        or not (letters.isalpha() and letters.islower())
    ):
        return -1
    if rest[len(letters) :].startswith("0") and len(rest) - len(letters) > 1:
        return -1
    number = 0
    for position, letter in enumerate(letters):
        number = (number + (1 if position else 0)) * 26 + ord(letter) - ord("a")
    return number


@attrs.define
class VirtioOptions(Model):
    """Switches of any virtio device."""

    iommu: bool | None = attribute("iommu", on_off())
    ats: bool | None = attribute("ats", on_off())
    packed: bool | None = attribute("packed", on_off())
    page_per_vq: bool | None = attribute("page_per_vq", on_off())


@attrs.define
class VirtioDriver(Model):
    """A ``<driver>`` with nothing but those."""

    TAG: ClassVar[str] = "driver"
    options: VirtioOptions = inline(VirtioOptions)


@attrs.define
class MetadataCache(Model):
    TAG: ClassVar[str] = "metadata_cache"
    max_size: int | None = sized("max_size", path="./max_size", unit="bytes", scale=1)


@attrs.define
class DiskDriver(Model):
    TAG: ClassVar[str] = "driver"
    name: str | None = attribute("name")
    type: str | None = attribute(
        "type",
        Choice(
            FORMATS.replace("aio", ""), silent="aio", refusal=unsupported("unknown driver format value '{}'")
        ),
    )
    cache: str | None = attribute(
        "cache", Choice("none writethrough writeback directsync unsafe", silent="default")
    )
    error_policy: str | None = attribute("error_policy", Choice("stop report ignore enospace"))
    rerror_policy: str | None = attribute(
        "rerror_policy",
        Choice("stop report ignore", refusal=unsupported("Invalid disk read error policy: '{}'")),
    )
    io: str | None = attribute("io", Choice("native threads io_uring"))
    ioeventfd: bool | None = attribute("ioeventfd", on_off())
    event_idx: bool | None = attribute("event_idx", on_off())
    copy_on_read: bool | None = attribute("copy_on_read", on_off())
    discard: str | None = attribute("discard", Choice("unmap ignore"))
    iothread: int | None = attribute("iothread", Integer(zero="refused"))
    detect_zeroes: str | None = attribute("detect_zeroes", Choice("off on unmap"))
    queues: int | None = attribute("queues", Integer(zero="silent"))
    queue_size: int | None = attribute("queue_size", Integer(zero="silent"))
    virtio: VirtioOptions = inline(VirtioOptions)
    metadata_cache: MetadataCache | None = child(MetadataCache)

    def complete(self, source: Source, how: Reading) -> None:
        if source.get("type") == "aio":
            self.type = "raw"


@attrs.define
class Geometry(Model):
    TAG: ClassVar[str] = "geometry"
    cyls: int = attribute("cyls", Integer(), default=0)
    heads: int = attribute("heads", Integer(), default=0)
    secs: int = attribute("secs", Integer(), default=0)
    trans: str | None = attribute("trans", Choice("none auto lba", silent="default"))

    def print_into(self, parent: Tag, how: Printing) -> None:
        if self.cyls and self.heads and self.secs:
            super().print_into(parent, how)


@attrs.define
class BlockIo(Model):
    TAG: ClassVar[str] = "blockio"
    logical: int | None = attribute("logical_block_size", Integer(zero="silent"))
    physical: int | None = attribute("physical_block_size", Integer(zero="silent"))


@attrs.define
class DiskTarget(Model):
    """The disk's name in the guest and the bus it is on."""

    TAG: ClassVar[str] = "target"
    dev: str | None = attribute("dev", Text(empty=True))
    bus: str | None = attribute("bus", Choice(BUSES))
    tray: str | None = attribute("tray", Choice("closed open"))
    removable: bool | None = attribute("removable", on_off())
    rotation_rate: int | None = attribute("rotation_rate", Integer(zero="silent"))

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("dev", self.dev).set("bus", self.bus)
        if self.tray == "open":
            tag.set("tray", self.tray)
        if self.removable is not None:
            tag.set("removable", "on" if self.removable else "off")
        tag.set("rotation_rate", self.rotation_rate)


def _tune(name: str) -> Any:
    return leaf(
        name,
        Integer(
            bits=64,
            zero="silent",
            refusal=xml_error(f"disk iotune field '{name}' must be an integer"),
        ),
    )


@attrs.define
class IoTune(Model):
    """Limits of a disk's throughput; zero is none."""

    TAG: ClassVar[str] = "iotune"
    total_bytes_sec: int | None = _tune("total_bytes_sec")
    read_bytes_sec: int | None = _tune("read_bytes_sec")
    write_bytes_sec: int | None = _tune("write_bytes_sec")
    total_iops_sec: int | None = _tune("total_iops_sec")
    read_iops_sec: int | None = _tune("read_iops_sec")
    write_iops_sec: int | None = _tune("write_iops_sec")
    total_bytes_sec_max: int | None = _tune("total_bytes_sec_max")
    read_bytes_sec_max: int | None = _tune("read_bytes_sec_max")
    write_bytes_sec_max: int | None = _tune("write_bytes_sec_max")
    total_iops_sec_max: int | None = _tune("total_iops_sec_max")
    read_iops_sec_max: int | None = _tune("read_iops_sec_max")
    write_iops_sec_max: int | None = _tune("write_iops_sec_max")
    size_iops_sec: int | None = _tune("size_iops_sec")
    group_name: str | None = leaf("group_name")
    total_bytes_sec_max_length: int | None = _tune("total_bytes_sec_max_length")
    read_bytes_sec_max_length: int | None = _tune("read_bytes_sec_max_length")
    write_bytes_sec_max_length: int | None = _tune("write_bytes_sec_max_length")
    total_iops_sec_max_length: int | None = _tune("total_iops_sec_max_length")
    read_iops_sec_max_length: int | None = _tune("read_iops_sec_max_length")
    write_iops_sec_max_length: int | None = _tune("write_iops_sec_max_length")

    def check(self) -> None:
        """Refuse a limit of everything beside one of reading or writing; raises VirError."""
        for what in ("bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"):
            total = getattr(self, f"total_{what}")
            if total and (getattr(self, f"read_{what}") or getattr(self, f"write_{what}")):
                raise XmlError(
                    f"total and read/write {what} cannot be set at the same time", domain=VIR_FROM_DOMAIN
                )


@attrs.define
class Transient(Model):
    TAG: ClassVar[str] = "transient"
    KEEP: ClassVar[bool] = True
    share_backing: bool | None = attribute("shareBacking", yes_no())

    def complete(self, source: Source, how: Reading) -> None:
        if not self.share_backing:
            self.share_backing = None


def _read_storage(source: Source, how: Reading, model: Any) -> StorageSource | None:
    return read_source(model.type, source, how)


def _write_storage(value: StorageSource, how: Printing, model: Any) -> Tag | None:
    tag = value.element(how)
    return None if tag.is_bare() else tag


@attrs.define
class Disk(Model):
    """A disk of the guest."""

    TAG: ClassVar[str] = "disk"
    type: str = attribute("type", Choice(" ".join(STORAGE_TYPES)), default="file")
    device: str = attribute("device", Choice("disk cdrom floppy lun"), default="disk")
    model: str | None = attribute("model", Choice("virtio virtio-transitional virtio-non-transitional"))
    rawio: bool | None = attribute("rawio", yes_no())
    sgio: str | None = attribute("sgio", Choice("filtered unfiltered"))
    snapshot: str | None = attribute("snapshot", Choice("no internal external manual", silent="default"))
    driver: DiskDriver | None = child(DiskDriver)
    auth: Auth | None = child(Auth)
    source: StorageSource | None = hook(_read_storage, _write_storage)
    backing: BackingStore | None = child(BackingStore)
    backenddomain: str | None = nested_attribute("backenddomain/name")
    geometry: Geometry | None = child(Geometry)
    blockio: BlockIo | None = child(BlockIo)
    target: DiskTarget | None = child(DiskTarget)
    iotune: IoTune | None = child(IoTune)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    transient: Transient | None = child(Transient)
    serial: str | None = leaf("serial")
    wwn: str | None = leaf("wwn")
    vendor: str | None = leaf("vendor")
    product: str | None = leaf("product")
    encryption: Encryption | None = child(Encryption)
    info: BootableInfo = inline(BootableInfo)

    @property
    def dev(self) -> str:
        """The name in the guest."""
        return (self.target.dev if self.target else None) or ""

    @property
    def bus(self) -> str | None:
        """The bus it is on."""
        return self.target.bus if self.target else None

    def choose_bus(self) -> None:
        """Take the bus from the name in the guest, where none was given."""
        if self.target is not None and self.target.bus is None:
            prefix = split_target(self.dev)[0]
            self.target.bus = "fdc" if self.device == "floppy" else _BUS_OF_PREFIX.get(prefix, "ide")

    def source_is_empty(self) -> bool:
        """Whether there is no medium in it."""
        return self.source is None or (self.type not in {"network", "volume"} and self.source.place() is None)

    def complete(self, source: Source, how: Reading) -> None:
        target = self.target
        if target is None or target.dev is None:
            raise NoTarget(self.source.told() if self.source is not None else None, domain=VIR_FROM_DOMAIN)
        target.dev = target.dev.removeprefix("ioemu:")
        extra = getattr(self.source, "extra", None)
        for name in ("auth", "encryption"):
            if getattr(self, name) is not None and getattr(extra, name, None) is not None:
                text = f"an <{name}> definition already found for disk source"
                raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
        if self.device == "cdrom":
            self.readonly = True
        if self.type == "vhostuser":
            self.snapshot = self.snapshot or "no"
