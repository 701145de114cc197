"""Who is at the other end of a transport."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.identity import Identity
from remotevirt.transport import identify


class Transport:
    """A transport of one socket, or of one address and certificate."""

    def __init__(self, handle: Any = None, peer: Any = None, certificate: Any = None) -> None:
        self.getHandle = lambda: handle
        self.getPeer = lambda: peer
        self.getPeerCertificate = lambda: certificate


class Unreadable:
    """A certificate that does not decode."""

    def to_cryptography(self) -> Any:
        raise ValueError("nonsense")


class IdentifyTests(SynchronousTestCase):
    """Each transport in turn."""

    def test_unix(self) -> None:
        """Also of a process that has gone already."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            wanted = Identity("unix", uid=os.getuid(), gid=os.getgid(), pid=os.getpid())
            self.assertEqual(wanted, identify(Transport(ours), "unix"))
            theirs.close()
            self.assertEqual(wanted, identify(Transport(ours), "unix"))

    def test_tcp(self) -> None:
        peer = IPv4Address("TCP", "192.0.2.9", 40000)
        self.assertEqual(Identity("tcp", "192.0.2.9;40000"), identify(Transport(peer=peer), "tcp"))

    def test_tls_without_a_name(self) -> None:
        """Nobody was asked for a certificate, or it cannot be read."""
        peer = IPv6Address("TCP", "2001:db8::9", 40000)
        wanted = Identity("tls", "2001:db8::9;40000")
        self.assertEqual(wanted, identify(Transport(object(), peer), "tls"))
        self.assertEqual(wanted, identify(Transport(object(), peer, Unreadable()), "tls"))
