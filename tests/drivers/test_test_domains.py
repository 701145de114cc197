"""What stays of a change: definitions, metadata, memory and CPUs of domains, and the events between."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.domains import metadata as metadata_module
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.driving import Watcher, connect, domain_xml

UUID = "01020304-0506-0708-090a-0b0c0d0e0f10"
LIVE, CONFIG = c.VIR_DOMAIN_AFFECT_LIVE, c.VIR_DOMAIN_AFFECT_CONFIG
INACTIVE = c.VIR_DOMAIN_XML_INACTIVE
ELEMENT = c.VIR_DOMAIN_METADATA_ELEMENT
LIFECYCLE, METADATA = c.VIR_DOMAIN_EVENT_ID_LIFECYCLE, c.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE


class DomainCase(TestCase):
    """A default world with a running persistent domain "guest"."""

    def setUp(self) -> None:
        self.connection: Any = connect()
        self.calls = self.connection.hypervisor
        self.guest = self.calls.domain_define_xml(domain_xml("guest", uuid=UUID))
        self.calls.domain_create(self.guest)
        self.watcher = Watcher(self.connection)

    def xml(self, flags: int = 0) -> str:
        """Return the guest's document."""
        text: str = self.calls.domain_get_xml_desc(self.guest, flags)
        return text

    def assert_refused(self, call: Any, *arguments: Any, code: int, message: str) -> None:
        """Check the error of a call."""
        error = self.assertRaises(VirError, call, *arguments)
        self.assertEqual((error.code, error.message), (code, message))


class DefinitionTests(DomainCase):
    """Two definitions, and which is in force."""

    def test_document(self) -> None:
        """A small document, completed as libvirt 9.0.0 completes it."""
        expected = f"""\
<domain type='test' id='2'>
  <name>guest</name>
  <uuid>{UUID}</uuid>
  <memory unit='KiB'>65536</memory>
  <currentMemory unit='KiB'>65536</currentMemory>
  <vcpu placement='static'>2</vcpu>
  <os>
    <type arch='i686'>hvm</type>
    <boot dev='hd'/>
  </os>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
  </devices>
</domain>
"""
        self.assertEqual(self.xml(), expected)
        self.assertEqual(self.xml(INACTIVE), expected.replace(" id='2'", ""))

    def test_new_definition_waits_for_a_restart(self) -> None:
        """A running domain keeps what it has; the new definition counts after a stop."""
        self.calls.domain_define_xml(domain_xml("guest", uuid=UUID).replace("65536", "32768"))
        self.assertIn("<memory unit='KiB'>65536<", self.xml())
        self.assertIn("<memory unit='KiB'>32768<", self.xml(INACTIVE))
        self.assertEqual(self.calls.domain_get_info(self.guest).maxMem, 65536)
        self.calls.domain_destroy(self.guest)
        self.assertIn("<memory unit='KiB'>32768<", self.xml())
        self.assertEqual(self.calls.domain_get_info(self.guest).maxMem, 32768)

    def test_created_with_another_definition(self) -> None:
        """An inactive persistent domain can be created from XML; a stop brings the old definition back."""
        self.calls.domain_destroy(self.guest)
        created = self.calls.domain_create_xml(domain_xml("guest", uuid=UUID).replace("65536", "4096"), 0)
        self.assertEqual(created.id, 3)
        self.assertEqual(self.calls.domain_get_info(self.guest).maxMem, 4096)
        self.assertIn("<memory unit='KiB'>65536<", self.xml(INACTIVE))
        self.calls.domain_destroy(self.guest)
        self.assertEqual(self.calls.domain_get_info(self.guest).maxMem, 65536)

    def test_name_and_uuid_must_agree(self) -> None:
        """Neither of them can belong to another domain."""
        other = "11111111-2222-3333-4444-555555555555"
        for define in (self.calls.domain_define_xml, lambda xml: self.calls.domain_create_xml(xml, 0)):
            text = f"operation failed: domain 'guest' already exists with uuid {UUID}"
            self.assert_refused(define, domain_xml("guest", uuid=other), code=9, message=text)
            text = f"operation failed: domain 'guest' is already defined with uuid {UUID}"
            self.assert_refused(define, domain_xml("other", uuid=UUID), code=9, message=text)
        self.assertEqual(self.watcher.take(), [])

    def test_bad_documents_change_nothing(self) -> None:
        """A document that is refused leaves no trace, neither in lists nor in events."""
        before = self.calls.connect_list_all_domains(1, 0)
        self.assert_refused(
            self.calls.domain_define_xml,
            "not xml at all",
            code=35,
            message="(domain_definition):1: Start tag expected, '<' not found\nnot xml at all\n^",
        )
        self.assert_refused(
            self.calls.domain_create_xml,
            "<domain type='test'/>",
            0,
            code=21,
            message="missing name information",
        )
        self.assertIs(self.calls.connect_list_all_domains(1, 0), before)
        self.assertEqual(self.watcher.take(), [])

    def test_rename(self) -> None:
        """Old and new name in two events; all definitions, lookups and documents have the new one."""
        self.calls.domain_destroy(self.guest)
        self.watcher.take()
        self.assertEqual(self.calls.domain_rename(self.guest, "renamed", 0), 0)
        self.assertEqual(
            self.watcher.take(),
            [("domain", LIFECYCLE, "guest", -1, 1, 1), ("domain", LIFECYCLE, "renamed", -1, 0, 2)],
        )
        self.assertEqual(self.calls.domain_lookup_by_name("renamed").uuid, self.guest.uuid)
        self.assertRaises(VirError, self.calls.domain_lookup_by_name, "guest")
        self.assertIn("<name>renamed</name>", self.xml())
        self.calls.domain_create(self.guest)
        self.assertIn("<name>renamed</name>", self.xml(INACTIVE))

    def test_document_follows_every_change(self) -> None:
        """A document that was asked for before shows each change at once."""
        guest, calls = self.guest, self.calls
        for name, arguments in (
            ("domain_set_memory", (30000,)),
            ("domain_set_vcpus", (1,)),
            ("domain_pin_vcpu", (0, b"\x01")),
            ("domain_pin_emulator", (b"\x01", 0)),
            ("domain_set_metadata", (c.VIR_DOMAIN_METADATA_TITLE, "title", None, None, 0)),
            ("domain_set_metadata", (c.VIR_DOMAIN_METADATA_DESCRIPTION, "text", None, None, 0)),
            ("domain_set_metadata", (ELEMENT, "<a/>", "k", "http://u/", 0)),
            ("domain_destroy", ()),
            ("domain_set_max_memory", (50000,)),
            ("domain_set_vcpus_flags", (4, CONFIG | c.VIR_DOMAIN_VCPU_MAXIMUM)),
            ("domain_rename", ("other", 0)),
            ("domain_create", ()),
        ):
            before = self.xml()
            getattr(calls, name)(guest, *arguments)
            self.assertNotEqual(self.xml(), before, name)

    def test_unknown_xml_flags(self) -> None:
        """Flags that libvirt's test driver does not know."""
        text = "unsupported flags (0x4) in function testDomainGetXMLDesc"
        self.assert_refused(self.calls.domain_get_xml_desc, self.guest, 4, code=8, message=text)


