"""More handshakes at once than there may be."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from remotevirt.transport.greeting import peer_of
from tests.transport.handshakes import HALF_A_HELLO, PEER, Recorder, TLSTestCase


class FloodTests(TLSTestCase):
    """More handshakes at once than there may be."""

    def stall(self, factory: Any, peer: Any = PEER) -> Recorder:
        """A client that sends half a hello and no more."""
        client, pump = self.connect_plain(factory, peer)
        client.transport.write(HALF_A_HELLO)
        pump.flush()
        self.pumps = [*getattr(self, "pumps", []), pump]
        return client

    def settle(self) -> None:
        for pump in self.pumps:
            pump.flush()

    def test_oldest_gives_way(self) -> None:
        """Whoever comes while the bound is reached is served: the one that has waited longest is not."""
        factory = self.listen(max_handshakes=3)
        idle = [self.stall(factory, IPv4Address("TCP", f"192.0.2.{i}", i)) for i in range(1, 4)]
        self.assertEqual(3, self.endpoint.handshakes)
        client, _ = self.connect(factory, self.options(self.pair))
        self.settle()
        self.assertEqual(b"\x01", client.received)
        self.assertEqual([1, 0, 0], [len(other.lost) for other in idle])
        self.assertEqual(2, self.endpoint.handshakes)
        self.assertEqual([("192.0.2.1;1", "it had to give way to 3 newer TLS handshakes")], self.heard)

    def test_own_oldest_of_a_peer_gives_way(self) -> None:
        """A peer with too many pushes out itself and nobody else."""
        factory = self.listen(max_handshakes=10, max_peer_handshakes=2)
        other = self.stall(factory, IPv4Address("TCP", "192.0.2.99", 1))
        idle = [self.stall(factory) for _ in range(4)]
        self.settle()
        self.assertEqual([1, 1, 0, 0], [len(client.lost) for client in idle])
        self.assertEqual([], other.lost)
        self.assertEqual(3, self.endpoint.handshakes)
        self.assertEqual("it had to give way to 2 newer TLS handshakes of this peer", self.heard[0][1])

    def test_network_is_one_peer(self) -> None:
        """Who has one IPv6 address has 2 to the 64."""
        factory = self.listen(max_peer_handshakes=2)
        idle = [self.stall(factory, IPv6Address("TCP", f"2001:db8::{i}", i)) for i in range(1, 4)]
        other = self.stall(factory, IPv6Address("TCP", "2001:db8:0:1::1", 1))
        self.settle()
        self.assertEqual([1, 0, 0], [len(client.lost) for client in idle])
        self.assertEqual([], other.lost)

    def test_peers(self) -> None:
        for host, peer in {
            "192.0.2.1": "192.0.2.1",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1:2:3:4%eth0": "fe80::/64",
            "::1": "::/64",
            "somewhere": "somewhere",
        }.items():
            self.assertEqual(peer, peer_of(IPv6Address("TCP", host, 1)))
        self.assertEqual("", peer_of(UNIXAddress(b"x")))

    def test_accepted_ones_do_not_count(self) -> None:
        factory = self.listen(max_handshakes=1)
        clients = [self.connect(factory, self.options(self.pair))[0] for _ in range(3)]
        self.assertEqual([b"\x01"] * 3, [client.received for client in clients])
        self.assertEqual([], self.heard)

    def test_long_flood(self) -> None:
        """A thousand stalled handshakes cost a hundred places, and nobody who means it waits."""
        factory = self.listen()
        for i in range(1000):
            self.stall(factory, IPv4Address("TCP", f"10.0.{i % 250}.{i // 250}", i))
        self.assertEqual(100, self.endpoint.handshakes)
        client, _ = self.connect(factory, self.options(self.pair))
        self.assertEqual(b"\x01", client.received)
        self.assertEqual(901, len(self.heard))
