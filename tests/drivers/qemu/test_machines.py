"""Processors, memory, statistics and dumps, with a QEMU that refuses, is silent, or says nonsense."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.cpu_plugging import enabled_vcpus, part_gone
from remotevirt.drivers.qemu.dirty_rate import dirty_rate_params
from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.drivers.qemu.dumping import dump_panicked
from remotevirt.drivers.qemu.flowing import POLL_SECONDS, pour
from remotevirt.drivers.qemu.guest import Details, Guest
from remotevirt.drivers.qemu.hypervisor import QemuHypervisor
from remotevirt.drivers.qemu.preparing import prepare_definition
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.statistics import SECONDS
from remotevirt.drivers.qemu.threads import check_tuning
from remotevirt.drivers.qemu.unplugging import UNPLUG_SECONDS
from remotevirt.drivers.qemu.watching import heard
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    ArgumentUnsupported,
    ConfigUnsupported,
    InternalError,
    InvalidArg,
    OperationAborted,
    OperationFailed,
    OperationInvalid,
    OperationTimeout,
    OperationUnsupported,
)
from remotevirt.typed_params import boolean
from remotevirt.xml.domain.chardev import CharSource
from tests.drivers.qemu.pretending import Client, Emulators, FakeMonitor, refusal
from tests.drivers.qemu.recorded import recorded_emulators

reactor: Any = _reactor

LIVE, CONFIG = c.VIR_DOMAIN_AFFECT_LIVE, c.VIR_DOMAIN_AFFECT_CONFIG

GUEST = """
<domain type='qemu'><name>g</name><uuid>8a9b6c1e-0000-4000-8000-000000000000</uuid><memory>65536</memory>
<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/>
<vcpu id='1' enabled='yes' hotpluggable='yes'/><vcpu id='2' enabled='no'/></vcpus><iothreads>1</iothreads>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"""

SLOTS: list[dict[str, Any]] = [
    {"type": "cpu", "props": {"socket-id": 2, "core-id": 0, "thread-id": 0}},
    {
        "type": "cpu",
        "props": {"socket-id": 1, "core-id": 0, "thread-id": 0},
        "qom-path": "/machine/peripheral/vcpu1",
    },
    {
        "type": "cpu",
        "props": {"socket-id": 0, "core-id": 0, "thread-id": 0},
        "qom-path": "/machine/unattached/device[0]",
    },
]
"""QEMU lists places in no order that counts."""


class Process:
    """The test itself, as the process of a guest."""

    pid = os.getpid()
    exited = False

    async def kill(self, timeout: float, *, force: bool = True) -> None:
        """Do nothing."""


class MachineCase(TestCase):
    """A running guest, of which QEMU is pretended."""

    devices = ""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.folder = folder
        emulator = next(one for one in recorded_emulators() if one.arch == "x86_64")
        self.clock = Clock()
        emulators: Any = Emulators(emulator)
        self.world = QemuWorld(
            Settings(folder), definitions_for([emulator], arch="x86_64"), emulators, self.clock
        )
        self.world.device_gone = part_gone
        text = GUEST.format(devices=self.devices)
        record, _ = self.world.assign(self.world.definitions.parse(text), live=False)
        assert isinstance(record, QemuRecord)
        self.record = record
        self.world.set_persistent(record, True)
        self.guest = Guest(self.world, record, folder / "run", Details())
        self.guest.started = True
        self.monitor = FakeMonitor()
        monitor: Any = self.monitor
        self.guest.monitor = monitor
        process: Any = Process()
        self.guest.process = process
        record.guest = self.guest
        self.world.start(record, c.VIR_DOMAIN_RUNNING_BOOTED)
        prepare_definition(self.guest, emulator)
        self.calls = QemuHypervisor(self.world, "qemu:///system", Client())
        self.events: list[Any] = []
        self.world.hub.listen(self.events.append)

    def begin(self, name: str, *arguments: Any) -> Deferred[Any]:
        """Begin a call."""

        async def call() -> Any:
            answer = getattr(self.calls, name)(self.record.ref, *arguments)
            return await answer if hasattr(answer, "__await__") else answer

        return Deferred.fromCoroutine(call())

    async def refused(self, kind: type[VirError], text: str, name: str, *arguments: Any) -> None:
        """Make a call that fails."""
        error = await self.assertFailure(self.begin(name, *arguments), kind)
        self.assertIn(text, str(error))

    def on(self) -> list[int]:
        """The virtual CPUs of the live definition that are on."""
        return enabled_vcpus(self.record.live.model)


class ProcessorTests(MachineCase):
    """Virtual CPUs."""

    def setUp(self) -> None:
        """Tell of the places of CPUs."""
        super().setUp()
        self.monitor.answers["query-hotpluggable-cpus"] = SLOTS

    async def test_plug(self) -> None:
        """A CPU gets its own place, and the definitions that are meant follow."""
        await self.begin("domain_set_vcpus_flags", 3, LIVE | CONFIG)
        self.assertIn(
            ("device_add", {"driver": "cpu", "id": "vcpu2", **SLOTS[0]["props"]}), self.monitor.asked
        )
        self.assertEqual(self.on(), [0, 1, 2])
        self.assertEqual(self.record.vcpus, 3)
        self.assertEqual(self.record.persistent_definition.vcpus, 3)

    async def test_plug_refused(self) -> None:
        """What QEMU refuses changes nothing; neither does an answer that makes no sense."""
        self.monitor.answers["device_add"] = refusal()
        await self.refused(InternalError, "QEMU says no", "domain_set_vcpus", 3)
        self.monitor.answers["query-hotpluggable-cpus"] = [{"type": 5}]
        await self.refused(InternalError, "unexpected form", "domain_set_vcpus", 3)
        self.assertEqual(self.on(), [0, 1])
        self.assertEqual(self.record.job.owner, None)

    async def test_unplug(self) -> None:
        """A CPU is off when QEMU says that it is gone."""
        call = self.begin("domain_set_vcpus", 1)
        self.assertNoResult(call)
        self.assertEqual(self.on(), [0, 1])
        heard(self.guest, "DEVICE_DELETED", {"device": "vcpu1"})
        await call
        self.assertEqual(self.on(), [0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_unplug_late(self) -> None:
        """A guest that takes its time makes the call fail; the definition follows when it has let go."""
        call = self.begin("domain_set_vcpu", "1", 0, LIVE)
        self.clock.advance(UNPLUG_SECONDS)
        await self.assertFailure(call, OperationTimeout)
        self.assertEqual(self.on(), [0, 1])
        heard(self.guest, "DEVICE_DELETED", {"device": "vcpu1"})
        self.assertEqual(self.on(), [0])

    async def test_unplug_refused(self) -> None:
        """A guest can refuse, and those that it has started with stay."""
        call = self.begin("domain_set_vcpu", "1", 0, LIVE)
        heard(self.guest, "DEVICE_UNPLUG_GUEST_ERROR", {"device": "vcpu1"})
        await self.assertFailure(call, OperationFailed)
        text = "vcpu '0' can't be unplugged"
        await self.refused(OperationUnsupported, text, "domain_set_vcpu", "0", 0, LIVE)
        self.assertEqual(self.on(), [0, 1])

    def test_foreign_thread(self) -> None:
        """A QEMU that calls another process's thread its own does not get it pinned."""
        self.guest.threads = {0: os.getppid()}
        before = os.sched_getaffinity(os.getppid())
        call = self.begin("domain_pin_vcpu", 0, b"\x01")
        error = self.failureResultOf(call, OperationInvalid)
        self.assertIn("affinity is not supported", error.getErrorMessage())
        self.assertEqual(os.sched_getaffinity(os.getppid()), before)
        self.assertIsNone(self.record.live.vcpu_pin(0))
        self.monitor.answers["query-iothreads"] = [{"id": "iothread1", "thread-id": os.getppid()}]
        self.failureResultOf(self.begin("domain_pin_iothread", 1, b"\x01", LIVE), OperationInvalid)

    async def test_counts(self) -> None:
        """A definition that does not run turns on the lowest and off the highest, and never the first."""
        await self.begin("domain_set_vcpus_flags", 3, CONFIG)
        await self.begin("domain_set_vcpus_flags", 1, CONFIG)
        config = self.record.persistent_definition
        self.assertEqual(enabled_vcpus(config.model), [0])
        self.assertEqual(self.on(), [0, 1])
        await self.refused(InvalidArg, "vCPU '0' can't be modified", "domain_set_vcpu", "0", 0, CONFIG)
        await self.refused(InvalidArg, "4 > 3", "domain_set_vcpus_flags", 4, CONFIG)
        await self.begin("domain_set_vcpus_flags", 4, CONFIG | c.VIR_DOMAIN_VCPU_MAXIMUM)
        self.assertEqual(config.max_vcpus, 4)

    def test_tuning(self) -> None:
        """A definition that nobody would carry out is refused."""
        for element in (
            "<emulatorsched scheduler='batch'/>",
            "<vcpusched vcpus='0' scheduler='fifo' priority='1'/>",
        ):
            text = GUEST.format(devices="").replace("<os>", f"<cputune>{element}</cputune><os>")
            self.assertRaises(ConfigUnsupported, check_tuning, self.world.definitions.parse(text))


