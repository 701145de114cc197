"""What a qcow2 image is based on, where the configuration does not say: read from its header, format and all.

Only the header of an image whose format is known to be qcow2 is read, and it must name its base's format: a base
whose format would have to be guessed is refused, for the reasons that :mod:`.storage` gives. The base must be a
plain file or block device: nothing that names a protocol or another of QEMU's drivers gets through.

The header (all numbers big-endian)::

    0   "QFI\\xfb"          8   u64 offset of the base's name     16  u32 its length
    4   u32 version        100 u32 length of the header (version 3; 72 in version 2)
    then extensions:  u32 kind, u32 length, content, padded to 8 bytes; kind 0 ends them
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from remotevirt.drivers.qemu.command.setting import unsupported
from remotevirt.drivers.qemu.command.storage import images_of
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, VirSystemError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.backing import MAX_BACKING, BackingStore, Format
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.storage import BlockSource, FileSource

__all__ = ["Base", "complete_chain", "complete_chains", "read_base"]

MAX_HEADER: Final = 65536
"""Bytes at the start of an image that are looked at: a cluster. QEMU has the header end in the first."""

MAX_NAME: Final = 1023
"""The longest name of a base, as in QEMU."""

_START: Final = struct.Struct(">4sIQI")
_EXTENSION: Final = struct.Struct(">II")
_MAGIC: Final = b"QFI\xfb"
_FORMAT_KIND: Final = 0xE2792ACA
"""The extension that holds the base's format."""

_PROTOCOL: Final = re.compile(r"[A-Za-z0-9+.-]+:")
"""How a name begins that is not a path."""

_ALIASES: Final = {"host_device": "raw", "file": "raw"}
"""Names of protocols that old tools wrote for a format."""


@attrs.frozen
class Base:
    """What an image is based on: an absolute path and a format."""

    path: str
    format: str


def read_base(path: str) -> Base | None:
    """Return what a qcow2 image is based on, None for nothing. It blocks.

    Raises:
        VirError: it cannot be read, is no qcow2 image, or says something that cannot be followed.
    """
    try:
        with open(path, "rb") as image:
            head = image.read(MAX_HEADER)
    except OSError as error:
        text = f"Cannot access storage file '{path}': {error.strerror}"
        raise VirSystemError(message=text, domain=c.VIR_FROM_STORAGE) from error
    if len(head) < _START.size or not head.startswith(_MAGIC):
        raise InternalError(f"image '{path}' is not of format qcow2", domain=c.VIR_FROM_STORAGE)
    _, version, offset, size = _START.unpack_from(head)
    if not offset:
        return None
    if size > MAX_NAME or not size or offset + size > len(head):
        raise InternalError(f"the header of image '{path}' is damaged", domain=c.VIR_FROM_STORAGE)
    name = os.fsdecode(head[offset : offset + size])
    format = _base_format(head[:offset], version)
    if format is None:
        text = f"format of backing image '{name}' of image '{path}' was not specified in the image metadata"
        raise unsupported(text)
    name = name.removeprefix("file:") if name.startswith("file:") else name
    if _PROTOCOL.match(name) or "\0" in name:
        raise unsupported(f"backing image '{name}' of image '{path}' is not a file")
    return Base(os.path.join(os.path.dirname(path), name), format)


def _base_format(head: bytes, version: int) -> str | None:
    """The format among a header's extensions."""
    place = 72
    if version >= 3 and len(head) >= 104:
        place = int(struct.unpack_from(">I", head, 100)[0])
    while place + _EXTENSION.size <= len(head):
        kind, size = _EXTENSION.unpack_from(head, place)
        if not kind:
            return None
        place += _EXTENSION.size
        if kind == _FORMAT_KIND:
            text = head[place : place + size].decode("ascii", "replace")
            return _ALIASES.get(text, text)
        place += -(-size // 8) * 8
    return None


def complete_chains(model: DomainModel) -> None:
    """Say of all disks what their images are based on. It blocks: keep it off the reactor.

    Raises:
        VirError: an image cannot be read, or followed.
    """
    for disk in model.devices.disks:
        complete_chain(disk)


def complete_chain(disk: Disk, read: Callable[[str], Base | None] = read_base) -> None:
    """Say what a disk's images are based on, from where its configuration ends. It blocks.

    A chain that the configuration ends itself (an empty ``<backingStore>``) stays as it is.

    Args:
        disk: the disk; its ``backing`` grows.
        read: an image's path -> its base.

    Raises:
        VirError: an image cannot be read, or followed; or the chain is too long.
    """
    images = list(images_of(disk))
    if not images or images[-1].ends:
        return
    last: Disk | BackingStore = disk
    while last.backing is not None and last.backing.type is not None:
        last = last.backing
    path, format = images[-1].source.place() or "", images[-1].format
    for _ in range(MAX_BACKING - len(images)):
        base = read(path) if format == "qcow2" else None
        last.backing = BackingStore() if base is None else _store(base)
        if base is None:
            return
        last, path, format = last.backing, base.path, base.format
    raise unsupported(f"a disk image is based on more than {MAX_BACKING} others")


def _store(base: Base) -> BackingStore:
    """A base as an element of the configuration."""
    block = Path(base.path).exists() and stat.S_ISBLK(os.stat(base.path).st_mode)
    store = BackingStore(type="block" if block else "file", format=Format(base.format))
    store.source = BlockSource(dev=base.path) if block else FileSource(file=base.path)
    return store