class ResourceTests(DomainCase):
    """Memory and CPUs."""

    def test_memory(self) -> None:
        """Live and persistent sizes change by themselves; the maximum only of what does not run."""
        self.calls.domain_set_memory(self.guest, 30000)
        self.calls.domain_set_memory_flags(self.guest, 20000, CONFIG)
        self.assertEqual(self.calls.domain_get_info(self.guest)[1:3], (65536, 30000))
        self.assertIn("<currentMemory unit='KiB'>20000<", self.xml(INACTIVE))
        self.calls.domain_set_memory_flags(self.guest, 10000, CONFIG | c.VIR_DOMAIN_MEM_MAXIMUM)
        self.assertIn("<memory unit='KiB'>10000<", self.xml(INACTIVE))
        self.assertIn("<currentMemory unit='KiB'>10000<", self.xml(INACTIVE))
        self.calls.domain_destroy(self.guest)
        self.assertEqual(self.calls.domain_get_info(self.guest)[1:3], (10000, 10000))

    def test_memory_limits(self) -> None:
        """What the public API refuses before the driver looks."""
        text = "memory in virDomainSetMemory must not be zero"
        self.assert_refused(self.calls.domain_set_memory, self.guest, 0, code=8, message=text)
        text = f"numerical overflow: input too large: {2**54}"
        self.assert_refused(self.calls.domain_set_max_memory, self.guest, 2**54, code=82, message=text)

    def test_vcpus(self) -> None:
        """Live, persistent and maximal numbers."""
        self.calls.domain_set_vcpus(self.guest, 1)
        self.calls.domain_set_vcpus_flags(self.guest, 8, CONFIG | c.VIR_DOMAIN_VCPU_MAXIMUM)
        self.calls.domain_set_vcpus_flags(self.guest, 5, CONFIG)
        self.assertIn("<vcpu placement='static' current='1'>2</vcpu>", self.xml())
        self.assertIn("<vcpu placement='static' current='5'>8</vcpu>", self.xml(INACTIVE))
        self.assertEqual(self.calls.domain_get_info(self.guest).nrVirtCpu, 1)
        text = "invalid argument: requested cpu amount exceeds maximum supported amount (-2147483647 > 32)"
        self.assert_refused(
            self.calls.domain_set_vcpus_flags, self.guest, 2**31 + 1, LIVE, code=8, message=text
        )

    def test_more_vcpus_than_the_wire_can_say(self) -> None:
        """The number in domain_get_info has 16 bits; the rest is cut off, as libvirt does."""
        xml = domain_xml("many").replace("<vcpu>2<", "<vcpu>70000<")
        many = self.calls.domain_create_xml(xml, 0)
        self.assertEqual(self.calls.domain_get_info(many).nrVirtCpu, 4464)
        self.assertEqual(self.calls.domain_get_vcpus_flags(many, 0), 70000)
        self.assertEqual(len(self.calls.domain_get_vcpus(many, 16384, 1).info), 16384)

    def test_pinning(self) -> None:
        """A pinned CPU shows in its map, its host CPU and the document; the others run anywhere."""
        self.calls.domain_pin_vcpu(self.guest, 0, b"\x83")
        info, maps = self.calls.domain_get_vcpus(self.guest, 2, 1)
        self.assertEqual([cpu.cpu for cpu in info], [7, 15])
        self.assertEqual(maps, b"\x83\xff")
        self.assertEqual(self.calls.domain_get_vcpu_pin_info(self.guest, 2, 2, 0), (b"\x83\0\xff\xff", 2))
        self.assertEqual(self.calls.domain_get_vcpu_pin_info(self.guest, 2, 1, CONFIG), (b"\xff\xff", 2))
        self.calls.domain_pin_emulator(self.guest, b"\x05", 0)
        self.assertEqual(self.calls.domain_get_emulator_pin_info(self.guest, 1, 0), (b"\x05", 1))
        tune = "<vcpupin vcpu='0' cpuset='0-1,7'/>\n    <emulatorpin cpuset='0,2'/>"
        self.assertIn(tune, self.xml())
        self.assertNotIn("cputune", self.xml(INACTIVE))

    def test_map_limits(self) -> None:
        """Maps that nobody could send back."""
        vcpus = self.calls.domain_get_vcpus
        text = "internal error: maxinfo > REMOTE_VCPUINFO_MAX"
        self.assert_refused(vcpus, self.guest, 16385, 1, code=1, message=text)
        text = "internal error: maxinfo * maplen > REMOTE_CPUMAPS_MAX"
        self.assert_refused(vcpus, self.guest, 16384, 1000, code=1, message=text)
        text = "internal error: maplen must be non-negative"
        pins = self.calls.domain_get_vcpu_pin_info
        self.assert_refused(pins, self.guest, 2, -1, 0, code=1, message=text)
        text = "cpumap in virDomainPinVcpu must not be NULL"
        self.assert_refused(self.calls.domain_pin_vcpu, self.guest, 0, b"", code=8, message=text)

    def test_balloon_period(self) -> None:
        """Only a domain with a balloon has one; 0 takes it out of the document again."""
        test = self.calls.domain_lookup_by_name("test")
        self.calls.domain_set_memory_stats_period(test, 7, CONFIG)
        self.assertIn("<stats period='7'/>", self.calls.domain_get_xml_desc(test, INACTIVE))
        self.assertNotIn("<stats", self.calls.domain_get_xml_desc(test, 0))
        self.calls.domain_set_memory_stats_period(test, 0, CONFIG)
        self.assertNotIn("<stats", self.calls.domain_get_xml_desc(test, INACTIVE))
        text = "period in virDomainSetMemoryStatsPeriod must be zero or greater"
        self.assert_refused(
            self.calls.domain_set_memory_stats_period, self.guest, -1, 0, code=8, message=text
        )


