"""The reference codec: bytes as RFC 4506 draws them, bounds, and whatever a peer may send."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.errors import XDRError
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Contract, Struct, Typedef, Union
from remotevirt.rpcgen.reference import ReferenceCodec
from tests.rpcgen.texts import contracts, load, values

CONTRACT = load("""
    const MAX = 5;
    enum colour { RED = 1, BLUE = -2 };
    typedef string name<MAX>;
    typedef name *maybe;
    typedef opaque id[3];
    struct point { int x; unsigned y; };
    struct all {
        hyper h; unsigned hyper uh; float f; double d; bool b;
        char c; unsigned char uc; short s; unsigned short us; colour k;
    };
    struct rows { point fixed[2]; point any<2>; char text<MAX>; unsigned char full[2]; opaque o<MAX>; };
    struct strings { name n; maybe m; id i; };
    struct unbounded { opaque o<>; string s<>; int n<>; };
    struct list { int value; list *next; };
    struct huge { hyper x[4294967295]; };
    union choice switch (int kind) { case 1: case 2: name n; case 3: void; };
    union other switch (unsigned kind) { case 1: int i; default: id d; };
""")
CODEC = ReferenceCodec(CONTRACT)


class BytesTests(TestCase):
    """Values and their bytes, in both directions."""

    def check(self, type_: str, value: object, data: bytes) -> None:
        self.assertEqual(CODEC.pack(type_, value), data)
        self.assertEqual(CODEC.unpack(type_, data), value)

    def test_numbers(self) -> None:
        """Every type of number; narrow ones take four bytes."""
        value = {"h": -2, "uh": 2**64 - 1, "f": 1.5, "d": -0.5, "b": True}
        value |= {"c": 200, "uc": 255, "s": -3, "us": 65535, "k": -2}
        data = struct.pack(">qQfdIIIiIi", -2, 2**64 - 1, 1.5, -0.5, 1, 200, 255, -3, 65535, -2)
        self.check("all", value, data)
        self.check("int", -1, b"\xff\xff\xff\xff")
        self.check("point", {"x": -1, "y": 1}, b"\xff\xff\xff\xff\0\0\0\1")

    def test_strings(self) -> None:
        """Length, bytes, padding; an optional's word before it."""
        value: dict[str, Any] = {"n": "ä", "m": None, "i": b"xyz"}
        self.check("strings", value, b"\0\0\0\2\xc3\xa4\0\0" + b"\0\0\0\0" + b"xyz\0")
        value["m"] = ""
        self.check("strings", value, b"\0\0\0\2\xc3\xa4\0\0" + b"\0\0\0\1\0\0\0\0" + b"xyz\0")

    def test_arrays(self) -> None:
        """Fixed ones without a count, others with; characters as bytes, four for each."""
        points = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
        value = {"fixed": points, "any": points[1:], "text": b"\xffa", "full": b"ab", "o": b"12345"}
        data = struct.pack(">4I", 1, 2, 3, 4) + struct.pack(">3I", 1, 3, 4)
        data += b"\0\0\0\2\0\0\0\xff\0\0\0a" + b"\0\0\0a\0\0\0b" + b"\0\0\0\x0512345\0\0\0"
        self.check("rows", value, data)

    def test_unions(self) -> None:
        """The discriminant and the field of its arm, if it has one."""
        self.check("choice", {"kind": 2, "n": "a"}, b"\0\0\0\2\0\0\0\1a\0\0\0")
        self.check("choice", {"kind": 3}, b"\0\0\0\3")
        self.check("other", {"kind": 7, "d": b"abc"}, b"\0\0\0\7abc\0")

    def test_list(self) -> None:
        """Types that contain themselves."""
        value = {"value": 1, "next": {"value": 2, "next": None}}
        self.check("list", value, struct.pack(">5I", 1, 1, 2, 0, 0)[:16])

    def test_void(self) -> None:
        """Procedures without arguments."""
        self.check("void", None, b"")
        self.assertRaises(XDRError, CODEC.pack, "void", 1)

    def test_lenient(self) -> None:
        """Signs above narrow types, padding, and any non-zero word for an optional; bytes behind are left."""
        self.assertEqual(CODEC.unpack("char", b"\xff\xff\xff\xfe"), 254)
        self.assertEqual(CODEC.unpack("unsigned short", b"\xff\xff\x80\x01"), 0x8001)
        self.assertEqual(CODEC.unpack("short", b"\0\0\xff\xff"), -1)
        self.assertEqual(CODEC.unpack("id", b"abc\xff"), b"abc")
        self.assertEqual(CODEC.unpack("maybe", b"\1\0\0\0\0\0\0\0"), "")
        self.assertEqual(CODEC.unpack_from("int", b"\0\0\0\1\0\0\0\2\0\0\0\3", 4), (2, 8))


