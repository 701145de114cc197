"""Real QEMUs, started with our command lines: they have what was asked, before the first instruction."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.command import (
    Command,
    Descriptor,
    Order,
    Surroundings,
    block_id,
    block_parts,
    build_command,
    node_of,
    orders_before_run,
    orders_for_vcpus,
    parts_of_device,
    read_passthrough,
    to_commands,
)
from remotevirt.drivers.qemu.monitor import Monitor, connect
from remotevirt.drivers.qemu.process import read_log_tail, spawn
from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.graphics import Vnc
from tests.drivers.qemu.commanding import document, emulator_for, read, setting, small

PASSPHRASE = "correct horse"
SECONDS = 60.0
"""How long a QEMU may take to answer; a loaded machine needs some."""

MORE_DISK = """
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='writeback'/>
  <source file='{folder}/more.qcow2' index='40'/>
  <backingStore/>
  <target dev='vdz' bus='virtio'/>
  <alias name='ua-more'/>
  <address type='pci' domain='0x0000' bus='0x10' slot='0x00' function='0x0'/>
</disk>
"""
PLUGGED = """
<serial type='file'>
  <source path='{folder}/usb,file'/>
  <target type='usb-serial' port='4'/>
  <alias name='serial9'/>
  <address type='usb' bus='0' port='4'/>
</serial>
<channel type='unix'>
  <source mode='bind' path='{folder}/plugged'/>
  <target type='virtio' name='plugged'/>
  <alias name='channel9'/>
  <address type='virtio-serial' controller='0' bus='0' port='9'/>
