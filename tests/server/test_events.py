"""Events: who gets which, in which form, and encoded how often."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverConnection, Event, EventHub
from remotevirt.errors import VirError, XDRError
from remotevirt.server.events import FORMS, EventRelay
from remotevirt.server.limits import CALLBACKS_MAXIMUM
from remotevirt.stubs import constants as vir
from remotevirt.stubs import qemu, remote
from tests.server.fakes import DOMAIN, OTHER, Client, World, lifecycle

LIFECYCLE = vir.VIR_DOMAIN_EVENT_ID_LIFECYCLE
REBOOT = vir.VIR_DOMAIN_EVENT_ID_REBOOT
JOB_COMPLETED = vir.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED
PMWAKEUP = vir.VIR_DOMAIN_EVENT_ID_PMWAKEUP

NETWORK = remote.NonnullNetwork("net", b"n" * 16)
POOL = remote.NonnullStoragePool("pool", b"p" * 16)
DEVICE = remote.NonnullNodeDevice("dev")
SECRET = remote.NonnullSecret(b"s" * 16, 1, "usage")


class Counting:
    """A message that counts how often it is encoded."""

    def __init__(self, msg: Any) -> None:
        self.msg = msg
        self.packed = 0

    def pack(self) -> bytes:
        """Encode."""
        self.packed += 1
        return bytes(self.msg.pack())


class EventCase(SynchronousTestCase):
    """A daemon whose driver publishes events, and a client that has opened."""

    def setUp(self) -> None:
        self.world = World()
        self.hub = self.world.driver.events
        self.client = self.world.opened()

    def register(self, id: int, dom: Any = None, client: Client | None = None) -> int:
        """Register a domain callback."""
        found = (client or self.client).result("connect_domain_event_callback_register_any", id, dom)
        return int(found)

    def names(self, client: Client | None = None) -> list[str]:
        """The procedures of the events that have come."""
        return [name for name, _ in (client or self.client).events()]


class LegacyTests(EventCase):
    """The form without a callback's number."""

    def test_lifecycle(self) -> None:
        """From registering until deregistering."""
        self.hub.publish(lifecycle())
        self.assertEqual(0, self.client.result("connect_domain_event_register"))
        event = lifecycle(DOMAIN, 3, 4)
        self.hub.publish(event)
        self.assertEqual([("domain_event_lifecycle", event.msg)], self.client.events())
        self.assertEqual(0, self.client.result("connect_domain_event_deregister"))
        self.hub.publish(event)
        self.assertEqual([], self.client.events())

    def test_any(self) -> None:
        """By number; the others do not come."""
        self.client.result("connect_domain_event_register_any", REBOOT)
        msg = remote.DomainEventRebootMsg(DOMAIN)
        self.hub.publish(lifecycle())
        self.hub.publish(Event("domain", REBOOT, DOMAIN.uuid, msg))
        self.assertEqual([("domain_event_reboot", msg)], self.client.events())
        self.client.result("connect_domain_event_deregister_any", REBOOT)
        self.hub.publish(Event("domain", REBOOT, DOMAIN.uuid, msg))
        self.assertEqual([], self.client.events())

    def test_twice(self) -> None:
        """Once is enough: the second time is refused, by either call, and changes nothing."""
        self.client.result("connect_domain_event_register_any", LIFECYCLE)
        for call in (("connect_domain_event_register",), ("connect_domain_event_register_any", LIFECYCLE)):
            error = self.client.error(*call)
            self.assertEqual((1, "domain event 0 already registered"), (error.code, error.str2))
        self.hub.publish(lifecycle())
        self.assertEqual(["domain_event_lifecycle"], self.names())

    def test_deregister_what_is_not_registered(self) -> None:
        """Refused."""
        for call in (
            ("connect_domain_event_deregister",),
            ("connect_domain_event_deregister_any", REBOOT),
            ("connect_domain_event_deregister_any", 99999),
        ):
            error = self.client.error(*call)
            self.assertEqual(1, error.code)
            self.assertIn("not registered", error.message)

    def test_only_old_events(self) -> None:
        """Later ones have no such form; unknown ones have none at all."""
        for id in (JOB_COMPLETED, vir.VIR_DOMAIN_EVENT_ID_LAST, 99999, -1):
            error = self.client.error("connect_domain_event_register_any", id)
            self.assertEqual((1, f"unsupported event ID {id}"), (error.code, error.str2))


