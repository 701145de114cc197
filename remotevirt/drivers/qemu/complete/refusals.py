"""What this driver cannot run, in libvirt's words: nothing that a document asks for is silently left out."""

from __future__ import annotations

from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.xml.domain import DomainModel

__all__ = ["check_early", "check_guest"]


def check_early(model: DomainModel) -> None:
    """Refuse what libvirt refuses before it gives addresses. Raises VirError."""


def check_guest(model: DomainModel, emulator: Emulator) -> None:
    """Refuse what the emulator cannot do, or the driver cannot ask it for. Raises VirError."""
