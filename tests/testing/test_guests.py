"""Guests that behave, by a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs import constants as vir
from remotevirt.testing import Profile, WorldError
from tests.testing.worlds import domain, in_memory, register

AGENT = vir.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE
REBOOT = vir.VIR_DOMAIN_EVENT_ID_REBOOT

LINUX = {
    "boot": 20,
    "agent": 25,
    "lease": 22,
    "shutdown": 5,
    "load": [[10, 1.0], [10, 0.5]],
    "disk_read": 1000,
    "net_send": 500,
}

CONTENT: dict[str, Any] = {
    "base": "default",
    "profile": {"linux": LINUX},
    "domain": [
        {
            "name": "web",
            "profile": "linux",
            "vcpus": 2,
            "disks": ["/a.img"],
            "interfaces": [{"network": "default", "target": "tap0"}],
        }
    ],
}


class GuestTestCase(SynchronousTestCase):
    """A world with one guest that behaves, and one that does not."""

    content = CONTENT

    def setUp(self) -> None:
        self.fake = in_memory(self.content)
        self.world = self.fake.world()
        self.client = self.fake.connect()
        self.dom = domain(self.client, "web")

    def start(self) -> None:
        """Start the guest."""
        self.client.call("domain_create", self.dom)

    @property
    def state(self) -> int:
        """The guest's state."""
        return int(self.world.domains()["web"]["state"])