class CallbackTests(EventCase):
    """The form with a callback's number."""

    def test_each_callback_gets_its_own(self) -> None:
        """With its number, in the order of registration."""
        first, second = self.register(LIFECYCLE), self.register(LIFECYCLE)
        self.assertNotEqual(first, second)
        event = lifecycle()
        self.hub.publish(event)
        wanted = [
            ("domain_event_callback_lifecycle", remote.DomainEventCallbackLifecycleMsg(number, event.msg))
            for number in (first, second)
        ]
        self.assertEqual(wanted, self.client.events())

    def test_both_forms(self) -> None:
        """One client may have both."""
        self.client.result("connect_domain_event_register")
        self.register(LIFECYCLE)
        self.hub.publish(lifecycle())
        self.assertEqual(["domain_event_lifecycle", "domain_event_callback_lifecycle"], self.names())

    def test_filter_by_object(self) -> None:
        """Of one domain only; its name and id do not matter."""
        self.register(LIFECYCLE, DOMAIN._replace(name="renamed", id=-1))
        self.hub.publish(lifecycle(OTHER))
        self.assertEqual([], self.client.events())
        self.hub.publish(lifecycle(DOMAIN))
        self.assertEqual(["domain_event_callback_lifecycle"], self.names())

    def test_filter_by_event(self) -> None:
        """The number counts."""
        self.register(REBOOT)
        self.hub.publish(lifecycle())
        self.assertEqual([], self.client.events())

    def test_deregister(self) -> None:
        """By number, one at a time; numbers are not used again."""
        first, second = self.register(LIFECYCLE), self.register(LIFECYCLE)
        self.assertIsNone(self.client.result("connect_domain_event_callback_deregister_any", first))
        self.hub.publish(lifecycle())
        ((_, msg),) = self.client.events()
        self.assertEqual(second, msg.callbackID)
        self.assertEqual(1, self.client.error("connect_domain_event_callback_deregister_any", first).code)
        self.assertNotIn(self.register(LIFECYCLE), (first, second))

    def test_unknown_numbers(self) -> None:
        """Those of nobody, of another client, of another kind, of a legacy registration."""
        other = self.world.opened()
        numbers = [self.register(LIFECYCLE, client=other) for _ in range(5)]
        network = self.client.result("connect_network_event_register_any", 0, None)
        self.client.result("connect_domain_event_register")
        for number in (-1, numbers[-1], 99999, network, network + 1):
            error = self.client.error("connect_domain_event_callback_deregister_any", number)
            self.assertEqual((1, f"domain event callback {number} not registered"), (error.code, error.str2))
        self.assertEqual(1, self.client.error("connect_secret_event_deregister_any", network).code)
        self.hub.publish(lifecycle())
        self.assertEqual(5, len(other.events()))

    def test_unknown_events(self) -> None:
        """Refused for each kind."""
        for kind in ("domain_event_callback", "network_event", "storage_pool_event", "secret_event"):
            for id in (-1, 100, 1 << 30):
                error = self.client.error(f"connect_{kind}_register_any", id, None)
                self.assertEqual((1, f"unsupported event ID {id}"), (error.code, error.str2), kind)

    def test_too_many(self) -> None:
        """What one client may register is bounded; what it gives back it may register again."""
        numbers = [self.register(LIFECYCLE, OTHER) for _ in range(CALLBACKS_MAXIMUM)]
        error = self.client.error("connect_domain_event_callback_register_any", LIFECYCLE, None)
        self.assertIn(str(CALLBACKS_MAXIMUM), error.message)
        self.assertEqual(1, self.client.error("connect_domain_event_register").code)
        self.client.result("connect_domain_event_callback_deregister_any", numbers[7])
        self.register(LIFECYCLE)
        self.register(LIFECYCLE, client=self.world.opened())

    def test_power_management(self) -> None:
        """In the callback form a reason stands before the event; in the legacy form it does not."""
        self.client.result("connect_domain_event_register_any", PMWAKEUP)
        number = self.register(PMWAKEUP)
        msg = remote.DomainEventPmwakeupMsg(DOMAIN)
        self.hub.publish(Event("domain", PMWAKEUP, DOMAIN.uuid, msg))
        self.assertEqual(
            [
                ("domain_event_pmwakeup", msg),
                ("domain_event_callback_pmwakeup", remote.DomainEventCallbackPmwakeupMsg(number, 0, msg)),
            ],
            self.client.events(),
        )

    def test_later_events(self) -> None:
        """Their own callbackID is replaced by each callback's."""
        numbers = [self.register(JOB_COMPLETED) for _ in range(3)]
        msg = remote.DomainEventCallbackJobCompletedMsg(0, DOMAIN, [])
        self.hub.publish(Event("domain", JOB_COMPLETED, DOMAIN.uuid, msg))
        self.assertEqual(
            [msg._replace(callbackID=number) for number in numbers], [m for _, m in self.client.events()]
        )

    def test_other_kinds(self) -> None:
        """Networks, pools, devices and secrets, each with its object as a filter."""
        for kind, ref, key, msg in (
            ("network", NETWORK, NETWORK.uuid, remote.NetworkEventLifecycleMsg(0, NETWORK, 1, 2)),
            ("storage_pool", POOL, POOL.uuid, remote.StoragePoolEventLifecycleMsg(0, POOL, 1, 2)),
            ("node_device", DEVICE, DEVICE.name, remote.NodeDeviceEventLifecycleMsg(0, DEVICE, 1, 2)),
            ("secret", SECRET, SECRET.uuid, remote.SecretEventLifecycleMsg(0, SECRET, 1, 2)),
        ):
            everything = self.client.result(f"connect_{kind}_event_register_any", 0, None)
            one = self.client.result(f"connect_{kind}_event_register_any", 0, ref)
            self.hub.publish(Event(kind, 0, key, msg))
            self.hub.publish(Event(kind, 0, b"another", msg))
            self.hub.publish(Event("domain", 0, key, msg))
            found = self.client.events()
            self.assertEqual([everything, one, everything], [m.callbackID for _, m in found], kind)
            self.assertEqual({f"{kind}_event_lifecycle"}, {name for name, _ in found})
            self.client.result(f"connect_{kind}_event_deregister_any", everything)
            self.client.result(f"connect_{kind}_event_deregister_any", one)
            self.hub.publish(Event(kind, 0, key, msg))
            self.assertEqual([], self.client.events())

    def test_no_such_objects(self) -> None:
        """A connection without a sub-driver for them has no events of theirs."""
        self.world.driver.result = DriverConnection("fake:///bare", events=self.hub)
        client = self.world.opened()
        for kind in ("network", "storage_pool", "node_device", "secret"):
            error = client.error(f"connect_{kind}_event_register_any", 0, None)
            self.assertEqual(vir.VIR_ERR_NO_SUPPORT, error.code)
            self.assertIn("EventRegisterAny", error.message)


