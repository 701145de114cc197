"""Control groups: where they are, what they are called, and every word that the kernel is told."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial.unittest import TestCase

from remotevirt.drivers.mounts import parse_mounts
from remotevirt.drivers.qemu.control_groups.files import GroupFiles
from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.group import (
    UNLIMITED,
    ControlGroup,
    CpuTimes,
    device_number,
)
from remotevirt.drivers.qemu.control_groups.layout import (
    Layout,
    group_name,
    own_group,
    partition_path,
)
from remotevirt.drivers.qemu.control_groups.v2 import NO_QUOTA
from remotevirt.errors import VirError
from remotevirt.stubs.errors import (
    InternalError,
    InvalidArg,
    OperationInvalid,
    OperationUnsupported,
    VirSystemError,
)
from tests.drivers.qemu.pretended_groups import (
    UNIFIED,
    V1_TOPS,
    PretendedFiles,
    v1_layout,
    v2_layout,
)

HYBRID = r"""
23 22 0:21 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
24 23 0:22 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
25 23 0:23 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
26 23 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
27 23 0:25 / /my\040groups/memory rw - cgroup cgroup rw,memory
28 23 0:26 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
29 23 0:27 / /elsewhere/blkio rw - cgroup cgroup rw,blkio
cut off
"""

NAME = "qemu-1-g.libvirt-qemu"
PATH = f"/machine/{NAME}"


class LayoutTests(TestCase):
    """Where groups are, and their names."""

    def test_mounts(self) -> None:
        """Each controller has its first tree; names of places may have blanks."""
        layout = Layout.of(parse_mounts(HYBRID.splitlines()))
        self.assertEqual("/sys/fs/cgroup/unified", layout.unified)
        self.assertEqual(
            {
                "cpu": "/sys/fs/cgroup/cpu,cpuacct",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
                "memory": "/my groups/memory",
                "blkio": "/sys/fs/cgroup/blkio",
            },
            layout.controllers,
        )
        self.assertEqual(Layout(), Layout.of(parse_mounts(["1 2 0:1 / / rw - ext4 /dev/vda rw"])))

    def test_own_group(self) -> None:
        """Version 2 has no number of a tree."""
        self.assertEqual("/a.slice/b.service", own_group("4:memory:/x\n0::/a.slice/b.service\n"))
        self.assertIsNone(own_group("4:memory:/x\n1:name=systemd:/y\n"))

    def test_names(self) -> None:
        """Names are libvirt's, as measured, and have nothing that could leave the folder."""
        self.assertEqual("qemu-1-oracle-xy.z.libvirt-qemu", group_name(1, "oracle--x_y .z-"))
        self.assertEqual("qemu-7-.etcpasswd.libvirt-qemu", group_name(7, "../../etc/passwd"))
        self.assertEqual("qemu-7.libvirt-qemu", group_name(7, "ä/.."))
        self.assertEqual("qemu-1-g.2.libvirt-qemu", group_name(1, "g", 2))
        self.assertLess(len(group_name(1, "g" * 5000)), 100)

    def test_partitions(self) -> None:
        """A partition of a definition stays below; libvirt adds a suffix to all but three names."""
        self.assertEqual("/machine", partition_path("/machine"))
        self.assertEqual("/machine/prod.partition/web.partition", partition_path("//machine/prod/web/"))
        self.assertEqual("/machine.slice/a.partition", partition_path("/machine.slice/a"))
        for bad in ("machine", "", "/", "/machine/../../x", "/./machine"):
            self.assertRaises(ValueError, partition_path, bad)


