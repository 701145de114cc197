"""Devices of a running guest, with a QEMU that refuses, is silent or goes away in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.command import number_images
from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.drivers.qemu.guest import Details, Guest
from remotevirt.drivers.qemu.hypervisor import QemuHypervisor
from remotevirt.drivers.qemu.preparing import prepare_definition
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.stopping import gone
from remotevirt.drivers.qemu.unplugging import UNPLUG_SECONDS, gone_by_itself
from remotevirt.drivers.qemu.watching import heard
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed
from tests.drivers.qemu.pretending import Client, Emulators, FakeMonitor, refusal
from tests.drivers.qemu.recorded import recorded_emulators

LIVE, CONFIG = c.VIR_DOMAIN_AFFECT_LIVE, c.VIR_DOMAIN_AFFECT_CONFIG

GUEST = """
<domain type='qemu'><name>g</name><uuid>8a9b6c1e-0000-4000-8000-000000000000</uuid><memory>65536</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/one'/>
 <target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{folder}/old'/>
 <target dev='sda' bus='sata'/></disk>
<interface type='user'><mac address='52:54:00:0a:0b:0c'/><model type='virtio'/></interface>
<controller type='virtio-serial' index='0'/>
<controller type='pci' index='8' model='pcie-root-port'/>
<controller type='pci' index='9' model='pcie-root-port'/>
</devices></domain>"""


class HotplugBase(TestCase):
    """A running guest whose QEMU is made up."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.folder = folder
        for name in ("one", "two", "old", "new"):
            (folder / name).write_bytes(bytes(512))
        emulator = next(one for one in recorded_emulators() if one.arch == "x86_64")
        self.clock = Clock()
        emulators: Any = Emulators(emulator)
        self.world = QemuWorld(
            Settings(folder), definitions_for([emulator], arch="x86_64"), emulators, self.clock
        )
        self.world.device_gone = gone_by_itself
        record, _ = self.world.assign(self.world.definitions.parse(GUEST.format(folder=folder)), live=False)
        assert isinstance(record, QemuRecord)
        self.record = record
        self.world.set_persistent(record, True)
        self.guest = Guest(self.world, record, folder, Details())
        self.guest.started = True
        self.monitor = FakeMonitor()
        monitor: Any = self.monitor
        self.guest.monitor = monitor
        record.guest = self.guest
        self.world.start(record, c.VIR_DOMAIN_RUNNING_BOOTED)
        prepare_definition(self.guest, emulator)
        number_images(record.live.changing())
        self.calls = QemuHypervisor(self.world, "qemu:///system", Client())
        self.events: list[Any] = []
        self.world.hub.listen(self.events.append)
        self.two = self.disk("two", "vdb")

    def disk(self, name: str, target: str, extra: str = "") -> str:
        """Return the document of a disk."""
        return (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{self.folder}/{name}'/>"
            f"<target dev='{target}' bus='virtio'/>{extra}</disk>"
        )

    def medium(self, name: str) -> str:
        """Return the document of a medium for the drive."""
        return (
            f"<disk type='file' device='cdrom'><source file='{self.folder}/{name}'/>"
            "<target dev='sda' bus='sata'/></disk>"
        )

    def targets(self, *, live: bool = True) -> list[str]:
        """Return the names of the disks."""
        definition = self.record.live if live else self.record.persistent_definition
        return [disk.dev for disk in definition.model.devices.disks]

    def begin(self, name: str, *arguments: Any) -> Deferred[Any]:
        """Begin a call."""
        return Deferred.fromCoroutine(getattr(self.calls, name)(self.record.ref, *arguments))

    def tell(self, event: str, **data: Any) -> None:
        """Have QEMU tell something."""
        heard(self.guest, event, data)

    def ids(self) -> list[int]:
        """Return the numbers of the events so far."""
        return [event.id for event in self.events]

    async def refused(self, name: str, *arguments: Any) -> VirError:
        """Make a call that fails; returns how."""
        error = await self.assertFailure(self.begin(name, *arguments), VirError)
        assert isinstance(error, VirError)
        return error