class FormTests(SynchronousTestCase):
    """The table of forms."""

    def test_every_event_is_sent_somehow(self) -> None:
        """Each event procedure of the contract is in the table, save the one of the connection's end."""
        sent = {
            (form.program.name, number) for form in FORMS.values() for number in (form.callback, form.legacy)
        }
        declared = {
            (program.name, procedure.number)
            for program in (remote.PROGRAM, qemu.PROGRAM)
            for procedure in program.procedures.values()
            if procedure.event and procedure.name != "connect_event_connection_closed"
        }
        self.assertEqual(declared, sent - {("remote", None), ("qemu", None)})

    def test_shapes(self) -> None:
        """What is put before an event is what its message begins with."""
        for (kind, id), form in FORMS.items():
            fields = form.program.procedures[form.callback].args._fields
            self.assertEqual("callbackID", fields[0], (kind, id))
            self.assertEqual(form.reason, "reason" in fields[1:2], (kind, id))
            if form.legacy is not None:
                self.assertEqual("msg", fields[-1])
                self.assertEqual(3 if form.reason else 2, len(fields))

    def test_every_number(self) -> None:
        """All of libvirt's domain events."""
        numbers = {id for kind, id in FORMS if kind == "domain"}
        self.assertEqual(set(range(vir.VIR_DOMAIN_EVENT_ID_LAST)), numbers)

    def test_legacy_form_of_the_oldest(self) -> None:
        """Sixteen of them."""
        self.assertEqual(16, sum(form.legacy is not None for form in FORMS.values()))


