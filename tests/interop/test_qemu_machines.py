"""Processors, memory, statistics and dumps of real guests, by the real virsh, seen from all sides.

A boot is what costs time, so one guest serves all checks that need an operating system.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from tests.interop.qemu_session import GuestTestCase
from tests.qemu_guests import KERNEL_ARGS, guest_initrd, guest_kernel

reactor: Any = _reactor

GUEST = """
<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>256</memory>
  <vcpu current='1'>2</vcpu>
  <iothreads>1</iothreads>
  {tune}
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>coredump-destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='user'/>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <panic model='isa'/>
  </devices>
</domain>
"""

MIB = 1 << 20

FIELDS = """
state.state state.reason cpu.time cpu.user cpu.system
cpu.cache.monitor.count cpu.haltpoll.success.time cpu.haltpoll.fail.time
balloon.current balloon.maximum balloon.swap_in
balloon.swap_out balloon.major_fault balloon.minor_fault balloon.unused balloon.available balloon.usable
balloon.last-update balloon.disk_caches balloon.hugetlb_pgalloc balloon.hugetlb_pgfail balloon.rss
vcpu.current vcpu.maximum vcpu.0.state vcpu.0.time vcpu.0.wait vcpu.0.delay vcpu.1.state vcpu.1.time
vcpu.1.wait vcpu.1.delay net.count block.count block.0.name block.0.path block.0.backingIndex
block.0.rd.reqs block.0.rd.bytes block.0.rd.times block.0.wr.reqs block.0.wr.bytes block.0.wr.times
block.0.fl.reqs block.0.fl.times block.0.allocation block.0.capacity block.0.physical block.1.name
block.1.rd.reqs block.1.rd.bytes block.1.rd.times block.1.wr.reqs block.1.wr.bytes block.1.wr.times
block.1.fl.reqs block.1.fl.times iothread.count iothread.1.poll-max-ns iothread.1.poll-grow
iothread.1.poll-shrink dirtyrate.calc_status dirtyrate.calc_start_time dirtyrate.calc_period
dirtyrate.calc_mode
"""
"""What libvirt 9.0.0 tells of such a guest, in its order."""


def allowed(thread: int) -> str:
    """The host's CPUs that a thread may run on, as the kernel has it."""
    found = re.search(r"Cpus_allowed_list:\s*(\S+)", Path(f"/proc/{thread}/status").read_text())
    assert found is not None
    return found[1]


