"""The addresses of a guest's interfaces, as far as the host knows them without asking the guest."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from remotevirt.drivers.faults import signed
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.lifecycle import no_agent
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported
from remotevirt.stubs.remote import DomainInterface, DomainIpAddr, NonnullDomain

__all__ = ["AddressCalls", "read_neighbours"]

NEIGHBOURS: Final = Path("/proc/net/arp")
"""Linux's table of neighbours with IPv4 addresses."""

TABLE_MAXIMUM: Final = 1 << 20
"""Bytes of the table that are looked at. Linux keeps some 1024 neighbours, of 80 bytes each."""

HARDWARE, DEVICE = 3, 5
"""Fields of a line that hold the MAC address, and the interface by which it was seen."""


class AddressCalls(QemuCalls):
    """virDomainInterfaceAddresses."""

    def domain_interface_addresses(
        self, dom: NonnullDomain, source: int, flags: int
    ) -> Sequence[DomainInterface]:
        """Return interfaces with their addresses.

        Args:
            dom: the domain.
            source: of virDomainInterfaceAddressesSource. Nobody leases addresses to guests of this driver.
            flags: none is known.

        Raises:
            ArgumentUnsupported: there is no such source, or it would be the guest's agent.
        """
        self.check_flags(flags, 0, "DomainInterfaceAddresses")
        record = self.record(dom)
        self.guest(record)
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
            return ()
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            raise no_agent(record)
        if source != c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
            text = f"Unknown IP address data source {signed(source)}"
            raise ArgumentUnsupported(text, domain=c.VIR_FROM_QEMU)
        known = read_neighbours()
        return [
            DomainInterface(
                (interface.target.dev if interface.target is not None else None) or "",
                interface.mac.address,
                [DomainIpAddr(c.VIR_IP_ADDR_TYPE_IPV4, address, 0) for address in addresses],
            )
            for interface in record.live.model.devices.interfaces
            if interface.mac is not None and (addresses := known.get(str(interface.mac.address).lower()))
        ]


def read_neighbours(path: Path = NEIGHBOURS) -> Mapping[str, Sequence[str]]:
    """Return the IPv4 addresses of the host's neighbours, by MAC address; none if the host tells nothing."""
    found: dict[str, list[str]] = {}
    with suppress(OSError), path.open("rb") as file:
        for line in file.read(TABLE_MAXIMUM).decode(errors="replace").splitlines()[1:]:
            fields = line.split()
            if len(fields) > DEVICE:
                with suppress(ValueError):
                    address = str(ipaddress.IPv4Address(fields[0]))
                    found.setdefault(fields[HARDWARE].lower(), []).append(address)
    return found