class FanOutTests(EventCase):
    """One event, many clients."""

    def test_encoded_once(self) -> None:
        """However many callbacks and clients, and in both forms."""
        clients = [self.world.opened() for _ in range(3)]
        for client in clients:
            client.result("connect_domain_event_register")
            self.register(LIFECYCLE, client=client)
        msg = Counting(remote.DomainEventLifecycleMsg(DOMAIN, 1, 2))
        self.hub.publish(Event("domain", LIFECYCLE, DOMAIN.uuid, msg))
        self.assertEqual(1, msg.packed)
        for client in clients:
            self.assertEqual(2, len(client.events()))
        self.assertEqual([], self.client.events())

    def test_not_encoded_for_nobody(self) -> None:
        """An event that nobody wants costs nothing."""
        self.register(LIFECYCLE, OTHER)
        msg = Counting(remote.DomainEventLifecycleMsg(DOMAIN, 1, 2))
        self.hub.publish(Event("domain", LIFECYCLE, DOMAIN.uuid, msg))
        self.assertEqual(0, msg.packed)

    def test_event_that_does_not_encode(self) -> None:
        """It is logged for each who wanted it; its publisher, and other clients, go on."""
        self.register(LIFECYCLE)
        other = self.world.opened()
        self.register(REBOOT, client=other)
        self.hub.publish(lifecycle(DOMAIN._replace(uuid=b"short")))
        self.assertEqual(1, len(self.flushLoggedErrors(XDRError)))
        self.hub.publish(lifecycle())
        self.assertEqual(["domain_event_callback_lifecycle"], self.names())
        self.assertTrue(self.client.lives and other.lives)

    def test_events_during_a_call(self) -> None:
        """They are sent with the call's reply, before it, in one write."""
        self.register(LIFECYCLE)
        self.world.hypervisor.domain_suspend = lambda dom: self.hub.publish(lifecycle(dom))
        writes = self.client.wire.writes
        serial = self.client.begin("domain_suspend", DOMAIN)
        self.assertEqual(writes + 1, self.client.wire.writes)
        self.assertEqual([1, serial], self.client.serials())

    def test_order(self) -> None:
        """As they were published."""
        self.register(LIFECYCLE)
        for number in range(50):
            self.hub.publish(lifecycle(DOMAIN, number % 7, number))
        self.assertEqual(list(range(50)), [msg.msg.detail for _, msg in self.client.events()])

    def test_after_close(self) -> None:
        """Whoever has closed gets none, even if its connection still stands."""
        self.register(LIFECYCLE)
        self.client.ask("connect_close")
        self.hub.publish(lifecycle())
        self.assertEqual([], self.client.events())

    def test_driver_without_events(self) -> None:
        """Registering is possible, nothing comes."""
        connection = self.world.driver.connection()
        connection.events = None
        self.world.driver.result = connection
        client = self.world.opened()
        self.register(LIFECYCLE, client=client)
        self.hub.publish(lifecycle())
        self.assertEqual([], client.events())


class RelayTests(SynchronousTestCase):
    """What may happen while an event is sent: sending can let the client's next calls in."""

    def test_changes_while_sending(self) -> None:
        """Registering and deregistering from within does not disturb the others."""
        sent: list[bytes] = []

        def send(message: bytes, event: Event) -> None:
            sent.append(message)
            if len(sent) == 1:
                relay.register("domain", LIFECYCLE, None)
                relay.deregister("domain", numbers[2])

        relay = EventRelay(send)
        numbers = [relay.register("domain", LIFECYCLE, None) for _ in range(3)]
        relay.deliver(lifecycle())
        self.assertGreaterEqual(len(sent), 2)
        sent.clear()
        sent.append(b"")
        relay.deliver(lifecycle())
        self.assertEqual(4, len(sent))
        self.assertEqual(3, len(relay))

    def test_legacy_deregister_is_by_number_of_the_event(self) -> None:
        """The callbacks of the same event stay."""
        relay = EventRelay(lambda message, event: None)
        relay.register("domain", LIFECYCLE, None)
        relay.register("domain", LIFECYCLE, None, legacy=True)
        relay.deregister_legacy(LIFECYCLE)
        self.assertEqual(1, len(relay))
        self.assertRaises(VirError, relay.deregister_legacy, LIFECYCLE)


class HubTests(SynchronousTestCase):
    """The hub between driver and clients."""

    def test_listening(self) -> None:
        """From listen until its end, which may be said again."""
        hub, heard = EventHub(), list[Event]()
        stop = hub.listen(heard.append)
        event = lifecycle()
        hub.publish(event)
        stop()
        stop()
        hub.publish(event)
        self.assertEqual([event], heard)

    def test_same_listener_twice(self) -> None:
        """Counts twice, and ends one at a time."""
        hub, heard = EventHub(), list[Event]()
        stop = hub.listen(heard.append)
        hub.listen(heard.append)
        hub.publish(lifecycle())
        stop()
        hub.publish(lifecycle())
        self.assertEqual(3, len(heard))

    def test_listener_that_ends_another(self) -> None:
        """Everyone who listened when the event was published may still get it; nothing breaks."""
        hub, heard = EventHub(), list[Event]()
        stops: list[Any] = []
        hub.listen(lambda event: [stop() for stop in stops] and None)
        stops.append(hub.listen(heard.append))
        hub.publish(lifecycle())
        hub.publish(lifecycle())
        self.assertEqual(1, len(heard))

    def test_listener_that_raises(self) -> None:
        """It is logged; the others and the publisher do not notice."""
        hub, heard = EventHub(), list[Event]()

        def broken(event: Event) -> None:
            raise RuntimeError("x")

        hub.listen(broken)
        hub.listen(heard.append)
        hub.publish(lifecycle())
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(1, len(heard))

    def test_repr(self) -> None:
        """An event shows what it is."""
        self.assertIn("domain 0 DomainEventLifecycleMsg", repr(lifecycle()))
