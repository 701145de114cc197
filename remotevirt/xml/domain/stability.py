"""Whether one document of a guest can stand for another: what the guest itself would notice.

A description of a snapshot may be replaced by a newer one, but the guest in it must see the same hardware in
both. Names on the host, images, titles and the like may differ. The tables below say what is compared, in
the order in which libvirt complains; each entry is the place of a value and libvirt's words for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from remotevirt.stubs.constants import VIR_FROM_CPU, VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.domain.address import DriveAddress, PciAddress
from remotevirt.xml.domain.document import DomainModel
from remotevirt.xml.values import format_uuid

__all__ = ["check_stability"]

Rule = tuple[str, str]
"""The dotted path of a value, and the text if it differs: {new} and {old} stand for the two values."""

_MATCH: Final = "{new} does not match source {old}"


def _same(path: str, what: str) -> Rule:
    return path, f"Target {what} {_MATCH}"


GUEST: Final[tuple[Rule, ...]] = (
    _same("type", "domain virt type"),
    _same("uuid", "domain uuid"),
    ("genid", "Target domain requested genid does not match source"),
    ("name", "Target domain name '{new}' does not match source '{old}'"),
    _same("memory", "domain max memory"),
    _same("current_memory", "domain current memory"),
    ("max_memory", "Target maximum memory size '{new}' doesn't match source '{old}'"),
    ("memory_slots", "Target domain memory slots count '{new}' doesn't match source '{old}'"),
    _same("maxvcpus", "domain vCPU max"),
)
"""Who the guest is and how large."""

SYSTEM: Final[tuple[Rule, ...]] = (
    _same("os.kind.name", "domain OS type"),
    _same("os.kind.arch", "domain architecture"),
    _same("os.kind.machine", "domain machine type"),
    ("os.smbios", f"Target domain SMBIOS mode {_MATCH}"),
)

CPU: Final[tuple[Rule, ...]] = (
    _same("mode", "CPU mode"),
    _same("model.name", "CPU model"),
    _same("vendor", "CPU vendor"),
    _same("topology.sockets", "CPU sockets"),
    _same("topology.dies", "CPU dies"),
    _same("topology.cores", "CPU cores"),
    _same("topology.threads", "CPU threads"),
)

DEVICES: Final[tuple[tuple[str, str, tuple[Rule, ...]], ...]] = (
    (
        "disks",
        "disk",
        (
            _same("device", "disk device"),
            _same("bus", "disk bus"),
            _same("dev", "disk"),
            _same("serial", "disk serial"),
            ("wwn", "Target disk wwn '{new}' does not match source '{old}'"),
        ),
    ),
    (
        "controllers",
        "controller",
        (
            _same("type", "controller type"),
            _same("index", "controller index"),
            _same("model", "controller model"),
            _same("ports", "controller ports"),
            _same("vectors", "controller vectors"),
        ),
    ),
    ("filesystems", "filesystem", (_same("target", "filesystem guest target"),)),
    (
        "interfaces",
        "net card",
        (_same("mac.address", "network card mac"), _same("model", "network card model")),
    ),
    ("inputs", "input device", (_same("type", "input device type"), _same("bus", "input device bus"))),
    ("sounds", "sound card", (_same("model", "sound card model"),)),
    (
        "videos",
        "video card",
        (_same("model.type", "video card model"), _same("model.heads", "video card heads")),
    ),
    ("hostdevs", "host device", ()),
    ("smartcards", "smartcard", ()),
    ("serials", "serial port", ()),
    ("parallels", "parallel port", ()),
    ("channels", "channel", (_same("target.name", "channel name"),)),
    ("consoles", "console", ()),
    ("hubs", "hub device", (_same("type", "hub device type"),)),
    (
        "redirdevs",
        "redirected devices",
        (
            _same("bus", "redirected device bus"),
            (
                "backend.type",
                "Target redirected device source type {new} does not match source device source type {old}",
            ),
        ),
    ),
    ("watchdogs", "watchdog", (_same("model", "watchdog model"),)),
    ("memballoon", "memory balloon", (_same("model", "balloon model"),)),
    ("rngs", "RNG device", (_same("model", "RNG model"),)),
    ("panics", "panic device", (("model", "Target panic model '{new}' does not match source '{old}'"),)),
    (
        "shmems",
        "shared memory device",
        (("size", "Target shared memory size '{new}' does not match source size '{old}'"),),
    ),
    ("iommu", "IOMMU device", ()),
    ("vsock", "vsock device", ()),
    (
        "tpms",
        "TPM device",
        (
            ("model", "Target TPM device model doesn't match source"),
            ("backend.type", "Target TPM device type doesn't match source"),
            ("backend.version", "Target TPM version doesn't match source"),
        ),
    ),
)
"""Families of devices, what libvirt calls them where their number differs, and what is compared of each."""

SINGLE: Final = frozenset({"iommu", "vsock"})
"""Families whose numbers libvirt does not tell."""

_SIGHT: Final = "{0.domain:04x}:{0.bus:02x}:{0.slot:02x}.{0.function:01x}"


def check_stability(old: DomainModel, new: DomainModel) -> None:
    """Refuse a document in which the guest would see other hardware.

    Args:
        old: what the guest has.
        new: what shall take its place.

    Raises:
        ConfigUnsupported: they differ; the text names the first difference.
    """
    _compare(GUEST, old, new)
    for number in range(max(old.maxvcpus, 1) if old.vcpu_list or new.vcpu_list else 0):
        if _online(old, number) != _online(new, number):
            raise _vcpu(number)
    if old.vcpus != new.vcpus:
        raise _vcpu(min(old.vcpus, new.vcpus))
    cells = [len(model.cpu.numa.cells) if model.cpu and model.cpu.numa else 0 for model in (old, new)]
    if cells[0] != cells[1]:
        raise _differs(f"Target NUMA node count '{cells[1]}' doesn't match source '{cells[0]}'")
    _compare(SYSTEM, old, new)
    _check_features(old, new)
    _check_timers(old, new)
    _check_cpu(old.cpu, new.cpu)
    if len(old.sysinfo) != len(new.sysinfo):
        raise _differs("Target domain count of sysinfo does not match source")
    for family, name, rules in DEVICES:
        _check_devices(family, name, rules, old, new)


def _check_devices(
    family: str, name: str, rules: tuple[Rule, ...], old: DomainModel, new: DomainModel
) -> None:
    """Compare the devices of a family; raises ConfigUnsupported."""
    theirs, ours = _devices(old, family), _devices(new, family)
    if len(theirs) != len(ours):
        if family in SINGLE:
            raise _differs(f"Target domain {name} count does not match source")
        raise _differs(f"Target domain {name} count {len(ours)} does not match source {len(theirs)}")
    for one, other in zip(theirs, ours, strict=True):
        _compare(rules, one, other)
        _check_address(_value(one, "info.address"), _value(other, "info.address"))


def _check_address(old: Any, new: Any) -> None:
    """Compare where two devices are plugged in; raises ConfigUnsupported."""
    kinds = [getattr(address, "type", "none") for address in (old, new)]
    if kinds[0] != kinds[1]:
        raise _differs(f"Target device address type {kinds[1]} does not match source {kinds[0]}")
    if isinstance(old, PciAddress) and isinstance(new, PciAddress) and old.place != new.place:
        seen = [_SIGHT.format(address.place) for address in (old, new)]
        raise _differs(f"Target device PCI address {seen[1]} does not match source {seen[0]}")
    if isinstance(old, DriveAddress) and isinstance(new, DriveAddress) and old != new:
        seen = [f"{one.controller}:{one.bus}:{one.unit}" for one in (old, new)]
        raise _differs(f"Target device drive address {seen[1]} does not match source {seen[0]}")


def _check_features(old: DomainModel, new: DomainModel) -> None:
    """Compare what the machine can do; raises ConfigUnsupported."""
    theirs, ours = old.features, new.features
    for field in FEATURES:
        one, other = getattr(theirs, field, None), getattr(ours, field, None)
        if bool(one) == bool(other) and one == other:
            continue
        words = [_feature(field, value) for value in (one, other)]
        if words[0] != words[1]:
            name = field.replace("_", "-")
            raise _differs(
                f"State of feature '{name}' differs: source: '{words[0]}', destination: '{words[1]}'"
            )


FEATURES: Final = (
    *("acpi", "pae", "viridian", "privnet", "hyperv", "kvm", "pvspinlock", "pmu", "vmport", "smm"),
    *("vmcoreinfo", "htm", "nested_hv", "ccf_assist", "apic", "capabilities", "gic", "ioapic", "hap"),
    *("hpt", "msrs", "xen", "cfpc", "sbbc", "ibs"),
)


def _feature(field: str, value: Any) -> str:
    """Say what a feature is, as libvirt does."""
    if field == "ioapic":
        return f"driver={value or 'none'}"
    if value is None or (value is False and field in {"acpi", "pae", "viridian", "privnet"}):
        state = "default"
    else:
        state = "off" if value is False else "on"
    if field == "apic":
        eoi = getattr(value, "eoi", None)
        return f"{state},eoi={'default' if eoi is None else 'on' if eoi else 'off'}"
    if field == "gic":
        return f"{state},version={getattr(value, 'version', None) or 'none'}"
    return value if isinstance(value, str) else state


def _check_timers(old: DomainModel, new: DomainModel) -> None:
    """Compare the guest's timers; raises ConfigUnsupported."""
    theirs, ours = old.clock.timers, new.clock.timers
    if len(theirs) != len(ours):
        raise _differs("Target domain timers do not match source")
    for one, other in zip(theirs, ours, strict=True):
        _compare((_same("name", "timer"),), one, other)
        if one.present != other.present:
            words = ["yes" if timer.present is not False else "no" for timer in (one, other)]
            raise _differs(f"Target timer presence '{words[1]}' does not match source '{words[0]}'")


