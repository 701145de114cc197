"""The host's network interfaces in the test hypervisor, and the transactions around changes to them.

A transaction keeps what there was when it began. Going back to it makes every interface inactive, as in
libvirt's test driver, which keeps only the definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.tables import Table, passes
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import InterfaceDriver
from remotevirt.stubs.errors import MultipleInterfaces, NoInterface, OperationInvalid
from remotevirt.stubs.remote import NonnullInterface
from remotevirt.stubs.remote.interface import ConnectListAllInterfacesRet
from remotevirt.xml.interface import InterfaceModel, format_interface, parse_interface, read_interface

__all__ = ["InterfaceRecord", "InterfaceTable", "TestInterfaces"]

ACTIVITY: Final = (c.VIR_CONNECT_LIST_INTERFACES_ACTIVE, c.VIR_CONNECT_LIST_INTERFACES_INACTIVE)
FILTERS: Final[int] = sum(ACTIVITY)
LIMIT: Final = "REMOTE_INTERFACE_LIST_MAX"


class InterfaceRef(Kept, NonnullInterface):
    """A reference whose encoding is kept."""


class InterfaceList(Kept, ConnectListAllInterfacesRet):
    """A list whose encoding is kept as long as the list itself."""


class InterfaceRecord:
    """An interface of a world's host.

    Attributes:
        name, ref: what it is known by; the reference has the MAC address, "" if there is none.
        model: its definition, of ``size`` characters.
        active: whether it is up.
        position: which one it is.
    """

    __slots__ = ("active", "model", "name", "position", "ref", "size")

    def __init__(self, model: InterfaceModel, size: int, *, active: bool = False) -> None:
        self.name: str = model.name
        self.active = active
        self.size = size
        self.position = 0
        self.model: InterfaceModel
        self.ref: InterfaceRef
        self.define(model)

    def define(self, model: InterfaceModel) -> None:
        """Take over a definition."""
        self.model = model
        self.ref = InterfaceRef(self.name, model.mac or "")


class InterfaceTable(Table[InterfaceRecord]):
    """The interfaces of a world's host.

    Attributes:
        before: the definitions, with their sizes, that the running transaction began with; None if no
            transaction runs.
    """

    __slots__ = ("before",)

    def __init__(self) -> None:
        super().__init__("interface", c.VIR_FROM_TEST)
        self.before: list[tuple[InterfaceModel, int]] | None = None

    def load(self, element: Any, size: int = 0) -> None:
        """Take in an active interface from a node file; raises VirError."""
        self.assign(read_interface(element), size).active = True

    def assign(self, model: InterfaceModel, size: int) -> InterfaceRecord:
        """Take in a definition: of a new interface, or a newer one; raises OperationFailed."""
        record = self.by_name.get(model.name)
        if record is None:
            record = InterfaceRecord(model, size)
            self.add(record)
            return record
        self.touch(record)
        self.grow(size - record.size)
        record.size = size
        record.define(model)
        self.changed()
        return record

    def begin(self) -> None:
        """Begin a transaction."""
        self.before = [(record.model, record.size) for record in self]

    def go_back(self, before: list[tuple[InterfaceModel, int]]) -> None:
        """Put definitions back, and nothing else."""
        for record in tuple(self):
            self.remove(record)
        for model, size in before:
            self.add(InterfaceRecord(model, size))
        self.before = None

    def remember(self) -> Callable[[], None]:
        """Return what makes the table's own numbers, and the transaction, as they are now."""
        restore, before = super().remember(), self.before

        def restore_all() -> None:
            restore()
            self.before = before

        return restore_all


