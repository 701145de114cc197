"""The whole ``<domain>``: its parts in the order of printing, and a guest's numbers at hand.

Reading happens in another order than printing, because the first fault that libvirt finds is the one it
reports: who the guest is, then what it is, then the rest.
"""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, NoName, XmlError
from remotevirt.xml.domain.clock import Clock
from remotevirt.xml.domain.commandline import CommandLine
from remotevirt.xml.domain.counting import count_iothreads, count_vcpus
from remotevirt.xml.domain.cpu import Cpu
from remotevirt.xml.domain.devices import Devices
from remotevirt.xml.domain.features import Features
from remotevirt.xml.domain.general import (
    IdMap,
    PerfEvents,
    PowerManagement,
)
from remotevirt.xml.domain.metadata import Metadata
from remotevirt.xml.domain.os import ARCHITECTURES, OS_TYPES, Os
from remotevirt.xml.domain.security import KeyWrap, LaunchSecurity, SecLabel, check_labels
from remotevirt.xml.domain.sysinfo import SysInfo, choose_sysinfo
from remotevirt.xml.domain.tuning import (
    BlockIoTune,
    CpuTune,
    DefaultIoThread,
    IoThreadIds,
    MemoryBacking,
    MemoryTune,
    NumaTune,
    ResourcePartition,
    Vcpu,
    VcpuList,
)
from remotevirt.xml.fields import (
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hook,
    leaf,
    variant,
)
from remotevirt.xml.model import CheckedModel, merged
from remotevirt.xml.parse import text_of
from remotevirt.xml.sizes import kibibytes, sized_leaf
from remotevirt.xml.values import (
    Choice,
    Uuid,
    Where,
    internal,
    on_off,
    parse_integer,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag
from remotevirt.xml.write import leaf as leaf_tag

__all__ = ["Devices", "DomainModel", "IdMap", "PerfEvents", "PowerManagement"]

VIRT_TYPES = "qemu kqemu kvm xen lxc uml openvz test vmware hyperv vbox phyp parallels bhyve vz none hvf"
MAX_VCPUS = 1_000_000
"""More virtual CPUs than this are refused, though libvirt's type would hold them."""


def _action(name: str, default: str | None, words: str) -> Any:
    return leaf(name, Choice(words, refusal=unsupported(f"unknown {name} action: {{}}")), default=default)


_ACTIONS = "destroy restart rename-restart preserve coredump-destroy coredump-restart"


def _read_max_memory(source: Source, how: Reading, model: DomainModel) -> int | None:
    element = source.first("maxMemory")
    if element is None:
        return None
    text = text_of(element)
    if not text:
        return None
    size = kibibytes(text, element.get("unit"), "./maxMemory[1]")
    slots = element.get("slots")
    if slots is not None:
        number = parse_integer(slots)
        if number is None:
            raise XmlError("Failed to parse memory slot count", domain=VIR_FROM_DOMAIN)
        model.memory_slots = number
    return size


def _write_max_memory(value: int, how: Printing, model: DomainModel) -> Tag | None:
    if not value:
        return None
    tag = leaf_tag("maxMemory", value).set("slots", model.memory_slots)
    return tag.set("unit", "KiB")


def _read_memory(source: Source, how: Reading, model: DomainModel) -> int | None:
    element = source.first("memory")
    if element is None:
        return None
    text = text_of(element)
    return kibibytes(text, element.get("unit"), "./memory[1]") if text else None


def _read_dump_core(source: Source, how: Reading, model: DomainModel) -> bool | None:
    element = source.first("memory")
    text = element.get("dumpCore") if element is not None else None
    return None if text is None else on_off().read(text, Where("memory", "dumpCore"))


def _write_memory(value: int, how: Printing, model: DomainModel) -> Tag:
    tag = leaf_tag("memory", value)
    if model.dump_core is not None:
        tag.set("dumpCore", "on" if model.dump_core else "off")
    return tag.set("unit", "KiB")


def _read_current(source: Source, how: Reading, model: DomainModel) -> int | None:
    element = source.first("currentMemory")
    text = text_of(element) if element is not None else ""
    return (
        kibibytes(text, element.get("unit"), "./currentMemory[1]") if text and element is not None else None
    )


def _read_vcpu(source: Source, how: Reading, model: DomainModel) -> Vcpu | None:
    element = source.first("vcpu")
    if element is None:
        return None
    count = parse_integer(text_of(element), high=MAX_VCPUS)
    if count is None:
        raise XmlError("maximum vcpus count must be an integer", domain=VIR_FROM_DOMAIN)
    model.maxvcpus = count
    vcpu = Vcpu.read(element, how)
    if vcpu.placement == "auto":
        vcpu.cpuset = None
    return vcpu


def _write_vcpu(value: Vcpu, how: Printing, model: DomainModel) -> Tag:
    tag = Tag("vcpu")
    tag.set("placement", value.placement).set("cpuset", value.cpuset)
    if model.vcpus != model.maxvcpus:
        tag.set("current", model.vcpus)
    tag.text = str(model.maxvcpus)
    return tag


def _read_numatune(source: Source, how: Reading, model: DomainModel) -> NumaTune | None:
    found = source.children.get("numatune", [])
    if len(found) > 1:
        raise XmlError("only one numatune is supported", domain=VIR_FROM_DOMAIN)
    return NumaTune.read(found[0], attrs.evolve(how, guest=model)) if found else None


def _read_iothreads(source: Source, how: Reading, model: DomainModel) -> int | None:
    element = source.first("iothreads")
    text = text_of(element) if element is not None else ""
    if not text:
        return None
    number = parse_integer(text, high=MAX_IOTHREADS)
    if number is None:
        raise XmlError(f"invalid iothreads count '{text}'", domain=VIR_FROM_DOMAIN)
    return number


def _read_devices(source: Source, how: Reading) -> Devices | None:
    found = source.children.get("devices", [])
    if not found:
        return None
    everything = merged(found)
    count = sum(len(elements) for elements in everything.children.values())
    if count > MAX_DEVICES:
        raise XmlError(f"more than {MAX_DEVICES} devices", domain=VIR_FROM_DOMAIN)
    return Devices.read_source(everything, how)


MAX_DEVICES = 2048
"""The most devices of a guest: some of what is done to them takes a step for each pair of them."""

MAX_IOTHREADS = 65536
"""The most IO threads that a document may ask for."""


@attrs.define
class DomainModel(CheckedModel):
    """A guest's configuration.

    ``memory``, ``current_memory`` and ``max_memory`` are KiB, ``uuid`` is 16 bytes, ``vcpus`` of ``maxvcpus``
    are plugged in, and ``devices`` holds the devices by family. Copies share nothing (:meth:`copy`).
    """

    TAG: ClassVar[str] = "domain"
    READ_FIRST: ClassVar[tuple[str, ...]] = (
        *("name", "uuid", "genid", "type", "bootloader", "os", "title", "description", "seclabels"),
        *("memory", "current_memory", "max_memory", "dump_core", "memory_backing", "blkiotune", "memtune"),
        *("vcpu", "vcpu_list", "iothreads", "default_iothread", "iothread_ids", "cputune", "cpu", "numatune"),
        *("resource", "features", "on_reboot", "on_poweroff", "on_crash", "on_lockfailure", "pm", "perf"),
        *("clock", "boot", "devices", "launch_security", "idmap", "sysinfo", "smbios", "keywrap"),
    )

    type: str = attribute(
        "type", Choice(VIRT_TYPES, silent="", refusal=unsupported("invalid domain type {}"))
    )
    name: str = leaf("name")
    uuid: bytes = leaf("uuid", Uuid(refusal=internal("malformed uuid element")))
    genid: bytes | None = leaf("genid", Uuid(refusal=internal("malformed genid element")))
    title: str | None = leaf("title")
    description: str | None = leaf("description")
    metadata: Metadata | None = child(Metadata)
    memory_slots: int = attrs.field(default=0)
    max_memory: int = hook(_read_max_memory, _write_max_memory, default=0)
    dump_core: bool | None = hook(_read_dump_core, lambda value, how, model: None)
    memory: int = hook(_read_memory, _write_memory, default=0)
    current_memory: int = hook(
        _read_current, lambda value, how, model: sized_leaf("currentMemory", value), default=0
    )
    blkiotune: BlockIoTune | None = child(BlockIoTune, merged=True)
    memtune: MemoryTune | None = child(MemoryTune, merged=True)
    memory_backing: MemoryBacking | None = child(MemoryBacking, merged=True)
    maxvcpus: int = attrs.field(default=1)
    vcpus: int = attrs.field(default=1)
    vcpu: Vcpu = hook(_read_vcpu, _write_vcpu, factory=Vcpu)
    vcpu_list: VcpuList | None = child(VcpuList, merged=True)
    iothreads: int | None = hook(
        _read_iothreads, lambda value, how, model: leaf_tag("iothreads", value) if value else None
    )
    iothread_ids: IoThreadIds | None = child(IoThreadIds, merged=True)
    default_iothread: DefaultIoThread | None = child(DefaultIoThread)
    cputune: CpuTune | None = hook(
        lambda source, how, model: (
            CpuTune.read_source(merged(source.children["cputune"]), attrs.evolve(how, guest=model))
            if "cputune" in source.children
            else None
        ),
        lambda value, how, model: None if (tag := value.element(how)).is_bare() else tag,
    )
    numatune: NumaTune | None = hook(
        _read_numatune, lambda value, how, model: None if (tag := value.element(how)).is_bare() else tag
    )
    resource: ResourcePartition | None = child(
        ResourcePartition, too_many=xml_error("only one resource element is supported")
    )
    sysinfo: list[SysInfo] = variant("sysinfo", choose_sysinfo, many=True)
    bootloader: str | None = leaf("bootloader")
    bootloader_args: str | None = leaf("bootloader_args")
    os: Os = hook(
        lambda source, how, model: Os.read_kind(source.children.get("os"), how),
        lambda value, how, model: value.element(how),
        factory=Os,
    )
    boot: None = hook(
        lambda source, how, model: model.os.read_boot(source.children.get("os"), how),
        lambda value, how, model: None,
    )
    smbios: None = hook(
        lambda source, how, model: model.os.read_smbios(source.children.get("os"), how),
        lambda value, how, model: None,
    )
    idmap: IdMap | None = child(IdMap, merged=True)
    features: Features | None = child(Features, merged=True)
    cpu: Cpu | None = child(Cpu)
    clock: Clock = hook(
        lambda source, how, model: (
            Clock.read_all(source.children["clock"], how) if "clock" in source.children else None
        ),
        lambda value, how, model: value.element(how),
        factory=Clock,
    )
    on_poweroff: str = _action("on_poweroff", "destroy", _ACTIONS)
    on_reboot: str = _action("on_reboot", "restart", _ACTIONS)
    on_crash: str = _action("on_crash", "destroy", _ACTIONS)
    on_lockfailure: str | None = leaf(
        "on_lockfailure",
        Choice(
            "poweroff restart pause ignore",
            silent="default",
            refusal=unsupported("unknown on_lockfailure action: {}"),
        ),
    )
    pm: PowerManagement | None = child(PowerManagement, merged=True)
    perf: PerfEvents | None = child(PerfEvents, merged=True)
    devices: Devices = hook(
        lambda source, how, model: _read_devices(source, how),
        lambda value, how, model: value.element(how),
        factory=Devices,
    )
    seclabels: list[SecLabel] = children(SecLabel)
    keywrap: KeyWrap | None = child(KeyWrap, merged=True)
    launch_security: LaunchSecurity | None = child(LaunchSecurity)
    commandline: CommandLine | None = attrs.field(default=None)

    def thread_numbers(self) -> Sequence[int]:
        """The numbers of the IO threads, in the order of the document."""
        if self.iothread_ids is not None:
            return [thread.id for thread in self.iothread_ids.threads]
        return range(1, (self.iothreads or 0) + 1)

    def check(self, name: str, source: Source, how: Reading) -> None:
        if name == "type":
            if not self.type:
                raise InternalError("missing domain type attribute", domain=VIR_FROM_DOMAIN)
        elif name == "name":
            if not self.name:
                raise NoName(domain=VIR_FROM_DOMAIN)
        elif name == "genid" and len(source.children.get("genid", ())) > 1:
            raise XmlError("element 'genid' can only appear once", domain=VIR_FROM_DOMAIN)
        elif name == "bootloader_args" and self.bootloader is None:
            self.bootloader_args = None
        elif name == "boot":
            kind = self.os.kind
            if kind is not None and kind.name == "exe" and self.os.init is None:
                raise XmlError("init binary must be specified", domain=VIR_FROM_DOMAIN)
        elif name == "seclabels":
            check_labels(self.seclabels)
        elif name == "vcpu_list":
            count_vcpus(self)
        elif name == "iothread_ids":
            count_iothreads(self)
        elif name == "os":
            kind = self.os.kind
            if kind is None and self.bootloader is None:
                raise XmlError("an os <type> must be specified", domain=VIR_FROM_DOMAIN)
            if kind is not None and kind.name not in OS_TYPES:
                raise ConfigUnsupported(f"unknown OS type '{kind.name}'", domain=VIR_FROM_DOMAIN)
            if kind is not None and kind.arch and kind.arch not in ARCHITECTURES:
                raise ConfigUnsupported(f"Unknown architecture {kind.arch}", domain=VIR_FROM_DOMAIN)
        elif name in {"on_poweroff", "on_reboot"}:
            action = getattr(self, name)
            if action.startswith("coredump"):
                raise ConfigUnsupported(
                    f"Lifecycle event '{name[3:]}' doesn't support '{action}' action", domain=VIR_FROM_DOMAIN
                )
        elif name == "title" and self.title is not None and "\n" in self.title:
            raise XmlError("Domain title can't contain newlines", domain=VIR_FROM_DOMAIN)
