"""A small blocking client of the wire, for tests that must say exactly which bytes they send.

It knows the frame and the header and nothing of what is in a payload; whatever a test wants to send, however
wrong, it can. It is for daemons in another process: it blocks, with a time limit on every wait.

::

    with WireClient(path) as client:
        client.open()
        reply = client.call(REMOTE, 4)        # connect_get_version
        reply.status, reply.payload
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["KEEPALIVE", "REMOTE", "Closed", "Frame", "WireClient", "pack_frame", "pack_string"]

REMOTE = 0x20008086
KEEPALIVE = 0x6B656570

CALL, REPLY, MESSAGE = 0, 1, 2
OK, ERROR, CONTINUE = 0, 1, 2

CONNECT_OPEN, CONNECT_CLOSE, AUTH_LIST = 1, 2, 66

HEADER = struct.Struct(">IIIIIII")
"""Length (of the whole frame), program, version, procedure, type, serial, status."""

TIMEOUT = 15.0
"""Seconds that one reply may take; a daemon that needs more is taken for dead."""


class Closed(Exception):
    """The daemon closed the connection instead of answering."""


class Frame(NamedTuple):
    """One message, whatever its type."""

    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int
    payload: bytes


def pack_frame(frame: Frame) -> bytes:
    """The bytes of a message, its length word included."""
    return HEADER.pack(HEADER.size + len(frame.payload), *frame[:6]) + frame.payload


def pack_string(text: str) -> bytes:
    """An XDR string: length, bytes, padding to four."""
    raw = text.encode()
    return struct.pack(">I", len(raw)) + raw + b"\0" * (-len(raw) % 4)


class WireClient:
    """One connection.

    Args:
        address: the path of a UNIX socket, or (host, port).
        wrap: turns the connected socket into another, for TLS.
    """

    def __init__(
        self,
        address: str | tuple[str, int],
        *,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        plain = socket.socket(family, socket.SOCK_STREAM)
        plain.settimeout(timeout)
        try:
            plain.connect(address)
            self.socket = wrap(plain) if wrap else plain
        except BaseException:
            plain.close()
            raise
        self.serial = 0
        self.events: list[Frame] = []
        """Messages of type 2 that came while a reply was awaited, oldest first."""

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket, without saying goodbye."""
        self.socket.close()

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            Closed: the daemon no longer takes them.
        """
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def send(
        self,
        program: int,
        procedure: int,
        payload: bytes = b"",
        *,
        version: int = 1,
        type: int = CALL,
        serial: int | None = None,
        status: int = OK,
    ) -> int:
        """Send one message, a call unless told otherwise; returns its serial."""
        if serial is None:
            serial = self.serial
            self.serial += 1
        self.send_raw(pack_frame(Frame(program, version, procedure, type, serial, status, payload)))
        return serial

    def _receive_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError as error:
                raise Closed from error
            if not more:
                raise Closed(f"{len(data)} of {size} bytes had come")
            data += more
        return bytes(data)

    def receive(self) -> Frame:
        """The next message of any kind.

        Raises:
            Closed: the daemon closed the connection.
            TimeoutError: nothing came in time.
        """
        length, *header = HEADER.unpack(self._receive_exactly(HEADER.size))
        program, version, procedure, type_, serial, status = header
        payload = self._receive_exactly(length - HEADER.size)
        return Frame(program, version, procedure, type_, serial, status, payload)

    def reply_to(self, serial: int) -> Frame:
        """The next message with this serial that is not an event; what comes before is an event, and kept."""
        while True:
            frame = self.receive()
            if frame.type == MESSAGE:
                self.events.append(frame)
            elif frame.serial == serial:
                return frame
            else:
                raise AssertionError(f"awaited serial {serial}, got {frame}")

    def call(self, program: int, procedure: int, payload: bytes = b"", *, version: int = 1) -> Frame:
        """Send a call and wait for its reply."""
        return self.reply_to(self.send(program, procedure, payload, version=version))

    def open(self, uri: str = "test:///default", *, flags: int = 0) -> Frame:
        """What every client does first: ask for the authentication methods, open the driver connection."""
        listed = self.call(REMOTE, AUTH_LIST)
        assert listed.status == OK, listed
        name = struct.pack(">I", 1) + pack_string(uri)
        opened = self.call(REMOTE, CONNECT_OPEN, name + struct.pack(">I", flags))
        assert opened.status == OK, opened
        return opened
