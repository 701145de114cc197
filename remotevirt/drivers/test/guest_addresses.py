"""The addresses of a guest's interfaces, which nobody gave it: they are counted from its network's first one.

The n-th interface (from 0) of the domain with id ``i`` gets the address that is ``20 * (i - 1) + n + 1``
above the first one that its network leases, or the network's own. One that is on no network gets
``192.168.0.n+1``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.faults import check_flags, signed
from remotevirt.drivers.test.calls import WorldCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, NoNetwork
from remotevirt.stubs.remote import DomainInterface, DomainIpAddr, NonnullDomain
from remotevirt.xml.domain.interface import Interface

__all__ = ["GuestAddressCalls"]

SOURCES: Final = frozenset(
    {
        c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    }
)
"""Whom the addresses may be had from; all of them say the same."""

PER_DOMAIN: Final = 20
"""Addresses from one domain to the next."""

NOWHERE: Final = ipaddress.IPv4Address("192.168.0.0")
NOWHERE_PREFIX: Final = 24


class GuestAddressCalls(WorldCalls):
    """virDomainInterfaceAddresses."""

    def domain_interface_addresses(
        self, dom: NonnullDomain, source: int, flags: int
    ) -> Sequence[DomainInterface]:
        """Return name, MAC address and IP address of each interface.

        Raises:
            ArgumentUnsupported: there is no such source.
            NoNetwork: an interface is on a network that is not there.
        """
        check_flags(flags, 0, "testDomainInterfaceAddresses")
        if source not in SOURCES:
            text = f"Unknown IP address data source {signed(source)}"
            raise ArgumentUnsupported(text, domain=c.VIR_FROM_TEST)
        record = self.active(dom)
        return [
            DomainInterface(
                (interface.target.dev if interface.target else None) or "",
                interface.mac.address if interface.mac else None,
                self._addresses(interface, number, record.id),
            )
            for number, interface in enumerate(record.live.model.devices.interfaces)
        ]

    def _addresses(self, interface: Interface, number: int, id: int) -> list[DomainIpAddr]:
        """Return the address of one interface; none on a network without addresses."""
        if interface.type != "network":
            address = NOWHERE + (number + 1) % 256
            return [DomainIpAddr(c.VIR_IP_ADDR_TYPE_IPV4, str(address), NOWHERE_PREFIX)]
        name = getattr(interface.place, "network", None)
        network = self.world.networks.by_name.get(name or "")
        if network is None:
            text = f"no network with matching name '{name}'"
            raise NoNetwork(text, domain=c.VIR_FROM_TEST)
        if not network.live.subnets:
            return []
        subnet = network.live.subnets[0]
        first = subnet.ranges[0].start if subnet.ranges else subnet.address
        offset = PER_DOMAIN * (id - 1) + number + 1
        if first.version == 4:
            found = str(ipaddress.IPv4Address((int(first) + offset) % 2**32))
            return [DomainIpAddr(c.VIR_IP_ADDR_TYPE_IPV4, found, subnet.prefix_length)]
        last = (int(first) + offset) % 256
        found = str(ipaddress.IPv6Address(int(first) // 256 * 256 + last))
        return [DomainIpAddr(c.VIR_IP_ADDR_TYPE_IPV6, found, subnet.prefix_length)]