class LifeTests(GuestTestCase):
    """From start to end."""

    def test_agent(self) -> None:
        register(self.client, AGENT)
        self.start()
        self.world.advance(24.9)
        error = self.assertRaises(VirError, self.client.call, "domain_get_hostname", self.dom, 0)
        self.assertEqual(vir.VIR_ERR_AGENT_UNRESPONSIVE, error.code)
        self.world.advance(0.2)
        self.assertEqual("webhost", self.client.call("domain_get_hostname", self.dom, 0).hostname)
        self.assertTrue(self.client.connected)
        ((name, msg),) = self.client.events
        self.assertEqual(("domain_event_callback_agent_lifecycle", 1), (name, msg.state))

    def test_guests_without_profile_do_everything_at_once(self) -> None:
        other = domain(self.client, "test")
        self.assertEqual("testhost", self.client.call("domain_get_hostname", other, 0).hostname)
        self.client.call("domain_shutdown", other)
        self.assertFalse(self.world.domains()["test"]["active"])

    def test_addresses(self) -> None:
        self.start()
        source = vir.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
        self.assertEqual([], self.client.call("domain_interface_addresses", self.dom, source, 0).ifaces)
        self.world.advance(22)
        (interface,) = self.client.call("domain_interface_addresses", self.dom, source, 0).ifaces
        self.assertEqual(1, len(interface.addrs))

    def test_dhcp(self) -> None:
        """Their network knows the same."""
        network = self.client.call("network_lookup_by_name", "default").net

        def leases(mac: str | None = None) -> list[Any]:
            return list(self.client.call("network_get_dhcp_leases", network, mac, 1, 0).leases)

        self.start()
        self.assertEqual([], leases())
        self.world.advance(22)
        (lease,) = leases()
        source = vir.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
        (interface,) = self.client.call("domain_interface_addresses", self.dom, source, 0).ifaces
        self.assertEqual((interface.addrs[0].addr, interface.hwaddr), (lease.ipaddr, lease.mac))
        self.assertEqual(("virbr0", "webhost"), (lease.iface, lease.hostname))
        self.assertEqual([lease], leases(lease.mac.upper()))
        self.assertEqual([], leases("52:54:00:00:00:00"))

    def test_shutdown(self) -> None:
        register(self.client)
        self.start()
        self.client.call("domain_shutdown", self.dom)
        self.world.advance(19)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state, "it did not hear it, while it booted")
        self.world.advance(1)
        self.client.call("domain_shutdown", self.dom)
        self.client.call("domain_shutdown", self.dom)
        self.world.advance(4.9)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state)
        self.world.advance(0.1)
        self.assertEqual(vir.VIR_DOMAIN_SHUTOFF, self.state)
        self.assertTrue(self.client.connected)
        events = [(msg.msg.event, msg.msg.detail) for _, msg in self.client.events]
        self.assertEqual([(2, 0), (5, vir.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)], events)

    def test_deaf_guest(self) -> None:
        self.world.behave("web", **LINUX, acpi=False)
        self.start()
        self.world.advance(100)
        self.client.call("domain_shutdown", self.dom)
        self.client.call("domain_reboot", self.dom, 0)
        self.world.advance(86400)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state)
        self.client.call("domain_destroy", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_SHUTOFF, self.state)

    def test_reboot(self) -> None:
        register(self.client, REBOOT)
        self.start()
        self.world.advance(30)
        self.client.call("domain_reboot", self.dom, 0)
        self.world.advance(5)
        self.assertTrue(self.client.connected)
        self.assertEqual(1, len(self.client.events))
        self.assertFalse(self.world.domains()["web"]["agent"])
        self.world.advance(25)
        self.assertTrue(self.world.domains()["web"]["agent"])

    def test_reboots_by_itself(self) -> None:
        self.world.behave("web", reboot=3600)
        register(self.client, REBOOT)
        self.start()
        self.world.advance(86400)
        self.assertTrue(self.client.connected)
        self.assertEqual(24, len(self.client.events))

    def test_a_day_of_many(self) -> None:
        """A day passes in a moment, in order, however much happens in it."""
        fake = in_memory(
            {
                "profile": {"busy": {"reboot": 3600, "agent": 30}},
                "domain": [{"name": "g%d", "count": 20, "state": "running", "profile": "busy"}],
            }
        )
        self.assertEqual(86400, fake.world().advance(86400))
        self.assertTrue(all(not one["uptime"] for one in fake.world().domains().values()))

    def test_pause(self) -> None:
        """A paused guest's time stands still."""
        self.start()
        self.world.advance(20)
        self.client.call("domain_suspend", self.dom)
        self.world.advance(1000)
        self.assertEqual(20, self.world.domains()["web"]["uptime"])
        self.client.call("domain_resume", self.dom)
        self.world.advance(4.9)
        self.assertFalse(self.world.domains()["web"]["agent"])
        self.world.advance(0.2)
        self.assertTrue(self.world.domains()["web"]["agent"])

    def test_reset_boots_anew(self) -> None:
        self.start()
        self.world.advance(100)
        self.client.call("domain_reset", self.dom, 0)
        self.assertEqual(0, self.world.domains()["web"]["uptime"])

    def test_panic(self) -> None:
        """What follows is up to ``on_crash``."""
        register(self.client)
        for action, state, events in (
            ("destroy", vir.VIR_DOMAIN_SHUTOFF, [(8, 0), (5, 2)]),
            ("preserve", vir.VIR_DOMAIN_CRASHED, [(8, 0)]),
            ("restart", vir.VIR_DOMAIN_RUNNING, [(8, 0)]),
        ):
            number = ("destroy", "restart", "rename-restart", "preserve").index(action)
            self.client.call("domain_set_lifecycle_action", self.dom, 2, number, 2)
            self.world.behave("web", panic=60)
            self.start()
            self.assertTrue(self.client.connected)
            self.client.events.clear()
            self.world.advance(60)
            self.assertEqual(state, self.state, action)
            self.assertTrue(self.client.connected)
            self.assertEqual(events, [(msg.msg.event, msg.msg.detail) for _, msg in self.client.events])
            if state != vir.VIR_DOMAIN_SHUTOFF:
                self.client.call("domain_destroy", self.dom)

    def test_crash(self) -> None:
        self.world.crash("test")
        self.assertEqual(
            {"active": False, "state": vir.VIR_DOMAIN_SHUTOFF, "reason": vir.VIR_DOMAIN_SHUTOFF_CRASHED},
            self.world.domains()["test"],
        )
        self.assertRaises(WorldError, self.world.crash, "test")
        self.assertRaises(WorldError, self.world.panic, "nobody")

    def test_behave(self) -> None:
        """By pattern, while they run; and back."""
        self.world.behave("*", agent=None)
        other = domain(self.client, "test")
        self.assertRaises(VirError, self.client.call, "domain_get_hostname", other, 0)
        self.world.behave("test")
        self.client.call("domain_get_hostname", other, 0)
        self.assertRaises(WorldError, self.world.behave, "nobody", agent=None)
        self.assertRaises(WorldError, self.world.behave, "test", agnet=None)


