"""Clients that do not read: their calls wait, their events pile up to a bound."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet.defer import Deferred

from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.keepalive import PING
from remotevirt.rpc.message import Kind, Message, parse_message
from remotevirt.server.limits import OUTPUT_HIGH_WATER, UNSENT_MAXIMUM
from tests.server.fakes import DOMAIN, Client, Descriptor, lifecycle
from tests.server.large import KIB, LARGE, LargeCase


class SlowReaderTests(LargeCase):
    """A client that does not read its replies."""

    def test_bounded(self) -> None:
        """Its calls are served until enough is unread; then they wait, and it is not read from."""
        client = self.world.opened(reads=False)
        serials = self.many(client, 200)
        self.assertLess(len(client.wire.unread), OUTPUT_HIGH_WATER + 3 * len(LARGE))
        self.assertLess(self.calls, 8)
        self.assertFalse(client.wire.reading)
        before = self.calls
        while client.wire.unread:
            unread = len(client.wire.unread)
            client.wire.read(unread - 1)
            self.assertEqual(before, self.calls, "not before all is read")
            client.wire.read()
            self.assertGreater(self.calls, before - 1)
            before = self.calls
        self.assertEqual(200, self.calls)
        self.assertTrue(client.wire.reading)
        self.assertEqual(serials, client.serials())

    def test_small_replies_are_bounded_too(self) -> None:
        """Many of them in many reads."""
        client = self.world.opened(reads=False)
        reads = 0
        while client.wire.reading:
            self.many(client, 100, "connect_get_version")
            reads += 1
            self.assertLess(reads, 100)
        self.assertLess(len(client.wire.unread), 128 * KIB)

    def test_other_clients_do_not_notice(self) -> None:
        """They are served meanwhile."""
        slow = self.world.opened(reads=False)
        self.many(slow, 50)
        self.assertEqual(7, self.world.opened().result("connect_get_version"))

    def test_results_that_come_later(self) -> None:
        """They are written, but nothing new begins."""
        results: list[Deferred[int]] = []

        def domain_get_autostart(dom: object) -> Deferred[int]:
            results.append(Deferred())
            return results[-1]

        self.world.hypervisor.domain_get_autostart = domain_get_autostart
        client = self.world.opened(reads=False)
        client.begin("domain_get_autostart", DOMAIN)
        self.many(client, 3)
        self.assertFalse(client.wire.reading)
        size = len(client.wire.unread)
        results[0].callback(1)
        self.assertGreater(len(client.wire.unread), size)
        self.assertFalse(client.wire.reading)

    def test_pings_are_answered_once(self) -> None:
        """However many come while it does not read, one pong is due when it does."""
        client = self.world.opened(reads=False)
        client.send(b"".join(client.pack("connect_get_type")[1] for _ in range(4)) + PING * 10)
        client.wire.read()
        client.wire.read()
        pongs = [message for message in client.take() if message.program == 0x6B656570]
        self.assertEqual(1, len(pongs))

    def test_a_flood_of_pings(self) -> None:
        """Unread pongs are bounded."""
        client = self.world.opened(reads=False)
        for _ in range(1000):
            if client.wire.reading:
                client.send(PING * 1000)
        self.assertLess(len(client.wire.unread), 128 * KIB)

    def test_reading_again_in_small_steps(self) -> None:
        """Replies come whole and in order whatever the steps are."""
        client = self.world.opened(reads=False)
        serials = self.many(client, 5)
        while client.wire.unread:
            client.wire.read(7919)
        messages = client.take()
        self.assertEqual(serials, [message.serial for message in messages])
        self.assertEqual({len(LARGE) + 4}, {len(message.payload) for message in messages})

    def test_keepalive_does_not_count_while_it_is_not_read_from(self) -> None:
        """A client that takes minutes to read a large reply is not dead."""
        client = self.world.opened(reads=False)
        client.begin("connect_supports_feature", 10)
        self.many(client, 3)
        self.assertFalse(client.wire.reading)
        for _ in range(100):
            self.world.clock.advance(5)
        self.assertTrue(client.lives)
        client.wire.read()
        for _ in range(7):
            self.world.clock.advance(5)
        self.assertFalse(client.lives)


class SlowSubscriberTests(LargeCase):
    """A client that registers for events and does not read them."""

    def flood(self, size: int) -> None:
        """Publish events of about so many bytes in all."""
        name = DOMAIN._replace(name="x" * (64 * KIB))
        for _ in range(size // (64 * KIB) + 1):
            self.world.driver.events.publish(lifecycle(name))

    def subscriber(self, reads: bool) -> Client:
        client = self.world.opened(reads=reads)
        client.begin("connect_domain_event_register")
        return client

    def test_dropped_alone(self) -> None:
        """It is cut off with a reason, once; a subscriber that reads gets everything."""
        slow, good = self.subscriber(False), self.subscriber(True)
        self.flood(UNSENT_MAXIMUM // 2)
        self.assertTrue(slow.lives)
        self.flood(UNSENT_MAXIMUM)
        self.assertTrue(slow.wire.disconnected)
        self.assertLess(len(slow.wire.unread), UNSENT_MAXIMUM + 256 * KIB)
        unread = len(slow.wire.unread)
        self.flood(UNSENT_MAXIMUM)
        self.assertEqual(unread, len(slow.wire.unread))
        (reason,) = self.reasons()
        self.assertIn("does not read", reason)
        self.assertTrue(good.lives)
        self.assertGreater(len(good.events()), 2 * UNSENT_MAXIMUM // (64 * KIB))
        slow.vanish()
        self.assertEqual(1, len(self.world.daemon.clients))

    def test_reading_pays_off(self) -> None:
        """What has been read counts no more."""
        client = self.subscriber(False)
        for _ in range(4):
            self.flood(UNSENT_MAXIMUM // 2)
            client.wire.read()
        self.assertTrue(client.lives)

    def test_one_event_for_many_callbacks(self) -> None:
        """A client that is dropped in the middle of an event's callbacks is sent nothing more."""
        client = self.world.opened(reads=False)
        for _ in range(400):
            client.begin("connect_domain_event_callback_register_any", 0, None)
        self.world.driver.events.publish(lifecycle(DOMAIN._replace(name="x" * (64 * KIB))))
        self.assertTrue(client.wire.disconnected)
        self.assertEqual(1, len(self.reasons()))


