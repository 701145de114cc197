"""The test hypervisor: all families of calls together."""

from __future__ import annotations

from remotevirt.drivers.test.checkpoints import CheckpointCalls
from remotevirt.drivers.test.defining import DefiningCalls
from remotevirt.drivers.test.host import HostCalls
from remotevirt.drivers.test.info import InfoCalls
from remotevirt.drivers.test.lifecycle import LifecycleCalls
from remotevirt.drivers.test.listing import ListingCalls
from remotevirt.drivers.test.memory import MemoryCalls
from remotevirt.drivers.test.metadata import MetadataCalls
from remotevirt.drivers.test.saving import SavingCalls
from remotevirt.drivers.test.scheduler import SchedulerCalls
from remotevirt.drivers.test.snapshots import SnapshotCalls
from remotevirt.drivers.test.statistics import StatisticsCalls
from remotevirt.drivers.test.vcpus import VcpuCalls

__all__ = ["TestHypervisor"]


class TestHypervisor(
    HostCalls,
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
):
    """The hypervisor sub-driver of one connection; the families share its world."""
