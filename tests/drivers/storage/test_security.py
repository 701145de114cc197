"""What may not be reached: links, files that images name, half made volumes."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from remotevirt.drivers.disk_threads import Stop
from remotevirt.drivers.storage.chains import read_facts
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullStorageVol
from tests.drivers.storage.driving import MIB, volume_xml
from tests.drivers.storage.test_images import qcow2
from tests.drivers.storage.test_volumes import VolumeCase

CLONE = "storage_vol_create_xml_from"


class LinkTests(VolumeCase):
    """Symbolic links in a pool's folder."""

    async def link(self) -> tuple[Path, NonnullStorageVol]:
        """Return a file outside, and the volume that links to it."""
        outside = self.folder / "outside"
        outside.write_bytes(b"precious")
        os.symlink(outside, self.path / "link")
        await self.call("storage_pool_refresh", self.ref, 0)
        return outside, await self.call("storage_vol_lookup_by_name", self.ref, "link")

    async def test_nothing_is_written_through_a_link(self) -> None:
        outside, vol = await self.link()
        text = "Too many levels of symbolic links"
        await self.no(text, "storage_vol_wipe", vol, 0)
        await self.no(text, "storage_vol_resize", vol, MIB, 0)
        await self.no(text, "storage_vol_upload", vol, 0, 0, 0)
        self.assertEqual(b"precious", outside.read_bytes())
        await self.call("storage_vol_delete", vol, 0)
        self.assertEqual(b"precious", outside.read_bytes())
        self.assertEqual([], self.left())

    async def test_no_image_is_resized_through_a_link(self) -> None:
        await self.make(self.ref, "q", kind="qcow2")
        os.rename(self.path / "q", self.folder / "outside")
        os.symlink(self.folder / "outside", self.path / "q")
        vol = await self.call("storage_vol_lookup_by_name", self.ref, "q")
        text = "Too many levels of symbolic links"
        await self.no(text, "storage_vol_resize", vol, 8 * MIB, 0)

    async def test_a_link_is_not_replaced(self) -> None:
        await self.link()
        os.symlink(self.folder / "new", self.path / "dangling")
        for kind in ("raw", "qcow2", "dir"):
            xml = volume_xml("dangling", kind=kind)
            text = f"volume target path '{self.path}/dangling' already exists"
            await self.no(text, "storage_vol_create_xml", self.ref, xml, 0)
        self.assertFalse((self.folder / "new").exists())


class DeviceTests(VolumeCase):
    """What is no file is not even opened: a watchdog would begin to count, a pipe's writer would go on."""

    def setUp(self) -> Any:
        self.opened: list[str] = []
        return super().setUp()

    def watch(self) -> None:
        """Note what is opened from now on."""
        real = os.open

        def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            file = real(path, flags, *args, **kwargs)
            if not flags & os.O_PATH:
                self.opened.append(os.readlink(f"/proc/self/fd/{file}"))
            return file

        self.patch(os, "open", opened)

    async def test_header_that_names_none(self) -> None:
        pipe = self.path / "pipe"
        os.mkfifo(pipe)
        (self.path / "top").write_bytes(qcow2(name=b"pipe"))
        self.watch()
        for path in (str(pipe), "/dev/null", str(self.path)):
            with self.assertRaises(OperationInvalid):
                read_facts(Stop(), path)
        await self.call("storage_pool_refresh", self.ref, 0)
        self.assertIn("<format type='qcow2'/>", await self.xml("top"))
        self.assertIn(str(self.path / "top"), self.opened)
        for path in (str(pipe), "/dev/null"):
            self.assertNotIn(path, self.opened)


