"""Pools that are folders: from their definition to their end."""

from __future__ import annotations

import os
import stat

from remotevirt.drivers import mounts
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullStoragePool
from tests.drivers.storage.driving import MIB, StorageCase, pool_xml, volume_xml

INVALID = "Requested operation is not valid: "
GONE = NonnullStoragePool("gone", bytes(16))


class LifeTests(StorageCase):
    """Define, build, start, stop, delete, undefine."""

    async def test_whole_life(self) -> None:
        path = self.folder / "deep" / "p"
        ref = await self.call("storage_pool_define_xml", pool_xml("p", path), 0)
        self.assertEqual((0, 0, 0, 0), await self.call("storage_pool_get_info", ref))
        await self.no(f"cannot open directory '{path}': No such file", "storage_pool_create", ref, 0)
        await self.call("storage_pool_build", ref, 0)
        self.assertEqual(0o711, stat.S_IMODE(path.stat().st_mode))
        await self.call("storage_pool_create", ref, 0)
        info = await self.call("storage_pool_get_info", ref)
        space = os.statvfs(path)
        self.assertEqual(2, info.state)
        self.assertEqual(space.f_blocks * space.f_frsize, info.capacity)
        self.assertEqual(info.capacity, info.allocation + info.available)
        for name in ("storage_pool_create", "storage_pool_build"):
            await self.no(f"{INVALID}storage pool 'p' is already active", name, ref, 0)
        await self.no(f"{INVALID}storage pool 'p' is still active", "storage_pool_delete", ref, 0)
        await self.no(f"{INVALID}storage pool 'p' is still active", "storage_pool_undefine", ref)
        await self.call("storage_pool_refresh", ref, 0)
        await self.call("storage_pool_destroy", ref)
        for name, args in (("destroy", ()), ("refresh", (0,)), ("list_volumes", (5,))):
            await self.no(f"{INVALID}storage pool 'p' is not active", f"storage_pool_{name}", ref, *args)
        (path / "x").touch()
        await self.no(f"failed to remove pool '{path}': Directory not empty", "storage_pool_delete", ref, 0)
        (path / "x").unlink()
        await self.call("storage_pool_delete", ref, 0)
        self.assertFalse(path.exists())
        await self.call("storage_pool_undefine", ref)
        await self.no("no storage pool with matching name 'p'", "storage_pool_lookup_by_name", "p")
        self.assertEqual([0, 4, 2, -1, 3, 5, 1], self.lifecycle())

    async def test_transient(self) -> None:
        ref = await self.pool()
        self.assertEqual(0, await self.call("storage_pool_is_persistent", ref))
        await self.no("pool has no config file", "storage_pool_set_autostart", ref, 1)
        await self.call("storage_pool_destroy", ref)
        await self.no("no storage pool with matching uuid", "storage_pool_is_active", ref)
        self.assertEqual([2, 3], self.lifecycle())

    async def test_start_that_fails_leaves_nothing(self) -> None:
        await self.no("cannot open directory", "storage_pool_create_xml", pool_xml("n", "/nonexistent/n"), 0)
        self.assertEqual(0, (await self.call("connect_list_all_storage_pools", 1, 0)).ret)
        self.assertEqual([], self.lifecycle())

    async def test_newer_definition_waits(self) -> None:
        ref = await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "one"), 0)
        await self.call("storage_pool_create", ref, 1)
        uuid = str(__import__("uuid").UUID(bytes=ref.uuid))
        await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "two", uuid=uuid), 0)
        self.assertIn("/one<", await self.call("storage_pool_get_xml_desc", ref, 0))
        self.assertIn("/two<", await self.call("storage_pool_get_xml_desc", ref, 1))
        await self.call("storage_pool_destroy", ref)
        self.assertIn("/two<", await self.call("storage_pool_get_xml_desc", ref, 0))

    async def test_persistent_pool_with_another_definition_for_once(self) -> None:
        ref = await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "one"), 0)
        uuid = str(__import__("uuid").UUID(bytes=ref.uuid))
        live = pool_xml("p", self.folder / "two", uuid=uuid)
        await self.call("storage_pool_create_xml", live, 1)
        self.assertEqual(1, await self.call("storage_pool_is_persistent", ref))
        self.assertIn("/two<", await self.call("storage_pool_get_xml_desc", ref, 0))
        await self.no("pool is already active as 'p'", "storage_pool_create_xml", live, 1)
        await self.call("storage_pool_destroy", ref)
        self.assertIn("/one<", await self.call("storage_pool_get_xml_desc", ref, 0))

    async def test_permissions(self) -> None:
        path = self.folder / "p"
        xml = f"<pool type='dir'><name>p</name><target><path>{path}</path><permissions><mode>0750</mode>"
        xml += "</permissions></target></pool>"
        ref = await self.call("storage_pool_create_xml", xml, 1)
        self.assertEqual(0o750, stat.S_IMODE(path.stat().st_mode))
        self.assertIn("<mode>0750</mode>", await self.call("storage_pool_get_xml_desc", ref, 0))

    async def test_build_where_a_file_is(self) -> None:
        (self.folder / "p").touch()
        ref = await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "p"), 0)
        await self.no("Not a directory", "storage_pool_build", ref, 0)
        for flags in (4, 8):
            text = "No source device specified when formatting pool 'p'"
            await self.no(text, "storage_pool_build", ref, flags)
        await self.no("unsupported flags (0x10)", "storage_pool_build", ref, 16)

    async def test_refresh_of_a_folder_that_is_gone_stops_the_pool(self) -> None:
        ref = await self.pool()
        (self.folder / "p").rmdir()
        await self.no("cannot open directory", "storage_pool_refresh", ref, 0)
        await self.no("no storage pool with matching uuid", "storage_pool_get_info", ref)
        self.assertEqual([2, 3], self.lifecycle())


