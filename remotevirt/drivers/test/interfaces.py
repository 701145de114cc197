"""The host's network interfaces: what there is, and how it looks. Changes are not supported yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from remotevirt.drivers.test.faults import check_count, check_flags
from remotevirt.drivers.test.objects import MAX_LIST, Table, passes
from remotevirt.drivers.test.plain_xml import print_element
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import InterfaceDriver
from remotevirt.stubs.errors import MultipleInterfaces, NoInterface, XmlError
from remotevirt.stubs.remote import NonnullInterface
from remotevirt.stubs.remote.interface import ConnectListAllInterfacesRet

__all__ = ["InterfaceRecord", "TestInterfaces"]

ACTIVITY: Final = (c.VIR_CONNECT_LIST_INTERFACES_ACTIVE, c.VIR_CONNECT_LIST_INTERFACES_INACTIVE)
FILTERS: Final[int] = sum(ACTIVITY)


class InterfaceRecord:
    """An interface of a world's host.

    Attributes:
        name, mac, ref: what it is known by; the MAC address is "" if its XML has none.
        xml: its document.
        active: whether it is up.
    """

    size = 0
    __slots__ = ("active", "mac", "name", "ref", "xml")

    def __init__(self, element: Any) -> None:
        name = element.get("name")
        if not name:
            raise XmlError("interface has no name", domain=c.VIR_FROM_INTERFACE)
        self.name: str = name
        mac = element.find("mac")
        self.mac: str = "" if mac is None else mac.get("address") or ""
        self.ref = NonnullInterface(self.name, self.mac)
        self.xml = print_element(element)
        self.active = True


class TestInterfaces(InterfaceDriver):
    """The interface sub-driver; interfaces are found by name."""

    def __init__(self, interfaces: Table[InterfaceRecord]) -> None:
        self.interfaces = interfaces

    def _named(self, name: str) -> InterfaceRecord:
        interface = self.interfaces.by_name.get(name)
        if interface is None:
            raise NoInterface(f"no interface with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return interface

    def _names(self, maxnames: int, wanted: Callable[[InterfaceRecord], bool]) -> Sequence[str]:
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_INTERFACE_LIST_MAX")
        return [interface.name for interface in self.interfaces if wanted(interface)][:maxnames]

    def connect_num_of_interfaces(self) -> int:
        """Return how many interfaces are up."""
        return sum(interface.active for interface in self.interfaces)

    def connect_num_of_defined_interfaces(self) -> int:
        """Return how many interfaces are down."""
        return sum(not interface.active for interface in self.interfaces)

    def connect_list_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are up."""
        return self._names(maxnames, lambda interface: interface.active)

    def connect_list_defined_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are down."""
        return self._names(maxnames, lambda interface: not interface.active)

    def connect_list_all_interfaces(self, need_results: int, flags: int) -> ConnectListAllInterfacesRet:
        """Return the interfaces that pass a filter."""
        check_flags(flags, FILTERS, "testConnectListAllInterfaces")
        refs = [found.ref for found in self.interfaces if passes(flags, (*ACTIVITY, found.active))]
        return ConnectListAllInterfacesRet(refs if need_results else (), len(refs))

    def interface_lookup_by_name(self, name: str) -> NonnullInterface:
        """Return the interface of a name."""
        return self._named(name).ref

    def interface_lookup_by_mac_string(self, mac: str) -> NonnullInterface:
        """Return the interface of a MAC address, which comes back as it was asked for."""
        found = [interface for interface in self.interfaces if interface.mac.lower() == mac.lower()]
        if not found:
            raise NoInterface(f"no interface with matching mac '{mac}'", domain=c.VIR_FROM_TEST)
        if len(found) > 1:
            raise MultipleInterfaces(domain=c.VIR_FROM_TEST)
        return NonnullInterface(found[0].name, mac)

    def interface_get_xml_desc(self, iface: NonnullInterface, flags: int) -> str:
        """Return an interface's document."""
        check_flags(flags, 0, "testInterfaceGetXMLDesc")
        return self._named(iface.name).xml

    def interface_is_active(self, iface: NonnullInterface) -> int:
        """Return 1 for an interface that is up."""
        return int(self._named(iface.name).active)
