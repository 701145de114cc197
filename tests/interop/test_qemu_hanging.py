"""Guests on disks that hang: the driver in this process with real QEMUs, and the disk played.

The processes of QEMU see the disk as it is, so what is asked here is what the daemon does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from inspect import isawaitable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from remotevirt.drivers import disk_threads
from remotevirt.drivers.base import ClientInfo, DriverURI
from remotevirt.drivers.qemu.driver import QemuDriver
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationTimeout
from tests.drivers.hanging import Disk, held, quiet
from tests.interop.peers import require
from tests.interop.qemu_session import EMPTY, uuid_of

reactor: Any = _reactor

SOON = 3.0
"""The deadline of these tests."""

BOTH = c.VIR_DOMAIN_AFFECT_LIVE | c.VIR_DOMAIN_AFFECT_CONFIG
SLOW_DISK = """
<disk type='file'><driver name='qemu' type='qcow2'/><source file='{folder}/top.qcow2'/>
 <target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='{folder}/one.iso'/><target dev='sda' bus='sata'/></disk>
<controller type='scsi' index='0' model='virtio-scsi'/>
<serial type='file'><source path='{folder}/serial.log'/></serial>
<channel type='unix'><source mode='bind' path='{folder}/line'/>
 <target type='virtio' name='org.example'/></channel>
