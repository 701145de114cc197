"""Devices of real guests, plugged and unplugged by the real virsh: what the guest itself sees of them.

A boot is what costs time, so one guest serves all checks that need an operating system.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.interop.daemons import Remotevirt
from tests.interop.peers import Output, Running, require, run_virsh
from tests.qemu_guests import KERNEL_ARGS, Console, guest_initrd, guest_kernel

MIB = 1 << 20

UUID = "5d1c2f0e000040008000000000000001"

MAC, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"

PORTS = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(1, 11))
"""Root ports: each takes one device that is plugged in."""

GUEST = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
 <name>guest</name><uuid>5d1c2f0e-0000-4000-8000-000000000001</uuid>
 <memory unit='MiB'>224</memory><vcpu>1</vcpu><maxMemory slots='4' unit='MiB'>1024</maxMemory>
 <os><type arch='x86_64' machine='q35'>hvm</type>{boot}</os>
 <features><acpi/></features>
 <cpu><numa><cell id='0' cpus='0' memory='224' unit='MiB'/></numa></cpu>
 <devices>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/one.raw'/>
   <target dev='vda' bus='virtio'/><serial>one</serial></disk>
  <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/></disk>
  <interface type='user'><mac address='{mac}'/><model type='virtio'/></interface>
  <controller type='scsi' index='0' model='virtio-scsi'/><controller type='virtio-serial' index='0'/>
  {ports}<serial type='pty'/>
 </devices>
 <qemu:commandline><qemu:arg value='-msg'/><qemu:arg value='timestamp=on'/></qemu:commandline>
</domain>"""


class DeviceTestCase(TestCase):
    """A daemon with its guest."""

    timeout = 240

    def setUp(self) -> None:
        require("virsh", "qemu-system-x86_64")
        self.daemon = Remotevirt(driver="qemu")
        self.folder = self.daemon.directory
        # guests are somebody else, who must be able to come in
        self.folder.chmod(0o711)
        self.daemon.options = ["--state", str(self.folder)]
        self.addCleanup(self.daemon.stop)
        self.daemon.start()
        self.uri = f"qemu+unix:///system?socket={self.daemon.unix}"
        for name, size in (("one.raw", MIB), ("two.raw", 2 * MIB), ("cd.iso", 3 * MIB)):
            with (self.folder / name).open("wb") as image:
                image.truncate(size)

    def define(self, *, boots: bool) -> None:
        """Define the guest; it starts anew with each test."""
        boot = ""
        if boots:
            kernel = shutil.copy(guest_kernel(), self.folder / "kernel")
            initrd = shutil.copy(guest_initrd(), self.folder / "initrd")
            boot = f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{KERNEL_ARGS}</cmdline>"
        text = GUEST.format(boot=boot, folder=self.folder, mac=MAC, ports=PORTS)
        self.virsh("define", self.document("guest", text))
        self.addCleanup(run_virsh, self.uri, "destroy", "guest")

    def document(self, name: str, text: str) -> str:
        """Put a document into a file; returns its path."""
        path = self.folder / f"{name}.xml"
        path.write_text(text)
        return str(path)

    def virsh(self, *arguments: str) -> str:
        """Run a command that succeeds; returns what it prints."""
        done = run_virsh(self.uri, *arguments)
        self.assertEqual((done.status, done.err), (0, ""), (arguments, done))
        return done.out

    def refused(self, text: str, *arguments: str) -> None:
        """Run a command that fails with a text."""
        done: Output = run_virsh(self.uri, *arguments)
        self.assertEqual(done.status, 1, done)
        self.assertIn(text, done.err)

    def disk(self, name: str, target: str, bus: str, kind: str = "raw") -> str:
        """Return the path of a disk's document."""
        text = (
            f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/>"
            f"<source file='{self.folder}/{name}'/><target dev='{target}' bus='{bus}'/>"
            f"<serial>{target}-serial</serial></disk>"
        )
        return self.document(target, text)

    @property
    def own_folder(self) -> Path:
        """The guest's own folder."""
        return self.folder / "qemu/run" / UUID

    def is_open(self, name: str) -> bool:
        """Whether the guest's QEMU has a file open."""
        process = Path("/proc") / (self.own_folder / "qemu.pid").read_text().strip() / "fd"
        return any(os.readlink(one).endswith(f"/{name}") for one in process.iterdir())

    def owner(self, name: str) -> int:
        """Return who has a file."""
        return (self.folder / name).stat().st_uid


