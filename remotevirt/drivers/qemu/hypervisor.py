"""The QEMU driver's hypervisor: all families of calls together."""

from __future__ import annotations

from remotevirt.drivers.domains.listing import ListingCalls
from remotevirt.drivers.domains.metadata import MetadataCalls
from remotevirt.drivers.qemu.block import BlockCalls
from remotevirt.drivers.qemu.calls import Client
from remotevirt.drivers.qemu.defining import DefiningCalls
from remotevirt.drivers.qemu.hotplug import HotplugCalls
from remotevirt.drivers.qemu.info import InfoCalls
from remotevirt.drivers.qemu.lifecycle import LifecycleCalls
from remotevirt.drivers.qemu.messages import MessageCalls
from remotevirt.drivers.qemu.network import NetworkCalls
from remotevirt.drivers.qemu.saving import SavingCalls
from remotevirt.drivers.qemu.throttling import ThrottlingCalls
from remotevirt.drivers.qemu.world import QemuWorld

__all__ = ["QemuHypervisor"]


class QemuHypervisor(
    ListingCalls,
    DefiningCalls,
    LifecycleCalls,
    InfoCalls,
    SavingCalls,
    MetadataCalls,
    HotplugCalls,
    BlockCalls,
    ThrottlingCalls,
    NetworkCalls,
    MessageCalls,
):
    """The hypervisor sub-driver of one connection; the families share its world."""

    def __init__(self, world: QemuWorld, uri: str, client: Client) -> None:
        super().__init__(world, uri)
        self.client = client