class HeaderTests(VolumeCase):
    """A guest has written a header into its raw disk that names a file of the host."""

    async def planted(self, header: bytes, name: str = "v") -> NonnullStorageVol:
        """Return a volume with a header that is taken for an image."""
        await self.make(self.ref, name)
        with open(self.path / name, "r+b") as file:
            file.write(header)
        await self.call("storage_pool_refresh", self.ref, 0)
        vol: NonnullStorageVol = await self.call("storage_vol_lookup_by_name", self.ref, name)
        return vol

    async def test_backing_file_outside(self) -> None:
        secret = self.folder / "secret"
        secret.write_bytes(b"precious" * 1000)
        for name in (str(secret), "../secret", "json:{}", f"nbd:unix:{secret}"):
            vol = await self.planted(qcow2(name=name.encode()), "v")
            self.assertIn("<backingStore>", await self.xml("v"))
            self.assertNotIn("<owner>", (await self.xml("v")).partition("<backingStore>")[2])
            text = "is in no active pool"
            await self.no(text, CLONE, self.ref, volume_xml("copy"), vol, 0)
            await self.no(text, "storage_vol_resize", vol, 8 * MIB, 0)
            await self.call("storage_vol_delete", vol, 0)
        self.assertEqual([], self.left())

    async def test_link_as_backing_file(self) -> None:
        os.symlink("/etc/passwd", self.path / "base")
        vol = await self.planted(qcow2(name=b"base"))
        await self.no("is in no active pool", CLONE, self.ref, volume_xml("copy"), vol, 0)

    async def test_data_file(self) -> None:
        vol = await self.planted(qcow2(features=4))
        text = "are in another file, which is not opened"
        await self.no(text, CLONE, self.ref, volume_xml("copy"), vol, 0)

    async def test_endless_chain(self) -> None:
        vol = await self.planted(qcow2(name=b"v"))
        text = "stands on too many images"
        await self.no(text, CLONE, self.ref, volume_xml("copy"), vol, 0)

    async def test_raw_stays_raw_until_somebody_looks(self) -> None:
        """A guest's header does not make a disk another format because somebody asks for its size."""
        vol = await self.make(self.ref, "v")
        with open(self.path / "v", "r+b") as file:
            file.write(qcow2(name=b"/etc/passwd", capacity=77 * MIB))
        self.assertEqual(MIB, (await self.call("storage_vol_get_info", vol)).capacity)
        self.assertEqual("raw", self.storage.locate("p", "v").format)
        self.assertNotIn("passwd", await self.xml("v"))

    async def test_names_of_protocols(self) -> None:
        """A backing file that looks like a protocol is a file."""
        name = "json:{}"
        await self.make(self.ref, name, kind="raw")
        rest = f"<backingStore><path>{name}</path><format type='raw'/></backingStore>"
        await self.make(self.ref, "top", kind="qcow2", rest=rest)
        header = (self.path / "top").read_bytes()[:2048]
        self.assertIn(f"{self.path}/{name}".encode(), header)


class WordTests(VolumeCase):
    """What goes into command lines."""

    async def test_ciphers(self) -> None:
        uuid = "11111111-2222-3333-4444-555555555555"
        self.secrets["x"] = b"y"
        for cipher in ("name='aes,preallocation=full' size='256'", "name='aes' size='256' mode='cbc,x=y'"):
            target = f"<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/><cipher {cipher}/>"
            xml = volume_xml("v", target=f"{target}</encryption>")
            await self.no("unknown cipher", "storage_vol_create_xml", self.ref, xml, 0)

    async def test_names_are_no_options(self) -> None:
        vol = await self.make(self.ref, "--help", kind="qcow2", capacity=8 * MIB)
        await self.call("storage_vol_resize", vol, 16 * MIB, 0)
        await self.call(CLONE, self.ref, volume_xml("-o"), vol, 0)
        await self.call(CLONE, self.ref, volume_xml("nbd:x", kind="qcow2"), vol, 0)
        self.assertEqual(["--help", "-o", "nbd:x"], self.left())
        self.assertEqual(16 * MIB, struct.unpack(">Q", (self.path / "nbd:x").read_bytes()[24:32])[0])
        self.assertEqual(c.VIR_STORAGE_VOL_FILE, (await self.info("-o"))[0])