class MetadataTests(DomainCase):
    """Titles, descriptions and elements."""

    def put(self, type: int, text: str | None, key: str | None, uri: str | None, flags: int = 0) -> None:
        """Set metadata."""
        self.calls.domain_set_metadata(self.guest, type, text, key, uri, flags)

    def get(self, type: int, uri: str | None = None, flags: int = 0) -> str | None:
        """Return metadata, None if there is none."""
        try:
            text: str = self.calls.domain_get_metadata(self.guest, type, uri, flags)
        except VirError as error:
            self.assertEqual(error.code, 80)
            self.assertEqual(error.message, "metadata not found: Requested metadata element is not present")
            return None
        return text

    def test_texts(self) -> None:
        """Title and description, live and persistent, with an event for each change."""
        self.put(c.VIR_DOMAIN_METADATA_TITLE, "A title", None, None)
        self.put(c.VIR_DOMAIN_METADATA_DESCRIPTION, "<b>&'", None, None, LIVE | CONFIG)
        self.assertEqual(self.get(c.VIR_DOMAIN_METADATA_TITLE), "A title")
        self.assertIsNone(self.get(c.VIR_DOMAIN_METADATA_TITLE, flags=CONFIG))
        self.assertEqual(self.get(c.VIR_DOMAIN_METADATA_DESCRIPTION, flags=CONFIG), "<b>&'")
        self.assertIn("<description>&lt;b&gt;&amp;&apos;</description>", self.xml())
        self.put(c.VIR_DOMAIN_METADATA_TITLE, "", None, None)
        self.assertIsNone(self.get(c.VIR_DOMAIN_METADATA_TITLE))
        self.assertEqual(
            self.watcher.take(),
            [
                ("domain", METADATA, "guest", 2, c.VIR_DOMAIN_METADATA_TITLE, None),
                ("domain", METADATA, "guest", 2, c.VIR_DOMAIN_METADATA_DESCRIPTION, None),
                ("domain", METADATA, "guest", 2, c.VIR_DOMAIN_METADATA_TITLE, None),
            ],
        )

    def test_prefixes_declared_around(self) -> None:
        """A prefix that is declared further out is declared by what a domain keeps, as libxml2 copies it."""
        text = (
            "<domain type='test' xmlns:x='http://u/' xmlns:w='http://w/'><name>md</name>"
            "<metadata w:kind='1' xmlns:y='http://y/'>text<x:a><w:i/></x:a><plain/><y:b/><x:c/></metadata>"
            "<memory>1024</memory><os><type>hvm</type></os></domain>"
        )
        ref = self.calls.domain_define_xml(text)
        opening = '<metadata xmlns:y="http://y/" xmlns:w="http://w/" xmlns:x="http://u/" w:kind="1">'
        application = "    <x:a>\n      <w:i/>\n    </x:a>\n"
        shown = self.calls.domain_get_xml_desc(ref, 0)
        self.assertIn(f"  {opening}\n{application}    <y:b/>\n  </metadata>\n", shown)
        self.calls.domain_set_metadata(ref, ELEMENT, "<n/>", "k", "http://y/", 0)
        self.calls.domain_set_metadata(ref, ELEMENT, None, None, "http://u/", 0)
        self.assertIn(f"  {opening}\n    <", self.calls.domain_get_xml_desc(ref, 0))

    def test_element(self) -> None:
        """An element stands under its namespace and comes back without it."""
        self.put(ELEMENT, "<a x='1'><b xmlns='q'><c/></b></a>", "k", "http://u/")
        self.assertEqual(self.get(ELEMENT, "http://u/"), '<a x="1">\n  <b xmlns="q">\n    <c/>\n  </b>\n</a>')
        self.assertIn('    <k:a xmlns:k="http://u/" x="1">\n      <b xmlns="q">', self.xml())
        self.put(ELEMENT, "<other/>", "k2", "http://v/")
        self.put(ELEMENT, "<n/>", "k3", "http://u/")
        self.assertEqual(self.get(ELEMENT, "http://u/"), "<n/>")
        self.assertEqual(self.get(ELEMENT, "http://v/"), "<other/>")
        self.put(ELEMENT, None, None, "http://u/")
        self.assertIsNone(self.get(ELEMENT, "http://u/"))
        self.put(ELEMENT, None, None, "http://v/")
        self.assertIn("  <metadata/>\n", self.xml())
        self.assertEqual([event[-1] for event in self.watcher.take()].count("http://v/"), 2)

    def test_white_space_in_elements(self) -> None:
        """What stands between an element's children is kept."""
        self.put(ELEMENT, "<a><b>text</b> <c/></a>", "k", "http://u/")
        self.assertEqual(self.get(ELEMENT, "http://u/"), "<a><b>text</b> <c/></a>")

    def test_definitions_do_not_share(self) -> None:
        """An element that is changed live stays what it was in the persistent definition."""
        self.put(ELEMENT, "<a/>", "k", "http://u/", LIVE | CONFIG)
        self.put(ELEMENT, "<b/>", "k", "http://u/", LIVE)
        self.assertEqual(self.get(ELEMENT, "http://u/", CONFIG), "<a/>")
        self.assertEqual(self.get(ELEMENT, "http://u/", LIVE), "<b/>")

    def test_refused(self) -> None:
        """What is wrong is said in libvirt's words, and changes nothing."""
        title, desc = c.VIR_DOMAIN_METADATA_TITLE, c.VIR_DOMAIN_METADATA_DESCRIPTION
        prefix = "internal error: failed to validate prefix for a new XML namespace"
        function = "virDomainSetMetadata"
        for type, text, key, uri, code, message in (
            (title, "a\nb", None, None, 8, "metadata title can't contain newlines"),
            (desc, "x", "k", None, 8, f"key in {function} must be NULL"),
            (title, "x", None, "u", 8, f"uri in {function} must be NULL"),
            (ELEMENT, "<x/>", None, "u", 8, f"key in {function} must not be NULL"),
            (ELEMENT, "<x/>", "k", None, 8, f"uri in {function} must not be NULL"),
            (ELEMENT, "<x/>", "1k", "u", 1, prefix),
            (ELEMENT, "<x/>", "k:l", "u", 1, prefix),
            (
                *(ELEMENT, "<a xmlns:k='o'/>", "k", "u", 1),
                "internal error: failed to create a new XML namespace",
            ),
            (
                *(ELEMENT, "<k:a/>", "k", "u", 1),
                "internal error: failed to create a new XML namespace",
            ),
            (
                *(ELEMENT, "<a", "k", "u", 35),
                "(metadata_xml):1: Couldn't find end of Start Tag a line 1\n<a\n--^",
            ),
            (99, "x", None, None, 8, "invalid argument: unknown metadata type '99'"),
        ):
            self.assert_refused(self.put, type, text, key, uri, code=code, message=message)
        self.assertNotIn("<metadata", self.xml())
        self.assertEqual(self.watcher.take(), [])

    def test_size_is_bounded(self) -> None:
        """Metadata cannot grow without end, however it is cut in pieces."""
        self.patch(metadata_module, "MAX_METADATA", 1000)
        self.put(c.VIR_DOMAIN_METADATA_DESCRIPTION, "x" * 900, None, None)
        text = "invalid argument: the metadata of a domain may hold 1000 characters"
        self.assert_refused(self.put, ELEMENT, f"<a>{'y' * 100}</a>", "k", "u", code=8, message=text)
        self.assert_refused(self.put, ELEMENT, "<a/>", "k", "u" * 100, code=8, message=text)
        self.put(c.VIR_DOMAIN_METADATA_DESCRIPTION, "z" * 800, None, None)
        self.put(ELEMENT, f"<a>{'y' * 100}</a>", "k", "u")


