"""Who hits the port without speaking TLS."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotevirt.transport.strangers import describe_stranger


class StrangerTests(TestCase):
    """:func:`describe_stranger`."""

    def test_tls(self) -> None:
        """A hello, or an alert, in any version, and however little of it."""
        for first in (b"\x16", b"\x16\x03", b"\x16\x03\x01\x02\x00\x01", b"\x15\x03\x01\x00\x02\x02\x28"):
            self.assertIsNone(describe_stranger(first))

    def test_others(self) -> None:
        for first, what in {
            b"": "it sent nothing, as a port scan does",
            b"GET / HTTP/1.1\r\n": "an HTTP request on a port with TLS",
            b"PRI * HTTP/2.0\r\n": "an HTTP request on a port with TLS",
            b"SSH-2.0-OpenSSH_": "an SSH client on a port with TLS",
            b"\0\0\0\x1c\x20\0\x80\x86\0\0\0\x01\0\0\0\x42": "a libvirt client without TLS",
            b"\0\0\0\x1c\x20\0\x80": "no TLS, but bytes that start with 00 00 00 1c 20 00 80",
            b"\x80\x2e\x01\x00\x02": "no TLS, but bytes that start with 80 2e 01 00 02",
            b"\x16\x02\x00": "no TLS, but bytes that start with 16 02 00",
            b"hello": "no TLS, but bytes that start with 68 65 6c 6c 6f",
        }.items():
            self.assertEqual(what, describe_stranger(first))
