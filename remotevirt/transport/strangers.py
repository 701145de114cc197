"""What hits a port where TLS is spoken and speaks none, for the log."""

from __future__ import annotations

from remotevirt.strangers import describe_known

__all__ = ["describe_stranger"]

HANDSHAKE, ALERT = 0x16, 0x15
"""The kinds of record that a client of TLS may begin with: an alert, if it thinks better of it."""

REMOTE_PROGRAM = b"\x20\x00\x80\x86"
"""The program of libvirt's first call, behind the length word."""


def describe_stranger(first: bytes) -> str | None:
    """Say what a client is by its first bytes; None if it may be one of TLS."""
    if not first:
        return "it sent nothing, as a port scan does"
    known = describe_known(first)
    if known is not None:
        return f"{known} on a port with TLS"
    if first[4:8] == REMOTE_PROGRAM:
        return "a libvirt client without TLS"
    if first[0] in (HANDSHAKE, ALERT) and first[1:2] in (b"", b"\x03"):
        return None
    return f"no TLS, but bytes that start with {first[:8].hex(' ')}"
