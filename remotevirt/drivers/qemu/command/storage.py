"""Block nodes: an image and all that it is based on, each with the format that the configuration names.

No format is ever found out by looking into an image: a guest writes what it likes into a raw one, and an
image that looks like qcow2 can name any file of the host as its base. So the whole chain is spelled out, and
its end is too. Two nodes stand for each image: ``libvirt-N-storage`` is the file, and
``libvirt-N-format`` what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.command.parts import GuestFile, NeededSecret, Part
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.backing import BackingStore
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.secret import Encryption
from remotevirt.xml.domain.storage import BlockSource, FileSource, SourceExtra, StorageSource, VolumeSource

__all__ = ["_WITH_BASE", "Image", "block_parts", "images_of", "node_of", "number_disk", "number_images"]

_WITH_BASE: Final = frozenset(("qcow2", "qcow", "qed", "vmdk"))
"""Formats whose images can be based on another."""

_FORMATS: Final = {
    **{
        name: name
        for name in ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", "bochs", "cloop", "dmg")
    },
    "iso": "raw",
}
"""QEMU's block drivers by format."""


@attrs.frozen
class Image:
    """One image of a chain.

    Attributes:
        source: where it is.
        format: what is in it.
        index: the number in its nodes' names; None if it was given none yet.
        encryption: how it is encrypted.
        top: the guest writes to it; the others are only read.
        ends: there is nothing below it, and the configuration says so.
    """

    source: FileSource | BlockSource
    format: str
    index: int | None
    encryption: Encryption | None = None
    top: bool = False
    ends: bool = False

    @property
    def storage(self) -> str:
        """The name of the file's node."""
        return f"libvirt-{self._number()}-storage"

    @property
    def node(self) -> str:
        """The name of the node of what is in the file."""
        return f"libvirt-{self._number()}-format"

    def _number(self) -> int:
        if self.index is None:
            raise InternalError(f"image '{self.source.place()}' was given no number", domain=c.VIR_FROM_QEMU)
        return self.index


def number_images(model: DomainModel, first: int = 1) -> int:
    """Give each image of all disks its number, as libvirt does; returns the next free one.

    Disks are numbered from the last to the first, an empty drive takes a number as well.
    """
    for disk in reversed(model.devices.disks):
        first = number_disk(disk, first)
    return first


def number_disk(disk: Disk, first: int) -> int:
    """Give each image of a disk its number, from the top down; returns the next free one."""
    extra = _extra(disk.source)
    if extra is not None:
        extra.index = first
    first += 1
    below = disk.backing
    while below is not None and below.type is not None:
        below.index = first
        first += 1
        below = below.backing
    return first


def _extra(source: StorageSource | None) -> SourceExtra | None:
    found: SourceExtra | None = getattr(source, "extra", None)
    return found


def _checked(source: StorageSource | None) -> FileSource | BlockSource:
    if isinstance(source, VolumeSource) and source.found is not None:
        found, source = source, source.found.copy()
        source.extra = found.extra
    if isinstance(source, FileSource | BlockSource) and source.place() is not None:
        if isinstance(source, FileSource) and source.fdgroup is not None:
            raise unsupported("file descriptor groups are not supported")
        return source
    kind = type(source).__name__.removesuffix("Source").lower()
    raise unsupported(f"storage of type '{kind}' is not supported by this driver")


def images_of(disk: Disk) -> Iterator[Image]:
    """Yield the images of a disk, from the top down; none for an empty drive. Raises VirError."""
    if disk.source_is_empty():
        return
    source = _checked(disk.source)
    format = (disk.driver.type if disk.driver is not None else None) or "raw"
    extra = source.extra
    below: BackingStore | None = disk.backing
    yield Image(
        source,
        format,
        extra.index,
        extra.encryption or disk.encryption,
        top=True,
        ends=below is not None and below.type is None,
    )
    while below is not None and below.type is not None:
        if below.format is None:
            raise unsupported("the format of a backing image is not known")
        source = _checked(below.source)
        next_one = below.backing
        yield Image(
            source,
            below.format.type,
            below.index,
            source.extra.encryption,
            ends=next_one is not None and next_one.type is None,
        )
        below = next_one


def node_of(disk: Disk) -> str | None:
    """Return the name of the node that the device of a disk is backed by, None for an empty drive."""
    top = next(images_of(disk), None)
    if top is None:
        return None
    if disk.driver is not None and disk.driver.copy_on_read:
        return f"libvirt-CoR-{disk.dev}"
    return top.node


def block_parts(setting: Setting, disk: Disk) -> list[Part]:
    """Return the block nodes of a disk, from the bottom of its chain to the top.

    They serve a disk that is plugged in and a medium that is put into a drive alike.

    Raises:
        VirError: the chain is not known to its end, or has what cannot be.
    """
    images = list(images_of(disk))
    parts: list[Part] = []
    base: Image | None = None
    for image in reversed(images):
        parts += _image_parts(setting, disk, image, base)
        base = image
    if base is not None and disk.driver is not None and disk.driver.copy_on_read:
        if _read_only(disk):
            raise unsupported("copy_on_read is not compatible with read-only disk")
        parts.append(
            Part(
                "blockdev",
                {
                    "driver": "copy-on-read",
                    "node-name": f"libvirt-CoR-{disk.dev}",
                    "file": base.node,
                    "discard": "unmap",
                },
            )
        )
    return parts


