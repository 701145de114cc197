"""The tuning blocks: memory and block I/O limits, CPU time and pinning, NUMA placement, IO threads."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, XmlDetail, XmlError
from remotevirt.xml.bitmap import CpuSet
from remotevirt.xml.domain.cpu_tuning import (
    CpuTune,
    DefaultIoThread,
    IoThreadIds,
    Vcpu,
    VcpuList,
    VcpuPin,
)
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    flag,
    hook,
    leaf,
    nested_attribute,
)
from remotevirt.xml.model import CheckedModel
from remotevirt.xml.sizes import Size, kibibytes, sized
from remotevirt.xml.values import (
    Choice,
    Integer,
    Where,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag

__all__ = [
    "BlockIoTune",
    "CpuTune",
    "DefaultIoThread",
    "IoThreadIds",
    "MemoryBacking",
    "MemoryTune",
    "NumaTune",
    "ResourcePartition",
    "Vcpu",
    "VcpuList",
    "VcpuPin",
]

UNLIMITED = 9007199254740991
"""KiB that mean no limit (VIR_DOMAIN_MEMORY_PARAM_UNLIMITED); not printed."""


def _number(what: str, bits: int = 32) -> Integer:
    return Integer(bits=bits, zero="silent", refusal=unsupported(what))


@attrs.define
class BlockDevice(Model):
    """Limits for one block device of the host."""

    TAG: ClassVar[str] = "device"
    path: str | None = leaf("path")
    weight: int | None = leaf("weight", _number("could not parse weight {}"))
    read_iops: int | None = leaf("read_iops_sec", _number("could not parse read iops sec {}"))
    write_iops: int | None = leaf("write_iops_sec", _number("could not parse write iops sec {}"))
    read_bytes: int | None = leaf("read_bytes_sec", _number("could not parse read bytes sec {}", 64))
    write_bytes: int | None = leaf("write_bytes_sec", _number("could not parse write bytes sec {}", 64))

    def complete(self, source: Source, how: Reading) -> None:
        if self.path is None:
            raise ConfigUnsupported("missing per-device path", domain=VIR_FROM_DOMAIN)

    def print_into(self, parent: Tag, how: Printing) -> None:
        if any((self.weight, self.read_iops, self.write_iops, self.read_bytes, self.write_bytes)):
            super().print_into(parent, how)


@attrs.define
class BlockIoTune(Model):
    """The weight of a guest's disks among others', and limits for devices of the host."""

    TAG: ClassVar[str] = "blkiotune"
    weight: int | None = leaf("weight", Integer(zero="silent", lenient=True))
    devices: list[BlockDevice] = children(BlockDevice)

    def check(self) -> None:
        """Refuse a device that is named twice; raises ConfigUnsupported."""
        seen: set[str] = set()
        for device in self.devices:
            path = device.path or ""
            if path in seen:
                raise ConfigUnsupported(f"duplicate blkio device path '{path}'", domain=VIR_FROM_DOMAIN)
            seen.add(path)


def _limit(name: str) -> Any:
    return sized(name, path=f"./memtune/{name}[1]")


@attrs.define
class MemoryTune(Model):
    """Limits of the host's memory, in KiB; what is no limit is not printed."""

    TAG: ClassVar[str] = "memtune"
    hard_limit: int | None = _limit("hard_limit")
    soft_limit: int | None = _limit("soft_limit")
    min_guarantee: int | None = _limit("min_guarantee")
    swap_hard_limit: int | None = _limit("swap_hard_limit")

    def complete(self, source: Source, how: Reading) -> None:
        for name in ("hard_limit", "soft_limit", "swap_hard_limit"):
            if (getattr(self, name) or 0) >= UNLIMITED:
                setattr(self, name, None)
        if not self.min_guarantee:
            self.min_guarantee = None

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.children = [found for found in tag.children if int(getattr(found, "text", None) or 0) < UNLIMITED]


@attrs.define
class HugePage(Model):
    TAG: ClassVar[str] = "page"
    size: int = attribute(
        "size", Size(), required=xml_error("missing element or attribute './@size'", VIR_FROM_XML)
    )
    unit: str = attribute("unit", default="KiB")
    nodeset: str | None = attribute("nodeset", CpuSet())

    def complete(self, source: Source, how: Reading) -> None:
        self.size = kibibytes(source.get("size") or "", source.get("unit"), "./@size")
        self.unit = "KiB"
        if not self.size:
            raise XmlDetail("hugepage size can't be zero", domain=VIR_FROM_DOMAIN)


@attrs.define
class HugePages(Model):
    TAG: ClassVar[str] = "hugepages"
    KEEP: ClassVar[bool] = True
    pages: list[HugePage] = children(HugePage)


_THREADS = Integer(zero="silent", refusal=xml_error("Failed to parse memory allocation threads"))


def _read_threads(source: Source, how: Reading, model: Any) -> int | None:
    text = source.get("threads")
    return _THREADS.read(text, Where("allocation", "threads")) if text else None


