"""XDR primitives (RFC 4506) for the generated codecs: variable-size values, with their bounds.

Fixed-size fields need nothing from here: the generated code fuses neighbouring ones into one
:class:`struct.Struct`. What has a length on the wire is packed and unpacked by these functions, so that
each rule stands in one place:

* a length is compared with its bound and with the bytes that are really there *before* anything is
  allocated for it, and an array's count with the least that so many elements would take;
* values are padded with zeros to a multiple of four; padding that arrives is skipped unread, as
  libvirt's XDR library does;
* text is UTF-8 without NUL;
* any non-zero word is a present optional (go-libvirt writes ``0x01000000``).

``unpack_*`` take the buffer and a position and return the value and the position behind it. They raise
:class:`~remotevirt.errors.XDRError`; truncated fixed-size fields raise :class:`struct.error`, so a caller
that meets bytes from a peer catches :data:`DECODE_ERRORS`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Any, TypeVar

from remotevirt.errors import XDRError

__all__ = [
    "ABSENT",
    "DECODE_ERRORS",
    "KEPT_MAXIMUM",
    "KEPT_SIZE",
    "PRESENT",
    "UINT",
    "XDRError",
    "check_count",
    "keep",
    "pack_chars",
    "pack_count",
    "pack_fixed_chars",
    "pack_fixed_opaque",
    "pack_numbers",
    "pack_opaque",
    "pack_string",
    "unpack_chars",
    "unpack_count",
    "unpack_enum",
    "unpack_fixed_chars",
    "unpack_numbers",
    "unpack_opaque",
    "unpack_optional",
    "unpack_string",
]

DECODE_ERRORS = (XDRError, struct.error)
"""What decoding bytes from a peer may raise."""

UINT = struct.Struct(">I")

ABSENT = b"\0\0\0\0"
"""An optional value that is not there."""

PRESENT = b"\0\0\0\1"
"""What stands before an optional value that is there."""

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_pack_uint = UINT.pack
_unpack_uint = UINT.unpack_from

KEPT_SIZE = 64
"""Longest text, in bytes, of a reference whose decoding is kept."""

KEPT_MAXIMUM = 4096
"""How many decoded references of a kind are kept; then all are dropped, and the next ones are kept."""

EnumT = TypeVar("EnumT", bound=enum.IntEnum)


def pack_string(value: str, maximum: int) -> bytes:
    """Pack text as UTF-8; ``maximum`` counts bytes. Raises XDRError if it is too long or no such text."""
    try:
        data = value.encode()
    except (UnicodeEncodeError, AttributeError) as error:
        raise XDRError(f"not text: {error}") from None
    size = len(data)
    if size > maximum:
        raise XDRError(f"string of {size} bytes is over its maximum of {maximum}")
    if b"\0" in data:
        raise XDRError("string contains a NUL")
    return _pack_uint(size) + data + _PADDING[size & 3]


def unpack_string(buf: bytes, pos: int, maximum: int) -> tuple[str, int]:
    """Unpack text: UTF-8 of at most ``maximum`` bytes without NUL; raises XDRError for anything else."""
    (size,) = _unpack_uint(buf, pos)
    pos += 4
    end = pos + size
    if size > maximum:
        raise XDRError(f"string of {size} bytes is over its maximum of {maximum}")
    following = end + (-size & 3)
    if following > len(buf):
        raise XDRError(f"string of {size} bytes is truncated")
    data = buf[pos:end]
    if 0 in data:
        raise XDRError("string contains a NUL")
    try:
        return data.decode(), following
    except UnicodeDecodeError:
        raise XDRError("string is not UTF-8") from None


def pack_opaque(value: bytes, maximum: int) -> bytes:
    """Pack opaque data of at most ``maximum`` bytes, behind its size; raises XDRError if there are more."""
    size = len(value)
    if size > maximum:
        raise XDRError(f"opaque data of {size} bytes is over its maximum of {maximum}")
    return b"".join((_pack_uint(size), value, _PADDING[size & 3]))


def pack_fixed_opaque(value: bytes, size: int) -> bytes:
    """Pack opaque data of exactly ``size`` bytes; raises XDRError if it has not as many."""
    if len(value) != size:
        raise XDRError(f"opaque data of {len(value)} bytes, not {size}")
    return value + _PADDING[size & 3]


def unpack_opaque(buf: bytes, pos: int, maximum: int) -> tuple[bytes, int]:
    """Unpack opaque data of at most ``maximum`` bytes; raises XDRError if it is longer or truncated."""
    (size,) = _unpack_uint(buf, pos)
    pos += 4
    end = pos + size
    if size > maximum:
        raise XDRError(f"opaque data of {size} bytes is over its maximum of {maximum}")
    following = end + (-size & 3)
    if following > len(buf):
        raise XDRError(f"opaque data of {size} bytes is truncated")
    return buf[pos:end], following


def pack_fixed_chars(value: bytes, size: int) -> bytes:
    """Pack ``char name[size]``: four bytes for each character; raises XDRError if there are not ``size``."""
    if len(value) != size:
        raise XDRError(f"{len(value)} characters where {size} are wanted")
    data = bytearray(4 * size)
    data[3::4] = value
    return bytes(data)


def unpack_fixed_chars(buf: bytes, pos: int, size: int) -> tuple[bytes, int]:
    """Unpack ``char name[size]``; raises XDRError if it is truncated.

    The upper three bytes of a character may hold its sign, and are ignored.
    """
    end = pos + 4 * size
    if end > len(buf):
        raise XDRError(f"array of {size} characters is truncated")
    return buf[pos + 3 : end : 4], end


def pack_chars(value: bytes, maximum: int) -> bytes:
    """Pack ``char name<maximum>``: a count, then four bytes for each character."""
    return pack_count(len(value), maximum) + pack_fixed_chars(value, len(value))


def unpack_chars(buf: bytes, pos: int, maximum: int) -> tuple[bytes, int]:
    """Unpack ``char name<maximum>``, as bytes; raises XDRError if it is longer or truncated."""
    count, pos = unpack_count(buf, pos, maximum, 4)
    return unpack_fixed_chars(buf, pos, count)


def check_count(count: int, size: int) -> bytes:
    """Check that a fixed array has its size (XDRError); returns what stands before its elements: nothing."""
    if count != size:
        raise XDRError(f"array of {count} elements, not {size}")
    return b""


def pack_count(count: int, maximum: int) -> bytes:
    """Pack the count that stands before an array's elements; raises XDRError if it is over ``maximum``."""
    if count > maximum:
        raise XDRError(f"array of {count} elements is over its maximum of {maximum}")
    return _pack_uint(count)


