"""Devices of the test hypervisor's host."""

from __future__ import annotations

from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.node_xml import load_world
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.objects import ObjectsCase

TEMPLATE_XML = """\
<device>
  <name>scsi_host11</name>
  <parent>scsi_host1</parent>
  <capability type='scsi_host'>
    <host>11</host>
    <unique_id>10</unique_id>
    <capability type='fc_host'>
      <wwnn>2000000034563456</wwnn>
      <wwpn>1000000034563456</wwpn>
      <fabric_wwn>2000000043214321</fabric_wwn>
    </capability>
  </capability>
</device>
"""
CREATED = ("node_device", 0, "scsi_host12", c.VIR_NODE_DEVICE_EVENT_CREATED, 0)
DELETED = ("node_device", 0, "scsi_host12", c.VIR_NODE_DEVICE_EVENT_DELETED, 0)


def adapter(parent: str = "<parent>scsi_host1</parent>") -> str:
    """Return the document of a new virtual adapter."""
    return (
        f"<device>{parent}<capability type='scsi_host'><capability type='fc_host'>"
        "<wwnn>2000000099990000</wwnn><wwpn>1000000099990000</wwpn></capability></capability></device>"
    )


class DevicesCase(ObjectsCase):
    """The node device calls of a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.connection.nodedev

    def names(self) -> list[str]:
        """Return the names of all devices."""
        return sorted(self.calls.node_list_devices(None, 99, 0))


class LookingTests(DevicesCase):
    """The host's four devices."""

    def test_lists(self) -> None:
        """By capability, nested ones too."""
        calls = self.calls
        self.assertEqual(self.names(), ["computer", "scsi_host1", "scsi_host11", "scsi_host2"])
        for cap, count in (("scsi_host", 3), ("fc_host", 3), ("vports", 2), ("vport_ops", 0), ("usb", 0)):
            self.assertEqual(calls.node_num_of_devices(cap, 0), count, cap)
            self.assertEqual(len(calls.node_list_devices(cap, 9, 0)), count, cap)
        self.assertEqual(calls.node_list_devices(None, 2, 0), ["computer", "scsi_host1"])
        counts = [calls.connect_list_all_node_devices(1, 1 << bit).ret for bit in range(22)]
        self.assertEqual(counts, [1, 0, 0, 0, 0, 3, 0, 0, 0, 3, 2] + [0] * 11)
        self.assertEqual(calls.connect_list_all_node_devices(0, 0), ((), 4))
        text = "unsupported flags (0x400000) in function testConnectListAllNodeDevices"
        self.assert_refused(calls.connect_list_all_node_devices, 1, 1 << 22, code=8, message=text)
        text = "maxnames > REMOTE_NODE_DEVICE_LIST_MAX"
        self.assert_refused(calls.node_list_devices, None, 65537, 0, code=39, message=text)

    def test_one(self) -> None:
        """Parents, capabilities and XML."""
        calls = self.calls
        self.assertEqual(calls.node_device_lookup_by_name("computer"), ("computer",))
        self.assertEqual(calls.node_device_get_parent("scsi_host11"), "scsi_host1")
        self.assertIsNone(calls.node_device_get_parent("computer"))
        self.assertEqual(calls.node_device_list_caps("scsi_host1", 10), ["scsi_host"])
        self.assertEqual(calls.node_device_num_of_caps("scsi_host1"), 1)
        self.assertEqual(calls.node_device_get_xml_desc("scsi_host11", 0), TEMPLATE_XML)
        text = "Node device not found: no node device with matching name 'zz'"
        for call in (
            calls.node_device_lookup_by_name,
            calls.node_device_get_parent,
            calls.node_device_destroy,
        ):
            self.assert_refused(call, "zz", code=53, message=text)


