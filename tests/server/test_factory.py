"""The factory, the limits that it keeps, and staying awake."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from remotevirt.server import Daemon, Limits, ServerFactory
from remotevirt.server.limits import DESCRIPTORS_MAXIMUM
from remotevirt.server.linger import CLOSE, MOMENT, TURNS, Linger
from remotevirt.server.protocol import ServerProtocol
from tests.server.fakes import Wire, World


class FactoryTests(SynchronousTestCase):
    """``max_clients``."""

    def test_one_protocol_each(self) -> None:
        """With what the factory knows."""
        factory = ServerFactory(World().daemon.server, readonly=True, transport="tls")
        first, second = factory.buildProtocol(None), factory.buildProtocol(None)
        assert first is not None
        self.assertIsInstance(first, ServerProtocol)
        self.assertIsNot(first, second)
        self.assertEqual((True, "tls"), (first.session.readonly, first.identity.transport))
        self.assertFalse(first.reader.descriptors)

    def test_small_packets_are_not_held_back(self) -> None:
        """Over TCP."""
        wire = Wire()
        directlyProvides(wire, ITCPTransport)
        asked: list[bool] = []
        self.patch(Wire, "setTcpNoDelay", asked.append)
        World().client(wire=wire)
        self.assertEqual([True], asked)

    def test_full(self) -> None:
        """Whoever is too many is refused, with a log line; when one leaves, another may come."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        world = World(max_clients=2)
        clients = [world.client(), world.client()]
        factory = world.factory()
        self.assertIsNone(factory.buildProtocol(None))
        self.assertTrue(any("max_clients" in str(event.get("reason")) for event in events))
        clients[0].vanish()
        self.assertIsNotNone(factory.buildProtocol(None))

    def test_limits_are_frozen(self) -> None:
        """What all clients share does not change under them."""
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            Limits().max_clients = 1

    def test_reactor_of_twisted(self) -> None:
        """It is the clock where no other is given."""
        from twisted.internet import reactor

        self.assertIs(reactor, Daemon([]).reactor)

    def test_descriptors_are_closed(self) -> None:
        """Those that belong to no message, with the client; who passes too many is cut off."""
        world = World()
        client = world.client(transport="unix")
        passed: list[int] = []
        while len(passed) <= DESCRIPTORS_MAXIMUM:
            self.assertTrue(client.lives)
            passed += os.pipe()
            for descriptor in passed[-2:]:
                client.protocol.fileDescriptorReceived(descriptor)
        self.assertTrue(client.wire.disconnected)
        client.vanish()
        for descriptor in passed:
            self.assertRaises(OSError, os.fstat, descriptor)


class Turns:
    """A reactor's clock whose calls wait for the next turn.

    Attributes:
        now: the time.
        calls: what is to be called in the next turn.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[Callable[[], None]] = []

    def seconds(self) -> float:
        """The time."""
        return self.now

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """Call in the next turn."""
        assert delay == 0
        self.calls.append(call)

    def run(self, step: float) -> int:
        """Let turns of so many seconds pass until nothing is to be called; return how many it took."""
        count = 0
        while self.calls and count < 1000:
            count += 1
            self.now += step
            calls, self.calls = self.calls, []
            for call in calls:
                call()
        return count


class LingerTests(SynchronousTestCase):
    """Staying awake between the requests of a conversation."""

    def setUp(self) -> None:
        self.clock = Turns()
        self.linger = Linger(self.clock)

    def test_single_requests(self) -> None:
        """They keep nobody awake."""
        for _ in range(5):
            self.linger.served()
            self.assertEqual([], self.clock.calls)
            self.clock.now += CLOSE * 2

    def test_conversation(self) -> None:
        """Two that follow closely do, for a moment; each further one for another."""
        self.linger.served()
        self.clock.now += CLOSE / 2
        self.linger.served()
        self.assertIn(self.clock.run(MOMENT / 10), (10, 11))
        self.linger.served()
        self.assertIn(self.clock.run(MOMENT / 5), (5, 6))

    def test_one_timer(self) -> None:
        """However many requests there are."""
        for _ in range(50):
            self.linger.served()
        self.assertEqual(1, len(self.clock.calls))

    def test_clock_that_stands_still_or_is_set_back(self) -> None:
        """It does not stay awake until the clock has caught up."""
        for step in (0, -3600):
            self.linger.served()
            self.linger.served()
            self.assertLessEqual(self.clock.run(step), TURNS)
            self.assertEqual([], self.clock.calls)

    def test_twisteds_clock(self) -> None:
        """A test that turns the clock by hand gets out of it again."""
        clock = Clock()
        linger = Linger(clock)
        clock.callLater(1, linger.served)
        clock.callLater(1, linger.served)
        clock.advance(1)
        self.assertEqual([], clock.getDelayedCalls())