def unpack_count(buf: bytes, pos: int, maximum: int, least: int) -> tuple[int, int]:
    """Unpack an array's count; raises XDRError if there may not, or cannot, be so many elements.

    Args:
        buf, pos: where the count is.
        maximum: the most elements by the contract.
        least: the smallest size in bytes that one element can have; so many must follow for each.
    """
    (count,) = _unpack_uint(buf, pos)
    pos += 4
    if count > maximum:
        raise XDRError(f"array of {count} elements is over its maximum of {maximum}")
    if count * least > len(buf) - pos:
        raise XDRError(f"array of {count} elements is truncated")
    return count, pos


def pack_numbers(values: Sequence[Any], maximum: int, code: str) -> bytes:
    """Pack an array of numbers; ``code`` is their :mod:`struct` character."""
    count = len(values)
    return pack_count(count, maximum) + struct.pack(f">{count}{code}", *values)


def unpack_numbers(buf: bytes, pos: int, maximum: int, code: str, size: int) -> tuple[list[Any], int]:
    """Unpack an array of numbers; raises XDRError if there are too many, or it is truncated.

    Args:
        buf, pos: where its count is.
        maximum: the most elements by the contract.
        code: the :mod:`struct` character of one.
        size: the bytes of one.
    """
    count, pos = unpack_count(buf, pos, maximum, size)
    return list(struct.unpack_from(f">{count}{code}", buf, pos)), pos + count * size


def keep(kept: dict[bytes, Any], data: bytes, value: Any) -> None:
    """Keep what bytes decode to. References come again and again: clients that poll send the same ones."""
    if len(kept) >= KEPT_MAXIMUM:
        kept.clear()
    kept[data] = value


def unpack_optional(buf: bytes, pos: int) -> tuple[bool, int]:
    """Unpack the word that tells whether an optional value follows."""
    (word,) = _unpack_uint(buf, pos)
    return word != 0, pos + 4


def unpack_enum(kind: type[EnumT], value: int) -> EnumT:
    """Turn a number from the wire into its enum member; raises XDRError if there is none."""
    try:
        return kind(value)
    except ValueError:
        raise XDRError(f"{value} is not a member of {kind.__name__}") from None
