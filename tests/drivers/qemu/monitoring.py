"""A monitor, and a QEMU that says what the test wants."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.monitor import Monitor, ready
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c

GREETING = {"QMP": {"version": {}, "capabilities": ["oob"]}}


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
