"""Worlds: what a description makes, how they are brought back, that they do not touch each other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.test import TestDriver
from remotevirt.drivers.test.node_xml import load_world
from remotevirt.errors import VirError
from remotevirt.stubs import constants as vir
from remotevirt.testing import FakeDriver, WorldClock, WorldError, WorldSpec, load_file, memento, read_spec
from remotevirt.testing.building import build
from remotevirt.testing.clock import EPOCH
from remotevirt.testing.driver import WORLDS_MAXIMUM
from tests.testing.worlds import domain, in_memory

LAB = """
base = "default"

[host]
memory = 65536
nodes = 1
sockets = 2
cores = 8
threads = 2

[profile.linux]
boot = 20

[[domain]]
name = "web-%03d"
count = 50
state = "running"
profile = "linux"
disks = ["/images/%s.img"]
interfaces = ["lab"]

[[domain]]
name = "db"
memory = 4096
vcpus = 4
autostart = true
state = "paused"
on_crash = "preserve"

[[network]]
name = "lab"
subnet = "10.1.0.0/24"

[[network]]
name = "six"
subnet = "fd00:1::/64"
active = false

[[pool]]
name = "images"
path = "/images"
volumes = [{ name = "base.img", capacity = 1000, allocation = 10 }]

[[pool]]
name = "full"
path = "/full"
exhausted = true

