"""Limits that a definition has, in pretended control groups: from the start to the end of a guest."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.layout import Layout
from remotevirt.drivers.qemu.figures import boot_id
from remotevirt.drivers.qemu.keeping import GuestKeeper
from remotevirt.drivers.qemu.left_groups import REMOVE_SECONDS, remove_left
from remotevirt.drivers.qemu.limits import make_group, name_partition
from remotevirt.drivers.qemu.reviving import take_in
from remotevirt.drivers.qemu.stopping import gone
from remotevirt.drivers.qemu.threads import settle_threads
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    OperationFailed,
    VirSystemError,
)
from remotevirt.typed_params import to_dict
from tests.drivers.qemu.limited import BLKIO, CPU, CPUSET, MEMORY, PATH, LimitsCase, inherited
from tests.drivers.qemu.pretended_groups import V1_TOPS
from tests.drivers.qemu.test_machines import GUEST

reactor: Any = _reactor

NOBODY = 2**22 + 1
"""The number of no thread: the kernel has none so high."""
ENTERED = (f"{CPU}/emulator", f"{CPUSET}/emulator", MEMORY, BLKIO)


class StartTests(LimitsCase):
    """What a guest gets when it starts."""

    async def test_all(self) -> None:
        """Everything in a definition is told to the kernel; threads are put where they belong."""
        await make_group(self.guest)
        group = self.guest.group
        assert group is not None
        self.assertEqual(PATH, self.guest.details.group)
        group.enter(os.getpid())
        del self.guest.threads[1]
        await settle_threads(self.guest)
        told = [(path, text) for path, text in self.files.written if "cpuset/machine/cpuset" not in path]
        self.assertEqual(
            [
                (f"{CPUSET}/cpuset.cpus", "0-3"),
                (f"{CPUSET}/cpuset.mems", "0-1"),
                (f"{CPUSET}/cpuset.memory_migrate", "1"),
                (f"{BLKIO}/blkio.bfq.weight", "300"),
                (f"{BLKIO}/blkio.throttle.read_iops_device", "254:0 70"),
                (f"{MEMORY}/memory.limit_in_bytes", str(400000 << 10)),
                (f"{MEMORY}/memory.memsw.limit_in_bytes", str(500000 << 10)),
                (f"{CPU}/cpu.shares", "500"),
                (f"{CPU}/cpu.cfs_quota_us", "90000"),
                *inherited("emulator"),
                (f"{CPUSET}/emulator/cpuset.mems", "0"),
                (f"{CPU}/emulator/cpu.cfs_quota_us", "2000"),
                *((f"{place}/cgroup.procs", str(os.getpid())) for place in ENTERED),
                *inherited("vcpu0"),
                (f"{CPUSET}/vcpu0/cpuset.cpus", "0"),
                (f"{CPUSET}/vcpu0/cpuset.mems", "0"),
                (f"{CPU}/vcpu0/cpu.cfs_period_us", "50000"),
                (f"{CPU}/vcpu0/cpu.cfs_quota_us", "30000"),
                *((f"{place}/vcpu0/tasks", str(self.threads[0])) for place in (CPU, CPUSET)),
                *inherited("iothread1"),
                (f"{CPUSET}/iothread1/cpuset.mems", "0"),
                (f"{CPU}/iothread1/cpu.cfs_period_us", "20000"),
                *((f"{place}/iothread1/tasks", str(self.threads[2])) for place in (CPU, CPUSET)),
                *inherited("iothread9"),
                (f"{CPUSET}/iothread9/cpuset.mems", "0"),
                (f"{CPU}/iothread9/cpu.cfs_period_us", "20000"),
                *((f"{place}/iothread9/tasks", str(self.threads[3])) for place in (CPU, CPUSET)),
            ],
            told,
        )
        name_partition(self.guest)
        self.assertIn("<partition>/machine</partition>", self.record.live.format(0, 1))
        (event,) = [one.msg for one in self.events if one.id == c.VIR_DOMAIN_EVENT_ID_TUNABLE][:1]
        self.assertEqual({"cputune.cpu_shares": 500}, to_dict(event.params))

    async def test_lie(self) -> None:
        """A thread of somebody else is not touched; one that several CPUs share is in one group."""
        self.record.live.changing().cputune = None
        self.guest.threads[1] = self.guest.threads[0]
        self.monitor.answers["query-iothreads"][1]["thread-id"] = NOBODY
        await make_group(self.guest)
        await settle_threads(self.guest)
        self.assertNotIn(str(NOBODY), [text for _, text in self.files.written])
        self.assertEqual(CPU + "/vcpu0", self.files.where[V1_TOPS["cpu"], str(self.threads[0])])

    async def test_taken(self) -> None:
        """Where another daemon's guest has the name, there is another one; and at some time no more."""
        self.files.make(f"{V1_TOPS['memory']}/machine")
        self.files.make(MEMORY)
        await make_group(self.guest)
        self.assertEqual("/machine/qemu-1-g.2.libvirt-qemu", self.guest.details.group)
        for number in range(2, 20):
            path = f"{V1_TOPS['memory']}/machine/qemu-1-g.{number}.libvirt-qemu"
            if not self.files.exists(path):
                self.files.make(path)
        self.guest.group = None
        await self.fails(OperationFailed, "no name is free")
        self.assertEqual("", self.guest.details.group)

    async def fails(self, kind: type[VirError], text: str) -> None:
        """Check that the groups cannot be had."""
        error = await self.assertFailure(Deferred.fromCoroutine(make_group(self.guest)), kind)
        self.assertIn(text, str(error))

    async def test_no_groups(self) -> None:
        """On a host without groups, or without the controller, each limit is refused in libvirt's words."""
        self.world.groups = Groups(Layout(), self.files)
        model = self.record.live.changing()
        for field, text in (
            ("blkiotune", "Block I/O tuning is not available on this host"),
            ("memtune", "Memory cgroup is not available on this host"),
            ("cputune", "CPU tuning is not available on this host"),
            ("numatune", "cgroup cpuset is required"),
        ):
            await self.fails(ConfigUnsupported, text)
            if model.cputune is not None and field == "cputune":
                model.cputune.shares = None
                await self.fails(ConfigUnsupported, "cgroup cpu is required for scheduler tuning")
            setattr(model, field, None)
        await make_group(self.guest)
        self.assertIsNone(self.guest.group)
        self.world.groups = None
        await make_group(self.guest)
        self.assertIsNone(self.guest.group)
        name_partition(self.guest)
        self.assertNotIn("<partition>", self.record.live.format(0, 1))

    async def test_not_allowed(self) -> None:
        """Who may make no groups starts guests without limits, and no others."""
        for top in dict.fromkeys(V1_TOPS.values()):
            self.files.refused[f"{top}/machine"] = errno.EACCES
        await self.fails(ConfigUnsupported, "Block I/O tuning is not available on this host")
        model = self.record.live.changing()
        model.blkiotune = model.memtune = model.cputune = model.numatune = None
        await make_group(self.guest)
        self.assertIsNone(self.guest.group)
        self.assertEqual("", self.guest.details.group)
        await settle_threads(self.guest)
        self.assertEqual([], self.files.written)

    async def test_limit_refused(self) -> None:
        """A limit that the kernel does not take keeps the guest from starting; its groups go with it."""
        self.files.refused[f"{BLKIO}/blkio.bfq.weight"] = errno.ERANGE
        await self.fails(VirSystemError, "Numerical result out of range")
        gone(self.guest)
        while self.files.exists(BLKIO):
            await deferLater(reactor, 0)
        self.assertEqual([], [path for path in self.files.folders if "g.libvirt" in path])

    async def test_odd(self) -> None:
        """Partitions that lead elsewhere, guarantees and applications are refused."""
        model = self.record.live.changing()
        model.resource = self.world.definitions.parse(
            GUEST.format(devices="").replace(
                "<os>", "<resource><partition>/a/../../b</partition></resource><os>"
            )
        ).model.resource
        assert model.resource is not None
        await self.fails(ConfigUnsupported, "Resource partition '/a/../../b' must start with '/'")
        model.resource.partition, model.resource.fibrechannel = None, "app"
        await self.fails(ConfigUnsupported, "Fibre channel")
        gone(self.guest)

    async def test_guarantee(self) -> None:
        """Nobody guarantees memory."""
        tune = self.record.live.changing().memtune
        assert tune is not None
        tune.min_guarantee = 5
        await self.fails(ConfigUnsupported, "Parameter 'min_guarantee' not supported by QEMU.")


