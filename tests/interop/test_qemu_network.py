"""Network cards of real guests on real bridges, in a network namespace of the daemon's own."""

from __future__ import annotations

import os
import signal
import sys

from twisted.internet.threads import deferToThread

from tests.interop.apart import RemotevirtApart
from tests.interop.daemons import _accepts
from tests.interop.peers import Output
from tests.interop.qemu_session import GuestTestCase, until
from tests.interop.spaces import Space, require_space

SPACE = ("--mount", "--net")

PROBE = """\
import subprocess
for words in "ip link add name br0 type bridge", "ip tuntap add tap0 mode tap":
    subprocess.run(words.split(), check=True)
"""

PREPARE = """\
import subprocess
def do(*words):
    subprocess.run(words, check=True)
do("mount", "-t", "sysfs", "sys", "/sys")
do("ip", "link", "set", "lo", "up")
for number, address in enumerate(("192.0.2.1/24", "198.51.100.1/24")):
    do("ip", "link", "add", f"br{number}", "address", f"02:00:00:00:00:0{number}", "type", "bridge")
    do("ip", "address", "add", address, "dev", f"br{number}")
    do("ip", "link", "set", f"br{number}", "up")
do("ip", "tuntap", "add", "made0", "mode", "tap")
do("ip", "link", "set", "made0", "up")
"""
"""Two bridges, and a tap device that waits for a guest."""

ECHO = """\
import socket, sys
with socket.create_connection((sys.argv[1], 7), float(sys.argv[2])) as line:
    line.sendall(b"hello")
    assert line.recv(5) == b"hello"
"""

CARD = """
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>
 <model type='virtio'/><mtu size='1400'/></interface>
""" + "".join(f"<controller type='pci' index='{number}' model='pcie-root-port'/>" for number in range(1, 6))


