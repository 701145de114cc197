"""Sizes with a unit, as ``<memory unit='MiB'>512</memory>`` and the like.

Guests' memory is counted in KiB, rounded up; other sizes in bytes. What is printed has always the same unit,
whatever was read.
"""

from __future__ import annotations

from typing import Any

import attrs

from remotevirt.stubs.constants import VIR_FROM_XML
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.fields import Printing, Reading, Source, hook
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import Scalar, Where, parse_scaled
from remotevirt.xml.write import Tag, leaf

__all__ = ["Size", "kibibytes", "kibibytes_of", "sized"]


def kibibytes(text: str, unit: str | None, path: str) -> int:
    """KiB of a number and a unit (KiB where there is none), rounded up; ``path`` is for errors."""
    return -(-parse_scaled(text, unit, path=path) // 1024)


@attrs.frozen
class Size(Scalar):
    """The number of a size whose unit stands beside it; the model that has both brings them together."""

    def read(self, text: str, where: Where) -> int:
        return parse_scaled(text, None, path=f"./@{where.attribute}", default=1)


def kibibytes_of(element: Element, path: str) -> int | None:
    """KiB of an element with a unit attribute and a number in it; None for an empty one."""
    text = text_of(element)
    return kibibytes(text, element.get("unit"), path) if text else None


def sized_leaf(name: str, value: int, unit: str = "KiB") -> Tag:
    """The element of a size."""
    return leaf(name, value).set("unit", unit)


def sized(
    name: str, *, path: str | None = None, unit: str = "KiB", scale: int = 1024, required: bool = False
) -> Any:
    """A child element that holds a size.

    Args:
        name: of the element.
        path: how errors name it; ``./NAME`` if not given.
        unit: ``KiB`` (kept and printed in KiB, rounded up) or ``bytes``.
        scale: bytes per unit where the document names no unit.
        required: whether it must be there.
    """
    where = path or f"./{name}"
    divisor = 1024 if unit == "KiB" else 1

    def read(source: Source, how: Reading, model: Any) -> int | None:
        element = source.first(name)
        text = text_of(element) if element is not None else ""
        if element is None or not text:
            if required:
                raise XmlError(f"missing element or attribute '{where}'", domain=VIR_FROM_XML)
            return None
        return -(-parse_scaled(text, element.get("unit"), path=where, default=scale) // divisor)

    def write(value: Any, how: Printing, model: Any) -> Tag:
        return sized_leaf(name, value, unit)

    return hook(read, write)
