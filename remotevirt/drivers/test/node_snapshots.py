"""The snapshots that a node file says a domain has.

They stand in the domain's XML, in the namespace of :mod:`remotevirt.drivers.test.runstate`, each as the
description of a snapshot or in a file of its own, relative to the node's::

    <test:domainsnapshot file='before.xml'/>
    <test:domainsnapshot> <name>after</name> ... <active>1</active> </test:domainsnapshot>

``active`` is 1 for the current one. Parents may stand behind their children.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lxml import etree

from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.runstate import NAMESPACE
from remotevirt.drivers.test.snapshots import complete_description
from remotevirt.drivers.test.world import World
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.parse import parse_document, text_of
from remotevirt.xml.snapshot import SnapshotModel, parse_snapshot

__all__ = ["load_snapshots"]

TAG = f"{{{NAMESPACE}}}domainsnapshot"


def load_snapshots(world: World, record: DomainRecord, domain: Any, element_of: Callable[[Any], Any]) -> None:
    """Take in the snapshots of a domain.

    Args:
        world: where the domain is.
        record: the domain.
        domain: its element.
        element_of: returns the element of an object that may stand in a file of its own.

    Raises:
        VirError: a description is wrong, its file cannot be read, or its parent is not there.
    """
    waiting: list[SnapshotModel] = []
    current: str | None = None
    for element in domain.findall(TAG):
        text = _text_of(element_of(element))
        model = parse_snapshot(text, defaults=TestDefinition.DEFAULTS, now=lambda: 0, redefine=True)
        model.size = model.guest_size = len(text)
        root = parse_document(text, root="domainsnapshot", source="(domain_snapshot)")
        active = root.find("active")
        if active is not None and text_of(active).strip() not in ("", "0"):
            if current is not None:
                raise InternalError("more than one snapshot claims to be active", domain=c.VIR_FROM_TEST)
            current = model.name
        waiting.append(model)
    while waiting:
        # those whose parents are there; with none left the first says what is wrong with it
        known = record.snapshots.by_name
        ready = [model for model in waiting if model.parent is None or model.parent in known]
        for model in ready or waiting[:1]:
            complete_description(record, model)
            world.keep_moment(record, record.snapshots, model, current=model.name == current)
            waiting.remove(model)


def _text_of(element: Any) -> str:
    """Return a description as a document of its own, out of the namespace that it may stand in."""
    root = etree.Element("domainsnapshot")
    root.extend(list(element))
    return str(etree.tostring(root, encoding="unicode"))
