"""Which types of pools can be had, as a document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from remotevirt.drivers.pools.kinds import TYPES
from remotevirt.xml.pool_source import TRAITS
from remotevirt.xml.storage_volume import FORMATS
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["format_capabilities"]

WITH_SOURCES: Final = ("fs", "netfs", "logical", "disk")
"""Types whose sources have formats to tell of."""

NO_TARGETS: Final = ("rbd",)
"""Types whose volumes have a format, and no choice."""

ORDERS: Final = {"logical": ("unknown", "lvm2")}
"""The formats of sources, where libvirt tells the default last."""


def format_capabilities(supported: Collection[str]) -> str:
    """Return the document; ``supported`` are the types that can be had."""
    root = Tag("storagepoolCapabilities")
    for kind in TYPES:
        pool = Tag("pool", hold=True)
        pool.set("type", kind).set("supported", "yes" if kind in supported else "no")
        formats = TRAITS[kind].formats
        if kind in WITH_SOURCES:
            pool.add(_options("poolOptions", formats[0], "source", ORDERS.get(kind, formats)))
        targets = FORMATS.get(kind, ())
        if targets:
            plain = tuple(word for word in targets if word != "luks")
            words = () if kind in NO_TARGETS else plain if plain[0] == "none" else ("none", *plain)
            pool.add(_options("volOptions", targets[0], "target", words))
        root.add(pool)
    return render(root)


def _options(name: str, default: str, what: str, words: Collection[str]) -> Tag:
    made = Tag(name)
    made.add(Tag("defaultFormat").set("type", default))
    enum = Tag("enum", hold=True).set("name", f"{what}FormatType")
    for word in words:
        enum.add(leaf("value", word))
    made.add(enum)
    return made
