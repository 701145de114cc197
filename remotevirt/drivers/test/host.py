"""Calls about the connection and its host."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.cpu.models import CPU_MODELS, WITHOUT_DRIVER
from remotevirt.drivers.domains.parameters import need_params
from remotevirt.drivers.faults import check_flags, too_large
from remotevirt.drivers.node_arguments import (
    MAX_MEMORY_PARAMS,
    check_cells,
    check_cpu_stats,
    check_new_pages,
    check_pages,
)
from remotevirt.drivers.test.calls import WorldCalls
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoSupport
from remotevirt.stubs.remote import NodeGetCpuStats, TypedParam
from remotevirt.stubs.remote.connect import (
    ConnectGetCpuModelNamesRet,
    NodeGetCpuMapRet,
    NodeGetCpuStatsRet,
    NodeGetInfoRet,
    NodeGetMemoryParametersRet,
    NodeGetSecurityModelRet,
)

__all__ = ["DRIVER_VERSION", "LIB_VERSION", "MAX_VCPUS", "HostCalls"]

DRIVER_VERSION: Final = 2
"""The test hypervisor's version, 0.0.2, as libvirt has had it since 2006."""

LIB_VERSION: Final = 9000000
"""The libvirt release whose answers this driver gives."""

MAX_VCPUS: Final = 32
"""What a domain can be changed to (a definition may say more)."""

CPU_STATS: Final = (
    NodeGetCpuStats(c.VIR_NODE_CPU_STATS_USER, 9797400000),
    NodeGetCpuStats(c.VIR_NODE_CPU_STATS_KERNEL, 34678723400000),
    NodeGetCpuStats(c.VIR_NODE_CPU_STATS_IDLE, 87264900000),
    NodeGetCpuStats(c.VIR_NODE_CPU_STATS_IOWAIT, 763600000),
)
"""The same for every CPU, in nanoseconds."""

SYSINFO: Final = """\
<sysinfo type='smbios'>
  <bios>
    <entry name='vendor'>LENOVO</entry>
    <entry name='version'>G4ETA1WW (2.61 )</entry>
    <entry name='date'>05/07/2014</entry>
    <entry name='release'>2.61</entry>
  </bios>
</sysinfo>
"""

FEATURES: Final = frozenset(
    {
        c.VIR_DRV_FEATURE_FD_PASSING,
        c.VIR_DRV_FEATURE_TYPED_PARAM_STRING,
        c.VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER,
    }
)
"""What the driver has. The daemon knows of keepalive and callbacks by itself."""