class MemoryTests(MachineCase):
    """The balloon."""

    devices = "<memballoon model='virtio'/>"

    async def test_balloon(self) -> None:
        """The live size is what the balloon tells, the persistent one what was asked for."""
        await self.begin("domain_set_memory_flags", 32768, LIVE | CONFIG)
        self.assertIn(("balloon", {"value": 32768 * 1024}), self.monitor.asked)
        self.assertEqual(self.record.live.memory, 65536)
        self.assertEqual(self.record.persistent_definition.memory, 32768)
        heard(self.guest, "BALLOON_CHANGE", {"actual": 40000 * 1024})
        self.assertEqual(self.record.memory, 40000)

    async def test_refused(self) -> None:
        """A guest whose balloon does nothing is told of in libvirt's words."""
        self.monitor.answers["balloon"] = refusal("DeviceNotActive")
        text = "without the balloon device and guest OS balloon driver"
        await self.refused(OperationInvalid, text, "domain_set_memory", 32768)
        self.monitor.answers["balloon"] = refusal()
        await self.refused(InternalError, "QEMU says no", "domain_set_memory_flags", 32768, LIVE | CONFIG)
        self.assertEqual(self.record.persistent_definition.memory, 65536)
        await self.refused(InvalidArg, "higher than max memory", "domain_set_memory", 65537)

    async def test_nonsense(self) -> None:
        """Figures that are none are left out."""
        self.monitor.answers["query-balloon"] = {"actual": "much"}
        stats = {"stat-swap-in": -1, "stat-free-memory": 2**64 - 1, "stat-major-faults": 7}
        self.monitor.answers["qom-get"] = {"stats": stats, "last-update": True}
        found = await self.begin("domain_memory_stats", 13, 0)
        self.assertEqual(found[:-1], [(c.VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, 7)])
        self.assertEqual(found[-1].tag, c.VIR_DOMAIN_MEMORY_STAT_RSS)


