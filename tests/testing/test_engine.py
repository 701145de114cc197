"""What rules do to calls and events, told by a client in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs import constants as vir
from remotevirt.testing import Disconnected, MemoryClient, NoReply
from remotevirt.xdr import DECODE_ERRORS
from tests.testing.worlds import domain, in_memory, register


class EngineTestCase(SynchronousTestCase):
    """A world with libvirt's default contents, and a client."""

    def setUp(self) -> None:
        self.fake = in_memory()
        self.world = self.fake.world()
        self.client = self.fake.connect()
        self.dom = domain(self.client)

    def state(self) -> Any:
        """The domain's state, as a client of its own sees it."""
        return self.world.domains()["test"]["state"]


class CallFaultTests(EngineTestCase):
    """Each way in which a call can go wrong."""

    def test_error(self) -> None:
        self.world.fault(procedure="domain_suspend", error="operation_failed", message="why not", count=1)
        error = self.assertRaises(VirError, self.client.call, "domain_suspend", self.dom)
        self.assertEqual((9, "operation failed: why not"), (error.code, error.message))
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state())
        self.client.call("domain_suspend", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_PAUSED, self.state())

    def test_ignore(self) -> None:
        self.world.fault(procedure="domain_shutdown*", ignore=True)
        self.client.call("domain_shutdown", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state())

    def test_ignore_leaves_calls_with_results_alone(self) -> None:
        self.world.fault(procedure="domain_*", ignore=True)
        self.assertEqual("test", domain(self.client).name)

    def test_delay(self) -> None:
        self.world.fault(procedure="domain_suspend", delay=10)
        serial = self.client.send("domain_suspend", self.dom)
        self.world.advance(9.9)
        self.assertRaises(NoReply, self.client.reply, serial)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state())
        self.world.advance(0.1)
        self.client.reply(serial)
        self.assertEqual(vir.VIR_DOMAIN_PAUSED, self.state())

    def test_delay_then_error(self) -> None:
        self.world.fault(procedure="domain_suspend", delay=[1, 2], error="no_memory", seed=3)
        serial = self.client.send("domain_suspend", self.dom)
        self.world.advance(0.99)
        self.assertRaises(NoReply, self.client.reply, serial)
        self.world.advance(1.01)
        self.assertEqual(2, self.assertRaises(VirError, self.client.reply, serial).code)

    def test_client_leaves_while_it_waits(self) -> None:
        """Nothing happens to the domain, and no timer is left."""
        self.world.fault(procedure="domain_suspend", delay=10)
        self.client.send("domain_suspend", self.dom)
        self.client.close()
        self.world.advance(20)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state())
        self.assertEqual([], self.flushLoggedErrors())

    def test_hang(self) -> None:
        """The call is never answered; others are."""
        self.world.fault(procedure="domain_suspend", hang=True)
        serial = self.client.send("domain_suspend", self.dom)
        self.world.advance(100_000)
        self.assertRaises(NoReply, self.client.reply, serial)
        self.assertEqual("test", domain(self.client).name)
        self.assertTrue(self.client.connected)

    def test_drop_before(self) -> None:
        self.world.fault(procedure="domain_suspend", drop="before")
        self.assertRaises(Disconnected, self.client.call, "domain_suspend", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_RUNNING, self.state())
        self.assertEqual("test", domain(self.fake.connect()).name)

    def test_drop_after(self) -> None:
        self.world.fault(procedure="domain_suspend", drop="after")
        self.assertRaises(Disconnected, self.client.call, "domain_suspend", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_PAUSED, self.state())

    def test_garbage_payload(self) -> None:
        """The reply is a message; what it carries does not decode. The connection goes on."""
        self.world.fault(procedure="domain_lookup_by_name", garbage="payload", count=1)
        self.assertRaises(DECODE_ERRORS, domain, self.client)
        self.assertEqual("test", domain(self.client).name)
        (call,) = self.world.calls("domain_lookup_by_name")[-2:-1]
        self.assertEqual("garbage", call.outcome)

    def test_garbage_frame(self) -> None:
        self.world.fault(procedure="domain_lookup_by_name", garbage="frame")
        self.client.send("domain_lookup_by_name", "test")
        self.assertEqual(b"\xff" * 28, self.client.raw())

    def test_open(self) -> None:
        """Opening a connection can go wrong too, in each way."""
        for action, error in (
            ({"error": "auth_failed"}, VirError),
            ({"drop": "before"}, Disconnected),
            ({"drop": "after"}, Disconnected),
            ({"hang": True}, NoReply),
        ):
            self.world.fault(procedure="connect_open", count=1, **action)
            self.assertRaises(error, self.fake.connect)
        self.assertEqual("test", domain(self.fake.connect()).name)