class FindingTests(TestCase):
    """Which groups there are."""

    def choose(
        self, files: PretendedFiles, layout: Layout, own: str = "/", base: str | None = None
    ) -> Groups:
        return Groups.choose(layout, files, own, base)

    def test_version(self) -> None:
        """Version 2 is used where it has controllers, or nothing else is there."""
        self.assertFalse(self.choose(PretendedFiles("hugetlb pids"), v1_layout()).unified)
        self.assertTrue(self.choose(PretendedFiles("memory"), v1_layout()).unified)
        self.assertTrue(self.choose(PretendedFiles(""), v2_layout()).unified)
        nothing = self.choose(PretendedFiles(), Layout())
        self.assertFalse(nothing.available)
        self.assertFalse(Groups.choose(v2_layout(), PretendedFiles(), "/", enabled=False).available)

    def test_place(self) -> None:
        """Groups are below what systemd has left to us, above our own, or what the operator says."""
        files = PretendedFiles()
        files.owned.add(f"{UNIFIED}/system.slice/r.service")
        below = self.choose(files, v2_layout(), "/system.slice/r.service/daemon")
        self.assertEqual(f"/system.slice/r.service{PATH}", below.path(None, 1, "g"))
        at = self.choose(files, v2_layout(), "/system.slice/r.service")
        self.assertEqual(PATH, at.path(None, 1, "g"))
        told = self.choose(files, v2_layout(), "/system.slice/r.service/daemon", "/mine")
        self.assertEqual(f"/mine{PATH}", told.path(None, 1, "g"))
        self.assertEqual(f"/mine/machine/a.partition/{NAME}", told.path("/machine/a", 1, "g"))

    def test_host(self) -> None:
        """The host that the test runs on can be looked at."""
        groups = Groups.of_host()
        self.assertEqual(bool(groups.unified or groups.layout.controllers), groups.available)


class V1Tests(TestCase):
    """Version 1."""

    def setUp(self) -> None:
        self.files = PretendedFiles("")
        self.groups = Groups.choose(v1_layout(), self.files, "/")
        self.group = self.groups.group(PATH)

    def make(self) -> None:
        """Make the group, and those of two threads."""
        self.group.make(self.groups.makeable)
        for name in ("emulator", "vcpu0"):
            self.group.add(name)

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


INHERITED = (("cpus", "0-3"), ("mems", "0-1"), ("memory_migrate", "1"))

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def set_all(group: ControlGroup) -> None:
    """Set one of everything."""
    group.set_shares(262144 if "v1" in type(group).__module__ else 10000)
    group.set_period("", 50000)
    group.set_quota("vcpu0", 20000)
    group.set_memory_limit("hard_limit", 100)
    group.set_memory_limit("soft_limit", UNLIMITED)
    group.set_memory_limit("swap_hard_limit", 200)
    group.set_weight(300)
    for limit, name in enumerate(("read_iops", "write_iops", "read_bytes"), 1):
        group.set_device_limit(name, "/dev/vda", limit)
    group.set_device_limit("write_bytes", "/dev/vda", 0)
    group.set_cpuset("vcpu0", "cpus", "1-2")
    group.set_cpuset("emulator", "mems", "0")


def refused(
    case: TestCase, kind: type[VirError], text: str, call: Callable[..., Any], *arguments: Any
) -> None:
    """Check that a call is refused so."""
    error = case.assertRaises(kind, call, *arguments)
    case.assertIn(text, str(error))


