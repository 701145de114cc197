"""Networks of the test hypervisor.

A record holds up to two definitions. ``live`` is what every call shows; ``pending`` is a persistent
definition that came while the network was active. libvirt's test driver never puts the pending one in force:
a network that is destroyed keeps its live definition, and only updates of the persistent configuration work
on the pending one. So do we.

::

    define -> INACTIVE --create--> ACTIVE --destroy--> INACTIVE (transient: gone) --undefine--> gone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.tables import KeyedTable, passes
from remotevirt.drivers.test.object_events import network_lifecycle
from remotevirt.errors import VirError
from remotevirt.procedures import Kept, Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import NetworkDriver
from remotevirt.stubs.errors import InternalError, NoNetwork, OperationFailed, OperationInvalid
from remotevirt.stubs.remote import NonnullNetwork
from remotevirt.stubs.remote.network import ConnectListAllNetworksRet
from remotevirt.xml.network import NetworkModel, format_network, parse_network, read_network, update_network

__all__ = ["NetworkRecord", "NetworkTable", "TestNetworks"]

ACTIVITY: Final = (c.VIR_CONNECT_LIST_NETWORKS_ACTIVE, c.VIR_CONNECT_LIST_NETWORKS_INACTIVE)
PERSISTENCE: Final = (c.VIR_CONNECT_LIST_NETWORKS_PERSISTENT, c.VIR_CONNECT_LIST_NETWORKS_TRANSIENT)
AUTOSTART: Final = (c.VIR_CONNECT_LIST_NETWORKS_AUTOSTART, c.VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART)
FILTERS: Final[int] = sum(ACTIVITY + PERSISTENCE + AUTOSTART)

LIVE: Final[int] = c.VIR_NETWORK_UPDATE_AFFECT_LIVE
CONFIG: Final[int] = c.VIR_NETWORK_UPDATE_AFFECT_CONFIG
NET: Final = c.VIR_FROM_NETWORK
LIMIT: Final = "REMOTE_NETWORK_LIST_MAX"


class NetworkRef(Kept, NonnullNetwork):
    """A reference whose encoding is kept."""


class NetworkList(Kept, ConnectListAllNetworksRet):
    """A list whose encoding is kept as long as the list itself."""


class NetworkRecord:
    """A network of a world.

    Attributes:
        name, uuid, ref: what it is known by; they never change.
        live, pending: the definitions, see above.
        size: characters of both.
        active, persistent, autostart: what they say.
        position: which one it is.
    """

    __slots__ = (
        "active",
        "autostart",
        "live",
        "name",
        "pending",
        "persistent",
        "position",
        "ref",
        "size",
        "uuid",
    )

    def __init__(self, model: NetworkModel, size: int, *, persistent: bool = True) -> None:
        self.name: str = model.name
        self.uuid: bytes = model.uuid
        self.ref = NetworkRef(self.name, self.uuid)
        self.live = model
        self.pending: NetworkModel | None = None
        self.size = size
        self.active = False
        self.persistent = persistent
        self.autostart = False
        self.position = 0

    def passes(self, flags: int) -> bool:
        """Return whether the network passes a list filter."""
        return passes(
            flags,
            (*ACTIVITY, self.active),
            (*PERSISTENCE, self.persistent),
            (*AUTOSTART, self.autostart),
        )


class NetworkTable(KeyedTable[NetworkRecord]):
    """The networks of a world."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("network", c.VIR_FROM_TEST)

    def load(self, element: Any, size: int = 0) -> None:
        """Take in an active network from a node file; raises VirError."""
        record = self.assign(read_network(element), size, live=False)
        record.active = True
        self.changed()

    def assign(self, model: NetworkModel, size: int, *, live: bool) -> NetworkRecord:
        """Take in a definition: of a new network, or a newer one of a network that is there.

        Args:
            model: its UUID says which network is meant.
            size: the characters that it came in.
            live: the network is about to start with it; otherwise it is the persistent definition.

        Raises:
            OperationFailed: name and UUID belong to different networks, or there is no room.
            OperationInvalid: it is to be started, and is active.
        """
        record = self.by_uuid.get(model.uuid)
        if record is None:
            named = self.by_name.get(model.name)
            if named is not None:
                uuid = UUID(bytes=named.uuid)
                raise OperationFailed(f"network '{model.name}' already exists with uuid {uuid}", domain=NET)
            record = NetworkRecord(model, size, persistent=not live)
            self.add(record)
            return record
        if record.name != model.name:
            uuid = UUID(bytes=record.uuid)
            text = f"network '{record.name}' is already defined with uuid {uuid}"
            raise OperationFailed(text, domain=NET)
        if live and record.active:
            raise OperationInvalid(f"network is already active as '{record.name}'", domain=NET)
        self.touch(record)
        self.grow(size - record.size)
        record.size = size
        if live and record.persistent and record.pending is None:
            record.pending = record.live
        elif not live:
            record.persistent = True
            record.pending = model if record.active else None
        if live or not record.active:
            record.live = model
        self.changed()
        return record