[[fault]]
procedure = "virDomainDestroy*"
error = "operation_failed"
"""


class DescriptionTests(SynchronousTestCase):
    """From a description to a world."""

    def setUp(self) -> None:
        self.fake = in_memory()
        self.world = self.fake.driver.make_world("lab", LAB)
        self.client = self.fake.connect("lab")

    def test_domains(self) -> None:
        found = self.world.domains()
        self.assertEqual(52, len(found))
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, found["web-050"]["state"])
        self.assertIn("uptime", found["web-001"])
        self.assertEqual(vir.VIR_DOMAIN_PAUSED, found["db"]["state"])
        xml = self.client.call("domain_get_xml_desc", domain(self.client, "web-007"), 0).xml
        self.assertIn("<source file='/images/web-007.img'/>", xml)
        self.assertIn("<source network='lab'/>", xml)
        info = self.client.call("domain_get_info", domain(self.client, "db"))
        self.assertEqual((4096 * 1024, 4), (info.maxMem, info.nrVirtCpu))
        self.assertEqual(1, self.client.call("domain_get_autostart", domain(self.client, "db")).autostart)

    def test_host(self) -> None:
        info = self.client.call("node_get_info")
        self.assertEqual((65536 * 1024, 32, 8), (info.memory, info.cpus, info.cores))

    def test_networks(self) -> None:
        lab = self.client.call("network_lookup_by_name", "lab").net
        xml = self.client.call("network_get_xml_desc", lab, 0).xml
        self.assertIn("<range start='10.1.0.2' end='10.1.0.254'/>", xml)
        six = self.client.call("network_lookup_by_name", "six").net
        self.assertEqual(0, self.client.call("network_is_active", six).active)

    def test_pools(self) -> None:
        images = self.client.call("storage_pool_lookup_by_name", "images").pool
        volume = self.client.call("storage_vol_lookup_by_name", images, "base.img").vol
        self.assertEqual(1000, self.client.call("storage_vol_get_info", volume).capacity)
        full = self.client.call("storage_pool_lookup_by_name", "full").pool
        self.assertEqual(0, self.client.call("storage_pool_get_info", full).available)
        document = "<volume><name>v</name><capacity>9</capacity></volume>"
        error = self.assertRaises(VirError, self.client.call, "storage_vol_create_xml", full, document, 0)
        self.assertIn("Not enough free space", error.message)

    def test_exhaust(self) -> None:
        images = self.client.call("storage_pool_lookup_by_name", "images").pool
        self.world.exhaust("images", free=5)
        self.assertEqual(5, self.client.call("storage_pool_get_info", images).available)
        self.assertRaises(WorldError, self.world.exhaust, "nothing")

    def test_faults(self) -> None:
        self.assertRaises(VirError, self.client.call, "domain_destroy", domain(self.client, "db"))

    def test_the_same_each_time(self) -> None:
        def described(name: str) -> list[str]:
            self.fake.driver.make_world(name, LAB)
            client = self.fake.connect(name)
            return [
                client.call("domain_get_xml_desc", domain(client, one), 0).xml for one in ("web-003", "db")
            ]

        self.assertEqual(described("a"), described("b"))

    def test_documents(self) -> None:
        """A template as a whole document; name and UUID are put in."""
        content = {
            "domain": [
                {
                    "name": "x%d",
                    "count": 2,
                    "xml": "<domain type='test'><name>template</name><memory>1024</memory>"
                    "<os><type>hvm</type></os></domain>",
                }
            ],
            "network": [{"name": "n", "xml": "<network><bridge name='br7'/></network>"}],
        }
        client = in_memory(content).connect()
        first, second = (domain(client, name) for name in ("x1", "x2"))
        self.assertNotEqual(first.uuid, second.uuid)
        self.assertEqual(
            "br7", client.call("network_get_bridge_name", client.call("network_lookup_by_name", "n").net).name
        )

    def test_libvirts_own_xml(self) -> None:
        xml = (
            "<node><domain type='test'><name>only</name><memory>1024</memory>"
            "<os><type>hvm</type></os></domain></node>"
        )
        self.assertEqual({"only"}, set(in_memory({"node": xml}).world().domains()))
        self.assertEqual(read_spec(xml), WorldSpec(node=xml))

    def test_mistakes(self) -> None:
        """Each is told in one line, which says where."""
        for text, words in {
            "a =": "world: Invalid value",
            "colour = 1": "there is no 'colour'",
            "[[domain]]\nmemory = 3": "domain 1: name is missing",
            "[[domain]]\nname = 'x'\ncount = 3": "domain 1: name: many guests",
            "[[domain]]\nname = 'x'\nprofile = 'q'": "there is no profile 'q'",
            "[[domain]]\nname = 'x'\n[[domain]]\nname = 'x'": "domain 'x' is there twice",
            "[[domain]]\nname = 'x'\nmemory = '1G'": "memory: a whole number",
            "[[domain]]\nname = 'x'\nstate = 'off'": "state: one of shut off",
            "[[domain]]\nname = 'x'\ndisks = [{ sauce = '/x' }]": "disks: there is no 'sauce'",
            "[[domain]]\nname = 'x'\nxml = '<domain'": "",
            "[[domain]]\nname = 'x'\npersistent = false": "persistent:",
            "[[network]]\nname = 'n'\nsubnet = '1.2.3.4/24'": "subnet:",
            "[[network]]\nname = 'n'\nsubnet = '1.2.3.4/32'": "subnet:",
            "[[fault]]\nprocedure = 'x'\nhang = true": "fault 1: procedure",
            "[profile]\nx = 3": "profile x: a table",
            "[host]\ncores = 0": "host: cores",
            "<node><domain/></node>": "",
            "base: empty": "a world is written in TOML or libvirt's XML",
        }.items():
            error = self.assertRaises(WorldError, self.fake.driver.make_world, "bad", text)
            self.assertIn(words, str(error), text)
            self.assertNotIn("\n", str(error).strip(), text)
        self.assertNotIn("bad", self.fake.driver.worlds)

    def test_files(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "lab.toml").write_text(LAB)
        self.assertEqual(read_spec(LAB), load_file(folder / "lab.toml"))
        (folder / "odd").write_bytes(b"\xff")
        for name in ("odd", "missing", "."):
            self.assertRaises(WorldError, load_file, folder / name)

    def test_base_is_libvirts(self) -> None:
        """With nothing said the world is that of libvirt's test driver, to the byte."""
        spec = WorldSpec(base="default")
        from remotevirt.drivers.test.default_world import NODE, default_world

        ours, theirs = build(spec, time.time_ns), default_world()
        self.assertEqual(theirs.capabilities, ours.capabilities)
        self.assertEqual(list(theirs.by_uuid), list(ours.by_uuid))
        self.assertEqual(set(load_world(NODE, "x", theirs.node).by_name), set(ours.by_name))


