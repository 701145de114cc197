"""The networks of a world with behaving guests: who has an address by DHCP.

Where no guest has a life, the answer is that of libvirt's test driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from remotevirt.drivers.test.networks import TestNetworks
from remotevirt.drivers.test.newer import NewerNetworks
from remotevirt.procedures import Result
from remotevirt.stubs.remote import NonnullNetwork
from remotevirt.stubs.remote.network import NetworkDhcpLease, NetworkGetDhcpLeasesRet
from remotevirt.testing.guest_calls import GuestHypervisor
from remotevirt.testing.guests import Guests
from remotevirt.xml.addresses import parse_mac

__all__ = ["GuestNetworks", "NewerGuestNetworks"]

LEASE_SECONDS: Final = 3600
"""How long a lease lasts from now: it is renewed as long as its guest runs."""


class GuestNetworks(TestNetworks):
    """The network sub-driver of one connection to a world with behaving guests.

    Args:
        guests: their lives.
        calls: knows their addresses.
    """

    def __init__(self, guests: Guests, calls: GuestHypervisor) -> None:
        super().__init__(guests.world.networks, guests.world.hub)
        self._guests = guests
        self._calls = calls

    def network_get_dhcp_leases(
        self, net: NonnullNetwork, mac: str | None, need_results: int, flags: int
    ) -> Result[NetworkGetDhcpLeasesRet]:
        """Return the leases of guests on a network, all or those of one MAC address."""
        if not self._guests.lives:
            return super().network_get_dhcp_leases(net, mac, need_results, flags)
        network = self._named(net.name)
        wanted = None if mac is None else parse_mac(mac)
        found = [lease for lease in self._leases(network) if wanted is None or lease.mac == wanted]
        return NetworkGetDhcpLeasesRet(found if need_results else (), len(found))

    def _leases(self, network: Any) -> Iterator[NetworkDhcpLease]:
        world, now = self._guests.world, self._guests.clock.seconds()
        ends = world.now() // 10**9 + LEASE_SECONDS
        bridge = getattr(network.live.bridge, "name", None) or network.name
        for uuid, life in self._guests.lives.items():
            if not life.leased(now):
                continue
            record = world.by_uuid[uuid]
            for number, interface in enumerate(record.live.model.devices.interfaces):
                if getattr(interface.place, "network", None) != network.name:
                    continue
                address = interface.mac.address if interface.mac else None
                for one in self._calls.addresses_of(interface, number, record.id):
                    yield NetworkDhcpLease(
                        bridge,
                        ends,
                        one.type,
                        address,
                        None,
                        one.addr,
                        one.prefix,
                        f"{record.name}host",
                        None,
                    )


class NewerGuestNetworks(GuestNetworks, NewerNetworks):
    """The same with what libvirt's test driver has learnt since 9.0.0."""
