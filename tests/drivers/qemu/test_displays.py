"""VNC displays: passwords, and until when."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu.displays import password_orders
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.xml.domain.graphics import Vnc
from tests.drivers.qemu.test_starting import guest


def display(attributes: str) -> Vnc:
    """A display with some attributes."""
    (found,) = guest(f"<graphics type='vnc' {attributes}/>").model.devices.graphics
    assert isinstance(found, Vnc)
    return found


class PasswordTests(SynchronousTestCase):
    """What QEMU is told."""

    def told(self, attributes: str) -> list[str]:
        """The password, and when it ends."""
        first, second = password_orders(display(attributes))
        self.assertEqual(("set_password", "expire_password"), (first.execute, second.execute))
        return [str(first.arguments["password"]), str(second.arguments["time"])]

    def test_time(self) -> None:
        """A password is good for ever, until a time in UTC, or no longer; an empty one never was."""
        for attributes, wanted in (
            ("passwd='a'", ["a", "never"]),
            ("passwd=''", ["", "now"]),
            ("passwd='a' passwdValidTo='2001-09-09T01:46:40'", ["a", "now"]),
            ("passwd='a' passwdValidTo='2286-11-20T17:46:40'", ["a", "10000000000"]),
        ):
            self.assertEqual(wanted, self.told(attributes), attributes)
        soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1000))
        end = int(self.told(f"passwd='a' passwdValidTo='{soon}'")[1])
        self.assertTrue(abs(time.time() + 1000 - end) < 100, end)

    def test_connected(self) -> None:
        """Who is connected may stay."""
        (order, _) = password_orders(display("passwd='a' connected='keep'"))
        self.assertEqual({"protocol": "vnc", "password": "a", "connected": "keep"}, order.arguments)

    def test_refused(self) -> None:
        """Without a password nothing is said; one that is too long, and a time that is none, are refused."""
        self.assertEqual([], password_orders(display("passwdValidTo='2030-01-01T00:00:00'")))
        error = self.assertRaises(ConfigUnsupported, display, "passwd='ninechars'")
        self.assertIn("only 8 permitted", error.message)
        never = display("passwd='a' passwdValidTo='2030-00-01T00:00:00'")
        self.assertRaises(InternalError, password_orders, never)
