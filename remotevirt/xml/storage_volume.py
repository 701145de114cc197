"""The storage volume document."""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.xml.domain.secret import Encryption
from remotevirt.xml.fields import Printing, Reading
from remotevirt.xml.parse import Element, parse_document, text_of
from remotevirt.xml.permissions import Permissions
from remotevirt.xml.pool_source import refused, unsupported
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import parse_integer, parse_scaled
from remotevirt.xml.write import Tag, leaf, render

__all__ = [
    "BackingFile",
    "Timestamps",
    "VolumeModel",
    "format_volume",
    "parse_volume",
    "read_volume",
    "volume_kind",
]

FILE_FORMATS: Final = (
    *("raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop"),
    *("cow", "qcow", "qcow2", "qed", "vmdk"),
)
DISK_FORMATS: Final = ("none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended")
FORMATS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("dir", "fs", "netfs", "gluster", "rbd", "vstorage"), FILE_FORMATS),
    "disk": DISK_FORMATS,
}
"""By the type of the pool, the default first; volumes of other pools have none."""

FEATURES: Final = ("lazy_refcounts", "extended_l2")
TYPES: Final = ("file", "block", "dir", "network", "netdir", "ploop")
KINDS: Final = {
    **dict.fromkeys(("dir", "fs", "netfs", "vstorage"), c.VIR_STORAGE_VOL_FILE),
    **dict.fromkeys(("rbd", "sheepdog", "gluster", "iscsi-direct"), c.VIR_STORAGE_VOL_NETWORK),
}

LARGEST: Final = 2**64 - 1
"""The largest number that is one at all; of bytes a volume has at most half as many."""

_COMPAT = re.compile(r"[0-9.]*")


def volume_kind(pool: str) -> int:
    """Return the virStorageVolType of the volumes in a pool of a type."""
    return KINDS.get(pool, c.VIR_STORAGE_VOL_BLOCK)


@attrs.frozen
class Timestamps:
    """When a file was read, written and changed: nanoseconds since 1970. libvirt never knows its birth."""

    read: int
    written: int
    changed: int

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("timestamps")
        for name, value in (("atime", self.read), ("mtime", self.written), ("ctime", self.changed)):
            seconds, rest = divmod(value, 10**9)
            made.add(leaf(name, f"{seconds}.{rest:09}" if rest else seconds))
        made.add(leaf("btime", 0))
        return made


@attrs.define
class BackingFile:
    """What a volume is based on; ``timestamps`` are what somebody saw who looked."""

    path: str
    format: str | None
    permissions: Permissions
    timestamps: Timestamps | None = None


