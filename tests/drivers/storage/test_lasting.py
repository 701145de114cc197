"""What lasts: definitions in a store; and which pools are active, as long as the host runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from remotevirt.drivers.storage import RealStorage, active
from remotevirt.store import StoreError
from tests.drivers.storage.driving import StorageCase, pool_xml


class LastingTests(StorageCase):
    """A daemon that ends, by a crash or as it likes, and another on the same folder."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.folder / "state"
        self.storage = self.open(str(self.state))

    async def again(self) -> RealStorage:
        """Start anew."""
        self.storage.close()
        self.events.clear()
        self.storage = self.open(str(self.state))
        await self.storage.start()
        return self.storage

    async def test_definitions(self) -> None:
        ref = await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "p"), 0)
        await self.call("storage_pool_build", ref, 0)
        text = await self.call("storage_pool_get_xml_desc", ref, 0)
        await self.again()
        self.assertEqual(ref, await self.call("storage_pool_lookup_by_name", "p"))
        self.assertEqual(text, await self.call("storage_pool_get_xml_desc", ref, 0))
        self.assertEqual(0, await self.call("storage_pool_is_active", ref))
        await self.call("storage_pool_undefine", ref)
        await self.again()
        await self.no("no storage pool", "storage_pool_lookup_by_name", "p")

    async def test_autostart(self) -> None:
        for name in ("p", "broken"):
            ref = await self.call("storage_pool_define_xml", pool_xml(name, self.folder / name), 0)
            await self.call("storage_pool_set_autostart", ref, 1)
        (self.folder / "p").mkdir()
        await self.again()
        self.flushLoggedErrors()
        self.assertEqual(["p"], await self.call("connect_list_storage_pools", 5))
        self.assertEqual([2], self.lifecycle())

    async def test_pools_stay_active(self) -> None:
        transient = await self.pool("t")
        ref = await self.call("storage_pool_define_xml", pool_xml("p", self.folder / "p"), 0)
        await self.call("storage_pool_create", ref, 1)
        await self.make(transient, "v")
        stopped = await self.pool("s")
        await self.call("storage_pool_destroy", stopped)
        await self.again()
        self.assertEqual(["p", "t"], sorted(await self.call("connect_list_storage_pools", 5)))
        self.assertEqual(["v"], await self.names(transient))
        self.assertEqual(0, await self.call("storage_pool_is_persistent", transient))
        self.assertEqual(1, await self.call("storage_pool_is_persistent", ref))
        self.assertEqual([], self.lifecycle())
        await self.call("storage_pool_destroy", ref)
        await self.call("storage_pool_destroy", transient)
        await self.again()
        self.assertEqual(1, (await self.call("connect_list_all_storage_pools", 1, 0)).ret)

    async def test_folder_that_is_gone(self) -> None:
        await self.pool("t")
        shutil.rmtree(self.folder / "t")
        await self.again()
        self.assertEqual(0, (await self.call("connect_list_all_storage_pools", 1, 0)).ret)

    async def test_reboot(self) -> None:
        await self.pool("t")
        other = self.folder / "boot"
        other.write_text("99999999-8888-7777-6666-555555555555\n")
        self.patch(active, "BOOT_ID", other)
        await self.again()
        self.assertEqual(0, (await self.call("connect_list_all_storage_pools", 1, 0)).ret)
        self.assertEqual(1, len(list(self.state.glob("active-*"))))

    async def test_rubbish(self) -> None:
        """A file that says nothing keeps nobody from starting."""
        await self.pool("t")
        (folder,) = self.state.glob("active-*")
        (folder / "0.xml").write_bytes(b"\xff\xfe")
        (folder / "1.xml").write_text("<pool type='dir'>")
        await self.again()
        self.assertEqual(["t"], await self.call("connect_list_storage_pools", 5))

    async def test_change_that_cannot_be_kept(self) -> None:
        """Nobody hears of a definition that is not on the disk."""
        journal = self.storage.journal
        assert journal is not None

        def fail(puts: object, drops: object) -> None:
            raise StoreError("full")

        self.patch(type(journal.store), "write", lambda store, puts, drops: fail(puts, drops))
        text = "cannot keep this change: full"
        await self.no(text, "storage_pool_define_xml", pool_xml("p", self.folder / "p"), 0)
        self.assertEqual(0, (await self.call("connect_list_all_storage_pools", 1, 0)).ret)
        self.assertEqual([], self.lifecycle())

    async def test_second_daemon(self) -> None:
        self.assertRaises(StoreError, RealStorage.open, str(self.state), self.hub)
        self.assertTrue(Path(self.state, "pools.db").exists())
