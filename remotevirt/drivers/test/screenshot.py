"""Pictures of guests that have no screens.

libvirt's test driver sends a picture that its library is installed with. Where that file is, on this machine,
it is sent here too, so that clients see what they are used to; elsewhere a plain one that is drawn here. As
with libvirt, no guest needs to run for it, and every screen shows the same.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.streams import DriverStream
from remotevirt.procedures import StreamResult
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["ScreenshotCalls"]

PICTURE: Final = Path("/usr/share/libvirt/test-screenshot.png")
"""Where libvirt's library has its picture."""

MAX_PICTURE: Final = 16 * 1024 * 1024
"""Bytes of a picture that is sent; libvirt's has 33,443."""

WIDTH, HEIGHT = 640, 400


class Picture(DriverStream):
    """Sends a picture."""

    readable = True

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, size: int) -> bytes:
        """Return the next part."""
        part = self._data[self._place : self._place + size]
        self._place += len(part)
        return part


class ScreenshotCalls(DomainCalls):
    """The one call."""

    def domain_screenshot(self, dom: NonnullDomain, screen: int, flags: int) -> StreamResult[str | None]:
        """Send a picture."""
        check_flags(flags, 0, "testDomainScreenshot")
        self.record(dom)
        return StreamResult(Picture(picture()), "image/png")


@cache
def picture(path: Path = PICTURE) -> bytes:
    """Return a PNG: the file's, or a drawn one where there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PICTURE + 1)
    except OSError:
        return draw()
    return data if len(data) <= MAX_PICTURE else draw()


def draw() -> bytes:
    """Draw a grey picture that gets lighter from top to bottom (PNG, RFC 2083)."""
    rows = b"".join(b"\0" + bytes([64 + row * 128 // HEIGHT]) * WIDTH for row in range(HEIGHT))
    header = struct.pack(">2I5B", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