class FindingTests(StorageCase):
    """Types, lists and look-ups."""

    async def test_types_that_cannot_be_had(self) -> None:
        for number, kind, source in (
            (2, "netfs", "<source><host name='h'/><dir path='/x'/></source>"),
            (9, "rbd", "<source><name>n</name><host name='h'/></source>"),
            (8, "mpath", ""),
        ):
            text = f"missing backend for pool type {number} ({kind})"
            for name in ("define", "create"):
                await self.no(text, f"storage_pool_{name}_xml", pool_xml("t", "/t", source, kind=kind), 0)
        find = "connect_find_storage_pool_sources"
        await self.no("pool type 'dir' does not support source discovery", find, "dir", None, 0)
        await self.no("missing backend for pool type 9 (rbd)", find, "rbd", None, 0)
        await self.no("unknown storage pool type zz", find, "zz", None, 0)

    async def test_lists(self) -> None:
        await self.pool("a")
        await self.call("storage_pool_define_xml", pool_xml("b", self.folder / "b"), 0)
        self.assertEqual(1, await self.call("connect_num_of_storage_pools"))
        self.assertEqual(["a"], await self.call("connect_list_storage_pools", 5))
        self.assertEqual(["b"], await self.call("connect_list_defined_storage_pools", 5))
        for flags, names in ((0, "ab"), (2, "a"), (1, "b"), (4, "b"), (8, "a"), (64, "ab"), (128, "")):
            found = await self.call("connect_list_all_storage_pools", 1, flags)
            self.assertEqual(sorted(names), sorted(ref.name for ref in found.pools), flags)
        text = "unsupported flags (0x40000000) in function storageConnectListAllStoragePools"
        await self.no(text, "connect_list_all_storage_pools", 1, 1 << 30)

    async def test_lookups(self) -> None:
        ref = await self.pool()
        path = str(self.folder / "p")
        self.assertEqual(ref, await self.call("storage_pool_lookup_by_target_path", f"{path}//"))
        text = "no storage pool with matching target path '/none'"
        await self.no(text, "storage_pool_lookup_by_target_path", "/none")
        text = f"no storage pool with matching uuid '{'0' * 8}-0000-0000-0000-{'0' * 12}' (gone)"
        await self.no(text, "storage_pool_get_info", GONE)

    async def test_conflict(self) -> None:
        await self.pool("a")
        other = pool_xml("b", self.folder / "a")
        await self.no("Storage source conflict with pool: 'a'", "storage_pool_define_xml", other, 0)

    async def test_relative_target(self) -> None:
        ref = await self.call("storage_pool_define_xml", pool_xml("r", "x/y"), 0)
        for name in ("storage_pool_create", "storage_pool_build", "storage_pool_delete"):
            await self.no("target path 'x/y' is not absolute", name, ref, 0)

    async def test_capabilities(self) -> None:
        text = await self.call("connect_get_storage_pool_capabilities", 0)
        self.assertIn("<pool type='dir' supported='yes'>", text)
        self.assertIn("<pool type='rbd' supported='no'>", text)
        self.assertEqual(14, text.count("<pool type="))

    async def test_file_systems_that_are_mounted(self) -> None:
        """A device that is mounted on the pool's folder is the pool's; nothing else that is there is."""
        place, source = self.folder / "a b", "<source><device path='/dev/one'/></source>"
        place.mkdir()
        told = self.folder / "mounts"
        self.patch(mounts, "MOUNTS", str(told))
        escaped = str(place).replace(" ", "\\040")
        ref = await self.call("storage_pool_define_xml", pool_xml("p", place, source, kind="fs"), 0)
        self.patch(os, "geteuid", lambda: 1000)
        for mounted, device in ((False, "/dev/two"), (False, "none"), (True, "/dev/one")):
            told.write_text(
                f"21 1 8:1 / / rw - ext4 /dev/one rw\n22 1 8:1 / {escaped} rw shared:1 - ext4 {device} rw\n"
            )
            model = self.storage.meant(ref).model
            self.assertEqual(mounted, await self.storage.backends["fs"].is_active(model))
            if not mounted:
                text = "is not mounted, and only root may mount it"
                await self.no(text, "storage_pool_create", ref, 0)
        await self.call("storage_pool_create", ref, 0)