class MementoTests(SynchronousTestCase):
    """Snapshots and going back."""

    def setUp(self) -> None:
        self.fake = in_memory()
        self.world = self.fake.world()
        self.client = self.fake.connect()

    def test_a_world_that_lasts(self) -> None:
        """It is refused, and not half remembered."""
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        driver = TestDriver(state=folder)
        self.addCleanup(driver.stop)
        assert driver.lasting is not None
        world, _ = driver.lasting.get("default")
        with self.assertRaisesRegex(WorldError, "a world that lasts"):
            memento.remember(world)

    def xml(self, name: str = "test") -> str:
        """A domain's document, by the client that has been connected all the time."""
        return str(self.client.call("domain_get_xml_desc", domain(self.client, name), 0).xml)

    def everything(self) -> dict[str, Any]:
        """What clients can see of all kinds of objects."""
        call = self.client.call
        found = {one.name: self.xml(one.name) for one in call("connect_list_all_domains", 1, 0).domains}
        for one in call("connect_list_all_networks", 1, 0).nets:
            found[one.name] = call("network_get_xml_desc", one, 0).xml
        for one in call("connect_list_all_storage_pools", 1, 0).pools:
            found[one.name] = call("storage_pool_get_xml_desc", one, 0).xml
            for volume in call("storage_pool_list_all_volumes", one, 1, 0).vols:
                found[volume.name] = call("storage_vol_get_xml_desc", volume, 0).xml
        for one in call("connect_list_all_interfaces", 1, 0).ifaces:
            found[one.name] = call("interface_get_xml_desc", one, 0).xml
        for one in call("connect_list_all_node_devices", 1, 0).devices:
            found[one.name] = call("node_device_get_xml_desc", one.name, 0).xml
        return found

    def test_reset(self) -> None:
        """All kinds of objects come back, for clients that stay connected."""
        before = self.everything()
        call = self.client.call
        dom = domain(self.client)
        call("domain_destroy", dom)
        call("domain_undefine", dom)
        call("network_destroy", call("network_lookup_by_name", "default").net)
        pool = call("storage_pool_lookup_by_name", "default-pool").pool
        call("storage_vol_create_xml", pool, "<volume><name>v</name><capacity>9</capacity></volume>", 0)
        call("storage_pool_destroy", pool)
        call(
            "domain_define_xml",
            "<domain type='test'><name>n</name><memory>1</memory><os><type>hvm</type></os></domain>",
        )
        self.world.fault(error=1)
        self.world.reset()
        self.assertEqual(before, self.everything())
        self.assertEqual([], self.world.faults())
        self.assertEqual("connect_list_all_domains", self.world.calls()[0].procedure)

    def test_snapshot_of_everything_domains_have(self) -> None:
        """Metadata, snapshots and checkpoints too."""
        call = self.client.call
        dom = domain(self.client)
        call("domain_set_metadata", dom, 2, "<a x='1'/>", "k", "urn:x", 0)
        call("domain_snapshot_create_xml", dom, "<domainsnapshot><name>s</name></domainsnapshot>", 0)
        before = self.xml()
        self.assertIn("urn:x", before)
        self.world.snapshot("one")
        call("domain_set_metadata", dom, 2, None, "k", "urn:x", 0)
        snapshot = call("domain_snapshot_lookup_by_name", dom, "s", 0).snap
        call("domain_snapshot_delete", snapshot, 0)
        self.world.restore("one")
        self.assertEqual(before, self.xml())
        self.assertEqual(1, call("domain_snapshot_num", dom, 0).num)

    def test_snapshots_are_apart(self) -> None:
        """What happens later changes no snapshot, however often it is brought back."""
        call = self.client.call
        self.world.snapshot()
        for _ in range(3):
            call("domain_suspend", domain(self.client))
            self.assertEqual(vir.VIR_DOMAIN_PAUSED, self.world.domains()["test"]["state"])
            self.world.restore()
            self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.world.domains()["test"]["state"])
        self.assertRaises(WorldError, self.world.restore, "other")

    def test_lives(self) -> None:
        """Guests are as old again as they were, and what was before them comes."""
        self.world.behave("test", agent=30)
        self.world.advance(10)
        self.world.snapshot()
        self.world.advance(100)
        self.client.call("domain_destroy", domain(self.client))
        self.world.restore()
        self.assertEqual(10, self.world.domains()["test"]["uptime"])
        self.world.advance(19)
        self.assertFalse(self.world.domains()["test"]["agent"])
        self.world.advance(1)
        self.assertTrue(self.world.domains()["test"]["agent"])

    def test_events_go_on(self) -> None:
        """Who listened listens still."""
        self.client.call("connect_domain_event_callback_register_any", 0, None)
        self.world.reset()
        self.client.call("domain_suspend", domain(self.client))
        self.assertTrue(self.client.connected)
        self.assertEqual(1, len(self.client.events))

    def test_lists_are_not_those_of_before(self) -> None:
        """No list that was kept survives."""
        self.world.snapshot()
        self.client.call("domain_destroy", domain(self.client))
        self.assertEqual(0, self.client.call("connect_list_all_domains", 1, 1).ret)
        self.world.restore()
        self.assertEqual(1, self.client.call("connect_list_all_domains", 1, 1).ret)
        self.assertEqual(0, self.client.call("connect_list_all_domains", 1, 2).ret)

    def test_a_memento_is_of_its_world_only(self) -> None:
        """Another world's contents are not shared."""
        other = self.fake.world("other")
        memento.recall(other.world, memento.remember(self.world.world))
        other.crash("test")
        self.assertTrue(self.world.domains()["test"]["active"])


