"""Keepalive from the daemon's side: whom it pings, when, and whom it gives up."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc.keepalive import PING_PROCEDURE, PONG
from tests.server.fakes import Client, World

KEEPALIVE = 10
INTERVAL, COUNT = 5, 3


class KeepaliveTests(SynchronousTestCase):
    """Turned by the clock alone."""

    def setUp(self) -> None:
        self.world = World(keepalive_interval=INTERVAL, keepalive_count=COUNT)
        self.world.hypervisor.connect_get_version = lambda: 7

    def asking(self) -> Client:
        """A client that has asked for keepalive."""
        client = self.world.client()
        client.result("connect_supports_feature", KEEPALIVE)
        return client

    def pings(self, client: Client) -> int:
        """How many pings have come."""
        taken = client.take()
        self.assertEqual({(0x6B656570, 1, PING_PROCEDURE)} if taken else set(), {m[:3] for m in taken})
        return len(taken)

    def test_who_has_not_asked_is_not_pinged(self) -> None:
        """A client that never asks may idle for ever, as some cannot answer."""
        client = self.world.opened()
        client.result("connect_supports_feature", 14)
        for _ in range(100):
            self.world.clock.advance(INTERVAL)
        self.assertEqual([], client.take())
        self.assertTrue(client.lives)

    def test_silence_ends_the_connection(self) -> None:
        """After so many pings without an answer, one interval later, at once."""
        client = self.asking()
        for number in range(COUNT):
            self.world.clock.advance(INTERVAL - 1)
            self.assertEqual(0, self.pings(client), number)
            self.world.clock.advance(1)
            self.assertEqual(1, self.pings(client), number)
        self.assertTrue(client.lives)
        self.world.clock.advance(INTERVAL)
        self.assertTrue(client.wire.disconnected)
        client.vanish()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_pongs_keep_it(self) -> None:
        """As long as they come."""
        client = self.asking()
        for _ in range(20):
            self.world.clock.advance(INTERVAL)
            if self.pings(client):
                client.send(PONG)
        self.assertTrue(client.lives)

    def test_anything_keeps_it(self) -> None:
        """Calls, and even part of one; while they come, no ping is sent."""
        limits = self.world.daemon.server.limits
        self.world.daemon.server.set_limits(attrs.evolve(limits, frame_timeout=0))
        client = self.asking()
        _, data = client.pack("connect_get_version")
        for place in range(0, len(data) - 1, 3):
            client.send(data[place : place + 3])
            self.world.clock.advance(INTERVAL)
            self.assertEqual(0, self.pings(client))
        self.assertTrue(client.lives)

    def test_other_clients(self) -> None:
        """Each has its own count."""
        silent, lively = self.asking(), self.asking()
        for _ in range(COUNT + 1):
            lively.send(PONG)
            self.world.clock.advance(INTERVAL)
        self.assertFalse(silent.lives)
        self.assertTrue(lively.lives)

    def test_asked_again(self) -> None:
        """One timer for each client, however often it asks."""
        client = self.asking()
        client.result("connect_supports_feature", KEEPALIVE)
        self.world.clock.advance(INTERVAL)
        self.world.clock.advance(INTERVAL)
        self.assertEqual(1, self.pings(client))

    def test_turned_off(self) -> None:
        """With an interval of 0 or less nobody is pinged; the feature is there, pings are answered."""
        for interval in (0, -1):
            self.world = World(keepalive_interval=interval)
            client = self.world.client()
            self.assertEqual(1, client.result("connect_supports_feature", KEEPALIVE))
            for _ in range(50):
                self.world.clock.advance(10)
            self.assertEqual([], client.take())
            self.assertTrue(client.lives)

    def test_closing_client_is_not_pinged(self) -> None:
        """One that said goodbye is left alone."""
        client = self.asking()
        client.ask("connect_close")
        self.world.turn()
        self.world.clock.advance(INTERVAL)
        self.assertEqual([], client.take())