class GuestTests(DeviceTestCase):
    """A guest that has booted."""

    async def test_devices(self) -> None:
        """Whatever comes and goes, the guest sees it; so do definitions and events."""
        self.define(boots=True)
        self.virsh("start", "guest")
        events = Running(["virsh", "-c", self.uri, "event", "guest", "--all", "--loop"])
        self.addCleanup(events.stop)
        console = Console.device(self.virsh("ttyconsole", "guest").strip())
        self.addCleanup(console.close)
        await console.boot()
        self.assertIn("custom configuration parameters", self.virsh("dominfo", "guest"))
        await self.check_disks(console, events)
        await self.check_scsi(console)
        await self.check_cards(console)
        await self.check_media(console)
        await self.check_sizes(console)
        self.check_limits()
        await self.check_others(console, events)

    async def check_disks(self, console: Console, events: Running) -> None:
        """A disk comes, is written to, and goes; both definitions know."""
        before = self.owner("two.raw")
        document = self.disk("two.raw", "vdb", "virtio")
        self.virsh("attach-device", "guest", document, "--live", "--config")
        self.assertTrue(self.is_open("two.raw"))
        await console.wait_for(rf"^block\+ vdb {2 * MIB} vdb-serial$")
        await console.command("disk-write /dev/vdb 3 'written by the guest'")
        content = (self.folder / "two.raw").read_bytes()
        self.assertEqual(content[3 * 512 : 3 * 512 + 20], b"written by the guest")
        for flags in ((), ("--inactive",)):
            self.assertIn("target dev='vdb'", self.virsh("dumpxml", "guest", *flags))
        self.refused("target 'vdb' duplicated", "attach-device", "guest", document, "--live")
        self.virsh("detach-device", "guest", document, "--live", "--config")
        await console.wait_for("^block- vdb$")
        for flags in ((), ("--inactive",)):
            self.assertNotIn("target dev='vdb'", self.virsh("dumpxml", "guest", *flags))
        self.assertEqual(self.owner("two.raw"), before)
        for kind in ("device-added", "device-removed"):
            events.wait_for(f"event '{kind}' for domain 'guest': virtio-disk1")
        self.assertFalse(self.is_open("two.raw"))

    async def check_scsi(self, console: Console) -> None:
        """A disk on another bus."""
        document = self.disk("two.raw", "sdb", "scsi")
        self.virsh("attach-device", "guest", document)
        name = (await console.wait_for(rf"^block\+ (sd\w+) {2 * MIB} sdb-serial$"))[1]
        self.virsh("detach-device", "guest", document)
        await console.wait_for(f"^block- {name}$")
        sata = self.disk("two.raw", "sdc", "sata")
        self.refused("does not support hotplugging", "attach-device", "guest", sata)
        self.assertFalse(self.is_open("two.raw"))

    async def check_cards(self, console: Console) -> None:
        """A network card comes, its cable is pulled, it goes."""
        text = f"<interface type='user'><mac address='{SECOND}'/><model type='virtio'/></interface>"
        self.virsh("attach-device", "guest", self.document("card", text))
        name = (await console.wait_for(rf"^net\+ (\w+) {SECOND}$"))[1]
        self.assertEqual(await console.command(f"cat /sys/class/net/{name}/carrier"), "1")
        self.virsh("domif-setlink", "guest", SECOND, "down")
        self.assertIn("down", self.virsh("domif-getlink", "guest", SECOND))
        self.assertEqual(await console.command(f"cat /sys/class/net/{name}/carrier"), "0")
        self.refused("Interface name not provided", "domifstat", "guest", SECOND)
        self.virsh("detach-interface", "guest", "user", "--mac", SECOND)
        await console.wait_for(f"^net- {name}$")

    async def check_media(self, console: Console) -> None:
        """A medium is put in and taken out, of a drive that the guest has locked too."""
        path = str(self.folder / "cd.iso")
        self.virsh("change-media", "guest", "sda", path, "--insert")
        found = await console.command("sleep 0.2; blockdev --getsize64 /dev/sr0")
        self.assertEqual(found.splitlines()[-1], str(3 * MIB))
        self.virsh("change-media", "guest", "sda", "--eject", "--force")
        self.assertNotIn("cd.iso", self.virsh("dumpxml", "guest"))
        self.assertFalse(self.is_open("cd.iso"))

    async def check_sizes(self, console: Console) -> None:
        """What a disk holds, what the guest has done to it, and another size."""
        self.assertIn(f"Capacity:       {MIB}", self.virsh("domblkinfo", "guest", "vda"))
        before = self.counts()
        await console.command("disk-write 1 x; disk-read 1")
        after = self.counts()
        self.assertGreaterEqual(after["wr_bytes"] - before["wr_bytes"], 512)
        self.assertGreater(after["rd_req"], before["rd_req"])
        self.virsh("blockresize", "guest", "vda", "4M")
        await console.wait_for(rf"^block= vda {4 * MIB} one$")
        self.assertIn(f"Capacity:       {4 * MIB}", self.virsh("domblkinfo", "guest", "vda"))
        self.virsh("domblkthreshold", "guest", "vda", str(2 * MIB))
        events = Running(["virsh", "-c", self.uri, "event", "guest", "block-threshold"])
        self.addCleanup(events.stop)
        while not events.saw("block-threshold", 0.2):
            self.virsh("domblkthreshold", "guest", "vda", str(2 * MIB))
            await console.command(f"disk-write {3 * MIB // 512} x")
        self.assertIn("No errors found", self.virsh("domblkerror", "guest"))

    def check_limits(self) -> None:
        """QEMU limits a disk, and says so."""
        self.virsh("blkdeviotune", "guest", "vda", "--total-iops-sec", "500", "--live", "--config")
        self.assertRegex(self.virsh("blkdeviotune", "guest", "vda"), r"total_iops_sec\s*: 500\n")
        for flags in ((), ("--inactive",)):
            self.assertIn("<total_iops_sec>500</total_iops_sec>", self.virsh("dumpxml", "guest", *flags))
        self.refused(
            "value 'total_iops_sec_max' cannot be smaller than 'total_iops_sec'",
            *("blkdeviotune", "guest", "vda", "--total-iops-sec-max", "5", "--live"),
        )

    async def check_others(self, console: Console, events: Running) -> None:
        """Memory, a channel, randomness, a serial line."""
        memory = "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>"
        channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        documents = {
            "memory": memory,
            "channel": channel,
            "rng": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
            "serial": "<serial type='pty'><target type='usb-serial' port='1'/></serial>",
            "input": "<input type='tablet' bus='usb'/>",
        }
        for name, text in documents.items():
            self.virsh("attach-device", "guest", self.document(name, text))
        await console.wait_for(r"^memory\+ ")
        live = self.virsh("dumpxml", "guest")
        for alias in ("dimm0", "channel0", "rng0", "serial1", "input2"):
            self.assertIn(f"<alias name='{alias}'/>", live)
        self.assertEqual(os.listdir(self.folder / "qemu/channel" / UUID), ["org.qemu.guest_agent.0"])
        await console.command("for port in /dev/vport*; do sleep 999 <$port & done")
        events.wait_for(
            "event 'agent-lifecycle' for domain 'guest': state: 'connected' reason: 'channel event'"
        )
        self.assertIn("name='org.qemu.guest_agent.0' state='connected'/>", self.virsh("dumpxml", "guest"))
        self.assertNotIn("state='connected'", self.virsh("dumpxml", "guest", "--inactive"))
        for name in ("channel", "rng", "input"):
            self.virsh("detach-device", "guest", str(self.folder / f"{name}.xml"))
        live = self.virsh("dumpxml", "guest")
        for alias in ("channel0", "rng0", "input2"):
            self.assertNotIn(f"<alias name='{alias}'/>", live)

    def counts(self) -> dict[str, int]:
        """Return what the guest has done to its first disk."""
        lines = self.virsh("domblkstat", "guest", "vda").split("\n")
        return {line.split()[1]: int(line.split()[2]) for line in lines if line}


