"""The monitor: commands and their answers, deadlines, descriptors, events, and how a link ends."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotevirt.drivers.qemu import monitor as module
from remotevirt.drivers.qemu.monitor import Monitor, connect, qmp_class, ready
from remotevirt.drivers.qemu.qmp import QmpError
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed, OperationTimeout, VirSystemError

QEMU = shutil.which("qemu-system-x86_64")
GREETING = {"QMP": {"version": {}, "capabilities": ["oob"]}}
STOP = {"timestamp": {"seconds": 5, "microseconds": 6}, "event": "STOP"}


class Wire(StringTransport):
    """A transport that takes descriptors, and ends at once when it is told to."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        self.monitor = monitor
        self.descriptors: list[int] = []

    def sendFileDescriptor(self, descriptor: int) -> None:
        """Note it, beside what has been written by now."""
        self.descriptors.append(descriptor)

    def abortConnection(self) -> None:
        """End."""
        super().abortConnection()
        self.monitor.connectionLost()


class MonitorCase(SynchronousTestCase):
    """A monitor, and a QEMU that says what the test wants."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[tuple[Any, ...]] = []
        self.ends: list[VirError] = []
        self.monitor = Monitor(self.clock, lambda *event: self.events.append(event), self.ends.append)
        self.wire = Wire(self.monitor)
        self.monitor.makeConnection(self.wire)

    def say(self, *messages: Any) -> None:
        """QEMU sends these in one piece."""
        self.monitor.dataReceived(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))

    def heard(self) -> list[Any]:
        """What QEMU was sent since the last time."""
        data = self.wire.value()
        self.wire.clear()
        return [json.loads(line) for line in data.splitlines()]

    def negotiate(self, greeting: Any = GREETING) -> None:
        """Come to where commands can be sent."""
        waiting = ensureDeferred(ready(self.monitor, 5))
        self.say(greeting)
        (command,) = self.heard()
        self.say({"return": {}, "id": command["id"]})
        self.assertIs(self.monitor, self.successResultOf(waiting))

    def answer(self, value: Any = None) -> None:
        """QEMU answers the one command that it was sent."""
        (command,) = self.heard()
        self.say({"return": value, "id": command["id"]})

    def refuse(self, deferred: Deferred[Any], kind: type[VirError], text: str) -> VirError:
        """The error of a command."""
        error = self.failureResultOf(deferred, kind).value
        assert isinstance(error, VirError)
        self.assertEqual((c.VIR_FROM_QEMU, text), (error.domain, error.message))
        return error


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
        """A QEMU that tells too many events is not read from for a while; what was read is not lost."""
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
        for message in ({"return": {}, "id": 99}, {"return": {}}):
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


class ConnectTests(TestCase):
    """On real sockets."""

    async def test_nobody_there(self) -> None:
        path = str(Path(self.mktemp()).resolve())
        error = await self.assertFailure(ensureDeferred(connect(reactor, path, timeout=5)), VirSystemError)
        self.assertEqual("failed to connect to monitor socket: No such file or directory", error.message)


@skipUnless(QEMU, "needs qemu-system-x86_64")
class QemuTests(TestCase):
    """A real QEMU, which listens on a socket that was there before it."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="qmp-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "monitor")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(1)
            number = listener.fileno()
            argv = [QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-S"]
            argv += [
                "-chardev",
                f"socket,id=m,fd={number},server=on,wait=off",
                "-mon",
                "chardev=m,mode=control",
            ]
            self.process = subprocess.Popen(argv, pass_fds=[number], stdin=subprocess.DEVNULL)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.wait()

    async def test_conversation(self) -> None:
        events: list[str] = []
        closed: Deferred[VirError] = Deferred()
        monitor = await connect(
            reactor,
            self.path,
            timeout=60,
            on_event=lambda name, *_: events.append(name),
            on_close=closed.callback,
        )
        self.assertTrue(monitor.oob)
        status, schema = monitor.execute("query-status"), monitor.execute("query-qmp-schema")
        self.assertEqual("prelaunch", (await status)["status"])
        self.assertGreater(len(await schema), 500)
        error = await self.assertFailure(monitor.execute("nothing"), InternalError)
        text = "unable to execute QEMU command 'nothing': The command nothing has not been found"
        self.assertEqual(f"internal error: {text}", error.message)
        self.assertEqual("CommandNotFound", qmp_class(error))
        # QEMU's parser refuses this character, and cannot say whose it was.
        unreadable = monitor.execute("qom-get", {"path": "\uffff", "property": "x"})
        after = monitor.execute("query-status")
        await self.assertFailure(unreadable, InternalError)
        self.assertEqual("prelaunch", (await after)["status"])
        reading, writing = os.pipe()
        files = [monitor.execute("getfd", {"fdname": name}, files=[writing]) for name in "ab"]
        os.close(writing)
        self.assertEqual([{}, {}], [await one for one in files])
        await monitor.execute("closefd", {"fdname": "a"})
        await monitor.execute("closefd", {"fdname": "b"})
        self.assertEqual(b"", os.read(reading, 1))
        os.close(reading)
        await monitor.execute("quit")
        self.assertEqual("internal error: End of file from qemu monitor", (await closed).message)
        self.assertIn("SHUTDOWN", events)

    async def test_stopped(self) -> None:
        """A QEMU that is stopped and goes on, and that meets the next daemon."""
        monitor = await connect(reactor, self.path, timeout=60)
        self.process.send_signal(signal.SIGSTOP)
        late = monitor.execute("query-status", timeout=0.05)
        after = monitor.execute("query-status", timeout=None)
        await self.assertFailure(late, OperationTimeout)
        self.assertTrue(monitor.wedged)
        self.process.send_signal(signal.SIGCONT)
        self.assertEqual("prelaunch", (await after)["status"])
        self.assertFalse(monitor.wedged)
        monitor.close()
        again = await connect(reactor, self.path, timeout=60)
        self.assertEqual("prelaunch", (await again.execute("query-status"))["status"])
        again.close()