class EndTests(LimitsCase):
    """What becomes of the groups."""

    def left(self) -> list[str]:
        """The groups of guests that are there."""
        return [path for path in self.files.folders if path.endswith("g.libvirt-qemu")]

    async def test_end(self) -> None:
        """Groups go with the guest, as soon as the kernel has let its processes go."""
        await self.begun()
        gone(self.guest)
        self.assertIsNone(self.guest.group)
        while not self.threaded.getDelayedCalls():
            await deferLater(reactor, 0)
        self.assertEqual(4, len(self.left()))
        self.files.where.clear()
        self.threaded.advance(REMOVE_SECONDS)
        while self.left():
            await deferLater(reactor, 0)

    async def test_revived(self) -> None:
        """A daemon after us finds the groups of guests that run, and removes those of guests that do not."""
        await self.begun()
        self.guest.process = None
        row = GuestKeeper(self.world).row(self.record.status)
        self.assertEqual(PATH, json.loads(row.details)["group"])
        self.record.guest = None
        self.world.stop(self.record, c.VIR_DOMAIN_SHUTOFF_UNKNOWN)
        (found,) = take_in(self.world, [row._replace(process="{}")])
        group = found.guest.group
        assert group is not None
        self.assertEqual({"cpu", "cpuacct", "cpuset", "memory", "blkio"}, group.controllers)
        self.record.guest = None
        self.world.stop(self.record, c.VIR_DOMAIN_SHUTOFF_UNKNOWN)
        self.files.where.clear()
        over = json.dumps({"pid": os.getpid(), "start_time": 1, "boot": "before"})
        self.assertEqual([], take_in(self.world, [row._replace(process=over)]))
        while self.left():
            await deferLater(reactor, 0)

    async def test_killed_meanwhile(self) -> None:
        """What a daemon had not removed yet, the next one does, unless there are processes in it."""
        await self.begun()
        gone(self.guest)
        while not self.threaded.getDelayedCalls():
            await deferLater(reactor, 0)
        folder = self.world.settings.left_groups
        (note,) = folder.iterdir()
        boot, path = note.read_text().split("\n")
        self.assertEqual((boot_id(), PATH), (boot, path))
        before = folder / "before"
        before.write_text(f"another start\n{PATH}")
        remove_left(self.world)
        while len(self.threaded.getDelayedCalls()) < 2:
            await deferLater(reactor, 0)
        self.assertEqual((4, [note]), (len(self.left()), list(folder.iterdir())))
        self.files.where.clear()
        self.threaded.advance(REMOVE_SECONDS)
        while list(folder.iterdir()):
            await deferLater(reactor, 0)
        self.assertEqual([], self.left())

    async def test_vanished(self) -> None:
        """Groups that somebody has removed meanwhile are no error."""
        await self.begun()
        self.guest.process = None
        row = GuestKeeper(self.world).row(self.record.status)
        self.files.where.clear()
        assert self.guest.group is not None
        self.assertTrue(self.guest.group.remove())
        self.record.guest = None
        self.world.stop(self.record, c.VIR_DOMAIN_SHUTOFF_UNKNOWN)
        (found,) = take_in(self.world, [row._replace(process="{}")])
        self.assertIsNone(found.guest.group)
