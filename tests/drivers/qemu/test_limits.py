"""Limits of guests: from definitions and calls into control groups, which are pretended."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.layout import Layout
from remotevirt.drivers.qemu.cpu_plugging import plug_vcpu
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
    InvalidArg,
    OperationFailed,
    OperationInvalid,
    OperationUnsupported,
    VirSystemError,
)
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import int_, llong, string, to_dict, uint, ullong
from tests.drivers.qemu.pretended_groups import UNIFIED, V1_TOPS, PretendedFiles, v1_layout, v2_layout
from tests.drivers.qemu.test_machines import CONFIG, GUEST, LIVE, SLOTS, MachineCase

reactor: Any = _reactor

TUNED = """
<memtune><hard_limit>400000</hard_limit><swap_hard_limit>500000</swap_hard_limit></memtune>
<blkiotune><weight>300</weight><device><path>/dev/vda</path><read_iops_sec>70</read_iops_sec></device></blkiotune>
<numatune><memory mode='restrictive' nodeset='0'/></numatune>
<cputune><shares>500</shares><period>50000</period><quota>30000</quota><global_quota>90000</global_quota>
<emulator_quota>2000</emulator_quota><iothread_period>20000</iothread_period><vcpupin vcpu='0' cpuset='0'/>
</cputune>"""

PATH = "/machine/qemu-1-g.libvirt-qemu"
CPU, CPUSET, MEMORY, BLKIO = (f"{V1_TOPS[one]}{PATH}" for one in ("cpu", "cpuset", "memory", "blkio"))


class ThreadedClock(Clock):
    """A clock that stands still, and threads."""

    getThreadPool = staticmethod(reactor.getThreadPool)
    callFromThread = staticmethod(reactor.callFromThread)


class LimitsCase(MachineCase):
    """A guest on a host with control groups."""

    tuning = TUNED
    layout = staticmethod(v1_layout)

    def setUp(self) -> None:
        """Give the host groups, and the guest its limits."""
        super().setUp()
        self.files = PretendedFiles("" if self.layout is v1_layout else "cpuset cpu io memory")
        self.world.groups = Groups.choose(self.layout(), self.files, "/")
        self.threaded = ThreadedClock()
        self.world.reactor = self.threaded
        text = GUEST.format(devices="").replace("<os>", f"{self.tuning}<os>")
        for definition in (self.record.live, self.record.persistent_definition):
            parsed = self.world.definitions.parse(text).model
            model = definition.changing()
            for field in ("memtune", "blkiotune", "numatune", "cputune", "resource"):
                setattr(model, field, getattr(parsed, field))
        self.over = threading.Event()
        self.threads = [self.thread() for _ in range(4)]
        self.guest.threads = dict(enumerate(self.threads[:2]))
        self.monitor.answers["query-iothreads"] = [
            {"id": f"iothread{number}", "thread-id": thread}
            for number, thread in zip((1, 9), self.threads[2:], strict=True)
        ]

    def thread(self) -> int:
        """Return the number of a thread of the test, until it ends."""
        thread = threading.Thread(target=self.over.wait, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.over.set)
        assert thread.native_id is not None
        return thread.native_id

    async def begun(self) -> None:
        """Make the groups as at a start."""
        await make_group(self.guest)
        if self.guest.group is not None:
            self.guest.group.enter(os.getpid())
        await settle_threads(self.guest)
        self.files.written.clear()

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Make a call."""
        return await self.begin(name, *arguments)

    async def scheduler(self, *params: TypedParam, flags: int = 0) -> None:
        """Change CPU time."""
        await self.ask("domain_set_scheduler_parameters_flags", params, flags)


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