def _check_cpu(old: Any, new: Any) -> None:
    """Compare the guest's CPU; raises ConfigUnsupported."""
    if (old is None) != (new is None):
        raise _differs("Target CPU does not match source", VIR_FROM_CPU)
    if old is None:
        return
    _compare(CPU, old, new, VIR_FROM_CPU)
    if len(old.features) != len(new.features):
        counts = (len(new.features), len(old.features))
        raise _differs(
            f"Target CPU feature count {counts[0]} does not match source {counts[1]}", VIR_FROM_CPU
        )
    for one, other in zip(old.features, new.features, strict=True):
        rules = (_same("name", "CPU feature"), _same("policy", "CPU feature policy"))
        _compare(rules, one, other, VIR_FROM_CPU)


def _compare(rules: Sequence[Rule], old: Any, new: Any, domain: int = VIR_FROM_DOMAIN) -> None:
    """Compare values; raises ConfigUnsupported."""
    for path, text in rules:
        one, other = _value(old, path), _value(new, path)
        if one != other:
            raise _differs(text.format(new=_shown(path, other), old=_shown(path, one)), domain)


def _value(thing: Any, path: str) -> Any:
    """Return what stands at a dotted path, None where it leads nowhere."""
    for name in path.split("."):
        thing = getattr(thing, name, None)
    return thing


def _shown(path: str, value: Any) -> str:
    """Return a value as libvirt shows it."""
    if value is None:
        return "none" if path == "os.smbios" else "(null)"
    return format_uuid(value) if isinstance(value, bytes) else str(value)


def _devices(model: DomainModel, family: str) -> list[Any]:
    """Return the devices of a family, of which some can have only one."""
    found = getattr(model.devices, family)
    return found if isinstance(found, list) else [] if found is None else [found]


def _online(model: DomainModel, number: int) -> bool:
    """Return whether a virtual CPU is plugged in."""
    if model.vcpu_list is None:
        return number < model.vcpus
    return any(vcpu.id == number and vcpu.enabled for vcpu in model.vcpu_list.vcpus)


def _vcpu(number: int) -> ConfigUnsupported:
    """Return the error for a virtual CPU that is plugged in only once."""
    return _differs(f"State of vCPU '{number}' differs between source and destination definitions")


def _differs(text: str, domain: int = VIR_FROM_DOMAIN) -> ConfigUnsupported:
    """Return the error for a difference."""
    return ConfigUnsupported(text, domain=domain)
