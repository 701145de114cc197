"""Worlds that last: what is there again after a restart, and what a change that cannot be kept leaves."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from remotevirt.drivers.base import DriverConnection
from remotevirt.drivers.documents import LARGE
from remotevirt.drivers.journal import CHANGING
from remotevirt.drivers.registry import load_driver
from remotevirt.drivers.test import TestDriver
from remotevirt.drivers.test.worlds import MAX_WORLDS
from remotevirt.errors import VirError
from remotevirt.store import Store, StoreError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoConnect, NoDomain, OperationDenied, OperationFailed
from tests.drivers.driving import READ_ONLY, Watcher, connect, domain_xml
from tests.drivers.lasting import (
    CALLS,
    INTERFACE,
    NETWORK,
    POOL,
    UUID,
    VOLUME,
    dom,
    everything,
    open_state,
    what_lasts,
)


class LastingCase(TestCase):
    """A test with a state folder."""

    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        os.mkdir(self.state)

    def open(self) -> DriverConnection:
        """Open the default world; a daemon that had it open before has ended."""
        self.driver, connection = open_state(self.state)
        self.addCleanup(self.driver.stop)
        return connection

    def again(self) -> DriverConnection:
        """Start the daemon anew."""
        self.driver.stop()
        return self.open()

    @property
    def journal(self) -> Any:
        """The journal of the default world."""
        assert self.driver.lasting is not None
        return self.driver.lasting.get("default")[1]


class RestartTests(LastingCase):
    """What is there again."""

    def test_document_read_aside(self) -> Any:
        """What is made of a document that was read aside lasts too."""
        connection: Any = self.open()
        ways = "".join(f"<interface dev='e{number}'/>" for number in range(3000))
        text = f"<network><name>long</name><forward mode='private'>{ways}</forward></network>"

        def check(ref: Any) -> Any:
            again: Any = self.again()
            self.assertEqual(ref, again.network.network_lookup_by_name("long"))
            bad = again.network.network_define_xml(text.replace("private", "bad"))
            return self.assertFailure(bad, VirError)

        return connection.network.network_define_xml(text).addCallback(check)

    def test_everything_that_lasts(self) -> None:
        """After each of many calls a daemon that starts anew finds what the call left."""
        connection: Any = self.open()
        for words, call in CALLS:
            call(connection)
            before = what_lasts(connection)
            connection_after: Any = self.again()
            self.assertEqual(before, what_lasts(connection_after), words)
            # the calls need what runs, so the world itself goes on
            connection.hypervisor.world.keeper.journal.store = self.journal.store

    def test_a_pool_below_zero(self) -> None:
        """What a pool says of its allocation lasts, also where it has wrapped around."""
        connection: Any = self.open()
        storage = connection.storage
        text = (
            f"<pool type='dir'><name>p</name><uuid>{UUID % 1}</uuid><target><path>/p</path></target></pool>"
        )
        pool = storage.storage_pool_define_xml(text, 0)
        storage.storage_pool_create(pool, 0)
        volume = "<volume><name>v</name><capacity>100</capacity></volume>"
        made = storage.storage_vol_create_xml(pool, volume, 0)
        storage.storage_pool_define_xml(text, 0)
        storage.storage_vol_delete(made, 0)
        again: Any = self.again()
        self.assertEqual(2**64 - 100, again.storage.storage_pool_get_info(pool).allocation)

    def test_as_a_host_that_starts(self) -> None:
        """Transient domains are gone, autostart ones run with new ids, the rest is off."""
        connection: Any = self.open()
        hypervisor = connection.hypervisor
        for name in ("a", "b", "c"):
            hypervisor.domain_define_xml(domain_xml(name))
        hypervisor.domain_create(dom(connection, "a"))
        for name in ("b", "c"):
            hypervisor.domain_set_autostart(dom(connection, name), 1)
        hypervisor.domain_create_xml(domain_xml("transient"), 0)
        connection = self.again()
        ids = {ref.name: ref.id for ref in connection.hypervisor.connect_list_all_domains(1, 0).domains}
        self.assertEqual({"test": -1, "a": -1, "b": 1, "c": 2}, ids)
        state = connection.hypervisor.domain_get_state(dom(connection, "b"), 0)
        self.assertEqual((c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED), tuple(state))
        self.assertEqual(0, connection.network.connect_num_of_networks())
        self.assertEqual(1, connection.interface.connect_num_of_interfaces())  # it says onboot

    def test_autostart_of_the_others(self) -> None:
        """Networks and pools start with the host as well."""
        connection: Any = self.open()
        network = connection.network.network_lookup_by_name("default")
        connection.network.network_set_autostart(network, 1)
        pool = connection.storage.storage_pool_lookup_by_name("default-pool")
        connection.storage.storage_pool_set_autostart(pool, 1)
        connection = self.again()
        self.assertEqual(
            (1, 1),
            (connection.network.network_is_active(network), connection.storage.storage_pool_is_active(pool)),
        )

    def test_a_saved_domain_that_starts(self) -> None:
        """Starting with the host uses up the saved state, and that lasts."""
        connection: Any = self.open()
        test = dom(connection, "test")
        connection.hypervisor.domain_set_autostart(test, 1)
        connection.hypervisor.domain_managed_save(test, 0)
        connection = self.again()
        self.assertEqual(0, connection.hypervisor.domain_has_managed_save_image(test, 0))
        connection.hypervisor.domain_set_autostart(test, 0)
        self.assertEqual(0, self.again().hypervisor.domain_has_managed_save_image(test, 0))

    def test_documents_are_read_late(self) -> None:
        """A domain is found and shown without a look into its document, which is there when asked for."""
        connection: Any = self.open()
        connection.hypervisor.domain_define_xml(domain_xml("a", "<title>t</title>"))
        xml = connection.hypervisor.domain_get_xml_desc(dom(connection, "a"), 0)
        connection = self.again()
        record = connection.hypervisor.world.by_name["a"]
        self.assertEqual(65536, connection.hypervisor.domain_get_info(dom(connection, "a")).memory)
        self.assertIsNone(record.live._model)
        self.assertEqual(xml, connection.hypervisor.domain_get_xml_desc(dom(connection, "a"), 0))
        self.assertIsNone(record.live._kept)

    async def test_long_documents(self) -> None:
        """Calls that wait for a document to be read elsewhere keep what they change, and then tell of it."""
        connection: Any = self.open()
        watcher = Watcher(connection)
        long = f"<!-- {'x' * LARGE} -->"
        domain = domain_xml("a", f"<devices><emulator>/e</emulator></devices>{long}", UUID % 1)
        network = NETWORK.format("n", 5).replace("</network>", f"{long}</network>")
        lasted = what_lasts(connection)
        for part, method, xml, arguments in (
            ("hypervisor", "domain_define_xml", domain, ()),
            ("hypervisor", "domain_define_xml", domain.replace("/e<", "/f<"), ()),
            ("network", "network_define_xml", network, ()),
            (
                "storage",
                "storage_pool_define_xml",
                POOL.format("p").replace("</pool>", f"{long}</pool>"),
                (0,),
            ),
            (
                "interface",
                "interface_define_xml",
                INTERFACE.format("e", "none", 1).replace("><", f">{long}<", 1),
                (0,),
            ),
        ):
            result = getattr(getattr(connection, part), method)(xml, *arguments)
            self.assertIsInstance(result, Deferred, method)
            await result
            before, lasted = lasted, what_lasts(connection)
            self.assertNotEqual(before, lasted)
            self.assertEqual(lasted, what_lasts(self.again()), method)
            connection.hypervisor.world.keeper.journal.store = self.journal.store
        self.assertEqual(
            ["domain", "domain", "network", "storage_pool"], [one.kind for one in watcher.events]
        )
        watcher.stop()

    async def test_long_documents_of_parts(self) -> None:
        """The same where a call finds an object before it waits."""
        connection: Any = self.open()
        long = f"<!-- {'x' * LARGE} -->"
        storage, networks = connection.storage, connection.network
        pool = storage.storage_pool_lookup_by_name("default-pool")
        network = networks.network_lookup_by_name("default")
        host = f"<host mac='52:54:00:00:00:01' ip='192.168.122.9'>{long}</host>"
        volume = VOLUME.format("v").replace("</volume>", f"{long}</volume>")
        lasted = what_lasts(connection)
        for call in (
            lambda: networks.network_update(network, 3, 4, -1, host, 0),
            lambda: storage.storage_vol_create_xml(pool, volume, 0),
            lambda: storage.storage_vol_create_xml_from(
                pool, volume.replace(">v<", ">w<"), storage.storage_vol_lookup_by_name(pool, "v"), 0
            ),
        ):
            result = call()
            self.assertIsInstance(result, Deferred)
            await result
            before, lasted = lasted, what_lasts(connection)
            self.assertNotEqual(before, lasted)
            self.assertEqual(lasted, what_lasts(self.again()))
            connection.hypervisor.world.keeper.journal.store = self.journal.store

    def test_undefine_while_it_runs(self) -> None:
        """A running domain that is undefined is transient, and so gone after a restart."""
        connection: Any = self.open()
        connection.hypervisor.domain_undefine(dom(connection, "test"))
        self.assertEqual(1, connection.hypervisor.connect_num_of_domains())
        self.assertEqual({}, self.again().hypervisor.world.by_name)

    def test_what_does_not_last_is_not_written(self) -> None:
        """Calls about running state write nothing."""
        connection: Any = self.open()
        written: list[Any] = []
        self.patch(
            type(self.journal.store), "write", lambda store, puts, drops: written.append((puts, drops))
        )
        test = dom(connection, "test")
        hypervisor = connection.hypervisor
        hypervisor.domain_suspend(test)
        hypervisor.domain_resume(test)
        hypervisor.domain_destroy(test)
        hypervisor.domain_create(test)
        hypervisor.domain_set_metadata(test, 0, "live", None, None, 1)
        self.assertEqual([], written)
        hypervisor.domain_set_metadata(test, 0, "config", None, None, 2)
        self.assertEqual(1, len(written))


class UnkeptTests(LastingCase):
    """Changes that cannot be kept."""

    def break_store(self) -> None:
        """Let no change be kept."""

        def write(*_: Any) -> None:
            raise StoreError("the disk is full")

        self.patch(type(self.journal.store), "write", write)

    def test_as_before(self) -> None:
        """Each of many calls that cannot be kept fails, unheard, and leaves everything as it was."""
        connection: Any = self.open()
        watcher: Any = Watcher(connection)
        store = self.journal.store
        write = type(store).write
        refused = 0
        for words, call in CALLS:
            before = everything(connection)
            watcher.events.clear()
            self.break_store()
            try:
                call(connection)
            except OperationFailed as error:
                refused += 1
                self.assertIn("cannot keep this change: the disk is full", str(error))
                self.assertEqual(before, everything(connection), words)
                self.assertEqual([], watcher.events, words)
                self.patch(type(store), "write", write)
                call(connection)
            self.patch(type(store), "write", write)
        self.assertGreater(refused, 50)

    def test_a_bug_is_undone(self) -> None:
        """What a method had done before it failed in an unforeseen way does not stay."""
        connection: Any = self.open()
        before = everything(connection)

        def broken(*_: Any) -> None:
            raise ZeroDivisionError

        world = connection.hypervisor.world
        self.patch(type(world), "publish", broken)
        with self.assertRaises(ZeroDivisionError):
            connection.hypervisor.domain_define_xml(domain_xml("a"))
        self.assertEqual(before, everything(connection))

    def test_what_is_refused_later(self) -> None:
        """What a refused call had changed before it was refused is kept as it is without a store."""
        connection: Any = self.open()
        pool = connection.storage.storage_pool_lookup_by_name("default-pool")
        connection.storage.storage_pool_destroy(pool)
        connection.nodedev.node_device_destroy("scsi_host11")
        xml = (
            "<pool type='scsi'><name>default-pool</name><uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>"
            "<source><adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/></source>"
            "<target><path>/dev</path></target></pool>"
        )
        with self.assertRaisesRegex(Exception, "scsi_host11"):
            connection.storage.storage_pool_create_xml(xml, 0)
        self.assertEqual({}, connection.storage.pools.by_name)
        self.assertEqual({}, self.again().storage.pools.by_name)

    def test_outside_of_a_call(self) -> None:
        """Nothing changes behind the journal's back."""
        world = self.open().hypervisor.world
        record = world.by_name["test"]
        with self.assertRaisesRegex(RuntimeError, "outside"):
            world.set_autostart(record, True)
        self.assertFalse(record.autostart)
        self.journal.run(world.set_autostart, record, True)
        self.assertTrue(record.autostart)

    def test_events_come_after_the_disk(self) -> None:
        """An event goes out when what it tells is on the disk, in order, and before the call returns."""
        connection: Any = self.open()
        order: list[str] = []
        write = type(self.journal.store).write

        def noted(store: Any, puts: Any, drops: Any) -> None:
            write(store, puts, drops)
            order.append("disk")

        self.patch(type(self.journal.store), "write", noted)
        connection.events.listen(lambda event: order.append(f"event {event.msg.event}"))
        connection.hypervisor.domain_define_xml(domain_xml("a"))
        order.append("reply")
        connection.hypervisor.domain_rename(dom(connection, "a"), "b", 0)
        self.assertEqual(["disk", "event 0", "reply", "disk", "event 1", "event 0"], order)

    def test_a_document_that_is_refused_later(self) -> None:
        """A kept document that cannot be read any more is an error of its domain; the others are served."""
        connection: Any = self.open()
        connection.hypervisor.domain_define_xml(domain_xml("a"))
        connection = self.again()
        record = connection.hypervisor.world.by_name["a"]
        record.live._kept = "<domain/>"
        with self.assertRaisesRegex(Exception, "what was kept of domain 'a' cannot be read"):
            connection.hypervisor.domain_get_xml_desc(dom(connection, "a"), 0)
        self.assertIn(
            "<name>test</name>", connection.hypervisor.domain_get_xml_desc(dom(connection, "test"), 0)
        )
        self.assertEqual(2, len(connection.hypervisor.connect_list_all_domains(1, 0).domains))


