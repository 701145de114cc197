"""A few dozen rounds; and proof that they would notice. ``make durability`` runs hundreds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.durability.harness import MOMENTS, Figures, Harness
from tests.durability.objects import QEMU, TEST, Kind
from tests.interop.peers import require

ROUNDS = 24
"""As many for each moment."""

QEMU_ROUNDS = 8
"""Each start of the driver asks the emulators what they can do."""

PROOF_ROUNDS = 3


class DurabilityTests(SynchronousTestCase):
    """Real daemons that are killed."""

    def rounds(self, number: int, driver: str | None = None, kind: Kind = TEST) -> Figures:
        """Run rounds."""
        harness = Harness(20260114, driver, kind)
        self.addCleanup(harness.close)
        return harness.run(number)

    def test_nothing_is_lost(self) -> None:
        """What was acknowledged, read or told of is there after each kill."""
        self.assertEqual(0, ROUNDS % len(MOMENTS))
        figures = self.rounds(ROUNDS)
        print(figures)
        self.assertEqual([], figures.findings)
        self.assertEqual(ROUNDS, figures.rounds)
        self.assertGreater(figures.acked, ROUNDS)

    def test_qemu(self) -> None:
        """The same of the QEMU driver's domains."""
        require("qemu-system-x86_64")
        figures = self.rounds(QEMU_ROUNDS, kind=QEMU)
        print(figures)
        self.assertEqual([], figures.findings)
        self.assertGreater(figures.acked, QEMU_ROUNDS)

    def test_haste_is_noticed(self) -> None:
        """A store that acknowledges before it writes does not get through."""
        figures = self.rounds(PROOF_ROUNDS, "tests.durability.drivers:HastyDriver")
        self.assertGreater(figures.lost + figures.resurrected, 0, str(figures))

    def test_pieces_are_noticed(self) -> None:
        """Neither does one that writes a call's changes in pieces."""
        figures = self.rounds(PROOF_ROUNDS, "tests.durability.drivers:TearingDriver")
        self.assertGreater(figures.torn, 0, str(figures))