class AdapterTests(DevicesCase):
    """Virtual host bus adapters."""

    def test_made_and_destroyed(self) -> None:
        """A copy of the template with other names, published; gone again, published."""
        ref = self.calls.node_device_create_xml(adapter(), 0)
        self.assertEqual(ref, ("scsi_host12",))
        expected = TEMPLATE_XML.replace("scsi_host11", "scsi_host12").replace("34563456", "99990000")
        self.assertEqual(self.calls.node_device_get_xml_desc("scsi_host12", 0), expected)
        self.assertEqual(self.calls.node_num_of_devices("fc_host", 0), 4)
        self.calls.node_device_destroy("scsi_host12")
        self.assertEqual(self.take_events(), [CREATED, DELETED])
        self.assertEqual(self.calls.connect_list_all_node_devices(1, 0).ret, 4)

    def test_one_at_a_time(self) -> None:
        """A second adapter takes the place of the first."""
        self.calls.node_device_create_xml(adapter(), 0)
        self.calls.node_device_create_xml(adapter().replace("9999", "8888"), 0)
        self.assertEqual(len(self.names()), 5)
        self.assertIn("2000000088880000", self.calls.node_device_get_xml_desc("scsi_host12", 0))

    def test_what_stays(self) -> None:
        """Devices that are no adapters, or whose parent is gone, are not destroyed; nothing is said."""
        self.calls.node_device_destroy("computer")
        self.assertIn("computer", self.names())
        self.calls.node_device_destroy("scsi_host1")
        self.assertNotIn("scsi_host1", self.names())
        self.take_events()
        self.calls.node_device_destroy("scsi_host11")
        self.assertIn("scsi_host11", self.names())
        self.assertEqual(self.take_events(), [])

    def test_nothing_to_hang_on(self) -> None:
        """A parent must be there, and carry others."""
        text = "internal error: Could not find parent device for 'new device'"
        call = self.calls.node_device_create_xml
        self.assertEqual(self.refusal(call, adapter("<parent>nosuch</parent>"), 0), (1, 22, text))
        text = "internal error: Parent device computer is not capable of vport operations"
        self.assertEqual(self.refusal(call, adapter("<parent>computer</parent>"), 0), (1, 22, text))
        for name in ("scsi_host1", "scsi_host2"):
            self.calls.node_device_destroy(name)
        text = "internal error: Could not find any vport capable device"
        self.assertEqual(self.refusal(call, adapter(""), 0), (1, 22, text))

    def test_numbers(self) -> None:
        """What devices are numbered by must be there, even of those that cannot be made."""
        place = "<domain>0</domain><bus>1</bus><slot>1</slot><function>0</function>"
        whole = place + "<vendor id='0x8086'/><product id='1'/>"
        for kind, inside, words in (
            ("pci", "", "no PCI domain ID supplied for 'new device'"),
            ("pci", "<domain>x</domain>", "invalid PCI domain ID supplied for 'new device'"),
            ("pci", place, "no PCI vendor ID supplied for 'new device'"),
            ("pci", whole, "Device is not a fibre channel HBA"),
            ("usb_device", "<bus>1</bus>", "no USB device number supplied for 'new device'"),
            ("usb", "<number>1</number>", "no USB interface class supplied for 'new device'"),
            ("scsi", "<host>1</host>", "no SCSI bus ID supplied for 'new device'"),
            ("scsi_target", "", "no target name supplied for 'new device'"),
            ("storage", "", "no block device path supplied for 'new device'"),
            ("vdpa", "", "unknown capability type '17' for 'new device'"),
        ):
            document = f"<device><capability type='{kind}'>{inside}</capability></device>"
            refused = self.refusal(self.calls.node_device_create_xml, document, 0)
            self.assertEqual(refused, (1, 22, f"internal error: {words}"))

    def test_documents(self) -> None:
        """What libvirtd makes of a document, or refuses it with."""
        self.check_documents(
            "device",
            lambda text: self.calls.node_device_create_xml(text, 0),
            lambda ref: self.calls.node_device_get_xml_desc(ref.name, 0),
            lambda ref: self.calls.node_device_destroy(ref.name),
        )


class NodeFileTests(DevicesCase):
    """Devices that a node file describes."""

    def test_refused(self) -> None:
        """What must be said of a device that is there."""
        for inside, text in (
            ("", "missing name information"),
            ("<name>a</name>", "internal error: no device capabilities for 'a'"),
            (
                "<name>a</name><capability type='scsi_host'/>",
                "internal error: no SCSI host ID supplied for 'a'",
            ),
            (
                "<name>a</name><capability type='scsi_host'><host>x</host></capability>",
                "internal error: invalid SCSI host ID supplied for 'a'",
            ),
            (
                "<name>a</name><capability type='net'/>",
                "internal error: no network interface supplied for 'a'",
            ),
            ("<name>a</name><capability type='system'/>", "internal error: no system UUID supplied for 'a'"),
        ):
            node = f"<node><device>{inside}</device></node>"
            error = self.assertRaises(VirError, load_world, node, "/n.xml", Node())
            self.assertEqual(error.message, text)

    def test_twice(self) -> None:
        """The later of two devices of a name counts."""
        device = (
            "<device><name>a</name><capability type='net'><interface>{}</interface></capability></device>"
        )
        node = f"<node>{device.format('one')}{device.format('two')}</node>"
        world = load_world(node, "/n.xml", Node())
        self.assertEqual([record.model.kinds for record in world.devices], [["net"]])
