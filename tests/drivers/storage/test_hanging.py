"""Pools on disks that hang: others go on, who waits is told, and the reactor's thread touches no disk."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred

from remotevirt.drivers import disk_threads
from remotevirt.drivers.storage import driver, pools
from remotevirt.stubs.errors import OperationTimeout
from tests.drivers.hanging import Disk, held, quiet
from tests.drivers.storage.driving import BUILD, MIB, StorageCase, descriptors, pool_xml, volume_xml
from tests.drivers.storage.test_streams import done

reactor: Any = _reactor

SOON = 2.0
"""The deadline of these tests."""


class HangingTests(StorageCase):
    """One pool on a disk that hangs, one on a disk that does not."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = Disk(self, str(self.folder / "slow"))

    def begin(self, name: str, *args: Any) -> Deferred[Any]:
        """Begin a call."""
        return Deferred.fromCoroutine(self.call(name, *args))

    async def test_others_go_on(self) -> None:
        """Calls on the pool that hangs time out, lists and other pools do not notice, and it recovers."""
        self.patch(disk_threads, "DISK_SECONDS", SOON)
        slow, fast = await self.pool("slow"), await self.pool("fast")
        vol = await self.make(slow, "v")
        self.disk.hang()
        calls = [
            self.begin("storage_pool_refresh", slow, 0),
            self.begin("storage_vol_get_info", vol),
            self.begin("storage_vol_get_xml_desc", vol, 0),
            self.begin("storage_vol_create_xml", slow, volume_xml("w"), 0),
            self.begin("storage_vol_delete", vol, 0),
        ]
        await held(self.disk)
        self.assertEqual(2, len(self.storage.pools))
        self.assertEqual(["v"], [name for name in await self.names(slow) if name == "v"])
        other = await self.make(fast, "other")
        await self.call("storage_pool_refresh", fast, 0)
        await self.call("storage_vol_delete", other, 0)
        for call in calls:
            error = await self.assertFailure(call, OperationTimeout)
            self.assertIn("does not answer", str(error))
        self.disk.recover()
        self.assertEqual(0, self.storage.pools.by_name["slow"].jobs)

    async def test_client_that_goes_while_a_volume_goes(self) -> None:
        """What is deleted is no volume any more, though nobody waits for that."""
        slow = await self.pool("slow")
        vol = await self.make(slow, "v")
        self.disk.hang()
        deleting = self.begin("storage_vol_delete", vol, 0)
        await held(self.disk)
        deleting.cancel()
        await self.assertFailure(deleting, CancelledError)
        self.disk.recover()
        await quiet()
        self.assertEqual([], await self.names(slow))
        self.assertEqual(0, self.storage.pools.by_name["slow"].jobs)

    async def test_turns(self) -> None:
        """A call on a pool with which another one does not come to its end does not wait for ever."""
        self.patch(pools, "TURN_SECONDS", SOON)
        slow = await self.pool("slow")
        self.disk.hang()
        looking = self.begin("storage_pool_refresh", slow, 0)
        await held(self.disk)
        await self.no("does not come to its end", "storage_pool_destroy", slow)
        self.disk.recover()
        await looking
        await self.call("storage_pool_destroy", slow)

    async def test_start_of_the_daemon(self) -> None:
        """A pool that hangs keeps no other from starting, and nobody from being served."""
        self.patch(driver, "BOOT_SECONDS", SOON)
        state = str(self.folder / "state")
        self.storage = self.open(state)
        for name in ("slow", "fast"):
            ref = await self.call("storage_pool_define_xml", pool_xml(name, self.folder / name), 0)
            await self.call("storage_pool_build", ref, 0)
            await self.call("storage_pool_set_autostart", ref, 1)
        self.storage.close()
        self.disk.hang()
        self.storage = self.open(state)
        await self.storage.start()
        active = {pool.name: pool.active for pool in self.storage.pools}
        self.assertEqual({"slow": False, "fast": True}, active)
        self.disk.recover()
        slow = self.storage.pools.by_name["slow"]
        async with self.storage.turn(slow.ref):
            self.assertTrue(slow.active)

    async def test_threads_only(self) -> None:
        """No call touches a pool's disk in the reactor's thread."""
        ref = await self.call("storage_pool_define_xml", pool_xml("slow", self.folder / "slow"), 0)
        await self.call("storage_pool_create", ref, BUILD)
        for kind in ("raw", "qcow2", "dir"):
            vol = await self.make(ref, kind, kind=kind)
            await self.call("storage_vol_get_info", vol)
            await self.call("storage_vol_get_xml_desc", vol, 0)
            if kind != "dir":
                await self.call("storage_vol_resize", vol, 2 * MIB, 0)
                copy = await self.call(
                    "storage_vol_create_xml_from", ref, volume_xml(f"{kind}-copy", kind=kind), vol, 0
                )
                await self.call("storage_vol_wipe", copy, 0)
                for way in ("download", "upload"):
                    opened = await self.call(f"storage_vol_{way}", copy, 0, 0, 0)
                    stream = opened.stream
                    await done(stream.read(10) if way == "download" else stream.write(b"x"))
                    await done(stream.finish())
                await self.call("storage_vol_delete", copy, 0)
            await self.call("storage_vol_delete", vol, 0)
        await self.call("storage_pool_refresh", ref, 0)
        await self.call("storage_pool_destroy", ref)
        await self.call("storage_pool_delete", ref, 0)
        self.assertEqual([], self.disk.by_reactor)
        self.assertGreater(self.disk.touched, 50)

    async def test_client_that_goes_at_the_end_of_a_stream(self) -> None:
        """All threads for a disk hang: what waits to be closed is closed when it answers."""
        slow = await self.pool("slow")
        vol = await self.make(slow, "v")
        before = descriptors()
        streams = [
            (await self.call("storage_vol_download", vol, 0, 0, 0)).stream
            for _ in range(disk_threads.LANE + 1)
        ]
        *reading, ended = streams
        self.disk.hang()
        pieces = [Deferred.fromCoroutine(one.read(512)) for one in reading]
        await held(self.disk, len(reading))
        ending = Deferred.fromCoroutine(ended.finish())
        ending.cancel()
        await self.assertFailure(ending, CancelledError)
        for one, piece in zip(reading, pieces, strict=True):
            one.abort()
            piece.cancel()
        self.assertEqual(["v"], await self.names(slow))
        await self.make(await self.pool("fast"), "other")
        self.disk.recover()
        for piece in pieces:
            await self.assertFailure(piece, CancelledError)
        await quiet()
        self.assertEqual(before, descriptors())
        await self.call("storage_vol_delete", vol, 0)
