"""The node calls, on a server's tree and on hosts that say less."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from remotevirt.drivers.host import Host, host_xml
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import to_dict, uint
from tests.drivers.host.base import Calls, HostTestCase, recorded


class FigureTests(HostTestCase):
    """Figures are those that libvirtd reads in the same files."""

    async def test_info(self) -> None:
        """CPUs, their layout and memory are libvirtd's."""
        said = re.findall(r": +(\d+)", recorded()["nodeinfo"])
        cpus, mhz, sockets, cores, threads, nodes, memory = map(int, said)
        found = await Calls(self.server()).node_get_info()
        self.assertEqual(found[1:], (memory, cpus, mhz, nodes, sockets, cores, threads))
        self.assertEqual(found.model.rstrip(b"\0").decode(), Host().arch)

    async def test_cells(self) -> None:
        """Free memory is told by cell, and of all together."""
        said = [int(text) * 1024 for text in re.findall(r"(\d+) KiB", recorded()["freecell --all"])]
        calls = Calls(self.server())
        self.assertEqual([*await calls.node_get_cells_free_memory(0, 99)], said[:2])
        self.assertEqual([*await calls.node_get_cells_free_memory(1, 1)], said[1:2])
        self.assertEqual(await calls.node_get_free_memory(), said[2])

    async def test_free_pages(self) -> None:
        """Free pages are told by cell and size; for the host they are those of all cells."""
        said = [int(text) for text in re.findall(r"KiB: (\d+)", recorded()["freepages --all"])]
        calls = Calls(self.server())
        self.assertEqual([*await calls.node_get_free_pages([4, 2048, 1048576], 0, 2, 0)], said)
        self.assertEqual([*await calls.node_get_free_pages([4, 2048], -1, 1, 0)], [said[0] + said[3], 256])

    async def test_cpu_stats(self) -> None:
        """Times are nanoseconds, of one CPU or of all."""
        calls = Calls(self.server())
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        self.assertEqual((await calls.node_get_cpu_stats(-1, 0, 0)).nparams, 4)
        found = await calls.node_get_cpu_stats(-1, 4, 0)
        wanted = {"kernel": 22, "user": 88, "idle": 800, "iowait": 24}
        self.assertEqual(list(found.params), [(name, ticks * tick) for name, ticks in wanted.items()])
        one = await calls.node_get_cpu_stats(7, 4, 0)
        self.assertEqual(one.params[1], ("user", 11 * tick))

    async def test_memory_stats(self) -> None:
        """A cell has fewer figures than the host."""
        calls = Calls(self.server())
        self.assertEqual((await calls.node_get_memory_stats(0, 0, 0)).nparams, 2)
        whole = dict((await calls.node_get_memory_stats(4, -1, 0)).params)
        self.assertEqual(whole, {"total": 131855380, "free": 111200000, "buffers": 1000, "cached": 2000})
        cell = dict((await calls.node_get_memory_stats(2, 1, 0)).params)
        self.assertEqual(cell, {"total": 66056328, "free": 60000000})

    async def test_cpu_map(self) -> None:
        """A CPU that goes off leaves the map, but not the count; what was kept is read anew."""
        host = self.changing_server()
        calls = Calls(host)
        self.assertEqual(await calls.node_get_cpu_map(1, 1, 0), (b"\xff", 8, 8))
        Path(host.files.path("/sys/devices/system/cpu/online")).write_text("0-2,4-7\n")
        self.assertEqual(await calls.node_get_cpu_map(1, 1, 0), (b"\xf7", 7, 8))
        self.assertEqual(await calls.node_get_cpu_map(0, 0, 0), (b"", 0, 8))

    async def test_irregular(self) -> None:
        """CPUs that do not fit into sockets, cores and threads are told as cores of one socket.

        libvirtd says the same of such trees: cores that share a number with one of another die, and a cell
        that has only memory.
        """
        host = self.changing_server()
        for cpu in range(8):
            topology = Path(host.files.path(f"/sys/devices/system/cpu/cpu{cpu}/topology"))
            (topology / "die_id").write_text(f"{cpu % 4 // 2}")
            (topology / "thread_siblings_list").write_text(f"{cpu}")
        self.assertEqual((await Calls(host).node_get_info())[4:], (1, 1, 8, 1))
        host = self.changing_server()
        nodes = Path(host.files.path("/sys/devices/system/node"))
        (nodes / "node0/cpulist").write_text("0-7")
        (nodes / "node1/cpulist").write_text("")
        self.assertEqual((await Calls(host).node_get_info())[4:], (1, 1, 8, 1))
        self.assertIn("<cpus num='0'/>", host_xml(host))

    async def test_offline(self) -> None:
        """A CPU that is off still has its place in the layout."""
        host = self.changing_server()
        cpus = Path(host.files.path("/sys/devices/system/cpu"))
        (cpus / "online").write_text("0-2,4-7")
        (cpus / "cpu1/topology/thread_siblings_list").write_text("1")
        shutil.rmtree(cpus / "cpu3/topology")
        self.assertEqual((await Calls(host).node_get_info())[2:], (7, 2099, 2, 1, 2, 2))

    async def test_bare(self) -> None:
        """Without NUMA there is one cell, with all the memory."""
        calls = Calls(self.bare())
        found = await calls.node_get_info()
        self.assertEqual(found[1:], (2000000, 2, 0, 1, 1, 2, 1))
        self.assertEqual([*await calls.node_get_cells_free_memory(0, 4)], [1500000 * 1024])
        self.assertEqual([*await calls.node_get_free_pages([4], 0, 1, 0)], [375000])

    async def test_nothing(self) -> None:
        """A host that says nothing at all has a CPU, and no memory."""
        found = await Calls(Host(str(self.tree()))).node_get_info()
        self.assertEqual(found[1:], (0, 1, 0, 1, 1, 1, 1))

    async def test_nonsense(self) -> None:
        """Files that hold nonsense are as good as none."""
        host = self.changing_server()
        for name in ("/proc/meminfo", "/proc/cpuinfo", "/sys/devices/system/cpu/online"):
            Path(host.files.path(name)).write_bytes(b"\xff\x00: x\n9999999999-1,,-")
        Path(host.files.path("/sys/devices/system/node/node1/meminfo")).write_text("Node 1 MemTotal: -5 kB")
        found = await Calls(host).node_get_info()
        self.assertEqual((found.memory, found.cpus, found.mhz), (65799052, 8, 0))
        Path(host.files.path("/sys/devices/system/cpu/present")).write_text("0-999999999\n")
        self.assertEqual((await Calls(host).node_get_cpu_map(1, 1, 0))[1:], (1, 1))
        Path(host.files.path("/proc/stat")).write_text("cpu 1 2\ncpu x x x x x x x\n\n")
        error = await self.assertFailure(Calls(host).node_get_cpu_stats(-1, 4, 0), VirError)
        self.assertEqual(error.code, c.VIR_ERR_INVALID_ARG)


