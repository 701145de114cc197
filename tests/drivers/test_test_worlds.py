"""Which world a connection gets, and how long it lives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from remotevirt.drivers import DriverRegistry, IDriver, load_driver
from remotevirt.drivers.base import DriverConnection
from remotevirt.drivers.domains import table as world_module
from remotevirt.drivers.test import TestDriver
from remotevirt.errors import VirError
from tests.drivers.driving import READ_ONLY, Watcher, connect, domain_xml


def names(connection: DriverConnection) -> list[str]:
    """Return the names of all domains of a connection."""
    answer = connection.hypervisor.connect_list_all_domains(1, 0)
    return sorted(ref.name for ref in answer.domains)


class SharedWorldTests(TestCase):
    """``test:///default``."""

    def test_is_a_driver(self) -> None:
        """The driver keeps its interface and is found by name."""
        verifyObject(IDriver, TestDriver())
        self.assertIsInstance(load_driver("test"), TestDriver)
        driver, uri = DriverRegistry([TestDriver()]).route(None)
        self.assertEqual((uri.text, uri.path), ("test:///default", "/default"))
        self.assertEqual(names(driver.open(uri, READ_ONLY)), ["test"])

    def test_connections_share_it(self) -> None:
        """What one defines the other sees, events included."""
        driver = TestDriver()
        one, two = connect(driver), connect(driver, client=READ_ONLY)
        watcher = Watcher(two)
        one.hypervisor.domain_define_xml(domain_xml("shared"))
        self.assertEqual(names(two), ["shared", "test"])
        self.assertEqual(watcher.take(), [("domain", 0, "shared", -1, 0, 0)])

    def test_reset_when_the_last_closes(self) -> None:
        """The world lives while anybody is connected, and no longer."""
        driver = TestDriver()
        one, two = connect(driver), connect(driver)
        one.hypervisor.domain_define_xml(domain_xml("guest"))
        one.on_close()
        self.assertEqual(names(connect(driver)), ["guest", "test"])
        driver.users -= 1  # the connection above, which nobody keeps
        two.on_close()
        self.assertEqual(names(connect(driver)), ["test"])

    def test_closing_twice_counts_once(self) -> None:
        """A connection that is closed twice does not take the world from the others."""
        driver = TestDriver()
        one, two = connect(driver), connect(driver)
        two.hypervisor.domain_define_xml(domain_xml("guest"))
        one.on_close()
        one.on_close()
        self.assertEqual(names(connect(driver)), ["guest", "test"])

    def test_keep(self) -> None:
        """With ``keep`` the world outlives its connections."""
        driver = load_driver("test:keep")
        one = connect(driver)
        one.hypervisor.domain_define_xml(domain_xml("guest"))
        one.on_close()
        self.assertEqual(names(connect(driver)), ["guest", "test"])

    def test_drivers_do_not_share(self) -> None:
        """Two drivers have two worlds."""
        one, two = connect(), connect()
        one.hypervisor.domain_define_xml(domain_xml("guest"))
        self.assertEqual(names(two), ["test"])

    def test_failed_open_leaves_nothing(self) -> None:
        """A URI that is refused does not count as a connection."""
        driver = TestDriver()
        for uri in ("test:///", "test:///nowhere.xml", "test:///default/"):
            self.assertRaises(VirError, connect, driver, uri)
        self.assertEqual(driver.users, 0)

    def test_uri_without_path(self) -> None:
        """libvirt's words for a URI that names nothing."""
        error = self.assertRaises(VirError, connect, TestDriver(), "test:///")
        self.assertEqual(
            (error.code, error.domain, error.message),
            (8, 12, "invalid argument: testOpen: supply a path or use test:///default"),
        )

    def test_options_that_make_no_sense(self) -> None:
        """Each is one clear line, not a traceback."""
        for spec in (
            "test:keep=yes",
            "test:files",
            "test:files=relative",
            "test:files=/nonexistent/folder",
            "test:speed=9",
        ):
            self.assertRaises(ValueError, load_driver, spec)

    def test_contents(self) -> None:
        """The default domain as libvirt has it."""
        calls = connect().hypervisor
        ref = calls.domain_lookup_by_name("test")
        self.assertEqual((ref.uuid.hex(), ref.id), ("6695eb01f6a4830479aa97f2502e193f", 1))
        self.assertEqual(calls.domain_get_info(ref)[:4], (1, 8388608, 2097152, 2))
        self.assertEqual(calls.domain_get_state(ref, 0), (1, 0))


