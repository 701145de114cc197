"""Who is let in, how long that may take, and what all together may hold: limits and deadlines."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.rpc.message import Kind, pack_call, vir_error
from remotevirt.server import Limits, ServerFactory
from remotevirt.server.limits import ANONYMOUS_FRAME_MAXIMUM, AUTH_FAILURES_MAXIMUM, TURN_CALLS
from remotevirt.server.unfinished import UnfinishedBudget
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from tests.server.fakes import Client, World

NUMBER = remote.PROGRAM.number


class Refusal(Exception):
    """A mechanism refuses."""

    reason = "the password is wrong"


class FakeExchange:
    """Wants the password ``right`` after one step; ``later`` makes it take its time."""

    layer = None
    username = "alice"

    def __init__(self, service: FakeSasl) -> None:
        self.service = service

    def start(self, mechanism: str, data: bytes | None) -> Any:
        """Begin."""
        self.service.heard.append((mechanism, data))
        return (False, b"challenge")

    def step(self, data: bytes | None) -> Any:
        """Go on."""
        self.service.heard.append(data)
        if self.service.later is not None:
            return self.service.later
        if data != b"right":
            raise Refusal
        return (True, None)

    def close(self) -> None:
        """End."""
        self.service.heard.append("closed")


class FakeSasl:
    """Stands for :class:`remotevirt.auth.SaslService`."""

    def __init__(self) -> None:
        self.mechanisms = "FAKE"
        self.heard: list[Any] = []
        self.later: Deferred[Any] | None = None

    def offered(self, transport: str) -> str:
        """What is offered."""
        return self.mechanisms

    def begin(self, identity: Identity, transport: str) -> FakeExchange:
        """An exchange."""
        return FakeExchange(self)


class SaslCase(SynchronousTestCase):
    """A daemon whose listener wants SASL."""

    limits: dict[str, Any] = {}

    def setUp(self) -> None:
        self.world = World(**self.limits)
        self.sasl = self.world.daemon.sasl = FakeSasl()
        self.world.hypervisor.connect_get_version = lambda: 7

    def client(self) -> Client:
        """A client that has connected."""
        return self.world.client(auth="sasl")

    def login(self, client: Client, password: bytes = b"right") -> Any:
        """Authenticate; return what the last step gives."""
        self.assertEqual("FAKE", client.result("auth_sasl_init"))
        client.result("auth_sasl_start", "FAKE", 1, b"")
        return client.result("auth_sasl_step", 0, password)


class AuthenticationTests(SaslCase):
    """The order of the calls, and what is served before."""

    def test_whole(self) -> None:
        """As a client does it; then it is who it said, and may open."""
        client = self.client()
        self.assertEqual([remote.AuthType.REMOTE_AUTH_SASL], list(client.result("auth_list")))
        self.assertEqual((1, 1, b""), tuple(self.login(client)))
        self.assertEqual([("FAKE", None), b"right"], self.sasl.heard, "not logged out yet")
        self.assertEqual("alice", client.protocol.identity.sasl)
        self.assertEqual([remote.AuthType.REMOTE_AUTH_NONE], list(client.result("auth_list")))
        client.result("connect_open", None, 0)
        self.assertEqual("alice", self.world.driver.opened[0][1].identity.sasl)
        self.assertEqual(7, client.result("connect_get_version"))

    def test_nothing_before(self) -> None:
        """Every call but those of authentication is refused, whatever its arguments, and not looked at."""
        client = self.client()
        for program in self.world.daemon.server.programs.values():
            for procedure in program.procedures.values():
                if procedure.event or procedure.pre_auth:
                    continue
                client.send(pack_call(program.number, program.version, procedure.number, 5))
                error = vir_error(client.answer(5).payload)
                self.assertEqual((vir.VIR_ERR_RPC, "authentication required"), (error.code, error.message))
        self.assertEqual([], self.world.driver.opened)

    def test_wrong_password(self) -> None:
        """The client is told that it failed, and nothing else; it may try again, so many times."""
        client = self.client()
        for _ in range(AUTH_FAILURES_MAXIMUM - 1):
            with self.assertRaises(VirError) as caught:
                self.login(client, b"wrong")
            error: Any = caught.exception
            self.assertEqual((vir.VIR_ERR_AUTH_FAILED, "authentication failed"), (error.code, error.str2))
        self.world.turn()
        self.assertTrue(client.lives)
        self.assertRaises(VirError, self.login, client, b"wrong")
        self.world.turn()
        self.assertFalse(client.lives)

    def test_out_of_order(self) -> None:
        """Start or step without init, init twice, anything after it is complete."""
        for calls in (
            [("auth_sasl_start", "FAKE", 1, b"")],
            [("auth_sasl_step", 1, b"")],
            [("auth_sasl_init",), ("auth_sasl_init",)],
        ):
            client = self.client()
            for call in calls[:-1]:
                client.result(*call)
            self.assertEqual(vir.VIR_ERR_AUTH_FAILED, client.error(*calls[-1]).code)
        client = self.client()
        self.login(client)
        for call in [("auth_sasl_init",), ("auth_sasl_start", "FAKE", 1, b""), ("auth_sasl_step", 1, b"")]:
            self.assertEqual(vir.VIR_ERR_AUTH_FAILED, client.error(*call).code)

    def test_step_while_one_is_under_way(self) -> None:
        """Is out of turn; what the first comes to still counts."""
        client = self.client()
        client.result("auth_sasl_init")
        client.result("auth_sasl_start", "FAKE", 1, b"")
        self.sasl.later = Deferred()
        first = client.begin("auth_sasl_step", 0, b"x")
        self.assertEqual(vir.VIR_ERR_AUTH_FAILED, client.error("auth_sasl_step", 0, b"right").code)
        self.sasl.later.callback((True, None))
        self.assertEqual(Kind.REPLY, client.answer(first).kind)
        self.assertTrue(client.protocol.authenticated)

    def test_bug_in_a_mechanism(self) -> None:
        """Tells the client no more than a wrong password does."""
        client = self.client()
        client.result("auth_sasl_init")
        client.result("auth_sasl_start", "FAKE", 1, b"")
        self.sasl.later = Deferred()
        serial = client.begin("auth_sasl_step", 0, b"x")
        self.sasl.later.errback(ZeroDivisionError("inside"))
        error = vir_error(client.answer(serial).payload)
        self.assertEqual((vir.VIR_ERR_AUTH_FAILED, "authentication failed"), (error.code, error.str2))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_security_layer(self) -> None:
        """What is sent after the last reply is wrapped, and what comes is unwrapped."""

        class Layer:
            def wrap(self, data: bytes) -> bytes:
                return bytes(byte ^ 1 for byte in data)

            unwrap = wrap

        self.patch(FakeExchange, "layer", Layer())
        client = self.client()
        self.login(client)
        self.world.turn()
        serial, data = client.pack("auth_list")
        client.wire.received.clear()
        client.send(Layer().wrap(data))
        self.assertEqual(b"\1\1\1", bytes(client.wire.received[:3]))
        received = Layer().unwrap(bytes(client.wire.received))
        client.wire.received[:] = received
        self.assertEqual(Kind.REPLY, client.answer(serial).kind)

    def test_long_messages(self) -> None:
        """Are for those who have shown who they are."""
        header = pack_call(NUMBER, 1, 1, 1, bytes(ANONYMOUS_FRAME_MAXIMUM))[:28]
        client = self.client()
        client.send(header)
        self.assertFalse(client.lives)
        client = self.client()
        self.login(client)
        client.send(header)
        self.assertTrue(client.lives)

    def test_deadline(self) -> None:
        """Who does not authenticate in time is cut off; who has may idle for ever."""
        slow, quick = self.client(), self.client()
        self.login(quick)
        self.world.clock.advance(Limits().auth_timeout - 0.1)
        self.assertTrue(slow.lives)
        self.world.clock.advance(0.1)
        self.assertTrue(slow.wire.disconnected)
        slow.vanish()
        self.world.clock.advance(1e6)
        self.assertTrue(quick.lives)


class RoomTests(SaslCase):
    """``max_clients``, ``max_anonymous_clients`` and ``max_peer_clients``."""

    limits = {"max_clients": 4, "max_anonymous_clients": 2}

    def test_oldest_anonymous_goes(self) -> None:
        """When one more comes; those who have authenticated stay."""
        known = self.client()
        self.login(known)
        first, second, third = self.client(), self.client(), self.client()
        self.assertTrue(first.wire.disconnected)
        self.assertTrue(all(client.lives for client in (known, second, third)))

    def test_no_bound(self) -> None:
        """0 stands for none."""
        self.world.daemon.server.set_limits(Limits(max_anonymous_clients=0))
        clients = [self.client() for _ in range(100)]
        self.assertTrue(all(client.lives for client in clients))

    def test_full_of_known_clients(self) -> None:
        """The next one is refused."""
        for _ in range(4):
            self.login(self.client())
        self.assertIsNone(self.world.factory(auth="sasl").buildProtocol(None))
        self.assertEqual(1, self.world.factory(auth="sasl").refused)

    def test_anonymous_client_makes_room(self) -> None:
        """For a new one, when all places are taken."""
        for _ in range(3):
            self.login(self.client())
        idle = self.client()
        newcomer = self.client()
        self.assertTrue(idle.wire.disconnected)
        self.login(newcomer)
        self.assertTrue(newcomer.lives)

    def test_listeners_do_not_share(self) -> None:
        """A flood on one leaves room on another."""
        for _ in range(20):
            self.client()
        for _ in range(4):
            self.assertTrue(self.world.client(transport="unix").lives)

    def test_flood_of_one_peer(self) -> None:
        """It costs that peer's own oldest, not somebody else who happens to be older."""
        hosts = iter(["10.0.0.1;1"] + [f"10.0.0.2;{port}" for port in range(10)])
        factory = ServerFactory(
            self.world.daemon.server,
            transport="tcp",
            auth="sasl",
            identify=lambda transport, kind: Identity(kind, next(hosts)),
        )
        self.world._factories[False, "tcp", "sasl"] = factory
        self.world.daemon.server.set_limits(Limits(max_anonymous_clients=3))
        quiet = self.client()
        flood = [self.client() for _ in range(10)]
        self.assertTrue(quiet.lives)
        self.assertEqual([False] * 8 + [True] * 2, [client.lives for client in flood])

    def test_clients_of_one_peer(self) -> None:
        """May be bounded too; when one leaves, another may come."""
        self.world.daemon.server.set_limits(Limits(max_peer_clients=2))
        first, second = self.world.client(), self.world.client()
        third = self.world.client()
        self.assertEqual([True, True, False], [client.lives for client in (first, second, third)])
        first.vanish()
        self.assertTrue(self.world.client().lives)

    def test_cut_off_twice(self) -> None:
        """Cleaning up is done once."""
        victim = self.client()
        self.client(), self.client()
        victim.vanish()
        victim.protocol.connectionLost()
        self.assertNotIn(victim.protocol, self.world.daemon.clients)
        self.assertEqual(2, self.world.daemon.server.anonymous)


