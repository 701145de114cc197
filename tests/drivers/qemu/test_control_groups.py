"""Control groups: where they are, what they are called, which there are, and the files of a real host."""

from __future__ import annotations

import os
import subprocess

import attrs
from twisted.trial.unittest import TestCase

from remotevirt.drivers.mounts import parse_mounts
from remotevirt.drivers.qemu.control_groups.files import GroupFiles
from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.group import (
    UNLIMITED,
    ControlGroup,
    device_number,
)
from remotevirt.drivers.qemu.control_groups.layout import (
    Layout,
    group_name,
    own_group,
    partition_path,
)
from remotevirt.stubs.errors import (
    VirSystemError,
)
from tests.drivers.qemu.group_cases import NAME, PATH, refused
from tests.drivers.qemu.pretended_groups import (
    UNIFIED,
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
