"""Control groups of version 2: every word that the kernel is told."""

from __future__ import annotations

import errno
import os

from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.group import (
    UNLIMITED,
    CpuTimes,
)
from remotevirt.drivers.qemu.control_groups.v2 import NO_QUOTA
from remotevirt.stubs.errors import (
    InternalError,
    InvalidArg,
    OperationInvalid,
    OperationUnsupported,
    VirSystemError,
)
from tests.drivers.qemu.group_cases import PATH, GroupCase, refused, set_all
from tests.drivers.qemu.pretended_groups import (
    UNIFIED,
    v2_layout,
)

CONTROLLERS = ("cpu", "cpuset", "memory", "io")


class V2Tests(GroupCase):
    """Version 2."""

    layout = staticmethod(v2_layout)
    controllers = "cpuset cpu io memory pids"

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
