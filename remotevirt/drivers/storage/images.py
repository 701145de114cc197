"""Which format an image has, and what its header says: read from its first bytes, and from nothing else.

A guest may have written every byte of an image that is not raw to us, and all bytes of a raw one. So nothing
is followed, every number is bounded, and what makes no sense is left out. Layouts are those of QEMU's
documents (qcow2, QED) and of the formats' own descriptions.
"""

from __future__ import annotations

import re
import struct
from typing import Final

import attrs

__all__ = ["HEADER_BYTES", "ImageFacts", "probe"]

HEADER_BYTES: Final = 33280
"""How much of a file is looked at; the mark of an ISO image ends before. libvirt's VIR_STORAGE_MAX_HEADER."""

MAX_CAPACITY: Final = 2**63 - 1
"""Bytes that an image may claim; no file can be longer."""

MAX_NAME: Final = 1023
"""Bytes of a backing file's name: the bound of qcow2."""

BACKING_FORMAT: Final = 0xE2792ACA
"""The header extension of qcow2 that names the format of the backing file."""

QCOW2_LAZY: Final = 1 << 0
QCOW2_EXTENDED_L2: Final = 1 << 4
QCOW2_EXTERNAL: Final = 1 << 2
QED_BACKING: Final = 1 << 0
QED_RAW_BACKING: Final = 1 << 2
SECTOR: Final = 512

_HINT = re.compile(rb'parentFileNameHint="([^"\n]{1,1023})"')


@attrs.frozen
class ImageFacts:
    """What a header says.

    Attributes:
        format: one of libvirt's words; ``raw`` for what has no header.
        capacity: bytes; None where the size of the file counts.
        backing: the name of the backing file as it is written; backing_format: None where it is not said.
        compat, features, cluster_size: of qcow2.
        encryption: ``luks`` or None.
        external: its data are in another file, whose name it says.
    """

    format: str = "raw"
    capacity: int | None = None
    backing: str | None = None
    backing_format: str | None = None
    compat: str | None = None
    features: tuple[str, ...] | None = None
    cluster_size: int = 0
    encryption: str | None = None
    external: bool = False


RAW: Final = ImageFacts()


def probe(header: bytes, size: int) -> ImageFacts:
    """Return what the first bytes of a file say.

    Args:
        header: at most :data:`HEADER_BYTES` of it.
        size: of the whole file, in bytes.
    """
    try:
        facts = _probe(header, size)
    except struct.error:
        return RAW  # the mark is there and the rest is not
    if facts.capacity is not None and facts.capacity > MAX_CAPACITY:
        return attrs.evolve(facts, capacity=MAX_CAPACITY)
    return facts


def _probe(header: bytes, size: int) -> ImageFacts:
    mark = header[:4]
    if mark == b"QFI\xfb":
        return _qcow(header)
    if mark == b"QED\0":
        return _qed(header)
    if mark == b"KDMV" and _number("<I", header, 4) in (1, 2, 3):
        hint = _HINT.search(header, SECTOR)
        backing = None if hint is None else _text(hint[1])
        capacity = _number("<Q", header, 12) * SECTOR
        if not capacity:
            return RAW  # such a one only names other files
        return ImageFacts("vmdk", capacity, backing, None if backing is None else "vmdk")
    if header[64:68] == b"\x7f\x10\xda\xbe" and _number("<I", header, 68) == 0x00010001:
        return ImageFacts("vdi", _number("<Q", header, 368))
    if header.startswith(b"conectix") and _number(">I", header, 12) == 0x10000:
        return ImageFacts("vpc", _number(">Q", header, 48))
    if header.startswith(b"LUKS\xba\xbe") and _number(">H", header, 6) == 1:
        payload = _number(">I", header, 104) * SECTOR
        return ImageFacts("raw", max(size - payload, 0), encryption="luks")
    if header.startswith(b"Bochs Virtual HD Image") and _number("<I", header, 64) == 0x20000:
        return ImageFacts("bochs", _number("<Q", header, 84))
    if header.startswith(b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"):
        return ImageFacts("cloop")
    if header[32769:32774] == b"CD001":
        return ImageFacts("iso")
    return RAW


def _number(layout: str, header: bytes, place: int) -> int:
    (number,) = struct.unpack_from(layout, header, place)
    return int(number)


def _text(data: bytes) -> str | None:
    """Return a name that can be shown."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None


def _qcow(header: bytes) -> ImageFacts:
    version, place, length, bits, capacity = struct.unpack_from(">IQIIQ", header, 4)
    if version == 1:
        (capacity,) = struct.unpack_from(">Q", header, 24)
        backing = _text(header[place : place + length]) if place and length <= MAX_NAME else None
        return ImageFacts("qcow", capacity, backing)
    if version not in (2, 3):
        return RAW
    backing = _text(header[place : place + length]) if place and length <= MAX_NAME else None
    crypt = _number(">I", header, 32)
    cluster = 1 << bits if 9 <= bits <= 21 else 0
    start, compat, features, external = 72, None, None, False
    if version == 3:
        incompatible, compatible, _, _, start = struct.unpack_from(">QQQII", header, 72)
        compat = "1.1"
        found = (
            ("lazy_refcounts", compatible & QCOW2_LAZY),
            ("extended_l2", incompatible & QCOW2_EXTENDED_L2),
        )
        features = tuple(name for name, there in found if there)
        external = bool(incompatible & QCOW2_EXTERNAL)
    return ImageFacts(
        "qcow2",
        capacity,
        backing,
        _backing_format(header, start) if backing is not None else None,
        compat,
        features,
        cluster,
        "luks" if crypt == 2 else None,
        external,
    )


def _backing_format(header: bytes, place: int) -> str | None:
    """Return the format that an extension of qcow2's header says the backing file has."""
    while 72 <= place <= len(header) - 8:
        kind, length = struct.unpack_from(">II", header, place)
        if kind == 0:
            return None
        if kind == BACKING_FORMAT:
            text = _text(header[place + 8 : place + 8 + length])
            return text if length <= 16 else None
        place += 8 + (length + 7) // 8 * 8
    return None


def _qed(header: bytes) -> ImageFacts:
    (features,) = struct.unpack_from("<Q", header, 16)
    capacity, place, length = struct.unpack_from("<QII", header, 48)
    backing = None
    if features & QED_BACKING and length <= MAX_NAME:
        backing = _text(header[place : place + length])
    raw = backing is not None and features & QED_RAW_BACKING
    return ImageFacts("qed", capacity, backing, "raw" if raw else None)
