"""The driver's options, and a state folder that it cannot use."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from remotevirt.drivers.base import DriverURI
from remotevirt.drivers.qemu.driver import QemuDriver
from remotevirt.stubs.errors import OperationFailed


class OptionsTests(TestCase):
    """What is refused before the daemon starts, and what is told when it has."""

    def setUp(self) -> None:
        self.state = tempfile.mkdtemp(prefix="rv-")
        self.addCleanup(shutil.rmtree, self.state)

    def test_guests_are_never_root(self) -> None:
        """Not even where root says so."""
        self.patch(os, "geteuid", lambda: 0)
        error = self.assertRaises(ValueError, QemuDriver, state=self.state, user="root")
        self.assertEqual("user=root: guests do not run as root", str(error))

    def test_option_without_a_value(self) -> None:
        for name in ("user", "images", "monitor_timeout", "cgroups"):
            error = self.assertRaises(ValueError, QemuDriver, self.state, **{name: True})
            typed = name.replace("_", "-")
            self.assertTrue(str(error).startswith(f"{typed} needs "), error)
            self.assertIn(f": {typed}=", str(error))

    async def test_state_that_cannot_be_used(self) -> None:
        """Clients are told why, in the system's words."""
        self.patch(os, "geteuid", lambda: 1000)
        folder = Path(self.state, "qemu")
        folder.write_text("in the way")
        driver = QemuDriver(state=self.state)
        await driver.begin(Clock())
        with self.assertRaises(OperationFailed) as caught:
            await driver.open(DriverURI.parse("qemu:///system"), None)
        self.assertIn(f"the QEMU driver has no store: {folder}: File exists", str(caught.exception))