class LateTests(DeviceTestCase):
    """A guest that has no operating system, and lets go of nothing until it is reset."""

    def reset_by_hand(self) -> None:
        """Reset a guest that no daemon watches, over its monitor."""
        with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rw") as lines:
            monitor.settimeout(20)
            monitor.connect(str(self.own_folder.parents[1] / "monitor" / f"{self.own_folder.name}.sock"))
            for command in ("qmp_capabilities", "system_reset"):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
            for line in lines:
                if "DEVICE_DELETED" in line and "virtio-disk1" in line:
                    return

    def test_late(self) -> None:
        """A device that the guest keeps stays in the live definition until it has gone."""
        self.define(boots=False)
        self.virsh("start", "guest", "--paused")
        document = self.disk("two.raw", "vdb", "virtio")
        self.virsh("attach-device", "guest", document, "--live")
        self.virsh("detach-device", "guest", document, "--live")
        self.assertIn("target dev='vdb'", self.virsh("dumpxml", "guest"))
        events = Running(["virsh", "-c", self.uri, "event", "guest", "device-removed"])
        self.addCleanup(events.stop)
        self.virsh("reset", "guest")
        events.wait_for("virtio-disk1")
        self.assertNotIn("target dev='vdb'", self.virsh("dumpxml", "guest"))
        self.assertFalse(self.is_open("two.raw"))

        self.virsh("attach-device", "guest", document, "--live")
        self.virsh("detach-device-alias", "guest", "virtio-disk1", "--live")
        self.daemon.kill()
        self.reset_by_hand()
        self.daemon.start()
        while "target dev='vdb'" in self.virsh("dumpxml", "guest"):
            pass  # the daemon may answer before it has looked at all guests; the test has a time limit
        self.assertFalse(self.is_open("two.raw"))
        self.assertEqual(self.owner("two.raw"), os.getuid())
