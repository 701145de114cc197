"""A world: everything that the test hypervisor manages."""

from __future__ import annotations

import time
from collections.abc import Callable

from remotevirt.drivers.domains.table import DomainTable
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.interfaces import InterfaceTable
from remotevirt.drivers.test.networks import NetworkTable
from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.nodedevs import DeviceTable
from remotevirt.drivers.test.pools import PoolTable
from remotevirt.stubs import constants as c

__all__ = ["World"]


class World(DomainTable):
    """The objects of one ``test:///`` URI: the table of its domains, and those of the other kinds.

    Attributes:
        node: the host that the world pretends to run on; capabilities: its document.
        networks, pools, interfaces, devices: the other objects.
    """

    __slots__ = ("capabilities", "devices", "interfaces", "networks", "node", "pools")

    ERRORS = c.VIR_FROM_TEST
    PREFIX = "test"

    def __init__(self, node: Node, now: Callable[[], int] = time.time_ns) -> None:
        super().__init__(TestDefinition, now)
        self.node = node
        self.capabilities = node.capabilities()
        self.networks = NetworkTable()
        self.pools = PoolTable()
        self.interfaces = InterfaceTable()
        self.devices = DeviceTable(self.hub)