class StatisticsTests(MachineCase):
    """Statistics of a guest that cannot be asked."""

    devices = "<memballoon model='virtio'/>"

    def ask(self, flags: int = 0) -> Deferred[list[str]]:
        """Begin to ask; the answer is the names of the figures."""
        call = ensureDeferred(self.calls.connect_get_all_domain_stats((), 0, flags))
        return call.addCallback(lambda told: [param.field for param in told[0].params])

    def test_silent(self) -> None:
        """What needs no QEMU is told when the time is up."""
        self.monitor.answers["query-balloon"] = {"actual": 1 << 20}
        self.monitor.execute = lambda *_, **__: Deferred()
        call = self.ask()
        self.clock.advance(SECONDS - 1)
        self.assertNoResult(call)
        self.clock.advance(1)
        names = self.successResultOf(call)
        self.assertIn("vcpu.current", names)
        self.assertIn("cpu.time", names)
        self.assertNotIn("balloon.rss", names)
        self.assertIsNone(self.record.job.owner)

    async def test_busy(self) -> None:
        """Who does not want to wait is told what can be told; others wait for their turn."""
        async with self.calls.turn(self.record, "other"):
            names = self.successResultOf(self.ask(c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT))
            self.assertNotIn("balloon.rss", names)
            call = self.ask()
            self.assertNoResult(call)
        self.assertIn("balloon.rss", self.successResultOf(call))

    async def test_groups(self) -> None:
        """Groups that there are not are an error only for who insists."""
        unknown = c.VIR_DOMAIN_STATS_VM << 1
        (told,) = await self.calls.connect_get_all_domain_stats((self.record.ref,), unknown, 0)
        self.assertEqual(told.params, [])
        enforce = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
        perf = c.VIR_DOMAIN_STATS_PERF | c.VIR_DOMAIN_STATS_VM
        (told,) = await self.calls.connect_get_all_domain_stats((), perf, enforce)
        self.assertEqual(told.params, [])
        call = ensureDeferred(self.calls.connect_get_all_domain_stats((), unknown, enforce))
        error = self.failureResultOf(call)
        self.assertIn("Stats types bits 0x800 are not supported", error.getErrorMessage())

    async def test_dirty_rate(self) -> None:
        """QEMU measures, and what it answers is told with libvirt's names; nonsense is not."""
        await self.begin("domain_start_dirty_rate_calc", 2, 0)
        self.assertIn(("calc-dirty-rate", {"calc-time": 2, "mode": "page-sampling"}), self.monitor.asked)
        answer = {"status": "measured", "start-time": 7, "calc-time": 2, "dirty-rate": 5}
        params = {param.field: param.value.value for param in dirty_rate_params(answer)}
        self.assertEqual(params["dirtyrate.megabytes_per_second"], 5)
        self.assertEqual(params["dirtyrate.calc_mode"], "page-sampling")
        nonsense: list[Any] = [None, [], {"status": "x"}, {"status": ["measured"]}]
        for one in nonsense:
            self.assertEqual(list(dirty_rate_params(one)), [])
        for seconds in (0, 61):
            await self.refused(
                ConfigUnsupported, "choose value within [1, 60]", "domain_start_dirty_rate_calc", seconds, 0
            )
        ring = c.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING
        await self.refused(OperationUnsupported, "dirty-ring", "domain_start_dirty_rate_calc", 1, ring)


