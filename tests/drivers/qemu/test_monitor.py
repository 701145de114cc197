"""The monitor: commands and their answers, deadlines, descriptors, events, and how a link ends."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from twisted.internet.defer import ensureDeferred

from remotevirt.drivers.qemu import monitor as module
from remotevirt.drivers.qemu.monitor import qmp_class, ready
from remotevirt.drivers.qemu.qmp import QmpError
from remotevirt.stubs.errors import InternalError, OperationFailed, OperationTimeout, VirSystemError
from tests.drivers.qemu.monitoring import GREETING, MonitorCase

STOP = {"timestamp": {"seconds": 5, "microseconds": 6}, "event": "STOP"}


class NegotiationTests(MonitorCase):
    """Until commands can be sent."""

    def test_oob(self) -> None:
        ensureDeferred(ready(self.monitor, 5))
        self.say(GREETING)
        (command,) = self.heard()
        self.assertEqual(
            ("qmp_capabilities", {"enable": ["oob"]}), (command["execute"], command["arguments"])
        )
        self.assertFalse(self.monitor.oob)
        self.say({"return": {}, "id": command["id"]})
        self.assertTrue(self.monitor.oob)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_oob(self) -> None:
        self.negotiate({"QMP": {"capabilities": []}})
        self.monitor.execute("migrate-pause", oob=True)
        self.assertEqual("migrate-pause", self.heard()[0]["execute"])

    def test_silence(self) -> None:
        waiting = ensureDeferred(ready(self.monitor, 5))
        self.clock.advance(5)
        self.refuse(waiting, OperationTimeout, "Timed out during operation: QEMU's monitor did not answer")
        self.assertTrue(self.monitor.closed and self.wire.disconnecting)
        self.assertEqual([], self.ends)

    def test_end(self) -> None:
        waiting = ensureDeferred(ready(self.monitor, 5))
        self.monitor.connectionLost()
        self.refuse(waiting, InternalError, "internal error: End of file from qemu monitor")
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_refused(self) -> None:
        waiting = ensureDeferred(ready(self.monitor, 5))
        self.say(GREETING)
        self.say({"error": {"class": "GenericError", "desc": "no"}, "id": self.heard()[0]["id"]})
        message = "internal error: unable to execute QEMU command 'qmp_capabilities': no"
        self.refuse(waiting, InternalError, message)

    def test_cancelled(self) -> None:
        waiting = ensureDeferred(ready(self.monitor, 5))
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertTrue(self.monitor.closed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_early_events(self) -> None:
        """They come after whoever waited has gone on."""
        waiting = ensureDeferred(ready(self.monitor, 5))
        waiting.addCallback(lambda _: self.events.append(("ready",)))
        self.say(GREETING, STOP)
        self.say({"return": {}, "id": self.heard()[0]["id"]}, STOP)
        self.assertEqual([("ready",), ("STOP", {}, 5, 6), ("STOP", {}, 5, 6)], self.events)

    def test_too_many_early_events(self) -> None:
        waiting = ensureDeferred(ready(self.monitor, 5))
        self.say(*[STOP] * module.HELD_MAXIMUM)
        self.assertFalse(self.monitor.closed)
        self.say(STOP)
        self.failureResultOf(waiting, InternalError)

    def test_flood(self) -> None:
        """A QEMU that tells too many events is not read from for a while; none is lost."""
        self.negotiate()
        self.say(*[STOP] * module.EVENTS_BURST)
        self.assertEqual("producing", self.wire.producerState)
        self.say(STOP, STOP)
        self.assertEqual(module.EVENTS_BURST + 2, len(self.events))
        self.assertEqual("paused", self.wire.producerState)
        self.clock.advance(1 + 2 / module.EVENTS_SECOND)
        self.assertEqual("producing", self.wire.producerState)
        self.say(*[STOP] * int(module.EVENTS_SECOND))
        self.assertEqual("producing", self.wire.producerState)
        self.say(*[STOP] * 3)
        self.assertEqual("paused", self.wire.producerState)
        self.monitor.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_second_greeting(self) -> None:
        self.negotiate()
        self.say(GREETING)
        self.assertTrue(self.monitor.closed)


class CommandTests(MonitorCase):
    """Commands and their ends."""

    def setUp(self) -> None:
        super().setUp()
        self.negotiate()

    def test_in_flight(self) -> None:
        """Answers go where they belong, whatever their order."""
        first, second = self.monitor.execute("a", {"x": 1}), self.monitor.execute("b")
        one, two = self.heard()
        self.assertEqual(("a", {"x": 1}, "b"), (one["execute"], one["arguments"], two["execute"]))
        self.say({"return": 2, "id": two["id"]}, {"return": 1, "id": one["id"]})
        self.assertEqual((1, 2), (self.successResultOf(first), self.successResultOf(second)))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_out_of_band(self) -> None:
        self.monitor.execute("migrate-pause", oob=True)
        self.assertIn("exec-oob", self.heard()[0])

    def test_refused(self) -> None:
        call = self.monitor.execute("x")
        self.say(
            {
                "error": {"class": "DeviceNotFound", "desc": "Device 'd' not found"},
                "id": self.heard()[0]["id"],
            }
        )
        text = "internal error: unable to execute QEMU command 'x': Device 'd' not found"
        error = self.refuse(call, InternalError, text)
        self.assertIsInstance(error.__cause__, QmpError)
        self.assertEqual("DeviceNotFound", qmp_class(error))
        self.assertIsNone(qmp_class(OperationFailed("x")))

    def test_unreadable(self) -> None:
        """A complaint without an id is about the oldest command."""
        first, second = self.monitor.execute("a"), self.monitor.execute("b")
        self.say({"error": {"class": "GenericError", "desc": "JSON parse error"}})
        self.failureResultOf(first, InternalError)
        self.assertNoResult(second)

    def test_unencodable(self) -> None:
        call = self.monitor.execute("a", {"x": "\udc00"})
        self.refuse(call, InternalError, "internal error: unable to encode QEMU command 'a'")
        self.assertEqual([], self.heard())

    def test_cancelled(self) -> None:
        """The answer is dropped."""
        call = self.monitor.execute("a")
        call.cancel()
        self.failureResultOf(call)
        self.answer()
        self.assertFalse(self.monitor.closed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_late(self) -> None:
        """While an answer is late new commands fail at once, except out of band ones."""
        late, other = self.monitor.execute("a", timeout=3), self.monitor.execute("b", timeout=None)
        first, second = self.heard()
        self.clock.advance(3)
        text = "Timed out during operation: QEMU did not answer to 'a' in 3 seconds"
        self.refuse(late, OperationTimeout, text)
        self.assertTrue(self.monitor.wedged)
        text = "Timed out during operation: QEMU does not answer, 'c' was not sent"
        self.refuse(self.monitor.execute("c"), OperationTimeout, text)
        self.assertEqual([], self.heard())
        self.monitor.execute("d", oob=True)
        self.assertEqual(1, len(self.heard()))
        self.say({"return": 1, "id": first["id"]}, {"return": 2, "id": second["id"]})
        self.assertEqual(2, self.successResultOf(other))
        self.assertFalse(self.monitor.wedged)
        call = self.monitor.execute("e")
        self.answer(5)
        self.assertEqual(5, self.successResultOf(call))

    def test_cancelled_and_late(self) -> None:
        """Also who no longer waits is a sign that QEMU hangs."""
        call = self.monitor.execute("a", timeout=3)
        call.cancel()
        self.failureResultOf(call)
        self.clock.advance(3)
        self.assertTrue(self.monitor.wedged)
        self.answer()
        self.assertFalse(self.monitor.wedged)

    def test_default_deadline(self) -> None:
        call = self.monitor.execute("a")
        self.clock.advance(module.COMMAND_SECONDS)
        self.failureResultOf(call, OperationTimeout)

    def test_too_many(self) -> None:
        calls = [self.monitor.execute("a") for _ in range(module.PENDING_MAXIMUM)]
        text = "operation failed: too many commands wait for QEMU"
        self.refuse(self.monitor.execute("b"), OperationFailed, text)
        self.say(*({"return": {}, "id": command["id"]} for command in self.heard()))
        self.assertEqual([{}] * len(calls), [self.successResultOf(call) for call in calls])
        self.monitor.execute("c")
        self.assertEqual("c", self.heard()[0]["execute"])

    def test_too_much(self) -> None:
        text = "x" * (module.PENDING_BYTES_MAXIMUM // 2 - 100)
        calls = [self.monitor.execute("a", {"x": text}) for _ in range(2)]
        self.failureResultOf(self.monitor.execute("a", {"x": text}), OperationFailed)
        self.say(*({"return": {}, "id": command["id"]} for command in self.heard()))
        self.assertNoResult(self.monitor.execute("a", {"x": text}))
        self.assertEqual([{}, {}], [self.successResultOf(call) for call in calls])


class DescriptorTests(MonitorCase):
    """Commands that bring one."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(module, "_let_go", os.close)  # without a reactor there are no threads
        self.negotiate()
        self.ours, other = os.pipe()
        self.addCleanup(os.close, self.ours)
        self.addCleanup(os.close, other)

    def is_open(self, descriptor: int) -> bool:
        """Whether it is still one."""
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            return False
        return True

    def test_one_after_another(self) -> None:
        """QEMU would drop the first one if it were sent the second."""
        first = self.monitor.execute("getfd", {"fdname": "a"}, files=[self.ours])
        second = self.monitor.execute("getfd", {"fdname": "b"}, files=[self.ours])
        third = self.monitor.execute("cont")
        one, three = self.heard()
        self.assertEqual((1, "cont"), (len(self.wire.descriptors), three["execute"]))
        self.say({"return": 1, "id": one["id"]}, {"return": 3, "id": three["id"]})
        (two,) = self.heard()
        self.assertEqual(2, len(self.wire.descriptors))
        self.assertTrue(os.path.sameopenfile(self.wire.descriptors[1], self.ours))
        self.say({"return": 2, "id": two["id"]})
        self.assertEqual([1, 2, 3], [self.successResultOf(call) for call in (first, second, third)])
        for descriptor in self.wire.descriptors:
            self.assertFalse(self.is_open(descriptor))
        self.assertTrue(self.is_open(self.ours))

    def test_waiting_one_gives_up(self) -> None:
        """It is never sent, and QEMU does not owe an answer for it."""
        self.monitor.execute("getfd", files=[self.ours], timeout=None)
        expired = self.monitor.execute("getfd", files=[self.ours], timeout=3)
        cancelled = self.monitor.execute("getfd", files=[self.ours], timeout=None)
        self.clock.advance(3)
        self.failureResultOf(expired, OperationTimeout)
        cancelled.cancel()
        self.failureResultOf(cancelled)
        self.assertFalse(self.monitor.wedged)
        self.answer()
        self.assertEqual([], self.heard())

    def test_end(self) -> None:
        calls = [self.monitor.execute("getfd", files=[self.ours]) for _ in range(2)]
        self.monitor.connectionLost()
        for call in calls:
            self.failureResultOf(call, InternalError)
        self.assertFalse(self.is_open(self.wire.descriptors[0]))

    def test_guessed_answer(self) -> None:
        """A QEMU that answers before it has read cannot make us close what is still to be sent."""
        plain = self.monitor.execute("a")
        serial = self.heard()[0]["id"]
        self.monitor.execute("getfd", files=[self.ours]).addErrback(lambda _: None)
        self.say({"return": {}, "id": serial})
        self.successResultOf(plain)
        self.say({"return": {}, "id": serial + 1})
        self.assertTrue(self.monitor.closed)

    def test_two(self) -> None:
        self.assertRaises(ValueError, self.monitor.execute, "getfd", files=[0, 1])

    def test_none(self) -> None:
        call = self.monitor.execute("getfd", files=[-1])
        self.refuse(call, VirSystemError, "unable to pass a descriptor to QEMU: Bad file descriptor")
        self.assertEqual([], self.heard())

    def test_received(self) -> None:
        descriptor = os.dup(self.ours)
        self.monitor.fileDescriptorReceived(descriptor)
        self.assertFalse(self.is_open(descriptor))
        self.assertTrue(self.monitor.closed)


