"""Networks of the test hypervisor."""

from __future__ import annotations

from uuid import UUID

from remotevirt.drivers import tables
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullNetwork
from tests.drivers.objects import ObjectsCase

NETWORK = NonnullNetwork("default", UUID("dd8fe884-6c02-601e-7551-cca97df1c5df").bytes)
UUIDS = [bytes(15) + bytes([number]) for number in range(10)]
DEFAULT_XML = """\
<network>
  <name>default</name>
  <uuid>dd8fe884-6c02-601e-7551-cca97df1c5df</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"""
INVALID = "Requested operation is not valid: "
LIVE, CONFIG = c.VIR_NETWORK_UPDATE_AFFECT_LIVE, c.VIR_NETWORK_UPDATE_AFFECT_CONFIG
MODIFY, DELETE = c.VIR_NETWORK_UPDATE_COMMAND_MODIFY, c.VIR_NETWORK_UPDATE_COMMAND_DELETE
LAST, FIRST = c.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, c.VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST
HOST, RANGE = c.VIR_NETWORK_SECTION_IP_DHCP_HOST, c.VIR_NETWORK_SECTION_IP_DHCP_RANGE


def network(name: str, number: int, inside: str = "") -> str:
    """Return a network's document."""
    return f"<network><name>{name}</name><uuid>{UUID(bytes=UUIDS[number])}</uuid>{inside}</network>"


