"""Calls of one client beside one another: how many, in which order, and what passes them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc.keepalive import PING, PING_PROCEDURE, PONG, PONG_PROCEDURE
from remotevirt.rpc.message import Kind, pack_call, pack_event, pack_message
from remotevirt.server import protocol as protocol_module
from remotevirt.server.limits import WAITING_BYTES_MAXIMUM, WAITING_MAXIMUM
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain
from tests.server.fakes import DOMAIN, World

NUMBER = remote.PROGRAM.number
LIMIT = 3


class SlowCase(SynchronousTestCase):
    """A driver whose domain_get_autostart waits until the test lets it go on."""

    def setUp(self) -> None:
        self.world = World(max_client_requests=LIMIT)
        self.running: list[Deferred[int]] = []
        self.world.hypervisor.domain_get_autostart = self._begin
        self.world.hypervisor.connect_get_version = lambda: 7
        self.client = self.world.opened()

    def _begin(self, dom: object) -> Deferred[int]:
        self.running.append(Deferred())
        return self.running[-1]

    def slow(self, count: int) -> list[int]:
        """Make so many slow calls in one read; return their serials."""
        calls = [self.client.pack("domain_get_autostart", DOMAIN) for _ in range(count)]
        self.client.send(b"".join(data for _, data in calls))
        return [serial for serial, _ in calls]


class SideBySideTests(SlowCase):
    """``max_client_requests``."""

    def test_so_many_at_once(self) -> None:
        """The others wait, in order, and each that ends lets the next one in."""
        serials = self.slow(6)
        self.assertEqual(LIMIT, len(self.running))
        self.assertEqual([], self.client.take())
        for ended in range(6):
            self.running[ended].callback(1)
            self.assertEqual(min(LIMIT + ended + 1, 6), len(self.running))
        self.assertEqual(serials, self.client.serials())

    def test_replies_overtake(self) -> None:
        """The first to end is answered first."""
        serials = self.slow(3)
        for place in (1, 2, 0):
            self.running[place].callback(1)
        self.assertEqual([serials[place] for place in (1, 2, 0)], self.client.serials())

    def test_quick_calls_overtake_slow_ones(self) -> None:
        """While there is room, a call that is answered at once is answered at once."""
        self.slow(2)
        self.assertEqual(7, self.client.result("connect_get_version"))

    def test_quick_calls_wait_for_room(self) -> None:
        """Without room, they wait as the others do."""
        self.slow(3)
        serial = self.client.begin("connect_get_version")
        self.assertEqual([], self.client.take())
        self.running[1].callback(1)
        self.assertEqual(serial, self.client.serials()[-1])

    def test_order_of_waiting_calls(self) -> None:
        """Over several reads too."""
        order: list[int] = []
        self.world.hypervisor.domain_migrate_get_max_speed = lambda dom, flags: order.append(flags) or 0
        self.slow(3)
        for number in range(0, 20, 2):
            calls = [
                self.client.pack("domain_migrate_get_max_speed", DOMAIN, n) for n in (number, number + 1)
            ]
            self.client.send(b"".join(data for _, data in calls))
        self.assertEqual([], order)
        self.running[0].callback(1)
        self.assertEqual(list(range(20)), order)

    def test_failures_let_the_next_one_in(self) -> None:
        """However a call ends."""
        self.slow(5)
        self.running[0].errback(NoDomain("x"))
        self.running[1].callback("not a number")
        self.assertEqual(1, len(self.flushLoggedErrors()))
        self.assertEqual(5, len(self.running))

    def test_one_client_does_not_wait_for_another(self) -> None:
        """The limit is each client's own."""
        self.slow(10)
        self.assertEqual(7, self.world.opened().result("connect_get_version"))

    def test_calls_that_end_within_one_another(self) -> None:
        """A result that makes the next call end at once: each is answered once."""
        serials = self.slow(30)
        for deferred in self.running:  # grows while it is walked
            deferred.callback(1)
        self.assertEqual(serials, self.client.serials())


