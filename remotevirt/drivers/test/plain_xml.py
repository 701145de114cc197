"""Documents that are kept as they came, and printed in libvirt's manner.

Networks, interfaces and node devices of a world are not taken apart: what a node file says of them is
shown again, with two spaces a level and single quotes, so that a document that libvirt has printed comes
back as it was. Comments and what is not of libvirt's plain vocabulary are dropped.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, XmlError
from remotevirt.xml.write import Tag, render

__all__ = ["child_text", "print_element", "take_uuid"]


def _tag(element: Any) -> Tag:
    """Return an element as the XML room writes it."""
    children = [_tag(child) for child in element if isinstance(child.tag, str)]
    tag = Tag(element.tag, hold=element.text is not None and not children and not element.text.strip())
    for name, value in element.attrib.items():
        if not name.startswith("{"):
            tag.set(name, value)
    if children:
        tag.children.extend(children)
    elif element.text and element.text.strip():
        tag.text = element.text.strip()
    return tag


def print_element(element: Any) -> str:
    """Return an element's text."""
    return render(_tag(element))


def child_text(element: Any, name: str, missing: str) -> str:
    """Return the text of a child that must be there.

    Raises:
        XmlError: it is not; ``missing`` says so.
    """
    text = element.findtext(name)
    if not text or not text.strip():
        raise XmlError(missing, domain=c.VIR_FROM_TEST)
    return str(text).strip()


def take_uuid(element: Any) -> bytes:
    """Return the UUID of an object, which is given one behind its name if it has none."""
    found = element.find("uuid")
    if found is None:
        found = element.makeelement("uuid")
        name = element.find("name")
        name.addnext(found)
        found.text = str(uuid4())
    try:
        return UUID((found.text or "").strip()).bytes
    except ValueError:
        raise InternalError("malformed uuid element", domain=c.VIR_FROM_TEST) from None
