"""Clients that do not read, that say goodbye, and that vanish."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import EventHub
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.keepalive import PING
from remotevirt.rpc.message import Kind, Message, pack_call, parse_message
from remotevirt.server.limits import CLOSING_TIMEOUT, OUTPUT_HIGH_WATER, UNSENT_MAXIMUM
from remotevirt.stubs import remote
from tests.server.fakes import DOMAIN, Client, Descriptor, World, lifecycle

NUMBER = remote.PROGRAM.number
KIB = 1024
LARGE = "x" * (100 * KIB)


class LargeCase(SynchronousTestCase):
    """A driver with a large answer."""

    def setUp(self) -> None:
        self.world = World()
        self.calls = 0
        self.world.hypervisor.connect_get_type = self._large
        self.world.hypervisor.connect_get_version = lambda: 7
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def _large(self) -> str:
        self.calls += 1
        return LARGE

    def many(self, client: Client, count: int, name: str = "connect_get_type") -> list[int]:
        """Make so many calls in one read."""
        calls = [client.pack(name) for _ in range(count)]
        client.send(b"".join(data for _, data in calls))
        return [serial for serial, _ in calls]

    def reasons(self) -> list[str]:
        """Why clients were disconnected, as the log has it."""
        texts = [event for event in self.events if "disconnected" in (event.get("log_format") or "")]
        return [str(event.get("reason", event["log_format"])) for event in texts]


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


class GoodbyeTests(LargeCase):
    """connect_close."""

    def test_reply_then_end(self) -> None:
        """The reply is written first; then the transport is closed, after what is written."""
        client = self.world.opened()
        self.assertIs(Kind.REPLY, client.ask("connect_close").kind)
        self.assertEqual(1, self.world.driver.closed)
        self.assertFalse(client.wire.disconnecting)
        self.world.turn()
        self.assertTrue(client.wire.closing)
        client.vanish()
        self.assertEqual(1, self.world.driver.closed)
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_before_open(self) -> None:
        """There is nothing to close, which is fine."""
        client = self.world.client()
        self.assertIs(Kind.REPLY, client.ask("connect_close").kind)
        self.world.turn()
        self.assertTrue(client.wire.closing)
        self.assertEqual(0, self.world.driver.closed)

    def test_nothing_is_served_behind_it(self) -> None:
        """Calls behind it in the same read, or in later ones, are not: the connection is closed."""
        client = self.world.opened()
        client.result("connect_get_version")
        called: list[int] = []
        self.world.hypervisor.connect_get_version = lambda: called.append(1) or 7
        serial, data = client.pack("connect_close")
        client.send(data + b"".join(client.pack("connect_get_version")[1] for _ in range(3)))
        client.begin("connect_get_version")
        client.send(PING)
        self.assertEqual([serial], client.serials())
        self.assertEqual([], called)

    def test_nothing_is_kept_behind_it(self) -> None:
        """A transport that still delivers, as TLS does until the client says goodbye, fills no memory."""
        client = self.world.opened()
        client.ask("connect_close")
        client.send(pack_call(NUMBER, 1, 4, 5, bytes(1000))[:-1])
        self.assertEqual(0, client.protocol.reader.buffered)
        self.world.turn()
        for _ in range(10):
            client.begin("connect_get_version")
        self.assertEqual(0, len(client.protocol._waiting))

    def test_unread_replies_are_not_lost(self) -> None:
        """A client that closes while large replies are on their way still gets them all."""
        client = self.world.opened(reads=False)
        serials = self.many(client, 2)
        client.wire.read()
        close, data = client.pack("connect_close")
        calls = [client.pack("connect_get_type") for _ in range(2)]
        client.send(b"".join(packed for _, packed in calls) + data)
        self.world.turn()
        self.assertTrue(client.wire.closing, "closed, but not cut off")
        client.wire.read()
        expected = [*serials, *(serial for serial, _ in calls), close]
        self.assertEqual(expected, client.serials())

    def test_a_client_that_stays(self) -> None:
        """One that does not take the end of the connection is cut off after some time."""
        client = self.world.opened()
        client.ask("connect_close")
        self.world.turn()
        self.world.clock.advance(CLOSING_TIMEOUT - 1)
        self.assertTrue(client.wire.closing)
        self.world.clock.advance(2)
        self.assertTrue(client.wire.disconnected)
        client.vanish()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_driver_that_cannot_close(self) -> None:
        """Its exception is logged; the client gets its reply and the connection ends."""

        def on_close() -> None:
            raise RuntimeError("secret")

        connection = self.world.driver.connection()
        connection.on_close = on_close
        self.world.driver.result = connection
        client = self.world.opened()
        self.assertIs(Kind.REPLY, client.ask("connect_close").kind)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.world.turn()
        self.assertTrue(client.wire.closing)
        client.vanish()
        self.assertEqual([], self.flushLoggedErrors())

    def test_calls_in_flight(self) -> None:
        """They are cancelled when the connection is gone, and not answered."""
        cancelled: list[Any] = []
        self.world.hypervisor.domain_get_autostart = lambda dom: Deferred(cancelled.append)
        client = self.world.opened()
        client.begin("domain_get_autostart", DOMAIN)
        client.ask("connect_close")
        self.world.turn()
        client.vanish()
        self.assertEqual(1, len(cancelled))
        self.assertEqual([], client.take())


class BadBytesTests(LargeCase):
    """Bytes that end the connection."""

    def test_reason_is_logged(self) -> None:
        """The connection ends without a reply, and the log says what came."""
        client = self.world.opened()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual([], client.take())
        self.assertTrue(client.wire.closing)
        (reason,) = self.reasons()
        self.assertIn("an HTTP request", reason)

    def test_calls_before_them_are_answered(self) -> None:
        """Then the connection ends; what follows is not even read."""
        client = self.world.opened()
        serial, data = client.pack("connect_get_version")
        client.send(data + b"\0\0\0\0" + data)
        client.send(data)
        self.assertEqual([serial], client.serials())
        self.assertTrue(client.wire.closing)

    def test_events_afterwards(self) -> None:
        """Are not written, though the connection still stands."""
        client = self.world.opened()
        client.result("connect_domain_event_register")
        client.send(b"\0\0\0\0")
        writes = client.wire.writes
        self.world.driver.events.publish(lifecycle())
        client.send(PING)
        self.assertEqual(writes, client.wire.writes)

    def test_results_afterwards(self) -> None:
        """What was in flight, with calls behind it that had stopped reading: nothing is read or served."""
        results: list[Deferred[int]] = []

        def domain_get_autostart(dom: object) -> Deferred[int]:
            results.append(Deferred())
            return results[-1]

        self.world.hypervisor.domain_get_autostart = domain_get_autostart
        client = self.world.opened()
        calls = [client.pack("domain_get_autostart", DOMAIN)[1] for _ in range(300)]
        client.send(b"".join(calls) + b"\0\0\0\0")
        self.assertEqual("paused", client.wire.producerState)
        resumed: list[int] = []
        self.patch(client.wire, "resumeProducing", lambda: resumed.append(1))
        results[0].callback(1)
        self.assertEqual((5, []), (len(results), resumed))

    def test_cut_off_if_it_does_not_read(self) -> None:
        """With much unread, at once."""
        client = self.world.opened(reads=False)
        client.send(b"".join(client.pack("connect_get_type")[1] for _ in range(5)) + b"\0\0\0\0")
        self.assertTrue(client.wire.disconnected)

    def test_cut_off_if_it_stays(self) -> None:
        """And otherwise after some time."""
        client = self.world.opened()
        client.send(b"\0\0\0\0")
        self.world.clock.advance(CLOSING_TIMEOUT + 1)
        self.assertTrue(client.wire.disconnected)

    def test_descriptors_over_tcp(self) -> None:
        """A claim to carry descriptors where none can be passed ends the connection."""
        client = self.world.opened(transport="tcp")
        client.send(pack_call(NUMBER, 1, 4, 1, descriptors=1))
        self.assertTrue(client.wire.closing)


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


class VanishingTests(LargeCase):
    """connectionLost, at any time."""

    def test_in_flight(self) -> None:
        """What is in flight is cancelled; what comes of it is dropped quietly."""
        cancelled: list[Any] = []
        plain: Deferred[int] = Deferred()
        stubborn: Deferred[Any] = Deferred(lambda d: d.callback("no number"))
        failing: Deferred[int] = Deferred(lambda d: d.errback(RuntimeError("on cancel")))
        waiting: Deferred[int] = Deferred(cancelled.append)

        async def coroutine() -> int:
            return await waiting

        results: list[Any] = [plain, stubborn, failing, coroutine()]
        self.world.hypervisor.domain_get_autostart = lambda dom: results.pop(0)
        client = self.world.opened()
        for _ in range(4):
            client.begin("domain_get_autostart", DOMAIN)
        self.assertEqual(4, len(client.protocol.dispatcher.in_flight))
        client.vanish()
        self.assertEqual([waiting], cancelled)
        plain.callback(7)
        self.assertEqual([], client.take())
        self.assertEqual([], self.flushLoggedErrors())
        self.assertEqual(set(), client.protocol.dispatcher.in_flight)
        self.assertEqual(1, self.world.driver.closed)

    def test_canceller_that_raises(self) -> None:
        """It is logged, and everything else is cleaned up all the same."""

        def canceller(deferred: Deferred[int]) -> None:
            raise RuntimeError("cannot")

        cancelled: list[Any] = []
        results = [Deferred(canceller), Deferred(cancelled.append), Deferred(canceller)]
        self.world.hypervisor.domain_get_autostart = lambda dom: results.pop(0)
        client = self.world.opened()
        for _ in range(3):
            client.begin("domain_get_autostart", DOMAIN)
        client.vanish()
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(1, len(cancelled))
        self.assertEqual(1, self.world.driver.closed)
        self.assertEqual([], self.world.daemon.clients)

    def test_twice(self) -> None:
        """The second time there is nothing to do."""
        client = self.world.opened()
        client.begin("connect_supports_feature", 10)
        client.begin("connect_domain_event_register")
        client.vanish()
        client.protocol.connectionLost(Failure(ConnectionDone()))
        client.protocol.session.close()
        self.assertEqual(1, self.world.driver.closed)
        self.world.turn()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_leaves_nothing_behind(self) -> None:
        """No client, no listener, no timer, after any number of them."""
        hub = EventHub()
        self.world.driver.events = hub
        for _ in range(20):
            client = self.world.opened()
            client.begin("connect_supports_feature", 10)
            client.begin("connect_domain_event_callback_register_any", 0, None)
            self.assertEqual(1, len(hub._listeners))
            client.vanish()
        self.assertEqual(0, len(hub._listeners))
        self.assertEqual([], self.world.daemon.clients)
        self.world.turn()
        self.assertEqual([], self.world.clock.getDelayedCalls())
        self.assertEqual(20, self.world.driver.closed)

    def test_waiting_calls_are_not_made(self) -> None:
        """Those that were waiting for their turn are forgotten."""
        made: list[Any] = []

        def domain_get_autostart(dom: object) -> Any:
            made.append(Deferred())
            return made[-1]

        self.world.hypervisor.domain_get_autostart = domain_get_autostart
        client = self.world.opened()
        for _ in range(10):
            client.begin("domain_get_autostart", DOMAIN)
        self.assertEqual(5, len(made))
        client.vanish()
        self.assertEqual(5, len(made))

    def test_events_afterwards(self) -> None:
        """Nothing is written to a client that is gone."""
        client = self.world.opened()
        client.begin("connect_domain_event_register")
        writes = client.wire.writes
        client.vanish()
        self.world.driver.events.publish(lifecycle())
        client.protocol.send(b"late")
        self.assertEqual(writes, client.wire.writes)

    def test_in_the_middle_of_a_frame(self) -> None:
        """What was there of it is dropped."""
        client = self.world.opened()
        client.send(client.pack("connect_get_version")[1][:-1])
        client.vanish()
        self.assertEqual([], self.world.daemon.clients)

    def test_between_goodbye_and_end(self) -> None:
        """The connection is gone before the server comes to close it: there is nothing left to close."""
        client = self.world.opened()
        client.ask("connect_close")
        client.protocol.connectionLost(Failure(ConnectionDone()))
        self.world.turn()
        self.assertFalse(client.wire.disconnecting)
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_before_anything(self) -> None:
        """A connection on which nothing was said."""
        client = self.world.client()
        client.vanish()
        self.assertEqual(([], 0), (self.world.driver.opened, self.world.driver.closed))
