"""What may make a guest behave as nobody expects: marks that it gets, and the texts that clients are shown.

A mark stays until the guest ends, also when the daemon starts anew; :func:`taint` gives one. Whether QEMU
will drop what a guest is made of is looked up.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain import DomainModel

__all__ = ["CUSTOM_ARGV", "CUSTOM_MONITOR", "MessageCalls", "taint"]

CUSTOM_ARGV: Final = "custom-argv"
"""It was started with arguments that nobody has checked."""

CUSTOM_MONITOR: Final = "custom-monitor"
"""Somebody has talked to its QEMU himself."""

DEPRECATED: Final = "deprecated-config"
"""It is made of something that QEMU will drop."""

TAINTS: Final = {
    CUSTOM_ARGV: "custom configuration parameters specified",
    CUSTOM_MONITOR: "custom monitor control commands issued",
    DEPRECATED: "use of deprecated configuration settings",
}
"""libvirt's words, in its order."""


def taint(guest: Guest, mark: str) -> None:
    """Mark a guest, for as long as it runs; kept before this returns."""
    if mark not in guest.details.taints:
        guest.world.commit(_mark, guest, mark)


def _mark(guest: Guest, mark: str) -> None:
    guest.details.taints.append(mark)
    guest.remember()


class MessageCalls(QemuCalls):
    """virDomainGetMessages."""

    async def domain_get_messages(self, dom: NonnullDomain, flags: int) -> tuple[str, ...]:
        """Return the warnings about a guest; none about a domain that does not run.

        Args:
            dom: the domain.
            flags: virDomainMessageType: which of both kinds; 0 for all.
        """
        both = c.VIR_DOMAIN_MESSAGE_DEPRECATION | c.VIR_DOMAIN_MESSAGE_TAINTING
        self.check_flags(flags, both, "DomainGetMessages")
        record = self.record(dom)
        guest = record.guest
        if guest is None:
            return ()
        model = record.live.model
        emulator = await self.world.emulators.get(model.devices.emulator or "")
        deprecated = _deprecated(model, emulator)
        marks = set(guest.details.taints)
        if model.commandline is not None:
            marks.add(CUSTOM_ARGV)
        if deprecated:
            marks.add(DEPRECATED)
        wanted = flags or both
        texts: list[str] = []
        if wanted & c.VIR_DOMAIN_MESSAGE_TAINTING:
            texts += [f"tainted: {text}" for mark, text in TAINTS.items() if mark in marks]
        if wanted & c.VIR_DOMAIN_MESSAGE_DEPRECATION:
            texts += [f"deprecated configuration: {text}" for text in deprecated]
        return tuple(texts)


def _deprecated(model: DomainModel, emulator: Emulator) -> list[str]:
    """Return what of a guest QEMU will drop."""
    found: list[str] = []
    name = model.os.kind.machine if model.os.kind is not None else None
    machine = emulator.machine(name)
    if machine is not None and machine.deprecated:
        found.append(f"machine type '{name}'")
    cpu = model.cpu.model.name if model.cpu is not None and model.cpu.model is not None else None
    known = emulator.cpus.get(cpu or "")
    if known is not None and known.deprecated:
        found.append(f"CPU model '{cpu}'")
    return found