class HostCalls(WorldCalls):
    """Version, URI, capabilities, and the figures of the pretended host."""

    def connect_get_type(self) -> str:
        """Return "TEST", in capitals as libvirt has it."""
        return "TEST"

    def connect_get_version(self) -> int:
        """Return the driver's version."""
        return DRIVER_VERSION

    def connect_get_lib_version(self) -> int:
        """Return the version of libvirt, 1000000 * major + 1000 * minor + release."""
        return LIB_VERSION

    def connect_get_hostname(self) -> str:
        """Return the name of the machine that the daemon runs on."""
        return socket.gethostname()

    def connect_get_uri(self) -> str:
        """Return the URI that the connection was opened with, without its transport."""
        return self.uri

    def connect_is_secure(self) -> int:
        """Return 1: between the daemon and this driver there is no wire. Clients judge their own part."""
        return 1

    def connect_supports_feature(self, feature: int) -> int:
        """Return 1 if the driver has a feature of virDrvFeature."""
        return int(feature in FEATURES)

    def connect_get_max_vcpus(self, type: str | None) -> int:
        """Return the most CPUs that a domain can get, whatever its type."""
        return MAX_VCPUS

    def connect_get_capabilities(self) -> str:
        """Return the capabilities document."""
        return self.world.capabilities

    def connect_get_sysinfo(self, flags: int) -> str:
        """Return what the host's firmware is said to be."""
        check_flags(flags, 0, "testConnectGetSysinfo")
        return SYSINFO

    def connect_get_cpu_model_names(
        self, arch: str, need_results: int, flags: int
    ) -> ConnectGetCpuModelNamesRet:
        """Return the CPU models that libvirt 9.0.0 knows for an architecture."""
        check_flags(flags, 0, "testConnectGetCPUModelNames")
        models = CPU_MODELS.get(arch)
        if models is None:
            if arch in WITHOUT_DRIVER:
                text = f"'{arch}' architecture is not supported by CPU driver"
                raise NoSupport(text, domain=c.VIR_FROM_CPU)
            raise InvalidArg(f"cannot find architecture {arch}", domain=c.VIR_FROM_TEST)
        return ConnectGetCpuModelNamesRet(models if need_results else (), len(models))

    def node_get_info(self) -> NodeGetInfoRet:
        """Return the host's figures; memory in KiB."""
        node = self.world.node
        return NodeGetInfoRet(
            node.model.encode().ljust(32, b"\0"),
            node.memory,
            node.cpus,
            node.mhz,
            node.nodes,
            node.sockets,
            node.cores,
            node.threads,
        )

    def node_get_free_memory(self) -> int:
        """Return the free memory of all cells."""
        return sum(cell.free for cell in self.world.node.cells)

    def node_get_cells_free_memory(self, startCell: int, maxcells: int) -> Sequence[int]:
        """Return the memory of each of some cells."""
        check_cells(startCell, maxcells)
        cells = self.world.node.cells
        if startCell >= len(cells):
            raise InvalidArg("Range exceeds available cells", domain=c.VIR_FROM_TEST)
        return [cell.memory for cell in cells[startCell : startCell + maxcells]]

    def node_get_cpu_stats(self, cpuNum: int, nparams: int, flags: int) -> NodeGetCpuStatsRet:
        """Return a host CPU's times, or with ``nparams`` 0 how many there are."""
        check_cpu_stats(cpuNum, nparams)
        check_flags(flags, 0, "testNodeGetCPUStats")
        if nparams == 0:
            return NodeGetCpuStatsRet((), len(CPU_STATS))
        return NodeGetCpuStatsRet(CPU_STATS[:nparams], 0)

    def node_get_cpu_map(self, need_map: int, need_online: int, flags: int) -> NodeGetCpuMapRet:
        """Return eight CPUs, of which the first, third and fifth are on: libvirt's own invention."""
        check_flags(flags, 0, "testNodeGetCPUMap")
        return NodeGetCpuMapRet(b"\x15" if need_map else b"", 3 if need_online else 0, 8)

    def node_get_free_pages(
        self, pages: Sequence[int], startCell: int, cellCount: int, flags: int
    ) -> Sequence[int]:
        """Fail as libvirt 9.0.0 does: its driver fills the array and then forgets to say so."""
        check_pages(pages, cellCount)
        check_flags(flags, 0, "testNodeGetFreePages")
        raise VirError(
            code=c.VIR_ERR_INTERNAL_ERROR,
            domain=c.VIR_FROM_RPC,
            message="Library function returned error but did not set virError",
            str1=None,
            int1=0,
            int2=0,
        )

    def node_alloc_pages(
        self,
        pageSizes: Sequence[int],
        pageCounts: Sequence[int],
        startCell: int,
        cellCount: int,
        flags: int,
    ) -> int:
        """Fail: libvirt's test driver cannot change its host's pages."""
        check_new_pages(pageSizes, pageCounts, cellCount)
        raise NoSupport("virNodeAllocPages", domain=c.VIR_FROM_DOMAIN)

    def node_set_memory_parameters(self, params: Sequence[TypedParam], flags: int) -> None:
        """Fail: libvirt's test driver has no memory tuning for its host."""
        function = "virNodeSetMemoryParameters"
        need_params(params, function)
        raise NoSupport(function, domain=c.VIR_FROM_DOMAIN)

    def node_get_memory_parameters(self, nparams: int, flags: int) -> NodeGetMemoryParametersRet:
        """Fail, as node_set_memory_parameters."""
        too_large(nparams, MAX_MEMORY_PARAMS, "nparams")
        raise NoSupport("virNodeGetMemoryParameters", domain=c.VIR_FROM_DOMAIN)

    def node_get_security_model(self) -> NodeGetSecurityModelRet:
        """Return the invented security model; both texts end in a zero byte."""
        return NodeGetSecurityModelRet(b"testSecurity\0", b"\0")
