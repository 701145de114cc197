"""The benchmark of one world with many domains runs from end to end, and says what it measured."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import scale
from remotevirt.drivers.test import TestDriver
from tests.drivers.driving import connect


class ScaleTests(SynchronousTestCase):
    """Small worlds."""

    def test_runs(self) -> None:
        """Every row has a figure."""
        self.patch(scale, "SECONDS", 0.001)
        figures = scale.measure_remotevirt(10)
        self.assertEqual(set(scale.ROWS) - {"define_all"}, set(figures))
        self.assertTrue(all(value >= 0 for value in figures.values()), figures)
        table = scale.render({"ten": figures})
        for row in figures:
            self.assertIn(scale.ROWS[row], table)

    def test_a_world_from_disk(self) -> None:
        """It is there, half of it running, before a single document was read."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(f"{folder}/test")
        scale.fill(f"{folder}/test/default.db", 300)
        driver = TestDriver(state=folder)
        self.addCleanup(driver.stop)
        world = connect(driver).hypervisor.world
        self.assertEqual((300, 150), (len(world.by_uuid), len(world.by_id)))
        unread = [record for record in world.by_uuid.values() if record.live._model is None]
        self.assertEqual(300, len(unread))

    def test_units(self) -> None:
        """Figures have a unit that suits them."""
        shown = [scale.shown("list", value) for value in (12.0, 0.0123, 0.00045, 5e-7)]
        self.assertEqual(["12 s", "12 ms", "450 µs", "0.5 µs"], shown)
        self.assertEqual("2 MiB", scale.shown("memory", 2.0 * 2**20))
