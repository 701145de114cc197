"""Volumes: made, copied, resized, wiped, deleted; on real files, with the real qemu-img."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any
from unittest import SkipTest

from remotevirt.drivers.storage.aside import find_program
from remotevirt.drivers.storage.records import VolumeFile
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullStoragePool
from tests.drivers.storage.driving import KIB, MIB, StorageCase, volume_xml

SECRET = "11111111-2222-3333-4444-555555555555"
LUKS = f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption>"


def image_info(path: Path) -> Any:
    """Return what qemu-img says of an image."""
    program = find_program("qemu-img")
    if program is None:
        raise SkipTest("qemu-img is not installed (Debian: qemu-utils)")
    command = [program, "info", "--output=json", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


class VolumeCase(StorageCase):
    """One pool."""

    ref: NonnullStoragePool

    async def asyncSetUp(self) -> None:
        """Start the pool."""
        self.ref = await self.pool()
        self.path = self.folder / "p"

    def setUp(self) -> Any:
        super().setUp()
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(self.asyncSetUp())

    async def info(self, name: str) -> tuple[int, int, int]:
        """Return a volume's type, capacity and allocation."""
        vol = await self.call("storage_vol_lookup_by_name", self.ref, name)
        found: tuple[int, int, int] = await self.call("storage_vol_get_info", vol)
        return found

    async def xml(self, name: str) -> str:
        """Return a volume's document."""
        vol = await self.call("storage_vol_lookup_by_name", self.ref, name)
        text: str = await self.call("storage_vol_get_xml_desc", vol, 0)
        return text

    def left(self) -> list[str]:
        """Return everything that is in the folder."""
        return sorted(os.listdir(self.path))


