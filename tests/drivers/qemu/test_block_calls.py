"""Calls about disks of a running guest, whose QEMU may say anything."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.throttling import WORDS
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.typed_params import ullong
from tests.drivers.qemu.test_hotplug import LIVE, HotplugBase

DISK = "/machine/peripheral/virtio-disk0/virtio-backend"


class BlockCallTests(HotplugBase):
    """What QEMU says is taken apart with care."""

    async def test_counts(self) -> None:
        """Counts are found by the device; what is none counts as nothing."""
        stats = {
            "rd_operations": 3,
            "rd_bytes": 1536,
            "wr_bytes": -5,
            "wr_operations": "many",
            "flush_operations": True,
        }
        self.monitor.answers["query-blockstats"] = [
            7,
            {"qdev": ["x"]},
            {"qdev": DISK, "stats": stats, "parent": {"stats": {"wr_highest_offset": 4096}}},
            {"qdev": "sata0-0-0", "stats": 3},
        ]
        one = await self.begin("domain_block_stats", "vda")
        self.assertEqual(one[:4], (3, 1536, 0, 0))
        total = await self.begin("domain_block_stats", "")
        self.assertEqual(total[:4], (3, 1536, 0, 0))

    async def test_nonsense(self) -> None:
        """An answer that makes no sense is an error, or nothing."""
        nonsense: list[Any] = [{}, [], 7, None, "x", [[]]]
        for answer in nonsense:
            self.monitor.answers["query-blockstats"] = answer
            await self.assertFailure(self.begin("domain_block_stats", "vda"), InternalError)
            self.monitor.answers["query-block"] = answer
            await self.assertFailure(self.begin("domain_get_block_info", "vda", 0), InternalError)
            self.assertEqual((await self.begin("domain_get_disk_errors", 9, 0)).errors, [])

    async def test_errors(self) -> None:
        """A disk that is full says so."""
        self.monitor.answers["query-block"] = [{"qdev": DISK, "io-status": "nospace"}, {"io-status": 3}]
        (error,) = (await self.begin("domain_get_disk_errors", 9, 0)).errors
        self.assertEqual((error.disk, error.error), ("vda", c.VIR_DOMAIN_DISK_ERROR_NO_SPACE))

    async def test_limits(self) -> None:
        """A limit of a family replaces the family, in QEMU's words and in the definition."""
        self.assertEqual(WORDS["read_iops_sec_max_length"], "iops_rd_max_length")
        for name, value in (("total_bytes_sec", 5), ("read_bytes_sec", 7), ("total_iops_sec", 9)):
            await self.begin("domain_set_block_io_tune", "vda", [ullong(name, value)], LIVE)
        arguments = self.monitor.asked[-1][1]
        self.assertEqual((arguments["bps"], arguments["bps_rd"], arguments["iops"]), (0, 7, 9))
        self.assertIn("<read_bytes_sec>7</read_bytes_sec>", self.record.live.format(0, 1))
        self.assertNotIn("total_bytes_sec", self.record.live.format(0, 1))
        told: Any = self.events[-1].msg.params
        self.assertEqual([one.field for one in told], ["blkdeviotune.disk", "blkdeviotune.total_iops_sec"])
