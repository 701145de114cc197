"""What the daemon says of itself: addresses, and commands that can be pasted."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.transport.announce import Announcer, virsh_command
from remotevirt.transport.listener import parse_listener
from tests.transport.pki import Authority

LOCAL = IPv4Address("TCP", "127.0.0.1", 4711)


class VirshCommandTests(TestCase):
    """The command that reaches a listener."""

    def test_forms(self) -> None:
        for address, transport, uri in [
            (UNIXAddress(b"/run/vm/sock"), "unix", "test+unix:///default?socket=/run/vm/sock"),
            (LOCAL, "tcp", "test+tcp://127.0.0.1:4711/default"),
            (IPv4Address("TCP", "127.0.0.1", 16509), "tcp", "test+tcp://127.0.0.1/default"),
            (IPv4Address("TCP", "127.0.0.1", 16514), "tls", "test+tls://127.0.0.1/default"),
            (IPv4Address("TCP", "127.0.0.1", 16509), "tls", "test+tls://127.0.0.1:16509/default"),
            (IPv4Address("TCP", "0.0.0.0", 16509), "tcp", "test+tcp://127.0.0.1/default"),
            (IPv6Address("TCP", "::", 16509), "tcp", "test+tcp://localhost/default"),
            (IPv6Address("TCP", "fe80::1", 7), "tcp", "test+tcp://[fe80::1]:7/default"),
        ]:
            command = virsh_command("test:///default", address, transport)
            self.assertEqual(f"virsh -c '{uri}'", command)

    def test_survives_the_shell(self) -> None:
        address = UNIXAddress("/run/it's & more?/söck".encode())
        words = shlex.split(str(virsh_command("test:///default", address, "unix")))
        self.assertEqual("test+unix:///default?socket=/run/it%27s%20%26%20more%3F/s%C3%B6ck", words[2])

    def test_relative_path(self) -> None:
        """virsh wants a whole path."""
        command = str(virsh_command("test:///default", UNIXAddress(b"sock"), "unix"))
        self.assertIn(f"?socket={Path('sock').absolute()}'", command)

    def test_readonly(self) -> None:
        command = virsh_command("test:///default", LOCAL, "tcp", readonly=True)
        self.assertEqual("virsh -r -c 'test+tcp://127.0.0.1:4711/default'", command)

    def test_unspeakable(self) -> None:
        self.assertIsNone(virsh_command("test:///default", UNIXAddress(None), "unix"))
        self.assertIsNone(virsh_command("test:///default", HostnameAddress(b"h", 1), "tcp"))


class AnnouncerTests(TestCase):
    """Where the lines go."""

    def setUp(self) -> None:
        self.logged: list[LogEvent] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)
        self.out = io.StringIO()
        self.patch(sys, "__stdout__", self.out)

    def announce(self, twistd: dict[str, Any] | None) -> tuple[str, list[str]]:
        """Announce a listener; returns what was printed and what was logged."""
        listener = parse_listener(MemoryReactorClock(), "tcp:0")
        Announcer.below_twistd("test:///default", twistd).opened(listener, LOCAL)
        logged = [formatEvent(event) for event in self.logged if "line" in event]
        return self.out.getvalue(), logged

    lines = ["Listening on tcp:127.0.0.1:4711", "    virsh -c 'test+tcp://127.0.0.1:4711/default'"]

    def test_foreground(self) -> None:
        printed, logged = self.announce({"nodaemon": True, "logfile": None})
        self.assertEqual(self.lines, printed.splitlines())
        self.assertEqual([], logged)

    def test_foreground_with_a_log_of_its_own(self) -> None:
        for own in ({"logfile": "x"}, {"syslog": True}, {"logger": "x"}):
            self.logged.clear()
            self.out.truncate(0)
            self.out.seek(0)
            printed, logged = self.announce({"nodaemon": True, **own})
            self.assertEqual(self.lines, printed.splitlines())
            self.assertEqual(self.lines, logged)

    def test_background(self) -> None:
        for twistd in ({"nodaemon": False}, None):
            self.logged.clear()
            self.assertEqual(("", self.lines), self.announce(twistd))

    def test_no_standard_output(self) -> None:
        self.patch(sys, "__stdout__", None)
        self.assertEqual([], self.announce({"nodaemon": True})[1])

    def test_readonly_is_said(self) -> None:
        lines: list[str] = []
        listener = parse_listener(MemoryReactorClock(), "tcp:0", readonly=True)
        Announcer("test:///default", lines.append).opened(listener, LOCAL)
        self.assertEqual("Listening on tcp:127.0.0.1:4711 (read-only)", lines[0])

    def test_certificates_name_is_used(self) -> None:
        """A TLS client must call the daemon what its certificate calls it."""
        authority = Authority()
        folder = authority.server_folder(Path(self.mktemp()), authority.issue("vm.example"))
        lines: list[str] = []
        listener = parse_listener(MemoryReactorClock(), f"libvirttls:0:pki={folder}")
        Announcer("test:///default", lines.append).opened(listener, LOCAL)
        self.assertEqual("    virsh -c 'test+tls://vm.example:4711/default'", lines[1])

    def test_page(self) -> None:
        """As a URL, where there is one."""
        lines: list[str] = []
        announcer = Announcer("test:///default", lines.append)
        for text, address in (
            ("tcp:0", LOCAL),
            ("tcp6:0", IPv6Address("TCP", "::1", 9178)),
            ("unix:s", UNIXAddress(b"s")),
        ):
            announcer.opened_page(parse_listener(MemoryReactorClock(), text), address)
        wanted = ["http://127.0.0.1:4711/", "http://[::1]:9178/", "unix:s"]
        self.assertEqual([f"Status and metrics on {where}" for where in wanted], lines)

    def test_no_command_where_there_is_none(self) -> None:
        lines: list[str] = []
        listener = parse_listener(MemoryReactorClock(), "unix:s")
        Announcer("test:///default", lines.append).opened(listener, UNIXAddress(None))
        self.assertEqual(["Listening on unix:"], lines)
