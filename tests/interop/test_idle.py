"""The benchmark of idle clients runs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import idle
from tests.interop.pair import Pair


class IdleTests(SynchronousTestCase):
    """A few clients instead of thousands."""

    def test_both(self) -> None:
        """Each daemon is measured, and the table has a row for it."""
        pair = Pair(self)
        rows = [idle.measure(daemon, 40) for daemon in (pair.libvirtd, pair.remotevirt)]
        text = idle.table(rows)
        for row in rows:
            self.assertEqual(row.clients, 40)
            self.assertLess(abs(row.each), 1 << 20)
            self.assertIn(f"* - {row.name}\n     - 40\n", text)