class RefreshTests(StorageCase):
    """What is found in a folder."""

    async def test_what_is_a_volume(self) -> None:
        ref = await self.pool()
        path = self.folder / "p"
        (path / "plain").write_bytes(b"hello")
        (path / ".hidden").touch()
        (path / "folder").mkdir()
        os.mkfifo(path / "fifo")
        os.symlink("plain", path / "link")
        os.symlink("nowhere", path / "dangling")
        (path / "line\nbreak").touch()
        (path / ".remotevirt-draft-00").mkdir()
        with open(os.fsencode(path) + b"/\xff", "wb"):
            pass
        await self.call("storage_pool_refresh", ref, 0)
        self.assertEqual([".hidden", "folder", "link", "plain"], await self.names(ref))
        vol = await self.call("storage_vol_lookup_by_name", ref, "folder")
        self.assertEqual((c.VIR_STORAGE_VOL_DIR, 0, 0), await self.call("storage_vol_get_info", vol))
        found = await self.call("storage_pool_list_all_volumes", ref, 1, 0)
        self.assertEqual((4, 4), (found.ret, len(found.vols)))

    async def test_what_others_have_changed(self) -> None:
        ref = await self.pool()
        vol = await self.make(ref, "v")
        (self.folder / "p" / "v").write_bytes(bytes(2 * MIB))
        self.assertEqual((0, 2 * MIB, 2 * MIB), await self.call("storage_vol_get_info", vol))
        (self.folder / "p" / "v").unlink()
        await self.call("storage_pool_refresh", ref, 0)
        self.assertEqual([], await self.names(ref))
        await self.no("no storage vol with matching name 'v'", "storage_vol_get_path", vol)

    async def test_drafts_of_the_dead(self) -> None:
        """What a daemon has left that died while it made a volume goes when the pool starts."""
        path = self.folder / "p"
        draft = path / ".remotevirt-draft-0123"
        draft.mkdir(parents=True)
        (draft / "half").write_bytes(b"x")
        await self.pool()
        self.assertFalse(draft.exists())
        self.assertTrue(path.exists())
        await self.no("is not possible", "storage_vol_create_xml", *await self._reserved())

    async def _reserved(self) -> tuple[NonnullStoragePool, str, int]:
        ref = await self.call("storage_pool_lookup_by_name", "p")
        return ref, volume_xml(".remotevirt-draft-x"), 0
