"""``<cpu>``: the processor the guest sees, and its NUMA cells."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_CPU, VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.bitmap import CpuSet, parse_bitmap
from remotevirt.xml.domain.numa_memory import CellCache, Interconnects
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    body,
    child,
    children,
    hook,
)
from remotevirt.xml.parse import text_of
from remotevirt.xml.sizes import Size, kibibytes
from remotevirt.xml.values import Choice, Integer, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import leaf as leaf_tag

__all__ = ["Cell", "Cpu", "Numa"]

MAX_CELLS = 1024
"""The most NUMA cells of a guest."""

_POSITIVE = Integer(zero="refused")


@attrs.define
class CpuModel(Model):
    TAG: ClassVar[str] = "model"
    fallback: str | None = attribute(
        "fallback", Choice("allow forbid", refusal=unsupported("Invalid fallback attribute", VIR_FROM_CPU))
    )
    vendor_id: str | None = attribute("vendor_id")
    name: str | None = body()

    def complete(self, source: Source, how: Reading) -> None:
        if self.vendor_id is not None:
            if len(self.vendor_id.encode()) != 12:
                raise XmlError("vendor_id must be exactly 12 characters long", domain=VIR_FROM_CPU)
            if "," in self.vendor_id:
                raise XmlError("vendor id is invalid", domain=VIR_FROM_CPU)


@attrs.define
class Topology(Model):
    TAG: ClassVar[str] = "topology"
    sockets: int = attribute("sockets", _POSITIVE, required=True)
    dies: int = attribute("dies", _POSITIVE, default=1)
    cores: int = attribute("cores", _POSITIVE, required=True)
    threads: int = attribute("threads", _POSITIVE, required=True)


@attrs.define
class Cache(Model):
    TAG: ClassVar[str] = "cache"
    level: int | None = attribute(
        "level",
        Integer(high=3, refusal=xml_error("invalid CPU cache level, must be in range [1,3]", VIR_FROM_CPU)),
    )
    mode: str = attribute("mode", Choice("emulate passthrough disable"), required=True)


@attrs.define
class MaxPhysAddr(Model):
    TAG: ClassVar[str] = "maxphysaddr"
    mode: str = attribute("mode", Choice("emulate passthrough"), required=True)
    bits: int | None = attribute("bits", Integer(signed=True, low=0))


@attrs.define
class Feature(Model):
    TAG: ClassVar[str] = "feature"
    policy: str = attribute(
        "policy",
        Choice(
            "force require optional disable forbid",
            refusal=unsupported("Invalid CPU feature policy", VIR_FROM_CPU),
        ),
        default="require",
    )
    name: str = attribute("name", required=xml_error("Invalid CPU feature name", VIR_FROM_CPU))


@attrs.define
class Sibling(Model):
    TAG: ClassVar[str] = "sibling"
    id: int = attribute("id", Integer(), required=True)
    value: int = attribute("value", Integer(), required=True)


@attrs.define
class Distances(Model):
    TAG: ClassVar[str] = "distances"
    siblings: list[Sibling] = children(Sibling)


@attrs.define
class Cell(Model):
    """One NUMA node of the guest; memory in KiB."""

    TAG: ClassVar[str] = "cell"
    id: int | None = attribute("id", Integer())
    cpus: str | None = attribute("cpus", CpuSet())
    memory: int = attribute(
        "memory", Size(), required=xml_error("missing element or attribute './@memory'", VIR_FROM_XML)
    )
    unit: str = attribute("unit", default="KiB")
    access: str | None = attribute("memAccess", Choice("shared private"))
    discard: bool | None = attribute("discard", yes_no())
    distances: Distances | None = child(Distances)
    caches: list[CellCache] = children(CellCache)

    def complete(self, source: Source, how: Reading) -> None:
        levels: set[int] = set()
        for cache in self.caches:
            if cache.level in levels:
                raise XmlError(f"Cache level '{cache.level}' already defined", domain=VIR_FROM_DOMAIN)
            levels.add(cache.level)
        self.memory = kibibytes(source.get("memory") or "", source.get("unit"), "./@memory")
        self.unit = "KiB"


@attrs.define
class Numa(Model):
    """The NUMA cells of a guest, and how far they are from each other."""

    TAG: ClassVar[str] = "numa"
    cells: list[Cell] = children(Cell)
    interconnects: Interconnects | None = child(Interconnects)

    def complete(self, source: Source, how: Reading) -> None:
        count = len(self.cells)
        if not count:
            raise XmlError("NUMA topology defined without NUMA cells", domain=VIR_FROM_DOMAIN)
        if count > MAX_CELLS:
            raise XmlError(f"more than {MAX_CELLS} NUMA cells", domain=VIR_FROM_DOMAIN)
        taken: dict[int, int] = {}
        cells: dict[int, Cell] = {}
        for position, cell in enumerate(self.cells):
            number = position if cell.id is None else cell.id
            if number >= count:
                raise XmlError(
                    "Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges"
                    " not starting from 0 are not allowed",
                    domain=VIR_FROM_DOMAIN,
                )
            if number in cells:
                raise XmlError(f"Duplicate NUMA cell info for cell id '{number}'", domain=VIR_FROM_DOMAIN)
            cell.id = number
            cells[number] = cell
            cpus = parse_bitmap(cell.cpus) if cell.cpus else set()
            clash = min((taken[one] for one in cpus if one in taken), default=None)
            if clash is not None:
                raise ConfigUnsupported(
                    f"NUMA cells {number} and {clash} have overlapping vCPU ids", domain=VIR_FROM_DOMAIN
                )
            taken.update(dict.fromkeys(cpus, number))
        self.cells = [cells[number] for number in range(count)]
        self._mirror_distances()
        if self.interconnects is not None:
            self.interconnects.check([{cache.level for cache in cell.caches} for cell in self.cells])

    def _mirror_distances(self) -> None:
        # Distances said in one direction hold in the other; a cell is 10 from itself.
        if not any(cell.distances for cell in self.cells):
            return
        count = len(self.cells)
        table: dict[tuple[int, int], int] = {}
        for cell in self.cells:
            for sibling in cell.distances.siblings if cell.distances else ():
                if sibling.id >= count:
                    raise XmlError(
                        f"'sibling_id {sibling.id}' does not refer to a valid cell within NUMA"
                        f" 'cell id {cell.id}'",
                        domain=VIR_FROM_DOMAIN,
                    )
                if not 10 <= sibling.value <= 255 or (sibling.value == 10) != (sibling.id == cell.id):
                    raise XmlError(
                        f"'value {sibling.value}' is invalid for 'sibling id {sibling.id}' under NUMA"
                        f" 'cell id {cell.id}'",
                        domain=VIR_FROM_DOMAIN,
                    )
                table[(cell.id or 0, sibling.id)] = sibling.value
        for (one, other), value in list(table.items()):
            table.setdefault((other, one), value)
        for cell in self.cells:
            mine = {other: value for (one, other), value in table.items() if one == cell.id}
            if mine:
                mine.setdefault(cell.id or 0, 10)
                cell.distances = Distances()
                for other in sorted(mine):
                    sibling = Sibling()
                    sibling.id, sibling.value = other, mine[other]
                    cell.distances.siblings.append(sibling)

    @property
    def memory(self) -> int:
        """KiB of all cells."""
        return sum(cell.memory for cell in self.cells)


def _read_vendor(source: Source, how: Reading, model: Cpu) -> str | None:
    # This is where libvirt looks whether what was said so far goes together.
    if model.migratable is not None and model.mode not in {"host-passthrough", "maximum"}:
        raise ConfigUnsupported(
            "Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode",
            domain=VIR_FROM_CPU,
        )
    element = source.first("vendor")
    vendor = text_of(element) if element is not None else None
    if vendor and (model.model is None or model.model.name is None):
        raise XmlError("CPU vendor specified without CPU model", domain=VIR_FROM_CPU)
    custom = model.mode in {None, "custom"}
    if custom and (model.model is None or model.model.name is None) and "feature" in source.children:
        raise XmlError("Non-empty feature list specified without CPU model", domain=VIR_FROM_CPU)
    return vendor or None


@attrs.define
class Cpu(Model):
    """The guest's processor."""

    TAG: ClassVar[str] = "cpu"
    mode: str | None = attribute(
        "mode",
        Choice(
            "custom host-model host-passthrough maximum",
            refusal=unsupported("Invalid mode attribute '{}'", VIR_FROM_CPU),
        ),
    )
    match: str | None = attribute("match", Choice("minimum exact strict"))
    check: str | None = attribute("check", Choice("none partial full"))
    migratable: bool | None = attribute("migratable", on_off())
    model: CpuModel | None = child(CpuModel)
    vendor: str | None = hook(_read_vendor, lambda value, how, model: leaf_tag("vendor", value))
    topology: Topology | None = child(Topology)
    cache: Cache | None = child(Cache)
    maxphysaddr: MaxPhysAddr | None = child(MaxPhysAddr)
    features: list[Feature] = children(Feature)
    numa: Numa | None = child(Numa)

    def complete(self, source: Source, how: Reading) -> None:
        custom = self.mode in {None, "custom"}
        if self.model is not None and self.model.name is None:
            self.model = None
        if custom and self.model is not None:
            self.mode = "custom"
            self.match = self.match or "exact"
            self.model.fallback = self.model.fallback or "allow"
        elif custom:
            self.mode = self.match = None
        else:
            self.match = None
            if self.mode != "host-model":
                self.model = self.vendor = None
            elif self.model is not None:
                self.model.fallback = self.model.fallback or "allow"
        self._check()

    def _check(self) -> None:
        names: set[str] = set()
        for feature in self.features:
            if feature.name in names:
                raise XmlError(f"CPU feature '{feature.name}' specified more than once", domain=VIR_FROM_CPU)
            names.add(feature.name)
