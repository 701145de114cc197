"""Volumes in streams."""

from __future__ import annotations

import errno
import os
import threading
from inspect import isawaitable
from typing import Any

from remotevirt.drivers.storage import streams
from remotevirt.drivers.storage.faults import system
from remotevirt.drivers.streams import DriverStream, Hole
from remotevirt.stubs import constants as c
from tests.drivers.storage.driving import MIB, all_closed, descriptors
from tests.drivers.storage.test_volumes import VolumeCase

SPARSE = 1


async def done(value: Any) -> Any:
    """Await what may be there already."""
    return await value if isawaitable(value) else value


class StreamTests(VolumeCase):
    """storage_vol_upload and storage_vol_download."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.vol = await self.make(self.ref, "v", allocation=None)
        self.data = os.urandom(MIB)
        (self.path / "v").write_bytes(self.data)

    async def stream(self, way: str, offset: int = 0, length: int = 0, flags: int = 0) -> DriverStream:
        """Open a stream."""
        found = await self.call(f"storage_vol_{way}", self.vol, offset, length, flags)
        stream: DriverStream = found.stream
        return stream

    async def read(self, stream: DriverStream) -> list[bytes | Hole]:
        """Read a stream to its end."""
        parts = []
        while part := await done(stream.read(100_000)):
            parts.append(part)
        await done(stream.finish())
        return parts

    async def test_download(self) -> None:
        for offset, length in ((0, 0), (5, 0), (100, 200_000), (MIB - 3, 50), (2 * MIB, 0)):
            parts = await self.read(await self.stream("download", offset, length))
            end = offset + length if length else MIB
            self.assertEqual(self.data[offset:end], b"".join(parts))
            self.assertLessEqual(max(map(len, parts), default=0), 100_000)

    async def test_upload(self) -> None:
        stream = await self.stream("upload", 10)
        await done(stream.write(b"abc"))
        await done(stream.write(b"def"))
        self.events.clear()
        await done(stream.finish())
        self.assertEqual(self.data[:10] + b"abcdef" + self.data[16:], (self.path / "v").read_bytes())
        self.assertEqual([-1], self.lifecycle())

    async def test_upload_of_an_image(self) -> None:
        """The pool knows what came when the stream has ended."""
        await self.make(self.ref, "q", kind="qcow2", capacity=64 * MIB)
        stream = await self.stream("upload")
        await done(stream.write((self.path / "q").read_bytes()))
        await done(stream.finish())
        self.assertIn("<format type='qcow2'/>", await self.xml("v"))
        self.assertEqual(64 * MIB, (await self.info("v"))[1])

    async def test_more_than_was_asked_for(self) -> None:
        stream = await self.stream("upload", 0, 5)
        await done(stream.write(b"abc"))
        text = "cannot write to stream: No space left on device"
        error = await self.refused(done(stream.write(b"def")), text)
        self.assertEqual(c.VIR_FROM_STREAMS, error.domain)
        stream.abort()
        self.assertEqual(b"abc" + self.data[3:], (self.path / "v").read_bytes())

    async def test_holes(self) -> None:
        with open(self.path / "v", "wb") as file:
            file.write(b"a" * 65536)
            file.seek(MIB - 65536)
            file.write(b"b" * 65536)
            file.truncate(2 * MIB)
        parts = await self.read(await self.stream("download", flags=SPARSE))
        self.assertEqual([b"a" * 65536, Hole(MIB - 131072), b"b" * 65536, Hole(MIB)], parts)
        await self.make(self.ref, "w")
        self.vol = await self.call("storage_vol_lookup_by_name", self.ref, "w")
        (self.path / "w").write_bytes(b"x" * 300_000)
        stream = await self.stream("upload", flags=SPARSE)
        for part in parts:
            await done(stream.write_hole(part.length) if isinstance(part, Hole) else stream.write(part))
        await done(stream.finish())
        self.assertEqual((self.path / "v").read_bytes(), (self.path / "w").read_bytes())
        self.assertLess((await self.info("w"))[2], MIB)

    async def test_part_with_holes(self) -> None:
        os.truncate(self.path / "v", 3 * MIB)
        parts = await self.read(await self.stream("download", MIB - 5, 100, SPARSE))
        self.assertEqual([self.data[-5:], Hole(95)], parts)

    async def test_places_that_no_file_has(self) -> None:
        for offset in (2**63 - 1, 2**63, 2**64 - 1):
            for flags in (0, SPARSE):
                self.assertEqual([], await self.read(await self.stream("download", offset, 0, flags)))
            stream = await self.stream("upload", offset)
            await self.refused(done(stream.write(b"x")), "cannot write to stream")
            stream.abort()
        stream = await self.stream("upload")
        await self.refused(done(stream.write_hole(2**63)), "cannot write to stream")
        await self.refused(done(stream.write_hole(-1)), "unable to create hole")
        stream.abort()

    async def test_refusals(self) -> None:
        for way in ("upload", "download"):
            name = f"storage_vol_{way}"
            text = f"unsupported flags (0x2) in function storageVol{way.title()}"
            await self.no(text, name, self.vol, 0, 0, 2)
        folder = await self.make(self.ref, "d", kind="dir")
        text = f"Unable to read {self.path}/d: Is a directory"
        await self.no(text, "storage_vol_download", folder, 0, 0, 0)
        await self.no("Is a directory", "storage_vol_upload", folder, 0, 0, 0)

    async def test_volume_that_is_uploaded_stays(self) -> None:
        stream = await self.stream("upload")
        text = "volume 'v' is still in use."
        await self.no(text, "storage_vol_delete", self.vol, 0)
        stream.abort()
        await self.call("storage_vol_delete", self.vol, 0)

    async def test_descriptors_are_closed(self) -> None:
        before = descriptors()
        for way in ("upload", "download"):
            (await self.stream(way)).abort()
            stream = await self.stream(way)
            await done(stream.finish())
            stream.abort()
        await all_closed(before)

    async def test_closed_in_a_thread(self) -> None:
        """A file of another host may take its time to be closed; meanwhile others are served."""
        threads = []

        def close(file: int) -> None:
            threads.append(threading.get_ident())
            os.close(file)

        self.patch(streams, "close_file", close)
        before = descriptors()
        await done((await self.stream("upload")).finish())
        (await self.stream("download")).abort()
        await all_closed(before)
        self.assertEqual(2, len(threads))
        self.assertNotIn(threading.get_ident(), threads)

    async def test_close_that_fails(self) -> None:
        """What shows that bytes are lost is told to who has sent them."""

        def close(file: int) -> None:
            os.close(file)
            raise system("cannot close stream", errno.EIO, c.VIR_FROM_STREAMS)

        self.patch(streams, "close_file", close)
        stream = await self.stream("upload")
        await self.refused(done(stream.finish()), "cannot close stream: Input/output error")
        await self.call("storage_vol_delete", self.vol, 0)

    async def test_abort_in_the_middle(self) -> None:
        """A piece that is being written is dealt with before the file is closed."""
        before = descriptors()
        stream: Any = await self.stream("upload")
        work = stream.write(b"z" * MIB)
        running = work.send(None)
        stream.abort()
        os.fstat(stream.file)
        await running
        with self.assertRaises(StopIteration):
            work.send(None)
        await all_closed(before)
