"""Sets of CPUs and NUMA nodes in libvirt's notation: ``0-3,^2,8``.

A set is kept as its canonical text (``0-1,3,8``), which is how it is printed and compared; its members are
counted out only on demand. Members are below 16384, whatever a document says.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg
from remotevirt.xml.values import Scalar, Where

__all__ = ["MAX_CPUS", "CpuSet", "format_bitmap", "format_mask", "parse_bitmap", "parse_mask"]

MAX_CPUS: Final = 16384
"""The largest set: libvirt's VIR_DOMAIN_CPUMASK_LEN."""

_PART: Final = re.compile(r"\s*(\^?)([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?\Z")


def parse_mask(text: str) -> int:
    """A set as a number with a bit for each member; raises InvalidArg for what is no set."""
    mask = 0
    for part in text.rstrip().removesuffix(",").split(","):
        match = _PART.match(part)
        if match is None:
            raise _bad(text)
        first = int(match[2])
        last = first if match[3] is None else int(match[3])
        if last < first or last >= MAX_CPUS or (match[1] and match[3] is not None):
            raise _bad(text)
        bits = ((1 << (last - first + 1)) - 1) << first
        mask = mask & ~bits if match[1] else mask | bits
    return mask


def format_mask(mask: int) -> str:
    """The canonical text of a set given by its bits."""
    parts: list[str] = []
    start = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        start += zeros
        ones = (~mask & (mask + 1)).bit_length() - 1
        parts.append(str(start) if ones == 1 else f"{start}-{start + ones - 1}")
        mask >>= ones
        start += ones
    return ",".join(parts)


def parse_bitmap(text: str) -> set[int]:
    """The members of a set; raises InvalidArg for what is none."""
    mask = parse_mask(text)
    return {number for number in range(mask.bit_length()) if mask >> number & 1}


def format_bitmap(members: set[int]) -> str:
    """The canonical text of a set."""
    mask = 0
    for member in members:
        mask |= 1 << member
    return format_mask(mask)


def _bad(text: str) -> InvalidArg:
    return InvalidArg(f"Failed to parse bitmap '{text}'", domain=VIR_FROM_NONE)


@attrs.frozen
class CpuSet(Scalar):
    """A set as its canonical text; it may not be empty."""

    def read(self, text: str, where: Where) -> str:
        canonical = format_mask(parse_mask(text))
        if not canonical:
            raise ConfigUnsupported(
                f"Invalid value of '{where.attribute or where.element}': {text}", domain=VIR_FROM_DOMAIN
            )
        return canonical
