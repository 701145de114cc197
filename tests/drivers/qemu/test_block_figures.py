"""What QEMU counts of its disks, read from its answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.block_figures import BlockFigures, read_figures

STATS = {
    "rd_operations": 3,
    "rd_bytes": 1536,
    "rd_total_time_ns": 70,
    "wr_operations": 2,
    "wr_bytes": 1024,
    "wr_total_time_ns": 80,
    "flush_operations": 1,
    "flush_total_time_ns": 90,
    "failed_rd_operations": 4,
    "failed_wr_operations": 5,
    "wr_highest_offset": 4096,
}


class FiguresTests(TestCase):
    """Devices and nodes."""

    def test_device_and_nodes(self) -> None:
        """A device is found by its id, an image by its node, also below others."""
        devices = [
            {
                "qdev": "/machine/peripheral/virtio-disk0/virtio-backend",
                "node-name": "libvirt-1-format",
                "stats": STATS,
                "backing": {"node-name": "libvirt-2-format", "stats": {"wr_highest_offset": 7}},
            }
        ]
        nodes = [
            {
                "node-name": "libvirt-1-format",
                "image": {"virtual-size": 1 << 20, "actual-size": 8192},
                "write_threshold": 0,
            },
            {"node-name": "libvirt-2-format", "image": {"virtual-size": 1 << 20}, "write_threshold": 5},
        ]
        found = read_figures(devices, nodes)
        disk = BlockFigures(3, 1536, 70, 2, 1024, 80, 1, 90, 9, 4096, 1 << 20, 8192)
        self.assertEqual(found["virtio-disk0"], disk)
        self.assertEqual(found["libvirt-1-format"], disk)
        below = BlockFigures(highest_write=7, capacity=1 << 20, physical=1 << 20, threshold=5)
        self.assertEqual(found["libvirt-2-format"], below)
        self.assertEqual(len(found), 3)

    def test_nonsense(self) -> None:
        """A QEMU that a guest has taken over can say anything; nothing but numbers comes of it."""
        answers: list[Any] = [
            None,
            5,
            {},
            [None, []],
            [{"qdev": 5, "stats": []}],
            [{"qdev": "a", "stats": 1}],
        ]
        for answer in answers:
            for other in answers:
                for name, figures in read_figures(answer, other).items():
                    self.assertEqual((name, figures), ("a", BlockFigures()))
        wild = {"rd_operations": -1, "rd_bytes": 2**64, "wr_bytes": True, "wr_operations": "5"}
        found = read_figures([{"qdev": "a", "stats": wild}], [])
        self.assertEqual(found, {"a": BlockFigures()})

    def test_bound(self) -> None:
        """A chain that does not end is not followed for ever, nor is all of a long list taken."""
        loop: dict[str, Any] = {"qdev": "a", "node-name": "n", "stats": STATS}
        loop["backing"] = loop
        self.assertEqual(set(read_figures([loop], [])), {"a", "n"})
        many = [{"qdev": f"d{number}", "stats": STATS} for number in range(5000)]
        self.assertEqual(len(read_figures(many, [])), 4096)
