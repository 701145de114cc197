"""The capabilities document: the host, and a ``<guest>`` for each architecture, as in libvirt 9.0.0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from remotevirt.drivers.qemu.emulator import Emulator, Machine
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["capabilities_xml", "machines_of"]

NARROW: Final = frozenset(
    [
        "armv6l",
        "armv7l",
        "cris",
        "i686",
        "m68k",
        "microblaze",
        "microblazeel",
        "mips",
        "mipsel",
        "or1k",
        "ppc",
        "riscv32",
        "sh4",
        "sh4eb",
        "sparc",
        "xtensa",
        "xtensaeb",
    ]
)
"""Architectures with words of 32 bits; the others have 64."""

PLACES: Final = {"aarch64": "armv8"}
"""Where architectures stand that libvirt shows in another order than that of their names."""

PREFERRED: Final = {"armv7l": "integratorcp", "aarch64": "integratorcp"}
"""libvirt's choice where QEMU has none."""

X86: Final = frozenset({"i686", "x86_64"})


def capabilities_xml(host: str, emulators: Iterable[Emulator]) -> str:
    """Return the document.

    Args:
        host: the ``<host>`` element, indented by two blanks, with a line end after it.
        emulators: what there is.
    """
    parts = ["<capabilities>\n", host]
    for emulator in sorted(emulators, key=lambda one: PLACES.get(one.arch, one.arch)):
        for arch in ("armv6l", "armv7l") if emulator.arch == "armv7l" else (emulator.arch,):
            parts.append(render(_guest(emulator, arch), "  "))
    return "\n".join(parts) + "\n</capabilities>\n"


def machines_of(emulator: Emulator) -> Sequence[Machine]:
    """Return the machine types that guests can have, the one first that is used if none is asked for."""
    machines = [machine for machine in emulator.machines.values() if machine.name != "none"]
    first = emulator.default_machine or PREFERRED.get(emulator.arch)
    return sorted(machines, key=lambda machine: machine.name != first)


def _guest(emulator: Emulator, arch: str) -> Tag:
    """Return what guests of an architecture can be."""
    guest = Tag("guest")
    guest.add(leaf("os_type", "hvm"))
    inner = Tag("arch").set("name", arch)
    inner.add(leaf("wordsize", 32 if arch in NARROW else 64))
    inner.add(leaf("emulator", emulator.path))
    for machine in machines_of(emulator):
        deprecated = "yes" if machine.deprecated else None
        tag = leaf("machine", machine.name).set("maxCpus", machine.max_cpus).set("deprecated", deprecated)
        inner.add(tag)
        if machine.alias is not None:
            alias = leaf("machine", machine.alias).set("canonical", machine.name)
            inner.add(alias.set("maxCpus", machine.max_cpus).set("deprecated", deprecated))
    inner.add(Tag("domain").set("type", "qemu"))
    if emulator.kvm:
        inner.add(Tag("domain").set("type", "kvm"))
    guest.add(inner)
    guest.add(_features(arch))
    return guest


def _features(arch: str) -> Tag:
    """Return what can be switched on and off."""
    features = Tag("features")
    if arch == "i686":
        features.add(Tag("pae"))
        features.add(Tag("nonpae"))
    if arch in X86 or arch == "aarch64":
        features.add(Tag("acpi").set("default", "on").set("toggle", "yes"))
    if arch in X86:
        features.add(Tag("apic").set("default", "on").set("toggle", "no"))
    features.add(Tag("cpuselection"))
    features.add(Tag("deviceboot"))
    features.add(Tag("disksnapshot").set("default", "on").set("toggle", "no"))
    return features
