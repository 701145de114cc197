"""The trace hook: what tracers hear of calls, and that they cannot do harm."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverStream, StreamResult
from remotevirt.errors import VirError
from remotevirt.rpc.message import pack_call
from remotevirt.server import Call, Tracer
from remotevirt.server.dispatch import Dispatcher
from remotevirt.server.traced import TracedDispatcher
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain
from tests.server.fakes import DOMAIN, World, lifecycle

NUMBER = remote.PROGRAM.number


class Recorder(Tracer):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def client_connected(self, client: Any) -> None:
        self.heard.append(("connected", client.id))

    def client_disconnected(self, client: Any, reason: str) -> None:
        self.heard.append(("disconnected", client.id))

    def call_started(self, call: Call) -> None:
        self.heard.append(("started", call.name))

    def call_finished(self, call: Call, payload: bytes) -> None:
        self.heard.append(("finished", call.name, call.result(payload), call.latency))

    def call_failed(self, call: Call, error: VirError) -> None:
        self.heard.append(("failed", call.name, error.code, call.latency))

    def call_cancelled(self, call: Call) -> None:
        self.heard.append(("cancelled", call.name, call.latency))


class TraceTests(SynchronousTestCase):
    """One tracer and a driver whose answers take a second of the clock."""

    def setUp(self) -> None:
        self.recorder = Recorder()
        self.world = World(tracers=[self.recorder])
        self.client = self.world.opened()
        self.recorder.heard.clear()

    def heard(self) -> list[tuple[Any, ...]]:
        """What was heard since the last time."""
        heard, self.recorder.heard = self.recorder.heard, []
        return heard

    def slow(self, value: Any) -> Any:
        """A method that takes a second and gives, or raises, a value."""

        def method(*_: object) -> Any:
            self.world.clock.rightNow += 1
            if isinstance(value, Exception):
                raise value
            return value

        return method

    def test_answered(self) -> None:
        """At once, with the result and how long it took."""
        self.world.hypervisor.domain_get_autostart = self.slow(1)
        self.client.result("domain_get_autostart", DOMAIN)
        name = "domain_get_autostart"
        result = remote.DomainGetAutostartRet(1)
        self.assertEqual([("started", name), ("finished", name, result, 1)], self.heard())

    def test_refused(self) -> None:
        """By the driver, and by the dispatcher."""
        self.world.hypervisor.domain_get_autostart = self.slow(NoDomain("gone"))
        self.client.error("domain_get_autostart", DOMAIN)
        self.assertEqual(("failed", "domain_get_autostart", vir.VIR_ERR_NO_DOMAIN, 1), self.heard()[1])
        self.client.send(pack_call(NUMBER, 1, 9999, 3))
        name = f"{NUMBER:#x}/9999"
        self.assertEqual([("started", name), ("failed", name, vir.VIR_ERR_RPC, 0)], self.heard())
        self.client.send(pack_call(NUMBER, 1, remote.PROGRAM.by_name["domain_get_info"].number, 4))
        self.assertEqual(("failed", "domain_get_info", vir.VIR_ERR_RPC, 0), self.heard()[1])

    def test_later(self) -> None:
        """Results that are awaited: two calls with one serial are told apart."""
        results: list[Deferred[int]] = []

        def later(*_: object) -> Deferred[int]:
            results.append(Deferred())
            return results[-1]

        self.world.hypervisor.domain_get_autostart = later
        procedure = remote.PROGRAM.by_name["domain_get_autostart"]
        data = pack_call(NUMBER, 1, procedure.number, 5, procedure.args(DOMAIN).pack())
        self.client.send(data)
        self.world.clock.advance(1)
        self.client.send(data)
        self.world.clock.advance(1)
        self.assertEqual([("started", procedure.name)] * 2, self.heard())
        results[1].errback(NoDomain("gone"))
        self.assertEqual([("failed", procedure.name, vir.VIR_ERR_NO_DOMAIN, 1)], self.heard())
        results[0].callback(0)
        result = remote.DomainGetAutostartRet(0)
        self.assertEqual([("finished", procedure.name, result, 2)], self.heard())

    def test_deferred_that_has_fired(self) -> None:
        """Counts once."""
        self.world.hypervisor.domain_get_autostart = lambda *_: succeed(1)
        self.client.result("domain_get_autostart", DOMAIN)
        self.assertEqual(["started", "finished"], [event[0] for event in self.heard()])

    def test_stream(self) -> None:
        """The call that opens one ends with its reply."""

        class Empty(DriverStream):
            readable = True

            def read(self, size: int) -> bytes:
                return b""

        self.world.hypervisor.domain_screenshot = lambda *_: StreamResult(Empty(), "image/png")
        self.client.begin("domain_screenshot", DOMAIN, 0, 0)
        heard = self.heard()
        self.assertEqual(["started", "finished"], [event[0] for event in heard])
        self.assertEqual(remote.DomainScreenshotRet("image/png"), heard[1][2])

    def test_client_vanishes(self) -> None:
        """What was in flight is cancelled."""
        self.world.hypervisor.domain_get_autostart = lambda *_: Deferred()
        self.client.begin("domain_get_autostart", DOMAIN)
        self.world.clock.advance(3)
        self.client.vanish()
        self.assertEqual(
            [("cancelled", "domain_get_autostart", 3), ("disconnected", self.client.protocol.id)],
            self.heard()[1:],
        )

    def test_events_and_streams(self) -> None:
        """Sizes are told, of what was really sent."""
        sent: list[Any] = []
        self.patch(self.recorder, "event_sent", lambda client, kind, id, size: sent.append((kind, id, size)))
        self.world.driver.events.publish(lifecycle())
        self.client.result("connect_domain_event_callback_register_any", 0, None)
        self.world.driver.events.publish(lifecycle())
        (message,) = self.client.take()
        self.assertEqual([("domain", 0, 28 + len(message.payload))], sent)

    def test_what_is_no_call(self) -> None:
        """Keepalive is none."""
        from remotevirt.rpc.keepalive import PING

        self.client.send(PING)
        self.assertEqual([], self.heard())

    def test_arguments(self) -> None:
        """They can be looked at."""
        calls: list[Call] = []
        self.patch(self.recorder, "call_started", calls.append)
        self.world.hypervisor.domain_get_autostart = lambda *_: 1
        self.client.result("domain_get_autostart", DOMAIN)
        self.assertEqual(remote.DomainGetAutostartArgs(DOMAIN), calls[0].arguments())
        self.assertIs(self.client.protocol, calls[0].client)

    def test_tracer_that_fails(self) -> None:
        """Is logged, and neither the call nor other tracers notice."""

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(self.recorder, "call_finished", fail)
        self.world.hypervisor.domain_get_autostart = lambda *_: 1
        self.assertEqual(1, self.client.result("domain_get_autostart", DOMAIN))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_nobody_listens(self) -> None:
        """Then the plain dispatcher is used."""
        self.assertIs(Dispatcher, type(World().client().protocol.dispatcher))
        self.assertIs(TracedDispatcher, type(self.client.protocol.dispatcher))
