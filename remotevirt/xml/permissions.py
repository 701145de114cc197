"""``<permissions>``: whose a directory or file is; of storage pools and volumes alike."""

from __future__ import annotations

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import parse_integer
from remotevirt.xml.write import Tag, leaf

__all__ = ["Permissions"]

MODE_MAXIMUM = 0o777


@attrs.frozen
class Permissions:
    """None is "not said"."""

    mode: int | None = None
    owner: int | None = None
    group: int | None = None
    label: str | None = None

    @classmethod
    def read(cls, element: Element | None) -> Permissions:
        """Read; raises XmlError."""
        if element is None:
            return cls()
        label = element.find("label")
        return cls(
            _number(element, "mode"),
            _number(element, "owner"),
            _number(element, "group"),
            None if label is None else text_of(label) or None,
        )

    def tag(self) -> Tag | None:
        """Return the element, None if there is nothing to say."""
        made = Tag("permissions")
        if self.mode is not None:
            made.add(leaf("mode", f"0{self.mode:o}"))
        for name, value in (("owner", self.owner), ("group", self.group), ("label", self.label)):
            if value is not None:
                made.add(leaf(name, value))
        return None if made.is_bare() else made


def _number(element: Element, name: str) -> int | None:
    """Return a number of the element; -1 is as good as not there."""
    found = element.find(name)
    text = "" if found is None else text_of(found)
    if not text:
        return None
    if name == "mode":
        octal = text.strip().isdigit() and not set(text) & {"8", "9"} and len(text) <= 8
        value = int(text, 8) if octal else None
        if value is None or value > MODE_MAXIMUM:
            raise XmlError("malformed octal mode", domain=c.VIR_FROM_STORAGE)
        return value
    value = parse_integer(text, low=-1)
    if value is None:
        raise XmlError(f"malformed {name} element", domain=c.VIR_FROM_STORAGE)
    return None if value == -1 else value