class RefusedTests(TestCase):
    """What does not fit its type, in both directions."""

    def test_pack(self) -> None:
        """Values out of range, over their bound, or of another type."""
        point = {"x": 1, "y": 2}
        for type_, value in [
            ("int", 2**31),
            ("unsigned int", -1),
            ("hyper", 2**63),
            ("unsigned hyper", 2**64),
            ("char", 256),
            ("short", 40000),
            ("unsigned short", -1),
            ("int", "1"),
            ("int", 1.0),
            ("float", 1e300),
            ("double", 10**400),
            ("double", "1"),
            ("bool", None),
            ("colour", 2),
            ("name", "abcdef"),
            ("name", "äöü"),
            ("name", "a\0"),
            ("name", "\udc80"),
            ("name", b"a"),
            ("name", None),
            ("id", b"ab"),
            ("id", "abc"),
            ("point", {"x": 1}),
            ("point", {"x": 1, "y": 2, "z": 3}),
            ("point", [1, 2]),
            ("choice", {"kind": 4}),
            ("choice", {"kind": 3, "n": "a"}),
            ("choice", {"kind": 1}),
            ("choice", {}),
            ("choice", None),
            ("rows", {"fixed": [point], "any": [], "text": b"", "full": b"ab", "o": b""}),
            ("rows", {"fixed": [point] * 2, "any": [point] * 3, "text": b"", "full": b"ab", "o": b""}),
            ("rows", {"fixed": [point] * 2, "any": [], "text": b"abcdef", "full": b"ab", "o": b""}),
            ("rows", {"fixed": [point] * 2, "any": [], "text": b"", "full": b"abc", "o": b""}),
            ("rows", {"fixed": [point] * 2, "any": [], "text": b"", "full": b"ab", "o": b"123456"}),
            ("rows", {"fixed": 3, "any": [], "text": b"", "full": b"ab", "o": b""}),
        ]:
            self.assertRaises(XDRError, CODEC.pack, type_, value)

    def test_unpack(self) -> None:
        """Bytes that are missing, over their bound, or of no meaning."""
        for type_, data in [
            ("int", b"\0\0\0"),
            ("hyper", b"\0\0\0\0\0"),
            ("colour", b"\0\0\0\2"),
            ("name", b"\0\0\0\6abcdef\0\0"),
            ("name", b"\0\0\0\1a\0\0"),
            ("name", b"\0\0\0\1\xff\0\0\0"),
            ("name", b"\0\0\0\1\0\0\0\0"),
            ("id", b"abc"),
            ("maybe", b"\0\0\0\1"),
            ("choice", b"\0\0\0\4"),
            ("choice", b"\0\0\0\1\0\0\0\x09"),
            ("rows", struct.pack(">5I", 1, 2, 3, 4, 3) + b"\0" * 99),
            ("point", b"\0\0\0\1"),
        ]:
            self.assertRaises(XDRError, CODEC.unpack, type_, data)

    def test_place(self) -> None:
        """The error says where in the value it is."""
        point = {"x": 1, "y": -2}
        value = {"fixed": [point, point], "any": [], "text": b"", "full": b"", "o": b""}
        error = self.assertRaises(XDRError, CODEC.pack, "rows", value)
        self.assertEqual(str(error), "fixed: [0]: y: -2 is no unsigned int")
        error = self.assertRaises(XDRError, CODEC.unpack, "strings", b"\0\0\0\0\0\0\0\0abc")
        self.assertEqual(str(error), "i: truncated")

    def test_counts(self) -> None:
        """A count that cannot be true is refused before anything is made of it."""
        for type_, data in [
            ("unbounded", b"\xff\xff\xff\xff" + b"\0" * 8),
            ("unbounded", b"\0\0\0\0\xff\xff\xff\xff" + b"\0" * 8),
            ("unbounded", b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff" + b"\0" * 8),
            ("huge", b"\0" * 64),
        ]:
            self.assertRaises(XDRError, CODEC.unpack, type_, data)

    def test_depth(self) -> None:
        """A list longer than any sane one ends in an error, not in an exhausted stack."""
        data = struct.pack(">II", 1, 1) * 100000
        error = self.assertRaises(XDRError, CODEC.unpack, "list", data)
        self.assertIn("values inside one another", str(error))
        value: dict[str, Any] = {"value": 1, "next": None}
        for _ in range(500):
            value = {"value": 1, "next": value}
        self.assertRaises(XDRError, CODEC.pack, "list", value)
        deep = load(
            "".join(f"struct s{i} {{ s{i + 1} x; }};" for i in range(3000)) + "struct s3000 { int x; };"
        )
        self.assertRaises(XDRError, ReferenceCodec(deep).unpack, "s0", b"\0\0\0\1")
        array = load(
            "".join(f"struct s{i} {{ s{i + 1} x<>; }};" for i in range(3000)) + "struct s3000 { int x; };"
        )
        self.assertRaises(XDRError, ReferenceCodec(array).unpack, "s0", b"\0\0\0\1" * 5000)

    def test_unknown_type(self) -> None:
        """A type that the contract does not have, or that is none."""
        for name in ("nothing", "MAX", "string"):
            self.assertRaises(RpcgenError, CODEC.unpack, name, b"\0\0\0\0")


def types(contract: Contract) -> list[str]:
    """The types of a contract that values can have."""
    return [each.name for each in contract.definitions if isinstance(each, Struct | Union | Typedef)]


class PropertyTests(TestCase):
    """What holds for every type. (Those of our contracts: ``tests.stubs.test_codecs``.)"""

    @settings(deadline=None, max_examples=100)
    @given(st.data())
    def test_any_contract(self, data: st.DataObject) -> None:
        """Values of contracts that nobody has written come back as they were packed, and not from less."""
        contract = data.draw(contracts())
        codec = ReferenceCodec(contract)
        for type_ in types(contract):
            value = data.draw(values(contract, type_))
            packed = codec.pack(type_, value)
            self.assertEqual(len(packed) % 4, 0)
            self.assertEqual(codec.unpack_from(type_, packed), (value, len(packed)))
            if packed:
                self.assertRaises(XDRError, codec.unpack, type_, packed[:-1])

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(types(CONTRACT)), st.binary(max_size=64))
    def test_garbage(self, type_: str, data: bytes) -> None:
        """Any bytes give a value or an XDRError; a value that comes out can go in again."""
        try:
            value = CODEC.unpack(type_, data)
        except XDRError:
            return
        self.assertEqual(len(CODEC.pack(type_, value)) % 4, 0)
