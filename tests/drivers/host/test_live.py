"""The running host, asked here and by a real libvirtd beside us."""

from __future__ import annotations

import atexit
import re
from functools import cache

from remotevirt.drivers.host import Host, HostDevices, HostInterfaces, host_xml
from remotevirt.stubs.remote import NonnullInterface
from tests.drivers.host.base import Calls, HostTestCase
from tests.drivers.host.oracle import HostLibvirtd, require_namespaces
from tests.interop.peers import require, run_virsh


@cache
def _libvirtd() -> HostLibvirtd:
    """Start a libvirtd when the first test asks it; it ends with the tests."""
    daemon = HostLibvirtd()
    atexit.register(daemon.stop)
    daemon.start()
    return daemon


class LiveTests(HostTestCase):
    """What does not change from moment to moment is equal; the rest is of the same kind and size."""

    def ask(self, *words: str) -> str:
        """Return what virsh prints."""
        require("virsh", "libvirtd", "libvirt-qemu")
        require_namespaces()
        done = run_virsh(_libvirtd().qemu_uri, *words)
        self.assertEqual(done.status, 0, done.err)
        return done.out

    async def test_info(self) -> None:
        """CPUs, layout and memory are equal, and so is the host's name."""
        calls = Calls(Host())
        said = re.findall(r": +(\d+)", self.ask("nodeinfo"))
        cpus, mhz, sockets, cores, threads, nodes, memory = map(int, said)
        found = await calls.node_get_info()
        self.assertEqual(found[1:3], (memory, cpus))
        self.assertEqual(found[4:], (nodes, sockets, cores, threads))
        self.assertApproximates(found.mhz, mhz, max(mhz // 2, 1))
        self.assertEqual(await calls.connect_get_hostname(), self.ask("hostname").strip())

    async def test_counters(self) -> None:
        """Times and free memory are close to what libvirtd says at the same moment."""
        calls = Calls(Host())
        times = dict(re.findall(r"(\w+): +(\d+)", self.ask("nodecpustats")))
        found = dict((await calls.node_get_cpu_stats(-1, 4, 0)).params)
        minute = 60 * 10**9 * len(re.findall("y", self.ask("nodecpumap").split("map:")[1]))
        for theirs, ours in (("user", "user"), ("system", "kernel"), ("idle", "idle"), ("iowait", "iowait")):
            self.assertApproximates(found[ours], int(times[theirs]), minute)
        said = dict(re.findall(r"(\w+) *: +(\d+)", self.ask("nodememstats")))
        memory = dict((await calls.node_get_memory_stats(4, -1, 0)).params)
        self.assertEqual(memory["total"], int(said["total"]))
        for name in ("free", "cached", "buffers"):
            self.assertApproximates(memory[name], int(said[name]), memory["total"] // 4)

    def test_capabilities(self) -> None:
        """The host's element is equal, but for the host's name, who guests run as, and the CPU's features.

        Features that only model-specific registers tell are not listed here, and the model follows from
        what is listed.
        """

        def plain(text: str) -> str:
            start = text.index("    <power_management")
            return re.sub(r"(size='4'>)\d+", r"\1", text[start : text.index("    <secmodel>")])

        said = self.ask("capabilities")
        found = host_xml(Host())
        self.assertEqual(plain(found), plain(said))
        for tag in ("arch", "vendor", "signature", "topology sockets", "maxphysaddr", "pages unit"):
            lines = [line for line in said.partition("</cpu>")[0].splitlines() if f"<{tag}" in line]
            for line in lines:
                self.assertIn(line, found)

    async def test_devices(self) -> None:
        """The same devices are listed, and their documents are equal."""
        devices = HostDevices(Host())
        names = self.ask("nodedev-list").split()
        self.assertEqual(sorted(await devices.node_list_devices(None, 9999, 0)), sorted(names))
        for name in names:
            said = self.ask("nodedev-dumpxml", name).rstrip("\n") + "\n"
            self.assertEqual(await devices.node_device_get_xml_desc(name, 0), said)

    async def test_interfaces(self) -> None:
        """The same interfaces are listed, and their documents are equal."""
        interfaces = HostInterfaces(Host())
        lines = [line.split() for line in self.ask("iface-list", "--all").splitlines()[2:] if line]
        found = (await interfaces.connect_list_all_interfaces(1, 0)).ifaces
        self.assertEqual(sorted(one.name for one in found), sorted(line[0] for line in lines))
        for one in found:
            said = self.ask("iface-dumpxml", one.name).rstrip("\n") + "\n"
            text = await interfaces.interface_get_xml_desc(NonnullInterface(one.name, ""), 0)
            self.assertEqual(text, said)

    async def test_aside(self) -> None:
        """A call that reads files returns at once: the reactor does not wait for it."""
        devices = HostDevices(Host())
        pending = devices.node_num_of_devices(None, 0)
        self.assertFalse(pending.called)
        self.assertGreater(await pending, 0)
