"""Calls about network cards: counts and rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from remotevirt.drivers.domains.calls import LIVE
from remotevirt.drivers.domains.interface_tuning import InterfaceTuningCalls
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainInterfaceStatsRet
from remotevirt.xml.domain.interface import Interface

__all__ = ["NetworkCalls", "card_name", "interface_figures"]

CLASS: Final = Path("/sys/class/net")

LIMITED: Final = frozenset({"network", "bridge", "direct", "ethernet"})
"""Types of cards whose definitions may name rates."""

COUNTS: Final = (
    *("tx_bytes", "tx_packets", "tx_errors", "tx_dropped"),
    *("rx_bytes", "rx_packets", "rx_errors", "rx_dropped"),
)
"""The kernel's counters of a tap device, in the order of the answer: what the host sends the guest gets."""


class NetworkCalls(QemuCalls, InterfaceTuningCalls):
    """Calls about the network cards of a domain."""

    def domain_interface_stats(self, dom: NonnullDomain, device: str) -> DomainInterfaceStatsRet:
        """Return what a card has received and sent; only the kernel counts, so it must be a tap device."""
        record = self.record(dom)
        self.guest(record)
        interface = record.live.interface(device)
        if interface is None:
            raise InvalidArg(f"'{device}' is not a known interface", domain=c.VIR_FROM_DOMAIN)
        name = card_name(interface)
        if name is None:
            raise InternalError("Interface name not provided", domain=c.VIR_FROM_NONE)
        return interface_figures(name)

    def domain_set_interface_parameters(
        self, dom: NonnullDomain, device: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Replace the rates of a card in the persistent definition; a running guest's are not limited."""
        record = self.record(dom)
        if params:
            impact = self.impact(record, flags)
            interface = (record.live if impact & LIVE else record.persistent_definition).interface(device)
            if interface is not None and (impact & LIVE or interface.type not in LIMITED):
                text = f"setting bandwidth on interfaces of type '{interface.type}' is not implemented yet"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        super().domain_set_interface_parameters(dom, device, params, flags)


def card_name(interface: Interface) -> str | None:
    """Return the name of a card's tap device, None for a card that has none."""
    if interface.type == "user" or interface.target is None:
        return None
    return interface.target.dev or None


def interface_figures(name: str) -> DomainInterfaceStatsRet:
    """Return what the kernel has counted of a tap device, as the guest sees it.

    Raises:
        InternalError: there is no such device.
    """
    folder = CLASS / name.replace("/", "_") / "statistics"
    try:
        return DomainInterfaceStatsRet(*(int((folder / count).read_text()[:32]) for count in COUNTS))
    except (OSError, ValueError):
        raise InternalError("/proc/net/dev: Interface not found", domain=c.VIR_FROM_NONE) from None
