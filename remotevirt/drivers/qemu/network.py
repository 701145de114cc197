"""Calls about network cards: counts, rates, addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from remotevirt.drivers.domains.calls import LIVE
from remotevirt.drivers.domains.interface_tuning import InterfaceTuningCalls
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.lifecycle import no_agent
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, ConfigUnsupported, InternalError, InvalidArg
from remotevirt.stubs.remote import DomainInterface, DomainIpAddr, NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainInterfaceStatsRet
from remotevirt.xml.domain.interface import Interface

__all__ = ["NetworkCalls", "card_name", "interface_figures"]

CLASS: Final = Path("/sys/class/net")
ARP: Final = Path("/proc/net/arp")

MAX_ARP: Final = 1 << 20
"""Bytes that are read of the host's ARP table: some ten thousand neighbours."""

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
            raise InvalidArg(f"'{device}' is not a known interface", domain=c.VIR_FROM_QEMU)
        name = card_name(interface)
        if name is None:
            raise InternalError("Interface name not provided", domain=c.VIR_FROM_NONE)
        return interface_figures(name)

    def domain_set_interface_parameters(
        self, dom: NonnullDomain, device: str, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Replace the rates of a card in the persistent definition; a running guest's are not limited."""
        record = self.record(dom)
        if params and self.impact(record, flags) & LIVE:
            interface = record.live.interface(device)
            if interface is not None:
                text = f"setting bandwidth on interfaces of type '{interface.type}' is not implemented yet"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        super().domain_set_interface_parameters(dom, device, params, flags)

    def domain_interface_addresses(
        self, dom: NonnullDomain, source: int, flags: int
    ) -> Sequence[DomainInterface]:
        """Return the addresses of a guest's cards that the host's neighbour table knows.

        There are no leases, for there are no networks of libvirt's, and no agent.
        """
        self.check_flags(flags, 0, "DomainInterfaceAddresses")
        record = self.record(dom)
        self.guest(record)
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
            return ()
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            raise no_agent()
        if source != c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
            raise ArgumentUnsupported(f"Unknown IP address data source {source}", domain=c.VIR_FROM_QEMU)
        return neighbours(record.live.model.devices.interfaces, _arp_table())


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


def _arp_table() -> str:
    try:
        with ARP.open(encoding="ascii", errors="replace") as file:
            return file.read(MAX_ARP)
    except OSError as error:
        raise InternalError(f"cannot read {ARP}: {error.strerror}", domain=c.VIR_FROM_QEMU) from error


def neighbours(interfaces: Sequence[Interface], table: str) -> list[DomainInterface]:
    """Return the cards of which a neighbour table knows an address.

    Args:
        interfaces: of the guest.
        table: ``/proc/net/arp``: address, type, flags, MAC address, mask and device in columns.
    """
    rows = [columns for line in table.splitlines()[1:] if len(columns := line.split()) >= 6]
    found: list[DomainInterface] = []
    for one in interfaces:
        mac = one.mac.address if one.mac is not None else None
        addresses = [
            DomainIpAddr(c.VIR_IP_ADDR_TYPE_IPV4, row[0], 0)
            for row in rows
            if mac is not None and row[3].lower() == mac.lower()
        ]
        if addresses:
            found.append(DomainInterface(card_name(one) or mac or "", mac, addresses))
    return found
