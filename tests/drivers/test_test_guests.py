"""What is done to guests: their file systems, keys, signals, addresses and memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.domains.keycodes import CODESETS, KEYCODES
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.driving import connect, domain_xml


class GuestCase(TestCase):
    """A default world with its running guest."""

    def setUp(self) -> None:
        self.connection: Any = connect()
        self.calls = self.connection.hypervisor
        self.test = self.calls.domain_lookup_by_name("test")

    def code(self, call: Any, *arguments: Any) -> int:
        """Return the code of the error that a call ends in."""
        return int(self.assertRaises(VirError, call, *arguments).code)


class FileTests(GuestCase):
    """File systems and passwords."""

    def test_freezing(self) -> None:
        """Counts what was not frozen before; nothing is if one of the names is wrong."""
        freeze, thaw = self.calls.domain_fsfreeze, self.calls.domain_fsthaw
        self.assertEqual(self.code(freeze, self.test, ["/", "/nosuch"], 0), 55)
        self.assertEqual(freeze(self.test, ["/boot"], 0), 1)
        self.assertEqual(freeze(self.test, [], 0), 1)
        self.assertEqual(freeze(self.test, [], 0), 0)
        self.assertEqual(thaw(self.test, ["/", "/"], 0), 1)
        self.calls.domain_destroy(self.test)
        self.assertEqual(self.code(thaw, self.test, [], 0), 55)
        self.calls.domain_create(self.test)
        self.assertEqual(thaw(self.test, [], 0), 1)

    def test_file_systems(self) -> None:
        """Two on the first hard disk, none without one."""
        info = self.calls.domain_get_fsinfo(self.test, 0).info
        self.assertEqual(tuple(info[0]), ("/", "vda1", "ext4", ["vda"]))
        self.assertEqual(len(info), 2)
        bare = self.calls.domain_create_xml(domain_xml("bare"), 0)
        self.assertEqual(self.calls.domain_get_fsinfo(bare, 0), ((), 0))

    def test_trim_and_password(self) -> None:
        """Checked, and forgotten."""
        self.assertIsNone(self.calls.domain_fstrim(self.test, None, 0, 0))
        self.assertEqual(self.code(self.calls.domain_fstrim, self.test, "", 0, 0), 55)
        self.assertIsNone(self.calls.domain_set_user_password(self.test, "root", "x", 1))
        self.assertEqual(self.code(self.calls.domain_set_user_password, self.test, "root", None, 0), 8)


class TimeTests(GuestCase):
    """The guest's clock, and what hypervisors make of it."""

    def test_time_stays(self) -> None:
        """The clock stands where it was last set to, also while the guest is off or paused."""
        self.assertEqual(tuple(self.calls.domain_get_time(self.test, 0)), (627319920, 0))
        self.calls.domain_set_time(self.test, -5, 7, 0)
        self.assertEqual(tuple(self.calls.domain_get_time(self.test, 0)), (-5, 7))
        self.calls.domain_suspend(self.test)
        self.calls.domain_set_time(self.test, 0, 0, c.VIR_DOMAIN_TIME_SYNC)
        self.calls.domain_destroy(self.test)
        self.assertEqual(self.code(self.calls.domain_set_time, self.test, 5, 0, 0), 55)
        self.calls.domain_create(self.test)
        self.assertEqual(tuple(self.calls.domain_get_time(self.test, 0)), (0, 0))

    def test_control(self) -> None:
        """The state of control depends on the time that a call has set."""
        seen = {}
        for seconds in (-5, 0, 1, 9999, 10000, 29999, 30001, 59999, 60000, 627319920):
            self.calls.domain_set_time(self.test, seconds, 0, 0)
            seen[seconds] = tuple(self.calls.domain_get_control_info(self.test, 0))
        fine = (0, 0, 0)
        expected = {-5: fine, 0: fine, 1: (1, 0, 1), 9999: (1, 0, 9999), 10000: (2, 0, 0), 60000: fine}
        expected |= {29999: (2, 0, 19999), 30001: (3, 1, 1), 59999: (3, 3, 29999), 627319920: fine}
        self.assertEqual(seen, expected)