class TestInterfaces(InterfaceDriver):
    """The interface sub-driver; interfaces are found by name."""

    def __init__(self, interfaces: InterfaceTable) -> None:
        self.interfaces = interfaces

    def _named(self, name: str) -> InterfaceRecord:
        interface = self.interfaces.by_name.get(name)
        if interface is None:
            raise NoInterface(f"no interface with matching name '{name}'", domain=c.VIR_FROM_TEST)
        return interface

    def connect_num_of_interfaces(self) -> int:
        """Return how many interfaces are up."""
        return self.interfaces.count(lambda interface: interface.active)

    def connect_num_of_defined_interfaces(self) -> int:
        """Return how many interfaces are down."""
        return self.interfaces.count(lambda interface: not interface.active)

    def connect_list_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are up."""
        return self.interfaces.names(maxnames, LIMIT, lambda interface: interface.active)

    def connect_list_defined_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are down."""
        return self.interfaces.names(maxnames, LIMIT, lambda interface: not interface.active)

    def connect_list_all_interfaces(self, need_results: int, flags: int) -> ConnectListAllInterfacesRet:
        """Return the interfaces that pass a filter."""
        found: InterfaceList = self.interfaces.listing(flags, self._list)
        return found if need_results else ConnectListAllInterfacesRet((), found.ret)

    def _list(self, flags: int) -> InterfaceList:
        check_flags(flags, FILTERS, "testConnectListAllInterfaces")
        refs = tuple([found.ref for found in self.interfaces if passes(flags, (*ACTIVITY, found.active))])
        return InterfaceList(refs, len(refs))

    def interface_lookup_by_name(self, name: str) -> NonnullInterface:
        """Return the interface of a name."""
        return self._named(name).ref

    def interface_lookup_by_mac_string(self, mac: str) -> NonnullInterface:
        """Return the interface of a MAC address, which comes back as it was asked for."""
        wanted = mac.lower()
        found = [one for one in self.interfaces if one.model.mac and one.model.mac.lower() == wanted]
        if not found:
            raise NoInterface(f"no interface with matching mac '{mac}'", domain=c.VIR_FROM_TEST)
        if len(found) > 1:
            raise MultipleInterfaces(domain=c.VIR_FROM_TEST)
        return NonnullInterface(found[0].name, mac)

    @in_steps
    def interface_get_xml_desc(self, iface: NonnullInterface, flags: int) -> Steps[str]:
        """Return an interface's document."""
        check_flags(flags, 0, "testInterfaceGetXMLDesc")
        found = self._named(iface.name)
        text: str = yield Work(found.size, format_interface, found.model)
        return text

    def interface_is_active(self, iface: NonnullInterface) -> int:
        """Return 1 for an interface that is up."""
        return int(self._named(iface.name).active)

    @in_steps
    def interface_define_xml(self, xml: str, flags: int) -> Steps[NonnullInterface]:
        """Define an interface; VIR_INTERFACE_DEFINE_VALIDATE checks the document more strictly first."""
        check_flags(flags, c.VIR_INTERFACE_DEFINE_VALIDATE, "testInterfaceDefineXML")
        validate = bool(flags & c.VIR_INTERFACE_DEFINE_VALIDATE)
        model = yield Work(len(xml), parse_interface, xml, validate=validate)
        return self.interfaces.assign(model, len(xml)).ref

    def interface_undefine(self, iface: NonnullInterface) -> None:
        """Forget an interface, up or down."""
        self.interfaces.remove(self._named(iface.name))

    def interface_create(self, iface: NonnullInterface, flags: int) -> None:
        """Bring an interface up."""
        check_flags(flags, 0, "testInterfaceCreate")
        self._switch(iface.name, active=True)

    def interface_destroy(self, iface: NonnullInterface, flags: int) -> None:
        """Take an interface down."""
        check_flags(flags, 0, "testInterfaceDestroy")
        self._switch(iface.name, active=False)

    def _switch(self, name: str, *, active: bool) -> None:
        interface = self._named(name)
        if interface.active == active:
            raise OperationInvalid(domain=c.VIR_FROM_TEST)
        self.interfaces.touch(interface)
        interface.active = active
        self.interfaces.changed()

    def interface_change_begin(self, flags: int) -> None:
        """Begin a transaction."""
        check_flags(flags, 0, "testInterfaceChangeBegin")
        if self.interfaces.before is not None:
            raise OperationInvalid("there is another transaction running.", domain=c.VIR_FROM_TEST)
        self.interfaces.begin()

    def interface_change_commit(self, flags: int) -> None:
        """End a transaction; what was changed stays."""
        check_flags(flags, 0, "testInterfaceChangeCommit")
        if self.interfaces.before is None:
            text = "no transaction running, nothing to be committed."
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        self.interfaces.before = None

    def interface_change_rollback(self, flags: int) -> None:
        """End a transaction and go back to where it began."""
        check_flags(flags, 0, "testInterfaceChangeRollback")
        if self.interfaces.before is None:
            text = "no transaction running, nothing to rollback."
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        self.interfaces.go_back(self.interfaces.before)
