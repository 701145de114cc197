"""Networks: what there is, and how it looks. Defining and changing them is not supported yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from remotevirt.drivers.test.faults import check_count, check_flags
from remotevirt.drivers.test.objects import MAX_LIST, Table, passes
from remotevirt.drivers.test.plain_xml import child_text, print_element, take_uuid
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import NetworkDriver
from remotevirt.stubs.errors import InternalError, NoNetwork
from remotevirt.stubs.remote import NonnullNetwork
from remotevirt.stubs.remote.network import ConnectListAllNetworksRet

__all__ = ["NetworkRecord", "TestNetworks"]

ACTIVITY: Final = (c.VIR_CONNECT_LIST_NETWORKS_ACTIVE, c.VIR_CONNECT_LIST_NETWORKS_INACTIVE)
PERSISTENCE: Final = (c.VIR_CONNECT_LIST_NETWORKS_PERSISTENT, c.VIR_CONNECT_LIST_NETWORKS_TRANSIENT)
AUTOSTART: Final = (c.VIR_CONNECT_LIST_NETWORKS_AUTOSTART, c.VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART)
FILTERS: Final[int] = sum(ACTIVITY + PERSISTENCE + AUTOSTART)


class NetworkRecord:
    """A network of a world.

    Attributes:
        name, uuid, ref: what it is known by.
        bridge: the host's device, None if its XML names none.
        xml: its document.
        active, persistent, autostart: what they say.
    """

    __slots__ = ("active", "autostart", "bridge", "name", "persistent", "ref", "uuid", "xml")

    def __init__(self, element: Any) -> None:
        self.name = child_text(element, "name", "missing name element")
        self.uuid = take_uuid(element)
        self.ref = NonnullNetwork(self.name, self.uuid)
        bridge = element.find("bridge")
        self.bridge: str | None = None if bridge is None else bridge.get("name")
        self.xml = print_element(element)
        self.active = self.persistent = True
        self.autostart = False

    def passes(self, flags: int) -> bool:
        """Return whether the network passes a list filter."""
        return passes(
            flags,
            (*ACTIVITY, self.active),
            (*PERSISTENCE, self.persistent),
            (*AUTOSTART, self.autostart),
        )


class TestNetworks(NetworkDriver):
    """The network sub-driver; most calls go by the name in the reference, as in libvirt."""

    def __init__(self, networks: Table[NetworkRecord]) -> None:
        self.networks = networks

    def _named(self, name: str) -> NetworkRecord:
        network = self.networks.by_name.get(name)
        if network is None:
            raise NoNetwork(f"no network with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return network

    def _by_uuid(self, uuid: bytes) -> NetworkRecord:
        for network in self.networks:
            if network.uuid == uuid:
                return network
        text = f"no network with matching uuid '{UUID(bytes=uuid)}'"
        raise NoNetwork(text, domain=c.VIR_FROM_TEST)

    def _names(self, maxnames: int, wanted: Callable[[NetworkRecord], bool]) -> Sequence[str]:
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_NETWORK_LIST_MAX")
        return [network.name for network in self.networks if wanted(network)][:maxnames]

    def connect_num_of_networks(self) -> int:
        """Return how many networks are active."""
        return sum(network.active for network in self.networks)

    def connect_num_of_defined_networks(self) -> int:
        """Return how many networks are inactive."""
        return sum(not network.active for network in self.networks)

    def connect_list_networks(self, maxnames: int) -> Sequence[str]:
        """Return the names of active networks."""
        return self._names(maxnames, lambda network: network.active)

    def connect_list_defined_networks(self, maxnames: int) -> Sequence[str]:
        """Return the names of inactive networks."""
        return self._names(maxnames, lambda network: not network.active)

    def connect_list_all_networks(self, need_results: int, flags: int) -> ConnectListAllNetworksRet:
        """Return the networks that pass a filter."""
        check_flags(flags, FILTERS, "testConnectListAllNetworks")
        refs = [network.ref for network in self.networks if network.passes(flags)]
        return ConnectListAllNetworksRet(refs if need_results else (), len(refs))

    def network_lookup_by_name(self, name: str) -> NonnullNetwork:
        """Return the network of a name."""
        return self._named(name).ref

    def network_lookup_by_uuid(self, uuid: bytes) -> NonnullNetwork:
        """Return the network of a UUID."""
        return self._by_uuid(uuid).ref

    def network_get_xml_desc(self, net: NonnullNetwork, flags: int) -> str:
        """Return a network's document."""
        check_flags(flags, 0, "testNetworkGetXMLDesc")
        return self._named(net.name).xml

    def network_get_bridge_name(self, net: NonnullNetwork) -> str:
        """Return the host's device of a network."""
        network = self._named(net.name)
        if not network.bridge:
            text = f"network '{network.name}' does not have a bridge name."
            raise InternalError(text, domain=c.VIR_FROM_TEST)
        return network.bridge

    def network_get_autostart(self, net: NonnullNetwork) -> int:
        """Return 1 if a network starts with its host."""
        return int(self._named(net.name).autostart)

    def network_set_autostart(self, net: NonnullNetwork, autostart: int) -> None:
        """Set whether a network starts with its host."""
        self._named(net.name).autostart = bool(autostart)

    def network_is_active(self, net: NonnullNetwork) -> int:
        """Return 1 for an active network; found by its UUID."""
        return int(self._by_uuid(net.uuid).active)

    def network_is_persistent(self, net: NonnullNetwork) -> int:
        """Return 1 for a persistent network; found by its UUID."""
        return int(self._by_uuid(net.uuid).persistent)
