"""A daemon that dies at any step of a change of devices: what the next one makes of QEMU and a definition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from remotevirt.drivers.qemu.command import images_of, node_of
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.reconciling import reconcile
from remotevirt.drivers.qemu.reviving import _details
from remotevirt.drivers.qemu.unplugging import _removable
from remotevirt.drivers.qemu.watching import heard
from remotevirt.stubs import constants as c
from tests.drivers.hanging import quiet
from tests.drivers.qemu.pretending import FakeMonitor, refusal
from tests.drivers.qemu.test_hotplug import CONFIG, LIVE, HotplugBase, reactor_later

CDROM = "sata0-0-0"


class PlayedQemu(FakeMonitor):
    """A QEMU that knows its nodes, its devices, and what is in its drive.

    Attributes:
        nodes: block nodes, and those below each.
        devices: by id, the node that each is on.
        inside: the node in the drive.
        linked: whether the network card has its cable.
        dies_at: the daemon dies at this command, counted from 1; 0 for never.
        done_before: QEMU runs that command before.
        dead: it did, and nobody hears QEMU any more.
        keeps: devices that the guest does not let go of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, str | None] = {}
        self.devices: dict[str, str | None] = {}
        self.inside: str | None = None
        self.linked = True
        self.dies_at = 0
        self.done_before = False
        self.dead = False
        self.keeps: set[str] = set()
        self.tell: Any = None

    def execute(
        self, command: str, arguments: Any = None, *, timeout: float | None = None, files: Any = ()
    ) -> Deferred[Any]:
        """Run a command; a daemon that has died gets no answer."""
        if self.dead:
            return Deferred()
        self.asked.append((command, dict(arguments or {})))
        dies = len(self.asked) == self.dies_at
        if dies:
            self.dead = True
        if dies and not self.done_before:
            return Deferred()
        try:
            answer = self._run(command, arguments or {})
        except Exception as error:
            return Deferred() if dies else fail(error)
        return Deferred() if dies else succeed(answer)

    def _run(self, command: str, arguments: Mapping[str, Any]) -> Any:
        method = getattr(self, command.replace("-", "_"), None)
        return {} if method is None else method(arguments)

    def blockdev_add(self, arguments: Mapping[str, Any]) -> Any:
        """Add a node."""
        name = arguments["node-name"]
        if name in self.nodes:
            raise refusal()
        below = arguments.get("file")
        self.nodes[name] = below if isinstance(below, str) else None
        return {}

    def blockdev_del(self, arguments: Mapping[str, Any]) -> Any:
        """Remove a node that nothing stands on."""
        name = arguments["node-name"]
        used = {*self.nodes.values(), *self.devices.values(), self.inside}
        if name not in self.nodes or name in used:
            raise refusal()
        del self.nodes[name]
        return {}

    def device_add(self, arguments: Mapping[str, Any]) -> Any:
        """Add a device."""
        if arguments["id"] in self.devices:
            raise refusal()
        self.devices[arguments["id"]] = arguments.get("drive")
        return {}

    def device_del(self, arguments: Mapping[str, Any]) -> Any:
        """Have the guest let go of a device."""
        device = arguments["id"]
        if device not in self.devices:
            raise refusal("DeviceNotFound")
        if device not in self.keeps:
            self.let_go(device)
        return {}

    def let_go(self, device: str) -> None:
        """Let go of a device."""
        del self.devices[device]
        if not self.dead:
            self.tell("DEVICE_DELETED", device=device, path=f"/machine/peripheral/{device}")

    def qom_list(self, arguments: Mapping[str, Any]) -> Any:
        """Return the devices."""
        return [{"name": "type", "type": "string"}, *({"name": one} for one in self.devices)]

    def query_block(self, arguments: Mapping[str, Any]) -> Any:
        """Return what is in the drive."""
        inserted = {} if self.inside is None else {"inserted": {"node-name": self.inside}}
        return [{"qdev": CDROM, **inserted}]

    def blockdev_open_tray(self, arguments: Mapping[str, Any]) -> Any:
        """Open the tray."""
        if not self.dead:
            self.tell("DEVICE_TRAY_MOVED", id=arguments["id"], **{"tray-open": True})
        return {}

    def blockdev_remove_medium(self, arguments: Mapping[str, Any]) -> Any:
        """Take the medium out."""
        self.inside = None
        return {}

    def blockdev_insert_medium(self, arguments: Mapping[str, Any]) -> Any:
        """Put a medium in."""
        if self.inside is not None or arguments["node-name"] not in self.nodes:
            raise refusal()
        self.inside = arguments["node-name"]
        return {}

    def set_link(self, arguments: Mapping[str, Any]) -> Any:
        """Put the cable in, or pull it."""
        self.linked = arguments["up"]
        return {}


