"""Limits of real guests, set by the real virsh and read in the kernel's own files.

What the host lets the daemon do is found out first: a host without control groups, or one that lets us make
none, is a test of the refusals.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from benchmarks.qemu import QemuLibvirtd
from remotevirt.drivers.qemu.control_groups.finding import Groups
from tests.drivers.qemu.pretended_groups import UNIFIED, PretendedFiles, v2_layout
from tests.interop.peers import require, run_virsh
from tests.interop.qemu_session import GuestTestCase, until

TUNED = """
<vcpu current='2'>3</vcpu><iothreads>1</iothreads>{tuning}"""

TUNING = {
    "memory": "<memtune><hard_limit unit='KiB'>4000000</hard_limit></memtune>",
    "cpu": "<cputune><shares>500</shares><period>50000</period><quota>40000</quota>"
    "<iothread_quota>30000</iothread_quota></cputune>",
    "cpuset": "<numatune><memory mode='restrictive' nodeset='0'/></numatune>",
}
"""What a definition asks of each controller."""

COMPLAINTS = {
    "memory": (["memtune", "empty"], "cgroup memory controller is not mounted"),
    "cpu": (["schedinfo", "empty"], "cgroup CPU controller is not mounted"),
    "cpuset": (["numatune", "empty", "--nodeset", "0"], "cgroup cpuset controller is not mounted"),
    "blkio": (["blkiotune", "empty"], "blkio cgroup isn't mounted"),
}
"""What is said where a controller is not there."""

FILES = {
    False: {
        "shares": ("cpu", "cpu.shares"),
        "quota": ("cpu", "vcpu1/cpu.cfs_quota_us"),
        "iothread": ("cpu", "iothread1/cpu.cfs_quota_us"),
        "hard": ("memory", "memory.limit_in_bytes"),
        "soft": ("memory", "memory.soft_limit_in_bytes"),
    },
    True: {
        "shares": ("cpu", "cpu.weight"),
        "quota": ("cpu", "vcpu1/cpu.max"),
        "iothread": ("cpu", "iothread1/cpu.max"),
        "hard": ("memory", "memory.max"),
        "soft": ("memory", "memory.high"),
    },
}
"""Where the kernel says it: without, and with version 2."""


class CgroupCase(GuestTestCase):
    """A daemon whose guests have groups below one of the test's own."""

    def setUp(self) -> None:
        self.addCleanup(lambda: Deferred.fromCoroutine(until(self.cleared)))  # when the daemon has ended
        super().setUp()
        self.base = f"/remotevirt-{os.getpid()}-{self.id().rpartition('.')[2]}"
        self.groups = Groups.of_host(self.base)

    def cleared(self) -> bool:
        """Remove the groups that guests were below; return whether nothing is left."""
        layout = self.groups.layout
        tops = [top for top in {*layout.controllers.values(), layout.unified} if top is not None]
        for top in tops:
            for folder, _, _ in os.walk(f"{top}{self.base}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return not any(os.path.exists(f"{top}{self.base}") for top in tops)

    def usable(self) -> frozenset[str]:
        """The controllers that a guest can have here."""
        group = self.groups.group(self.groups.path(None, 0, "probe"))
        group.make(self.groups.makeable)
        controllers = group.controllers
        self.assertTrue(group.remove())
        return controllers


class CgroupTests(CgroupCase):
    """A guest, and its groups."""

    def kernel(self, what: str) -> str:
        """What the kernel says of the guest, without what it says of the period."""
        controller, file = FILES[self.groups.unified][what]
        return (self.folder(controller) / file).read_text().split()[0]

    def folder(self, controller: str) -> Path:
        """The guest's group of a controller."""
        layout = self.groups.layout
        top = layout.unified if self.groups.unified else layout.controllers[controller]
        (folder,) = Path(f"{top}{self.base}/machine").glob("qemu-*-empty.libvirt-qemu")
        return folder

    def threads(self) -> set[str]:
        """The names of the threads' groups."""
        return {path.name for path in self.folder("cpu").iterdir() if path.is_dir()}

    def folders(self) -> list[Path]:
        """The groups of guests that are there."""
        layout = self.groups.layout
        tops = sorted({*layout.controllers.values(), layout.unified or "/nowhere"})
        return [path for top in tops for path in Path(f"{top}{self.base}/machine").glob("qemu-*")]

    async def settings(self, *words: str) -> Mapping[str, str]:
        """What virsh lists: names and values."""
        return dict(re.findall(r"(\S+) *: (\S*)", await self.virsh(*words)))

    async def test_limits(self) -> None:
        """Limits are the kernel's, from the start to the end, and over the death of the daemon."""
        usable = await deferToThread(self.usable)
        await self.begin(f"cgroups={self.base}")
        tuning = "".join(text for controller, text in TUNING.items() if controller in usable)
        path = self.empty("empty", TUNED.format(tuning=tuning))
        path.write_text(path.read_text().replace("<vcpu>1</vcpu>", ""))
        await self.virsh("define", str(path))
        await self.virsh("start", "empty")
        pid = self.qemu()
        inside = f"{self.base}/machine/qemu-1-empty.libvirt-qemu"
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            self.assertEqual(bool(usable), f":{inside}" in file.read())
        for controller, (words, complaint) in COMPLAINTS.items():
            if controller not in usable:
                self.assertIn(complaint, await self.refused(*words))
        if "cpu" in usable:
            await self.check_cpu()
        if "memory" in usable:
            await self.check_memory()
        if "cpuset" in usable:
            await self.virsh("vcpupin", "empty", "0", "0")
            await self.virsh("numatune", "empty", "--nodeset", "0")
            await self.virsh("emulatorpin", "empty", "0")
        os.kill(pid, signal.SIGKILL)
        await self.state_is("shut off (crashed)", "empty")
        await until(lambda: not self.folders(), "no groups")
        await self.nothing_left()

    async def check_cpu(self) -> None:
        """Shares and quotas, of all threads, of new ones too, and of a guest that is found again."""
        self.assertEqual("500", self.kernel("shares"))
        self.assertEqual(["40000", "30000"], [self.kernel(one) for one in ("quota", "iothread")])
        found = await self.settings("schedinfo", "empty")
        self.assertEqual(["500", "50000", "40000"], [found[one] for one in SHOWN])
        await self.virsh("schedinfo", "empty", "--live", "--set", "cpu_shares=700", "vcpu_quota=20000")
        self.assertEqual(["700", "20000"], [self.kernel(one) for one in ("shares", "quota")])
        self.assertIn("out of range", await self.refused("schedinfo", "empty", "--set", "vcpu_period=5"))
        refusal = await self.refused("schedinfo", "empty", "--set", "cpu_shares=1000000")
        self.assertIn("shares '1000000' must be in range", refusal)
        await self.again()
        found = await self.settings("schedinfo", "empty")
        self.assertEqual(["700", "50000", "20000"], [found[one] for one in SHOWN])
        self.assertIn("<shares>700</shares>", await self.virsh("dumpxml", "empty"))
        self.assertIn("<shares>500</shares>", await self.virsh("dumpxml", "empty", "--inactive"))
        self.assertEqual({"emulator", "vcpu0", "vcpu1", "iothread1"}, self.threads())
        await self.virsh("setvcpus", "empty", "3", "--live")
        await self.virsh("iothreadadd", "empty", "2")
        self.assertEqual({"emulator", "vcpu0", "vcpu1", "vcpu2", "iothread1", "iothread2"}, self.threads())
        self.assertIn("cpu.time=", await self.virsh("domstats", "--cpu-total", "empty"))
        self.assertIn("cpu_time", await self.virsh("cpu-stats", "empty", "--total"))

    async def check_memory(self) -> None:
        """The limits of memory."""
        self.assertEqual(str(4000000 << 10), self.kernel("hard"))
        await self.virsh("memtune", "empty", "--hard-limit", "3000000", "--soft-limit", "2000000", "--live")
        self.assertEqual(
            [str(3000000 << 10), str(2000000 << 10)], [self.kernel(one) for one in ("hard", "soft")]
        )
        limits = list((await self.settings("memtune", "empty")).values())
        self.assertEqual(["3000000", "2000000", "unlimited"], limits)
        self.assertIn("4000000", await self.virsh("memtune", "empty", "--config"))

    async def test_swept(self) -> None:
        """Groups of guests that ended while nobody watched go when the daemon comes back."""
        usable = await deferToThread(self.usable)
        await self.begin(f"cgroups={self.base}")
        await self.virsh("create", str(self.empty()))
        self.assertEqual(bool(usable), bool(self.folders()))
        await deferToThread(self.daemon.kill)
        os.kill(self.qemu(), signal.SIGKILL)
        await until(lambda: not self.daemon.qemus(), "no QEMU")
        self.assertEqual(bool(usable), bool(self.folders()))
        await deferToThread(self.daemon.start)
        await until(lambda: not self.folders(), "no groups")
        self.assertEqual("", await self.virsh("list", "--name"))


class GroupedLibvirtd(QemuLibvirtd):
    """libvirtd with its QEMU driver and control groups, but for access to devices."""

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command = super()._command()
        config = self.directory / "etc-libvirt/qemu.conf"
        names = '[ "cpu", "cpuacct", "cpuset", "memory", "blkio" ]'
        config.write_text(
            config.read_text().replace("cgroup_controllers = []", f"cgroup_controllers = {names}")
        )
        return command


class ParityTests(CgroupCase):
    """The same calls on a guest of libvirtd's."""

    async def test_same(self) -> None:
        """Answers, refusals and definitions are the same, word for word."""
        require("libvirtd")
        self.name = f"parity{os.getpid()}"
        usable = await deferToThread(self.usable)
        await self.begin(f"cgroups={self.base}")
        path = self.empty(self.name, TUNED.format(tuning=""))
        text = path.read_text().replace("<vcpu>1</vcpu>", "")
        path.write_text(
            text.replace("<memballoon", "<emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon")
        )
        ours = await self.walk(self.daemon.guests_uri, path)
        if os.geteuid() != 0 or not usable >= {"cpu", "cpuset", "memory", "blkio"}:
            self.assertIn("not mounted", "".join(ours.values()))
            return
        libvirtd = GroupedLibvirtd()
        self.addCleanup(libvirtd.stop)
        await deferToThread(libvirtd.start)
        uri = f"qemu+unix:///system?socket={quote(str(libvirtd.unix))}"
        try:
            theirs = await self.walk(uri, path)
        finally:
            await deferToThread(run_virsh, uri, "destroy", self.name)
        for line, said in theirs.items():
            self.assertEqual(said, ours[line], line)

    async def walk(self, uri: str, path: Path) -> dict[str, str]:
        """What each call leads to."""
        said = {}
        await deferToThread(run_virsh, uri, "define", str(path))
        for line in ("start", *SAME):
            command, *words = line.split()
            output = await deferToThread(run_virsh, uri, command, self.name, *words)
            said[line] = (output.out + output.err).replace(f"{self.base}/machine", "/machine")
        output = await deferToThread(run_virsh, uri, "dumpxml", self.name)
        for element in ("memtune", "blkiotune", "cputune", "numatune", "resource"):
            found = re.search(f"<{element}>.*</{element}>", output.out, re.DOTALL)
            said[element] = found[0] if found else ""
        return said


SAME = (
    "schedinfo",
    "schedinfo --set cpu_shares=600 vcpu_quota=30000",
    "schedinfo --set cpu_shares=1",
    "schedinfo --live --set vcpu_period=500",
    "schedinfo --set vcpu_quota=10",
    "schedinfo --set vcpu_quota=0",
    "schedinfo --set vcpu_quota=-5",
    "schedinfo --set emulator_period=20000 emulator_quota=5000 iothread_quota=30000 global_period=50000",
    "schedinfo --config --set cpu_shares=300",
    "memtune",
    "memtune --hard-limit 5000000",
    "memtune --swap-hard-limit 300000",
    "memtune --swap-hard-limit 7000000",
    "memtune --soft-limit 3000000",
    "memtune --hard-limit 8000000",
    "memtune --hard-limit 1",
    "memtune",
    "blkiotune",
    "blkiotune --weight 600",
    "blkiotune --weight 20000",
    "blkiotune --device-weights /dev/none,300",
    "blkiotune --device-read-iops-sec /dev/null,300",
    "blkiotune",
    "numatune",
    "numatune --mode preferred --nodeset 0",
    "vcpupin 0 0",
    "emulatorpin 0",
    "iothreadpin 1 0",
)
"""What both are asked."""


class LinuxTests(GuestTestCase):
    """Version 2, whatever the host has: Linux in a guest is told what a daemon would tell its host's."""

    async def test_version_2(self) -> None:
        """The kernel takes every word, in that order, and says the same afterwards."""
        await self.begin("cgroups=off")
        await self.virsh("create", str(self.guest()))
        console = await self.console()
        await console.boot()
        await console.command(f"mkdir {UNIFIED} && mount -t cgroup2 none {UNIFIED}")
        files = PretendedFiles(await console.command(f"cat {UNIFIED}/cgroup.controllers"))
        self.assertLessEqual({"cpu", "cpuset", "memory", "io"}, set(files.read(CONTROLLERS).split()))
        process = int(await console.command("sleep 1000 & echo $!"))
        groups = Groups.choose(v2_layout(), files, "/")
        group = groups.group(groups.path(None, 1, "g"))
        group.make(groups.makeable)
        for name in ("emulator", "vcpu0"):
            group.add(name)
        group.enter(process)
        group.move("vcpu0", process)
        group.set_shares(300)
        group.set_quota("vcpu0", 20000)
        group.set_period("vcpu0", 50000)
        group.set_period("", 40000)
        group.set_quota("emulator", -1)
        for limit, name in enumerate(("hard_limit", "soft_limit"), 30000):
            group.set_memory_limit(name, limit << 2)
        group.set_cpuset("vcpu0", "cpus", "0")
        group.set_cpuset("emulator", "mems", "0")
        for path, text in files.done:
            await console.command(f"echo -n '{text}' >{path}" if text else f"mkdir {path}")
        place = f"{UNIFIED}{group.path}"
        for path in (
            "cpu.weight",
            "cpu.max",
            "vcpu0/cpu.max",
            "emulator/cpu.max",
            "memory.max",
            "memory.high",
        ):
            said = await console.command(f"cat {place}/{path}")
            self.assertEqual(files.read(f"{place}/{path}"), said, path)
        self.assertEqual(str(process), await console.command(f"cat {place}/vcpu0/cgroup.threads"))
        self.assertEqual("domain threaded", await console.command(f"cat {place}/cgroup.type"))
        for name in ("user", "system", "usage"):
            self.assertIn(f"{name}_usec ", await console.command(f"cat {place}/cpu.stat"))
        await console.command(f"kill {process}; until rmdir {place}/vcpu0; do sleep 0.1; done")
        await console.command(f"rmdir {place}/emulator {place}")
        await self.virsh("destroy", "guest")


CONTROLLERS = f"{UNIFIED}/cgroup.controllers"

TOLD = ("cpu.weight", "cpu.max", "vcpu0/cpu.max", "emulator/cpu.max", "memory.max", "memory.high")

SHOWN = ("cpu_shares", "vcpu_period", "vcpu_quota")
