"""How connections end: clients that say goodbye, send nonsense, or vanish."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from remotevirt.drivers import EventHub
from remotevirt.rpc.keepalive import PING
from remotevirt.rpc.message import Kind, pack_call
from remotevirt.server.limits import CLOSING_TIMEOUT
from tests.server.fakes import DOMAIN, lifecycle
from tests.server.large import NUMBER, LargeCase


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
        cancellers = (canceller, cancelled.append, canceller)
        results: list[Deferred[int]] = [Deferred(one) for one in cancellers]
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