class BoundsTests(TestCase):
    """What a world takes at most."""

    def test_number_of_domains(self) -> None:
        """One more domain than there is room for is refused; a newer definition is not."""
        self.patch(world_module, "MAX_DOMAINS", 3)
        calls = connect().hypervisor
        calls.domain_define_xml(domain_xml("one"))
        ref = calls.domain_define_xml(domain_xml("two", uuid="01020304-0506-0708-090a-0b0c0d0e0f10"))
        for define in (calls.domain_define_xml, lambda xml: calls.domain_create_xml(xml, 0)):
            error = self.assertRaises(VirError, define, domain_xml("three"))
            self.assertEqual(error.code, 9)
        calls.domain_define_xml(domain_xml("two", uuid="01020304-0506-0708-090a-0b0c0d0e0f10"))
        calls.domain_undefine(ref)
        calls.domain_define_xml(domain_xml("three"))

    def test_ids_begin_anew(self) -> None:
        """After the last id that the wire can carry, the free ones are used again."""
        calls: Any = connect().hypervisor
        calls.world.next_id = world_module.MAX_ID
        started = [calls.domain_create_xml(domain_xml(name), 0).id for name in ("one", "two", "three")]
        self.assertEqual(started, [2**31 - 1, 2, 3])  # 1 is the domain "test"

    def test_names(self) -> None:
        """A name that is too long is refused however it comes, and nothing else changes."""
        calls: Any = connect().hypervisor
        longest = "ä" * 512
        ref = calls.domain_define_xml(domain_xml("short"))
        for call in (
            lambda: calls.domain_define_xml(domain_xml(longest + "x")),
            lambda: calls.domain_create_xml(domain_xml(longest + "x"), 0),
            lambda: calls.domain_rename(ref, longest + "x", 0),
        ):
            error = self.assertRaises(VirError, call)
            self.assertEqual(
                (error.code, error.message),
                (8, "invalid argument: the name of a domain may have 1024 bytes"),
            )
        self.assertEqual(calls.domain_lookup_by_name("short"), ref)
        calls.domain_rename(ref, longest, 0)
        self.assertEqual(calls.domain_lookup_by_uuid(ref.uuid).name, longest)

    @inlineCallbacks
    def test_documents_that_cannot_be_sent(self) -> Any:
        """A document that its own escaping makes too long for the wire is one clear error."""
        calls: Any = connect().hypervisor
        ref = yield calls.domain_define_xml(
            domain_xml("big", "<description>" + '"' * 800_000 + "</description>")
        )
        error = self.assertRaises(VirError, calls.domain_get_xml_desc, ref, 0)
        self.assertEqual(
            (error.code, error.domain, error.message), (39, 7, "Unable to encode message payload")
        )
        calls.domain_set_metadata(ref, 0, "short", None, None, 0)
        self.assertIn("short", calls.domain_get_xml_desc(ref, 0))

    def test_text(self) -> None:
        """Definitions that are too long together are refused, and those that go make room."""
        calls = connect().hypervisor
        world = calls.world
        xml = domain_xml("big", f"<description>{'x' * 5000}</description>")
        self.patch(world_module, "MAX_TEXT", world.text + len(xml) + 100)
        ref = calls.domain_define_xml(xml)
        error = self.assertRaises(VirError, calls.domain_define_xml, domain_xml("other"))
        self.assertEqual(error.code, 9)
        calls.domain_undefine(ref)
        calls.domain_define_xml(domain_xml("other"))


