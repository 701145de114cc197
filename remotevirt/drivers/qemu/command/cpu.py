"""The virtual CPUs: model, features, enlightenments, topology, and those that are plugged in later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Order, Part, escaped, option, to_commands
from remotevirt.drivers.qemu.command.setting import Setting, unsupported
from remotevirt.drivers.qemu.command.small import panic_feature
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain.cpu import Cpu
from remotevirt.xml.domain.features import HYPERV, Features, HyperV

__all__ = [
    "boot_vcpus",
    "cpu_options",
    "hotpluggable_vcpus",
    "orders_for_vcpus",
    "parts_of_vcpu",
    "qemu_feature",
    "topology_options",
    "vcpu_slots",
]

_NAMES: Final = {"pclmuldq": "pclmulqdq"}
"""Features whose names differ between libvirt and QEMU by more than an underscore."""

_ON: Final = frozenset(("require", "force", "optional"))
"""The policies of features that the guest gets; QEMU drops what the host lacks."""


def cpu_options(setting: Setting) -> list[Part]:
    """Return ``-cpu``. Raises VirError where this emulator has no such CPU."""
    words = _features(setting)
    name = _model(setting)
    if name is None:
        if not words:
            return []
        name = "qemu64"
    return [option("-cpu", ",".join([escaped(name), *words]))]


def _model(setting: Setting) -> str | None:
    cpu = setting.model.cpu
    kvm = setting.model.type == "kvm"
    if cpu is None or (cpu.mode is None and cpu.model is None):
        return None
    mode = cpu.mode or "custom"
    if mode == "host-passthrough" and not kvm:
        raise unsupported(
            f"CPU mode 'host-passthrough' for {setting.arch} qemu domain on {setting.arch} host is not"
            " supported by hypervisor"
        )
    if mode in {"host-passthrough", "host-model"}:
        return "host" if kvm else "max"
    if mode == "maximum":
        return "max"
    if cpu.model is None or cpu.model.name is None:
        return None
    name = cpu.model.name
    known = setting.emulator.kvm_cpus if kvm and setting.emulator.kvm_cpus else setting.emulator.cpus
    if known and name not in known:
        raise unsupported(f"CPU model {name} not supported by hypervisor")
    return name


def _features(setting: Setting) -> list[str]:
    """The words after the model, in libvirt's order."""
    model = setting.model
    features = model.features or Features()
    cpu = model.cpu or Cpu()
    words = [f"{_feature_name(setting, one.name)}={_on(one.policy in _ON)}" for one in cpu.features]
    if cpu.mode == "host-passthrough" and cpu.migratable is not None:
        words.insert(0, f"migratable={_on(cpu.migratable)}")
    for timer in model.clock.timers:
        if timer.name == "kvmclock" and timer.present is not None:
            words.append(f"kvmclock={_on(timer.present)}")
        elif timer.name == "hypervclock" and timer.present:
            words.append("hv-time=on")
        elif timer.name == "tsc" and timer.frequency is not None:
            words.append(f"tsc-frequency={timer.frequency}")
    if features.apic is not None and features.apic.eoi is not None:
        words.append(f"kvm-pv-eoi={_on(features.apic.eoi)}")
    if features.pvspinlock is not None:
        words.append(f"kvm-pv-unhalt={_on(features.pvspinlock)}")
    if features.hyperv is not None:
        words += _enlightenments(features.hyperv)
    words += panic_feature(setting)
    words += _paravirtual(features)
    if features.pmu is not None:
        words.append(f"pmu={_on(features.pmu)}")
    words += _cache(cpu)
    if cpu.maxphysaddr is not None:
        if cpu.maxphysaddr.mode == "passthrough":
            words.append("host-phys-bits=on")
        elif cpu.maxphysaddr.bits is not None:
            words.append(f"phys-bits={cpu.maxphysaddr.bits}")
    if not setting.is_x86 and any(
        word.partition("=")[0] not in {"pmu"} for word in words[len(cpu.features) :]
    ):
        raise unsupported(f"the domain has CPU features that '{setting.arch}' guests cannot have")
    return words


def _feature_name(setting: Setting, name: str) -> str:
    if not setting.is_x86:
        return escaped(name)
    return escaped(qemu_feature(name))


def qemu_feature(name: str) -> str:
    """Return what QEMU calls a feature of an x86 CPU."""
    return _NAMES.get(name, name).replace("_", "-")


def _on(value: bool | None) -> str:
    return "on" if value else "off"


def _enlightenments(hyperv: HyperV) -> list[str]:
    if hyperv.mode == "passthrough":
        return ["hv-passthrough=on"]
    words = []
    for name in HYPERV:
        value: Any = getattr(hyperv, name)
        word = f"hv-{name.replace('_', '-')}"
        if value is None or value is False or getattr(value, "state", True) is False:
            continue
        if name == "spinlocks":
            words.append(f"{word}={value.retries:#x}")
        elif name == "vendor_id":
            words.append(f"{word}={escaped(value.value)}")
        else:
            words.append(f"{word}=on")
            if name == "stimer" and value.direct:
                words.append("hv-stimer-direct=on")
    return words