class V2Tests(TestCase):
    """Version 2."""

    def setUp(self) -> None:
        self.files = PretendedFiles()
        self.groups = Groups.choose(v2_layout(), self.files, "/")
        self.group = self.groups.group(PATH)

    def make(self) -> None:
        """Make the group, and those of two threads."""
        self.group.make(self.groups.makeable)
        for name in ("emulator", "vcpu0"):
            self.group.add(name)

    def test_make(self) -> None:
        """Controllers are given on the way, those of threads to them; processes go inside."""
        self.make()
        self.assertEqual({"cpu", "cpuacct", "cpuset", "memory", "blkio"}, self.group.controllers)
        self.group.enter(100)
        self.group.move("vcpu0", 101)
        guest = UNIFIED + PATH
        self.assertEqual(
            [f"{UNIFIED}/machine", guest, f"{guest}/emulator", f"{guest}/vcpu0"], self.files.made
        )
        self.assertEqual(
            [
                *((f"{UNIFIED}/cgroup.subtree_control", f"+{one}") for one in CONTROLLERS),
                *((f"{UNIFIED}/machine/cgroup.subtree_control", f"+{one}") for one in CONTROLLERS),
                (f"{guest}/cgroup.subtree_control", "+cpu"),
                (f"{guest}/cgroup.subtree_control", "+cpuset"),
                (f"{guest}/emulator/cgroup.type", "threaded"),
                (f"{guest}/vcpu0/cgroup.type", "threaded"),
                (f"{guest}/emulator/cgroup.procs", "100"),
                (f"{guest}/vcpu0/cgroup.threads", "101"),
            ],
            self.files.written,
        )

    def test_again(self) -> None:
        """What is given already is not given again."""
        self.make()
        self.files.written.clear()
        other = self.groups.group("/machine/other")
        other.make(self.groups.makeable)
        self.assertEqual(
            {f"{UNIFIED}/machine/other/cgroup.subtree_control"}, {path for path, _ in self.files.written}
        )
        self.assertEqual(self.group.controllers, other.controllers)

    def test_values(self) -> None:
        """What is written, and how what is read is understood: libvirt's numbers."""
        self.make()
        self.files.written.clear()
        group = self.group
        self.assertEqual((100, (100000, NO_QUOTA)), (group.shares(), group.bandwidth("vcpu0")))
        self.assertEqual(UNLIMITED, group.memory_limit("soft_limit"))
        self.assertEqual(100, group.weight())
        set_all(group)
        guest = UNIFIED + PATH
        self.assertEqual(
            [
                (f"{guest}/cpu.weight", "10000"),
                (f"{guest}/cpu.max", "max 50000"),
                (f"{guest}/vcpu0/cpu.max", "20000"),
                (f"{guest}/memory.max", "102400"),
                (f"{guest}/memory.high", "max"),
                (f"{guest}/memory.swap.max", "204800"),
                (f"{guest}/io.weight", "default 300"),
                (f"{guest}/io.max", "254:0 riops=1"),
                (f"{guest}/io.max", "254:0 wiops=2"),
                (f"{guest}/io.max", "254:0 rbps=3"),
                (f"{guest}/io.max", "254:0 wbps=max"),
                (f"{guest}/vcpu0/cpuset.cpus", "1-2"),
                (f"{guest}/emulator/cpuset.mems", "0"),
            ],
            self.files.written,
        )
        self.assertEqual((10000, (100000, 20000)), (group.shares(), group.bandwidth("vcpu0")))
        group.set_period("vcpu0", 40000)
        self.assertEqual((40000, 20000), group.bandwidth("vcpu0"))
        group.set_quota("vcpu0", -1)
        self.assertEqual((40000, NO_QUOTA), group.bandwidth("vcpu0"))
        self.assertEqual([100, 200], [group.memory_limit(one) for one in ("hard_limit", "swap_hard_limit")])
        self.assertEqual(300, group.weight())
        group.set_device_limit("weight", "/dev/vda", 200)
        group.set_device_limit("weight", "/dev/vda", 0)
        self.assertEqual(["254:0 200", "254:0 default"], [text for _, text in self.files.written[-2:]])
        self.assertEqual(CpuTimes(500_000, 300_000, 200_000), group.times())
        self.assertRaises(OperationUnsupported, group.times_by_cpu, "")

    def test_bfq(self) -> None:
        """Where the kernel has a weight for bfq, it is that one."""
        self.make()
        files = self.files.folders[UNIFIED + PATH]
        files["io.bfq.weight"] = "default 250\n254:0 100"
        self.assertEqual(250, self.group.weight())
        self.group.set_weight(400)
        self.assertEqual("400", files["io.bfq.weight"])

    def test_refused(self) -> None:
        """What is refused before the kernel, and nonsense of its files."""
        self.make()
        refused(self, InvalidArg, "shares '10001' must be in range [1, 10000]", self.group.set_shares, 10001)
        files = self.files.folders[UNIFIED + PATH]
        files["cpu.max"] = "max"
        refused(
            self, InternalError, "Failed to parse value 'max' from cpu.max.", self.group.set_period, "", 5000
        )
        files["cpu.stat"] = "usage_usec 1"
        refused(self, InternalError, "cannot parse cpu usage stat", self.group.times)
        for name in ("io.weight", "memory.swap.max"):
            del files[name]
        refused(self, OperationInvalid, "only for bfq or cfq", self.group.set_weight, 100)
        refused(self, OperationInvalid, "only for cfq", self.group.set_device_limit, "weight", "/dev/vda", 1)
        self.assertEqual(UNLIMITED, self.group.memory_limit("swap_hard_limit"))

    def test_aside(self) -> None:
        """A daemon that is in the way of its own guests steps aside."""
        own = "/r.service"
        self.files.make(UNIFIED + own)
        self.files.where[UNIFIED, str(os.getpid())] = UNIFIED + own
        groups = Groups.choose(v2_layout(), self.files, own, own)
        group = groups.group(groups.path(None, 1, "g"))
        group.make(groups.makeable)
        self.assertIn("memory", group.controllers)
        self.assertEqual([f"{UNIFIED}{own}/daemon"], list(self.files.where.values()))

    def test_left_behind(self) -> None:
        """An old group without processes makes way; one that is new, or in use, does not."""
        self.group.make(self.groups.makeable)
        self.group.add("vcpu0")
        path = self.group.folder("cpu")
        again = self.groups.group(self.group.path)
        self.assertRaises(FileExistsError, again.make, self.groups.makeable)
        self.files.old.add(path)
        for place in (path, f"{path}/vcpu0"):
            self.files.folders[place]["cgroup.procs"] = "17"
            self.assertRaises(FileExistsError, again.make, self.groups.makeable)
            self.files.folders[place]["cgroup.procs"] = ""
        again.make(self.groups.makeable)
        self.assertEqual(self.group.controllers, again.controllers)
        self.assertNotIn(f"{path}/vcpu0", self.files.folders)

    def test_others_in_the_way(self) -> None:
        """Processes of others stay where they are, and guests have no limits of memory then."""
        self.files.make(f"{UNIFIED}/theirs")
        self.files.where[UNIFIED, "1"] = f"{UNIFIED}/theirs"
        groups = Groups.choose(v2_layout(), self.files, "/r.service", "/theirs")
        group = groups.group(groups.path(None, 1, "g"))
        group.make(groups.makeable)
        self.assertEqual({"cpu", "cpuacct", "cpuset"}, group.controllers)
        self.assertEqual([f"{UNIFIED}/theirs"], list(self.files.where.values()))

    def test_delegated(self) -> None:
        """Below what systemd has left to us nothing above it is touched."""
        service = f"{UNIFIED}/system.slice/r.service"
        self.files.make(f"{UNIFIED}/system.slice")
        self.files.make(service)
        self.files.folders[service]["cgroup.controllers"] = "cpu memory pids"
        self.files.owned.add(service)
        groups = Groups.choose(v2_layout(), self.files, "/system.slice/r.service/daemon")
        group = groups.group(groups.path(None, 1, "g"))
        group.make(groups.makeable)
        self.assertEqual({"cpu", "cpuacct", "memory"}, group.controllers)
        self.assertTrue(all(path.startswith(f"{service}/") for path, _ in self.files.written))
        self.assertEqual((f"{service}/cgroup.subtree_control", "+cpu"), self.files.written[0])

    def test_not_allowed(self) -> None:
        """Who may make no group has none, and that is no error."""
        self.files.refused[f"{UNIFIED}/machine"] = errno.EACCES
        self.group.make(self.groups.makeable)
        self.assertEqual(frozenset(), self.group.controllers)

    def test_failed(self) -> None:
        """What fails after the group was made takes it back."""
        self.files.refused[f"{UNIFIED}{PATH}/cgroup.subtree_control"] = errno.EINVAL
        refused(self, VirSystemError, "Invalid argument", self.group.make, self.groups.makeable)
        self.assertNotIn(UNIFIED + PATH, self.files.folders)
        del self.files.refused[f"{UNIFIED}{PATH}/cgroup.subtree_control"]
        self.files.make(UNIFIED + PATH)
        self.assertRaises(FileExistsError, self.group.make, self.groups.makeable)
        self.assertIn(UNIFIED + PATH, self.files.folders)

    def test_remove_and_find(self) -> None:
        """A group is found again, and goes when the last process has gone."""
        self.make()
        self.group.enter(100)
        later = self.groups.group(PATH)
        later.find()
        self.assertEqual(self.group.controllers, later.controllers)
        self.assertFalse(later.remove())
        self.files.end(100)
        later.drop("vcpu0")
        self.assertEqual(["emulator"], later.children())
        self.assertTrue(later.remove())
        later.find()
        self.assertEqual(frozenset(), later.controllers)


