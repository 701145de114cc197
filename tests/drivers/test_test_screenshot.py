"""Pictures of guests: what is sent, and to whom."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.test.screenshot import HEIGHT, MAX_PICTURE, WIDTH, Picture, draw, picture
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import InvalidArg, NoDomain
from remotevirt.stubs.remote import NonnullDomain
from tests.drivers.driving import connect


class ScreenshotTests(SynchronousTestCase):
    """domain_screenshot."""

    def setUp(self) -> None:
        self.calls: Any = connect().hypervisor
        self.dom = self.calls.domain_lookup_by_name("test")

    def read(self, stream: Picture) -> bytes:
        """All of a stream, in parts."""
        data = b""
        while part := stream.read(1000):
            self.assertLessEqual(len(part), 1000)
            data += part
        return data

    def test_every_screen(self) -> None:
        """Of a guest that runs and of one that does not."""
        for screen in (0, 5):
            result = self.calls.domain_screenshot(self.dom, screen, 0)
            self.assertEqual(("image/png", picture()), (result.value, self.read(result.stream)))
        self.calls.domain_destroy(self.dom)
        self.assertEqual(picture(), self.read(self.calls.domain_screenshot(self.dom, 0, 0).stream))

    def test_refused(self) -> None:
        """Flags; a guest that is not there."""
        error = self.assertRaises(InvalidArg, self.calls.domain_screenshot, self.dom, 0, 1)
        self.assertEqual(vir.VIR_ERR_INVALID_ARG, error.code)
        nobody = NonnullDomain("no", bytes(16), 1)
        self.assertRaises(NoDomain, self.calls.domain_screenshot, nobody, 0, 0)

    def test_drawn(self) -> None:
        """A PNG whose parts are whole and whose pixels are as many as it says."""
        data = draw()
        self.assertTrue(data.startswith(b"\x89PNG\r\n\x1a\n"))
        place, chunks = 8, {}
        while place < len(data):
            (length,) = struct.unpack_from(">I", data, place)
            name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
            self.assertEqual((zlib.crc32(name + body),), struct.unpack_from(">I", data, place + 8 + length))
            chunks[name] = body
            place += 12 + length
        self.assertEqual((WIDTH, HEIGHT), struct.unpack_from(">2I", chunks[b"IHDR"]))
        self.assertEqual((WIDTH + 1) * HEIGHT, len(zlib.decompress(chunks[b"IDAT"])))

    def test_file(self) -> None:
        """The installed picture, if there is one of a reasonable size."""
        self.assertEqual(draw(), picture(Path(self.mktemp())))
        path = Path(self.mktemp())
        path.write_bytes(b"a picture")
        self.assertEqual(b"a picture", picture(path))
        large = Path(self.mktemp())
        with large.open("wb") as file:
            file.truncate(MAX_PICTURE + 1)
        self.assertEqual(draw(), picture(large))
