"""What libvirt's test driver has learnt since 9.0.0, with the option ``newer``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.registry import load_driver
from remotevirt.drivers.test import TestDriver
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain, NonnullNetwork
from remotevirt.testing.driver import FakeDriver
from tests.drivers.driving import Watcher, connect

TEST = NonnullDomain("test", UUID("6695eb01-f6a4-8304-79aa-97f2502e193f").bytes, 1)
NETWORK = NonnullNetwork("default", UUID("dd8fe884-6c02-601e-7551-cca97df1c5df").bytes)
LIVE, CONFIG = c.VIR_DOMAIN_AFFECT_LIVE, c.VIR_DOMAIN_AFFECT_CONFIG
DISK = "<disk type='file'><source file='/x.img'/><target dev='{}' bus='{}'/></disk>"
CARD = "<interface type='network'><mac address='52:54:00:00:00:07'/><source network='default'/></interface>"
ADDED, REMOVED = c.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
REDEFINED = (
    *("domain", c.VIR_DOMAIN_EVENT_ID_LIFECYCLE, "test", 1),
    *(c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_UPDATED),
)


class NewerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = connect(TestDriver(newer=True))
        self.calls: Any = self.connection.hypervisor
        self.watcher = Watcher(self.connection)
        self.addCleanup(self.watcher.stop)

    def refused(self, text: str, method: Any, *args: Any) -> None:
        self.assertEqual(text, str(self.assertRaises(VirError, method, *args)))

    def xml(self, flags: int = 0) -> str:
        return str(self.calls.domain_get_xml_desc(TEST, flags))


class HotplugTests(NewerCase):
    def test_a_disk_comes_and_goes(self) -> None:
        before = self.xml()
        self.calls.domain_attach_device(TEST, DISK.format("vdb", "virtio"))
        self.assertEqual([("domain", ADDED, "test", 1, "virtio-disk1")], self.watcher.take())
        self.assertIn("<alias name='virtio-disk1'/>", self.xml())
        self.assertNotIn("vdb", self.xml(c.VIR_DOMAIN_XML_INACTIVE))
        self.calls.domain_detach_device_alias(TEST, "virtio-disk1", LIVE)
        ((kind, event, message),) = [(one.kind, one.id, one.msg) for one in self.watcher.events]
        self.assertEqual(("domain", REMOVED, "virtio-disk1"), (kind, event, message.devAlias))
        self.assertEqual(before, self.xml())

    def test_both_definitions(self) -> None:
        self.calls.domain_attach_device_flags(TEST, CARD, LIVE | CONFIG)
        self.assertEqual([("domain", ADDED, "test", 1, "net0"), REDEFINED], self.watcher.take())
        for flags in (0, c.VIR_DOMAIN_XML_INACTIVE):
            self.assertIn("52:54:00:00:00:07", self.xml(flags))
        self.calls.domain_update_device_flags(TEST, CARD.replace("</i", "<link state='down'/></i"), CONFIG)
        self.assertIn("<link state='down'/>", self.xml(c.VIR_DOMAIN_XML_INACTIVE))
        self.assertNotIn("<link state='down'/>", self.xml())
        self.calls.domain_update_device_flags(TEST, CARD.replace("</i", "<link state='up'/></i"), LIVE)
        self.assertIn("<alias name='net0'/>", self.xml())
        self.calls.domain_detach_device_flags(TEST, CARD, LIVE | CONFIG)
        for flags in (0, c.VIR_DOMAIN_XML_INACTIVE):
            self.assertNotIn("52:54:00:00:00:07", self.xml(flags))

    def test_all_or_nothing(self) -> None:
        """What one of two definitions refuses changes neither."""
        self.calls.domain_attach_device_flags(TEST, DISK.format("vdb", "virtio"), CONFIG)
        before = self.xml(), self.xml(c.VIR_DOMAIN_XML_INACTIVE)
        text = "Requested operation is not valid: target vdb already exists"
        attach = self.calls.domain_attach_device_flags
        self.refused(text, attach, TEST, DISK.format("vdb", "virtio"), LIVE | CONFIG)
        self.assertEqual(before, (self.xml(), self.xml(c.VIR_DOMAIN_XML_INACTIVE)))

    def test_text_is_counted(self) -> None:
        world = self.calls.world
        before = world.text
        record = world.by_name["test"]
        for _ in range(3):
            self.calls.domain_attach_device_flags(TEST, CARD, LIVE | CONFIG)
            self.assertEqual(record.live.size + record.config.size, world.text)
            self.calls.domain_detach_device_flags(TEST, CARD, LIVE | CONFIG)
        self.assertEqual(record.live.size + record.config.size, world.text)
        self.assertTrue(abs(world.text - before) < 2000)

    def test_media(self) -> None:
        attach, detach = self.calls.domain_attach_device_flags, self.calls.domain_detach_device_flags
        drive = "<disk type='file' device='cdrom'>{}<target dev='hda' bus='ide'/></disk>"
        attach(TEST, drive.format(""), CONFIG)
        self.calls.domain_destroy(TEST)
        self.calls.domain_create(TEST)
        self.watcher.take()
        attach(TEST, drive.format("<source file='/a.iso'/>"), LIVE)
        self.assertIn("<source file='/a.iso'/>", self.xml())
        self.assertEqual([], self.watcher.take())
        text = "Operation not supported: disk device type 'cdrom' cannot be detached"
        self.refused(text, detach, TEST, drive.format(""), LIVE)

    def test_what_cannot_be_plugged(self) -> None:
        attach = self.calls.domain_attach_device
        refusal = "Operation not supported: "
        text = f"{refusal}disk bus 'ide' cannot be hotplugged."
        self.refused(text, attach, TEST, DISK.format("hdb", "ide"))
        floppy = DISK.format("fda", "fdc").replace("type=", "device='floppy' type=")
        self.refused(f"{refusal}floppy device hotplug isn't supported", attach, TEST, floppy)
        cdrom = DISK.format("vdb", "virtio").replace("type=", "device='cdrom' type=")
        self.refused(f"{refusal}cdrom device with virtio bus isn't supported", attach, TEST, cdrom)
        self.refused("unsupported configuration: unknown device type 'a'", attach, TEST, "<a/>")
        self.calls.domain_destroy(TEST)
        self.refused("Requested operation is not valid: domain is not running", attach, TEST, CARD)
        text = "unsupported flags (0x8) in function testDomainAttachDeviceLiveAndConfig"
        self.refused(text, self.calls.domain_attach_device_flags, TEST, CARD, 8)

    def test_names(self) -> None:
        """What is plugged in gets names as libvirt gives them, and no name twice."""
        for xml, name in (
            (CARD, "net0"),
            (CARD.replace("07", "08"), "net1"),
            (DISK.format("sda", "scsi"), "scsi0-0-0-0"),
            ("<controller type='scsi' index='3'/>", "scsi3"),
            ("<sound model='ac97'/>", "sound0"),
            ("<interface type='user'><alias name='ua-mine'/></interface>", "ua-mine"),
        ):
            self.calls.domain_attach_device(TEST, xml)
            self.assertEqual([("domain", ADDED, "test", 1, name)], self.watcher.take())
        lease = "<lease><lockspace>a</lockspace><key>k</key><target path='/x'/></lease>"
        self.calls.domain_attach_device(TEST, lease)
        self.assertEqual([], self.watcher.take())


class OtherTests(NewerCase):
    def test_domain_capabilities(self) -> None:
        ask = self.calls.connect_get_domain_capabilities
        text = ask("/bin/a&b", "x86_64", "pc", "kvm", 0)
        for line in (
            "<path>/bin/a&amp;b</path>",
            "<domain>kvm</domain>",
            "<machine>pc</machine>",
            "<arch>x86_64",
        ):
            self.assertIn(line, text)
        self.assertEqual(
            "<domainCapabilities>\n  <domain>test</domain>\n  <arch>i686</arch>\n  <cpu>",
            ask(None, None, None, None, 0).partition("\n    <mode")[0],
        )
        self.refused("invalid argument: unknown architecture: z80", ask, None, "z80", None, None, 0)
        self.refused("invalid argument: unknown virttype: z", ask, None, None, None, "z", 0)

    def test_node_devices(self) -> None:
        devices: Any = self.connection.nodedev
        self.assertEqual(1, devices.node_device_is_active("scsi_host1"))
        self.assertEqual(1, devices.node_device_is_persistent("scsi_host1"))
        text = "Node device not found: no node device with matching name 'x'"
        self.refused(text, devices.node_device_is_active, "x")

    def test_network_metadata(self) -> None:
        networks: Any = self.connection.network
        heard: list[Any] = []
        assert self.connection.events is not None
        self.addCleanup(self.connection.events.listen(heard.append))
        get, put = networks.network_get_metadata, networks.network_set_metadata
        description, title, element = range(3)
        absent = "metadata not found: Requested metadata element is not present"
        for kind, uri in ((title, None), (description, None), (element, "urn:x")):
            self.refused(absent, get, NETWORK, kind, uri, 0)
        put(NETWORK, c.VIR_NETWORK_METADATA_TITLE, "a <title>", None, None, 0)
        put(NETWORK, c.VIR_NETWORK_METADATA_DESCRIPTION, "text", None, None, 0)
        put(NETWORK, element, "<a>b</a>", "k", "urn:x", 0)
        self.assertEqual("a <title>", get(NETWORK, c.VIR_NETWORK_METADATA_TITLE, None, 0))
        self.assertEqual("<a>b</a>", get(NETWORK, element, "urn:x", 0))
        self.assertEqual([c.VIR_NETWORK_EVENT_ID_METADATA_CHANGE] * 3, [event.id for event in heard])
        document = networks.network_get_xml_desc(NETWORK, 0)
        self.assertIn("<title>a &lt;title&gt;</title>\n  <description>text</description>\n", document)
        self.assertIn('<k:a xmlns:k="urn:x">b</k:a>', document)
        networks.network_define_xml(document)
        put(NETWORK, c.VIR_NETWORK_METADATA_TITLE, None, None, None, 0)
        self.assertNotIn("<title>", networks.network_get_xml_desc(NETWORK, 0))
        self.assertEqual("a <title>", get(NETWORK, c.VIR_NETWORK_METADATA_TITLE, None, CONFIG))

    def test_network_metadata_refused(self) -> None:
        networks: Any = self.connection.network
        put = networks.network_set_metadata
        for text, args in (
            ("uri in virNetworkSetMetadata must not be NULL", (2, "<a/>", "k", None, 0)),
            ("key in virNetworkSetMetadata must not be NULL", (2, "<a/>", None, "urn:x", 0)),
            ("uri in virNetworkSetMetadata must be NULL", (0, "a", None, "urn:x", 0)),
            ("metadata title can't contain newlines", (1, "a\nb", None, None, 0)),
        ):
            self.assertIn(text, str(self.assertRaises(VirError, put, NETWORK, *args)))
        self.refused("invalid argument: unknown metadata type '7'", put, NETWORK, 7, "a", None, None, 0)
        networks.network_destroy(NETWORK)
        self.refused(
            "Requested operation is not valid: network is not running", put, NETWORK, 1, "a", None, None, LIVE
        )


class OptionTests(SynchronousTestCase):
    def test_without_it_all_is_as_in_9_0(self) -> None:
        calls = connect(TestDriver()).hypervisor
        assert calls is not None
        error = self.assertRaises(VirError, calls.domain_attach_device, TEST, CARD)
        self.assertEqual(c.VIR_ERR_NO_SUPPORT, error.code)

    def test_specifications(self) -> None:
        self.assertTrue(load_driver("test:newer").newer)
        self.assertFalse(load_driver("test").newer)
        self.assertRaises(ValueError, load_driver, "test:newer=1")

    def test_the_fake_has_it(self) -> None:
        for driver, served in ((FakeDriver(), True), (load_driver("fake:newer=no"), False)):
            self.addCleanup(driver.forget_world, "default")
            calls = connect(driver).hypervisor
            if served:
                calls.domain_attach_device(TEST, CARD)
            else:
                self.assertRaises(VirError, calls.domain_attach_device, TEST, CARD)
        self.assertRaises(ValueError, load_driver, "fake:newer=maybe")