</channel>
<input type='mouse' bus='usb'><alias name='input9'/><address type='usb' bus='0' port='5'/></input>
"""


def open_one(one: Descriptor) -> int:
    """Open what the launcher would."""
    assert one.path is not None
    if one.kind == "listen":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(one.path)
        listener.listen()
        return listener.detach()
    return os.open(one.path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if one.append else os.O_TRUNC), 0o600)


class RealTests(TestCase):
    """Each test starts one."""

    timeout = 300

    def setUp(self) -> None:
        # The path of a UNIX socket has room for little more than a hundred bytes.
        temporary = tempfile.TemporaryDirectory(prefix="guest-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        for name in ("c.raw", "c2.raw", "d.raw", "e.raw", "f.raw", "cd.iso"):
            (self.folder / name).write_bytes(bytes(1 << 20))
        self.image("b.qcow2", base=("c.raw", "raw"))
        self.image("a,1.qcow2", base=("b.qcow2", "qcow2"))
        self.image("more.qcow2")
        for kind in ("OVMF/OVMF_VARS_4M.fd", "AAVMF/AAVMF_VARS.fd"):
            name = "vars.fd" if kind.startswith("OVMF") else "armvars.fd"
            (self.folder / name).write_bytes(Path("/usr/share", kind).read_bytes())

    def image(self, name: str, *, base: tuple[str, str] | None = None, luks: bool = False) -> None:
        """Make a qcow2 image."""
        command = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if base is not None:
            command += ["-b", base[0], "-F", base[1]]
        if luks:
            command += ["--object", f"secret,id=s,data={PASSPHRASE}"]
            command += ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"]
        # A comma of the name is one of the file.
        for _ in range(
            3
        ):  # measuring how fast passphrases can be tried fails on virtual machines now and then
            done = subprocess.run(
                [*command, str(self.folder / name), "1M"],
                check=False,
                cwd=self.folder,
                capture_output=True,
                text=True,
            )
            if "accurate CPU usage" not in done.stderr:
                break
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def read(self, name: str) -> tuple[DomainModel, str]:
        """One of the documents; its screen gets a socket, so that no port is taken."""
        text = document(name, str(self.folder))
        model = read(text)
        for screen in model.devices.graphics:
            if isinstance(screen, Vnc):
                screen.websocket = None
                screen.listens[0].type = "socket"
                screen.listens[0].socket = str(self.folder / "screen")
        return model, text

    async def start(self, model: DomainModel, text: str | None = None) -> Monitor:
        """Start a guest, and connect to its monitor."""
        passthrough = read_passthrough(etree.fromstring(text)) if text is not None else None
        command = build_command(
            model, emulator_for(model), Surroundings(str(self.folder)), passthrough=passthrough
        )
        for secret in command.secrets:
            Path(secret.path).write_text(PASSPHRASE)
        return await self.run_command(command)

    async def run_command(self, command: Command) -> Monitor:
        """Start a command, and connect to its monitor."""
        numbers = {one.name: open_one(one) for one in command.descriptors}
        log = self.folder / "log"
        try:
            process = await spawn(
                command.arguments(numbers),
                reactor=reactor,
                environment=command.environment,
                log=log,
                descriptors=tuple(numbers.values()),
            )
        finally:
            for number in numbers.values():
                os.close(number)
        self.addCleanup(lambda: ensureDeferred(process.kill(0)))
        try:
            monitor = await connect(reactor, command.monitor, timeout=SECONDS)
        except VirError as error:
            self.fail(f"{error}: {read_log_tail(log)}")
        self.addCleanup(monitor.close)
        return monitor

    async def make(self, monitor: Monitor, order: Order) -> Any:
        """Give an order."""
        if order.descriptor is None:
            return await monitor.execute(order.execute, order.arguments)
        number = open_one(order.descriptor)
        try:
            return await monitor.execute(order.execute, order.arguments, files=[number])
        finally:
            os.close(number)

    async def peripherals(self, monitor: Monitor) -> set[str]:
        """The ids of the devices."""
        answer = await monitor.execute("qom-list", {"path": "/machine/peripheral"})
        return {one["name"] for one in answer if one["type"].startswith("child<")}

    async def test_q35(self) -> None:
        """All that a PC can have, with a chain of images and descriptors that are passed; and hot-plug."""
        model, text = self.read("q35")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.bind(str(self.folder / "s"))
            peer.listen()
            monitor = await self.start(model, text)
        self.assertEqual("prelaunch", (await monitor.execute("query-status"))["status"])
        self.assertEqual(2, len(await monitor.execute("query-cpus-fast")))
        blocks = {one["qdev"]: one for one in await monitor.execute("query-block")}
        first = blocks["/machine/peripheral/virtio-disk0/virtio-backend"]["inserted"]
        self.assertEqual(2, first["backing_file_depth"])
        nodes = {one["node-name"]: one for one in await monitor.execute("query-named-block-nodes")}
        for number, name in ((8, "a,1.qcow2"), (9, "b.qcow2"), (10, "c.raw")):
            self.assertEqual(str(self.folder / name), nodes[f"libvirt-{number}-storage"]["file"])
            self.assertEqual(number != 8, nodes[f"libvirt-{number}-format"]["ro"])
        self.assertEqual(
            {"writeback": True, "direct": True, "no-flush": False},
            first["cache"],
        )
        self.assertTrue(blocks["sata0-0-0"]["inserted"]["ro"])
        self.assertNotIn("inserted", blocks["scsi0-0-0-1"])
        lines = {one["label"]: one["filename"] for one in await monitor.execute("query-chardev")}
        self.assertTrue(lines["charserial0"].startswith("pty:"), lines)
        self.assertTrue(lines["charchannel0"].startswith("disconnected:unix:"), lines)
        names = await self.peripherals(monitor)
        devices = model.devices
        inputs = [one for one in devices.inputs if one.bus != "ps2"]
        for device in (*devices.disks, *devices.interfaces, *devices.serials, *inputs, *devices.videos):
            self.assertIn(device.info.alias, names)
        threads = await monitor.execute("query-iothreads")
        self.assertEqual({"iothread1", "iothread2"}, {one["id"] for one in threads})
        for order in orders_before_run(setting(model)):
            await self.make(monitor, order)
        limits = {one["qdev"]: one for one in await monitor.execute("query-block")}
        first = limits["/machine/peripheral/virtio-disk0/virtio-backend"]["inserted"]
        self.assertEqual((1000000, 10), (first["bps"], first["iops_rd"]))
        await self.plug(monitor, model)
        await self.insert(monitor, model)

    async def plug(self, monitor: Monitor, model: DomainModel) -> None:
        """Plug the same kinds of devices into it while it runs, and take their back ends away again."""
        guest = setting(model, str(self.folder))
        text = MORE_DISK.format(folder=self.folder) + PLUGGED.format(folder=self.folder)
        more = small(text).devices
        disk, line, channel, mouse = more.disks[0], more.serials[0], more.channels[0], more.inputs[0]
        done: list[Order] = []
        for device in (disk, line, channel, mouse):
            for part in parts_of_device(guest, device):
                for order in to_commands(part, {"serial9-source": 90}):
                    await self.make(monitor, order)
                    done.append(order)
        names = await self.peripherals(monitor)
        self.assertTrue({"ua-more", "serial9", "channel9", "input9"} <= names, names)
        self.assertTrue((self.folder / "plugged").is_socket())
        undo = [order.undo for order in reversed(done) if order.undo is not None and order.lasting]
        self.assertEqual(
            "device_del device_del chardev-remove device_del chardev-remove remove-fd device_del blockdev-del"
            " blockdev-del",
            " ".join(name for name, _ in undo),
        )
        for name, arguments in undo[:2]:
            await monitor.execute(name, arguments)

    async def insert(self, monitor: Monitor, model: DomainModel) -> None:
        """Put a medium into an empty drive."""
        text = f"""<disk type='file' device='cdrom'>
  <driver name='qemu' type='raw'/><source file='{self.folder}/cd.iso' index='41'/>
  <target dev='sdb' bus='scsi'/>
  <readonly/><alias name='scsi0-0-0-1'/>