def threads(pid: int, name: str) -> list[int]:
    """The threads of a process whose names begin so."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(task.name) for task in tasks if (task / "comm").read_text().startswith(name))


class MachineTests(GuestTestCase):
    """A guest and its machine."""

    def machine(self, tune: str = "") -> Path:
        """The document of the guest, in a file."""
        disk = self.daemon.directory / "disk.raw"
        disk.write_bytes(b"disk" + bytes(MIB - 4))
        files = {"kernel": guest_kernel(), "initrd": guest_initrd(), "disk": disk, "cmdline": KERNEL_ARGS}
        return self.document("guest", GUEST.format(tune=tune, **files))

    async def memory(self) -> dict[str, str]:
        """The figures of the guest's memory."""
        lines = (await self.virsh("dommemstat", "guest")).splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    async def told(self, *words: str) -> dict[str, str]:
        """The statistics of the guest: names, in their order, and values."""
        lines = (await self.virsh("domstats", *words, "guest")).splitlines()[1:]
        return dict(line.strip().split("=", 1) for line in lines if line.strip())

    async def test_machine(self) -> None:
        """Memory, processors, threads, figures and dumps; and at the end the guest panics."""
        await self.begin("cgroups=off")
        await self.virsh("define", str(self.machine("<cputune><emulatorpin cpuset='0'/></cputune>")))
        watching = await self.watch()
        await self.virsh("start", "guest")
        console = await self.console()
        await console.boot()
        pid = self.qemu()

        # memory
        before = int((await console.command("sed -n 's/MemTotal: *//p' /proc/meminfo")).split()[0])
        await self.virsh("setmem", "guest", "192M")
        await console.command(
            f"until [ $(sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) -le {before - 65536} ];"
            " do sleep 0.1; done"
        )
        after = int((await console.command("sed -n 's/MemTotal: *//p' /proc/meminfo")).split()[0])
        self.assertAlmostEqual(before - after, 64 * 1024, delta=4096)
        stats = await self.memory()
        self.assertEqual(stats["actual"], str(192 * 1024))
        end = reactor.seconds() + 20
        while int(stats["available"]) > before - 60 * 1024:  # the guest tells once a second
            self.assertLess(reactor.seconds(), end, stats)
            await deferLater(reactor, 0.2)
            stats = await self.memory()
        self.assertEqual(list(stats)[:2] + list(stats)[-1:], ["actual", "swap_in", "rss"])
        self.assertIn("higher than max memory", await self.refused("setmem", "guest", "1G"))
        self.assertIn("memory controller is not mounted", await self.refused("memtune", "guest"))

        # processors
        await self.virsh("setvcpus", "guest", "2", "--live")
        await console.wait_for(r"^cpu\+ 1$")
        self.assertEqual(await console.command("grep -c ^processor /proc/cpuinfo"), "2")
        self.assertIn("already in requested state", await self.refused("setvcpu", "guest", "1", "--enable"))
        self.assertIn("3 > 2", await self.refused("setvcpus", "guest", "3"))
        cpus = threads(pid, "CPU ")
        self.assertEqual(len(cpus), 2)
        await self.virsh("vcpupin", "guest", "1", "0")
        self.assertEqual(allowed(cpus[1]), "0")
        await self.virsh("vcpupin", "guest", "0", "0", "--live")
        self.assertEqual([allowed(cpu) for cpu in cpus], ["0", "0"])
        info = await self.virsh("vcpuinfo", "guest")
        self.assertEqual(len(re.findall(r"CPU Affinity: +y-*$", info, re.MULTILINE)), 2, info)
        self.assertEqual(allowed(pid), "0")  # from the definition
        self.assertIn("not mounted", await self.refused("schedinfo", "guest"))

        # IO threads
        (first,) = threads(pid, "IO iothread1")
        await self.virsh("iothreadadd", "guest", "3")
        (third,) = threads(pid, "IO iothread3")
        await self.virsh("iothreadpin", "guest", "3", "0")
        self.assertEqual(allowed(third), "0")
        self.assertNotEqual(first, third)
        await self.virsh("iothreadset", "guest", "3", "--poll-max-ns", "1000")
        self.assertEqual((await self.told("--iothread"))["iothread.3.poll-max-ns"], "1000")
        await self.virsh("iothreaddel", "guest", "3")
        self.assertEqual(threads(pid, "IO iothread3"), [])

        # statistics
        self.assertEqual(await console.command("disk-read 0"), "disk")
        found = await self.told()
        self.assertEqual(list(found), FIELDS.split())
        self.assertEqual(found["state.state"], "1")
        self.assertEqual(found["balloon.current"], str(192 * 1024))
        self.assertEqual(found["block.0.capacity"], str(MIB))
        self.assertGreater(int(found["block.0.rd.bytes"]), 0)
        self.assertGreater(int(found["vcpu.0.time"]), 10**9)
        await self.check_wedged(pid)

        # dumps
        path = self.daemon.directory / "dump"
        await self.virsh("dump", "guest", str(path), "--memory-only", "--live")
        with path.open("rb") as file:
            self.assertEqual(file.read(4), b"\x7fELF")
        self.assertGreater(path.stat().st_size, 192 * MIB)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        report = await self.virsh("domjobinfo", "guest", "--completed")
        self.assertRegex(report, r"Job type: +Completed\s+Operation: +Dump")
        self.assertRegex(await self.virsh("domjobinfo", "guest"), r"Job type: +None")
        self.assertIn("no job is active", await self.refused("domjobabort", "guest"))
        await self.virsh("dump", "guest", str(path))
        with path.open("rb") as file:
            self.assertEqual(file.read(4), b"QEVM")
        self.assertEqual(await self.state(), "running (unpaused)")
        self.assertEqual(await console.command("echo on"), "on")

        # a panic
        console.send_line("echo c >/proc/sysrq-trigger")
        await self.state_is("shut off (crashed)")
        (kept,) = (self.daemon.state / "qemu" / "dump").iterdir()
        with kept.open("rb") as file:
            self.assertEqual(file.read(4), b"\x7fELF")
        heard = "\n".join(watching.events())
        self.assertRegex(heard, r"guest balloon-change")
        self.assertRegex(heard, r"guest tunable")
        self.assertRegex(heard, r"guest job-completed")
        self.assertRegex(heard, r"guest lifecycle Crashed Panicked")
        await self.nothing_left()

    async def check_wedged(self, pid: int) -> None:
        """A guest whose QEMU stands still keeps nobody waiting for long; only its own figures are missing."""
        await self.virsh("create", str(self.empty()))
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            output = await self.virsh("domstats")
            self.assertLess(time.monotonic() - began, 15)
            told = {text.partition("\n")[0]: text for text in output.split("Domain: ")[1:]}
            self.assertIn("vcpu.0.time", told["'guest'"])
            self.assertNotIn("balloon.rss", told["'guest'"])
            self.assertIn("balloon.rss", told["'empty'"])
        finally:
            os.kill(pid, signal.SIGCONT)
        await self.virsh("destroy", "empty")

    async def test_refused(self) -> None:
        """What nobody would enforce is refused when a guest starts; its definition can say so."""
        await self.begin("cgroups=off")
        await self.virsh("define", str(self.empty()))
        for command, complaint in (
            (["schedinfo", "empty", "--set", "cpu_shares=200"], "CPU tuning is not available on this host"),
            (["schedinfo", "empty", "--set", "cpu_shares=0", "vcpu_quota=2000"], "cgroup cpu is required"),
        ):
            await self.virsh(*command)
            self.assertIn(complaint, await self.refused("start", "empty"))
        self.assertIn("out of range", await self.refused("schedinfo", "empty", "--set", "cpu_shares=1"))
        await self.virsh("memtune", "empty", "--hard-limit", "100000")
        self.assertIn("hard_limit     : 100000", await self.virsh("memtune", "empty"))
        self.assertIn("domain is not running", await self.refused("domjobinfo", "empty"))