class PropertyTests(DomainCase):
    """The small properties."""

    def test_autostart(self) -> None:
        """Any number but 0 is on; a transient domain is taken too."""
        transient = self.calls.domain_create_xml(domain_xml("transient"), 0)
        for ref in (self.guest, transient):
            self.assertEqual(self.calls.domain_get_autostart(ref), 0)
            self.calls.domain_set_autostart(ref, 7)
            self.assertEqual(self.calls.domain_get_autostart(ref), 1)

    def test_references_may_be_stale(self) -> None:
        """Only the UUID in a reference counts."""
        stale = self.guest._replace(name="whatever", id=99)
        self.assertEqual(self.calls.domain_get_state(stale, 0), (1, 1))
        gone = self.guest._replace(uuid=bytes(16))
        text = "Domain not found: no domain with matching uuid '00000000-0000-0000-0000-000000000000' (guest)"
        self.assert_refused(self.calls.domain_get_state, gone, 0, code=42, message=text)

    def test_ids_grow(self) -> None:
        """Each start gives a new id; an id that is gone finds nobody."""
        self.assertEqual(self.calls.domain_lookup_by_id(2).name, "guest")
        self.calls.domain_destroy(self.guest)
        self.assertRaises(VirError, self.calls.domain_lookup_by_id, 2)
        self.calls.domain_create(self.guest)
        self.assertEqual(self.calls.domain_lookup_by_id(3).name, "guest")

    def test_security_label(self) -> None:
        """The label that every running domain has, with its zero byte."""
        self.assertEqual(self.calls.domain_get_security_label(self.guest), (b"libvirt-test\0", 1))
        self.calls.domain_destroy(self.guest)
        self.assertEqual(self.calls.domain_get_security_label(self.guest), (b"\0", 0))
