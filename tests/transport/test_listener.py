"""Endpoint strings turned into listeners."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet import endpoints
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import TestCase

from remotevirt.description import DescriptionError
from remotevirt.transport.listener import Listener, octal, parse_listener, show_address
from remotevirt.transport.pki import PKIError
from remotevirt.transport.tls import LibvirtTLSEndpoint
from remotevirt.transport.unix import AdoptedUnixEndpoint, UnixEndpoint
from tests.transport.pki import Authority


class ParseListenerTests(TestCase):
    """:func:`parse_listener`."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def parse(self, text: str, **kwargs: Any) -> Listener:
        return parse_listener(self.reactor, text, **kwargs)

    def refused(self, text: str) -> str:
        error = self.assertRaises(DescriptionError, self.parse, text)
        self.assertTrue(str(error).startswith(text), str(error))
        return str(error)

    def unix(self, text: str, **kwargs: Any) -> UnixEndpoint:
        endpoint = self.parse(text, **kwargs).endpoint
        assert isinstance(endpoint, UnixEndpoint)
        return endpoint

    def test_tcp(self) -> None:
        found = self.parse("tcp:16509:interface=127.0.0.1")
        self.assertIsInstance(found.endpoint, TCP4ServerEndpoint)
        self.assertEqual(("tcp", False), (found.transport, found.readonly))

    def test_unix(self) -> None:
        endpoint = self.unix(r"unix:/run/a\:b:mode=770:backlog=7:group=0:lockfile=0")
        self.assertEqual(
            ("/run/a:b", 0o770, 7, 0), (endpoint.path, endpoint.mode, endpoint.backlog, endpoint.gid)
        )
        self.assertEqual("unix", self.parse("unix:s").transport)
        self.assertEqual("s", self.unix("unix:address=s").path)

    def test_unix_modes(self) -> None:
        """Read-write sockets are for their owner unless someone says otherwise."""
        self.assertEqual(0o700, self.unix("unix:s").mode)
        self.assertEqual(0o777, self.unix("unix:s", readonly=True).mode)
        self.assertEqual(0o750, self.unix("unix:s", mode=0o750).mode)
        self.assertEqual(0o660, self.unix("unix:s:mode=660", mode=0o750).mode)

    def test_tls(self) -> None:
        folder = Authority().server_folder(Path(self.mktemp()))
        found = self.parse(f"libvirttls:0:pki={folder}", readonly=True)
        self.assertIsInstance(found.endpoint, LibvirtTLSEndpoint)
        self.assertEqual(("tls", True), (found.transport, found.readonly))

    def test_tls_elsewhere(self) -> None:
        """Any Twisted program can listen so: the endpoint string is a plug-in."""
        folder = Authority().server_folder(Path(self.mktemp()))
        parsers = [parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)]
        self.assertIn("libvirttls", parsers)
        endpoint = endpoints.serverFromString(self.reactor, f"libvirttls:0:pki={folder}")
        self.assertIsInstance(endpoint, LibvirtTLSEndpoint)

    def test_systemd(self) -> None:
        """A socket that systemd opened; its variables are read when Twisted is imported, hence the patch."""
        (parser,) = [p for p in getPlugins(IStreamServerEndpointStringParser) if p.prefix == "systemd"]
        with socket.socket(socket.AF_UNIX) as unix, socket.socket() as tcp:
            sockets = ListenFDs([unix.fileno(), tcp.fileno()], ["vm", "net"])
            self.patch(parser, "_sddaemon", sockets)
            found = self.parse("systemd:domain=UNIX:name=vm")
            self.assertIsInstance(found.endpoint, AdoptedUnixEndpoint)
            self.assertEqual("unix", found.transport)
            self.assertEqual("tcp", self.parse("systemd:domain=INET:name=net").transport)
            self.assertIn("other", self.refused("systemd:domain=UNIX:name=other"))

    def test_refused(self) -> None:
        for text, why in {
            "nope:1": "Unknown endpoint type: 'nope'",
            "tcp:": "port: a number from 0 to 65535 is wanted, not ''",
            "tcp:port=x": "not 'x'",
            "tcp6:65536": "not '65536'",
            "tcp:1:2:3:4:5": "argument",
            "unix:": "it is unix:PATH[:mode=770]",
            "unix:a:b": "it is unix:PATH[:mode=770]",
            "unix:a:mode=8": "permissions from 0 to 777 are wanted, not '8'",
            "unix:a:backlog=x": "backlog: a number",
            "unix:a:group=no such group": "there is no group 'no such group'",
            "unix:" + "x" * 200: "at most 107 bytes",
        }.items():
            self.assertIn(why, self.refused(text))

    def test_bad_certificates(self) -> None:
        text = "libvirttls:1:pki=/nonexistent"
        error = self.assertRaises(PKIError, self.parse, text)
        self.assertEqual(f"{text}: /nonexistent: no such folder of certificates", str(error))

    def test_octal(self) -> None:
        self.assertEqual([0, 0o777, 0o660], [octal(text) for text in ("0", "777", "0660")])
        for text in ("1000", "-1", "", "rwx"):
            self.assertRaises(DescriptionError, octal, text)


class ShowAddressTests(TestCase):
    """Addresses as people and scripts read them."""

    def test_forms(self) -> None:
        for address, transport, text in [
            (IPv4Address("TCP", "127.0.0.1", 5), "tcp", "tcp:127.0.0.1:5"),
            (IPv6Address("TCP", "::1", 5), "tls", "tls:[::1]:5"),
            (UNIXAddress(os.fsencode("/run/s")), "unix", "unix:/run/s"),
            (UNIXAddress(None), "unix", "unix:"),
        ]:
            self.assertEqual(text, show_address(address, transport))
        self.assertTrue(show_address(HostnameAddress(b"h", 5), "tcp").startswith("tcp:"))
