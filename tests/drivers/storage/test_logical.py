"""Volume groups, with programs that stand for LVM's."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import CancelledError

from remotevirt.drivers import disk_threads
from remotevirt.drivers.disk_threads import Lanes
from remotevirt.drivers.storage import aside, logical
from tests.drivers.storage.driving import MIB, StorageCase, descriptors, turn, volume_xml

VGS = "echo 104857600#73400320"
LVS = "echo '  one#AbCd-12#20971520#-wi-a-----'; echo '  thin#Ef#5#twi-a---'; cat {folder}/more 2>/dev/null"
NOTE = 'echo "$(basename $0) $*" >> {folder}/calls'
PROGRAMS = {
    "vgs": VGS,
    "lvs": f"{LVS}; true",
    "vgchange": NOTE,
    "lvcreate": f"{NOTE}; echo 'two#Xy#1048576#-wi' > {{folder}}/more",
    "lvremove": f"{NOTE}; rm {{folder}}/more",
}
XML = "<pool type='logical'><name>g</name><source><name>{}</name></source></pool>"


class LogicalTests(StorageCase):
    """Pools of type logical."""

    def setUp(self) -> None:
        super().setUp()
        programs = self.folder / "bin"
        programs.mkdir()
        for name, text in PROGRAMS.items():
            path = programs / name
            path.write_text(f"#!/bin/sh\n{text.format(folder=self.folder)}\n")
            path.chmod(0o755)
        self.patch(aside, "PLACES", (str(programs), "/usr/bin", "/bin"))
        self.storage = self.open(None)

    def calls(self) -> list[str]:
        """Return the command lines of programs that change something, since the last time."""
        path = Path(self.folder / "calls")
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()

    async def test_wipe_that_waits_for_its_turn(self) -> None:
        """Nothing is open before it is the turn of a volume, so that nothing is left if the client goes."""
        ref = await self.call("storage_pool_create_xml", XML.format("vg0"), 0)
        vol = await self.call("storage_vol_lookup_by_name", ref, "one")
        self.patch(logical, "_open", lambda stop, path, write: os.open("/dev/null", os.O_RDWR))
        lanes = Lanes(1)
        self.patch(disk_threads, "_long", lanes)
        await lanes.enter("/dev/vg0", None)
        before = descriptors()
        work = self.storage.storage_vol_wipe(vol, 0)
        await turn()
        self.assertEqual(before, descriptors())
        work.cancel()
        await self.assertFailure(work, CancelledError)
        self.assertEqual(before, descriptors())

    async def test_life(self) -> None:
        ref = await self.call("storage_pool_create_xml", XML.format("vg0"), 0)
        self.assertEqual(["vgchange -aly -- vg0"], self.calls())
        info = await self.call("storage_pool_get_info", ref)
        self.assertEqual((2, 104857600, 31457280, 73400320), info)
        self.assertEqual(["one"], await self.names(ref))
        vol = await self.call("storage_vol_lookup_by_key", "AbCd-12")
        self.assertEqual((1, 20971520, 20971520), await self.call("storage_vol_get_info", vol))
        self.assertEqual(vol, await self.call("storage_vol_lookup_by_path", "/dev/vg0/one"))
        self.assertIn("<volume type='block'>", await self.call("storage_vol_get_xml_desc", vol, 0))
        made = await self.call("storage_vol_create_xml", ref, volume_xml("two", capacity=MIB - 5), 0)
        self.assertEqual(["lvcreate --yes --name two -L 1024K -- vg0"], self.calls())
        self.assertEqual("Xy", made.key)
        await self.call("storage_vol_delete", made, 0)
        self.assertEqual(["lvremove -f -- vg0/two"], self.calls())
        await self.no("does not support changing of volume capacity", "storage_vol_resize", vol, 1 << 40, 0)
        await self.no("Unable to open /dev/vg0/one", "storage_vol_wipe", vol, 0)
        await self.call("storage_pool_destroy", ref)
        self.assertEqual(["vgchange -aln -- vg0"], self.calls())

    async def test_names(self) -> None:
        for name in ("-x", "a/b", "a b", "..", "x" * 200):
            await self.no("is no name of a volume group", "storage_pool_create_xml", XML.format(name), 0)
        ref = await self.call("storage_pool_create_xml", XML.format("vg0"), 0)
        for name in ("-x", "a/b", "a b", ".."):
            text = "is no name of a logical volume"
            await self.no(text, "storage_vol_create_xml", ref, volume_xml(name), 0)
        self.assertEqual(["vgchange -aly -- vg0"], self.calls())

    async def test_programs_that_talk_rubbish(self) -> None:
        for text, reason in (("echo x", "cannot be understood"), ("echo 1#x", "where a size should be")):
            (self.folder / "bin" / "vgs").write_text(f"#!/bin/sh\n{text}\n")
            await self.no(reason, "storage_pool_create_xml", XML.format("vg0"), 0)
        self.assertEqual(["vgchange -aly -- vg0", "vgchange -aln -- vg0"] * 2, self.calls())

    async def test_without_programs(self) -> None:
        self.patch(logical, "find_program", lambda name: None)
        self.storage = self.open(None)
        text = "missing backend for pool type 3 (logical)"
        await self.no(text, "storage_pool_define_xml", XML.format("vg0"), 0)
