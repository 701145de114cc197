"""``<cachetune>`` and ``<memorytune>``: shares of the host's cache and memory bandwidth for virtual CPUs.

Both belong to a resource group of the host's, which is a set of virtual CPUs: two elements with the same set
say two things about one group, and groups do not overlap. A monitor counts what some of its group's virtual
CPUs use.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_RESCTRL, VIR_FROM_XML
from remotevirt.stubs.errors import InvalidArg, XmlError
from remotevirt.xml.bitmap import MAX_CPUS, format_mask, parse_mask
from remotevirt.xml.fields import Model, Printing
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Integer, Where, missing_attribute, parse_scaled
from remotevirt.xml.write import Tag

__all__ = ["ResourceGroup", "read_groups", "write_groups"]

CACHE, MEMORY = "cachetune", "memorytune"

CACHE_TYPES: Final = ("both", "code", "data")
"""What a part of a cache is for, in the order of printing."""

MONITORED_LEVEL: Final = 3
"""The only level of cache that can be monitored."""

MAX_PERCENT: Final = 100

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Cache(NamedTuple):
    """A cache of the host; they are printed in this order."""

    level: int
    type: str
    id: int


class Monitor(NamedTuple):
    """What is counted, for a set of virtual CPUs."""

    tag: str
    vcpus: int


@attrs.define
class ResourceGroup(Model):
    """A set of virtual CPUs, as bits, and what is said about it.

    Attributes:
        caches: bytes of each cache.
        bandwidth: percent of the memory bandwidth of each node.
        monitors: in document order; those of some virtual CPUs only do not overlap.
        monitored: the virtual CPUs of such monitors, as bits.
    """

    vcpus: int = 0
    caches: dict[Cache, int] = attrs.field(factory=dict)
    bandwidth: dict[int, int] = attrs.field(factory=dict)
    monitors: dict[Monitor, None] = attrs.field(factory=dict)
    monitored: int = 0

    def add_cache(self, element: Element) -> None:
        """Add the size of a part of a cache; raises VirError."""
        number, level = _number(element, "id"), _number(element, "level")
        kind = _needed(element, "type")
        Choice(" ".join(CACHE_TYPES)).read(kind, Where("cache", "type"))
        text = element.get("size")
        if not text:
            raise XmlError("missing element or attribute './@size'", domain=VIR_FROM_XML)
        size = parse_scaled(text, element.get("unit"), path="./@size")
        for other in CACHE_TYPES if kind == "both" else ("both", kind):
            if Cache(level, other, number) in self.caches:
                raise XmlError(
                    f"Colliding cache allocations for cache level '{level}' id '{number}', type '{kind}'",
                    domain=VIR_FROM_RESCTRL,
                )
        self.caches[Cache(level, kind, number)] = size

    def add_node(self, element: Element) -> None:
        """Add the bandwidth of a node; raises VirError."""
        number, percent = _number(element, "id"), _number(element, "bandwidth")
        if percent > MAX_PERCENT:
            text = f"Memory Bandwidth value exceeding {MAX_PERCENT} is invalid."
            raise XmlError(text, domain=VIR_FROM_RESCTRL)
        if number in self.bandwidth:
            text = f"Memory Bandwidth already defined for node {number}"
            raise XmlError(text, domain=VIR_FROM_RESCTRL)
        self.bandwidth[number] = percent

    def add_monitor(self, element: Element, tag: str, present: int) -> None:
        """Add a monitor; ``present`` are the virtual CPUs there are. Raises VirError."""
        if tag == CACHE:
            level = _number(element, "level")
            if level != MONITORED_LEVEL:
                raise XmlError(f"Invalid monitor cache level '{level}'", domain=VIR_FROM_DOMAIN)
        vcpus = _vcpus(element, present)
        if not vcpus:
            raise InvalidArg("vcpus is empty", domain=VIR_FROM_DOMAIN)
        if vcpus & ~self.vcpus:
            raise InvalidArg("Monitor vcpus conflicts with allocation", domain=VIR_FROM_DOMAIN)
        if Monitor(tag, vcpus) in self.monitors:
            raise InvalidArg("Identical vcpus found in same type monitors", domain=VIR_FROM_DOMAIN)
        known = any(Monitor(other, vcpus) in self.monitors for other in (CACHE, MEMORY))
        whole = vcpus == self.vcpus and (self.caches or self.bandwidth)
        if not whole and not known:
            if vcpus & self.monitored:
                raise InvalidArg("vcpus overlaps in resctrl groups", domain=VIR_FROM_DOMAIN)
            self.monitored |= vcpus
        self.monitors[Monitor(tag, vcpus)] = None

    def tune(self, tag: str, how: Printing) -> Tag | None:
        """What is said about the cache, or about memory; None if that is nothing."""
        made = Tag(tag).set("vcpus", format_mask(self.vcpus))
        if not how.inactive:
            made.set("id", f"vcpus_{format_mask(self.vcpus)}")
        if tag == CACHE:
            for cache, size in sorted(self.caches.items()):
                number, unit = _shortest(size)
                part = Tag("cache").set("id", cache.id).set("level", cache.level).set("type", cache.type)
                made.add(part.set("size", number).set("unit", unit))
        else:
            for node, percent in sorted(self.bandwidth.items()):
                made.add(Tag("node").set("id", node).set("bandwidth", percent))
        for monitor in self.monitors:
            if monitor.tag == tag:
                part = Tag("monitor").set("level", MONITORED_LEVEL if tag == CACHE else None)
                made.add(part.set("vcpus", format_mask(monitor.vcpus)))
        return made if made.children else None


def read_groups(cputunes: list[Element], count: int) -> list[ResourceGroup]:
    """Read the groups of a guest with so many virtual CPUs; others are left out. Raises VirError."""
    groups: dict[int, ResourceGroup] = {}
    taken = 0
    present = (1 << min(count, MAX_CPUS)) - 1
    for tag in (CACHE, MEMORY):
        for element in (one for cputune in cputunes for one in cputune.iterchildren(tag)):
            vcpus = _vcpus(element, present)
            if not vcpus:
                continue
            group = groups.get(vcpus)
            if group is None:
                if vcpus & taken:
                    raise XmlError("Overlapping vcpus in resctrls", domain=VIR_FROM_DOMAIN)
                group = ResourceGroup(vcpus)
            elif tag == CACHE:
                raise XmlError("Identical vcpus in cachetunes found", domain=VIR_FROM_DOMAIN)
            for child in element.iterchildren("cache" if tag == CACHE else "node"):
                if tag == CACHE:
                    group.add_cache(child)
                else:
                    group.add_node(child)
            for child in element.iterchildren("monitor"):
                group.add_monitor(child, tag, present)
            if group.caches or group.bandwidth or group.monitors:
                groups[vcpus] = group
                taken |= vcpus
    return list(groups.values())


def write_groups(groups: list[ResourceGroup], parent: Tag, how: Printing) -> None:
    """Print what is said about caches, then what is said about memory."""
    for tag in (CACHE, MEMORY):
        for group in groups:
            made = group.tune(tag, how)
            if made is not None:
                parent.add(made)


def _vcpus(element: Element, present: int) -> int:
    text = element.get("vcpus")
    if text is None:
        raise XmlError(f"Missing {element.tag} attribute 'vcpus'", domain=VIR_FROM_DOMAIN)
    try:
        return parse_mask(text) & present
    except InvalidArg:
        raise XmlError(
            f"Invalid {element.tag} attribute 'vcpus' value '{text}'", domain=VIR_FROM_DOMAIN
        ) from None


def _needed(element: Element, name: str) -> str:
    text: str | None = element.get(name)
    if text is None:
        raise missing_attribute(element.tag, name)
    return text


def _number(element: Element, name: str) -> int:
    number = Integer().read(_needed(element, name), Where(element.tag, name))
    assert number is not None
    return number


def _shortest(size: int) -> tuple[int, str]:
    """A number of bytes as a whole number of the largest unit."""
    step = 0
    while size and size % 1024 == 0 and step < len(_UNITS) - 1:
        size //= 1024
        step += 1
    return size, _UNITS[step]
