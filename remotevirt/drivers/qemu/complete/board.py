"""Which emulator runs a guest, and what its machine is like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from remotevirt.drivers.qemu.emulator import Emulator, Machine
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, VirSystemError
from remotevirt.xml.domain import DomainModel

__all__ = ["Board", "find_board", "find_emulator", "unsupported"]

X86 = frozenset(["i686", "x86_64"])
PREFERRED = dict.fromkeys(["aarch64", "armv6l", "armv7l"], "integratorcp")
"""The machines that libvirt takes where QEMU has no default."""

ARM = frozenset(["aarch64", "armv6l", "armv7l"])


def unsupported(text: str) -> ConfigUnsupported:
    """The error for what this driver cannot run."""
    return ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


@attrs.frozen
class Board:
    """A guest's architecture and machine.

    Args:
        arch: in libvirt's words.
        machine: the canonical name of the machine type.
    """

    arch: str
    machine: str

    @property
    def is_x86(self) -> bool:
        """Whether it is a PC, of any kind."""
        return self.arch in X86

    @property
    def is_i440fx(self) -> bool:
        """Whether it is the PC of old, with PCI."""
        return self.is_x86 and (
            self.machine == "pc" or self.machine.startswith(("pc-i440fx-", "pc-0.", "pc-1."))
        )

    @property
    def is_q35(self) -> bool:
        """Whether it is the PC with PCI Express."""
        return self.is_x86 and (self.machine == "q35" or self.machine.startswith("pc-q35-"))

    @property
    def is_virt(self) -> bool:
        """Whether it is ARM's machine that exists only as software."""
        return self.arch in ARM and (self.machine == "virt" or self.machine.startswith("virt-"))

    @property
    def root(self) -> str | None:
        """The model of the PCI controller with index 0; None for a machine without PCI."""
        if self.is_i440fx:
            return "pci-root"
        return "pcie-root" if self.is_q35 or self.is_virt else None

    @property
    def has_ps2(self) -> bool:
        """Whether a keyboard and a mouse are soldered on."""
        return self.is_x86 and self.machine not in {"microvm", "none"}


def find_board(model: DomainModel) -> Board:
    """Return the board of a guest whose machine is known."""
    kind = model.os.kind
    assert kind is not None
    return Board(kind.arch, kind.machine or "")


def find_emulator(model: DomainModel, emulators: Sequence[Emulator]) -> Emulator:
    """Return the emulator of a guest; where the document names none, it is added.

    Raises:
        ConfigUnsupported: there is none for the architecture.
        VirSystemError: there is no such binary, or nothing is known of it.
    """
    kind = model.os.kind
    assert kind is not None
    path = model.devices.emulator
    if path is None:
        for emulator in emulators:
            if emulator.arch == kind.arch:
                model.devices.emulator = emulator.path
                return emulator
        raise unsupported(f"No emulator found for arch '{kind.arch}'")
    for emulator in emulators:
        if emulator.path == path:
            return emulator
    reason = "Permission denied" if Path(path).exists() else "No such file or directory"
    raise VirSystemError(message=f"Cannot check QEMU binary {path}: {reason}", domain=c.VIR_FROM_QEMU)


def choose_machine(model: DomainModel, emulator: Emulator) -> Machine | None:
    """Give the guest the machine it asks for, by its canonical name, or the emulator's own choice."""
    kind = model.os.kind
    assert kind is not None
    if kind.machine is None:
        machine = emulator.machine(None) or emulator.machine(PREFERRED.get(kind.arch, "none"))
    else:
        machine = emulator.machine(kind.machine)
    if machine is not None:
        kind.machine = machine.name
    return machine