class ReconcilingTests(HotplugBase):
    """Each change, broken off at each of its commands, before and after QEMU has run that."""

    async def begin_anew(self, dies_at: int, done_before: bool) -> None:
        """A guest as it has started, in a driver of its own."""
        HotplugBase.setUp(self)
        self.qemu = PlayedQemu()
        self.qemu.tell = self.tell
        monitor: Any = self.qemu
        self.guest.monitor = monitor
        for disk in self.record.live.model.devices.disks:
            for image in images_of(disk):
                self.qemu.nodes |= {image.storage: None, image.node: image.storage}
            if disk.dev == "sda":
                self.qemu.inside = node_of(disk)
        self.qemu.devices = dict.fromkeys(await _removable(self.guest))
        self.qemu.devices["virtio-disk0"] = node_of(self.record.live.model.devices.disks[0])
        self.qemu.dies_at, self.qemu.done_before = dies_at, done_before

    async def die(self, name: str, *arguments: Any) -> bool:
        """Make a call whose daemon dies in the middle; return whether it did."""
        self.begin(name, *arguments).addErrback(lambda _: None)
        for _ in range(200):
            turn: Deferred[None] = Deferred()
            reactor_later(turn)
            await turn
            await quiet()
            if self.qemu.dead or self.record.job.owner is None:
                break
        return self.qemu.dead

    async def revive(self) -> None:
        """Start another daemon: what was kept is read, the rest is forgotten."""
        details = _details(json.dumps(attrs.asdict(self.guest.details)))
        self.guest = Guest(self.world, self.record, self.folder, details)
        self.guest.started = True
        self.qemu.dead, self.qemu.dies_at = False, 0
        monitor: Any = self.qemu
        self.guest.monitor = monitor
        self.record.guest = self.guest
        self.qemu.tell = lambda event, **data: heard(self.guest, event, data)
        working = Deferred.fromCoroutine(reconcile(self.guest))
        while not working.called:
            turn: Deferred[None] = Deferred()
            reactor_later(turn)
            await turn
            self.clock.advance(0.1)
        await working

    def check(self, about: Any) -> None:
        """Check that QEMU and the definition agree."""
        disks = self.record.live.model.devices.disks
        wanted = {one for disk in disks for image in images_of(disk) for one in (image.node, image.storage)}
        self.assertEqual(wanted, set(self.qemu.nodes), about)
        self.assertEqual({disk.info.alias for disk in disks}, self.disks(), about)
        drive = next(disk for disk in disks if disk.dev == "sda")
        self.assertEqual(node_of(drive), self.qemu.inside, about)
        (card,) = self.record.live.model.devices.interfaces
        self.assertEqual(card.link != "down", self.qemu.linked, about)
        self.assertEqual([], self.guest.details.making)

    def disks(self) -> set[str]:
        """The disks that QEMU has."""
        return {one for one in self.qemu.devices if "disk" in one or one.startswith("sata")}

    async def at_each_step(self, name: str, *arguments: Any, first: Any = None) -> int:
        """Break a change off at each step; return how many there are."""
        for done_before in (False, True):
            steps = 0
            while True:
                steps += 1
                await self.begin_anew(0, done_before)
                if first is not None:
                    await self.begin(*first)
                    self.qemu.asked.clear()
                self.qemu.dies_at = steps
                before = self.targets()
                if not await self.die(name, *arguments):
                    break
                await self.revive()
                self.check((name, steps, done_before))
                self.assertIn(len(self.targets()), (len(before), len(before) - 1))
                self.assertEqual({}, self.guest.details.leftover)
        return steps - 1

    async def test_attach(self) -> None:
        """A disk whose attachment nobody was told of is not there."""
        steps = await self.at_each_step("domain_attach_device_flags", self.two, LIVE | CONFIG)
        self.assertGreaterEqual(steps, 3)
        self.assertEqual(["vda", "vdb", "sda"], self.targets())

    async def test_detach(self) -> None:
        """A disk that QEMU has no more goes from the definition, and that is told."""
        first = ("domain_attach_device_flags", self.two, LIVE | CONFIG)
        steps = await self.at_each_step("domain_detach_device_flags", self.two, LIVE, first=first)
        self.assertGreaterEqual(steps, 2)
        self.assertEqual(["vda", "sda"], self.targets())
        self.assertIn(c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self.ids())

    async def test_medium(self) -> None:
        """A drive has the medium that its definition says, and nothing of another one stays."""
        steps = await self.at_each_step("domain_update_device_flags", self.medium("new"), LIVE)
        self.assertGreaterEqual(steps, 6)

    async def test_link(self) -> None:
        """A cable is as the definition says."""
        card = (
            "<interface type='user'><mac address='52:54:00:0a:0b:0c'/><model type='virtio'/>"
            "<link state='down'/></interface>"
        )
        self.assertEqual(1, await self.at_each_step("domain_update_device_flags", card, LIVE))

    async def test_guest_that_keeps_it(self) -> None:
        """What is behind a device that the guest keeps goes when the guest lets go, whenever that is."""
        await self.begin_anew(0, done_before=True)
        self.qemu.dies_at = 0
        await self.begin("domain_attach_device_flags", self.two, LIVE)
        added = [command for command, _ in self.qemu.asked].index("device_add") + 1
        await self.begin_anew(added, done_before=True)
        self.assertTrue(await self.die("domain_attach_device_flags", self.two, LIVE))
        self.qemu.keeps.add("virtio-disk1")
        await self.revive()
        self.assertEqual(["vda", "sda"], self.targets())
        self.assertEqual(["virtio-disk1"], list(self.guest.details.leftover))
        self.flushLoggedErrors()
        await self.revive()
        self.qemu.let_go("virtio-disk1")
        await quiet()
        self.check("later")
        self.assertEqual({}, self.guest.details.leftover)

    async def test_gone_by_itself(self) -> None:
        """A device that the guest has let go of while nobody looked is told to be gone."""
        await self.begin_anew(0, done_before=False)
        self.qemu.dead = True
        self.qemu.let_go("net0")
        self.events.clear()
        await self.revive()
        self.assertEqual([], self.record.live.model.devices.interfaces)
        self.assertEqual([c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED], self.ids())