class NetworksCase(ObjectsCase):
    """The network calls of a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.connection.network

    def listed(self, flags: int) -> list[str]:
        """Return the names of the networks that pass a filter."""
        return [ref.name for ref in self.calls.connect_list_all_networks(1, flags).nets]

    def bridge(self, ref: NonnullNetwork) -> str:
        """Return what the document says of the bridge."""
        return str(self.calls.network_get_xml_desc(ref, 0).partition("<bridge name='")[2].partition("'")[0])


class DefaultNetworkTests(NetworksCase):
    """The network "default", and lists."""

    def test_looking(self) -> None:
        """Lookups, properties and XML."""
        calls = self.calls
        self.assertEqual(calls.network_lookup_by_name("default"), NETWORK)
        self.assertEqual(calls.network_lookup_by_uuid(NETWORK.uuid), NETWORK)
        self.assertEqual(calls.network_get_xml_desc(NETWORK, 0), DEFAULT_XML)
        self.assertEqual(calls.network_get_bridge_name(NETWORK), "virbr0")
        self.assertEqual((calls.network_is_active(NETWORK), calls.network_is_persistent(NETWORK)), (1, 1))

    def test_lists(self) -> None:
        """Filters, counts and names, before and after something changes."""
        calls = self.calls
        calls.network_define_xml(network("off", 1))
        calls.network_create_xml(network("gone-soon", 2))
        self.assertEqual((calls.connect_num_of_networks(), calls.connect_num_of_defined_networks()), (2, 1))
        self.assertEqual(calls.connect_list_networks(5), ["default", "gone-soon"])
        self.assertEqual(calls.connect_list_networks(1), ["default"])
        self.assertEqual(calls.connect_list_defined_networks(5), ["off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_NETWORKS_INACTIVE), ["off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_NETWORKS_TRANSIENT), ["gone-soon"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_NETWORKS_PERSISTENT), ["default", "off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_NETWORKS_AUTOSTART), [])
        calls.network_set_autostart(NETWORK, 1)
        self.assertEqual(calls.network_get_autostart(NETWORK), 1)
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_NETWORKS_AUTOSTART), ["default"])
        self.assertEqual(calls.connect_list_all_networks(0, 0), ((), 3))

    def test_list_is_kept(self) -> None:
        """The same object answers until something changes."""
        first = self.calls.connect_list_all_networks(1, 0)
        self.assertIs(self.calls.connect_list_all_networks(1, 0), first)
        self.calls.network_destroy(NETWORK)
        self.assertIsNot(self.calls.connect_list_all_networks(1, 0), first)

    def test_missing(self) -> None:
        """Name or UUID: whichever a call goes by is in the error."""
        gone = NonnullNetwork("gone", b"z" * 16)
        uuid = "7a7a7a7a-7a7a-7a7a-7a7a-7a7a7a7a7a7a"
        text = "Network not found: no network with matching name 'gone'"
        self.assert_refused(self.calls.network_get_autostart, gone, code=43, message=text)
        self.assert_refused(self.calls.network_undefine, gone, code=43, message=text)
        text = f"Network not found: no network with matching uuid '{uuid}'"
        self.assert_refused(self.calls.network_is_active, gone, code=43, message=text)
        self.assert_refused(self.calls.network_update, gone, 3, 4, -1, "<host/>", 0, code=43, message=text)

    def test_flags(self) -> None:
        """Flags that a call does not know."""
        for call, arguments, unknown, function in (
            (self.calls.connect_list_all_networks, (1, 64), 64, "testConnectListAllNetworks"),
            (self.calls.network_get_xml_desc, (NETWORK, 1), 1, "testNetworkGetXMLDesc"),
            (self.calls.network_define_xml_flags, ("", 2), 2, "testNetworkDefineXMLFlags"),
            (self.calls.network_create_xml_flags, ("", 2), 2, "testNetworkCreateXMLFlags"),
            (self.calls.network_update, (NETWORK, 3, 4, -1, "", 8), 8, "testNetworkUpdate"),
        ):
            text = f"unsupported flags ({unknown:#x}) in function {function}"
            self.assert_refused(call, *arguments, code=8, message=text)
        text = "maxnames > REMOTE_NETWORK_LIST_MAX"
        self.assert_refused(self.calls.connect_list_networks, 16385, code=39, message=text)


class ChangingTests(NetworksCase):
    """Defining, starting, stopping and forgetting networks."""

    def test_events(self) -> None:
        """Each step of a network's life is published."""
        ref = self.calls.network_define_xml(network("a", 1))
        for call in ("network_create", "network_destroy", "network_undefine"):
            getattr(self.calls, call)(ref)
        seen = [event for (_, _, _, event, _) in self.take_events()]
        started, stopped = c.VIR_NETWORK_EVENT_STARTED, c.VIR_NETWORK_EVENT_STOPPED
        self.assertEqual(seen, [c.VIR_NETWORK_EVENT_DEFINED, started, stopped, c.VIR_NETWORK_EVENT_UNDEFINED])
        self.assertEqual(self.listed(0), ["default"])

    def test_wrong_state(self) -> None:
        """What a state does not allow; destroying an inactive network is allowed."""
        text = INVALID + "Network 'default' is already running"
        self.assert_refused(self.calls.network_create, NETWORK, code=55, message=text)
        text = INVALID + "Network 'default' is still running"
        self.assert_refused(self.calls.network_undefine, NETWORK, code=55, message=text)
        self.calls.network_destroy(NETWORK)
        self.calls.network_destroy(NETWORK)
        self.assertEqual(self.calls.network_is_active(NETWORK), 0)

    def test_transient(self) -> None:
        """A network that was only created is gone once destroyed, unless it was defined meanwhile."""
        ref = self.calls.network_create_xml(network("t", 1))
        self.assertEqual(self.calls.network_is_persistent(ref), 0)
        self.calls.network_destroy(ref)
        self.assertEqual(self.listed(0), ["default"])
        ref = self.calls.network_create_xml(network("t", 1))
        self.calls.network_define_xml(network("t", 1))
        self.assertEqual(self.calls.network_is_persistent(ref), 1)
        self.calls.network_destroy(ref)
        self.assertEqual(self.calls.network_is_active(ref), 0)

    def test_duplicates(self) -> None:
        """A name and a UUID belong together."""
        self.calls.network_define_xml(network("a", 1))
        uuid = UUID(bytes=UUIDS[1])
        for call in (self.calls.network_define_xml, self.calls.network_create_xml):
            text = f"operation failed: network 'a' already exists with uuid {uuid}"
            self.assertEqual(self.refusal(call, network("a", 2)), (9, 19, text))
            text = f"operation failed: network 'a' is already defined with uuid {uuid}"
            self.assertEqual(self.refusal(call, network("b", 1)), (9, 19, text))
        self.calls.network_create(self.calls.network_lookup_by_name("a"))
        text = INVALID + "network is already active as 'a'"
        self.assertEqual(self.refusal(self.calls.network_create_xml, network("a", 1)), (55, 19, text))

    def test_redefined(self) -> None:
        """A newer definition of an active network is not shown, not even after it stopped."""
        ref = self.calls.network_define_xml(network("a", 1, "<bridge name='one'/>"))
        self.calls.network_create(ref)
        self.calls.network_define_xml(network("a", 1, "<bridge name='two'/>"))
        self.assertEqual(self.bridge(ref), "one")
        self.calls.network_destroy(ref)
        self.assertEqual(self.bridge(ref), "one")
        self.calls.network_define_xml(network("a", 1, "<bridge name='three'/>"))
        self.assertEqual(self.calls.network_get_bridge_name(ref), "three")

    def test_no_bridge(self) -> None:
        """A network without a bridge has no name of one."""
        ref = self.calls.network_define_xml(network("a", 1))
        text = "internal error: network 'a' does not have a bridge name."
        self.assert_refused(self.calls.network_get_bridge_name, ref, code=1, message=text)

    def test_bounds(self) -> None:
        """Neither the number of networks nor their text grows without end."""
        self.patch(tables, "MAX_OBJECTS", 2)
        self.calls.network_define_xml(network("a", 1))
        text = "operation failed: a host holds at most 2 objects of a kind"
        self.assert_refused(self.calls.network_define_xml, network("b", 2), code=9, message=text)
        self.patch(tables, "MAX_TEXT", 300)
        big = network("a", 1, f"<metadata><a xmlns='urn:a'>{'x' * 300}</a></metadata>")
        self.assertEqual(self.refusal(self.calls.network_define_xml, big)[0], 9)
        for _ in range(20):
            self.calls.network_define_xml(network("a", 1))

    def test_documents(self) -> None:
        """What libvirtd prints of a document, or refuses it with."""
        self.check_documents(
            "network",
            self.calls.network_define_xml,
            lambda ref: self.calls.network_get_xml_desc(ref, 0),
            self.calls.network_undefine,
        )