class EventTests(MonitorCase):
    """What QEMU tells unasked."""

    def setUp(self) -> None:
        super().setUp()
        self.negotiate()

    def test_order(self) -> None:
        """Events and answers are told in the order that QEMU chose."""
        call = self.monitor.execute("stop")
        call.addCallback(lambda _: self.events.append(("answer",)))
        self.say(STOP, {"return": {}, "id": self.heard()[0]["id"]}, STOP | {"data": {"a": 1}})
        self.assertEqual([("STOP", {}, 5, 6), ("answer",), ("STOP", {"a": 1}, 5, 6)], self.events)

    def test_bug_of_a_listener(self) -> None:
        """It is logged, and the next event is told."""
        calls: list[str] = []

        def listener(name: str, *_: Any) -> None:
            calls.append(name)
            raise RuntimeError("a bug")

        self.monitor._on_event = listener
        self.say(STOP, STOP)
        self.assertEqual(["STOP", "STOP"], calls)
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))


class EndTests(MonitorCase):
    """How a link ends."""

    def setUp(self) -> None:
        super().setUp()
        self.negotiate()

    def test_end_of_file(self) -> None:
        calls = [self.monitor.execute("a"), self.monitor.execute("b")]
        self.monitor.connectionLost()
        text = "internal error: End of file from qemu monitor"
        errors = [self.refuse(call, InternalError, text) for call in calls]
        errors.append(self.refuse(self.monitor.execute("c"), InternalError, text))
        self.assertEqual(3, len({id(error) for error in errors}))
        self.assertEqual([text], [error.message for error in self.ends])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_garbage(self) -> None:
        """What came before it counts, nothing after it does."""
        call = self.monitor.execute("a")
        event = json.dumps(STOP).encode() + b"\n"
        self.monitor.dataReceived(event + b"{]\n" + event)
        self.assertEqual(1, len(self.events))
        self.assertIn("unexpected data from qemu monitor: not JSON", str(self.failureResultOf(call).value))
        self.assertEqual(1, len(self.ends))
        self.assertTrue(self.wire.disconnecting)

    def test_answer_to_nothing(self) -> None:
        messages: list[dict[str, Any]] = [{"return": {}, "id": 99}, {"return": {}}]
        for message in messages:
            self.setUp()
            self.say(message)
            self.assertTrue(self.monitor.closed)

    def test_closed_by_us(self) -> None:
        call = self.monitor.execute("a")
        self.monitor.close()
        self.refuse(call, OperationFailed, "operation failed: QEMU monitor was closed")
        self.assertEqual([], self.ends)
        self.assertTrue(self.wire.disconnecting)

    def test_closed_while_reading(self) -> None:
        """Nothing is told after a listener has closed it."""
        self.monitor._on_event = lambda *event: (self.events.append(event), self.monitor.close())[0]
        self.say(STOP, STOP)
        self.assertEqual(1, len(self.events))