</disk>"""
        drive = small(text).devices.disks[0]
        for part in block_parts(setting(model), drive):
            for order in to_commands(part):
                await self.make(monitor, order)
        await monitor.execute("blockdev-open-tray", {"id": block_id(drive)})
        await monitor.execute("blockdev-insert-medium", {"id": block_id(drive), "node-name": node_of(drive)})
        blocks = {one["qdev"]: one for one in await monitor.execute("query-block")}
        self.assertEqual(str(self.folder / "cd.iso"), blocks["scsi0-0-0-1"]["inserted"]["file"])

    async def test_pc(self) -> None:
        """NUMA cells, memory and a virtual CPU that are plugged in, and the buses of an older PC."""
        model, text = self.read("pc-numa")
        monitor = await self.start(model, text)
        memory = await monitor.execute("query-memory-devices")
        self.assertEqual(["dimm0"], [one["data"]["id"] for one in memory])
        objects = await monitor.execute("qom-list", {"path": "/objects"})
        self.assertTrue({"ram-node0", "ram-node1", "memdimm0"} <= {one["name"] for one in objects})
        self.assertEqual(1, len(await monitor.execute("query-cpus-fast")))
        guest = setting(model)
        for order in orders_for_vcpus(guest, await monitor.execute("query-hotpluggable-cpus")):
            await self.make(monitor, order)
        self.assertEqual(2, len(await monitor.execute("query-cpus-fast")))
        blocks = {one["qdev"]: one for one in await monitor.execute("query-block")}
        self.assertTrue({"ide0-0-0", "ide0-1-0", "scsi0-0-0", "fdc0-0-0"} <= set(blocks), blocks)

    async def test_memory_in_a_file(self) -> None:
        """Memory that others can map, and that is there from the start."""
        model, text = self.read("pc-file")
        monitor = await self.start(model, text)
        devices = {one["id"]: one for one in await monitor.execute("query-memdev")}
        self.assertEqual((384 << 20, True), (devices["pc.ram"]["size"], devices["pc.ram"]["prealloc"]))

    async def test_uefi(self) -> None:
        """Firmware in flash, whose variables it can write."""
        model, text = self.read("uefi")
        monitor = await self.start(model, text)
        nodes = {one["node-name"]: one for one in await monitor.execute("query-named-block-nodes")}
        self.assertTrue(nodes["libvirt-pflash0-format"]["ro"])
        self.assertFalse(nodes["libvirt-pflash1-format"]["ro"])

    async def test_aarch64(self) -> None:
        """ARM's machine, with its own serial port."""
        model, text = self.read("aarch64")
        monitor = await self.start(model, text)
        self.assertEqual(2, len(await monitor.execute("query-cpus-fast")))
        lines = {one["label"]: one["filename"] for one in await monitor.execute("query-chardev")}
        self.assertTrue(lines["charserial0"].startswith("pty:"), lines)
        self.assertIn("virtio-disk0", await self.peripherals(monitor))

    async def test_luks(self) -> None:
        """An encrypted image is opened with a secret that is on no command line, and may go at once."""
        self.image("l.qcow2", luks=True)
        model, text = self.read("luks")
        monitor = await self.start(model, text)
        (self.folder / "libvirt-2-format-encryption-secret0").unlink()
        nodes = {one["node-name"]: one for one in await monitor.execute("query-named-block-nodes")}
        self.assertTrue(nodes["libvirt-2-format"]["encrypted"])
        self.assertIn("libvirt-CoR-vda", nodes)
        line = Path(f"/proc/{await self.pid()}/cmdline").read_bytes()
        self.assertNotIn(PASSPHRASE.encode(), line)
        self.assertIn(b"encryption-secret0", line)

    async def pid(self) -> int:
        """The process that serves the monitor's socket: ours is the only child of that name."""
        found = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and str(self.folder).encode() in _command_line(entry)
        ]
        self.assertEqual(1, len(found))
        return found[0]


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