class HotplugTests(HotplugBase):
    """Calls that attach, change and detach."""

    async def test_both_are_checked_first(self) -> None:
        """What the persistent definition cannot have is not plugged in either."""
        await self.begin("domain_attach_device_flags", self.two, CONFIG)
        self.monitor.asked.clear()
        error = await self.refused("domain_attach_device_flags", self.two, LIVE | CONFIG)
        self.assertEqual(error.message, "Requested operation is not valid: target vdb already exists")
        self.assertEqual(self.monitor.commands, [])
        self.assertEqual(self.targets(), ["vda", "sda"])

    async def test_refused_device(self) -> None:
        """QEMU takes the images and not the device: the images go, and nobody knows of anything."""
        self.monitor.answers["device_add"] = refusal()
        error = await self.refused("domain_attach_device_flags", self.two, LIVE | CONFIG)
        self.assertIn("QEMU says no", str(error))
        added = [one["node-name"] for command, one in self.monitor.asked if command == "blockdev-add"]
        removed = [one["node-name"] for command, one in self.monitor.asked if command == "blockdev-del"]
        self.assertEqual((len(added), removed), (2, added[::-1]))
        for live in (True, False):
            self.assertEqual(self.targets(live=live), ["vda", "sda"])
        self.assertEqual(self.events, [])

    async def test_refused_image(self) -> None:
        """The first thing that is made can fail too; then there is nothing to take back."""
        self.monitor.answers["blockdev-add"] = refusal()
        await self.refused("domain_attach_device_flags", self.two, LIVE)
        self.assertEqual(self.monitor.commands, ["blockdev-add"])

    async def test_refused_limits(self) -> None:
        """A device whose limits cannot be set does not stay."""
        self.monitor.answers["block_set_io_throttle"] = refusal()
        self.monitor.react["device_del"] = lambda _: self.clock.callLater(
            0, self.tell, "DEVICE_DELETED", device="virtio-disk1"
        )
        limited = self.disk("two", "vdb", "<iotune><total_iops_sec>9</total_iops_sec></iotune>")
        calling = self.begin("domain_attach_device_flags", limited, LIVE)
        while "device_del" not in self.monitor.commands:
            waiting: Deferred[None] = Deferred()
            reactor_later(waiting)
            await waiting
        self.clock.advance(0)
        await self.assertFailure(calling, InternalError)
        self.assertEqual(self.monitor.commands[-3:], ["device_del", "blockdev-del", "blockdev-del"])
        self.assertEqual(self.targets(), ["vda", "sda"])

    async def test_sockets(self) -> None:
        """What QEMU gets open is taken back by its name, and the socket's line is made of it."""
        self.monitor.answers["device_add"] = refusal()
        path = f"{self.folder}/line"
        channel = (
            f"<channel type='unix'><source mode='bind' path='{path}'/>"
            "<target type='virtio' name='org.example'/></channel>"
        )
        await self.refused("domain_attach_device_flags", channel, LIVE)
        self.assertEqual(
            self.monitor.commands, ["getfd", "chardev-add", "device_add", "chardev-remove", "closefd"]
        )

    async def test_silence(self) -> None:
        """A guest that does not answer: the call ends well, the device stays, and goes when it goes."""
        await self.begin("domain_attach_device_flags", self.two, LIVE | CONFIG)
        self.assertEqual(self.targets(live=False), ["vda", "vdb", "sda"])
        calling = self.begin("domain_detach_device_flags", self.two, LIVE | CONFIG)
        self.assertNoResult(calling)
        self.clock.advance(UNPLUG_SECONDS)
        await calling
        self.assertEqual(self.targets(), ["vda", "vdb", "sda"])
        self.assertEqual(self.targets(live=False), ["vda", "sda"])
        self.assertEqual(self.guest.details.unplugging, ["virtio-disk1"])
        self.tell("DEVICE_DELETED", device="virtio-disk1")
        self.assertEqual(self.targets(), ["vda", "sda"])
        self.assertEqual(self.guest.details.unplugging, [])
        self.assertEqual(self.monitor.commands[-2:], ["blockdev-del", "blockdev-del"])
        self.assertEqual(self.ids()[-1], c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
        self.tell("DEVICE_DELETED", device="virtio-disk1")
        self.assertEqual(self.ids().count(c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED), 1)

    async def test_guest_refuses(self) -> None:
        """A guest that wants to keep a device keeps it."""
        await self.begin("domain_attach_device_flags", self.two, LIVE)
        calling = self.begin("domain_detach_device_flags", self.two, LIVE)
        self.tell("DEVICE_UNPLUG_GUEST_ERROR", device="virtio-disk1")
        error = await self.assertFailure(calling, OperationFailed)
        self.assertEqual(error.message, "operation failed: unplug of device was rejected by the guest")
        self.assertEqual(self.targets(), ["vda", "vdb", "sda"])
        self.assertEqual(self.guest.details.unplugging, [])
        self.assertEqual(self.ids()[-1], c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED)

    async def test_gone_already(self) -> None:
        """A device that QEMU does not have any more is none of the definition either."""
        await self.begin("domain_attach_device_flags", self.two, LIVE)
        self.monitor.answers["device_del"] = refusal("DeviceNotFound")
        await self.begin("domain_detach_device_alias", "virtio-disk1", LIVE)
        self.assertEqual(self.targets(), ["vda", "sda"])

    async def test_end_in_between(self) -> None:
        """The guest ends while a call waits for it."""
        await self.begin("domain_attach_device_flags", self.two, LIVE)
        calling = self.begin("domain_detach_device_flags", self.two, LIVE)
        gone(self.guest)
        error = await self.assertFailure(calling, VirError)
        self.assertIn("no longer running", str(error))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_lies(self) -> None:
        """Events about what is no device of the guest change nothing."""
        devices: list[Any] = ["", "nobody", 7, None, ["x"], {}, "x" * 5000]
        for device in devices:
            self.tell("DEVICE_DELETED", device=device)
            self.tell("DEVICE_UNPLUG_GUEST_ERROR", device=device)
        self.tell("BLOCK_WRITE_THRESHOLD", **{"node-name": "libvirt-1-storage", "write-threshold": "x"})
        self.assertEqual(self.targets(), ["vda", "sda"])

    async def test_medium(self) -> None:
        """Another medium, and none; the tray's answer is waited for."""
        self.monitor.react["blockdev-open-tray"] = lambda _: self.tell(
            "DEVICE_TRAY_MOVED", id="sata0-0-0", **{"tray-open": True}
        )
        self.monitor.react["blockdev-close-tray"] = lambda _: self.tell(
            "DEVICE_TRAY_MOVED", id="sata0-0-0", **{"tray-open": False}
        )
        await self.begin("domain_update_device_flags", self.medium("new"), LIVE)
        self.assertEqual(
            self.monitor.commands,
            [
                *("blockdev-add", "blockdev-add", "blockdev-open-tray", "blockdev-remove-medium"),
                *("blockdev-insert-medium", "blockdev-close-tray", "blockdev-del", "blockdev-del"),
            ],
        )
        self.assertIn("/new' index='", self.record.live.format(0, 1))

    async def test_medium_refused(self) -> None:
        """A medium that cannot be put in leaves the old one in its place."""
        self.monitor.react["blockdev-open-tray"] = lambda _: self.tell(
            "DEVICE_TRAY_MOVED", id="sata0-0-0", **{"tray-open": True}
        )
        inserted: list[str] = []

        def insert(arguments: Mapping[str, Any]) -> None:
            inserted.append(arguments["node-name"])
            if len(inserted) == 1:
                raise refusal()

        self.monitor.react["blockdev-insert-medium"] = insert
        await self.refused("domain_update_device_flags", self.medium("new"), LIVE)
        self.assertEqual(len(inserted), 2)
        self.assertIn(inserted[1], ("libvirt-1-format", "libvirt-2-format"))
        self.assertEqual(self.monitor.commands[-2:], ["blockdev-del", "blockdev-del"])
        self.assertIn("/old' index='", self.record.live.format(0, 1))

    async def test_locked_tray(self) -> None:
        """A guest that has locked the tray has five seconds."""
        calling = self.begin("domain_update_device_flags", self.medium("new"), LIVE)
        while "blockdev-open-tray" not in self.monitor.commands:
            waiting: Deferred[None] = Deferred()
            reactor_later(waiting)
            await waiting
        self.clock.advance(5)
        error = await self.assertFailure(calling, OperationFailed)
        self.assertIn("timed out waiting to open tray of 'sda'", str(error))
        self.assertIn("/old' index='", self.record.live.format(0, 1))

    async def test_words(self) -> None:
        """libvirt's words for what cannot be done to a running guest."""
        cases = {
            "<sound model='ich6'/>": "live attach of device 'sound' is not supported",
            "<controller type='usb' index='4'/>": "'usb' controller cannot be hot plugged.",
            "<input type='mouse' bus='ps2'/>": "input device on bus 'ps2' cannot be hot plugged.",
            self.disk("one", "vda"): "target 'vda' duplicated for disk sources",
            self.disk("nobody", "vdc"): "Cannot access storage file",
            "<filesystem><source dir='/'/><target dir='x'/></filesystem>": "only virtiofs filesystems",
        }
        for document, text in cases.items():
            error = await self.refused("domain_attach_device_flags", document, LIVE)
            self.assertIn(text, str(error))
        self.assertEqual(self.monitor.commands, [])
        cases = {
            self.disk("two", "vdz"): "disk vdz not found",
            self.medium("old"): "disk device type 'cdrom' cannot be detached",
            "<controller type='sata' index='0'/>": "'sata' controller cannot be hot unplugged.",
            "<rng model='virtio'><backend model='random'>/x</backend></rng>": "not present in domain",
        }
        for document, text in cases.items():
            error = await self.refused("domain_detach_device_flags", document, LIVE)
            self.assertIn(text, str(error))
        cases = {
            self.disk("two", "vda"): "disk source can be changed only in removable drives",
            self.disk("one", "vda", "<serial>x</serial>"): "cannot modify field 'serial' of the disk",
            "<rng model='virtio'><backend model='random'>/x</backend></rng>": "live update of device 'rng'",
        }
        for document, text in cases.items():
            error = await self.refused("domain_update_device_flags", document, LIVE)
            self.assertIn(text, str(error))


def reactor_later(waiting: Deferred[None]) -> None:
    """Fire something when the reactor has had a turn: threads answer through it."""
    from twisted.internet import reactor

    later: Any = reactor
    later.callLater(0, waiting.callback, None)
