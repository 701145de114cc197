"""From the XML of a node to a world.

A node file describes a host and what is on it::

    <node>
      <cpu>...</cpu> <memory>...</memory>
      <domain type='test'>...</domain>  <network>...</network>  <interface>...</interface>
      <pool>...</pool>  <device>...</device>
    </node>

Any object may stand in a file of its own (``<domain file='web.xml'/>``), relative to the node's. A domain
says in elements of its own namespace in which state it is found (see
:class:`remotevirt.drivers.test.runstate.RunState`). libvirt takes domains first, then networks,
interfaces, pools and devices, each in the order of the file, and gives ids in that order.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Any, Final

import attrs
from lxml import etree

from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.node_snapshots import load_snapshots
from remotevirt.drivers.test.runstate import read_run_state
from remotevirt.drivers.test.world import World
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, XmlError
from remotevirt.xml.parse import parse_document

__all__ = ["load_world"]

ReadFile = Callable[[str], str]
"""Returns the text of the file at a path."""

MAX_MODEL: Final = 31
"""Characters of the CPU model's name; the wire has room for 32 with the zero byte."""

FIGURES: Final = ("nodes", "sockets", "cores", "threads")


def load_world(text: str, path: str, node: Node, read: ReadFile | None = None) -> World:
    """Make a world of a node's XML.

    Args:
        text: the document.
        path: where it was found, for errors and for files it refers to.
        node: the host, where the document says nothing.
        read: reads files that the document refers to; None where it must not.

    Raises:
        VirError: the document is wrong, with libvirt's text.
    """
    root = parse_document(text, root="node", source=path, domain=c.VIR_FROM_TEST)
    _refuse_auth(root)
    world = World(_node_of(root, node))
    for element in root.findall("domain"):
        _add_domain(world, element, path, read)
    for element in root.findall("network"):
        world.networks.load(_element_of(element, path, "network", read))
    for element in root.findall("interface"):
        world.interfaces.load(_element_of(element, path, "interface", read))
    for element in root.findall("pool"):
        pool = _element_of(element, path, "pool", read)
        world.pools.load(pool, inner=lambda found: _element_of(found, path, "volume", read))
    for element in root.findall("device"):
        world.devices.load(_element_of(element, path, "device", read))
    return world


def _refuse_auth(root: Any) -> None:
    """Refuse a node that asks for a password: through a daemon libvirt cannot ask the user either."""
    if root.find("auth/user") is not None:
        raise InvalidArg("Missing authentication credentials", domain=c.VIR_FROM_AUTH)


def _element_of(element: Any, path: str, kind: str, read: ReadFile | None) -> Any:
    """Return the element of an object, which may stand in a file of its own."""
    name = element.get("file")
    if name is None:
        return element
    full = os.path.join(os.path.dirname(path), name)
    if read is None:
        raise XmlError(f"failed to parse xml document '{full}'", domain=c.VIR_FROM_TEST)
    return parse_document(read(full), root=kind, source=full, domain=c.VIR_FROM_TEST)


def _add_domain(world: World, element: Any, path: str, read: ReadFile | None) -> None:
    """Take in a domain, in the state that it says, with its snapshots."""
    domain = _element_of(element, path, "domain", read)
    definition = TestDefinition.parse(str(etree.tostring(domain, encoding="unicode", with_tail=False)))
    found = read_run_state(domain)
    record, _ = world.assign(definition, live=False)
    world.set_persistent(record, not found.transient)
    if found.state == c.VIR_DOMAIN_SHUTOFF:
        world.set_managed_save(record, found.managed_save)
    elif not record.active:
        world.start(record, 0, found.state)
    load_snapshots(world, record, domain, lambda found: _element_of(found, path, "domainsnapshot", read))


def _number(root: Any, where: str, what: str, default: int) -> int:
    """Return a figure of the host.

    Raises:
        XmlError: it is not a number.
    """
    element = root.find(where)
    if element is None:
        return default
    text = (element.text or "").strip()
    if not text.isascii() or not text.isdigit() or int(text[:12]) > 2**31 - 1:
        raise XmlError(f"invalid node {what} value", domain=c.VIR_FROM_TEST)
    return int(text)


def _node_of(root: Any, node: Node) -> Node:
    """Return the host, as the document changes it."""
    figures = {name: _number(root, f"cpu/{name}", f"cpu {name}", getattr(node, name)) for name in FIGURES}
    cpus = figures["nodes"] * figures["sockets"] * figures["cores"] * figures["threads"]
    active = _number(root, "cpu/active", "cpu active", cpus)
    mhz = _number(root, "cpu/mhz", "cpu mhz", node.mhz)
    model = root.findtext("cpu/model") or node.model
    if len(model.encode()) > MAX_MODEL:
        raise InternalError(f"Model {model[:1024]} too big for destination", domain=c.VIR_FROM_TEST)
    memory = _number(root, "memory", "memory", node.memory)
    return attrs.evolve(
        node,
        nodes=figures["nodes"],
        sockets=figures["sockets"],
        cores=figures["cores"],
        threads=figures["threads"],
        cpus=min(cpus, active, 2**31 - 1),
        mhz=mhz,
        model=model,
        memory=memory,
    )