class MakingTests(VolumeCase):
    """storage_vol_create_xml."""

    async def test_raw(self) -> None:
        for name, allocation, room in (("full", None, MIB), ("part", 64 * KIB, 64 * KIB), ("none", 0, 0)):
            await self.make(self.ref, name, allocation=allocation)
            self.assertEqual((0, MIB, room), await self.info(name))
            found = (self.path / name).stat()
            self.assertEqual((MIB, 0o600), (found.st_size, stat.S_IMODE(found.st_mode)))
        vol = await self.call("storage_vol_lookup_by_name", self.ref, "part")
        flags = c.VIR_STORAGE_VOL_GET_PHYSICAL
        self.assertEqual((0, MIB, MIB), await self.call("storage_vol_get_info_flags", vol, flags))
        self.assertEqual(["full", "none", "part"], self.left())

    async def test_document(self) -> None:
        await self.make(self.ref, "v", allocation=None, target="<permissions><mode>0640</mode></permissions>")
        found = (self.path / "v").stat()
        path = self.path / "v"
        text = await self.xml("v")
        self.assertIn(f"<key>{path}</key>\n  <capacity unit='bytes'>1048576</capacity>", text)
        self.assertIn("<physical unit='bytes'>1048576</physical>", text)
        self.assertIn(f"<mode>0640</mode>\n      <owner>{found.st_uid}</owner>", text)
        seconds, rest = divmod(found.st_mtime_ns, 10**9)
        self.assertIn(f"<mtime>{seconds}.{rest:09}</mtime>", text)
        self.assertIn("<btime>0</btime>", text)

    async def test_images(self) -> None:
        for kind in ("qcow2", "qcow", "qed", "vmdk", "vdi"):
            await self.make(self.ref, f"i.{kind}", kind=kind, capacity=8 * MIB)
            self.assertEqual(kind, image_info(self.path / f"i.{kind}")["format"])
        before = {name: await self.info(name) for name in self.left()}
        await self.call("storage_pool_refresh", self.ref, 0)
        self.assertEqual(before, {name: await self.info(name) for name in self.left()})
        self.assertEqual({8 * MIB}, {sizes[1] for sizes in before.values()})
        self.assertIn('"i.vmdk"', (self.path / "i.vmdk").read_bytes()[:2048].decode("latin-1"))

    async def test_options_of_qcow2(self) -> None:
        options = "<compat>1.1</compat><clusterSize>131072</clusterSize>"
        options += "<features><lazy_refcounts/><extended_l2/></features>"
        await self.make(self.ref, "q", kind="qcow2", target=options)
        for _ in range(2):
            text = await self.xml("q")
            self.assertIn("<compat>1.1</compat>\n    <clusterSize unit='B'>131072</clusterSize>", text)
            self.assertIn("<lazy_refcounts/>\n      <extended_l2/>", text)
            await self.call("storage_pool_refresh", self.ref, 0)
        old = "<compat>0.10</compat><features><lazy_refcounts/></features>"
        for kind, target, reason in (
            ("qcow2", old, "lazy_refcounts not supported with compat level 0.10"),
            ("vmdk", "<compat>1.1</compat>", "compatibility option only available with qcow2"),
            ("qcow2", "<compat>2.0</compat>", "Parameter 'version' does not accept value '2.0'"),
            ("luks", "", "unknown volume format type luks"),
            ("ploop", "", "unable to find ploop"),
        ):
            xml = volume_xml("x", kind=kind, target=target)
            error = await self.no(reason, "storage_vol_create_xml", self.ref, xml, 0)
            self.assertNotIn("/proc/self", str(error))
        self.assertEqual(["q"], self.left())
        self.assertEqual(["q"], await self.names(self.ref))

    async def test_metadata(self) -> None:
        flags = c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA
        xml = volume_xml("q", kind="qcow2", capacity=8 * MIB)
        await self.call("storage_vol_create_xml", self.ref, xml, flags)
        self.assertGreater((self.path / "q").stat().st_size, 8 * MIB)
        text = "metadata preallocation is not supported for raw volumes"
        await self.no(text, "storage_vol_create_xml", self.ref, volume_xml("r"), flags)
        text = "unsupported flags (0x10) in function storageVolCreateXML"
        await self.no(text, "storage_vol_create_xml", self.ref, volume_xml("r"), 16)

    async def test_folder(self) -> None:
        await self.make(self.ref, "d", kind="dir")
        self.assertTrue((self.path / "d").is_dir())
        self.assertEqual((c.VIR_STORAGE_VOL_DIR, 0, 0), await self.info("d"))
        vol = await self.call("storage_vol_lookup_by_name", self.ref, "d")
        (self.path / "d" / "x").touch()
        await self.no("cannot remove directory", "storage_vol_delete", vol, 0)
        (self.path / "d" / "x").unlink()
        await self.call("storage_vol_delete", vol, 0)
        self.assertEqual([], self.left())

    async def test_backing(self) -> None:
        await self.make(self.ref, "base", kind="qcow2", capacity=8 * MIB)
        below = "<backingStore><path>{}</path>{}</backingStore>"
        absolute = below.format(self.path / "base", "<format type='qcow2'/>")
        await self.make(self.ref, "top", kind="qcow2", capacity=0, rest=absolute)
        await self.make(self.ref, "near", kind="qcow2", rest=below.format("base", "<format type='qcow2'/>"))
        self.assertEqual(8 * MIB, (await self.info("top"))[1])
        for name, written in (("top", str(self.path / "base")), ("near", "base")):
            found = image_info(self.path / name)
            self.assertEqual(written, found["backing-filename"])
            self.assertEqual("qcow2", found["backing-filename-format"])
            self.assertIn(f"<backingStore>\n    <path>{self.path}/base</path>", await self.xml(name))
        xml = volume_xml("x", kind="qcow2", rest=below.format("/nonexistent", "<format type='raw'/>"))
        text = "inaccessible backing store volume /nonexistent: No such file or directory"
        await self.no(text, "storage_vol_create_xml", self.ref, xml, 0)
        xml = volume_xml("x", kind="raw", rest=absolute)
        text = "backing storage not supported for raw volumes"
        await self.no(text, "storage_vol_create_xml", self.ref, xml, 0)
        xml = volume_xml("x", kind="qcow2", rest=absolute)
        text = "metadata preallocation conflicts with backing store"
        await self.no(text, "storage_vol_create_xml", self.ref, xml, 1)

    async def test_encrypted(self) -> None:
        from uuid import UUID

        self.secrets[UUID(SECRET).bytes] = b"open, sesame"
        for kind, written in (("raw", "luks"), ("qcow2", "qcow2")):
            await self.make(self.ref, kind, kind=kind, target=LUKS)
            found = image_info(self.path / kind)
            self.assertEqual((written, True), (found["format"], found["encrypted"]))
            self.assertIn("<encryption format='luks'>", await self.xml(kind))
            self.assertEqual(MIB, (await self.info(kind))[1])
        self.secrets.clear()
        xml = volume_xml("x", target=LUKS)
        await self.no("no secret with a value", "storage_vol_create_xml", self.ref, xml, 0)
        bare = volume_xml("x", target="<encryption format='luks'/>")
        text = "no secret provided for luks encryption"
        await self.no(text, "storage_vol_create_xml", self.ref, bare, 0)
        other = volume_xml("x", kind="vdi", target=LUKS)
        text = "volume encryption unsupported with format vdi"
        await self.no(text, "storage_vol_create_xml", self.ref, other, 0)
        self.assertEqual(["qcow2", "raw"], self.left())

    async def test_names(self) -> None:
        create = "storage_vol_create_xml"
        await self.make(self.ref, "v")
        await self.make(self.ref, "-n")
        await self.no("storage volume 'v' exists already", create, self.ref, volume_xml("v"), 0)
        text = "volume name 'a/b' cannot contain '/'"
        await self.no(text, create, self.ref, volume_xml("a/b"), 0)
        for name in ("..", "."):
            text = f"volume target path '{self.path}/{name}' already exists"
            await self.no(text, create, self.ref, volume_xml(name), 0)
        (self.path / "unlisted").write_bytes(b"x")
        for kind in ("raw", "qcow2", "dir"):
            text = f"volume target path '{self.path}/unlisted' already exists"
            await self.no(text, create, self.ref, volume_xml("unlisted", kind=kind), 0)
        await self.no("File name too long", create, self.ref, volume_xml("x" * 300), 0)
        self.assertEqual(["-n", "unlisted", "v"], self.left())

    async def test_no_room(self) -> None:
        create = "storage_vol_create_xml"
        await self.no("File too large", create, self.ref, volume_xml("v", capacity=1 << 62), 0)
        await self.no("File too large", create, self.ref, volume_xml("v", capacity=(1 << 63) - 1), 0)
        self.assertEqual([], self.left())
        self.assertEqual([], await self.names(self.ref))


