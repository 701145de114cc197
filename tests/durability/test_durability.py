"""A few dozen rounds; and proof that they would notice. ``make durability`` runs hundreds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.durability.harness import MOMENTS, Figures, Harness

ROUNDS = 24
"""As many for each moment."""

PROOF_ROUNDS = 3


class DurabilityTests(SynchronousTestCase):
    """Real daemons that are killed."""

    def rounds(self, number: int, driver: str | None = None) -> Figures:
        """Run rounds."""
        harness = Harness(20260114, driver)
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

    def test_haste_is_noticed(self) -> None:
        """A store that acknowledges before it writes does not get through."""
        figures = self.rounds(PROOF_ROUNDS, "tests.durability.drivers:HastyDriver")
        self.assertGreater(figures.lost + figures.resurrected, 0, str(figures))

    def test_pieces_are_noticed(self) -> None:
        """Neither does one that writes a call's changes in pieces."""
        figures = self.rounds(PROOF_ROUNDS, "tests.durability.drivers:TearingDriver")
        self.assertGreater(figures.torn, 0, str(figures))