class SocketTests(LargeCase):
    """A transport that is a descriptor: what is written is sent at once."""

    def setUp(self) -> None:
        super().setUp()
        self.wire = Descriptor()
        self.client = self.world.client(wire=self.wire)
        self.ask("connect_open", None, 0)

    def ask(self, name: str, *fields: Any) -> list[Message]:
        """Call; return what has been sent."""
        self.client.begin(name, *fields)
        return self.sent()

    def sent(self) -> list[Message]:
        """The messages that the system has taken."""
        frames = FrameReader().feed(bytes(self.wire.sent))
        self.wire.sent.clear()
        return [parse_message(frame) for frame in frames]

    def test_at_once(self) -> None:
        """The reply is with the system before the call returns, and nothing is left to do."""
        (reply,) = self.ask("connect_get_version")
        self.assertIs(Kind.REPLY, reply.kind)
        self.assertNotIn("write", self.wire.interest)

    def test_the_rest_later(self) -> None:
        """What the system does not take stays with Twisted, in order."""
        self.wire.room = 10
        self.client.begin("connect_get_version")
        self.client.begin("connect_get_version")
        self.assertEqual(10, len(self.wire.sent))
        self.assertIn("write", self.wire.interest)
        self.wire.room = 1000
        self.wire.writable()
        self.assertEqual(2, len(self.sent()))

    def test_pause_and_go(self) -> None:
        """A full system pauses the client; when it has taken all, calls that wait are served."""
        self.wire.startReading()
        calls = [self.client.pack("connect_get_type") for _ in range(10)]
        self.wire.room = 0
        self.client.send(b"".join(data for _, data in calls))
        self.assertLess(self.calls, 6)
        self.assertNotIn("read", self.wire.interest)
        self.wire.room = 1 << 30
        while "write" in self.wire.interest:
            self.wire.writable()
        self.assertEqual([serial for serial, _ in calls], [message.serial for message in self.sent()])
        self.assertIn("read", self.wire.interest)

    def test_large_replies_in_a_row(self) -> None:
        """Sending at once may ask for more at once; that does not pile up calls upon calls."""
        depth: list[int] = []
        self.world.hypervisor.connect_get_type = lambda: depth.append(len(inspect.stack())) or LARGE
        data = b"".join(self.client.pack("connect_get_type")[1] for _ in range(300))
        self.client.send(data)
        while "write" in self.wire.interest:
            self.wire.writable()
        self.assertEqual(300, len(self.sent()))
        self.assertLess(max(depth) - min(depth), 30)

    def test_event_that_lets_calls_in(self) -> None:
        """Sending an event to a paused client may serve its waiting calls, which register for more."""
        register = ("connect_domain_event_callback_register_any", 0, None)
        for _ in range(3):
            self.ask(*register)
        data = b"".join(self.client.pack(*register)[1] for _ in range(5))
        self.wire.room = 0
        self.client.send(b"".join(self.client.pack("connect_get_type")[1] for _ in range(4)) + data)
        self.wire.room = 1 << 30
        other = self.world.opened()
        other.result("connect_domain_event_register")
        for _ in range(3):
            self.world.driver.events.publish(lifecycle())
        self.assertEqual([], self.flushLoggedErrors())
        self.assertEqual(3, len(other.events()))
        while "write" in self.wire.interest:
            self.wire.writable()
        kinds = [message.kind for message in self.sent()]
        self.assertEqual(9, kinds.count(Kind.REPLY))
        self.assertGreaterEqual(kinds.count(Kind.EVENT), 9)

    def test_close(self) -> None:
        """The reply is sent, then the connection is closed."""
        self.ask("connect_close")
        self.world.turn()
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.aborted)