class WaitingTests(SlowCase):
    """How much may wait."""

    def test_reading_stops_at_the_maximum(self) -> None:
        """With as many calls waiting as may, the client is not read from; with one less, it is."""
        self.slow(LIMIT + WAITING_MAXIMUM - 1)
        self.assertTrue(self.client.wire.reading)
        self.slow(1)
        self.assertFalse(self.client.wire.reading)
        self.running[0].callback(1)
        self.assertTrue(self.client.wire.reading)

    def test_nothing_is_lost(self) -> None:
        """What waits is served in the end, and reading goes on."""
        serials = self.slow(LIMIT + WAITING_MAXIMUM + 50)
        self.assertFalse(self.client.wire.reading)
        for deferred in self.running:
            deferred.callback(1)
        self.assertEqual(serials, self.client.serials())
        self.assertTrue(self.client.wire.reading)

    def test_bytes_are_counted_too(self) -> None:
        """A few large calls stop reading as well."""
        self.slow(LIMIT)
        size = WAITING_BYTES_MAXIMUM // 4
        for number in range(4):
            self.assertTrue(self.client.wire.reading, number)
            self.client.send(pack_call(NUMBER, 1, 99999, number, bytes(size)))
        self.assertFalse(self.client.wire.reading)
        self.running[0].callback(1)
        self.assertTrue(self.client.wire.reading)
        self.assertEqual(5, len(self.client.take()))

    def test_large_calls_that_need_not_wait(self) -> None:
        """They are served however large they are."""
        for number in range(4):
            self.client.send(pack_call(NUMBER, 1, 99999, number, bytes(WAITING_BYTES_MAXIMUM)))
            self.assertTrue(self.client.wire.reading)
        self.assertEqual(4, len(self.client.take()))

    def test_reading_is_switched_once(self) -> None:
        """Not at every call."""
        self.slow(LIMIT)
        changes: list[str] = []
        wire = self.client.wire
        for name in ("pauseProducing", "resumeProducing"):
            method = getattr(wire, name)
            self.patch(wire, name, lambda name=name, method=method: (changes.append(name), method()))
        self.patch(protocol_module, "WAITING_MAXIMUM", 4)
        self.slow(10)
        for deferred in self.running:
            deferred.callback(1)
        self.assertEqual(["pauseProducing", "resumeProducing"], changes)


class KeepaliveTests(SlowCase):
    """Pings pass everything."""

    def pongs(self) -> int:
        """How many answers to pings have come."""
        taken = self.client.take()
        for message in taken:
            self.assertEqual((0x6B656570, 1, 0, Kind.EVENT), (*message[:2], message.serial, message.kind))
            self.assertEqual(PONG_PROCEDURE, message.procedure)
        return len(taken)

    def test_while_nothing_waits(self) -> None:
        """An idle client's ping is answered, before it has opened too."""
        self.client.send(PING)
        self.assertEqual(1, self.pongs())
        fresh = self.world.client()
        fresh.send(PING)
        self.assertEqual([PONG_PROCEDURE], [message.procedure for message in fresh.take()])

    def test_while_all_requests_are_taken(self) -> None:
        """The first ping, alone, while nothing waits but all requests run."""
        self.slow(LIMIT)
        self.client.send(PING)
        self.assertEqual(1, self.pongs())

    def test_behind_calls_that_wait(self) -> None:
        """In the same read and in a later one, between calls and at their end; the calls keep their order."""
        calls = [self.client.pack("domain_get_autostart", DOMAIN) for _ in range(6)]
        data = b"".join(packed for _, packed in calls[:5]) + PING + calls[5][1] + PING
        self.client.send(data)
        self.assertEqual(2, self.pongs())
        self.client.send(PING)
        self.assertEqual(1, self.pongs())
        for deferred in self.running:
            deferred.callback(1)
        self.assertEqual([serial for serial, _ in calls], self.client.serials())

    def test_with_the_queue_full(self) -> None:
        """What arrives before reading stops is answered."""
        calls = [self.client.pack("domain_get_autostart", DOMAIN)[1] for _ in range(LIMIT + WAITING_MAXIMUM)]
        self.client.send(b"".join(calls) + PING)
        self.assertFalse(self.client.wire.reading)
        self.assertEqual(1, self.pongs())

    def test_pongs_are_not_answered(self) -> None:
        """Nor is anything else of that program."""
        self.client.send(PONG)
        for procedure in (0, 3, 99):
            self.client.send(pack_event(0x6B656570, 1, procedure, b"", serial=0))
        self.client.send(pack_event(0x6B656570, 2, PING_PROCEDURE, b"", serial=0))
        for type_ in (1, 3, 6, 7, -1):
            self.client.send(pack_message(0x6B656570, 1, PING_PROCEDURE, type_, 0, 0))
        self.assertEqual(0, self.pongs())
        self.assertTrue(self.client.lives)


class InOneTurnTests(SynchronousTestCase):
    """A driver that answers later, but before the call has returned to the protocol."""

    def test_result_during_the_call(self) -> None:
        """One reply each, in order."""
        world = World(max_client_requests=1)
        client = world.opened()

        def connect_get_version() -> Any:
            result: Deferred[int] = Deferred()
            result.callback(5)
            return result

        world.hypervisor.connect_get_version = connect_get_version
        calls = [client.pack("connect_get_version") for _ in range(20)]
        client.send(b"".join(data for _, data in calls))
        self.assertEqual([serial for serial, _ in calls], client.serials())
