"""Numbers, sizes, UUIDs, addresses and sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg, Overflow, XmlError
from remotevirt.xml.bitmap import MAX_CPUS, CpuSet, format_bitmap, parse_bitmap
from remotevirt.xml.values import (
    Boolean,
    Choice,
    Integer,
    Mac,
    Where,
    address_version,
    format_uuid,
    parse_integer,
    parse_scaled,
    parse_uuid,
)

WHERE = Where("tag", "name")


class Numbers(SynchronousTestCase):
    """C's numbers."""

    def test_forms(self) -> None:
        """Blanks and a sign before, nothing after."""
        for text, value in (
            ("5", 5),
            (" \t+5", 5),
            ("007", 7),
            ("5 ", None),
            ("", None),
            ("-", None),
            ("٣", None),
        ):
            self.assertEqual(parse_integer(text), value, text)

    def test_bases(self) -> None:
        """C's prefixes where they are asked for."""
        for text, base, value in (
            ("0x1F", 0, 31),
            ("017", 0, 15),
            ("08", 0, None),
            ("0", 0, 0),
            ("ff", 16, 255),
            ("0xff", 16, 255),
            ("0xff", 10, None),
        ):
            self.assertEqual(parse_integer(text, base=base), value, (text, base))

    def test_bounds(self) -> None:
        """What does not fit the width is no number; neither are a million digits, and those cost nothing."""
        self.assertEqual(parse_integer("4294967295"), 4294967295)
        self.assertIsNone(parse_integer("4294967296"))
        self.assertIsNone(parse_integer("-1"))
        self.assertIsNone(parse_integer("9" * 1_000_000))

    def test_words(self) -> None:
        """The errors name attribute and element."""
        for scalar, text, words in (
            (Integer(), "x", "Expected non-negative integer value"),
            (Integer(signed=True), "x", "Expected integer value"),
            (Integer(signed=True, natural=True), "-1", "Expected non-negative value"),
            (Integer(zero="refused"), "0", "Zero is not permitted"),
            (Choice("a b"), "c", "'c'."),
            (Boolean("yes", "no"), "on", "'on'."),
        ):
            error = self.assertRaises(XmlError, scalar.read, text, WHERE)
            self.assertTrue(
                error.message.startswith("XML error: Invalid value for attribute 'name' in element 'tag'")
            )
            self.assertTrue(error.message.endswith(words), error.message)

    @given(st.integers(min_value=0, max_value=2**64 - 1))
    def test_round_trip(self, number: int) -> None:
        """Numbers are printed as they are read."""
        scalar = Integer(bits=64, base=16, style="#x")
        self.assertEqual(scalar.read(scalar.write(number), WHERE), number)


class Sizes(SynchronousTestCase):
    """Numbers with units."""

    def test_units(self) -> None:
        """Powers of two and of ten, in any case."""
        for text, unit, size in (
            ("1", None, 1024),
            ("1", "", 1024),
            ("3", "b", 3),
            ("3", "bytes", 3),
            ("1", "k", 1024),
            ("1", "KB", 1000),
            ("1", "kib", 1024),
            ("2", "MiB", 2 << 20),
            ("1", "TB", 10**12),
            ("1", "e", 1 << 60),
        ):
            self.assertEqual(parse_scaled(text, unit, path="./x"), size, (text, unit))

    def test_errors(self) -> None:
        """No number, no unit, too much."""
        self.assertRaises(XmlError, parse_scaled, "x", None, path="./x")
        self.assertRaises(InvalidArg, parse_scaled, "1", "furlong", path="./x")
        self.assertRaises(InvalidArg, parse_scaled, "1", "Mi", path="./x")
        error = self.assertRaises(Overflow, parse_scaled, "16", "EiB", path="./x")
        self.assertEqual(error.message, "numerical overflow: value too large: 16EiB")


class Names(SynchronousTestCase):
    """UUIDs, MAC and IP addresses."""

    @given(st.binary(min_size=16, max_size=16))
    def test_uuid(self, raw: bytes) -> None:
        """UUIDs are read in their usual form, and without dashes."""
        text = format_uuid(raw)
        self.assertEqual(parse_uuid(text), raw)
        self.assertEqual(parse_uuid(f" {text.upper().replace('-', '')} "), raw)
        self.assertIsNone(parse_uuid(text[:-1]))
        self.assertIsNone(parse_uuid(text + "0"))

    def test_mac(self) -> None:
        """Short bytes are filled up, letters made small."""
        self.assertEqual(Mac().read("52:54:0:AA:b:1", WHERE), "52:54:00:aa:0b:01")
        for text in ("", "52:54:00:00:00", "52:54:00:00:00:001", "52-54-00-00-00-01", "g2:54:00:00:00:01"):
            self.assertRaises(XmlError, Mac().read, text, WHERE)

    def test_ip(self) -> None:
        """Both families, and the one that is wanted."""
        self.assertEqual(address_version("1.2.3.4", None), 4)
        self.assertEqual(address_version("::1", "ipv6"), 6)
        self.assertIsNone(address_version("1.2.3.4", "ipv6"))
        self.assertIsNone(address_version("1.2.3.4.5", None))


class Sets(SynchronousTestCase):
    """Sets of CPUs."""

    def test_notation(self) -> None:
        """Ranges, exceptions, blanks and a comma at the end."""
        for text, canonical in (
            ("0", "0"),
            ("0-3,^1", "0,2-3"),
            (" 1 , 2 - 4,", "1-4"),
            ("5,5,4", "4-5"),
            ("1,^2", "1"),
        ):
            self.assertEqual(format_bitmap(parse_bitmap(text)), canonical, text)

    def test_refused(self) -> None:
        """What is no set, and what is too large to be one."""
        for text in (
            "",
            "x",
            "3-1",
            "1--2",
            "^1-2",
            ",",
            "1,,2",
            "-1",
            str(MAX_CPUS),
            f"0-{10**12}",
            "9" * 99,
        ):
            self.assertRaises(InvalidArg, parse_bitmap, text)
        self.assertRaises(ConfigUnsupported, CpuSet().read, "^1", WHERE)

    @given(st.sets(st.integers(min_value=0, max_value=MAX_CPUS - 1), min_size=1, max_size=50))
    def test_round_trip(self, members: set[int]) -> None:
        """Every set is read back from its canonical text."""
        self.assertEqual(parse_bitmap(format_bitmap(members)), members)

    @given(st.text(max_size=30))
    def test_any_text(self, text: str) -> None:
        """Any text is a set or a VirError."""
        try:
            self.assertLessEqual(max(parse_bitmap(text), default=0), MAX_CPUS)
        except VirError as error:
            self.assertIn(text, error.message)
