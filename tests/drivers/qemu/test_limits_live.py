"""Limits that calls change and tell while a guest runs, in pretended control groups."""

from __future__ import annotations

import errno
import os

from remotevirt.drivers.qemu.cpu_plugging import plug_vcpu
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    InvalidArg,
    OperationInvalid,
    OperationUnsupported,
    VirSystemError,
)
from remotevirt.typed_params import int_, llong, string, to_dict, uint, ullong
from tests.drivers.qemu.limited import BLKIO, CPU, CPUSET, MEMORY, PATH, LimitsCase
from tests.drivers.qemu.pretended_groups import UNIFIED, v2_layout
from tests.drivers.qemu.test_machines import CONFIG, LIVE, SLOTS

STRINGS = c.VIR_TYPED_PARAM_STRING_OKAY
ASKED = ("weight", "device_write_iops_sec", "device_read_bytes_sec")


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
