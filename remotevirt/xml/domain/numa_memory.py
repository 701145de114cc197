"""How fast NUMA cells reach memory: the caches before it, and delays and bandwidths between cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.fields import Model, Printing, Reading, Source, attribute
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Integer, parse_integer, parse_scaled
from remotevirt.xml.write import Tag

__all__ = ["CellCache", "Interconnects"]

MAX_LEVEL: Final = 255
"""The highest level of a cache; libvirt's own bound."""

WAYS: Final = ("none", "direct", "full")
POLICIES: Final = ("none", "writeback", "writethrough")


def _wrong(text: str) -> XmlError:
    return XmlError(text, domain=VIR_FROM_DOMAIN)


@attrs.define
class CellCache(Model):
    """A cache before a cell's memory: size in KiB, line in bytes, as which any unit is read."""

    TAG: ClassVar[str] = "cache"
    level: int = attrs.field(default=0)
    associativity: str = attrs.field(default="none")
    policy: str = attrs.field(default="none")
    size: int = attrs.field(default=0)
    line: int = attrs.field(default=0)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        place = f"attribute in cache element for NUMA node {_number_of(source.element.getparent())}"
        for name in ("level", "associativity"):
            if source.get(name) is None:
                raise _wrong(f"Missing '{name}' {place}")
        level = parse_integer(source.get("level") or "") or 0
        if level <= 0:
            raise _wrong(f"Invalid 'level' {place}")
        ways, policy = source.get("associativity"), source.get("policy")
        if ways not in WAYS:
            raise _wrong(f"Invalid cache associativity '{ways}'")
        if policy not in POLICIES:
            raise _wrong(f"Invalid cache policy '{'(null)' if policy is None else policy}'")
        size = _amount(source, "size", 1024) // 1024
        line = _amount(source, "line", 1)
        if level > MAX_LEVEL:
            raise _wrong("Ain't nobody heard of that much cache level")
        return cls(level, ways, policy, size, line)

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("level", self.level)
        for name, value in (("associativity", self.associativity), ("policy", self.policy)):
            tag.set(name, value if value != "none" else None)
        tag.add(Tag("size").set("value", self.size).set("unit", "KiB"))
        if self.line:
            tag.add(Tag("line").set("value", self.line).set("unit", "B"))


def _number_of(cell: Element) -> str:
    """Return a cell's own number, or that of its place."""
    own: str | None = cell.get("id")
    return own if own is not None else str(sum(1 for _ in cell.itersiblings("cell", preceding=True)))


def _amount(source: Source, name: str, scale: int) -> int:
    element = source.first(name)
    text = element.get("value") if element is not None else None
    path = f"./{name}/@value"
    if text is None:
        raise XmlError(f"missing element or attribute '{path}'", domain=VIR_FROM_XML)
    return parse_scaled(text, None, path=path, default=scale)


@attrs.define
class Interconnect(Model):
    """A path from where processors ask to where the memory is; a cache of that side may be meant."""

    initiator: int = attribute("initiator", Integer(), required=True)
    target: int = attribute("target", Integer(), required=True)
    cache: int | None = attribute("cache", Integer(zero="silent"))
    type: str = attribute("type", Choice("access read write"), required=True)


@attrs.define
class Latency(Interconnect):
    """A delay."""

    TAG: ClassVar[str] = "latency"
    value: int = attribute("value", Integer(bits=64), required=True)


@attrs.define
class Throughput(Interconnect):
    """A bandwidth, in KiB per second."""

    TAG: ClassVar[str] = "bandwidth"
    value: int = attrs.field(default=0)

    def complete(self, source: Source, how: Reading) -> None:
        text = source.get("value")
        if text is None:
            raise XmlError("missing element or attribute './@value'", domain=VIR_FROM_XML)
        self.value = parse_scaled(text, source.get("unit"), path="./@value") // 1024

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.set("value", self.value).set("unit", "KiB")


@attrs.define
class Interconnects(Model):
    """All paths, in the document's order."""

    TAG: ClassVar[str] = "interconnects"
    paths: list[Interconnect] = attrs.field(factory=list)

    def complete(self, source: Source, how: Reading) -> None:
        kinds: dict[str, type[Interconnect]] = {"latency": Latency, "bandwidth": Throughput}
        for element in source.element:
            kind = kinds.get(element.tag) if isinstance(element.tag, str) else None
            if kind is not None:
                self.paths.append(kind.read(element, how))

    def fill(self, tag: Tag, how: Printing) -> None:
        for path in self.paths:
            path.print_into(tag, how)

    def check(self, levels: Sequence[set[int]]) -> None:
        """Check that paths lead somewhere, and that none is given twice.

        Args:
            levels: of each cell, the levels of its caches.

        Raises:
            XmlError: it is not so.
        """
        seen: set[tuple[object, ...]] = set()
        for path in self.paths:
            for name in ("initiator", "target"):
                if getattr(path, name) >= len(levels):
                    raise _wrong(f"'{name}' refers to a non-existent NUMA node")
            if path.cache is not None and path.cache not in levels[path.target]:
                raise _wrong("'cache' refers to a non-existent NUMA node cache")
            key = (path.TAG, path.initiator, path.target, path.cache, path.type)
            if key in seen:
                raise _wrong("Duplicate info for NUMA latencies")
            seen.add(key)