def _paravirtual(features: Features) -> list[str]:
    kvm = features.kvm
    if kvm is None:
        return []
    words = []
    if kvm.hidden:
        words.append("kvm=off")
    if kvm.hint_dedicated:
        words.append("kvm-hint-dedicated=on")
    if kvm.poll_control:
        words.append("kvm-poll-control=on")
    if kvm.pv_ipi is False:
        words.append("kvm-pv-ipi=off")
    return words


def _cache(cpu: Cpu) -> list[str]:
    cache = cpu.cache
    if cache is None:
        return []
    if cache.mode == "passthrough":
        return ["host-cache-info=on", "l3-cache=off"]
    if cache.mode == "disable":
        return ["l3-cache=off"]
    if cache.level != 3:
        raise unsupported(f"CPU cache mode '{cache.mode}' can only be used with CPU cache level 3")
    return ["l3-cache=on"]


def hotpluggable_vcpus(setting: Setting) -> list[int]:
    """Return which virtual CPUs the guest starts with that must be plugged in before its first instruction.

    They are those that the domain calls hot-pluggable: what is on the command line can never be taken out.
    """
    found = setting.model.vcpu_list
    if found is None:
        return []
    return [one.id for one in found.vcpus if one.enabled and one.hotpluggable]


def boot_vcpus(setting: Setting) -> int:
    """Return how many virtual CPUs the command line makes."""
    return max(1, setting.model.vcpus - len(hotpluggable_vcpus(setting)))


def vcpu_slots(answer: Any) -> list[Mapping[str, Any]]:
    """Return the places of virtual CPUs, by the CPU's number.

    Args:
        answer: of ``query-hotpluggable-cpus``, which lists them in no order that counts.

    Raises:
        InternalError: it is not what QEMU answers.
    """
    places = answer if isinstance(answer, list) else [None]
    for place in places:
        if not (
            isinstance(place, dict)
            and isinstance(place.get("type"), str)
            and isinstance(place.get("props"), dict)
            and all(isinstance(place["props"].get(key, 0), int) for key in _SLOT)
        ):
            text = "query-hotpluggable-cpus reply was in an unexpected form"
            raise InternalError(text, domain=c.VIR_FROM_QEMU)
    return sorted(places, key=lambda place: [place["props"].get(key, 0) for key in _SLOT])


_SLOT: Final = ("socket-id", "die-id", "cluster-id", "core-id", "thread-id")
"""Where a virtual CPU is, from the outside inwards."""


def parts_of_vcpu(number: int, slot: Mapping[str, Any]) -> list[Part]:
    """Return a virtual CPU that is plugged in.

    Args:
        number: of the virtual CPU.
        slot: its place, one of :func:`vcpu_slots`.
    """
    return [Part("device", {"driver": slot["type"], "id": f"vcpu{number}", **slot["props"]})]


def orders_for_vcpus(setting: Setting, answer: Any) -> list[Order]:
    """Return the commands that plug in the virtual CPUs which the command line does not make.

    Args:
        setting: the guest.
        answer: of ``query-hotpluggable-cpus``.

    Raises:
        VirError: the machine has no place for one.
    """
    slots = vcpu_slots(answer)
    orders: list[Order] = []
    for number in hotpluggable_vcpus(setting):
        if number >= len(slots) or "qom-path" in slots[number]:
            raise unsupported(f"vcpu '{number}' cannot be plugged into this machine")
        for part in parts_of_vcpu(number, slots[number]):
            orders += to_commands(part)
    return orders


def topology_options(setting: Setting) -> list[Part]:
    """Return ``-smp``. Raises VirError where the machine cannot have so many."""
    model = setting.model
    machine = setting.emulator.machine(setting.machine)
    if machine is not None and machine.max_cpus and model.maxvcpus > machine.max_cpus:
        raise unsupported(f"Maximum CPUs greater than specified machine type limit {machine.max_cpus}")
    started = boot_vcpus(setting)
    values: dict[str, object] = {}
    if started != model.maxvcpus:
        values["maxcpus"] = model.maxvcpus
    topology = model.cpu.topology if model.cpu is not None else None
    if topology is None:
        values |= {"sockets": model.maxvcpus, "cores": 1, "threads": 1}
    else:
        total = topology.sockets * topology.dies * topology.cores * topology.threads
        if total != model.maxvcpus:
            raise unsupported("CPU topology doesn't match maximum vcpu count")
        if topology.dies != 1 and not setting.is_x86:
            raise unsupported("Only 1 die per socket is supported")
        values["sockets"] = topology.sockets
        values["dies"] = topology.dies
        values |= {"cores": topology.cores, "threads": topology.threads}
    words = [str(started), *(f"{key}={value}" for key, value in values.items())]
    return [option("-smp", ",".join(words))]