class CounterTests(GuestTestCase):
    """What grows."""

    def test_cpu(self) -> None:
        self.start()
        for after, used in ((5, 5), (5, 10), (10, 15), (20, 30)):
            self.world.advance(after)
            info = self.client.call("domain_get_info", self.dom)
            self.assertAlmostEqual(2 * used * 1e9, info.cpuTime, delta=1e3)

    def test_it_goes_on_over_a_reboot(self) -> None:
        self.start()
        self.world.advance(40)
        before = self.client.call("domain_get_info", self.dom).cpuTime
        self.client.call("domain_reboot", self.dom, 0)
        self.world.advance(5)
        self.assertEqual(before + 10e9, self.client.call("domain_get_info", self.dom).cpuTime)

    def test_disk_and_net(self) -> None:
        self.start()
        self.world.advance(30)
        disk = self.client.call("domain_block_stats", self.dom, "vda")
        self.assertEqual((10_000, 0), (disk.rd_bytes, disk.wr_bytes))
        net = self.client.call("domain_interface_stats", self.dom, "tap0")
        self.assertEqual((0, 5_000, 5), (net.rx_bytes, net.tx_bytes, net.tx_packets))

    def bulk(self, stats: int, flags: int = 0) -> dict[str, set[str]]:
        """The groups of bulk statistics of each domain."""
        found = self.client.call("connect_get_all_domain_stats", [], stats, flags).retStats
        return {one.dom.name: {param.field.partition(".")[0] for param in one.params} for one in found}

    def test_bulk(self) -> None:
        self.start()
        theirs = {"state"}
        everything = {"state", "cpu", "balloon", "vcpu", "net", "block"}
        self.assertEqual({"test": theirs, "web": everything}, self.bulk(0))
        cpu = vir.VIR_DOMAIN_STATS_CPU_TOTAL
        self.assertEqual({"test": set(), "web": {"cpu"}}, self.bulk(cpu))
        both = cpu | vir.VIR_DOMAIN_STATS_STATE
        self.assertEqual({"test": {"state"}, "web": {"state", "cpu"}}, self.bulk(both))

    def test_bulk_enforced(self) -> None:
        self.start()
        enforce = vir.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
        self.assertEqual({"cpu"}, self.bulk(vir.VIR_DOMAIN_STATS_CPU_TOTAL, enforce)["web"])
        self.assertRaises(VirError, self.bulk, vir.VIR_DOMAIN_STATS_PERF, enforce)

    def test_bulk_without_lives_is_libvirts(self) -> None:
        enforce = vir.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
        self.assertRaises(VirError, self.bulk, vir.VIR_DOMAIN_STATS_CPU_TOTAL, enforce)


class ProfileTests(SynchronousTestCase):
    """``Profile``."""

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.floats(1, 100), st.floats(0, 1)), min_size=1, max_size=5),
        st.floats(0, 1e6),
        st.floats(0, 1e3),
    )
    def test_busy_never_shrinks(self, load: list[tuple[float, float]], uptime: float, more: float) -> None:
        """Counters grow, and by no more than the time that passes."""
        profile = Profile(load=load)
        grown = profile.busy(uptime + more) - profile.busy(uptime)
        self.assertTrue(-1e-3 <= grown <= more + 1e-3, grown)

    def test_mistakes(self) -> None:
        for bad in ([], [[1]], [[0, 1]], [[1, 2]], "much", -1):
            self.assertRaises(ValueError, Profile, load=bad)
        self.assertRaises(ValueError, Profile, reboot=0.1)