class EndTests(MachineCase):
    """What a guest's end leads to, performance events, and its document for another host."""

    devices = "<serial type='pty'/><channel type='unix'><target type='virtio' name='x'/></channel>"

    async def test_action(self) -> None:
        """QEMU is told of the new action; what cannot be leaves everything as it was."""
        reboot, destroy = c.VIR_DOMAIN_LIFECYCLE_REBOOT, c.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY
        await self.begin("domain_set_lifecycle_action", reboot, destroy, LIVE | CONFIG)
        self.assertEqual(self.monitor.asked[-1][0], "set-action")
        self.assertEqual(self.monitor.asked[-1][1]["reboot"], "shutdown")
        for definition in (self.record.live, self.record.persistent_definition):
            self.assertEqual(definition.model.on_reboot, "destroy")
        asked = len(self.monitor.asked)
        restart = c.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART
        off = c.VIR_DOMAIN_LIFECYCLE_POWEROFF
        await self.refused(ConfigUnsupported, "onReboot", "domain_set_lifecycle_action", off, restart, LIVE)
        self.assertEqual(len(self.monitor.asked), asked)
        self.assertEqual(self.record.live.model.on_poweroff, "destroy")

    async def test_perf(self) -> None:
        """A definition may name performance events; nobody counts those of a guest that runs."""
        await self.begin("domain_set_perf_events", [boolean("cmt", 1)], CONFIG)
        self.assertIn("name='cmt' enabled='yes'", await self.begin("domain_get_xml_desc", 2))
        await self.begin("domain_set_perf_events", [boolean("cmt", 0)], LIVE)
        await self.refused(
            ArgumentUnsupported, "unable to enable", "domain_set_perf_events", [boolean("cmt", 1)], LIVE
        )

    async def test_movable(self) -> None:
        """A document for another host has no id, and nothing that only this run of the guest has."""
        model = self.record.live.changing()
        place = f"/x/channel/{self.record.uuid.hex()}/x"
        model.devices.channels[0].backend.sources = [CharSource(mode="bind", path=place)]
        model.devices.serials[0].backend.sources = [CharSource(path="/dev/pts/7")]
        shown = await self.begin("domain_get_xml_desc", c.VIR_DOMAIN_XML_MIGRATABLE)
        for text in ("<domain type='qemu' id", "/dev/pts/7", place, "<alias ", "type='keyboard'"):
            self.assertNotIn(text, shown)
        self.assertIn(place, await self.begin("domain_get_xml_desc", c.VIR_DOMAIN_XML_UPDATE_CPU))


