"""The tuning blocks: memory and block I/O limits, CPU time and pinning, NUMA placement, IO threads."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlDetail, XmlError
from remotevirt.xml.bitmap import CpuSet, parse_bitmap
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    flag,
    inline,
    leaf,
    nested_attribute,
)
from remotevirt.xml.sizes import Size, kibibytes, sized
from remotevirt.xml.values import (
    Choice,
    Integer,
    Refusal,
    Scalar,
    Where,
    internal,
    missing_attribute,
    parse_integer,
    unsupported,
    xml_error,
    yes_no,
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
    TAG: ClassVar[str] = "blkiotune"
    weight: int | None = leaf("weight", Integer(zero="silent", lenient=True))
    devices: list[BlockDevice] = children(BlockDevice)

    def complete(self, source: Source, how: Reading) -> None:
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
    """Limits of the host's memory, in KiB."""

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


@attrs.define
class Allocation(Model):
    TAG: ClassVar[str] = "allocation"
    mode: str | None = attribute(
        "mode",
        Choice("immediate ondemand", refusal=unsupported("unknown memoryBacking/allocation/mode '{}'")),
    )
    threads: int | None = attribute("threads", Integer(zero="silent"))


@attrs.define
class MemoryBacking(Model):
    TAG: ClassVar[str] = "memoryBacking"
    hugepages: HugePages | None = child(HugePages)
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
    allocation: Allocation | None = child(Allocation)
    discard: bool = flag("discard")


@attrs.define
class Vcpu(Model):
    """How many virtual CPUs there are at most, and how many are plugged in."""

    TAG: ClassVar[str] = "vcpu"
    placement: str = attribute("placement", Choice("static auto"), default="static")
    cpuset: str | None = attribute("cpuset", CpuSet())
    current: int | None = attribute("current", Integer())


@attrs.define
class SingleVcpu(Model):
    """One virtual CPU of a guest whose CPUs are listed."""

    TAG: ClassVar[str] = "vcpu"
    id: int = attribute("id", Integer(), required=True)
    enabled: bool = attribute("enabled", yes_no(), required=True)
    hotpluggable: bool | None = attribute("hotpluggable", yes_no())
    order: int | None = attribute("order", Integer(zero="silent"))


@attrs.define
class VcpuList(Model):
    TAG: ClassVar[str] = "vcpus"
    vcpus: list[SingleVcpu] = children(SingleVcpu)


@attrs.define
class IoThread(Model):
    TAG: ClassVar[str] = "iothread"
    id: int = attribute("id", Integer(zero="refused"), required=True)
    pool_min: int | None = attribute("thread_pool_min", Integer(signed=True, low=0))
    pool_max: int | None = attribute("thread_pool_max", Integer(signed=True, low=0))

    def complete(self, source: Source, how: Reading) -> None:
        if self.pool_min is not None and self.pool_max is not None and self.pool_min > self.pool_max:
            raise ConfigUnsupported(
                "thread_pool_min must be smaller or equal to thread_pool_max", domain=VIR_FROM_DOMAIN
            )


@attrs.define
class IoThreadIds(Model):
    TAG: ClassVar[str] = "iothreadids"
    threads: list[IoThread] = children(IoThread)

    def complete(self, source: Source, how: Reading) -> None:
        seen: set[int] = set()
        for thread in self.threads:
            if thread.id in seen:
                raise XmlError(f"duplicate iothread id '{thread.id}' found", domain=VIR_FROM_DOMAIN)
            seen.add(thread.id)


@attrs.define
class DefaultIoThread(Model):
    TAG: ClassVar[str] = "defaultiothread"
    pool_min: int | None = attribute("thread_pool_min", Integer(signed=True, low=0))
    pool_max: int | None = attribute("thread_pool_max", Integer(signed=True, low=0))


@attrs.define
class VcpuPin(Model):
    TAG: ClassVar[str] = "vcpupin"
    vcpu: int = attribute("vcpu", Integer(), required=True)
    cpuset: str | None = attribute("cpuset", CpuSet(), required=internal("missing cpuset for vcpupin"))


@attrs.define
class IoThreadPin(Model):
    TAG: ClassVar[str] = "iothreadpin"
    iothread: int = attribute("iothread", Integer(zero="refused"), required=True)
    cpuset: str | None = attribute("cpuset", CpuSet(), required=internal("missing cpuset for iothreadpin"))


@attrs.define
class Scheduling(Model):
    """A host scheduler and, for the real-time ones, a priority."""

    scheduler: str = attribute("scheduler", Choice("batch idle fifo rr", silent="other"), required=True)
    priority: int | None = attribute("priority", Integer(signed=True))

    def complete(self, source: Source, how: Reading) -> None:
        if self.scheduler in {"fifo", "rr"}:
            if self.priority is None:
                raise missing_attribute(source.tag, "priority")
        else:
            self.priority = None


@attrs.define
class EmulatorScheduling(Model):
    TAG: ClassVar[str] = "emulatorsched"
    how: Scheduling = inline(Scheduling)


