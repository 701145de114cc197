"""unittest: a tool that restarts guests, tested with virsh's help."""

import subprocess
import unittest
from pathlib import Path

from remotevirt.testing import FakeTestCase

LAB = Path(__file__).with_name("lab.toml")


def virsh(uri, *words):
    """Run a virsh command; return its status and what it printed."""
    done = subprocess.run(["virsh", "-c", uri, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class RestartTests(FakeTestCase):
    fake_options = {"world": LAB, "clock": "manual"}

    def test_boot(self):
        """A guest has an address when it has booted, and not before."""
        virsh(self.uri, "start", "web-01")
        self.assertNotIn("ipv4", virsh(self.uri, "domifaddr", "web-01")[1])
        self.world.advance(30)
        self.assertIn("ipv4", virsh(self.uri, "domifaddr", "web-01")[1])

    def test_lost_answer(self):
        """The connection breaks after the guest was started: whoever tries again finds it running."""
        self.world.fault(procedure="virDomainCreate*", drop="after", count=1)
        self.assertEqual(virsh(self.uri, "start", "web-01")[0], 1)
        self.assertIn("already active", virsh(self.uri, "start", "web-01")[1])
        (call,) = self.world.calls("domain_create*", "web-01")
        self.assertEqual(call["outcome"], "cancelled")

    def test_busy(self):
        """A rule of the world's file: the first time it does not go."""
        virsh(self.uri, "start", "web-10")
        self.assertIn("the host is busy", virsh(self.uri, "destroy", "web-10")[1])
        self.assertEqual(virsh(self.uri, "destroy", "web-10")[0], 0)


if __name__ == "__main__":
    unittest.main()
