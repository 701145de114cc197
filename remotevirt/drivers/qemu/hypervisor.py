"""The QEMU driver's hypervisor: all families of calls together."""

from __future__ import annotations

from remotevirt.drivers.domains.listing import ListingCalls
from remotevirt.drivers.domains.metadata import MetadataCalls
from remotevirt.drivers.host import HostNodeCalls
from remotevirt.drivers.qemu.actions import QemuActionCalls
from remotevirt.drivers.qemu.addresses import AddressCalls
from remotevirt.drivers.qemu.agent import AgentCalls
from remotevirt.drivers.qemu.block import BlockCalls
from remotevirt.drivers.qemu.calls import Client
from remotevirt.drivers.qemu.connect import QemuConnectCalls
from remotevirt.drivers.qemu.console import ConsoleCalls
from remotevirt.drivers.qemu.defining import DefiningCalls
from remotevirt.drivers.qemu.dirty_rate import DirtyRateCalls
from remotevirt.drivers.qemu.dumping import DumpCalls
from remotevirt.drivers.qemu.hotplug import HotplugCalls
from remotevirt.drivers.qemu.info import InfoCalls
from remotevirt.drivers.qemu.iothreads import IoThreadCalls
from remotevirt.drivers.qemu.jobs_info import JobCalls
from remotevirt.drivers.qemu.keys import KeyCalls
from remotevirt.drivers.qemu.lifecycle import LifecycleCalls
from remotevirt.drivers.qemu.memory import QemuMemoryCalls
from remotevirt.drivers.qemu.messages import MessageCalls
from remotevirt.drivers.qemu.native import NativeCalls
from remotevirt.drivers.qemu.network import NetworkCalls
from remotevirt.drivers.qemu.perf import QemuPerfCalls
from remotevirt.drivers.qemu.pinning import PinningCalls
from remotevirt.drivers.qemu.program import ProgramCalls
from remotevirt.drivers.qemu.saving import SavingCalls
from remotevirt.drivers.qemu.scheduling import SchedulerCalls
from remotevirt.drivers.qemu.screen import ScreenCalls
from remotevirt.drivers.qemu.security import SecurityCalls
from remotevirt.drivers.qemu.statistics import StatisticsCalls
from remotevirt.drivers.qemu.throttling import ThrottlingCalls
from remotevirt.drivers.qemu.tuning import TuningCalls
from remotevirt.drivers.qemu.vcpus import VcpuCalls
from remotevirt.drivers.qemu.world import QemuWorld

__all__ = ["QemuHypervisor"]


class QemuHypervisor(
    QemuConnectCalls,
    HostNodeCalls,
    ListingCalls,
    DefiningCalls,
    LifecycleCalls,
    QemuActionCalls,
    InfoCalls,
    SavingCalls,
    MetadataCalls,
    ConsoleCalls,
    ScreenCalls,
    KeyCalls,
    ProgramCalls,
    NativeCalls,
    MessageCalls,
    SecurityCalls,
    AddressCalls,
    AgentCalls,
    HotplugCalls,
    BlockCalls,
    ThrottlingCalls,
    NetworkCalls,
    QemuMemoryCalls,
    VcpuCalls,
    PinningCalls,
    IoThreadCalls,
    SchedulerCalls,
    TuningCalls,
    StatisticsCalls,
    DirtyRateCalls,
    QemuPerfCalls,
    JobCalls,
    DumpCalls,
):
    """The hypervisor sub-driver of one connection; the families share its world."""

    def __init__(self, world: QemuWorld, uri: str, client: Client) -> None:
        super().__init__(world, uri)
        self.client = client