class NodeFileTests(TestCase):
    """``test:///PATH``."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute()
        self.folder = self.top / "nodes"
        (self.folder / "deep").mkdir(parents=True)
        self.driver = load_driver(f"test:files={self.folder}")

    def write(self, name: str, text: str) -> str:
        """Write a file below the folder and return its URI."""
        path = self.folder / name
        path.write_text(text)
        return f"test://{path}"

    def assert_unreadable(self, uri: str) -> None:
        """Check that a URI is answered as one of a file that does not exist."""
        error = self.assertRaises(VirError, connect, self.driver, uri)
        path = uri.removeprefix("test://")
        self.assertEqual(
            (error.code, error.domain, error.message),
            (27, 12, f"XML error: failed to parse xml document '{path}'"),
        )

    def test_private(self) -> None:
        """Each connection has a world of its own, gone with it."""
        uri = self.write("node.xml", f"<node>{domain_xml('alpha')}</node>")
        one, two = connect(self.driver, uri), connect(self.driver, uri)
        one.hypervisor.domain_define_xml(domain_xml("mine"))
        self.assertEqual(names(one), ["alpha", "mine"])
        self.assertEqual(names(two), ["alpha"])
        self.assertEqual(one.hypervisor.connect_get_uri(), uri)
        self.assertEqual(self.driver.users, 0)

    def test_states(self) -> None:
        """Domains are found as the file says; ids go by the order in the file."""
        space = "xmlns:t='http://libvirt.org/schemas/domain/test/1.0'"

        def found(name: str, words: str) -> str:
            return domain_xml(name, words).replace("<domain ", f"<domain {space} ")

        body = (
            found("runs", "<t:transient/>")
            + found("pauses", "<t:runstate>3</t:runstate>")
            + found("off", "<t:runstate>5</t:runstate><t:hasmanagedsave/>")
            + found("crashed", "<t:runstate>6</t:runstate>")
            + found("silent", "<t:runstate></t:runstate>")
        )
        calls = connect(self.driver, self.write("states.xml", f"<node>{body}</node>")).hypervisor
        answers = {}
        for ref in calls.connect_list_all_domains(1, 0).domains:
            state = tuple(calls.domain_get_state(ref, 0))
            persistent = calls.domain_is_persistent(ref)
            answers[ref.name] = (ref.id, state, persistent, calls.domain_has_managed_save_image(ref, 0))
        self.assertEqual(
            answers,
            {
                "runs": (1, (1, 0), 0, 0),
                "pauses": (2, (3, 0), 1, 0),
                "off": (-1, (5, 0), 1, 1),
                "crashed": (3, (6, 0), 1, 0),
                "silent": (4, (1, 0), 1, 0),
            },
        )

    def test_host(self) -> None:
        """The host is what the file says; it has no cells, hence no free memory."""
        cpu = "<cpu><mhz>6000</mhz><model>i986</model><active>50</active><nodes>4</nodes>"
        cpu += "<sockets>4</sockets><cores>4</cores><threads>2</threads></cpu><memory>8192000</memory>"
        calls = connect(self.driver, self.write("host.xml", f"<node>{cpu}</node>")).hypervisor
        info = calls.node_get_info()
        self.assertEqual(info.model.rstrip(b"\0"), b"i986")
        self.assertEqual(tuple(info)[1:], (8192000, 50, 6000, 4, 4, 4, 2))
        self.assertEqual(calls.node_get_free_memory(), 0)
        error = self.assertRaises(VirError, calls.node_get_cells_free_memory, 0, 10)
        self.assertEqual(error.message, "invalid argument: Range exceeds available cells")
        self.assertIn("<cells num='0'>\n      </cells>", calls.connect_get_capabilities())

    def test_wrong_nodes(self) -> None:
        """What is wrong with a node is said in libvirt's words."""
        long = "m" * 40
        for text, code, message in (
            ("<nodes/>", 27, "XML error: expecting root element of 'node', not 'nodes'"),
            ("<node><cpu><mhz>abc</mhz></cpu></node>", 27, "XML error: invalid node cpu mhz value"),
            ("<node><cpu><active>-1</active></cpu></node>", 27, "XML error: invalid node cpu active value"),
            ("<node><memory>9999999999999</memory></node>", 27, "XML error: invalid node memory value"),
            (
                f"<node><cpu><model>{long}</model></cpu></node>",
                1,
                f"internal error: Model {long} too big for destination",
            ),
            (
                "<node><auth><user password='x'>rich</user></auth></node>",
                8,
                "invalid argument: Missing authentication credentials",
            ),
        ):
            error = self.assertRaises(VirError, connect, self.driver, self.write("wrong.xml", text))
            self.assertEqual((error.code, error.message), (code, message))

    def test_volume_in_a_file_of_its_own(self) -> None:
        """A pool's volume may stand in another file, as other objects may."""
        self.write("volume.xml", "<volume><name>v</name><capacity>1000</capacity></volume>")
        words = "<name>p</name><target><path>/p</path></target><volume file='volume.xml'/>"
        pool = f"<pool type='dir'>{words}</pool>"
        storage = connect(self.driver, self.write("node.xml", f"<node>{pool}</node>")).storage
        found = storage.storage_pool_lookup_by_name("p")
        self.assertEqual(storage.storage_vol_lookup_by_name(found, "v").name, "v")

    def test_run_states_that_make_no_sense(self) -> None:
        """They are refused in node files and wherever else a domain is defined."""
        space = "xmlns:t='http://libvirt.org/schemas/domain/test/1.0'"
        for words, message in (
            ("<t:runstate>abc</t:runstate>", "invalid runstate"),
            ("<t:runstate>8</t:runstate>", "runstate '8' out of range'"),
            (
                "<t:transient/><t:runstate>5</t:runstate>",
                "transient domain cannot have runstate 'shutoff'",
            ),
            ("<t:hasmanagedsave/>", "domain with managedsave data can only have runstate 'shutoff'"),
        ):
            xml = domain_xml("odd", words).replace("<domain ", f"<domain {space} ")
            error = self.assertRaises(VirError, connect().hypervisor.domain_define_xml, xml)
            self.assertEqual((error.code, error.domain, error.message), (27, 12, f"XML error: {message}"))
            uri = self.write("odd.xml", f"<node>{xml}</node>")
            error = self.assertRaises(VirError, connect, self.driver, uri)
            self.assertEqual(error.message, f"XML error: {message}")

    def test_parts_in_files(self) -> None:
        """An object may stand in a file beside the node's, under the same rules."""
        self.write("guest.xml", domain_xml("elsewhere"))
        uri = self.write("node.xml", "<node><domain file='guest.xml'/></node>")
        self.assertEqual(names(connect(self.driver, uri)), ["elsewhere"])
        secret = self.top / "secret.xml"
        secret.write_text(domain_xml("secret"))
        for name in ("../secret.xml", str(secret), "missing.xml"):
            uri = self.write("node.xml", f"<node><domain file='{name}'/></node>")
            error = self.assertRaises(VirError, connect, self.driver, uri)
            self.assertIn("failed to parse xml document", error.message)

    def test_only_below_the_folder(self) -> None:
        """Nothing outside can be named, in whatever way."""
        outside = self.top / "outside.xml"
        outside.write_text("<node/>")
        self.write("inside.xml", "<node/>")
        connect(self.driver, f"test://{self.folder}/inside.xml")
        connect(self.driver, f"test://{self.folder}/./deep/../inside.xml".replace("deep/../", ""))
        for path in (
            outside,
            f"{self.folder}/../outside.xml",
            f"{self.folder}/deep/../inside.xml",
            f"{self.folder}-not/inside.xml",
            f"{self.folder}/missing.xml",
            f"{self.folder}/deep",
            self.folder,
            f"{self.folder}/",
            "/etc/hostname",
        ):
            self.assert_unreadable(f"test://{path}")

    def test_no_links(self) -> None:
        """Symbolic links are refused, as the file and on the way to it."""
        outside = self.top / "outside.xml"
        outside.write_text("<node/>")
        self.write("inside.xml", "<node/>")
        (self.folder / "link.xml").symlink_to(outside)
        (self.folder / "same.xml").symlink_to(self.folder / "inside.xml")
        (self.folder / "way").symlink_to(self.top)
        for name in ("link.xml", "same.xml", "way/outside.xml"):
            self.assert_unreadable(f"test://{self.folder}/{name}")

    def test_no_devices_and_nothing_huge(self) -> None:
        """A pipe does not block the daemon, and a long file is not read."""
        import os

        from remotevirt.drivers.test import node_file

        os.mkfifo(self.folder / "pipe.xml")
        self.assert_unreadable(f"test://{self.folder}/pipe.xml")
        self.patch(node_file, "MAX_FILE", 100)
        self.assert_unreadable(self.write("long.xml", "<node>" + " " * 100 + "</node>"))
        (self.folder / "bytes.xml").write_bytes(b"<node>\xff</node>")
        self.assert_unreadable(f"test://{self.folder}/bytes.xml")

    def test_not_on_read_only_connections(self) -> None:
        """Whoever may not change anything does not choose files either."""
        uri = self.write("node.xml", "<node/>")
        error = self.assertRaises(VirError, connect, self.driver, uri, READ_ONLY)
        self.assertEqual(error.code, 29)

    def test_not_without_the_option(self) -> None:
        """Without ``files`` no file is there."""
        uri = self.write("node.xml", "<node/>")
        self.driver = TestDriver()
        self.assert_unreadable(uri)