class FrameTests(SynchronousTestCase):
    """Messages that do not become whole."""

    def setUp(self) -> None:
        self.world = World()
        self.world.hypervisor.connect_get_version = lambda: 7
        self.client = self.world.opened()
        self.timeout_of_frame = self.world.daemon.server.limits.frame_timeout

    def begin(self, client: Client) -> bytes:
        """Send the first bytes of a call; return the rest."""
        _, data = client.pack("connect_get_version")
        client.send(data[:9])
        return data[9:]

    def test_dropped(self) -> None:
        """After so long, however often a byte more comes."""
        rest = self.begin(self.client)
        for byte in range(5):
            self.world.clock.advance(self.timeout_of_frame / 5 - 0.1)
            self.assertTrue(self.client.lives)
            self.client.send(rest[byte : byte + 1])
        self.world.clock.advance(0.5)
        self.assertFalse(self.client.lives)

    def test_each_message_has_its_time(self) -> None:
        """It counts from the first byte of each."""
        for _ in range(4):
            rest = self.begin(self.client)
            self.world.clock.advance(self.timeout_of_frame - 1)
            self.client.send(rest)
        self.world.clock.advance(1e5)
        self.assertTrue(self.client.lives)
        self.assertEqual(4, len(self.client.take()))

    def test_one_that_is_held_back(self) -> None:
        """It cannot send while it is not read from: that time does not count."""
        waiting: list[Deferred[int]] = []

        def later() -> Deferred[int]:
            waiting.append(Deferred())
            return waiting[-1]

        self.world.hypervisor.connect_get_version = later
        client = self.world.opened()
        while client.wire.reading:
            client.begin("connect_get_version")
        self.begin(client)
        self.world.clock.advance(self.timeout_of_frame * 3)
        self.assertTrue(client.lives)

    def test_no_timer_while_idle(self) -> None:
        """A client that idles costs none."""
        self.client.result("connect_get_version")
        self.world.turn()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_budget(self) -> None:
        """All together may hold so much; who holds most pays."""
        self.world.daemon.unfinished = UnfinishedBudget(maximum=3_000_000)
        small, large = self.world.opened(), self.world.opened()
        header = pack_call(NUMBER, 1, 1, 1, bytes(20_000_000))
        large.send(header[:2_000_000])
        small.send(header[:900_000])
        self.assertTrue(small.lives and large.lives)
        small.send(header[900_000:1_200_000])
        self.assertEqual((True, False), (small.lives, large.lives))
        self.assertEqual(1_200_000, self.world.daemon.unfinished.held)
        small.vanish()
        self.assertEqual(0, self.world.daemon.unfinished.held)


