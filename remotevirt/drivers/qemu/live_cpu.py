"""The CPU of a guest that starts: what QEMU really gives it, and whether that is what was asked for.

Features that the host or the emulation lacks are dropped by QEMU, and others come with a model beside those
that it has in libvirt's tables. Before the guest runs its live definition is told of both, as libvirt does
for x86 guests of a named model, unless the definition wants to be kept to (``check='partial'``, ``'full'``).
What was asked for is remembered: it is what a guest is saved with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults

from remotevirt.drivers.cpu.x86_models import FEATURES, X86_MODELS
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.qemu.command import Setting, cpu_words
from remotevirt.drivers.qemu.command.cpu import qemu_feature
from remotevirt.drivers.qemu.emulator import MadeCpu
from remotevirt.drivers.qemu.guest import AskedCpu, Guest
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import CpuIncompatible, OperationFailed
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.cpu import Cpu, Feature

__all__ = ["add_removed", "as_asked", "take_in_cpu"]

PROPERTIES: Final = {qemu_feature(name): name for name in FEATURES}
"""Features by the names that QEMU has for them."""

CPUS_MAXIMUM: Final = 64
"""Kinds of CPUs that are remembered: clients choose the words, and what is not remembered is asked again."""

WANTED: Final = ("force", "require")
UNWANTED: Final = ("disable", "forbid")


def add_removed(model: DomainModel) -> None:
    """Have a guest that is about to start do without features that its CPU's model once had."""
    cpu = _named(model)
    if cpu is not None:
        removed = X86_MODELS[_name(cpu)].removed
        known = {feature.name for feature in cpu.features}
        cpu.features += [_feature(name, "disable") for name in removed if name not in known]


async def take_in_cpu(guest: Guest, setting: Setting) -> None:
    """Say in a live definition what CPU the guest has got; it has not run yet.

    Args:
        guest: the guest.
        setting: what its QEMU was started with.

    Raises:
        OperationFailed, CpuIncompatible: not the one that it has to have.
        VirError: QEMU does not say.
    """
    world, record = guest.world, guest.record
    made = None if _named(record.live.model) is None else await _made(guest, setting)
    if made is None:
        return
    enabled, dropped = made.enabled, made.dropped
    guest.check_alive()
    cpu = _named(record.live.model)
    if cpu is None:
        return
    more, less = _differences(cpu, enabled, dropped)
    if cpu.check == "full" and (more or less):
        told = [f"extra features: {','.join(more)}"] if more else []
        told += [f"missing features: {','.join(less)}"] if less else []
        text = f"guest CPU doesn't match specification: {', '.join(told)}"
        raise OperationFailed(text, domain=c.VIR_FROM_CPU)
    emulated = record.live.model.type == "qemu"
    wanted = _wanted(cpu)
    # Of what it does not emulate QEMU names a part only.
    lacking = [name for name in less if name in wanted and (emulated or name in dropped)]
    if cpu.check == "partial" and lacking:
        text = f"Host CPU does not provide required features: {', '.join(lacking)}"
        raise CpuIncompatible(text, domain=c.VIR_FROM_CPU)

    def change() -> None:
        guest.details.cpu = AskedCpu(cpu.check, [(one.name, one.policy) for one in cpu.features])
        guest.remember()
        record.live.changing()
        policies = {one.name: one.policy for one in cpu.features}
        for name, policy in policies.items():
            if policy == "optional":
                policies[name] = "require" if name in enabled else "disable"
        policies |= dict.fromkeys(more, "require") | dict.fromkeys(less, "disable")
        added = [name for name in FEATURES if name in policies and name not in {*before}]
        cpu.features = [_feature(name, policies[name]) for name in [*before, *added]]
        cpu.check = "full"

    before = [one.name for one in cpu.features]
    world.commit(change)


def as_asked(record: QemuRecord) -> Definition:
    """Return the live definition of a domain, with the CPU that was asked for instead of the one it has."""
    asked = None if record.guest is None else record.guest.details.cpu
    if asked is None:
        return record.live
    definition = record.live.copy()
    cpu = definition.changing().cpu
    if cpu is not None:
        cpu.check = asked.check
        cpu.features = [_feature(name, policy) for name, policy in asked.features]
    return definition


def _named(model: DomainModel) -> Cpu | None:
    """Return the CPU of a guest whose model has a name that is known here."""
    cpu, kind = model.cpu, model.os.kind
    if cpu is None or kind is None or kind.arch not in {"x86_64", "i686"} or cpu.mode != "custom":
        return None
    return cpu if _name(cpu) in X86_MODELS else None


def _name(cpu: Cpu) -> str:
    return (cpu.model.name if cpu.model is not None else None) or ""


def _feature(name: str, policy: str) -> Feature:
    feature = Feature()
    feature.name, feature.policy = name, policy
    return feature


async def _made(guest: Guest, setting: Setting) -> MadeCpu | None:
    """Return the CPU that QEMU has made; None if it has none.

    To ask for each feature takes longer than all else of a start, so it is done once for each kind of CPU: no
    guest has run in a QEMU that is asked, and the next one from the same binary makes the same.
    """
    known, words = guest.world.made_cpus, cpu_words(setting)
    emulator, made = known.pop(words, (None, None))
    if emulator is not setting.emulator or made is None:
        path = await _first_cpu(guest)
        if path is None:
            return None
        made = await _features_of(guest, path)
    known[words] = setting.emulator, made
    if len(known) > CPUS_MAXIMUM:
        del known[next(iter(known))]
    return made


async def _first_cpu(guest: Guest) -> str | None:
    """Return where QEMU has the guest's first processor."""
    answer = objects_of(await guest.execute("query-cpus-fast"))
    path = answer[0].get("qom-path") if answer else None
    return path if isinstance(path, str) else None


async def _features_of(guest: Guest, path: str) -> MadeCpu:
    """Return the features that a processor has, and those that QEMU had to drop."""
    there = {one.get("name") for one in objects_of(await guest.execute("qom-list", {"path": path}))}
    names = [name for name in PROPERTIES if name in there]
    asked = [{"path": path, "property": name} for name in (*names, "unavailable-features")]
    # all at once: QEMU answers some hundred of these in a few milliseconds
    waiting = [Deferred.fromCoroutine(guest.execute("qom-get", one)) for one in asked]
    *values, dropped = await gatherResults(waiting, consumeErrors=True)
    enabled = (PROPERTIES[name] for name, value in zip(names, values, strict=True) if value is True)
    return MadeCpu(frozenset(enabled), frozenset(_translated(dropped)))


def _translated(names: Any) -> Iterable[str]:
    """Return features in libvirt's words; those that it has none for are left out."""
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name in PROPERTIES:
            yield PROPERTIES[name]


def _wanted(cpu: Cpu) -> frozenset[str]:
    """Return the features that a CPU must have."""
    found = set(X86_MODELS[_name(cpu)].features)
    for feature in cpu.features:
        if feature.policy in WANTED:
            found.add(feature.name)
        elif feature.policy in UNWANTED:
            found.discard(feature.name)
    return frozenset(found)


def _differences(cpu: Cpu, enabled: frozenset[str], dropped: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the features that a CPU has and should not, and those that it should have and has not."""
    wanted = _wanted(cpu)
    optional = {feature.name for feature in cpu.features if feature.policy == "optional"}
    more = enabled - wanted - optional
    less = (wanted - enabled | dropped) - optional
    return [name for name in FEATURES if name in more], [name for name in FEATURES if name in less]