def _read_only(disk: Disk) -> bool:
    return disk.readonly or disk.device == "cdrom"


def _cache(disk: Disk) -> dict[str, Any]:
    mode = disk.driver.cache if disk.driver is not None else None
    if mode is None:
        return {}
    return {"cache": {"direct": mode in {"none", "directsync"}, "no-flush": mode == "unsafe"}}


def _image_parts(setting: Setting, disk: Disk, image: Image, base: Image | None) -> list[Part]:
    _check_image(setting, image, base)
    driver = disk.driver
    path = image.source.place() or ""
    block = isinstance(image.source, BlockSource)
    writable = image.top and not _read_only(disk)
    kind = "file"
    if block:
        kind = "host_cdrom" if disk.device == "cdrom" and image.top else "host_device"
    file: dict[str, Any] = {"driver": kind, "filename": path}
    if driver is not None and driver.io is not None:
        if driver.io == "native" and driver.cache not in {"none", "directsync"}:
            raise unsupported(
                "native I/O needs either no disk cache or directsync cache mode,"
                " QEMU will fallback to aio=threads"
            )
        file["aio"] = driver.io
    file["node-name"] = image.storage
    file |= {**_cache(disk), "auto-read-only": True, "discard": "unmap"}
    layer: dict[str, Any] = {"node-name": image.node, "read-only": not writable}
    if driver is not None and driver.discard is not None:
        layer["discard"] = driver.discard
    if image.top and driver is not None and driver.detect_zeroes is not None:
        # QEMU refuses to turn zeroes into holes where holes may not be made.
        wanted = driver.detect_zeroes
        layer["detect-zeroes"] = "on" if wanted == "unmap" and driver.discard != "unmap" else wanted
    layer |= _cache(disk)
    secret, locks = _encryption(setting, image)
    layer |= locks if locks.get("driver") == "luks" else {"driver": _FORMATS[image.format], **locks}
    if (
        driver is not None
        and driver.metadata_cache is not None
        and driver.metadata_cache.max_size is not None
    ):
        if image.format != "qcow2":
            raise unsupported("metadata_cache is only supported for qcow2 images")
        layer["cache-size"] = driver.metadata_cache.max_size
    layer["file"] = image.storage
    if base is not None:
        layer["backing"] = base.node
    elif image.format in _WITH_BASE and image.ends:
        layer["backing"] = None
    shared = disk.shareable or not writable
    opened = GuestFile(path, writable=writable, shared=shared, block=block)
    return [*secret, Part("blockdev", file, files=(opened,)), Part("blockdev", layer)]


def _check_image(setting: Setting, image: Image, base: Image | None) -> None:
    path = image.source.place()
    if image.format not in _FORMATS:
        raise unsupported(f"unsupported disk format '{image.format}' of image '{path}'")
    if base is not None and image.format not in _WITH_BASE:
        raise unsupported(f"image '{path}' of format '{image.format}' cannot have a backing image")
    known = base is not None or image.ends
    if image.format in _WITH_BASE and not known and not setting.surroundings.preview:
        raise unsupported(f"the backing chain of image '{path}' is not known")
    extra = image.source.extra
    if extra.slices is not None and extra.slices.slices:
        raise unsupported("slices of images are not supported")
    if extra.reservations is not None:
        raise unsupported("reservations not supported with this QEMU binary")
    if extra.auth is not None:
        raise unsupported("authentication is only supported for network storage")


def _encryption(setting: Setting, image: Image) -> tuple[list[Part], dict[str, Any]]:
    """The object that holds the passphrase, and what it adds to the node."""
    encryption = image.encryption
    if encryption is None:
        return [], {}
    if encryption.format != "luks" or image.format not in {"raw", "qcow2"}:
        raise unsupported(
            f"encryption format '{encryption.format}' of a '{image.format}' image is not supported"
        )
    if encryption.engine not in {None, "qemu"}:
        raise unsupported(f"encryption engine '{encryption.engine}' is not supported")
    if len(encryption.secrets) != 1:
        raise unsupported("exactly one secret is needed for an encrypted image")
    secret = encryption.secrets[0]
    name = f"{image.node}-encryption-secret0"
    path = f"{setting.surroundings.folder}/{name}"
    needed = NeededSecret(name, path, secret.uuid, secret.usage)
    part = Part(
        "object",
        {"qom-type": "secret", "id": name, "format": "raw", "file": path},
        secrets=(needed,),
    )
    if image.format == "raw":
        return [part], {"driver": "luks", "key-secret": name}
    return [part], {"encrypt": {"format": "luks", "key-secret": name}}
