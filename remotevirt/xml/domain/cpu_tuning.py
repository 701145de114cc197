"""Virtual CPUs and IO threads: how many, where they run and how much time they get."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlDetail, XmlError
from remotevirt.xml.bitmap import CpuSet, parse_bitmap
from remotevirt.xml.domain.resource_groups import ResourceGroup, read_groups, write_groups
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hidden,
    inline,
    leaf,
    nested_attribute,
)
from remotevirt.xml.model import CheckedModel
from remotevirt.xml.values import (
    Choice,
    Integer,
    Scalar,
    Where,
    internal,
    missing_attribute,
    parse_integer,
    xml_error,
    yes_no,
)
from remotevirt.xml.write import Tag

__all__ = [
    "CpuTune",
    "DefaultIoThread",
    "IoThread",
    "IoThreadIds",
    "SingleVcpu",
    "Vcpu",
    "VcpuList",
    "VcpuPin",
    "check_pool",
]


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
    """Virtual CPUs, listed one by one."""

    TAG: ClassVar[str] = "vcpus"
    vcpus: list[SingleVcpu] = children(SingleVcpu)


def check_pool(low: int | None, high: int | None) -> None:
    """Refuse a pool of threads whose least is more than its most, or without a most."""
    if low is not None and (high is None or low > high):
        raise ConfigUnsupported(
            "thread_pool_min must be smaller or equal to thread_pool_max", domain=VIR_FROM_DOMAIN
        )
    if high == 0:
        raise ConfigUnsupported("thread_pool_max must be a positive integer", domain=VIR_FROM_DOMAIN)


@attrs.define
class IoThread(Model):
    """One IO thread; it is ``counted`` if nobody has named it."""

    TAG: ClassVar[str] = "iothread"
    id: int = attribute("id", Integer(zero="refused"), required=True)
    pool_min: int | None = attribute("thread_pool_min", Integer(signed=True, low=0))
    pool_max: int | None = attribute("thread_pool_max", Integer(signed=True, low=0))
    counted: bool = attrs.field(default=False)

    @property
    def has_pool(self) -> bool:
        """Whether a size of its pool is given."""
        return self.pool_min is not None or self.pool_max is not None


@attrs.define
class IoThreadIds(Model):
    """The IO threads of a guest, by their numbers."""

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
    """How many threads work for the main loop (QEMU)."""

    TAG: ClassVar[str] = "defaultiothread"
    pool_min: int | None = attribute("thread_pool_min", Integer(signed=True, low=0))
    pool_max: int | None = attribute("thread_pool_max", Integer(signed=True, low=0))


@attrs.define
class VcpuPin(Model):
    """On which CPUs of the host a virtual CPU may run."""

    TAG: ClassVar[str] = "vcpupin"
    vcpu: int = attribute("vcpu", Integer(), required=True)
    cpuset: str | None = attribute("cpuset", CpuSet(), required=internal("missing cpuset for vcpupin"))


@attrs.define
class IoThreadPin(CheckedModel):
    TAG: ClassVar[str] = "iothreadpin"
    iothread: int = attribute("iothread", Integer(zero="refused"), required=True)
    cpuset: str | None = attribute("cpuset", CpuSet(), required=internal("missing cpuset for iothreadpin"))

    def check(self, name: str, source: Source, how: Reading) -> None:
        if name == "iothread" and self.iothread not in how.guest.thread_numbers():
            raise _no_iothread(self.iothread)


@attrs.define
class Scheduling(Model):
    """A host scheduler and, for the real-time ones, a priority."""

    scheduler: str = attribute("scheduler", Choice("batch idle fifo rr"), required=True)
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
class Amount(Scalar):
    """A number, or zero for none, or perhaps anything below zero for no limit; bounds are checked last."""

    name: str
    negative: bool = False
    zero: bool = False

    def read(self, text: str, where: Where) -> int | None:
        number = parse_integer(text, low=-(2**63) if self.negative else 0, high=2**64 - 1)
        if number is None:
            words = self.name.replace("_", " ")
            raise XmlError(f"can't parse cputune {words} value", domain=VIR_FROM_DOMAIN)
        return number if number or self.zero else None


def _amount(name: str, *, negative: bool = False, zero: bool = False) -> Any:
    return leaf(name, Amount(name, negative, zero))


BOUNDS: Final = {"shares": (2, 262144), "period": (1000, 1000000), "quota": (1000, 17592186044415)}
"""The least and the most of what amounts are of."""

AMOUNTS: Final = (
    *("shares", "period", "quota", "global_period", "global_quota"),
    *("emulator_period", "emulator_quota", "iothread_period", "iothread_quota"),
)
"""The amounts of ``<cputune>``, in the order in which they are checked."""


def _no_iothread(number: int) -> ConfigUnsupported:
    return ConfigUnsupported(f"Cannot find 'iothread' : {number}", domain=VIR_FROM_DOMAIN)


@attrs.define
class CpuTune(CheckedModel):
    """CPU time and pinning, by virtual CPU and by thread: each has one pin and one scheduler at most."""

    TAG: ClassVar[str] = "cputune"
    READ_FIRST: ClassVar[tuple[str, ...]] = (
        *AMOUNTS,
        *("vcpupin", "emulatorpin", "iothreadpin", "vcpusched", "iothreadsched", "emulatorsched"),
    )
    shares: int | None = _amount("shares", zero=True)
    period: int | None = _amount("period")
    quota: int | None = _amount("quota", negative=True)
    global_period: int | None = _amount("global_period")
    global_quota: int | None = _amount("global_quota", negative=True)
    emulator_period: int | None = _amount("emulator_period")
    emulator_quota: int | None = _amount("emulator_quota", negative=True)
    iothread_period: int | None = _amount("iothread_period")
    iothread_quota: int | None = _amount("iothread_quota", negative=True)
    vcpupin: list[VcpuPin] = children(VcpuPin)
    emulatorpin: str | None = nested_attribute(
        "emulatorpin/cpuset", CpuSet(), required=internal("missing cpuset for emulatorpin")
    )
    iothreadpin: list[IoThreadPin] = children(IoThreadPin)
    emulatorsched: EmulatorScheduling | None = child(
        EmulatorScheduling, too_many=xml_error("only one emulatorsched is supported")
    )
    vcpusched: list[VcpuScheduling] = children(VcpuScheduling)
    iothreadsched: list[IoThreadScheduling] = children(IoThreadScheduling)
    groups: list[ResourceGroup] = hidden(factory=list)

    def check_amounts(self) -> None:
        """Refuse amounts out of bounds; raises ConfigUnsupported."""
        for name in AMOUNTS:
            low, high = BOUNDS[name.rpartition("_")[2]]
            value = getattr(self, name) or 0
            if value > 0 and not low <= value <= high:
                raise ConfigUnsupported(
                    f"Value of cputune '{name}' must be in range [{low}, {high}]", domain=VIR_FROM_DOMAIN
                )

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        write_groups(self.groups, tag, how)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        # of pins of virtual CPUs that are not there nothing else is read
        pins = source.children.get("vcpupin", [])
        last = how.guest.maxvcpus - 1
        kept = [pin for pin in pins if (parse_integer(pin.get("vcpu") or "") or 0) <= last]
        if pins:
            source.children["vcpupin"] = kept
        return super().read_source(source, how)

    def check(self, name: str, source: Source, how: Reading) -> None:
        match name:
            case "vcpupin":
                self._sort_pins()
                if len(source.children.get("emulatorpin", ())) > 1:
                    raise XmlError("only one emulatorpin is supported", domain=VIR_FROM_DOMAIN)
            case "iothreadpin":
                self._sort_thread_pins(how.guest.thread_numbers())
            case "vcpusched":
                self._split_vcpus(how.guest.maxvcpus)
            case "iothreadsched":
                self._split_threads(how.guest.thread_numbers())

    def complete(self, source: Source, how: Reading) -> None:
        self.groups = read_groups(source.elements, how.guest.maxvcpus)

    def _sort_pins(self) -> None:
        pins: dict[int, VcpuPin] = {}
        for pin in self.vcpupin:
            if pin.vcpu in pins:
                raise InternalError(f"duplicate vcpupin for vcpu '{pin.vcpu}'", domain=VIR_FROM_DOMAIN)
            pins[pin.vcpu] = pin
        self.vcpupin = [pins[number] for number in sorted(pins)]

    def _sort_thread_pins(self, threads: Sequence[int]) -> None:
        pins: dict[int, IoThreadPin] = {}
        for pin in self.iothreadpin:
            if pin.iothread in pins:
                text = f"duplicate iothreadpin for same iothread '{pin.iothread}'"
                raise InternalError(text, domain=VIR_FROM_DOMAIN)
            pins[pin.iothread] = pin
        self.iothreadpin = [pins[number] for number in threads if number in pins]

    def _split_vcpus(self, count: int) -> None:
        """Each virtual CPU has its own scheduler, so a set of them is kept one by one."""
        single: dict[int, VcpuScheduling] = {}
        for group in self.vcpusched:
            for number in sorted(parse_bitmap(group.vcpus or "")) if group.vcpus else ():
                if number in single:
                    text = "'vcpusched' attributes 'vcpus' must not overlap"
                    raise XmlDetail(text, domain=VIR_FROM_DOMAIN)
                if number >= count:
                    text = f"vCPU '{number}' is not present in domain definition"
                    raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
                single[number] = group.copy()
                single[number].vcpus = str(number)
        self.vcpusched = [single[number] for number in sorted(single)]

    def _split_threads(self, threads: Sequence[int]) -> None:
        known = set(threads)
        single: dict[int, IoThreadScheduling] = {}
        for group in self.iothreadsched:
            for number in sorted(parse_bitmap(group.iothreads or "")) if group.iothreads else ():
                if number not in known:
                    raise _no_iothread(number)
                if number in single:
                    text = "'iothreadsched' attributes 'iothreads' must not overlap"
                    raise XmlDetail(text, domain=VIR_FROM_DOMAIN)
                single[number] = group.copy()
                single[number].iothreads = str(number)
        self.iothreadsched = [single[number] for number in threads if number in single]
