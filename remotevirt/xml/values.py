"""The values that attributes and texts of libvirt's documents hold, and the words for those they cannot.

Each kind of value is a :class:`Scalar`: it reads text into a Python value and writes it back. Reading is told
:class:`Where` the text stood, because the errors name the attribute and the element. Numbers follow C's
``strtoul`` as libvirt uses it: leading blanks and one sign are fine, anything left over is not, and what does
not fit the width is refused before anything is made of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE, VIR_FROM_XML
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    InternalError,
    InvalidArg,
    Overflow,
    XmlDetail,
    XmlError,
)

__all__ = [
    "Boolean",
    "Choice",
    "Integer",
    "Mac",
    "Refusal",
    "Scalar",
    "Text",
    "Uuid",
    "Where",
    "address_version",
    "bad_value",
    "detail",
    "format_uuid",
    "internal",
    "missing_attribute",
    "on_off",
    "parse_integer",
    "parse_scaled",
    "parse_uuid",
    "unsupported",
    "xml_error",
    "yes_no",
]

Refusal: TypeAlias = Callable[[str], VirError]
"""Makes the error for a text that is no value of its kind."""


class Where(NamedTuple):
    """The place a text came from: an attribute of an element, or the element's own text (None)."""

    element: str
    attribute: str | None = None


def _refusal(error: type[VirError], template: str, domain: int) -> Refusal:
    return lambda text: error(template.replace("{}", text), domain=domain)


def xml_error(template: str, domain: int = VIR_FROM_DOMAIN) -> Refusal:
    """A refusal with VIR_ERR_XML_ERROR; ``{}`` in the template stands for the text."""
    return _refusal(XmlError, template, domain)


def unsupported(template: str, domain: int = VIR_FROM_DOMAIN) -> Refusal:
    """A refusal with VIR_ERR_CONFIG_UNSUPPORTED."""
    return _refusal(ConfigUnsupported, template, domain)


def detail(template: str, domain: int = VIR_FROM_DOMAIN) -> Refusal:
    """A refusal with VIR_ERR_XML_DETAIL."""
    return _refusal(XmlDetail, template, domain)


def internal(template: str, domain: int = VIR_FROM_DOMAIN) -> Refusal:
    """A refusal with VIR_ERR_INTERNAL_ERROR."""
    return _refusal(InternalError, template, domain)


def missing_attribute(element: str, name: str) -> VirError:
    """The error for an attribute that must be there and is not."""
    return XmlError(f"Missing required attribute '{name}' in element '{element}'", domain=VIR_FROM_XML)


def bad_value(where: Where, text: str, expected: str = ".") -> VirError:
    """The error for an attribute's value of the wrong form."""
    if where.attribute is None:
        return XmlError(
            f"Invalid value for element '{where.element}': '{text}'{expected}", domain=VIR_FROM_XML
        )
    return XmlError(
        f"Invalid value for attribute '{where.attribute}' in element '{where.element}': '{text}'{expected}",
        domain=VIR_FROM_XML,
    )


@attrs.frozen
class Scalar:
    """Text that stands for itself; the base of all kinds of values."""

    def read(self, text: str, where: Where) -> Any:
        """The value of a text, None for one that says nothing; raises VirError."""
        return text

    def write(self, value: Any) -> str:
        """The text of a value."""
        return str(value)


@attrs.frozen
class Text(Scalar):
    """Any text.

    Args:
        empty: whether the empty text is a value (else it is as if the attribute were not there).
    """

    empty: bool = False

    def read(self, text: str, where: Where) -> str | None:
        return text if text or self.empty else None


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


@attrs.frozen
class Choice(Scalar):
    """One of a set of words.

    Args:
        words: all that are allowed, space separated.
        silent: words that are accepted and mean the same as no attribute.
        refusal: the error for other words, where it is not the usual one.
        lenient: other words are as good as no attribute.
    """

    words: frozenset[str] = attrs.field(converter=_words)
    silent: str | None = None
    refusal: Refusal | None = None
    lenient: bool = False

    def read(self, text: str, where: Where) -> str | None:
        if text == self.silent:
            return None
        if text in self.words:
            return text
        if self.lenient:
            return None
        raise self.refusal(text) if self.refusal else bad_value(where, text)


@attrs.frozen
class Boolean(Scalar):
    """A switch with two words.

    Args:
        true, false: the words.
        refusal: the error for other words, where it is not the usual one.
        lenient: other words mean false.
    """

    true: str
    false: str
    refusal: Refusal | None = None
    lenient: bool = False

    def read(self, text: str, where: Where) -> bool:
        if text == self.true:
            return True
        if text == self.false:
            return False
        if self.lenient:
            return False
        raise self.refusal(text) if self.refusal else bad_value(where, text)

    def write(self, value: Any) -> str:
        return self.true if value else self.false


def yes_no(refusal: Refusal | None = None) -> Boolean:
    """A switch written ``yes`` or ``no``."""
    return Boolean("yes", "no", refusal)


def on_off(refusal: Refusal | None = None) -> Boolean:
    """A switch written ``on`` or ``off``."""
    return Boolean("on", "off", refusal)


_DECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]{1,40})\Z")
_ANY_BASE: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]{1,40})|([0-9]{1,40}))\Z")
_HEX: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX])?([0-9a-fA-F]{1,40})\Z")


