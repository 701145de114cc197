"""Interfaces of the test hypervisor's host."""

from __future__ import annotations

from remotevirt.stubs.remote import NonnullInterface
from tests.drivers.objects import ObjectsCase

INTERFACE = NonnullInterface("eth1", "aa:bb:cc:dd:ee:ff")
DEFAULT_XML = """\
<interface type='ethernet' name='eth1'>
  <start mode='onboot'/>
  <mtu size='1492'/>
  <protocol family='ipv4'>
    <ip address='192.168.0.5' prefix='24'/>
    <route gateway='192.168.0.1'/>
  </protocol>
  <mac address='aa:bb:cc:dd:ee:ff'/>
</interface>
"""


def interface(name: str, mac: str = "52:54:00:00:00:01") -> str:
    """Return an interface's document."""
    return f"<interface type='ethernet' name='{name}'><mac address='{mac}'/></interface>"


class InterfacesCase(ObjectsCase):
    """The interface calls of a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.connection.interface

    def states(self) -> tuple[list[str], list[str]]:
        """Return the names of interfaces that are up, and that are down."""
        calls = self.calls
        return calls.connect_list_interfaces(9), calls.connect_list_defined_interfaces(9)


class InterfaceTests(InterfacesCase):
    """The interface "eth1" and others beside it."""

    def test_looking(self) -> None:
        """Lists, lookups and XML; a MAC address comes back as it was asked for."""
        calls = self.calls
        self.assertEqual(calls.connect_num_of_interfaces(), 1)
        self.assertEqual(calls.connect_num_of_defined_interfaces(), 0)
        found = [calls.connect_list_all_interfaces(1, flags).ret for flags in range(4)]
        self.assertEqual(found, [1, 0, 1, 1])
        self.assertEqual(calls.connect_list_all_interfaces(1, 0).ifaces, (INTERFACE,))
        self.assertEqual(calls.connect_list_all_interfaces(0, 0), ((), 1))
        self.assertEqual(calls.interface_lookup_by_name("eth1"), INTERFACE)
        upper = calls.interface_lookup_by_mac_string("AA:BB:CC:DD:EE:FF")
        self.assertEqual(upper, ("eth1", "AA:BB:CC:DD:EE:FF"))
        self.assertEqual(calls.interface_get_xml_desc(INTERFACE, 0), DEFAULT_XML)
        self.assertEqual(calls.interface_is_active(INTERFACE), 1)
        text = "Interface not found: no interface with matching mac 'zz'"
        self.assert_refused(calls.interface_lookup_by_mac_string, "zz", code=57, message=text)
        text = "Interface not found: no interface with matching name 'eth9'"
        self.assert_refused(calls.interface_lookup_by_name, "eth9", code=57, message=text)

    def test_switching(self) -> None:
        """A defined interface is down; up and down again."""
        ref = self.calls.interface_define_xml(interface("e"), 0)
        self.assertEqual(self.states(), (["eth1"], ["e"]))
        self.calls.interface_create(ref, 0)
        self.assertEqual(self.states(), (["eth1", "e"], []))
        text = "Requested operation is not valid"
        self.assertEqual(self.refusal(self.calls.interface_create, ref, 0), (55, 12, text))
        self.calls.interface_destroy(ref, 0)
        self.assertEqual(self.refusal(self.calls.interface_destroy, ref, 0), (55, 12, text))
        self.calls.interface_undefine(ref)
        self.assertEqual(self.states(), (["eth1"], []))

    def test_redefined(self) -> None:
        """A newer definition counts at once, and leaves the interface up."""
        ref = self.calls.interface_define_xml(interface("eth1"), 0)
        self.assertEqual(ref, ("eth1", "52:54:00:00:00:01"))
        self.assertEqual(self.calls.interface_is_active(ref), 1)
        self.assertIn("52:54:00:00:00:01", self.calls.interface_get_xml_desc(INTERFACE, 0))

    def test_same_address(self) -> None:
        """Several interfaces with one address; interfaces without one match nothing."""
        self.calls.interface_define_xml("<interface type='ethernet' name='none'/>", 0)
        self.calls.interface_define_xml(interface("a"), 0)
        self.assertEqual(self.calls.interface_lookup_by_mac_string("52:54:00:00:00:01").name, "a")
        self.calls.interface_define_xml(interface("b"), 0)
        text = "multiple matching interfaces found"
        call = self.calls.interface_lookup_by_mac_string
        self.assertEqual(self.refusal(call, "52:54:00:00:00:01"), (59, 12, text))
        text = "Interface not found: no interface with matching mac ''"
        self.assert_refused(call, "", code=57, message=text)

    def test_wrong_mtu(self) -> None:
        """libvirt 9.0.0 refuses a wrong MTU without saying why."""
        xml = "<interface type='ethernet' name='e'><mtu size='x'/></interface>"
        text = "XML error: interface has an invalid mtu 'x'"
        self.assertEqual(self.refusal(self.calls.interface_define_xml, xml, 0), (27, 26, text))

    def test_flags(self) -> None:
        """Flags that a call does not know."""
        for call, arguments, function in (
            (self.calls.interface_define_xml, ("",), "testInterfaceDefineXML"),
            (self.calls.interface_create, (INTERFACE,), "testInterfaceCreate"),
            (self.calls.interface_destroy, (INTERFACE,), "testInterfaceDestroy"),
            (self.calls.interface_get_xml_desc, (INTERFACE,), "testInterfaceGetXMLDesc"),
            (self.calls.interface_change_begin, (), "testInterfaceChangeBegin"),
            (self.calls.interface_change_commit, (), "testInterfaceChangeCommit"),
            (self.calls.interface_change_rollback, (), "testInterfaceChangeRollback"),
        ):
            text = f"unsupported flags (0x4) in function {function}"
            self.assert_refused(call, *arguments, 4, code=8, message=text)

    def test_documents(self) -> None:
        """What libvirtd prints of a document, or refuses it with."""
        self.check_documents(
            "interface",
            lambda text: self.calls.interface_define_xml(text, 0),
            lambda ref: self.calls.interface_get_xml_desc(ref, 0),
            self.calls.interface_undefine,
        )


class TransactionTests(InterfacesCase):
    """Begin, commit and rollback."""

    def test_rollback(self) -> None:
        """The definitions come back, and every interface is down."""
        self.calls.interface_define_xml(interface("a"), 0)
        self.calls.interface_change_begin(0)
        self.calls.interface_undefine(INTERFACE)
        self.calls.interface_define_xml(interface("a", "52:54:00:00:00:99"), 0)
        self.calls.interface_define_xml(interface("b"), 0)
        self.calls.interface_change_rollback(0)
        self.assertEqual(self.states(), ([], ["eth1", "a"]))
        self.assertEqual(self.calls.interface_get_xml_desc(INTERFACE, 0), DEFAULT_XML)
        self.assertEqual(self.calls.interface_lookup_by_name("a").mac, "52:54:00:00:00:01")

    def test_commit(self) -> None:
        """What was changed stays."""
        self.calls.interface_change_begin(0)
        self.calls.interface_undefine(INTERFACE)
        self.calls.interface_change_commit(0)
        self.assertEqual(self.states(), ([], []))

    def test_order(self) -> None:
        """One transaction at a time, and none to end without one."""
        commit, rollback = self.calls.interface_change_commit, self.calls.interface_change_rollback
        start = "Requested operation is not valid: "
        nothing = start + "no transaction running, nothing to be committed."
        self.assertEqual(self.refusal(commit, 0), (55, 12, nothing))
        nothing = start + "no transaction running, nothing to rollback."
        self.assertEqual(self.refusal(rollback, 0), (55, 12, nothing))
        for end in (commit, rollback):
            self.calls.interface_change_begin(0)
            text = start + "there is another transaction running."
            self.assertEqual(self.refusal(self.calls.interface_change_begin, 0), (55, 12, text))
            end(0)
        self.assertEqual(self.refusal(rollback, 0), (55, 12, nothing))
