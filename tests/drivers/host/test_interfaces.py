"""The interface sub-driver, on a server's tree: what libvirtd 9.0.0 said of the same one."""

from __future__ import annotations

import os

from remotevirt.drivers.host import HostInterfaces
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullInterface
from tests.drivers.host.base import HostTestCase, recorded


def ref(name: str) -> NonnullInterface:
    """Return a reference to an interface."""
    return NonnullInterface(name, "")


class InterfaceTests(HostTestCase):
    """Lists, documents and errors."""

    async def test_list(self) -> None:
        """Names, states and addresses are libvirtd's; taps of guests are not told."""
        lines = [line.split() for line in recorded()["iface-list --all"].splitlines()[2:]]
        interfaces = HostInterfaces(self.server())
        found = (await interfaces.connect_list_all_interfaces(1, 0)).ifaces
        active = [await interfaces.interface_is_active(one) for one in found]
        shown = [
            [one.name, "active" if up else "inactive", one.mac] for one, up in zip(found, active, strict=True)
        ]
        self.assertEqual(sorted(shown), sorted(lines))

    async def test_filters(self) -> None:
        """One can ask for those that are up, or those that are not."""
        interfaces = HostInterfaces(self.server())
        up = await interfaces.connect_list_all_interfaces(1, c.VIR_CONNECT_LIST_INTERFACES_ACTIVE)
        down = await interfaces.connect_list_all_interfaces(0, c.VIR_CONNECT_LIST_INTERFACES_INACTIVE)
        whole = await interfaces.connect_list_all_interfaces(0, 0)
        self.assertEqual((len(up.ifaces), down.ifaces, up.ret + down.ret), (up.ret, (), whole.ret))
        self.assertEqual(await interfaces.connect_num_of_interfaces(), up.ret)
        self.assertEqual([*await interfaces.connect_list_interfaces(1)], [up.ifaces[0].name])
        # Of loop7 it is not known whether it is up: the old calls count it neither here nor there.
        self.assertEqual(await interfaces.connect_num_of_defined_interfaces(), down.ret - 1)
        self.assertEqual([*await interfaces.connect_list_defined_interfaces(9)], ["bond8", "port2"])

    async def test_documents(self) -> None:
        """Each document is the same to the byte."""
        interfaces = HostInterfaces(self.server())
        asked = [key for key in recorded() if key.startswith("iface-dumpxml")]
        self.assertGreater(len(asked), 5)
        for key in asked:
            found = await interfaces.interface_get_xml_desc(ref(key.split()[1]), 0)
            self.assertEqual(found, recorded()[key], key)

    async def test_vlan(self) -> None:
        """A VLAN tells its tag and what it is on."""
        interfaces = HostInterfaces(self.server())
        text = await interfaces.interface_get_xml_desc(ref("nic0.42"), c.VIR_INTERFACE_XML_INACTIVE)
        self.assertIn("  <vlan tag='42'>\n    <interface name='nic0'/>\n  </vlan>\n", text)

    async def test_look_up(self) -> None:
        """Interfaces are found by name, and by an address that only one has."""
        interfaces = HostInterfaces(self.server())
        found = await interfaces.interface_lookup_by_name("guests")
        self.assertEqual(found, ("guests", "52:54:00:00:00:05"))
        self.assertEqual(await interfaces.interface_lookup_by_mac_string(found.mac), found)
        for failing, code, message in (
            (
                interfaces.interface_lookup_by_mac_string("52:54:00:00:00:02"),
                c.VIR_ERR_MULTIPLE_INTERFACES,
                "multiple matching interfaces found: the MAC address '52:54:00:00:00:02' matches multiple "
                "interfaces",
            ),
            (
                interfaces.interface_lookup_by_mac_string("x"),
                c.VIR_ERR_NO_INTERFACE,
                "Interface not found: couldn't find interface with MAC address 'x'",
            ),
        ):
            error = await self.assertFailure(failing, VirError)
            found_error = (error.code, error.domain, error.message)
            self.assertEqual(found_error, (code, c.VIR_FROM_INTERFACE, message))

    async def test_names_that_are_none(self) -> None:
        """A name is never taken for a path; and a file among the interfaces is not one of them."""
        interfaces = HostInterfaces(self.server())
        for name in ("", ".", "..", "../net/nic0", "bonding_masters", "x" * 4096, "nic0\0", "none"):
            error = await self.assertFailure(interfaces.interface_lookup_by_name(name), VirError)
            self.assertEqual(error.code, c.VIR_ERR_NO_INTERFACE, name)

    async def test_name_that_is_no_text(self) -> None:
        """The kernel takes any bytes for a name; the others are listed."""
        host = self.changing_server()
        before = (await HostInterfaces(host).connect_list_all_interfaces(1, 0)).ifaces
        folder = os.path.join(os.fsencode(host.files.root), b"sys/class/net/eth\xff")
        os.mkdir(folder)
        for name, text in ((b"ifindex", "99"), (b"operstate", "up"), (b"address", "02:00:00:00:00:99")):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        found = await HostInterfaces(host).connect_list_all_interfaces(1, 0)
        self.assertEqual(found.ifaces, before)
        self.assertTrue(found.pack())

    async def test_unsupported(self) -> None:
        """Flags that are none are refused; changes are not supported."""
        interfaces = HostInterfaces(self.server())
        error = await self.assertFailure(interfaces.connect_list_all_interfaces(1, 8), VirError)
        self.assertEqual(error.message, "unsupported flags (0x8) in function udevConnectListAllInterfaces")
        self.assertRaises(VirError, interfaces.interface_undefine, ref("nic0"))

    async def test_bare(self) -> None:
        """A host without interfaces has none."""
        found = await HostInterfaces(self.bare()).connect_list_all_interfaces(1, 0)
        self.assertEqual((found.ifaces, found.ret), ((), 0))
