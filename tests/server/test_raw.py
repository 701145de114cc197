"""The two seams for drivers that play a broken daemon: replies byte for byte, and the end of a connection."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import RawReply
from tests.server.fakes import World


class RawReplyTests(SynchronousTestCase):
    """``RawReply``."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.opened()
        self.made: list[tuple[bytes, bytes]] = []

    def raw(self, head: bytes, serial: bytes) -> bytes:
        """What is sent in place of the reply."""
        self.made.append((head, serial))
        return (28).to_bytes(4, "big") + head + serial + bytes(4)

    def test_is_sent_as_it_is(self) -> None:
        def answer() -> int:
            raise RawReply("on purpose", self.raw)

        self.world.hypervisor.connect_get_version = answer
        reply = self.client.ask("connect_get_version")
        self.assertEqual(b"", reply.payload)
        self.assertEqual([reply.serial.to_bytes(4, "big")], [serial for _, serial in self.made])

    def test_later(self) -> None:
        """A Deferred that fails with it, and one that does so in time."""
        self.world.hypervisor.connect_get_version = lambda: fail(RawReply("on purpose", self.raw))
        self.assertEqual(b"", self.client.ask("connect_get_version").payload)
        waiting: Deferred[int] = Deferred()
        self.world.hypervisor.connect_get_version = lambda: waiting
        serial = self.client.begin("connect_get_version")
        waiting.errback(RawReply("on purpose", self.raw))
        self.assertEqual(b"", self.client.answer(serial).payload)

    def test_others_are_answered(self) -> None:
        def answer() -> int:
            raise RawReply("on purpose", self.raw)

        self.world.hypervisor.connect_get_version = answer
        self.world.hypervisor.connect_get_type = lambda: "fake"
        self.client.ask("connect_get_version")
        self.assertEqual("fake", self.client.result("connect_get_type"))


class DisconnectTests(SynchronousTestCase):
    """``ClientInfo.disconnect``."""

    def test_disconnect(self) -> None:
        world = World()
        client, other = world.opened(), world.opened()
        _, info = world.driver.opened[0]

        def answer() -> Deferred[int]:
            info.disconnect("on purpose")
            return Deferred()

        world.hypervisor.connect_get_version = answer
        client.begin("connect_get_version")
        self.assertTrue(client.wire.closing)
        self.assertEqual([], client.take())
        client.vanish()
        self.assertFalse(client.lives)
        self.assertTrue(other.lives)
        info.disconnect("again")
        self.assertTrue(other.lives)
