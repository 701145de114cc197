"""Lines that strangers can cause."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.damper import Damper


class DamperTests(SynchronousTestCase):
    """Three lines at once, and one every ten seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.damper = Damper(self.clock.seconds, 3, 10)
        self.lines: list[str] = []

    def write(self, count: int, kind: str = "a") -> list[str]:
        """Write so many; the new lines of the log."""
        self.lines.clear()
        for number in range(count):
            self.damper.write(kind, self.note, "{number}", number=number)
        return list(self.lines)

    def note(self, text: str, **fields: Any) -> None:
        self.lines.append(text.format(**fields))

    def test_few(self) -> None:
        for _ in range(20):
            self.assertEqual(["0"], self.write(1))
            self.clock.advance(10)

    def test_flood(self) -> None:
        """The first are written, and with the next that is, how many were not."""
        self.assertEqual(["0", "1", "2"], self.write(1000))
        self.clock.advance(9.9)
        self.assertEqual([], self.write(500))
        self.clock.advance(0.2)
        self.assertEqual(["1497 lines like the next were left out", "0"], self.write(2))
        self.clock.advance(1000)
        self.assertEqual(["1 lines like the next were left out", "0", "1", "2"], self.write(9))

    def test_kinds(self) -> None:
        """A flood of one kind leaves lines of another alone."""
        self.write(1000)
        self.assertEqual(["0", "1"], self.write(2, "b"))
