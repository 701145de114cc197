"""A driver with a large answer, for the tests of flow and of ends."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import remote
from tests.server.fakes import Client, World

NUMBER = remote.PROGRAM.number
KIB = 1024
LARGE = "x" * (100 * KIB)


class LargeCase(SynchronousTestCase):
    """A driver with a large answer."""

    def setUp(self) -> None:
        self.world = World()
        self.calls = 0
        self.world.hypervisor.connect_get_type = self._large
        self.world.hypervisor.connect_get_version = lambda: 7
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def _large(self) -> str:
        self.calls += 1
        return LARGE

    def many(self, client: Client, count: int, name: str = "connect_get_type") -> list[int]:
        """Make so many calls in one read."""
        calls = [client.pack(name) for _ in range(count)]
        client.send(b"".join(data for _, data in calls))
        return [serial for serial, _ in calls]

    def reasons(self) -> list[str]:
        """Why clients were disconnected, as the log has it."""
        texts = [event for event in self.events if "disconnected" in (event.get("log_format") or "")]
        return [str(event.get("reason", event["log_format"])) for event in texts]