class InputTests(GuestCase):
    """Keys and signals."""

    def test_codesets(self) -> None:
        """All of libvirt's, each with keys that it has and keys that it has not."""
        self.assertEqual(len(CODESETS), c.VIR_KEYCODE_SET_LAST)
        for number, name in enumerate(CODESETS):
            known = sorted(KEYCODES[name])[:16]
            self.assertIsNone(self.calls.domain_send_key(self.test, number, 0, known, 0))
            error = self.assertRaises(VirError, self.calls.domain_send_key, self.test, number, 0, [70000], 0)
            self.assertEqual(error.message, f"internal error: invalid keycode 70000 of {name} codeset")

    def test_signals(self) -> None:
        """Only the first process gets them, and does nothing."""
        send = self.calls.domain_send_process_signal
        self.assertIsNone(send(self.test, 1, 9, 0))
        self.assertEqual(self.calls.domain_get_state(self.test, 0).state, c.VIR_DOMAIN_RUNNING)
        self.assertEqual(self.code(send, self.test, 2, 9, 0), 8)
        error = self.assertRaises(VirError, send, self.test, 1, 2**32 - 1, 0)
        self.assertEqual(error.message, "invalid argument: signum value -1 is out of range")


class AddressTests(GuestCase):
    """Addresses of interfaces."""

    def addresses(self, devices: str) -> list[Any]:
        """Return the addresses of each interface of a new guest."""
        dom = self.calls.domain_create_xml(domain_xml("guest", f"<devices>{devices}</devices>"), 0)
        found = self.calls.domain_interface_addresses(dom, 0, 0)
        self.calls.domain_destroy(dom)
        return [[(one.type, one.addr, one.prefix) for one in interface.addrs] for interface in found]

    def test_networks(self) -> None:
        """Counted from the first leased address, 20 for each domain, one for each interface."""
        card = "<interface type='network'><source network='{}'/></interface>"
        networks = {
            "six": "<ip family='ipv6' address='fd00::fff8' prefix='64'/>",
            "last": "<ip address='255.255.255.250' prefix='8'/>",
            "none": "",
        }
        for name, ip in networks.items():
            self.connection.network.network_create_xml(f"<network><name>{name}</name>{ip}</network>")
        found = self.addresses("".join(card.format(name) for name in ("default", "six", "last", "none")))
        self.assertEqual(
            found, [[(0, "192.168.122.23", 24)], [(1, "fd00::ff0e", 64)], [(0, "0.0.0.17", 8)], []]
        )
        self.assertEqual(self.addresses("<interface type='user'/>"), [[(0, "192.168.0.1", 24)]])
        error = self.assertRaises(VirError, self.addresses, card.format("gone"))
        self.assertEqual(error.message, "Network not found: no network with matching name 'gone'")

    def test_source(self) -> None:
        """Any of three, for a guest that runs."""
        call = self.calls.domain_interface_addresses
        self.assertEqual(call(self.test, 0, 0), call(self.test, 2, 0))
        self.assertEqual(self.code(call, self.test, 3, 0), 74)


class PeekTests(GuestCase):
    """Memory."""

    def test_memory(self) -> None:
        """Each byte is the lowest of its address, across the end of the address space too."""
        peek = self.calls.domain_memory_peek
        self.assertEqual(peek(self.test, 250, 300, 1), bytes(number % 256 for number in range(250, 550)))
        self.assertEqual(peek(self.test, 2**64 - 1, 3, 2), b"\xff\x00\x01")
        self.assertEqual(len(peek(self.test, 0, 4194304, 1)), 4194304)
        self.assertEqual(self.code(peek, self.test, 0, 4194305, 1), 1)

    def test_what_there_is_not(self) -> None:
        """Disks show nothing, no guest is encrypted, and no descriptor arrives."""
        self.assertEqual(self.code(self.calls.domain_block_peek, self.test, "vda", 0, 1, 0), 3)
        self.assertEqual(self.code(self.calls.domain_get_launch_security_info, self.test, 0), 8)
        self.assertEqual(self.calls.domain_get_security_label_list(self.test), ((), -1))
        self.assertEqual(self.code(self.calls.domain_open_graphics, self.test, 0, 0, []), 1)
        self.assertEqual(self.code(self.calls.domain_open_graphics, self.test, 0, 0, [7]), 3)
        self.assertEqual(self.code(self.connection.secret.secret_set_value, None, b"x", 0), 3)
