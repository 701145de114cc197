"""libvirt-python and the standard library: the fake is another process, moved over HTTP."""

import json
import subprocess
import unittest
import urllib.request

import libvirt

libvirt.registerErrorHandler(lambda _, error: None, None)


class FakeLibvirt:
    """A running remotevirt-fake; it ends when its standard input does, so with this process."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            ["remotevirt-fake", "--clock", "manual", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        said = json.loads(self.process.stdout.readline())
        self.uri, self.control = said["uri"], said["control"]

    def ask(self, verb, **arguments):
        """Do something to the world "default"."""
        request = urllib.request.Request(
            f"{self.control}/worlds/default/{verb}",
            json.dumps(arguments).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]

    def stop(self):
        """End it."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class GuestTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fake = FakeLibvirt()
        cls.addClassCleanup(cls.fake.stop)

    def setUp(self):
        self.fake.ask("reset")
        self.connection = libvirt.open(self.fake.uri)

    def tearDown(self):
        self.connection.close()

    def test_crash(self):
        """A guest whose emulator dies."""
        domain = self.connection.lookupByName("test")
        self.fake.ask("crash", domain="test")
        self.assertEqual(domain.state(), [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED])

    def test_error(self):
        """Any error of libvirt's, as often as wanted."""
        self.fake.ask("fault", procedure="virDomainSuspend", error="operation_timeout", count=1)
        domain = self.connection.lookupByName("test")
        with self.assertRaises(libvirt.libvirtError) as caught:
            domain.suspend()
        self.assertEqual(caught.exception.get_error_code(), libvirt.VIR_ERR_OPERATION_TIMEOUT)
        domain.suspend()
        self.assertEqual(len(self.fake.ask("calls", procedure="domain_suspend")), 2)

    def test_slow_guest(self):
        """A guest that takes its time to shut down, and a test that does not."""
        self.fake.ask("behave", domain="test", shutdown=90, load=0.5)
        domain = self.connection.lookupByName("test")
        domain.shutdown()
        self.fake.ask("advance", seconds=89)
        self.assertTrue(domain.isActive())
        self.fake.ask("advance", seconds=1)
        self.assertFalse(domain.isActive())


if __name__ == "__main__":
    unittest.main()