class Apart(RemotevirtApart):
    """remotevirt in a network namespace, which outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space(SPACE, PREPARE)

    def _is_up(self) -> bool:
        return _accepts(str(self.unix))


class NetworkTests(GuestTestCase):
    """A guest on a bridge, and the bridge's host."""

    def setUp(self) -> None:
        """Leave this out where nobody may make bridges: only root can, where the kernel has them."""
        super().setUp()
        require_space(SPACE, PROBE)
        self.daemon = Apart()
        self.addCleanup(self.daemon.stop)

    async def inside(self, *words: str) -> str:
        """What a program says that runs where the daemon is; it must succeed."""
        output: Output = await deferToThread(self.daemon.inside, *words)
        self.assertEqual(0, output.status, f"{words}: {output}")
        return output.out

    async def reach(self, address: str, seconds: str = "10") -> bool:
        """Whether a guest sends back what it is sent."""
        output: Output = await deferToThread(self.daemon.inside, sys.executable, "-c", ECHO, address, seconds)
        return output.status == 0

    async def link(self, name: str) -> str:
        """What the host says of a network card; empty where there is none."""
        output: Output = await deferToThread(self.daemon.inside, "ip", "-o", "link", "show", name)
        return output.out

    async def count(self, name: str = "vnet0") -> dict[str, int]:
        """What was counted of the guest's card."""
        words = (await self.virsh("domifstat", "guest", name)).split()
        return {words[at + 1]: int(words[at + 2]) for at in range(0, len(words), 3)}

    async def test_bridge(self) -> None:
        """Traffic, cables, counts, cards that come and go, and nothing that is left behind."""
        await self.begin()
        await self.virsh("define", str(self.guest(devices=CARD)))
        await self.virsh("start", "guest")
        owner = os.stat(f"/proc/{self.qemu()}").st_uid
        self.assertNotEqual(0, owner)
        self.assertIn(" vnet0       bridge   br0      virtio   52:54:00:00:00:01", await self.cards())
        tap = await self.link("vnet0")
        for wanted in (" mtu 1400 ", " master br0 ", "ether fe:54:00:00:00:01 ", ",UP"):
            self.assertIn(wanted, tap)
        self.assertIn("ether 02:00:00:00:00:00 ", await self.link("br0"))

        console = await self.console()
        self.assertIn("net eth0 52:54:00:00:00:01", await console.boot())
        self.assertEqual("1400", await console.command("cat /sys/class/net/eth0/mtu"))
        await console.command("ip address add 192.0.2.2/24 dev eth0; nc -ll -p 7 -e cat & true")
        before = await self.count()
        self.assertTrue(await self.reach("192.0.2.2"))
        await console.command("ping -c 1 192.0.2.1")
        after = await self.count()
        for name in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets"):
            self.assertGreater(after[name], before[name], name)
        found = await self.virsh("domifaddr", "guest", "--source", "arp")
        self.assertIn("vnet0      52:54:00:00:00:01    ipv4         192.0.2.2/", found)

        await self.virsh("domif-setlink", "guest", "vnet0", "down")
        self.assertEqual("vnet0 down", await self.virsh("domif-getlink", "guest", "vnet0"))
        self.assertEqual("0", await console.command("cat /sys/class/net/eth0/carrier"))
        self.assertFalse(await self.reach("192.0.2.2", "0.5"))
        await self.virsh("domif-setlink", "guest", "vnet0", "up")
        self.assertEqual("1", await console.command("cat /sys/class/net/eth0/carrier"))
        self.assertTrue(await self.reach("192.0.2.2"))

        words = ("--target", "second", "--mac", "52:54:00:00:00:02", "--model", "virtio", "--live")
        await self.virsh("attach-interface", "guest", "bridge", "br1", *words)
        await console.wait_for(r"net\+ eth1 52:54:00:00:00:02")
        self.assertIn("ether fe:54:00:00:00:02 ", await self.link("second"))
        await console.command("ip address add 198.51.100.2/24 dev eth1")
        self.assertTrue(await self.reach("198.51.100.2"))
        await self.again()
        self.assertTrue(await self.reach("198.51.100.2"))
        self.assertGreater((await self.count("second"))["rx_packets"], 0)
        await self.virsh("detach-interface", "guest", "bridge", "--mac", "52:54:00:00:00:02", "--live")
        await console.wait_for("net- eth1")
        self.assertEqual("", await self.link("second"))

        os.kill(self.qemu(), signal.SIGKILL)
        await self.state_is("shut off (crashed)")
        self.assertEqual("", await self.link("vnet0"))
        await self.nothing_left()

    async def cards(self) -> str:
        """The guest's network cards."""
        return await self.virsh("domiflist", "guest")

    async def test_taps(self) -> None:
        """Names that are taken are refused; a tap device that was made for a guest is used, and stays."""
        await self.begin()
        ethernet = "<interface type='ethernet'><mac address='fe:54:00:00:00:01'/>{}</interface>"
        made = ethernet.format("<target dev='made0' managed='no'/>")
        await self.virsh("create", str(self.empty("one", devices=made)))
        self.assertIn("LOWER_UP", await self.link("made0"))
        own = ethernet.format("<target dev='own%d'/><model type='e1000'/><mtu size='1300'/>")
        await self.virsh("create", str(self.empty("two", devices=own)))
        self.assertRegex(await self.link("own0"), " mtu 1300 .*ether fa:54:00:00:00:01 ")
        for target, text in (
            ("dev='made0'", "Requested operation is not valid: The made0 interface already exists"),
            ("dev='br0'", "Requested operation is not valid: The br0 interface already exists"),
            ("dev='made0' managed='no'", "Unable to create tap device made0: Device or resource busy"),
            ("dev='made1' managed='no'", "target managed='no' but specified dev doesn't exist"),
            ("dev='of-seventeen-bytes'", "Network interface name 'of-seventeen-bytes' is too long"),
        ):
            path = self.empty("three", devices=ethernet.format(f"<target {target}/>"))
            self.assertIn(text, await self.refused("create", str(path)))
        nowhere = "<interface type='bridge'><source bridge='br2'/></interface>"
        refused = await self.refused("create", str(self.empty("three", devices=nowhere)))
        self.assertIn("Cannot get interface MTU on 'br2': No such device", refused)
        for name in ("one", "two"):
            await self.virsh("destroy", name)
        self.assertNotEqual("", await self.link("made0"))
        await until(lambda: not self.daemon.qemus(), "the end of QEMU")
        self.assertEqual("", await self.link("own0"))
        self.assertEqual("", await self.link("vnet0"))