class ChangeTests(HostTestCase):
    """Pools of pages and same-page merging can be changed."""

    async def test_alloc_pages(self) -> None:
        """Pages are added, or set to a number, in a cell."""
        calls = Calls(self.changing_server())
        pool = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
        self.assertEqual(await calls.node_alloc_pages([2048], [8], 1, 1, 0), 1)
        self.assertEqual(calls.host.files.number(pool), 520)
        flags = c.VIR_NODE_ALLOC_PAGES_SET
        self.assertEqual(await calls.node_alloc_pages([2048, 1048576], [8, 0], 0, 2, flags), 4)
        self.assertEqual(calls.host.files.number(pool), 8)

    async def test_merging(self) -> None:
        """Figures that the kernel lacks are left out, and some can be set."""
        calls = Calls(self.changing_server())
        self.assertEqual((await calls.node_get_memory_parameters(0, 0)).nparams, 8)
        found = to_dict((await calls.node_get_memory_parameters(8, 0)).params)
        self.assertEqual(
            found,
            {
                "shm_pages_to_scan": 100,
                "shm_sleep_millisecs": 20,
                "shm_pages_shared": 7,
                "shm_pages_sharing": 21,
            },
        )
        await calls.node_set_memory_parameters([uint(c.VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, 300)], 0)
        found = to_dict((await calls.node_get_memory_parameters(8, 0)).params)
        self.assertEqual(found["shm_pages_to_scan"], 300)

    async def test_kernel_refuses(self) -> None:
        """What the kernel says when it refuses a change reaches the client."""
        calls = Calls(self.bare())
        params: list[TypedParam] = [uint(c.VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, 300)]
        error = await self.assertFailure(calls.node_set_memory_parameters(params, 0), VirError)
        self.assertEqual(error.message, "failed to set shm_pages_to_scan: No such file or directory")
        self.assertEqual((error.code, error.int1), (c.VIR_ERR_SYSTEM_ERROR, 2))


