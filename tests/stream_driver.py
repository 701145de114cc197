"""The embedded hypervisor with streams and descriptors: volumes that keep bytes, consoles that echo.

For tests with real clients: libvirt's own test driver has no streams but screenshots, so these answers are
what a small driver of one's own would give.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred

from remotevirt.drivers import (
    ClientInfo,
    DriverConnection,
    DriverStream,
    DriverURI,
    FilesResult,
    Hole,
    StreamResult,
)
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.drivers.test.volumes import TestPools
from remotevirt.stubs.errors import OperationFailed

BLOCK = 4096

FULL = b"\xee" * 16
"""What an upload is refused for, in the middle; no random bytes are like it."""

VOLUMES: dict[str, bytearray] = {}
"""What each volume holds, by its key."""


class Download(DriverStream):
    """Sends a volume; zero blocks are holes, if these are wanted."""

    readable = True

    def __init__(self, data: bytes, sparse: bool) -> None:
        self.data = data
        self.place = 0
        self.sparse = sparse

    def read(self, size: int) -> bytes | Hole:
        """The next block or blocks of one kind."""
        if not self.sparse:
            part = self.data[self.place : self.place + size]
            self.place += len(part)
            return part
        start = self.place
        empty = self._empty(start)
        while self.place < len(self.data) and self._empty(self.place) is empty:
            if not empty and self.place + BLOCK - start > size:
                break
            self.place += BLOCK
        self.place = min(self.place, len(self.data))
        return Hole(self.place - start) if empty and self.place > start else self.data[start : self.place]

    def _empty(self, place: int) -> bool:
        return not any(self.data[place : place + BLOCK])


class Upload(DriverStream):
    """Takes a volume, until FULL comes: then the disk is full."""

    writable = True

    def __init__(self, key: str, offset: int) -> None:
        self.target = VOLUMES.setdefault(key, bytearray())
        del self.target[offset:]
        self.target += bytes(offset - len(self.target))

    def write(self, data: bytes) -> None:
        """Append."""
        if data.startswith(FULL):
            raise OperationFailed("the disk is full")
        self.target += data

    def write_hole(self, length: int) -> None:
        """Append zeros."""
        self.target += bytes(length)


class Console(DriverStream):
    """Says hello, then echoes in capitals; ``exit`` ends it."""

    readable = True
    writable = True

    def __init__(self) -> None:
        self.out = bytearray(b"hello\r\n")
        self.over = False
        self.waiting: Deferred[bytes] | None = None

    def read(self, size: int) -> Any:
        """What there is to say, when there is something."""
        if self.out or self.over:
            data = bytes(self.out[:size])
            del self.out[:size]
            return data
        self.waiting = Deferred()
        return self.waiting

    def write(self, data: bytes) -> None:
        """Echo."""
        self.out += data.upper()
        self.over = b"exit" in data
        if self.waiting is not None and not self.waiting.called:
            self.waiting.callback(self.read(1 << 20))


class Machines(TestHypervisor):
    """Consoles, pictures and descriptors; the rest is the embedded hypervisor's."""

    def domain_open_console(self, dom: Any, dev_name: Any, flags: int) -> StreamResult[None]:
        """A console."""
        return StreamResult(Console(), None)

    def domain_open_graphics_fd(self, dom: Any, idx: int, flags: int) -> FilesResult[None]:
        """A socket whose other end has said something."""
        ours, theirs = socket.socketpair()
        ours.sendall(b"RFB 003.008\n")
        ours.close()
        return FilesResult((theirs.detach(),), None)

    def domain_create_with_files(self, dom: Any, flags: int, files: Any) -> Any:
        """Write into each file; then as without."""
        for number, descriptor in enumerate(files):
            os.write(descriptor, b"init got file %d\n" % number)
        return self.domain_create_with_flags(dom, flags)


class Volumes(TestPools):
    """Volumes with bytes; the rest is the embedded hypervisor's."""

    def storage_vol_upload(self, vol: Any, offset: int, length: int, flags: int) -> StreamResult[None]:
        """Take bytes."""
        return StreamResult(Upload(vol.key, offset), None)

    def storage_vol_download(self, vol: Any, offset: int, length: int, flags: int) -> StreamResult[None]:
        """Give them back."""
        data = bytes(VOLUMES.get(vol.key, b""))
        end = offset + length if length else len(data)
        return StreamResult(Download(data[offset:end], bool(flags & 1)), None)


class StreamDriver(TestDriver):
    """Answers ``test:`` URIs."""

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a connection with streams."""
        connection = super().open(uri, client)
        machines: Any = connection.hypervisor
        volumes: Any = connection.storage
        connection.hypervisor = Machines(machines.world, machines.uri)
        connection.storage = Volumes(volumes.pools, volumes.hub, volumes.vports)
        return connection
