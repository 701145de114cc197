"""Elements of applications in a domain's metadata: put in under a namespace, taken out without it.

Whoever stores an element says under which namespace and prefix it shall stand; what has no namespace of
its own gets that one. Whoever asks for the element gets it back as it was given, without the namespace.
Elements are never changed: a new one is made, because copies of a definition share them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, Final

from lxml import etree

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.parse import parse_fragment

__all__ = ["element_text", "find_element", "replace_element", "stored_element"]

PREFIX: Final = re.compile(r"[^\W\d][\w.\-]*\Z")
"""What may stand before a colon in a name."""

Change = Callable[[str | None], str | None]
"""From a name's namespace to the one it shall have."""


def stored_element(text: str, uri: str, key: str) -> Any:
    """Return an application's element, put into its namespace.

    Args:
        text: the element.
        uri: the namespace.
        key: its prefix.

    Raises:
        VirError: the text is no XML, or namespace and prefix make none.
    """
    element = _with_blanks(text)
    if not PREFIX.match(key):
        raise InternalError("failed to validate prefix for a new XML namespace", domain=c.VIR_FROM_XML)
    if key in element.nsmap:
        raise InternalError("failed to create a new XML namespace", domain=c.VIR_FROM_XML)
    try:
        return _changed(element, lambda space: space or uri, {key: uri})
    except ValueError:
        raise InternalError("failed to create a new XML namespace", domain=c.VIR_FROM_XML) from None


def _with_blanks(text: str) -> Any:
    """Parse an application's element, keeping the white space between its children, as libvirt does here.

    Raises:
        VirError: it is no XML, or costs too much.
    """
    parse_fragment(text, source="(metadata_xml)")  # bounds the cost, and words what is wrong
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False
    )
    try:
        return etree.fromstring(text.encode("utf-8", "surrogateescape").partition(b"\0")[0], parser)
    except etree.XMLSyntaxError:
        # A prefix of no namespace: libvirt keeps such an element, and then cannot read it again.
        raise InternalError("failed to create a new XML namespace", domain=c.VIR_FROM_XML) from None


def find_element(root: Any, uri: str) -> Any:
    """Return the first child in a namespace, None if there is none."""
    for child in root:
        if isinstance(child.tag, str) and etree.QName(child).namespace == uri:
            return child
    return None


def element_text(element: Any, uri: str) -> str:
    """Return the text of an element without its namespace."""
    bare = _changed(element, lambda space: None if space == uri else space, {}, uri)
    return str(etree.tostring(bare, encoding="unicode", pretty_print=True)).removesuffix("\n")


def replace_element(root: Any, uri: str, element: Any) -> Any:
    """Return a new metadata element, with one child of a namespace instead of all that were there.

    Args:
        root: the metadata, or None.
        uri: the namespace.
        element: the new child, or None.
    """
    made = etree.Element("metadata") if root is None else copy.deepcopy(root)
    while (found := find_element(made, uri)) is not None:
        made.remove(found)
    if element is not None:
        made.append(element)
    return made


def _changed(
    element: Any, change: Change, extra: dict[str, str], drop: str | None = None, parent: Any = None
) -> Any:
    """Return a copy of an element with other namespaces.

    Args:
        element: the original.
        change: from old to new namespaces.
        extra: prefixes to declare.
        drop: a namespace whose prefixes are no longer declared.
        parent: what the copy is to be put into.
    """
    declared = _declared(element, is_root=parent is None)
    prefixes = {prefix: space for prefix, space in declared.items() if space != drop} | extra
    tag = _name(element.tag, change)
    if parent is None:
        made = etree.Element(tag, nsmap=prefixes)
    else:
        made = etree.SubElement(parent, tag, nsmap=prefixes)
    for name, value in element.attrib.items():
        made.set(_name(name, change) if drop and name.startswith("{") else name, value)
    made.text = element.text
    for child in element:
        if isinstance(child.tag, str):
            copied = _changed(child, change, {}, drop, made)
        else:
            copied = copy.deepcopy(child)
            made.append(copied)
        copied.tail = child.tail
    return made


def _name(name: str, change: Change) -> str:
    """Return a name with its namespace changed."""
    qualified = etree.QName(name)
    space = change(qualified.namespace)
    return f"{{{space}}}{qualified.localname}" if space else str(qualified.localname)


def _declared(element: Any, *, is_root: bool) -> dict[str | None, str]:
    """Return the prefixes that an element declares, for a root also those that it uses of its parents'."""
    parent = element.getparent()
    around = {} if parent is None else parent.nsmap
    own = {prefix: space for prefix, space in element.nsmap.items() if around.get(prefix) != space}
    if is_root:
        used = {etree.QName(found).namespace for found in element.iter() if isinstance(found.tag, str)}
        used |= {etree.QName(name).namespace for found in element.iter() for name in found.attrib}
        own |= {prefix: space for prefix, space in around.items() if space in used}
    return own
