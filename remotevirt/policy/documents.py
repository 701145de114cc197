"""What a document says it defines: name, UUID, and the metadata that a policy asks about.

Only what every reader would read alike is taken. A name that appears twice, has other elements in it, is
padded with white space or stands in a namespace is *not known*, and then only rights that hold for every
object help. Otherwise a driver that has a parser of its own could be shown another name than we were.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from remotevirt.policy.rules import NAMELESS, Thing
from remotevirt.stubs import constants as vir
from remotevirt.xml.parse import Element, local_name, parse_fragment
from remotevirt.xml.values import parse_uuid

__all__ = ["LAYOUTS", "Layout", "metadata_element", "read_document"]

FRESH: Final = b""
"""The UUID of what has none in its document: the driver will make one that nothing has yet."""


SHORT: Final = 512
"""Characters of metadata up to which its element is kept: the mark of a tenant, not a document."""

KEPT: Final = 1024
"""Elements of metadata that are kept. Tenants have many guests and one mark."""


class Layout(NamedTuple):
    """How documents of a kind of object are read.

    Attributes:
        source: what libvirt calls the text in errors.
        domain: virErrorDomain of syntax errors.
        name: ``"name"`` for an element, ``"@name"`` for an attribute of the root, ``"portdev@name"`` for one
            of a child; ``"usage/*"`` for the one child of an element that is not a description; None: the
            document does not decide it.
    """

    source: str
    domain: int
    name: str | None = "name"


LAYOUTS: Final[dict[str, Layout]] = {
    "domain": Layout("(domain_definition)", vir.VIR_FROM_DOMAIN),
    "network": Layout("(network_definition)", vir.VIR_FROM_NETWORK),
    "network_port": Layout("(networkport_definition)", vir.VIR_FROM_NETWORK, ""),
    "storage_pool": Layout("(storage_pool_definition)", vir.VIR_FROM_STORAGE),
    "storage_vol": Layout("(storage_volume_definition)", vir.VIR_FROM_STORAGE),
    "interface": Layout("(interface_definition)", vir.VIR_FROM_INTERFACE, "@name"),
    "node_device": Layout("(node_device_definition)", vir.VIR_FROM_NODEDEV, None),
    "nwfilter": Layout("(nwfilter_definition)", vir.VIR_FROM_NWFILTER, "@name"),
    "nwfilter_binding": Layout("(nwfilterbinding_definition)", vir.VIR_FROM_NWFILTER, "portdev@name"),
    "secret": Layout("(definition_of_secret)", vir.VIR_FROM_SECRET, "usage/*"),
}
"""Kind of object -> how its documents are read."""


def read_document(kind: str, xml: str, uris: frozenset[str]) -> Thing:
    """Return what a document defines, as far as it is certain.

    Args:
        kind: of object.
        xml: from a client.
        uris: namespaces whose metadata matters.

    Raises:
        VirError: it is no XML, or costs too much.
    """
    layout = LAYOUTS[kind]
    root = parse_fragment(xml, source=layout.source, domain=layout.domain)
    thing = Thing(kind, _name(root, layout.name), _uuid(root))
    if kind == "node_device":
        thing.uuid = FRESH
    if uris:
        thing.metadata = _metadata(root, uris)
    return thing


def _children(root: Element, name: str) -> list[Any]:
    return [child for child in root if isinstance(child.tag, str) and local_name(child) == name]


def _only(root: Element, name: str) -> Element | None:
    """Return the one child of a name, in no namespace; None if there is none or it is not so."""
    found = _children(root, name)
    return found[0] if len(found) == 1 and found[0].tag == name else None


def _text(element: Element | None) -> str | None:
    """Return the plain text of an element, None if there is any doubt about it."""
    if element is None or len(element) or not element.text or element.text != element.text.strip():
        return None
    text: str = element.text
    return text


def _name(root: Element, where: str | None) -> str | None:
    if where is None:
        return None
    if not where:
        return NAMELESS
    if where == "usage/*":
        usages = _children(root, "usage")
        if not usages:
            return NAMELESS
        usage = _only(root, "usage")
        children = [] if usage is None else [child for child in usage if isinstance(child.tag, str)]
        return _text(children[0]) if len(children) == 1 else None
    path, at, attribute = where.partition("@")
    if not at:
        return _text(_only(root, where))
    element = _only(root, path) if path else root
    name = None if element is None else element.get(attribute)
    return name if name and name == name.strip() else None


def _uuid(root: Element) -> bytes | None:
    if not _children(root, "uuid"):
        return FRESH
    text = _text(_only(root, "uuid"))
    return None if text is None else parse_uuid(text)


def _metadata(root: Element, uris: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    blocks = _children(root, "metadata")
    if len(blocks) > 1 or (blocks and blocks[0].tag != "metadata"):
        return found
    for uri in uris:
        children = [
            child
            for block in blocks
            for child in block
            if isinstance(child.tag, str) and child.tag.startswith(f"{{{uri}}}")
        ]
        if len(children) <= 1:
            found[uri] = children[0] if children else None
    return found


def metadata_element(xml: str) -> Element:
    """Parse what domain_get_metadata has returned. The element must not be changed: it may be kept.

    Raises:
        VirError: it is no XML.
    """
    return _short(xml) if len(xml) <= SHORT else parse_fragment(xml, source="(metadata)")


@lru_cache(KEPT)
def _short(xml: str) -> Element:
    return parse_fragment(xml, source="(metadata)")
