"""``<metadata>``: what applications keep with a domain; libvirt only carries it.

The children are kept as elements of lxml and printed as libxml2 does, with double quotes and the prefixes of
the one who wrote them. Every application has one element, known by its namespace: that of the later one wins
nothing, the first stays.
"""

from __future__ import annotations

import copy
from typing import ClassVar, Self

import attrs
from lxml import etree

from remotevirt.xml.fields import Model, Printing, Reading
from remotevirt.xml.parse import Element
from remotevirt.xml.write import Tag, Verbatim

__all__ = ["Metadata"]


class _Indented(Verbatim):
    """The element, indented like what stands around it."""

    __slots__ = ("_metadata",)

    def __init__(self, metadata: Metadata) -> None:
        super().__init__("")
        self._metadata = metadata

    def write(self, out: list[str], indent: str) -> None:
        out.append(self._metadata.text(len(indent) // 2))


@attrs.define
class Metadata(Model):
    """The elements of all applications; never changed in place."""

    TAG: ClassVar[str] = "metadata"
    root: Element = attrs.field(default=None)

    @classmethod
    def read(cls, element: Element, how: Reading) -> Self:
        # As libxml2 copies it, with a declaration for each prefix that is declared further out.
        root = copy.deepcopy(element)
        root.text = root.tail = None
        seen: set[str] = set()
        for part in list(root):
            space = (
                part.tag[1:].partition("}")[0]
                if isinstance(part.tag, str) and part.tag.startswith("{")
                else None
            )
            if space is not None and space not in seen:
                seen.add(space)
                part.tail = None
            else:
                root.remove(part)
        model = cls()
        model.root = root
        return model

    def print_into(self, parent: Tag, how: Printing) -> None:
        parent.add(_Indented(self))

    def text(self, depth: int = 1) -> str:
        """The element as libvirt prints it inside others, so many levels deep."""
        around = inner = etree.Element("around")
        for _ in range(depth - 1):
            inner = etree.SubElement(inner, "around")
        inner.append(copy.deepcopy(self.root))
        printed: str = etree.tostring(around, encoding="unicode", pretty_print=True)
        return "".join(printed.splitlines(keepends=True)[depth:-depth])

    def copy(self) -> Self:
        return type(self)(self.root)