class TestNetworks(NetworkDriver):
    """The network sub-driver. Most calls go by the name in a reference, some by its UUID, as in libvirt."""

    titled = False
    """Whether titles and descriptions stand in documents: libvirt knows them from 9.7.0 on."""

    def __init__(self, networks: NetworkTable, hub: EventHub) -> None:
        self.networks = networks
        self.hub = hub

    def _named(self, name: str) -> NetworkRecord:
        network = self.networks.by_name.get(name)
        if network is None:
            raise NoNetwork(f"no network with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return network

    def _by_uuid(self, uuid: bytes) -> NetworkRecord:
        network = self.networks.by_uuid.get(uuid)
        if network is None:
            text = f"no network with matching uuid '{UUID(bytes=uuid)}'"
            raise NoNetwork(text, domain=c.VIR_FROM_TEST)
        return network

    def _publish(self, network: NetworkRecord, event: int) -> None:
        self.hub.publish(network_lifecycle(network.ref, event))

    def connect_num_of_networks(self) -> int:
        """Return how many networks are active."""
        return self.networks.count(lambda network: network.active)

    def connect_num_of_defined_networks(self) -> int:
        """Return how many networks are inactive."""
        return self.networks.count(lambda network: not network.active)

    def connect_list_networks(self, maxnames: int) -> Sequence[str]:
        """Return the names of active networks."""
        return self.networks.names(maxnames, LIMIT, lambda network: network.active)

    def connect_list_defined_networks(self, maxnames: int) -> Sequence[str]:
        """Return the names of inactive networks."""
        return self.networks.names(maxnames, LIMIT, lambda network: not network.active)

    def connect_list_all_networks(self, need_results: int, flags: int) -> ConnectListAllNetworksRet:
        """Return the networks that pass a filter."""
        found: NetworkList = self.networks.listing(flags, self._list)
        return found if need_results else ConnectListAllNetworksRet((), found.ret)

    def _list(self, flags: int) -> NetworkList:
        check_flags(flags, FILTERS, "testConnectListAllNetworks")
        refs = tuple([network.ref for network in self.networks if network.passes(flags)])
        return NetworkList(refs, len(refs))

    def network_lookup_by_name(self, name: str) -> NonnullNetwork:
        """Return the network of a name."""
        return self._named(name).ref

    def network_lookup_by_uuid(self, uuid: bytes) -> NonnullNetwork:
        """Return the network of a UUID."""
        return self._by_uuid(uuid).ref

    @in_steps
    def network_get_xml_desc(self, net: NonnullNetwork, flags: int) -> Steps[str]:
        """Return a network's document."""
        check_flags(flags, 0, "testNetworkGetXMLDesc")
        network = self._named(net.name)
        text: str = yield Work(network.size, format_network, network.live)
        return text

    def network_get_bridge_name(self, net: NonnullNetwork) -> str:
        """Return the host's device of a network."""
        network = self._named(net.name)
        bridge = network.live.bridge.name
        if not bridge:
            text = f"network '{network.name}' does not have a bridge name."
            raise InternalError(text, domain=c.VIR_FROM_TEST)
        return bridge

    def network_get_autostart(self, net: NonnullNetwork) -> int:
        """Return 1 if a network starts with its host."""
        return int(self._named(net.name).autostart)

    def network_set_autostart(self, net: NonnullNetwork, autostart: int) -> None:
        """Set whether a network starts with its host."""
        network = self._named(net.name)
        self.networks.touch(network)
        network.autostart = bool(autostart)
        self.networks.changed()

    def network_is_active(self, net: NonnullNetwork) -> int:
        """Return 1 for an active network; found by its UUID."""
        return int(self._by_uuid(net.uuid).active)

    def network_is_persistent(self, net: NonnullNetwork) -> int:
        """Return 1 for a persistent network; found by its UUID."""
        return int(self._by_uuid(net.uuid).persistent)

    def network_define_xml(self, xml: str) -> Result[NonnullNetwork]:
        """Define a network, or give one a newer definition."""
        return self.network_define_xml_flags(xml, 0)

    @in_steps
    def network_define_xml_flags(self, xml: str, flags: int) -> Steps[NonnullNetwork]:
        """As network_define_xml; VIR_NETWORK_DEFINE_VALIDATE checks the document more strictly first."""
        check_flags(flags, c.VIR_NETWORK_DEFINE_VALIDATE, "testNetworkDefineXMLFlags")
        validate = bool(flags & c.VIR_NETWORK_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_network, xml, validate=validate, titled=self.titled)
        network = self.networks.assign(model, len(xml), live=False)
        self._publish(network, c.VIR_NETWORK_EVENT_DEFINED)
        return network.ref

    def network_create_xml(self, xml: str) -> Result[NonnullNetwork]:
        """Start a network from a document; a new one is transient."""
        return self.network_create_xml_flags(xml, 0)

    @in_steps
    def network_create_xml_flags(self, xml: str, flags: int) -> Steps[NonnullNetwork]:
        """As network_create_xml; VIR_NETWORK_CREATE_VALIDATE checks the document more strictly first."""
        check_flags(flags, c.VIR_NETWORK_CREATE_VALIDATE, "testNetworkCreateXMLFlags")
        validate = bool(flags & c.VIR_NETWORK_CREATE_VALIDATE)
        model = yield Work(len(xml), parse_network, xml, validate=validate, titled=self.titled)
        network = self.networks.assign(model, len(xml), live=True)
        self._start(network)
        return network.ref

    def network_create(self, net: NonnullNetwork) -> None:
        """Start an inactive network."""
        network = self._named(net.name)
        if network.active:
            raise _state(f"Network '{network.name}' is already running")
        self._start(network)

    def _start(self, network: NetworkRecord) -> None:
        self.networks.touch(network)
        network.active = True
        self.networks.changed()
        self._publish(network, c.VIR_NETWORK_EVENT_STARTED)

    def network_destroy(self, net: NonnullNetwork) -> None:
        """Stop a network, active or not; a transient one is gone afterwards."""
        network = self._named(net.name)
        self.networks.touch(network)
        network.active = False
        self.networks.changed()
        if not network.persistent:
            self.networks.remove(network)
        self._publish(network, c.VIR_NETWORK_EVENT_STOPPED)

    def network_undefine(self, net: NonnullNetwork) -> None:
        """Forget an inactive network."""
        network = self._named(net.name)
        if network.active:
            raise _state(f"Network '{network.name}' is still running")
        self.networks.remove(network)
        self._publish(network, c.VIR_NETWORK_EVENT_UNDEFINED)

    @in_steps
    def network_update(
        self, net: NonnullNetwork, command: int, section: int, parentIndex: int, xml: str, flags: int
    ) -> Steps[None]:
        """Change one section of the live definition, of the persistent one, or of both.

        Raises:
            OperationInvalid: LIVE of an inactive network, CONFIG of a transient one.
        """
        check_flags(flags, LIVE | CONFIG, "testNetworkUpdate")
        before = None
        while True:
            network = self._by_uuid(net.uuid)
            impact = self.impact(network, flags)
            if impact & CONFIG and network.active and network.pending is None:
                # from the first attempt on the two are apart, whatever becomes of it
                self.networks.touch(network)
                network.pending = network.live
            now = (impact, network.live, network.pending)
            if before is not None and all(one is other for one, other in zip(now, before, strict=True)):
                break
            # While it is worked on, another may change the network: then this change is made again.
            before = now
            live, config = network.live, network.pending or network.live
            size = network.size + len(xml)
            if impact & LIVE:
                live = yield Work(size, update_network, live, command, section, parentIndex, xml)
            if impact & CONFIG:
                config = yield Work(size, update_network, config, command, section, parentIndex, xml)
        self.networks.touch(network)
        self.networks.grow(len(xml))
        network.size += len(xml)
        self.put(network, live if impact & LIVE else None, config if impact & CONFIG else None)

    @staticmethod
    def impact(network: NetworkRecord, flags: int) -> int:
        """Return which definitions a change means: LIVE, CONFIG, or both.

        Raises:
            OperationInvalid: LIVE of an inactive network, CONFIG of a transient one.
        """
        flags = flags or (LIVE if network.active else CONFIG)
        if flags & LIVE and not network.active:
            raise OperationInvalid("network is not running", domain=NET)
        if flags & CONFIG and not network.persistent:
            raise OperationInvalid("cannot change persistent config of a transient network", domain=NET)
        return flags

    @staticmethod
    def put(network: NetworkRecord, live: NetworkModel | None, config: NetworkModel | None) -> None:
        """Give a network changed definitions; None leaves one as it is."""
        if config is not None and network.active:
            network.pending = config
        elif config is not None:
            network.live = config
        if live is not None:
            network.live = live


def _state(text: str) -> VirError:
    """Return the error for a call that the network's state does not allow."""
    return OperationInvalid(text, domain=c.VIR_FROM_TEST)
