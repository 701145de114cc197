"""Writing XML the way libvirt prints it.

Two spaces a level, attributes in single quotes, ``/>`` where there is nothing inside. Text and attribute
values share one way of escaping: the five special characters become entities (both quotes included),
control characters that XML cannot carry are dropped, tabs and line ends stay as they are.

A document is first a small tree of :class:`Tag` and then text, so that those who print an element need not
know how deep it stands.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Tag", "Verbatim", "escape", "leaf", "render"]

_SPECIAL: Final = re.compile("[&<>\"'\x01-\x08\x0b\x0c\x0e-\x1f]")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def escape(text: str) -> str:
    """Escape text for an attribute or an element, as libvirt's ``virBufferEscapeString`` does."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], ""), text)


class Verbatim:
    """Text that is XML already, indentation and all."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def write(self, out: list[str], indent: str) -> None:
        out.append(self.text)


class Tag:
    """An element on its way out.

    Args:
        name: of the element.
        hold: print a start and an end tag even if nothing is inside.
    """

    __slots__ = ("attributes", "children", "hold", "name", "text")

    def __init__(self, name: str, *, hold: bool = False) -> None:
        self.name = name
        self.attributes: list[tuple[str, str]] = []
        self.children: list[Tag | Verbatim] = []
        self.text: str | None = None
        self.hold = hold

    def set(self, name: str, value: object) -> Tag:
        """Add an attribute; None adds nothing."""
        if value is not None:
            self.attributes.append((name, str(value)))
        return self

    def add(self, child: Tag | Verbatim) -> None:
        """Add a child at the end."""
        self.children.append(child)

    def is_bare(self) -> bool:
        """Whether there is nothing to say but the name."""
        return not (self.attributes or self.children or self.text is not None)

    def write(self, out: list[str], indent: str) -> None:
        start = f"{indent}<{self.name}"
        if self.attributes:
            start += "".join([f" {name}='{escape(value)}'" for name, value in self.attributes])
        if self.text is not None:
            out.append(f"{start}>{escape(self.text)}</{self.name}>\n")
        elif self.children or self.hold:
            out.append(start + ">\n")
            deeper = indent + "  "
            for child in self.children:
                child.write(out, deeper)
            out.append(f"{indent}</{self.name}>\n")
        else:
            out.append(start + "/>\n")


def leaf(name: str, text: object) -> Tag:
    """An element with text in it."""
    tag = Tag(name)
    tag.text = str(text)
    return tag


def render(tag: Tag, indent: str = "") -> str:
    """The text of an element, with a line end after it."""
    out: list[str] = []
    tag.write(out, indent)
    return "".join(out)
