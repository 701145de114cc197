"""The devices behind storage pools: a pool on a virtual host bus adapter has one while it is active."""

from __future__ import annotations

from remotevirt.drivers.test.nodedevs import VPORT, DeviceTable
from remotevirt.xml.storage_pool import PoolModel

__all__ = ["VportMaker"]


class VportMaker:
    """Makes and unmakes the devices of pools."""

    __slots__ = ("devices",)

    def __init__(self, devices: DeviceTable) -> None:
        self.devices = devices

    def make(self, pool: PoolModel) -> None:
        """Make the device of a pool that is about to start; raises NoNodeDevice."""
        adapter = pool.source.adapter
        if adapter is not None and adapter.type == "fc_host":
            self.devices.make_vport(str(adapter.names["wwnn"]), str(adapter.names["wwpn"]))

    def unmake(self, pool: PoolModel) -> None:
        """Remove the device of a pool that has stopped; raises NoNodeDevice if it is gone already."""
        adapter = pool.source.adapter
        if adapter is not None and adapter.type == "fc_host":
            self.devices.delete(self.devices.named(VPORT))