class TurnTests(SynchronousTestCase):
    """Clients with much to ask, and those with little."""

    def test_long_turn_is_cut_short(self) -> None:
        """Calls that take their time wait for the next turn, and are all answered in the end, in order."""
        world = World(max_client_requests=1000)
        greedy = world.opened()

        def slow() -> int:
            world.clock.rightNow += 0.001
            return 7

        world.hypervisor.connect_get_version = slow
        calls = [greedy.pack("connect_get_version") for _ in range(5 * TURN_CALLS)]
        greedy.send(b"".join(data for _, data in calls))
        first = greedy.serials()
        self.assertLess(len(first), len(calls) // 2)
        self.assertEqual(7, world.opened().result("connect_get_version"))
        while len(first) < len(calls):
            before = len(first)
            world.turn()
            first += greedy.serials()
            self.assertGreater(len(first), before)
        self.assertEqual([serial for serial, _ in calls], first)

    def test_limits_can_change(self) -> None:
        """For clients that are there: more calls at once begin when more may."""
        world = World(max_client_requests=2)
        begun: list[Deferred[int]] = []

        def later() -> Deferred[int]:
            begun.append(Deferred())
            return begun[-1]

        client = world.opened()
        world.hypervisor.connect_get_version = later
        for _ in range(6):
            client.begin("connect_get_version")
        self.assertEqual(2, len(begun))
        server = world.daemon.server
        server.set_limits(attrs.evolve(server.limits, max_client_requests=4))
        self.assertEqual(4, len(begun))


class DrainTests(SynchronousTestCase):
    """The daemon ends in order."""

    def test_running_calls_end(self) -> None:
        """They are answered; what has not begun is not; nobody new comes in; then all is over."""
        world = World(max_client_requests=1)
        result: Deferred[int] = Deferred()
        world.hypervisor.connect_get_version = lambda: result
        busy, idle = world.opened(), world.opened()
        serial = busy.begin("connect_get_version")
        busy.begin("connect_get_version")
        ended: list[None] = []
        world.daemon.drain(10).addCallback(ended.append)
        self.assertIsNone(world.factory().buildProtocol(None))
        self.assertEqual((True, False), (busy.lives, idle.lives))
        idle.vanish()
        result.callback(7)
        self.assertEqual([serial], busy.serials())
        self.assertFalse(busy.lives)
        self.assertEqual([], ended)
        busy.vanish()
        self.assertEqual([None], ended)

    def test_clients_are_told(self) -> None:
        """Those that have registered for it."""
        world = World()
        told, other = world.opened(), world.opened()
        told.result("connect_register_close_callback")
        world.daemon.drain(10)
        self.assertEqual(["connect_event_connection_closed"], [name for name, _ in told.events()])
        self.assertEqual([], other.take())

    def test_bound(self) -> None:
        """A call that does not end is not waited for."""
        world = World()
        world.hypervisor.connect_get_version = Deferred
        client = world.opened()
        client.begin("connect_get_version")
        world.daemon.drain(10)
        world.clock.advance(9.9)
        self.assertTrue(client.lives)
        world.clock.advance(0.1)
        self.assertTrue(client.wire.disconnected)

    def test_nobody_there(self) -> None:
        """It is over at once."""
        self.assertIsNone(self.successResultOf(World().daemon.drain(10)))
