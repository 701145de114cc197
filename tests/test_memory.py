"""Memory that is given back."""

from __future__ import annotations

import subprocess
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.memory import CHECK_SECONDS, GROWTH, MemoryService, resident_bytes

MIB = 1 << 20

FREED = """
from remotevirt.memory import resident_bytes, trim
held = [bytearray(1 << 16) for _ in range(2000)]
most = resident_bytes()
pins = held[::50]  # so that the end of the heap is in use
del held
before = resident_bytes()
trim()
print(most >> 20, before >> 20, resident_bytes() >> 20)
"""


class GivingBackTests(SynchronousTestCase):
    """The service, and what it asks of the C library."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.held: int | None = 100 * MIB
        self.given: list[int | None] = []
        self.free = 0

    def resident(self) -> int | None:
        return self.held

    def give_back(self) -> None:
        self.given.append(self.held)
        assert self.held is not None
        self.held -= self.free
        self.free = 0

    def start(self) -> MemoryService:
        service = MemoryService(self.clock, self.resident, self.give_back)
        service.startService()
        return service

    def look(self, held: int | None) -> int:
        """Let the process hold so much at the next look; returns how often memory was given back so far."""
        self.held = held
        self.clock.advance(CHECK_SECONDS)
        return len(self.given)

    def test_growth(self) -> None:
        """It is asked for after growth, once for each."""
        self.start()
        self.assertEqual(0, self.look(100 * MIB + GROWTH))
        self.free = 40 * MIB
        self.assertEqual(1, self.look(150 * MIB))
        self.assertEqual(110 * MIB, self.held)
        self.assertEqual(1, self.look(110 * MIB + GROWTH))
        self.assertEqual(2, self.look(111 * MIB + GROWTH), "nothing was free")
        self.assertEqual(2, self.look(111 * MIB + GROWTH))
        self.assertEqual(2, self.look(90 * MIB))
        self.assertEqual(3, self.look(91 * MIB + GROWTH), "what was given back by itself is needed no more")

    def test_end(self) -> None:
        """A stopped service and one that cannot know leave no timer behind."""
        service = self.start()
        service.stopService()
        self.assertEqual([], self.clock.getDelayedCalls())
        service = self.start()
        self.look(None)
        self.assertEqual([], self.clock.getDelayedCalls())
        service.stopService()

    def test_c_library(self) -> None:
        """A process in whose heap there are holes holds less afterwards."""
        found = subprocess.run(
            [sys.executable, "-c", FREED],
            env={"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "PATH": ""},
            stdout=subprocess.PIPE,
            check=True,
        )
        most, before, after = map(int, found.stdout.split())
        self.assertGreater(before, most - 20, "the heap was cut already")
        self.assertLess(after, before - 60)

    def test_resident(self) -> None:
        """This process holds something, and not everything."""
        held = resident_bytes()
        assert held is not None
        self.assertTrue(MIB < held < 1 << 40, held)
