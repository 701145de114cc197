"""What an emulator can do: found out from the binary itself, once, and then only looked up.

The figures come from QMP (``query-version``, ``query-machines``, ``qom-list-types``, ``query-kvm``, ...); who
asks is :mod:`remotevirt.drivers.qemu.probe`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["CpuModel", "Emulator", "Machine"]


@attrs.frozen
class Machine:
    """A machine type.

    Attributes:
        name: its canonical name (``pc-q35-7.2``).
        alias: its other name (``q35``), None for none.
        max_cpus: the most virtual CPUs.
        default_cpu: the QOM type of the CPU that it has by default, None where QEMU does not say.
        default_memory: the id of the memory backend that it makes by default, None where QEMU does not say.
        hotpluggable_cpus: CPUs can be added while it runs.
        deprecated: QEMU will drop it.
    """

    name: str
    alias: str | None = None
    max_cpus: int = 1
    default_cpu: str | None = None
    default_memory: str | None = None
    hotpluggable_cpus: bool = False
    deprecated: bool = False


@attrs.frozen
class CpuModel:
    """A CPU model; ``blockers`` are the features that the host lacks for it, None where nobody has looked."""

    name: str
    blockers: tuple[str, ...] | None = None
    deprecated: bool = False


@attrs.frozen
class MadeCpu:
    """A CPU that an emulator has made: the features that it has, and those that had to be left out."""

    enabled: frozenset[str]
    dropped: frozenset[str]


@attrs.frozen
class Emulator:
    """A binary and what it can do.

    Attributes:
        path: of the binary.
        arch: of its guests, in libvirt's words (``x86_64``, ``aarch64``).
        version: major, minor, micro.
        package: what the distribution calls it, maybe empty.
        machines: by canonical name, in QEMU's order.
        default_machine: the canonical name of the one that is used if none is asked for, None for none.
        devices: the QOM types that ``-device`` takes.
        objects: the QOM types that ``-object`` takes.
        kvm: whether KVM works with it, here and now.
        cpus: the CPU models under TCG, by name.
        kvm_cpus: those under KVM; empty where KVM does not work.
    """

    path: str
    arch: str
    version: tuple[int, int, int]
    package: str = ""
    machines: Mapping[str, Machine] = attrs.field(factory=dict)
    default_machine: str | None = None
    devices: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    kvm: bool = False
    cpus: Mapping[str, CpuModel] = attrs.field(factory=dict)
    kvm_cpus: Mapping[str, CpuModel] = attrs.field(factory=dict)

    def machine(self, name: str | None) -> Machine | None:
        """Return a machine type by its name or alias; the default one for None; None if there is none."""
        wanted = self.default_machine if name is None else name
        if wanted is None:
            return None
        found = self.machines.get(wanted)
        if found is not None:
            return found
        return next((machine for machine in self.machines.values() if machine.alias == wanted), None)
