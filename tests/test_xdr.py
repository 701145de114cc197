"""XDR primitives: bounds in both directions, padding, text, and bytes that claim more than there is."""

from __future__ import annotations

import enum
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from xdrlib3 import Packer

from remotevirt import xdr
from remotevirt.errors import XDRError
from remotevirt.xdr import DECODE_ERRORS
from tests.strategies import bounded, text

UINT_MAX = (1 << 32) - 1

UNPACKERS: dict[str, tuple[bytes, Callable[[bytes, int], tuple[Any, int]]]] = {
    "string": (xdr.pack_string("h\u00e9llo", 16), lambda buf, pos: xdr.unpack_string(buf, pos, 16)),
    "opaque": (xdr.pack_opaque(b"12345", 16), lambda buf, pos: xdr.unpack_opaque(buf, pos, 16)),
    "chars": (xdr.pack_chars(b"12345", 16), lambda buf, pos: xdr.unpack_chars(buf, pos, 16)),
    "fixed chars": (xdr.pack_fixed_chars(b"12345", 5), lambda buf, pos: xdr.unpack_fixed_chars(buf, pos, 5)),
    "numbers": (
        xdr.pack_numbers([1, 2, 3], 16, "q"),
        lambda buf, pos: xdr.unpack_numbers(buf, pos, 16, "q", 8),
    ),
    "count": (xdr.pack_count(0, 16), lambda buf, pos: xdr.unpack_count(buf, pos, 16, 4)),
    "optional": (xdr.PRESENT, xdr.unpack_optional),
}
"""A valid encoding of something of each kind, and what unpacks it."""

COUNTED: dict[str, Callable[[bytes, int, int], tuple[Any, int]]] = {
    "string": xdr.unpack_string,
    "opaque": xdr.unpack_opaque,
    "chars": xdr.unpack_chars,
    "numbers": lambda buf, pos, maximum: xdr.unpack_numbers(buf, pos, maximum, "i", 4),
    "count": lambda buf, pos, maximum: xdr.unpack_count(buf, pos, maximum, 4),
}
"""What begins with a count: unpacker with buffer, position and maximum."""


class Colour(enum.IntEnum):
    """An enum to unpack."""

    RED = 1
    BLUE = -2