class AutomaticClockTests(SynchronousTestCase):
    """Rules and guests on the reactor's time."""

    def test_nothing_is_left(self) -> None:
        """When a world is forgotten no timer of its remains, whatever was still to come."""
        fake = in_memory(clock="auto")
        client = fake.connect()
        world = fake.world()
        register(client)
        world.behave("test", agent=50, reboot=100, shutdown=10)
        world.fault(event="domain.*", delay=5)
        world.fault(procedure="domain_resume", delay=5)
        client.call("domain_suspend", domain(client))
        serial = client.send("domain_resume", domain(client))
        fake.reactor.advance(1)
        self.assertEqual(1, world.time())
        fake.reactor.advance(4)
        client.reply(serial)
        client.send("domain_suspend", domain(client))
        client.send("domain_resume", domain(client))
        client.close()
        fake.driver.forget_world("default")
        fake.reactor.advance(0)  # what the daemon itself has put off to its next turn
        self.assertEqual([], fake.reactor.getDelayedCalls())


class WhichCallTests(EngineTestCase):
    """Which calls a rule is about, and when it counts."""

    def codes(self, times: int, client: MemoryClient | None = None) -> list[int]:
        """The error of each of some calls, 0 without one."""
        found = []
        for _ in range(times):
            try:
                domain(client or self.client)
                found.append(0)
            except VirError as error:
                found.append(error.code)
        return found

    def test_after_and_count(self) -> None:
        self.world.fault(procedure="domain_lookup_by_name", error=1, after=2, count=3)
        self.assertEqual([0, 0, 1, 1, 1, 0], self.codes(6))
        (rule,) = self.world.faults()
        self.assertEqual((6, 3), (rule["seen"], rule["done"]))

    def test_probability(self) -> None:
        """It is random, and the same each time for a seed."""
        results = []
        for seed in (1, 1, 2):
            self.world.heal()
            self.world.fault(procedure="domain_lookup_by_name", error=1, probability=0.5, seed=seed)
            results.append(self.codes(40))
        self.assertEqual(results[0], results[1])
        self.assertNotEqual(results[0], results[2])
        self.assertTrue(10 <= sum(results[0]) <= 30, results[0])

    def test_window(self) -> None:
        self.world.fault(procedure="domain_lookup_by_name", error=1, since=10, until=20)
        found = []
        for _ in range(4):
            found += self.codes(1)
            self.world.advance(7)
        self.assertEqual([0, 0, 1, 0], found)

    def test_object(self) -> None:
        """By a name in a reference, a UUID, a plain name, or a document."""
        uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f"
        for pattern, name, args in (
            ("t?st", "domain_suspend", (self.dom,)),
            (uuid, "domain_suspend", (self.dom,)),
            ("te*", "domain_lookup_by_name", ("test",)),
            (uuid, "domain_lookup_by_uuid", (self.dom.uuid,)),
            ("n[aeiou]w", "domain_define_xml", ("<domain><name>new</name></domain>",)),
        ):
            self.world.heal()
            self.world.fault(object=pattern, error=1)
            self.assertEqual(1, self.assertRaises(VirError, self.client.call, name, *args).code, pattern)
        self.world.heal()
        self.world.fault(object="other", error=1)
        self.client.call("domain_suspend", self.dom)

    def test_client(self) -> None:
        other = self.fake.connect()
        self.world.fault(procedure="domain_lookup_by_name", client="#2", error=1)
        self.assertEqual([0], self.codes(1))
        self.assertEqual([1], self.codes(1, other))

    def test_first_rule_decides(self) -> None:
        self.world.fault(procedure="domain_lookup_by_name", error=1, count=1)
        self.world.fault(procedure="domain_*", error=2)
        self.assertEqual([1, 2], self.codes(2))

    def test_names(self) -> None:
        self.assertEqual("mine", self.world.fault(name="mine", hang=True))
        self.assertRaises(ValueError, self.world.fault, name="mine", hang=True)
        self.world.heal("mine")
        self.assertEqual([], self.world.faults())
        self.assertRaises(ValueError, self.world.heal, "mine")

    def test_what_a_driver_calls_itself_does_not_count(self) -> None:
        """domain_shutdown is made of domain_shutdown_flags; a client has made one call."""
        self.world.fault(procedure="domain_shutdown_flags", error=1)
        self.client.call("domain_shutdown", self.dom)
        self.assertEqual(vir.VIR_DOMAIN_SHUTOFF, self.state())

    def test_other_worlds(self) -> None:
        self.world.fault(error=1)
        self.assertEqual("test", domain(self.fake.connect("other")).name)


