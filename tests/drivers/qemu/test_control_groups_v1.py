"""Control groups of version 1: every word that the kernel is told."""

from __future__ import annotations

import errno
import os

from remotevirt.drivers.qemu.control_groups.group import (
    UNLIMITED,
    CpuTimes,
)
from remotevirt.stubs.errors import (
    InternalError,
    InvalidArg,
    OperationInvalid,
    VirSystemError,
)
from tests.drivers.qemu.group_cases import NAME, PATH, GroupCase, refused, set_all
from tests.drivers.qemu.pretended_groups import (
    V1_TOPS,
)

INHERITED = (("cpus", "0-3"), ("mems", "0-1"), ("memory_migrate", "1"))

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class V1Tests(GroupCase):
    """Version 1."""

    def test_make(self) -> None:
        """Trees that controllers share are used once; CPUs and memory are inherited; processes go inside."""
        self.make()
        self.assertEqual({"cpu", "cpuacct", "cpuset", "memory", "blkio"}, self.group.controllers)
        self.group.enter(100)
        self.group.move("vcpu0", 101)
        cpu, cpuset = f"/cg/cpu,cpuacct{PATH}", f"/cg/cpuset{PATH}"
        self.assertEqual(
            [
                "/cg/cpu,cpuacct/machine",
                cpu,
                "/cg/cpuset/machine",
                cpuset,
                "/cg/memory/machine",
                f"/cg/memory{PATH}",
                "/cg/blkio/machine",
                f"/cg/blkio{PATH}",
                f"{cpu}/emulator",
                f"{cpuset}/emulator",
                f"{cpu}/vcpu0",
                f"{cpuset}/vcpu0",
            ],
            self.files.made,
        )
        self.assertEqual(
            [
                ("/cg/cpuset/machine/cpuset.cpus", "0-3"),
                ("/cg/cpuset/machine/cpuset.mems", "0-1"),
                *((f"{cpuset}/cpuset.{file}", text) for file, text in INHERITED),
                *((f"{cpuset}/emulator/cpuset.{file}", text) for file, text in INHERITED),
                *((f"{cpuset}/vcpu0/cpuset.{file}", text) for file, text in INHERITED),
                (f"{cpu}/emulator/cgroup.procs", "100"),
                (f"{cpuset}/emulator/cgroup.procs", "100"),
                (f"/cg/memory{PATH}/cgroup.procs", "100"),
                (f"/cg/blkio{PATH}/cgroup.procs", "100"),
                (f"{cpu}/vcpu0/tasks", "101"),
                (f"{cpuset}/vcpu0/tasks", "101"),
            ],
            self.files.written,
        )

    def test_values(self) -> None:
        """What is written, and how what is read is understood."""
        self.make()
        self.files.written.clear()
        group = self.group
        self.assertEqual(1024, group.shares())
        self.assertEqual((100000, -1), group.bandwidth("vcpu0"))
        self.assertEqual(UNLIMITED, group.memory_limit("hard_limit"))
        self.assertEqual(100, group.weight())
        set_all(group)
        cpu, cpuset, memory, blkio = (f"{V1_TOPS[one]}{PATH}" for one in ("cpu", "cpuset", "memory", "blkio"))
        self.assertEqual(
            [
                (f"{cpu}/cpu.shares", "262144"),
                (f"{cpu}/cpu.cfs_period_us", "50000"),
                (f"{cpu}/vcpu0/cpu.cfs_quota_us", "20000"),
                (f"{memory}/memory.limit_in_bytes", "102400"),
                (f"{memory}/memory.soft_limit_in_bytes", "-1"),
                (f"{memory}/memory.memsw.limit_in_bytes", "204800"),
                (f"{blkio}/blkio.bfq.weight", "300"),
                (f"{blkio}/blkio.throttle.read_iops_device", "254:0 1"),
                (f"{blkio}/blkio.throttle.write_iops_device", "254:0 2"),
                (f"{blkio}/blkio.throttle.read_bps_device", "254:0 3"),
                (f"{blkio}/blkio.throttle.write_bps_device", "254:0 0"),
                (f"{cpuset}/vcpu0/cpuset.cpus", "1-2"),
                (f"{cpuset}/emulator/cpuset.mems", "0"),
            ],
            self.files.written,
        )
        self.assertEqual((262144, (50000, -1)), (group.shares(), group.bandwidth("")))
        self.assertEqual([100, 200], [group.memory_limit(name) for name in ("hard_limit", "swap_hard_limit")])
        group.set_quota("vcpu0", -7)
        self.assertEqual((100000, -1), group.bandwidth("vcpu0"))
        self.assertEqual(CpuTimes(12345678, 3 * TICK, 4 * TICK), group.times())
        self.assertEqual([1000, 2000], group.times_by_cpu("vcpu0"))

    def test_refused(self) -> None:
        """What is refused before the kernel, and what the kernel refuses, in libvirt's words."""
        self.make()
        refused(self, InvalidArg, "shares '1' must be in range [2, 262144]", self.group.set_shares, 1)
        file = f"/cg/memory{PATH}/memory.limit_in_bytes"
        self.files.refused[file] = errno.EBUSY
        text = f"Unable to write to '{file}': Device or resource busy"
        refused(self, VirSystemError, text, self.group.set_memory_limit, "hard_limit", 1)
        refused(self, VirSystemError, f"Unable to read from '{file}'", self.group.memory_limit, "hard_limit")
        text = "blkio device weight is valid only for cfq scheduler"
        refused(self, OperationInvalid, text, self.group.set_device_limit, "weight", "/dev/vda", 300)
        del self.files.folders[f"/cg/blkio{PATH}"]["blkio.bfq.weight"]
        text = "blkio weight is valid only for bfq or cfq scheduler"
        refused(self, OperationInvalid, text, self.group.weight)
        self.files.folders[f"/cg/cpu,cpuacct{PATH}"]["cpu.shares"] = "nonsense"
        refused(self, InternalError, "Unable to parse 'nonsense'", self.group.shares)

    def test_without_swap(self) -> None:
        """A kernel that does not count swap has no limit for it."""
        self.make()
        del self.files.folders[f"/cg/memory{PATH}"]["memory.memsw.limit_in_bytes"]
        self.assertEqual(UNLIMITED, self.group.memory_limit("swap_hard_limit"))
        refused(self, VirSystemError, "No such file", self.group.set_memory_limit, "swap_hard_limit", 1)

    def test_remove(self) -> None:
        """A group goes when the last process has gone, with those of its threads."""
        self.make()
        self.group.enter(100)
        self.assertFalse(self.group.remove())
        self.files.end(100)
        self.group.drop("vcpu0")
        self.assertNotIn("vcpu0", self.group.children())
        self.assertTrue(self.group.remove())
        self.assertEqual([], [path for path in self.files.folders if NAME in path])
        self.assertTrue(self.group.remove())

    def test_taken(self) -> None:
        """A name that somebody else has, in whichever tree, is not ours, and nothing is left."""
        self.files.make("/cg/memory/machine")
        self.files.make(f"/cg/memory{PATH}")
        self.assertRaises(FileExistsError, self.group.make, self.groups.makeable)
        self.assertEqual([f"/cg/memory{PATH}"], [path for path in self.files.folders if NAME in path])
        self.assertEqual(frozenset(), self.group.controllers)

    def test_not_allowed(self) -> None:
        """Trees that we may not write into are left out; the others are used."""
        self.files.refused["/cg/cpuset/machine"] = errno.EACCES
        self.files.refused["/cg/memory/machine"] = errno.EROFS
        self.group.make(self.groups.makeable)
        self.assertEqual({"cpu", "cpuacct", "blkio"}, self.group.controllers)
        self.group.add("emulator")
        self.group.enter(100)
        self.assertEqual(
            {f"/cg/cpu,cpuacct{PATH}/emulator", f"/cg/blkio{PATH}"}, set(self.files.where.values())
        )

    def test_read_only(self) -> None:
        """A tree in which groups can be made, and nothing be written, is left as it was."""
        self.files.refused[f"/cg/cpuset{PATH}/cpuset.cpus"] = errno.EACCES
        self.group.make(self.groups.makeable)
        self.assertEqual({"cpu", "cpuacct", "memory", "blkio"}, self.group.controllers)
        self.assertNotIn(f"/cg/cpuset{PATH}", self.files.folders)

    def test_failed(self) -> None:
        """Other failures are errors, and nothing is left."""
        self.files.refused[f"/cg/memory{PATH}"] = errno.ENOMEM
        refused(self, VirSystemError, "Cannot allocate memory", self.group.make, self.groups.makeable)
        self.assertEqual([], [path for path in self.files.folders if NAME in path])

    def test_partition(self) -> None:
        """A partition that a definition names has to be there already."""
        group = self.groups.group(self.groups.path("/machine/a", 1, "g"))
        refused(self, VirSystemError, "a.partition': No such file", group.make, self.groups.makeable)
        for top in dict.fromkeys(V1_TOPS.values()):
            if not self.files.exists(f"{top}/machine"):
                self.files.make(f"{top}/machine")
            self.files.make(f"{top}/machine/a.partition")
        group.make(self.groups.makeable)
        self.assertIn("memory", group.controllers)

    def test_find(self) -> None:
        """A daemon after us finds what was made."""
        self.files.refused["/cg/blkio/machine"] = errno.EACCES
        self.make()
        later = self.groups.group(PATH)
        later.find()
        self.assertEqual(self.group.controllers, later.controllers)
        self.assertEqual(["emulator", "vcpu0"], later.children())
        other = self.groups.group("/machine/other")
        other.find()
        self.assertEqual(frozenset(), other.controllers)