class HostileTests(SynchronousTestCase):
    """Bytes from a peer that means ill."""

    def test_truncated_at_every_byte(self) -> None:
        """Less than all is refused, whatever is missing; all is not."""
        for name, (wire, unpack) in UNPACKERS.items():
            for size in range(len(wire)):
                with self.assertRaises(DECODE_ERRORS, msg=f"{name} cut to {size}"):
                    unpack(wire[:size], 0)
            self.assertEqual(len(wire), unpack(wire, 0)[1], name)

    def test_position_beyond_the_end(self) -> None:
        """Asking behind the buffer's end is a decoding error too, for any position."""
        for name, (wire, unpack) in UNPACKERS.items():
            for pos in (len(wire) + 1, len(wire) + 4, 1 << 40):
                with self.assertRaises(DECODE_ERRORS, msg=name):
                    unpack(wire, pos)

    def test_over_the_maximum(self) -> None:
        """A count over the maximum is refused even where the bytes for it are there; the maximum is not."""
        for name, unpack in COUNTED.items():
            buf = (3).to_bytes(4) + b"\0\0\0\1" * 8
            if name == "string":
                buf = (3).to_bytes(4) + b"abcdefgh"
            unpack(buf, 0, 3)
            error = self.assertRaises(XDRError, unpack, buf, 0, 2)
            self.assertIn("over its maximum of 2", str(error), name)

    def test_claims_cost_nothing(self) -> None:
        """However much is claimed, allowed or not, memory is taken only for what is there."""
        for name, unpack in COUNTED.items():
            for claimed in (1 << 20, 1 << 28, 1 << 31, UINT_MAX):
                for maximum in (16, UINT_MAX):
                    wire = claimed.to_bytes(4) + bytes(64)
                    tracemalloc.start()
                    with self.assertRaises(XDRError, msg=name):
                        unpack(wire, 0, maximum)
                    _, peak = tracemalloc.get_traced_memory()
                    tracemalloc.stop()
                    self.assertLess(peak, 64 * 1024, f"{name}: {claimed} claimed")

    def test_count_and_least_size(self) -> None:
        """A count is held against the bytes that its elements need at least, to the byte."""
        wire = (2).to_bytes(4) + bytes(24)
        self.assertEqual((2, 4), xdr.unpack_count(wire, 0, 16, 12))
        error = self.assertRaises(XDRError, xdr.unpack_count, wire[:-1], 0, 16, 12)
        self.assertIn("truncated", str(error))
        self.assertRaises(XDRError, xdr.unpack_count, wire, 0, 16, 13)

    def test_nul(self) -> None:
        """A string with a NUL is refused, at its beginning, in it and at its end."""
        for data in (b"\0bcd", b"a\0cd", b"abc\0", b"\0", b"abcd\0"):
            wire = xdr.pack_opaque(data, 16)
            error = self.assertRaises(XDRError, xdr.unpack_string, wire, 0, 16)
            self.assertIn("NUL", str(error))

    def test_padding_is_no_part_of_a_string(self) -> None:
        """What stands in the padding is not looked at, but it must be there."""
        wire = (1).to_bytes(4) + b"a\xff\0\x01"
        self.assertEqual(("a", 8), xdr.unpack_string(wire, 0, 16))
        self.assertEqual((b"a", 8), xdr.unpack_opaque(wire, 0, 16))
        self.assertRaises(XDRError, xdr.unpack_string, wire[:-1], 0, 16)

    def test_invalid_utf8(self) -> None:
        """Bytes that are no UTF-8 are refused: wrong, cut short, overlong, surrogates, too large."""
        for data in (b"\xff", b"caf\xe9", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"):
            wire = xdr.pack_opaque(data, 16)
            error = self.assertRaises(XDRError, xdr.unpack_string, wire, 0, 16)
            self.assertIn("UTF-8", str(error))

    def test_any_word_is_a_present_optional(self) -> None:
        """go-libvirt writes 0x01000000; only zero is absent."""
        for word in (1, 2, 0x01000000, 1 << 31, UINT_MAX):
            self.assertEqual((True, 4), xdr.unpack_optional(word.to_bytes(4), 0))
        self.assertEqual((False, 4), xdr.unpack_optional(xdr.ABSENT, 0))

    def test_sign_extended_characters(self) -> None:
        """Characters above 127 may come with their sign; the upper bytes mean nothing."""
        words = struct.pack(">4i", -1, -128, 127, 65)
        self.assertEqual((b"\xff\x80\x7fA", 16), xdr.unpack_fixed_chars(words, 0, 4))
        self.assertEqual((b"\xff\x80\x7fA", 20), xdr.unpack_chars((4).to_bytes(4) + words, 0, 4))

    def test_enum(self) -> None:
        """A number that is no member is refused."""
        self.assertIs(Colour.BLUE, xdr.unpack_enum(Colour, -2))
        for number in (0, 2, -1, 1 << 30):
            self.assertRaises(XDRError, xdr.unpack_enum, Colour, number)

    @bounded(200)
    @given(st.binary(max_size=40), st.integers(0, 44), st.integers(0, 40))
    def test_any_bytes(self, buf: bytes, pos: int, maximum: int) -> None:
        """Whatever the bytes are: a value within its bounds, or a decoding error."""
        for name, unpack in COUNTED.items():
            try:
                value, end = unpack(buf, pos, maximum)
            except DECODE_ERRORS:
                continue
            self.assertLessEqual(end, len(buf), name)
            self.assertLessEqual(value if name == "count" else len(value), maximum, name)


class PackingTests(SynchronousTestCase):
    """Values of our own."""

    def test_bounds(self) -> None:
        """The maximum is packed, one more is not."""
        for pack, unit in (
            (xdr.pack_string, "x"),
            (xdr.pack_opaque, b"x"),
            (xdr.pack_chars, b"x"),
            (lambda value, maximum: xdr.pack_numbers(value, maximum, "i"), [1]),
        ):
            pack(unit * 5, 5)
            error = self.assertRaises(XDRError, pack, unit * 6, 5)
            self.assertIn("over its maximum of 5", str(error))
        self.assertEqual(b"\0\0\0\5", xdr.pack_count(5, 5))
        self.assertRaises(XDRError, xdr.pack_count, 6, 5)

    def test_strings_are_bounded_in_bytes(self) -> None:
        """Three characters of two bytes are six."""
        xdr.pack_string("\u00e9" * 3, 6)
        self.assertRaises(XDRError, xdr.pack_string, "\u00e9" * 3, 5)

    def test_what_is_no_text(self) -> None:
        """NUL, lone surrogates and other types are refused."""
        for value in ("a\0b", "\ud800", b"bytes", None, 7):
            self.assertRaises(XDRError, xdr.pack_string, value, 100)

    def test_fixed_characters(self) -> None:
        """Exactly as many as there are."""
        self.assertEqual(b"\0\0\0a\0\0\0\xff", xdr.pack_fixed_chars(b"a\xff", 2))
        self.assertEqual((b"", 0), xdr.unpack_fixed_chars(b"", 0, 0))
        for value in (b"a", b"abc"):
            self.assertRaises(XDRError, xdr.pack_fixed_chars, value, 2)

    def test_fixed_opaque(self) -> None:
        """Exactly so many bytes, and padding."""
        self.assertEqual(b"abcde\0\0\0", xdr.pack_fixed_opaque(b"abcde", 5))
        self.assertEqual(b"abcd", xdr.pack_fixed_opaque(b"abcd", 4))
        for value in (b"abcd", b"abcdef", b""):
            self.assertRaises(XDRError, xdr.pack_fixed_opaque, value, 5)

    def test_fixed_count(self) -> None:
        """Exactly so many elements, and nothing before them."""
        self.assertEqual(b"", xdr.check_count(5, 5))
        for count in (0, 4, 6):
            self.assertRaises(XDRError, xdr.check_count, count, 5)

    def test_keep(self) -> None:
        """What is kept is bounded."""
        kept: dict[bytes, int] = {}
        for number in range(3 * xdr.KEPT_MAXIMUM):
            xdr.keep(kept, number.to_bytes(4), number)
            self.assertEqual(number, kept[number.to_bytes(4)])
            self.assertLessEqual(len(kept), xdr.KEPT_MAXIMUM)

    def test_numbers_out_of_range(self) -> None:
        """What does not fit its width is refused."""
        for value in (1 << 31, -(1 << 31) - 1):
            self.assertRaises(DECODE_ERRORS, xdr.pack_numbers, [value], 4, "i")

    @bounded(100)
    @given(text(20), st.binary(max_size=20))
    def test_like_xdrlib(self, string: str, data: bytes) -> None:
        """What we pack is what xdrlib3 packs; what is packed unpacks, at any position."""
        packer = Packer()
        packer.pack_string(string.encode())
        packer.pack_opaque(data)
        packer.pack_array(list(data), packer.pack_uint)
        wire = xdr.pack_string(string, 80) + xdr.pack_opaque(data, 20) + xdr.pack_chars(data, 20)
        self.assertEqual(packer.get_buffer(), wire)
        again, pos = xdr.unpack_string(b"1234" + wire, 4, 80)
        opaque, pos = xdr.unpack_opaque(b"1234" + wire, pos, 20)
        characters, pos = xdr.unpack_chars(b"1234" + wire, pos, 20)
        self.assertEqual((string, data, data, 4 + len(wire)), (again, opaque, characters, pos))

    @bounded(50)
    @given(st.lists(st.integers(0, (1 << 64) - 1), max_size=8))
    def test_arrays_of_numbers(self, values: list[int]) -> None:
        """Counted and packed one after the other."""
        packer = Packer()
        packer.pack_array(values, packer.pack_uhyper)
        wire = xdr.pack_numbers(values, 8, "Q")
        self.assertEqual(packer.get_buffer(), wire)
        self.assertEqual((values, len(wire)), xdr.unpack_numbers(wire, 0, 8, "Q", 8))