class EventFaultTests(EngineTestCase):
    """Each way in which an event can go wrong."""

    def setUp(self) -> None:
        super().setUp()
        register(self.client)

    def changes(self) -> list[int]:
        """What the client has heard of: SUSPENDED 3, RESUMED 4."""
        self.assertTrue(self.client.connected)
        return [msg.msg.event for _, msg in self.client.events]

    def suspend_and_resume(self) -> None:
        """Publish two events."""
        self.client.call("domain_suspend", self.dom)
        self.client.call("domain_resume", self.dom)

    def test_none(self) -> None:
        self.suspend_and_resume()
        self.assertEqual([3, 4], self.changes())

    def test_lose(self) -> None:
        self.world.fault(event="domain.lifecycle", lose=True, count=1)
        self.suspend_and_resume()
        self.assertEqual([4], self.changes())

    def test_lost_for_one_client(self) -> None:
        other = self.fake.connect()
        register(other)
        self.world.fault(event="*", client="#2", lose=True)
        self.suspend_and_resume()
        self.assertEqual([3, 4], self.changes())
        self.assertTrue(other.connected)
        self.assertEqual([], other.events)

    def test_duplicate(self) -> None:
        self.world.fault(event="domain.*", object="test", duplicate=True, count=1)
        self.suspend_and_resume()
        self.assertEqual([3, 3, 4], self.changes())

    def test_reorder(self) -> None:
        self.world.fault(event="domain.lifecycle", reorder=True, count=1)
        self.client.call("domain_suspend", self.dom)
        self.assertEqual([], self.changes())
        self.client.call("domain_resume", self.dom)
        self.assertEqual([4, 3], self.changes())

    def test_healing_delivers_what_was_held(self) -> None:
        name = self.world.fault(event="domain.lifecycle", reorder=True)
        self.client.call("domain_suspend", self.dom)
        self.world.heal(name)
        self.assertEqual([3], self.changes())

    def test_delay(self) -> None:
        self.world.fault(event="domain.lifecycle", delay=5, count=1)
        self.suspend_and_resume()
        self.assertEqual([4], self.changes())
        self.world.advance(5)
        self.assertEqual([4, 3], self.changes())

    def test_client_gone(self) -> None:
        """What is late for a client that has gone is dropped."""
        self.world.fault(event="domain.lifecycle", delay=5)
        self.client.call("domain_suspend", self.dom)
        self.client.close()
        self.world.advance(5)
        self.assertEqual([], self.flushLoggedErrors())