class FilesTests(TestCase):
    """The door to the kernel's files, on ordinary ones."""

    def test_files(self) -> None:
        """Files are read and written as they are, and never made; folders are."""
        files, top = GroupFiles(), self.mktemp()
        files.make(top)
        files.make(f"{top}/child")
        self.assertRaises(FileExistsError, files.make, top)
        with open(f"{top}/cpu.shares", "w", encoding="ascii") as file:
            file.write("1024\n")
        self.assertEqual("1024", files.read(f"{top}/cpu.shares"))
        files.write(f"{top}/cpu.shares", "2048")
        self.assertEqual("2048\n"[:4], files.read(f"{top}/cpu.shares")[:4])
        self.assertRaises(FileNotFoundError, files.write, f"{top}/other", "1")
        self.assertEqual(["child"], files.children(top))
        files.remove(f"{top}/child")
        self.assertFalse(files.exists(f"{top}/child"))
        self.assertFalse(files.delegated(top))

    def test_device(self) -> None:
        """Only block devices have limits; what is none is refused in libvirt's words."""
        files = GroupFiles()
        refused(
            self, VirSystemError, "Path '/dev/null' must be a block device", device_number, files, "/dev/null"
        )
        refused(
            self, VirSystemError, "is not accessible: No such file", device_number, files, "/dev/none-such"
        )
        refused(self, VirSystemError, "is not accessible: Invalid argument", device_number, files, "/dev/\0")
        self.assertEqual("254:0", device_number(PretendedFiles(), "/dev/vda"))


