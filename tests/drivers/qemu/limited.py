"""A guest with limits, on a host whose control groups are pretended."""

from __future__ import annotations

import os
import threading
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import Clock

from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.limits import make_group
from remotevirt.drivers.qemu.threads import settle_threads
from remotevirt.stubs.remote import TypedParam
from tests.drivers.qemu.pretended_groups import V1_TOPS, PretendedFiles, v1_layout
from tests.drivers.qemu.test_machines import GUEST, MachineCase

__all__ = ["BLKIO", "CPU", "CPUSET", "MEMORY", "PATH", "LimitsCase", "inherited"]


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


def inherited(name: str) -> list[tuple[str, str]]:
    """What the CPU set of a thread has from the guest's."""
    texts = (("cpus", "0-3"), ("mems", "0-1"), ("memory_migrate", "1"))
    return [(f"{CPUSET}/{name}/cpuset.{file}", text) for file, text in texts]