@attrs.define
class Allocation(Model):
    TAG: ClassVar[str] = "allocation"
    mode: str | None = attribute(
        "mode",
        Choice(
            "immediate ondemand",
            silent="",
            refusal=unsupported("unknown memoryBacking/allocation/mode '{}'"),
        ),
    )
    threads: int | None = hook(_read_threads, lambda value, how, model: None)

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.set("threads", self.threads)


@attrs.define
class MemoryBacking(Model):
    """What the guest's memory is made of on the host."""

    TAG: ClassVar[str] = "memoryBacking"
    READ_FIRST: ClassVar[tuple[str, ...]] = ("source", "access", "allocation", "hugepages")
    hugepages: HugePages | None = child(HugePages, merged=True)
    nosharepages: bool = flag("nosharepages")
    locked: bool = flag("locked")
    source: str | None = nested_attribute(
        "source/type",
        Choice(
            "file anonymous memfd",
            silent="none",
            refusal=unsupported("unknown memoryBacking/source/type '{}'"),
        ),
    )
    access: str | None = nested_attribute(
        "access/mode",
        Choice(
            "shared private", silent="default", refusal=unsupported("unknown memoryBacking/access/mode '{}'")
        ),
    )
    allocation: Allocation | None = child(Allocation, merged=True)
    discard: bool = flag("discard")


_MODES = Choice(
    "strict preferred interleave restrictive", refusal=unsupported("Unsupported NUMA memory tuning mode '{}'")
)


@attrs.define
class NumaMemory(Model):
    TAG: ClassVar[str] = "memory"
    mode: str | None = attribute("mode", _MODES)
    placement: str | None = attribute(
        "placement",
        Choice(
            "static auto",
            silent="default",
            refusal=unsupported("Unsupported NUMA memory placement mode '{}'"),
        ),
    )
    nodeset: str | None = attribute("nodeset", CpuSet())

    def settle(self, *, static: bool) -> None:
        """Choose a placement, given whether that of the virtual CPUs is static."""
        if self.mode is None and self.placement is None and self.nodeset is None:
            return
        if self.placement is None:
            self.placement = "static" if self.nodeset or static else "auto"
        if self.placement == "auto":
            self.nodeset = None
        elif self.nodeset is None:
            raise ConfigUnsupported(
                "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
                domain=VIR_FROM_DOMAIN,
            )
        self.mode = self.mode or "strict"

    def fill(self, tag: Tag, how: Printing) -> None:
        if self.placement is None:
            return
        tag.set("mode", self.mode)
        if self.placement == "auto":
            tag.set("placement", "auto")
        else:
            tag.set("nodeset", self.nodeset)


@attrs.define
class MemoryNode(Model):
    TAG: ClassVar[str] = "memnode"
    cellid: int = attribute("cellid", Integer(), required=True)
    mode: str = attribute("mode", Choice("strict preferred interleave restrictive"), default="strict")
    nodeset: str | None = attribute("nodeset", CpuSet(), required=True)


@attrs.define
class NumaTune(CheckedModel):
    """Which NUMA nodes of the host the guest's memory comes from."""

    TAG: ClassVar[str] = "numatune"
    memory: NumaMemory | None = child(NumaMemory)
    memnodes: list[MemoryNode] = children(MemoryNode)

    def check(self, name: str, source: Source, how: Reading) -> None:
        """Choose a placement, and check that cells can be placed apart before it is read how."""
        if name == "memnodes":
            self._check_nodes(how)
        if name != "memory":
            return
        if self.memory is not None:
            self.memory.settle(static=how.guest.vcpu.placement == "static")
        if "memnode" not in source.children:
            return
        if self.memory is not None and self.memory.placement == "auto":
            text = "Per-node binding is not compatible with automatic NUMA placement."
            raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
        if how.guest.cpu is None or how.guest.cpu.numa is None:
            text = "Element 'memnode' is invalid without any guest NUMA cells"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)

    def _check_nodes(self, how: Reading) -> None:
        """Check that there is such a cell, and that its memory can be restricted."""
        numa = how.guest.cpu.numa if how.guest.cpu is not None else None
        restricted = self.memory is not None and self.memory.mode == "restrictive"
        for node in self.memnodes:
            if numa is None or node.cellid >= len(numa.cells):
                text = "Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell"
                raise XmlError(text, domain=VIR_FROM_DOMAIN)
            if restricted and node.mode != "restrictive":
                text = "'restrictive' mode is required in memnode element when mode is 'restrictive' in "
                text += "memory element"
                raise XmlError(text, domain=VIR_FROM_DOMAIN)


@attrs.define
class ResourcePartition(Model):
    """The group of resources (cgroup) that the guest is in."""

    TAG: ClassVar[str] = "resource"
    partition: str | None = leaf("partition")
    fibrechannel: str | None = nested_attribute("fibrechannel/appid")

    def complete(self, source: Source, how: Reading) -> None:
        # libvirt refuses this too, though without saying why.
        if self.partition is None and self.fibrechannel is None:
            raise XmlError("<resource> names neither a partition nor an application", domain=VIR_FROM_DOMAIN)
