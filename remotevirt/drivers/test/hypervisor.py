"""The test hypervisor: all families of calls together."""

from __future__ import annotations

from remotevirt.drivers.domains.blkio_tuning import BlkioTuningCalls
from remotevirt.drivers.domains.interface_tuning import InterfaceTuningCalls
from remotevirt.drivers.domains.listing import ListingCalls
from remotevirt.drivers.domains.memory import MemoryCalls
from remotevirt.drivers.domains.memory_tuning import MemoryTuningCalls
from remotevirt.drivers.domains.metadata import MetadataCalls
from remotevirt.drivers.domains.numa_tuning import NumaTuningCalls
from remotevirt.drivers.domains.perf import PerfCalls
from remotevirt.drivers.test.checkpoints import CheckpointCalls
from remotevirt.drivers.test.cpu_baseline import CpuBaselineCalls
from remotevirt.drivers.test.defining import DefiningCalls
from remotevirt.drivers.test.descriptors import DescriptorCalls
from remotevirt.drivers.test.disk_tuning import DiskTuningCalls
from remotevirt.drivers.test.guest_addresses import GuestAddressCalls
from remotevirt.drivers.test.guest_files import GuestFileCalls
from remotevirt.drivers.test.guest_input import GuestInputCalls
from remotevirt.drivers.test.host import HostCalls
from remotevirt.drivers.test.info import InfoCalls
from remotevirt.drivers.test.iothreads import IoThreadCalls
from remotevirt.drivers.test.lifecycle import LifecycleCalls
from remotevirt.drivers.test.peek import PeekCalls
from remotevirt.drivers.test.saving import SavingCalls
from remotevirt.drivers.test.scheduler import SchedulerCalls
from remotevirt.drivers.test.screenshot import ScreenshotCalls
from remotevirt.drivers.test.security import SecurityCalls
from remotevirt.drivers.test.snapshots import SnapshotCalls
from remotevirt.drivers.test.statistics import StatisticsCalls
from remotevirt.drivers.test.vcpus import VcpuCalls

__all__ = ["TestHypervisor"]


class TestHypervisor(
    HostCalls,
    CpuBaselineCalls,
    ListingCalls,
    DefiningCalls,
    LifecycleCalls,
    InfoCalls,
    MemoryCalls,
    VcpuCalls,
    MetadataCalls,
    SchedulerCalls,
    StatisticsCalls,
    SavingCalls,
    SnapshotCalls,
    CheckpointCalls,
    MemoryTuningCalls,
    BlkioTuningCalls,
    NumaTuningCalls,
    InterfaceTuningCalls,
    DiskTuningCalls,
    PerfCalls,
    IoThreadCalls,
    GuestInputCalls,
    GuestFileCalls,
    GuestAddressCalls,
    PeekCalls,
    SecurityCalls,
    DescriptorCalls,
    ScreenshotCalls,
):
    """The hypervisor sub-driver of one connection; the families share its world."""