@attrs.define
class VcpuScheduling(Model):
    TAG: ClassVar[str] = "vcpusched"
    vcpus: str | None = attribute(
        "vcpus", CpuSet(), required=xml_error("Missing attribute 'vcpus' in element 'vcpusched'")
    )
    how: Scheduling = inline(Scheduling)


@attrs.define
class IoThreadScheduling(Model):
    TAG: ClassVar[str] = "iothreadsched"
    iothreads: str | None = attribute(
        "iothreads", CpuSet(), required=xml_error("Missing attribute 'iothreads' in element 'iothreadsched'")
    )
    how: Scheduling = inline(Scheduling)


@attrs.frozen
class Bounded(Scalar):
    """A number between bounds, or zero for none, or perhaps anything below zero for no limit."""

    low: int
    high: int
    negative: bool
    refusal: Refusal
    zero: bool = False

    def read(self, text: str, where: Where) -> int | None:
        number = parse_integer(text, low=-(2**63) if self.negative else 0, high=2**64 - 1)
        if number is None or (number > 0 and not self.low <= number <= self.high):
            raise self.refusal(text)
        return number if number or self.zero else None


def _bounded(name: str, low: int, high: int, *, negative: bool = False, zero: bool = False) -> Any:
    def refuse(text: str) -> VirError:
        if parse_integer(text, low=-(2**63), high=2**64 - 1) is None:
            return XmlError(f"can't parse cputune {name} value", domain=VIR_FROM_DOMAIN)
        return ConfigUnsupported(
            f"Value of cputune '{name}' must be in range [{low}, {high}]", domain=VIR_FROM_DOMAIN
        )

    return leaf(name, Bounded(low, high, negative, refuse, zero))


def _period(name: str) -> Any:
    return _bounded(name, 1000, 1000000)


def _quota(name: str) -> Any:
    return _bounded(name, 1000, 17592186044415, negative=True)


@attrs.define
class CpuTune(Model):
    """CPU time and pinning."""

    TAG: ClassVar[str] = "cputune"
    shares: int | None = _bounded("shares", 2, 262144, zero=True)
    period: int | None = _period("period")
    quota: int | None = _quota("quota")
    global_period: int | None = _period("global_period")
    global_quota: int | None = _quota("global_quota")
    emulator_period: int | None = _period("emulator_period")
    emulator_quota: int | None = _quota("emulator_quota")
    iothread_period: int | None = _period("iothread_period")
    iothread_quota: int | None = _quota("iothread_quota")
    vcpupin: list[VcpuPin] = children(VcpuPin)
    emulatorpin: str | None = nested_attribute(
        "emulatorpin/cpuset", CpuSet(), required=internal("missing cpuset for emulatorpin")
    )
    iothreadpin: list[IoThreadPin] = children(IoThreadPin)
    emulatorsched: EmulatorScheduling | None = child(EmulatorScheduling)
    vcpusched: list[VcpuScheduling] = children(VcpuScheduling)
    iothreadsched: list[IoThreadScheduling] = children(IoThreadScheduling)

    def complete(self, source: Source, how: Reading) -> None:
        if len(source.children.get("emulatorpin", ())) > 1:
            raise XmlError("only one emulatorpin is supported", domain=VIR_FROM_DOMAIN)
        # Each virtual CPU has its own scheduler, so a set of them is kept one by one.
        single: dict[int, VcpuScheduling] = {}
        for group in self.vcpusched:
            for number in sorted(parse_bitmap(group.vcpus or "")) if group.vcpus else ():
                if number in single:
                    raise XmlError("vcpusched attribute 'vcpus' must not overlap", domain=VIR_FROM_DOMAIN)
                one = group.copy()
                one.vcpus = str(number)
                single[number] = one
        self.vcpusched = [single[number] for number in sorted(single)]
        pins: dict[int, VcpuPin] = {}
        for pin in self.vcpupin:
            if pin.vcpu in pins:
                raise InternalError(f"duplicate vcpupin for vcpu '{pin.vcpu}'", domain=VIR_FROM_DOMAIN)
            pins[pin.vcpu] = pin
        self.vcpupin = [pins[number] for number in sorted(pins)]


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
    mode: str = attribute("mode", _MODES, default="strict")
    nodeset: str | None = attribute("nodeset", CpuSet(), required=True)


@attrs.define
class NumaTune(Model):
    TAG: ClassVar[str] = "numatune"
    memory: NumaMemory | None = child(NumaMemory)
    memnodes: list[MemoryNode] = children(MemoryNode)


@attrs.define
class ResourcePartition(Model):
    TAG: ClassVar[str] = "resource"
    partition: str | None = leaf("partition")
    fibrechannel: str | None = nested_attribute("fibrechannel/appid")

    def complete(self, source: Source, how: Reading) -> None:
        # libvirt refuses this too, though without saying why.
        if self.partition is None and self.fibrechannel is None:
            raise XmlError("<resource> names neither a partition nor an application", domain=VIR_FROM_DOMAIN)