class ManyWorldsTests(SynchronousTestCase):
    """``test:///NAME``."""

    def test_isolated(self) -> None:
        fake = in_memory()
        clients = [fake.connect(f"w{number}") for number in range(100)]
        clients[7].call("domain_destroy", domain(clients[7]))
        fake.world("w7").advance(50)
        active = [fake.world(f"w{number}").domains()["test"]["active"] for number in range(100)]
        self.assertEqual(99, sum(active))
        self.assertEqual((50, 0), (fake.world("w7").time(), fake.world("w8").time()))

    def test_they_last(self) -> None:
        """A world stays when its last client has gone, unlike libvirt's."""
        fake = in_memory()
        client = fake.connect()
        client.call("domain_destroy", domain(client))
        client.close()
        self.assertFalse(fake.world().domains()["test"]["active"])
        fake.driver.forget_world("default")
        self.assertTrue(fake.world().domains()["test"]["active"])

    def test_names(self) -> None:
        fake = in_memory()
        for name in ("-x", "a b", "x" * 65, ".."):
            self.assertRaises(WorldError, fake.world, name)
            self.assertRaises(VirError, fake.connect, name)
        self.assertRaises(VirError, fake.connect, "")
        self.assertRaises(VirError, fake.connect, "a/b")

    def test_not_too_many(self) -> None:
        fake = in_memory({})
        for number in range(WORLDS_MAXIMUM):
            fake.world(f"w{number}")
        self.assertRaises(VirError, fake.connect, "more")
        fake.connect("w1")

    def test_options(self) -> None:
        for options in ({"clock": "slow"}, {"fault": "x"}, {"world": "/nowhere.toml"}, {"world": True}):
            self.assertRaises(ValueError, FakeDriver, **options)
        driver = FakeDriver(fault="error=1,count=1;procedure=domain_*,hang=true", clock="manual")
        self.assertEqual(2, len(driver.world("x").faults()))


class ClockTests(SynchronousTestCase):
    """``WorldClock``."""

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.floats(0, 100), max_size=20), st.lists(st.floats(0, 30), max_size=10))
    def test_each_timer_at_its_own_time(self, delays: list[float], steps: list[float]) -> None:
        clock = WorldClock()
        rung: list[tuple[float, float]] = []
        for delay in delays:
            clock.call_later(delay, lambda delay=delay: rung.append((delay, clock.seconds())))
        for step in [0, *steps]:
            clock.advance(step)
        self.assertEqual(sorted(delay for delay in delays if delay <= clock.seconds()), [d for d, _ in rung])
        for delay, when in rung:
            self.assertAlmostEqual(delay, when, places=6)

    def test_timers_that_set_timers(self) -> None:
        clock, rung = WorldClock(), []

        def ring() -> None:
            rung.append(clock.seconds())
            clock.call_later(10, ring)

        clock.call_later(10, ring)
        clock.advance(35)
        self.assertEqual([10, 20, 30], rung)
        self.assertEqual(35, clock.seconds())

    def test_too_much_is_an_error(self) -> None:
        clock = WorldClock()

        def ring() -> None:
            clock.call_later(0, ring)

        self.patch(__import__("remotevirt.testing.clock", fromlist=["x"]), "STEPS_MAXIMUM", 100)
        ring()
        self.assertRaises(WorldError, clock.advance, 1)

    def test_now(self) -> None:
        clock = WorldClock()
        clock.advance(1.5)
        self.assertEqual(EPOCH * 10**9 + 1_500_000_000, clock.now())

    def test_auto(self) -> None:
        reactor = Clock()
        reactor.advance(7)
        clock = WorldClock(reactor)
        reactor.advance(3)
        self.assertEqual(3, clock.seconds())
        self.assertRaises(WorldError, clock.advance, 1)
        for bad in (-1, True, float("nan"), 1e12, "1"):
            self.assertRaises(WorldError, WorldClock().advance, bad)