class UpdateTests(NetworksCase):
    """Changing one section."""

    def hosts(self, ref: NonnullNetwork) -> list[str]:
        """Return the last parts of the addresses of static hosts."""
        text = self.calls.network_get_xml_desc(ref, 0)
        return [
            line.partition("ip='")[2][:-3].rpartition(".")[2] for line in text.split("\n") if "<host" in line
        ]

    @staticmethod
    def host(number: int) -> str:
        """Return a static host."""
        return f"<host mac='52:54:00:00:00:0{number}' ip='192.168.122.{number}'/>"

    def update(self, command: int, section: int, xml: str, flags: int = 0, parent: int = -1) -> None:
        """Update the network "default"."""
        self.calls.network_update(NETWORK, command, section, parent, xml, flags)

    def test_hosts(self) -> None:
        """Add at either end, change, delete."""
        for command, number in ((LAST, 5), (FIRST, 6), (LAST, 7)):
            self.update(command, HOST, self.host(number))
        self.assertEqual(self.hosts(NETWORK), ["6", "5", "7"])
        self.update(MODIFY, HOST, "<host mac='52:54:00:00:00:05' ip='192.168.122.9'/>")
        self.update(DELETE, HOST, "<host mac='52:54:00:00:00:06'/>")
        self.assertEqual(self.hosts(NETWORK), ["9", "7"])
        text = (
            INVALID + "there is an existing dhcp host entry in network 'default' "
            "that matches \"<host mac='52:54:00:00:00:07' name='(null)' ip='192.168.122.7'/>\""
        )
        self.assert_refused(self.update, LAST, HOST, self.host(7), code=55, message=text)
        text = INVALID + "couldn't locate a matching dhcp host entry in network 'default'"
        self.assert_refused(self.update, DELETE, HOST, self.host(3), code=55, message=text)
        self.assertEqual(self.hosts(NETWORK), ["9", "7"])

    def test_nothing_illegal(self) -> None:
        """A change that leads to a document that could not be defined changes nothing."""
        section = c.VIR_NETWORK_SECTION_FORWARD_INTERFACE
        self.update(LAST, section, "<interface dev='a'/>")
        before = self.calls.network_get_xml_desc(NETWORK, 0)
        self.assertIn("<forward dev='a' mode='nat'>", before)
        text = (
            "XML error: multiple forwarding interfaces specified for network 'default', only one is supported"
        )
        self.assert_refused(self.update, LAST, section, "<interface dev='b'/>", code=27, message=text)
        self.assertEqual(self.calls.network_get_xml_desc(NETWORK, 0), before)

    def test_live_and_config(self) -> None:
        """Live and persistent definition are changed apart; what is shown is the live one."""
        self.update(LAST, HOST, self.host(5), CONFIG)
        self.assertEqual(self.hosts(NETWORK), [])
        self.update(LAST, HOST, self.host(6), LIVE)
        self.assertEqual(self.hosts(NETWORK), ["6"])
        self.assertEqual(self.refusal(self.update, LAST, HOST, self.host(5), LIVE | CONFIG)[0], 55)
        self.assertEqual(self.hosts(NETWORK), ["6"])
        ref = self.calls.network_create_xml(network("t", 1))
        text = INVALID + "cannot change persistent config of a transient network"
        self.assert_refused(
            self.calls.network_update, ref, LAST, HOST, -1, self.host(5), CONFIG, code=55, message=text
        )
        ref = self.calls.network_define_xml(network("off", 2))
        text = INVALID + "network is not running"
        self.assert_refused(
            self.calls.network_update, ref, LAST, HOST, -1, self.host(5), LIVE, code=55, message=text
        )

    def test_the_first_try_parts_them(self) -> None:
        """A change of the persistent definition parts it from the live one even if it is refused."""
        bridge = c.VIR_NETWORK_SECTION_BRIDGE
        self.assertEqual(self.refusal(self.update, LAST, bridge, "<bridge/>", CONFIG)[0], 84)
        self.update(LAST, HOST, self.host(5), LIVE)
        self.update(LAST, HOST, self.host(5), CONFIG)

    def test_order_of_refusals(self) -> None:
        """That a section cannot be changed is said before its element is read."""
        for section, xml, what in (
            (RANGE, "<range start='1.1.1.1'/>", "dhcp ranges"),
            (c.VIR_NETWORK_SECTION_FORWARD_INTERFACE, "<interface/>", "forward interface entries"),
            (c.VIR_NETWORK_SECTION_DNS_HOST, "<host/>", "DNS HOST records"),
            (c.VIR_NETWORK_SECTION_DNS_TXT, "<txt/>", "DNS TXT records"),
            (c.VIR_NETWORK_SECTION_DNS_SRV, "<srv/>", "DNS SRV records"),
        ):
            text = f"Operation not supported: {what} cannot be modified, only added or deleted"
            self.assert_refused(self.update, MODIFY, section, xml, code=84, message=text)

    def test_family_of_a_host(self) -> None:
        """A host belongs to the subnet of its address family."""
        text = (
            INVALID + "the address family of a host entry IP must match the address family of the dhcp"
            " element's parent"
        )
        for command in (LAST, MODIFY):
            host = "<host name='n' ip='fd00::8'/>"
            self.assert_refused(self.update, command, HOST, host, code=55, message=text)

    def test_other_sections(self) -> None:
        """Ranges, port groups and DNS records; other sections cannot be changed."""
        for section, xml, shown in (
            (RANGE, "<range start='192.168.122.3' end='192.168.122.4'/>", "end='192.168.122.4'/>"),
            (c.VIR_NETWORK_SECTION_PORTGROUP, "<portgroup name='g'/>", "<portgroup name='g'>"),
            (c.VIR_NETWORK_SECTION_DNS_TXT, "<txt name='t' value='v'/>", "<txt name='t' value='v'/>"),
            (
                c.VIR_NETWORK_SECTION_DNS_HOST,
                "<host ip='1.1.1.1'><hostname>h</hostname></host>",
                "<hostname>h</hostname>",
            ),
            (
                c.VIR_NETWORK_SECTION_DNS_SRV,
                "<srv service='s' protocol='tcp'/>",
                "<srv service='s' protocol='tcp'/>",
            ),
        ):
            before = self.calls.network_get_xml_desc(NETWORK, 0)
            self.assertNotIn(shown, before)
            self.update(LAST, section, xml)
            self.assertIn(shown, self.calls.network_get_xml_desc(NETWORK, 0))
            self.assertEqual(self.refusal(self.update, LAST, section, xml)[0], 55)
            self.update(DELETE, section, xml)
            self.assertEqual(self.calls.network_get_xml_desc(NETWORK, 0), before)
        text = "Operation not supported: can't update 'bridge' section of network 'default'"
        self.assert_refused(
            self.update, LAST, c.VIR_NETWORK_SECTION_BRIDGE, "<bridge/>", code=84, message=text
        )
        text = "Operation not supported: can't update unrecognized section of network"
        self.assert_refused(self.update, LAST, 99, "<bridge/>", code=84, message=text)
        text = "Operation not supported: unrecognized network update command code 9"
        self.assert_refused(self.update, 9, HOST, self.host(5), code=84, message=text)