class LiveTests(LimitsCase):
    """Calls on a running guest."""

    async def test_scheduler(self) -> None:
        """CPU time is read from the kernel, and changed in all groups that it is about; 0 changes nothing."""
        await self.begun()
        self.events.clear()
        params = [ullong("cpu_shares", 800), llong("vcpu_quota", 40000), ullong("vcpu_period", 0)]
        params += [llong("emulator_quota", -5), ullong("global_period", 60000), llong("iothread_quota", 9000)]
        await self.scheduler(*params)
        self.assertEqual(
            [
                (f"{CPU}/cpu.shares", "800"),
                (f"{CPU}/vcpu0/cpu.cfs_quota_us", "40000"),
                (f"{CPU}/vcpu1/cpu.cfs_quota_us", "40000"),
                (f"{CPU}/emulator/cpu.cfs_quota_us", "-1"),
                (f"{CPU}/cpu.cfs_period_us", "60000"),
                (f"{CPU}/iothread1/cpu.cfs_quota_us", "9000"),
                (f"{CPU}/iothread9/cpu.cfs_quota_us", "9000"),
            ],
            self.files.written,
        )
        answer = to_dict(await self.ask("domain_get_scheduler_parameters", 9))
        self.assertEqual((800, 50000, 40000), tuple(answer.values())[:3])
        self.assertEqual((60000, 90000), (answer["global_period"], answer["global_quota"]))
        tune = self.record.live.model.cputune
        assert tune is not None
        self.assertEqual((800, 40000, 50000, -5), (tune.shares, tune.quota, tune.period, tune.emulator_quota))
        config = self.record.persistent_definition.model.cputune
        assert config is not None
        self.assertEqual(500, config.shares)
        (event,) = self.events
        self.assertEqual(-5, to_dict(event.msg.params)["cputune.emulator_quota"])
        self.assertNotIn("cputune.vcpu_period", to_dict(event.msg.params))
        kind = await self.ask("domain_get_scheduler_type")
        self.assertEqual(("posix", 9), (kind.type, kind.nparams))

    async def test_both(self) -> None:
        """A call may mean the running guest and its definition."""
        await self.begun()
        await self.scheduler(ullong("cpu_shares", 900), flags=LIVE | CONFIG)
        for definition in (self.record.live, self.record.persistent_definition):
            tune = definition.model.cputune
            self.assertEqual(900, tune.shares if tune is not None else None)

    async def test_scheduler_refused(self) -> None:
        """What the kernel has taken before it refuses counts, and is told."""
        await self.begun()
        self.events.clear()
        self.files.refused[f"{CPU}/vcpu1/cpu.cfs_quota_us"] = errno.EINVAL
        call = self.begin(
            "domain_set_scheduler_parameters", [ullong("cpu_shares", 800), llong("vcpu_quota", 40000)]
        )
        error = await self.assertFailure(call, VirSystemError)
        self.assertIn("Invalid argument", str(error))
        tune = self.record.live.model.cputune
        assert tune is not None
        self.assertEqual((800, 30000), (tune.shares, tune.quota))
        self.assertEqual([{"cputune.cpu_shares": 800}], [to_dict(one.msg.params) for one in self.events])
        for params, text in (
            ([ullong("cpu_shares", 0)], "shares '0' must be in range [2, 262144]"),
            ([llong("vcpu_quota", 10)], "value of 'vcpu_quota' is out of range [1000, 17592186044415]"),
        ):
            await self.refused(InvalidArg, text, "domain_set_scheduler_parameters", params)

    async def test_memory(self) -> None:
        """The hard limit stays below the one with swap on the way: which is written first depends."""
        await self.begun()
        hard, swap = f"{MEMORY}/memory.limit_in_bytes", f"{MEMORY}/memory.memsw.limit_in_bytes"
        both = [ullong("hard_limit", 100), ullong("swap_hard_limit", 200), ullong("soft_limit", 50)]
        await self.ask("domain_set_memory_parameters", both, 0)
        soft = f"{MEMORY}/memory.soft_limit_in_bytes"
        self.assertEqual([soft, hard, swap], [path for path, _ in self.files.written])
        self.files.written.clear()
        await self.ask(
            "domain_set_memory_parameters", [ullong("hard_limit", 300), ullong("swap_hard_limit", 400)], 0
        )
        self.assertEqual([swap, hard], [path for path, _ in self.files.written])
        self.files.folders[MEMORY]["memory.limit_in_bytes"] = str(512 << 10)
        answer = await self.ask("domain_get_memory_parameters", 3, 0)
        self.assertEqual(
            {"hard_limit": 512, "soft_limit": 50, "swap_hard_limit": 400}, to_dict(answer.params)
        )
        config = await self.ask("domain_get_memory_parameters", 3, CONFIG)
        self.assertEqual(400000, to_dict(config.params)["hard_limit"])
        self.files.refused[hard] = errno.EBUSY
        call = [ullong("hard_limit", 1)]
        await self.refused(VirSystemError, "Device or resource busy", "domain_set_memory_parameters", call, 0)
        await self.refused(
            InvalidArg,
            "lower than or equal",
            "domain_set_memory_parameters",
            [ullong("hard_limit", 500)],
            LIVE | CONFIG,
        )
        tune = self.record.live.model.memtune
        self.assertEqual(300, tune.hard_limit if tune is not None else None)

    async def test_blkio(self) -> None:
        """One parameter that fails does not keep the others from it; definitions follow what was taken."""
        await self.begun()
        params = [
            string("device_read_bytes_sec", "/dev/vda,5,/dev/none,6"),
            uint("weight", 700),
            string("device_write_iops_sec", "/dev/vda,8"),
        ]
        await self.refused(
            VirSystemError, "'/dev/none' is not accessible", "domain_set_blkio_parameters", params, 0
        )
        self.assertEqual(
            [
                (f"{BLKIO}/blkio.throttle.read_bps_device", "254:0 5"),
                (f"{BLKIO}/blkio.bfq.weight", "700"),
                (f"{BLKIO}/blkio.throttle.write_iops_device", "254:0 8"),
            ],
            self.files.written,
        )
        answer = to_dict((await self.ask("domain_get_blkio_parameters", 6, STRINGS)).params)
        self.assertEqual((700, "/dev/vda,8", ""), tuple(answer[one] for one in ASKED))
        self.assertEqual("/dev/vda,70", answer["device_read_iops_sec"])

    async def test_numa(self) -> None:
        """A running guest's cells can change in mode "restrictive", for all of its threads."""
        await self.begun()
        await self.ask("domain_set_numa_parameters", [string("numa_nodeset", "0")], LIVE | CONFIG)
        names = ("emulator", "iothread1", "iothread9", "vcpu0", "vcpu1")
        self.assertEqual([(f"{CPUSET}/{name}/cpuset.mems", "0") for name in names], self.files.written)
        for kind, params, text in (
            (ConfigUnsupported, [string("numa_nodeset", "0,900")], "NUMA node 900 is unavailable"),
            (OperationInvalid, [int_("numa_mode", 0)], "can't change numatune mode for running domain"),
        ):
            await self.refused(kind, text, "domain_set_numa_parameters", params, 0)
        tune = self.record.live.changing().numatune
        assert tune is not None and tune.memory is not None
        tune.memory.mode = "strict"
        text = "change of nodeset for running domain requires restrictive numa mode"
        await self.refused(
            OperationInvalid, text, "domain_set_numa_parameters", [string("numa_nodeset", "0")], 0
        )

    async def test_pinning(self) -> None:
        """Where a thread may run is said of its group, too."""
        self.addCleanup(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        await self.begun()
        await self.ask("domain_pin_emulator", b"\x01", 0)
        self.assertEqual([(f"{CPUSET}/emulator/cpuset.cpus", "0")], self.files.written)
        self.files.written.clear()
        await self.ask("domain_pin_vcpu_flags", 0, b"\x01", LIVE)
        await self.ask("domain_pin_iothread", 1, b"\x01", LIVE)
        told = [f"{CPUSET}/{name}/cpuset.cpus" for name in ("vcpu0", "iothread1")]
        self.assertEqual(told, [path for path, _ in self.files.written])

    async def test_plugging(self) -> None:
        """A virtual CPU or IO thread that comes has its group; it goes with it."""
        await self.begun()
        self.monitor.answers["query-hotpluggable-cpus"] = SLOTS
        self.monitor.answers["query-cpus-fast"] = [
            {"cpu-index": number, "thread-id": thread} for number, thread in enumerate(self.threads[:3])
        ]
        self.files.written.clear()
        await plug_vcpu(self.guest, 2)
        group = self.guest.group
        assert group is not None
        self.assertIn((f"{CPU}/vcpu2/cpu.cfs_quota_us", "30000"), self.files.written)
        self.assertIn("vcpu2", group.children())
        answer = self.monitor.answers["query-iothreads"]
        self.monitor.answers["query-iothreads"] = [*answer, {"id": "iothread4", "thread-id": os.getpid()}]
        await self.ask("domain_add_iothread", 4, LIVE)
        self.assertEqual((20000, -1), group.bandwidth("iothread4"))
        self.files.end(os.getpid())
        await self.ask("domain_del_iothread", 4, LIVE)
        self.assertNotIn("iothread4", group.children())

    async def test_statistics(self) -> None:
        """CPU times are those of the group: in nanoseconds, and for each CPU of the host."""
        await self.begun()
        total = await self.ask("domain_get_cpu_stats", 3, -1, 1, 0)
        self.assertEqual(12345678, to_dict(total.params)["cpu_time"])
        each = await self.ask("domain_get_cpu_stats", 2, 0, 2, 0)
        self.assertEqual([1000, 2000, 2000, 4000], [param.value.value for param in each.params])
        self.assertEqual(2, (await self.ask("domain_get_cpu_stats", 0, 0, 0, 0)).nparams)
        self.assertEqual(2, (await self.ask("domain_get_cpu_stats", 0, 0, 1, 0)).nparams)
        text = "start_cpu 2 larger than maximum of 1"
        await self.refused(InvalidArg, text, "domain_get_cpu_stats", 2, 2, 1, 0)
        answer = await self.calls.connect_get_all_domain_stats([], c.VIR_DOMAIN_STATS_CPU_TOTAL, 0)
        self.assertEqual(12345678, to_dict(answer[0].params)["cpu.time"])
        self.files.refused[f"{CPU}/cpuacct.usage"] = errno.EIO
        total = await self.ask("domain_get_cpu_stats", 3, -1, 1, 0)
        self.assertGreater(to_dict(total.params)["cpu_time"], 12345678)

    async def test_without(self) -> None:
        """A guest without a controller is refused in libvirt's words."""
        for text, name, arguments in (
            ("cgroup CPU controller is not mounted", "domain_get_scheduler_type", ()),
            ("cgroup CPU controller is not mounted", "domain_get_scheduler_parameters", (9,)),
            ("cgroup CPU", "domain_set_scheduler_parameters", ([ullong("cpu_shares", 5)],)),
            ("cgroup memory controller is not mounted", "domain_get_memory_parameters", (3, 0)),
            ("cgroup memory", "domain_set_memory_parameters", ([ullong("hard_limit", 5)], 0)),
            ("blkio cgroup isn't mounted", "domain_get_blkio_parameters", (6, 0)),
            ("blkio cgroup isn't mounted", "domain_set_blkio_parameters", ([uint("weight", 500)], 0)),
            ("cgroup cpuset", "domain_set_numa_parameters", ([string("numa_nodeset", "0")], 0)),
            ("cgroup CPUACCT controller is not mounted", "domain_get_cpu_stats", (2, 0, 1, 0)),
        ):
            await self.refused(OperationInvalid, text, name, *arguments)


class V2LiveTests(LimitsCase):
    """The same with version 2."""

    layout = staticmethod(v2_layout)

    async def test_calls(self) -> None:
        """Numbers are the kernel's, as with libvirt."""
        await self.begun()
        guest = UNIFIED + PATH
        await self.scheduler(ullong("cpu_shares", 300), llong("vcpu_quota", 40000))
        await self.ask("domain_set_memory_parameters", [ullong("hard_limit", 1000)], 0)
        self.assertEqual(
            [
                (f"{guest}/cpu.weight", "300"),
                (f"{guest}/vcpu0/cpu.max", "40000"),
                (f"{guest}/vcpu1/cpu.max", "40000"),
                (f"{guest}/memory.max", str(1000 << 10)),
            ],
            self.files.written,
        )
        answer = to_dict(await self.ask("domain_get_scheduler_parameters", 9))
        self.assertEqual((300, 50000, 40000), tuple(answer.values())[:3])
        self.assertEqual(17592186044415, answer["iothread_quota"])
        text = "operation 'getCpuacctPercpuUsage' not supported for backend 'cgroup V2'"
        await self.refused(OperationUnsupported, text, "domain_get_cpu_stats", 2, 0, 1, 0)
        total = await self.ask("domain_get_cpu_stats", 3, -1, 1, 0)
        self.assertEqual(500_000, to_dict(total.params)["cpu_time"])


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


NOBODY = 2**22 + 1
"""The number of no thread: the kernel has none so high."""

STRINGS = c.VIR_TYPED_PARAM_STRING_OKAY
ASKED = ("weight", "device_write_iops_sec", "device_read_bytes_sec")
ENTERED = (f"{CPU}/emulator", f"{CPUSET}/emulator", MEMORY, BLKIO)


def inherited(name: str) -> list[tuple[str, str]]:
    """What the CPU set of a thread has from the guest's."""
    texts = (("cpus", "0-3"), ("mems", "0-1"), ("memory_migrate", "1"))
    return [(f"{CPUSET}/{name}/cpuset.{file}", text) for file, text in texts]