def parse_integer(text: str, *, base: int = 10, low: int = 0, high: int = 2**32 - 1) -> int | None:
    """A C integer, or None where the text is none or lies outside the bounds (both inclusive)."""
    if base == 10:
        match = _DECIMAL.match(text)
        number = int(match[2]) if match else None
    elif base == 16:
        match = _HEX.match(text)
        number = int(match[2], 16) if match else None
    else:
        match = _ANY_BASE.match(text)
        number = None
        if match and match[2] is not None:
            number = int(match[2], 16)
        elif match and match[3].startswith("0"):
            number = int(match[3], 8) if not set(match[3]) & {"8", "9"} else None
        elif match:
            number = int(match[3])
    if match is None or number is None:
        return None
    if match[1] == "-":
        number = -number
    return number if low <= number <= high else None


@attrs.frozen
class Integer(Scalar):
    """A whole number.

    Args:
        bits: its width in C.
        signed: whether negative numbers are allowed.
        base: 10, 16, or 0 for C's prefixes.
        zero: ``ok``, ``silent`` (read as if it were not there) or ``refused``.
        style: how it is printed, a format specification such as ``#06x``.
        refusal: the error for what is no number of this kind, where it is not the usual one.
        lenient: what is no number is as good as not there.
        natural: a signed number in C that may not be negative, which has words of its own.
        low, high: narrower bounds than the width gives.
    """

    bits: int = 32
    signed: bool = False
    base: int = 10
    zero: str = "ok"
    style: str = "d"
    refusal: Refusal | None = None
    lenient: bool = False
    natural: bool = False
    low: int | None = None
    high: int | None = None

    def read(self, text: str, where: Where) -> int | None:
        if self.natural and (parse_integer(text, base=self.base, low=-(2**31)) or 0) < 0:
            raise bad_value(where, text, ". Expected non-negative value")
        low = -(2 ** (self.bits - 1)) if self.signed else 0
        high = 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1
        number = parse_integer(
            text,
            base=self.base,
            low=low if self.low is None else self.low,
            high=high if self.high is None else self.high,
        )
        if number is None:
            if self.lenient:
                return None
            if self.refusal:
                raise self.refusal(text)
            expected = "integer value" if self.signed else "non-negative integer value"
            raise bad_value(where, text, f". Expected {expected}")
        if number == 0 and self.zero != "ok":
            if self.zero == "silent":
                return None
            if self.refusal:
                raise self.refusal(text)
            raise XmlError(
                f"Invalid value for attribute '{where.attribute}' in element '{where.element}':"
                " Zero is not permitted",
                domain=VIR_FROM_XML,
            )
        return number

    def write(self, value: Any) -> str:
        return format(value, self.style)


_UUID_DIGITS: Final = re.compile(r"\s*(?:[- ]*[0-9a-fA-F]{2}){16}\s*\Z")


def parse_uuid(text: str) -> bytes | None:
    """The 16 bytes of a UUID in any of libvirt's forms (dashes and blanks between any bytes), or None."""
    if len(text) > 256 or not _UUID_DIGITS.match(text):
        return None
    return bytes.fromhex("".join(text.replace("-", "").split()))


def format_uuid(value: bytes) -> str:
    """The usual text of a UUID."""
    return str(UUID(bytes=value))


@attrs.frozen
class Uuid(Scalar):
    """A UUID, as 16 bytes."""

    refusal: Refusal | None = None

    def read(self, text: str, where: Where) -> bytes:
        value = parse_uuid(text)
        if value is None:
            raise self.refusal(text) if self.refusal else bad_value(where, text, ". Expected UUID")
        return value

    def write(self, value: Any) -> str:
        return format_uuid(value)


_MAC: Final = re.compile(r"\s*([0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5})\Z")


@attrs.frozen
class Mac(Scalar):
    """A MAC address, as lower-case text with two digits a byte."""

    refusal: Refusal | None = None

    def read(self, text: str, where: Where) -> str:
        match = _MAC.match(text)
        if match is None:
            refusal = self.refusal or xml_error("unable to parse mac address '{}'")
            raise refusal(text)
        return ":".join(f"{int(byte, 16):02x}" for byte in match[1].split(":"))


def address_version(text: str, family: str | None) -> int | None:
    """4 or 6 for an IP address (of a family, where one is named), None for what is none."""
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return None
    return version if family in {None, f"ipv{version}"} else None


_SUFFIXES: Final = {"": 1, "b": 1, "byte": 1, "bytes": 1}
_POWERS: Final = "kmgtpe"


def parse_scaled(
    text: str, unit: str | None, *, path: str, default: int = 1024, high: int = 2**63 - 1
) -> int:
    """A size in bytes: a number and a unit (b, KiB, kB, MiB, ... or k, M, ...).

    Args:
        text: the number.
        unit: the unit attribute, None or empty for the default.
        path: how errors name the place, ``./memory[1]``.
        default: bytes per unit where none is given.
        high: the largest number of bytes allowed.

    Raises:
        VirError: XmlError for no number, InvalidArg for an unknown unit, Overflow.
    """
    number = parse_integer(text, high=2**64 - 1)
    if number is None:
        raise XmlError(f"Invalid value '{text}' for element or attribute '{path}'", domain=VIR_FROM_XML)
    scale = default
    if unit:
        lower = unit.lower()
        known = _SUFFIXES.get(lower)
        if known is not None:
            scale = known
        elif lower[0] in _POWERS and lower[1:] in {"", "ib", "b"}:
            scale = (1000 if lower[1:] == "b" else 1024) ** (_POWERS.index(lower[0]) + 1)
        else:
            raise InvalidArg(f"unknown suffix '{unit}'", domain=VIR_FROM_NONE)
    if number * scale > high:
        raise Overflow(f"value too large: {number}{unit or ''}", domain=VIR_FROM_NONE)
    return number * scale
