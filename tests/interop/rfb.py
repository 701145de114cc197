"""A small client of VNC's protocol (RFB 3.8): it logs in with a password, and that is all."""

from __future__ import annotations

import socket

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

__all__ = ["log_in"]

TIMEOUT = 20.0
"""Seconds that the server may take for one answer."""

VERSION = b"RFB 003.008\n"

NONE, PASSWORD = 1, 2
"""Kinds of authentication."""


def log_in(port: int, password: str | None) -> bool:
    """Connect to a display on this host, and log in.

    Args:
        port: of the display.
        password: None to go in without, where that is offered.

    Returns:
        whether the server lets one in.

    Raises:
        AssertionError: it speaks something else, or does not offer this way in.
    """
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.settimeout(TIMEOUT)
        assert _read(connection, 12) == VERSION
        connection.sendall(VERSION)
        offered = _read(connection, _read(connection, 1)[0])
        wanted = NONE if password is None else PASSWORD
        assert wanted in offered, offered
        connection.sendall(bytes([wanted]))
        if password is not None:
            connection.sendall(_answer(_read(connection, 16), password))
        return _read(connection, 4) == bytes(4)


def _answer(challenge: bytes, password: str) -> bytes:
    """The challenge, encrypted with DES; the password is the key, the bits of each byte turned around."""
    padded = password.encode("latin-1")[:8].ljust(8, b"\0")
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in padded)
    # three times with the same key is once
    return Cipher(TripleDES(key * 3), modes.ECB()).encryptor().update(challenge)


def _read(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer if the server hangs up."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data