"""
FIRMWARE = """
<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>{folder}/vars.fd</nvram>
"""


class HangingTests(TestCase):
    """A driver with a guest on each of two disks."""

    timeout = 120

    async def setUp(self) -> None:
        """Open the driver on folders that the guests' user can enter."""
        require("qemu-system-x86_64", "qemu-img")
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o711)
        for name in ("state", "slow", "fast"):
            (self.folder / name).mkdir(mode=0o711)
        self.slow, self.fast = self.folder / "slow", self.folder / "fast"
        for folder in (self.slow, self.fast):
            for name in ("below.img", "one.iso", "two.iso", "more.img"):
                (folder / name).write_bytes(bytes(1 << 20))
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "below.img", "top.qcow2"]
            subprocess.run(command, cwd=folder, check=True)
        self.driver = QemuDriver(state=str(self.folder / "state"))
        await self.driver.begin(reactor)
        self.addCleanup(self.end)
        self.disk = Disk(self, str(self.slow))
        connection: Any = await self.driver.open(DriverURI.parse("qemu:///system"), ClientInfo())
        self.connection = connection

    async def end(self) -> None:
        """End all guests, and the driver."""
        self.disk.recover()
        assert self.driver.world is not None
        for guest in self.driver.world.guests():
            await self.call("domain_destroy", guest.record.ref)
        await quiet()
        self.driver.stop()

    async def call(self, name: str, *args: Any) -> Any:
        """Call the driver as a daemon does."""
        part = self.connection.storage if name.startswith("storage") else self.connection.hypervisor
        found = getattr(part, name)(*args)
        return await found if isawaitable(found) else found

    def begin(self, name: str, *args: Any) -> Deferred[Any]:
        """Begin a call."""
        return Deferred.fromCoroutine(self.call(name, *args))

    async def define(self, name: str, folder: Path, *, firmware: bool = False) -> Any:
        """Define a guest with all its files in a folder."""
        text = EMPTY.format(
            name=name,
            uuid=uuid_of(name),
            settings="<features><acpi/></features>",
            devices=SLOW_DISK.format(folder=folder),
        )
        if firmware:
            text = text.replace("</type></os>", "</type>" + FIRMWARE.format(folder=folder) + "</os>")
        return await self.call("domain_define_xml_flags", text, 0)

    def owner(self, path: Path) -> int:
        """Return whose a file is."""
        return path.stat().st_uid

    async def test_threads_only(self) -> None:
        """Nothing that a call does touches the files of a guest in the reactor's thread."""
        dom = await self.define("all", self.slow, firmware=True)
        await self.call("domain_create", dom)
        await self.call("domain_get_block_info", dom, "vda", 0)
        await self.call("domain_get_block_info", dom, "sda", 0)
        await self.call("domain_block_peek", dom, "sda", 0, 512, 0)
        await self.call("connect_get_all_domain_stats", (), 0, 0)
        await self.call("domain_get_xml_desc", dom, 0)
        stream = (await self.call("domain_open_channel", dom, None, 0)).stream
        stream.abort()
        more = f"<disk type='file'><source file='{self.slow}/more.img'/><target dev='sdb' bus='scsi'/></disk>"
        await self.call("domain_attach_device_flags", dom, more, BOTH)
        await self.call("domain_detach_device_flags", dom, more, BOTH)
        medium = (
            f"<disk type='file' device='cdrom'><source file='{self.slow}/two.iso'/>"
            "<target dev='sda' bus='sata'/></disk>"
        )
        await self.call("domain_update_device_flags", dom, medium, BOTH)
        saved, dumped = str(self.slow / "saved"), str(self.slow / "dumped")
        await self.call("domain_core_dump", dom, dumped, c.VIR_DUMP_MEMORY_ONLY)
        await self.call("domain_core_dump", dom, dumped, 0)
        await self.call("domain_save", dom, saved)
        text = await self.call("domain_save_image_get_xml_desc", saved, 0)
        await self.call("domain_save_image_define_xml", saved, text, 0)
        await self.call("domain_restore", saved)
        await self.call("domain_managed_save", dom, 0)
        await self.call("domain_managed_save_get_xml_desc", dom, 0)
        await self.call("domain_create", dom)
        await self.call("domain_destroy", dom)
        await self.call("domain_get_block_info", dom, "vda", 0)
        await self.call("domain_undefine_flags", dom, c.VIR_DOMAIN_UNDEFINE_NVRAM)
        self.assertEqual("", "\n".join(self.disk.by_reactor))
        self.assertGreater(self.disk.touched, 200)
        self.assertFalse((self.slow / "vars.fd").exists())

    async def test_others_go_on(self) -> None:
        """Start, sizes and dumps of the guest on the disk that hangs time out; nobody else notices."""
        self.patch(disk_threads, "DISK_SECONDS", SOON)
        slow, fast = await self.define("slow", self.slow), await self.define("fast", self.fast)
        self.disk.hang()
        sizes = [self.begin("domain_get_block_info", slow, "vda", 0) for _ in range(12)]
        starting = self.begin("domain_create", slow)
        await held(self.disk)
        await self.call("domain_create", fast)
        await self.call("domain_get_block_info", fast, "vda", 0)
        listed = await self.call("connect_list_all_domains", 1, 0)
        self.assertEqual(2, len(listed.domains))
        await self.call("connect_get_all_domain_stats", (), 0, 0)
        await self.call("domain_core_dump", fast, str(self.fast / "dumped"), c.VIR_DUMP_MEMORY_ONLY)
        for one in (starting, *sizes):
            error = await self.assertFailure(one, OperationTimeout)
            self.assertIn(f"the storage at '{self.slow}' does not answer", str(error))
        self.assertEqual(0, await self.call("domain_is_active", slow))
        self.disk.recover()
        await quiet()
        await self.call("domain_create", slow)
        await self.call("domain_destroy", slow)
        self.assertEqual(os.geteuid(), self.owner(self.slow / "top.qcow2"))
        self.assertEqual({}, self.driver.world.owed if self.driver.world else None)

    async def test_end(self) -> None:
        """A guest on a disk that hangs ends; its files go back when the disk answers, and not to two."""
        slow = await self.define("slow", self.slow)
        await self.call("domain_create", slow)
        self.disk.hang()
        ending = self.begin("domain_destroy", slow)
        await held(self.disk)
        await ending
        self.assertEqual(0, await self.call("domain_is_active", slow))
        world = self.driver.world
        assert world is not None and world.settings is not None
        owed = set(world.owed)
        if world.settings.user is not None:
            self.assertIn(str(self.slow / "top.qcow2"), owed)
        again = self.begin("domain_create", slow)
        await deferLater(reactor, 0.2)
        self.assertNoResult(again)
        self.disk.recover()
        await again
        self.assertEqual({}, world.owed)
        await self.call("domain_destroy", slow)
        self.assertEqual(os.geteuid(), self.owner(self.slow / "top.qcow2"))

    async def test_daemon_ends_meanwhile(self) -> None:
        """What is owed when a daemon ends, the next one gives back."""
        slow = await self.define("slow", self.slow)
        await self.call("domain_create", slow)
        world = self.driver.world
        assert world is not None
        if world.settings.user is None:
            return  # files stay whose they are
        self.disk.hang()
        destroying = self.begin("domain_destroy", slow)
        await destroying
        self.assertNotEqual(os.geteuid(), self.owner_of_hanging())
        self.driver.stop()
        hanging = self.disk
        self.driver = QemuDriver(state=str(self.folder / "state"))
        await self.driver.begin(reactor)
        self.connection = await self.driver.open(DriverURI.parse("qemu:///system"), ClientInfo())
        hanging.recover()
        await quiet()
        assert self.driver.world is not None
        self.assertEqual({}, self.driver.world.owed)
        self.assertEqual(os.geteuid(), self.owner(self.slow / "top.qcow2"))

    def owner_of_hanging(self) -> int:
        """Return whose the disk is, as somebody else sees it."""
        return self.owner(self.slow / "top.qcow2")

    async def test_many_hang(self) -> None:
        """More guests hang than the reactor has threads: documents are still read, others start."""
        self.patch(disk_threads, "DISK_SECONDS", 20)
        fast = await self.define("fast", self.fast)
        doms = [await self.define(f"slow{number}", self.slow) for number in range(14)]
        self.disk.hang()
        calls = [self.begin("domain_create", dom) for dom in doms]
        await held(self.disk)
        long = EMPTY.format(
            name="long", uuid=uuid_of("long"), settings="", devices="<!--" + "x" * 200000 + "-->"
        )
        await self.call("domain_define_xml_flags", long, 0)
        await self.call("domain_create", fast)
        self.disk.recover()
        await gatherResults([one.addErrback(lambda _: None) for one in calls])