class DumpTests(MachineCase):
    """Dumps, and jobs that take long."""

    async def dumped(self, call: Deferred[Any]) -> Any:
        """Let threads and the clock go on until a call is over."""
        while not call.called:
            await deferLater(reactor, 0.005)
            self.clock.advance(POLL_SECONDS)
        return await call

    async def test_failed(self) -> None:
        """What fails leaves no file, and the guest runs on."""
        self.monitor.answers["query-dump"] = {"status": "failed"}
        self.monitor.react["query-dump"] = lambda _: heard(self.guest, "DUMP_COMPLETED", {"error": "no room"})
        path = self.folder / "dump"
        call = self.begin("domain_core_dump", str(path), c.VIR_DUMP_MEMORY_ONLY)
        call.addErrback(lambda failure: failure.value)
        error = await self.dumped(call)
        self.assertEqual(error.message, "operation failed: memory-only dump failed: no room")
        self.assertFalse(path.exists())
        self.assertEqual(self.record.state, c.VIR_DOMAIN_RUNNING)
        self.assertEqual(self.monitor.commands[0], "stop")
        self.assertEqual(self.monitor.commands[-1], "cont")
        self.assertIsNone(self.guest.progress)

    async def test_no_file(self) -> None:
        """Links and pipes are not written to."""
        os.mkfifo(self.folder / "pipe")
        call = self.begin("domain_core_dump", str(self.folder / "pipe"), c.VIR_DUMP_LIVE)
        error = await self.dumped(call.addErrback(lambda failure: failure.value))
        self.assertIn("neither a file nor a device", str(error))
        self.assertTrue((self.folder / "pipe").is_fifo())

    async def test_crash(self) -> None:
        """A guest that is dumped to crash is off afterwards; its job is remembered once, and not told."""
        self.monitor.answers["query-dump"] = {"status": "completed", "completed": 5, "total": 5}
        path = self.folder / "dump"
        flags = c.VIR_DUMP_MEMORY_ONLY | c.VIR_DUMP_CRASH
        await self.dumped(self.begin("domain_core_dump", str(path), flags))
        self.assertEqual(
            (self.record.state, self.record.reason), (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_CRASHED)
        )
        self.assertNotIn(c.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, [event.id for event in self.events])
        kind, params = await self.begin("domain_get_job_stats", c.VIR_DOMAIN_JOB_STATS_COMPLETED)
        self.assertEqual(kind, c.VIR_DOMAIN_JOB_COMPLETED)
        self.assertEqual(
            [param.field for param in params],
            ["operation", "time_elapsed", "memory_total", "memory_processed", "memory_remaining"],
        )
        kind, _ = await self.begin("domain_get_job_stats", c.VIR_DOMAIN_JOB_STATS_COMPLETED)
        self.assertEqual(kind, c.VIR_DOMAIN_JOB_NONE)

    async def test_panicked(self) -> None:
        """What a guest that has panicked leaves is for nobody but the daemon's user."""
        self.monitor.answers["query-dump"] = {"status": "completed"}
        await self.dumped(Deferred.fromCoroutine(dump_panicked(self.guest)))
        (path,) = (self.folder / "dump").iterdir()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)

    async def test_abort(self) -> None:
        """A job can be given up by who does not have the guest's turn, unless QEMU cannot give it up."""
        await self.refused(OperationInvalid, "no job is active", "domain_abort_job")
        ram = {"total": 100, "remaining": 60, "transferred": 40}
        self.monitor.answers["query-migrate"] = {"status": "active", "ram": ram}
        call = Deferred.fromCoroutine(pour(self.guest, 0, c.VIR_DOMAIN_JOB_OPERATION_SAVE))
        self.clock.advance(1)
        info = await self.begin("domain_get_job_info")
        self.assertEqual(info[:6], (c.VIR_DOMAIN_JOB_UNBOUNDED, 1000, 0, 100, 40, 60))
        await self.begin("domain_abort_job")
        self.assertIn("migrate_cancel", self.monitor.commands)
        self.monitor.answers["query-migrate"] = {"status": "cancelled"}
        self.clock.advance(POLL_SECONDS)
        await self.assertFailure(call, OperationAborted)
        self.assertIsNone(self.guest.progress)

    async def test_exclusive(self) -> None:
        """A guest cannot both run on and be ended."""
        both = c.VIR_DUMP_CRASH | c.VIR_DUMP_LIVE
        await self.refused(InvalidArg, "mutually exclusive", "domain_core_dump", "/tmp/x", both)
        call = ("domain_core_dump_with_format", "/tmp/x", 1, 0)
        await self.refused(OperationUnsupported, "only supported with memory-only dump", *call)