class WorldsTests(LastingCase):
    """Worlds of one's own, and where they are."""

    def test_names(self) -> None:
        """Each name is a world; they know nothing of each other, and all of them last."""
        self.open()
        lab = connect(self.driver, "test:///lab-1")
        lab.hypervisor.domain_define_xml(domain_xml("in the lab"))
        with self.assertRaises(NoDomain):
            dom(connect(self.driver), "in the lab")
        self.assertEqual(
            {"default.db", "lab-1.db"},
            {name for name in os.listdir(f"{self.state}/test") if name.endswith(".db")},
        )
        self.driver.stop()
        self.open()
        self.assertEqual("in the lab", dom(connect(self.driver, "test:///lab-1"), "in the lab").name)

    def test_other_paths_are_files(self) -> None:
        """What is no name means a node file, as ever."""
        self.open()
        for uri in ("test:///a.xml", "test:///a/b", "test:///..", "test:///.hidden", f"test:///{'x' * 65}"):
            with self.assertRaisesRegex(Exception, "failed to"):
                connect(self.driver, uri)

    def test_read_only_clients(self) -> None:
        """They open worlds, and make none."""
        self.open()
        connect(self.driver, client=READ_ONLY)
        with self.assertRaises(OperationDenied):
            connect(self.driver, "test:///other", READ_ONLY)
        self.assertFalse(os.path.exists(f"{self.state}/test/other.db"))

    def test_bounded(self) -> None:
        """There are so many worlds and no more."""
        self.open()
        for number in range(MAX_WORLDS - 1):
            with open(f"{self.state}/test/w{number}.db", "wb"):
                pass
        with self.assertRaises(NoConnect):
            connect(self.driver, "test:///more")
        connect(self.driver, "test:///w1")

    def test_a_world_that_cannot_be_opened(self) -> None:
        """Its clients are told why, those of others are served, and it is served once it can be."""
        self.open()
        self.driver.stop()
        path = f"{self.state}/test/default.db"
        os.rename(path, f"{path}.aside")
        with open(path, "wb") as file:
            file.write(b"not a database" * 1000)
        driver = TestDriver(state=self.state)
        self.addCleanup(driver.stop)
        driver.start()
        with self.assertRaisesRegex(OperationFailed, "put a copy back"):
            connect(driver)
        looked = self.patch(Store, "open", None)
        with self.assertRaisesRegex(OperationFailed, "put a copy back"):
            connect(driver)  # the same file is not looked through again
        looked.restore()
        connect(driver, "test:///other")
        os.replace(f"{path}.aside", path)
        self.assertEqual("test", dom(connect(driver), "test").name)

    def test_without_a_folder(self) -> None:
        """Where nothing is to last, nothing changes: the default world begins anew for each first client."""
        driver = TestDriver()
        connection = connect(driver)
        connection.hypervisor.domain_define_xml(domain_xml("a"))
        connection.on_close()
        self.assertEqual(1, len(connect(driver).hypervisor.world.by_name))

    def test_options(self) -> None:
        """The daemon's folder is handed to drivers that want one; what the specification says counts more."""
        other = os.path.abspath(self.mktemp())
        os.mkdir(other)
        self.assertEqual(f"{self.state}/test", load_driver("test", self.state).lasting.folder)
        self.assertEqual(f"{other}/test", load_driver(f"test:state={other}", self.state).lasting.folder)
        self.assertIsNone(load_driver("test").lasting)
        load_driver("tests.quiet_driver:QuietDriver", self.state)
        for wrong in ("test:state", "test:state=here", f"test:state={self.state}/nowhere"):
            with self.assertRaises(ValueError):
                load_driver(wrong)

    def test_which_calls_change(self) -> None:
        """Calls that only look need no journal; all others run through it."""
        for name in (
            "domain_get_xml_desc",
            "connect_list_all_domains",
            "domain_lookup_by_name",
            "domain_get_info",
        ):
            self.assertNotIn(name, CHANGING)
        for name in ("domain_define_xml", "domain_managed_save", "network_update", "interface_change_begin"):
            self.assertIn(name, CHANGING)