class ChangingTests(VolumeCase):
    """Resize, wipe, delete, clone."""

    async def test_resize(self) -> None:
        vol = await self.make(self.ref, "v", allocation=None)
        resize = "storage_vol_resize"
        await self.call(resize, vol, 2 * MIB, 0)
        self.assertEqual((0, 2 * MIB, MIB), await self.info("v"))
        await self.no("Can't shrink capacity below current capacity", resize, vol, MIB, 0)
        await self.no("can't shrink capacity below existing allocation", resize, vol, KIB, 4)
        await self.call(resize, vol, MIB, c.VIR_STORAGE_VOL_RESIZE_SHRINK)
        await self.call(resize, vol, MIB, c.VIR_STORAGE_VOL_RESIZE_DELTA)
        self.assertEqual((0, 2 * MIB, MIB), await self.info("v"))
        await self.call(resize, vol, 512 * KIB, 2 | 4)
        self.assertEqual(1536 * KIB, (await self.info("v"))[1])
        await self.call(resize, vol, 3 * MIB, c.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
        self.assertEqual((0, 3 * MIB, 3 * MIB), await self.info("v"))
        await self.no("Not enough space left in storage pool", resize, vol, 1 << 50, 1)
        await self.no("cannot be zero without 'delta' or 'shrink'", resize, vol, 0, 0)
        await self.no("unsupported flags (0x10)", resize, vol, 5, 16)

    async def test_resize_of_images(self) -> None:
        await self.make(self.ref, "base", kind="qcow2", capacity=8 * MIB)
        rest = "<backingStore><path>base</path><format type='qcow2'/></backingStore>"
        vol = await self.make(self.ref, "top", kind="qcow2", capacity=8 * MIB, rest=rest)
        await self.call("storage_vol_resize", vol, 16 * MIB, 0)
        await self.call("storage_vol_resize", vol, MIB, 4)
        self.assertEqual(MIB, image_info(self.path / "top")["virtual-size"])
        text = "preallocate is only supported for raw type volume"
        await self.no(text, "storage_vol_resize", vol, 9 * MIB, 1)
        vdi = await self.make(self.ref, "vdi", kind="vdi")
        error = await self.no("does not support resize", "storage_vol_resize", vdi, 9 * MIB, 0)
        self.assertIn(f"resize {self.path}/vdi {9 * MIB}", str(error))

    async def test_wipe(self) -> None:
        vol = await self.make(self.ref, "v", allocation=None)
        (self.path / "v").write_bytes(b"\xaa" * (3 * MIB + 5))
        await self.call("storage_vol_wipe", vol, 0)
        self.assertEqual(bytes(3 * MIB + 5), (self.path / "v").read_bytes())
        os.truncate(self.path / "v", 9 * MIB)
        await self.call("storage_vol_wipe_pattern", vol, 0, 0)
        self.assertEqual((0, 9 * MIB, 0), await self.info("v"))
        wipe = "storage_vol_wipe_pattern"
        await self.no("Cannot find 'scrub' in path: No such file or directory", wipe, vol, 1, 0)
        await self.no("'trim' algorithm not supported", wipe, vol, 9, 0)
        await self.no("wiping algorithm 10 not supported", wipe, vol, 10, 0)
        await self.no("unsupported flags (0x1) in function storageVolWipePattern", wipe, vol, 0, 1)
        folder = await self.make(self.ref, "d", kind="dir")
        text = f"Failed to open storage volume with path '{self.path}/d': Is a directory"
        await self.no(text, wipe, folder, 0, 0)

    async def test_delete(self) -> None:
        vol = await self.make(self.ref, "v", allocation=None)
        before = (await self.call("storage_pool_get_info", self.ref)).allocation
        await self.no("unsupported flags (0x1)", "storage_vol_delete", vol, 1)
        await self.call("storage_vol_delete", vol, 0)
        self.assertEqual([], self.left())
        after = (await self.call("storage_pool_get_info", self.ref)).allocation
        self.assertEqual(MIB, before - after)
        await self.no("no storage vol with matching name 'v'", "storage_vol_delete", vol, 0)

    async def test_clone_of_raw(self) -> None:
        vol = await self.make(self.ref, "v", capacity=8 * MIB)
        with open(self.path / "v", "r+b") as file:
            file.seek(5 * MIB)
            file.write(b"\xbb" * 100_000)
        data = (self.path / "v").read_bytes()
        clone = "storage_vol_create_xml_from"
        await self.call(clone, self.ref, volume_xml("thin", capacity=1), vol, 0)
        await self.call(clone, self.ref, volume_xml("fat", capacity=9 * MIB, allocation=None), vol, 0)
        self.assertEqual(data, (self.path / "thin").read_bytes())
        self.assertEqual(data + bytes(MIB), (self.path / "fat").read_bytes())
        self.assertLess((await self.info("thin"))[2], 2 * MIB)
        self.assertEqual(9 * MIB, (await self.info("fat"))[2])
        text = "storage volume name 'thin' already in use."
        await self.no(text, clone, self.ref, volume_xml("thin"), vol, 0)

    async def test_clone_between_formats_and_pools(self) -> None:
        vol = await self.make(self.ref, "v", capacity=2 * MIB)
        (self.path / "v").write_bytes(b"\xcc" * 2 * MIB)
        other = await self.pool("other")
        clone = "storage_vol_create_xml_from"
        image = await self.call(clone, other, volume_xml("q", kind="qcow2"), vol, 0)
        await self.call(clone, self.ref, volume_xml("back"), image, 0)
        self.assertEqual(b"\xcc" * 2 * MIB, (self.path / "back").read_bytes())
        self.assertEqual(["back", "v"], self.left())

    async def test_look_ups(self) -> None:
        vol = await self.make(self.ref, "v")
        path = f"{self.path}/v"
        self.assertEqual(path, vol.key)
        self.assertEqual(path, await self.call("storage_vol_get_path", vol))
        self.assertEqual(vol, await self.call("storage_vol_lookup_by_key", path))
        self.assertEqual(vol, await self.call("storage_vol_lookup_by_path", f"{self.path}//v"))
        self.assertEqual(self.ref, await self.call("storage_pool_lookup_by_volume", vol))
        text = "no storage vol with matching path '/none'"
        await self.no(text, "storage_vol_lookup_by_path", "/none")
        await self.no("no storage vol with matching key none", "storage_vol_lookup_by_key", "none")

    async def test_locate(self) -> None:
        await self.make(self.ref, "v", kind="qcow2")
        found = self.storage.locate("p", "v")
        self.assertEqual(VolumeFile(f"{self.path}/v", "qcow2", 0), found)
        await self.no("no storage vol with matching name 'x'", "locate", "p", "x")
        await self.no("no storage pool with matching name 'x'", "locate", "x", "v")