class RefusalTests(HostTestCase):
    """Words, codes and domains of errors are those that libvirtd 9.0.0 gave."""

    async def test_errors(self) -> None:
        """Each call that is wrong fails as it does there."""
        calls = Calls(self.server())
        wrong = (
            (calls.node_get_cpu_stats(8, 4, 0), 8, 0, "Invalid cpuNum in virHostCPUGetStatsLinux"),
            (
                calls.node_get_cpu_stats(-2, 4, 0),
                *(8, 20, "cpuNum in virNodeGetCPUStats only accepts -1 as a negative value"),
            ),
            (
                calls.node_get_cpu_stats(-1, 0, 8),
                *(8, 0, "unsupported flags (0x8) in function virHostCPUGetStats"),
            ),
            (
                calls.node_get_memory_stats(0, 2, 0),
                *(8, 0, "cellNum in virHostMemGetStats must be less than or equal to 1"),
            ),
            (
                calls.node_get_cells_free_memory(2, 1),
                *(1, 0, "internal error: start cell 2 out of range (0-1)"),
            ),
            (
                calls.node_get_free_pages([5], 0, 1, 0),
                *(9, 0, "operation failed: page size 5 is not available on node 0"),
            ),
            (
                calls.node_get_free_pages([5], -1, 1, 0),
                *(9, 0, "operation failed: page size 5 is not available"),
            ),
            (
                calls.node_get_free_pages([4], 0, 1, 8),
                *(8, 10, "unsupported flags (0x8) in function qemuNodeGetFreePages"),
            ),
            (
                calls.node_alloc_pages([4], [1], 0, 1, 0),
                *(84, 0, "Operation not supported: system pages pool can't be modified"),
            ),
            (
                calls.connect_get_sysinfo(4),
                *(8, 10, "unsupported flags (0x4) in function qemuConnectGetSysinfo"),
            ),
            (
                Calls(self.bare()).connect_get_sysinfo(0),
                *(67, 10, "unsupported configuration: Host SMBIOS information is not available"),
            ),
        )
        for failing, code, domain, message in wrong:
            error = await self.assertFailure(failing, VirError)
            self.assertEqual((error.code, error.domain, error.message), (code, domain, message))

    def test_sleep(self) -> None:
        """The host does not sleep."""
        calls = Calls(self.bare())
        for target, code, message in (
            (0, 74, "argument unsupported: Suspend-to-RAM"),
            (2, 74, "argument unsupported: Hybrid-Suspend"),
            (7, 8, "invalid argument: Invalid suspend target"),
        ):
            error = self.assertRaises(VirError, calls.node_suspend_for_duration, target, 60, 0)
            self.assertEqual((error.code, error.message), (code, message))