CONTROLLERS = ("cpu", "cpuset", "memory", "io")


class HostTests(TestCase):
    """The groups of the host that the test runs on, as far as it lets us make any."""

    def setUp(self) -> None:
        self.base = f"/remotevirt-test-{os.getpid()}"
        self.groups = Groups.of_host(self.base)
        self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=True)
        self.addCleanup(self.end)

    def end(self) -> None:
        """End the process, and remove all groups."""
        self.process.communicate()
        layout = self.groups.layout
        for top in {*layout.controllers.values(), layout.unified}:
            if os.path.isdir(f"{top}{self.base}"):
                for folder, _, _ in os.walk(f"{top}{self.base}", topdown=False):
                    os.rmdir(folder)

    def use(self, groups: Groups) -> ControlGroup:
        """Put a process into groups of its own; where we may not make any, there are none."""
        group = groups.group(groups.path(None, 1, "g"))
        group.make(groups.makeable)
        if group.controllers:
            group.add("emulator")
            group.add("vcpu0")
            group.enter(self.process.pid)
            group.move("vcpu0", self.process.pid)
            self.assertFalse(group.remove())
        return group

    def places(self) -> dict[str, str]:
        """The groups that the process is in, by controller; those of version 2 by none."""
        with open(f"/proc/{self.process.pid}/cgroup", encoding="ascii") as file:
            lines = [line.strip().split(":", 2) for line in file]
        return {name: path for _, names, path in lines for name in names.split(",")}

    def test_host(self) -> None:
        """A process and its thread are in their groups, and limits are what the kernel says."""
        group = self.use(self.groups)
        places = self.places()
        inside = f"{self.base}{PATH}"
        for controller in group.controllers:
            threaded = self.groups.unified or controller in ("cpu", "cpuacct", "cpuset")
            place = places["" if self.groups.unified else controller]
            self.assertEqual(f"{inside}/vcpu0" if threaded else inside, place)
        if "memory" in group.controllers:
            group.set_memory_limit("hard_limit", 1 << 20)
            limits = [group.memory_limit(name) for name in ("hard_limit", "soft_limit")]
            self.assertEqual([1 << 20, UNLIMITED], limits)
        if "cpu" in group.controllers:
            group.set_shares(300)
            group.set_quota("vcpu0", 20000)
            self.assertEqual((300, (100000, 20000)), (group.shares(), group.bandwidth("vcpu0")))
        if "cpuset" in group.controllers:
            cpu = min(os.sched_getaffinity(0))
            group.set_cpuset("vcpu0", "cpus", str(cpu))
            self.assertEqual({cpu}, os.sched_getaffinity(self.process.pid))
        if "cpuacct" in group.controllers:
            self.assertGreaterEqual(group.times().total, 0)
        self.process.communicate()
        self.assertTrue(group.remove())
        found = self.groups.group(group.path)
        found.find()
        self.assertEqual(frozenset(), found.controllers)

    def test_unified(self) -> None:
        """Threads can be told apart in version 2 also where its tree has no controllers."""
        if self.groups.layout.unified is None:
            self.assertFalse(self.groups.unified)
            return
        group = self.use(attrs.evolve(self.groups, unified=True))
        if group.controllers:
            self.assertEqual(f"{self.base}{PATH}/vcpu0", self.places()[""])
            self.assertEqual(["emulator", "vcpu0"], group.children())
            self.process.communicate()
            self.assertTrue(group.remove())
        else:
            self.assertNotIn(self.base, self.places().get("", ""))