@attrs.define
class VolumeModel:
    """A volume; sizes in bytes. ``key`` and ``path`` are as read: what counts is up to the pool.

    ``physical`` (0 is not said) and ``timestamps`` are never read: they are of what somebody found on a disk.
    """

    name: str
    capacity: int
    allocation: int
    type: str = "file"
    key: str = ""
    path: str = ""
    format: str | None = None
    permissions: Permissions = attrs.field(factory=Permissions)
    encryption: Encryption | None = None
    compat: str | None = None
    features: tuple[str, ...] | None = None
    cluster_size: int = 0
    backing: BackingFile | None = None
    physical: int = 0
    timestamps: Timestamps | None = None

    @classmethod
    def read(cls, element: Element, pool: str) -> VolumeModel:
        """Read a volume of a pool of a type; raises VirError."""
        formats = FORMATS.get(pool, ())
        found = element.find("name")
        name = "" if found is None else text_of(found)
        if not name:
            raise refused("missing volume name element")
        kind = element.get("type") or "file"
        if kind not in TYPES:
            raise unsupported(f"unknown volume type '{kind}'")
        backing = _read_backing(element, formats)
        capacity = _size(element, "capacity")
        if capacity is None:
            raise refused("missing capacity element")
        allocation = _size(element, "allocation")
        model = cls(name, capacity, capacity if allocation is None else allocation, kind, backing=backing)
        model.key = _text(element, "key")
        model.path = _text(element, "target/path")
        model.format = _read_format(element.find("target/format"), formats)
        model.permissions = Permissions.read(element.find("target/permissions"))
        found = element.find("target/encryption")
        model.encryption = None if found is None else Encryption.read(found, Reading())
        model._read_compat(element)
        return model

    def _read_compat(self, element: Element) -> None:
        compat = _text(element, "target/compat")
        if not _COMPAT.fullmatch(compat):
            raise refused("forbidden characters in 'compat' attribute")
        self.compat = compat or None
        size = element.find("target/clusterSize")
        text = "" if size is None else text_of(size)
        if size is not None and text:
            self.cluster_size = parse_scaled(
                text, size.get("unit"), path="./target/clusterSize", default=1, high=LARGEST
            )
        if element.find("target/features") is None:
            return
        self.compat = self.compat or "1.1"
        named = set()
        for feature in element.iterfind("target/features/*"):
            if feature.tag not in FEATURES:
                raise unsupported(f"unsupported feature {feature.tag}")
            named.add(feature.tag)
        self.features = tuple(feature for feature in FEATURES if feature in named)

    def element(self) -> Tag:
        """Return the document's root."""
        made = Tag("volume").set("type", self.type)
        made.add(leaf("name", self.name))
        made.add(leaf("key", self.key))
        made.add(leaf("capacity", self.capacity).set("unit", "bytes"))
        made.add(leaf("allocation", self.allocation).set("unit", "bytes"))
        if self.physical:
            made.add(leaf("physical", self.physical).set("unit", "bytes"))
        target = _target("target", self.path, self.format, self.permissions, self.timestamps)
        if self.encryption is not None:
            self.encryption.print_into(target, Printing(secure=True))
        if self.compat is not None:
            target.add(leaf("compat", self.compat))
        if self.cluster_size:
            target.add(leaf("clusterSize", self.cluster_size).set("unit", "B"))
        if self.features is not None:
            features = Tag("features")
            features.children.extend(Tag(feature) for feature in self.features)
            target.add(features)
        made.add(target)
        if self.backing is not None:
            backing = self.backing
            made.add(
                _target("backingStore", backing.path, backing.format, backing.permissions, backing.timestamps)
            )
        return made


def _target(
    name: str, path: str, kind: str | None, permissions: Permissions, timestamps: Timestamps | None
) -> Tag:
    made = Tag(name, hold=True)
    made.add(leaf("path", path))
    if kind is not None:
        made.add(Tag("format").set("type", kind))
    tag = permissions.tag()
    if tag:
        made.add(tag)
    if timestamps is not None:
        made.add(timestamps.tag())
    return made


def _read_format(found: Element | None, formats: tuple[str, ...]) -> str | None:
    text = None if found is None else found.get("type")
    if not text or not formats:
        return formats[0] if formats else None
    if text not in formats:
        raise unsupported(f"unknown volume format type {text}")
    return str(text)


def _read_backing(element: Element, formats: tuple[str, ...]) -> BackingFile | None:
    path = _text(element, "backingStore/path")
    if not path:
        return None
    kind = _read_format(element.find("backingStore/format"), formats)
    return BackingFile(path, kind, Permissions.read(element.find("backingStore/permissions")))


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else text_of(found)


def _size(element: Element, name: str) -> int | None:
    """Return the bytes of a child that holds a size; None if there is none, or it is empty."""
    found = element.find(name)
    text = "" if found is None else text_of(found)
    if found is None or not text:
        return None
    if parse_integer(text, high=LARGEST) is None:
        raise _malformed()
    return parse_scaled(text, found.get("unit"), path=f"./{name}", default=1)


def _malformed() -> VirError:
    return refused("malformed capacity element")


def parse_volume(text: str, pool: str, *, validate: bool = False) -> VolumeModel:
    """Read the document of a volume.

    Args:
        text: the document.
        pool: the type of the pool that it is in.
        validate: refuse what libvirt's schema does not know.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    place = "(storage_volume_definition)"
    root = parse_document(text, root="volume", source=place, domain=c.VIR_FROM_STORAGE)
    if validate:
        validate_document(root, SCHEMAS / "storagevol.rng")
    return read_volume(root, pool)


def read_volume(element: Element, pool: str) -> VolumeModel:
    """Read a volume that stands inside another document; raises VirError."""
    return VolumeModel.read(element, pool)


def format_volume(model: VolumeModel) -> str:
    """Print a volume, with a line end after it."""
    return render(model.element())
