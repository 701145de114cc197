"""Clients that go in the middle, guests that end in the middle, and a QEMU that answers nonsense."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from remotevirt.drivers.disk_threads import busy
from remotevirt.drivers.qemu import saving
from remotevirt.drivers.qemu.characters import CHANGED, Character, find_characters
from remotevirt.drivers.qemu.configuring import find_threads
from remotevirt.drivers.qemu.savefile import finish_image, start_image
from remotevirt.drivers.qemu.saving import managed_path
from remotevirt.drivers.qemu.stopping import gone
from remotevirt.drivers.qemu.unplugging import gone_meanwhile
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.typed_params import ullong
from tests.drivers.qemu.test_hotplug import CONFIG, LIVE, HotplugBase, reactor_later, refusal

CONNECTED = c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
DISCONNECTED = c.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED


class VanishingBase(HotplugBase):
    """What both need."""

    async def asked_nothing(self) -> None:
        """Let the reactor have a turn."""
        waiting: Deferred[None] = Deferred()
        reactor_later(waiting)
        await waiting

    async def asked(self, command: str) -> None:
        """Wait until QEMU is asked something."""
        while command not in self.monitor.commands:
            waiting: Deferred[None] = Deferred()
            reactor_later(waiting)
            await waiting


class VanishingTests(VanishingBase):
    """Whatever happens in the middle of a change, QEMU and the definitions agree in the end."""

    async def test_client_goes_while_a_device_comes(self) -> None:
        """QEMU has the command, so the device comes, and everybody else hears of it."""
        self.monitor.silent["device_add"] = Deferred()
        calling = self.begin("domain_attach_device_flags", self.two, LIVE | CONFIG)
        await self.asked("device_add")
        calling.cancel()
        await self.assertFailure(calling, CancelledError)
        self.assertIsNotNone(self.record.job.owner)
        self.monitor.silent.pop("device_add").callback({})
        for live in (True, False):
            self.assertEqual(self.targets(live=live), ["vda", "vdb", "sda"])
        self.assertIn(c.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, self.ids())
        self.assertIsNone(self.record.job.owner)

    async def test_client_goes_and_qemu_refuses(self) -> None:
        """Nothing stays of a device that QEMU does not take, though nobody hears of that."""
        self.monitor.silent["device_add"] = Deferred()
        calling = self.begin("domain_attach_device_flags", self.two, LIVE)
        await self.asked("device_add")
        calling.cancel()
        await self.assertFailure(calling, CancelledError)
        self.monitor.silent.pop("device_add").errback(refusal())
        self.assertEqual(self.monitor.commands[-2:], ["blockdev-del", "blockdev-del"])
        self.assertEqual(self.targets(), ["vda", "sda"])
        self.assertIsNone(self.record.job.owner)

    async def test_client_goes_while_a_device_goes(self) -> None:
        """A device that has gone from QEMU goes from the definition, whoever waits for that."""
        await self.begin("domain_attach_device_flags", self.two, LIVE)
        self.monitor.silent["blockdev-del"] = Deferred()
        calling = self.begin("domain_detach_device_flags", self.two, LIVE)
        self.tell("DEVICE_DELETED", device="virtio-disk1")
        await self.asked("blockdev-del")
        calling.cancel()
        await self.assertFailure(calling, CancelledError)
        self.monitor.silent.pop("blockdev-del").callback({})
        self.assertEqual(self.targets(), ["vda", "sda"])
        self.assertEqual(self.guest.details.unplugging, [])
        self.assertIn(c.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self.ids())

    async def test_client_goes_while_limits_change(self) -> None:
        """What QEMU is told of a disk, its definition says as well."""
        self.monitor.silent["block_set_io_throttle"] = Deferred()
        limit = ullong(c.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC, 9)
        calling = self.begin("domain_set_block_io_tune", "vda", [limit], LIVE)
        await self.asked("block_set_io_throttle")
        calling.cancel()
        await self.assertFailure(calling, CancelledError)
        self.monitor.silent.pop("block_set_io_throttle").callback({})
        self.assertIn("<total_iops_sec>9</total_iops_sec>", self.record.live.format(0, 1))
        self.assertIsNone(self.record.job.owner)

    async def test_texts_that_are_none(self) -> None:
        """Half a pair of surrogates is no text, whoever says it: a client, or QEMU."""
        for command in ('{"execute": "\\ud800"}', '{"execute": "x", "\\ud800": 1}', '"\\ud800"'):
            error = await self.refused("qemu_domain_monitor_command", command, 0)
            self.assertIn("cannot parse json", str(error), command)
        self.assertEqual(self.monitor.commands, [])
        self.monitor.answers["human-monitor-command"] = "a\0b"
        self.assertEqual(await self.begin("qemu_domain_monitor_command", "info", 1), "a\ufffdb")

    async def test_answers_that_are_none(self) -> None:
        """A QEMU that answers nonsense cannot make the daemon believe, or stumble over, anything."""
        nonsense: list[Any] = [
            7,
            None,
            [],
            {"name": []},
            {"fdset-id": 1, "fds": [3]},
            {"cpu-index": "x"},
            {"label": 1},
        ]
        answers: list[Any] = [nonsense, 7, {}, "x"]
        for answer in answers:
            for command in ("qom-list", "query-fdsets", "query-chardev", "query-cpus-fast"):
                self.monitor.answers[command] = answer
            self.assertEqual(await find_characters(self.guest), {})
            self.assertEqual(await find_threads(self.guest), {})
        self.guest.details.unplugging = ["virtio-disk0"]
        await gone_meanwhile(self.guest)
        self.assertEqual(self.targets(), ["vda", "sda"])

    async def test_terminals(self) -> None:
        """Where a terminal is goes into the definition, which must be readable after a restart."""
        for place in ("3\n", "3\0", "../sda", 99 * "9"):
            name = f"pty:/dev/pts/{place}"
            self.monitor.answers["query-chardev"] = [{"label": "charserial0", "filename": name}]
            found = await find_characters(self.guest)
            self.assertEqual(found, {"charserial0": Character(None, None)}, name)
        self.monitor.answers["query-chardev"] = [{"label": "charserial0", "filename": "pty:/dev/pts/3"}]
        found = await find_characters(self.guest)
        self.assertEqual(found, {"charserial0": Character("/dev/pts/3", None)})

    async def test_channels(self) -> None:
        """Which channels a guest has open is told once for each change; nothing else has a state."""
        agent = "<channel type='null'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        await self.begin("domain_attach_device_flags", agent, LIVE)
        await self.begin("domain_attach_device_flags", agent.replace("org.qemu.guest_agent.0", "other"), LIVE)
        self.events.clear()
        for alias, is_open in (("channel0", "x"), ("virtio-disk0", True), ("nobody", True), (7, True)):
            self.tell("VSERPORT_CHANGE", id=alias, open=is_open)
        self.assertNotIn("state=", self.record.live.format(0, 1))
        for alias, is_open in (
            ("channel0", True),
            ("channel1", True),
            ("channel0", True),
            ("channel0", False),
        ):
            self.tell("VSERPORT_CHANGE", id=alias, open=is_open)
        self.assertEqual(
            [(event.id, event.msg.state, event.msg.reason) for event in self.events],
            [(c.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, state, CHANGED) for state in (CONNECTED, DISCONNECTED)],
        )
        live = self.record.live.format(0, 1)
        self.assertIn("<target type='virtio' name='org.qemu.guest_agent.0' state='disconnected'/>", live)
        self.assertIn("<target type='virtio' name='other' state='connected'/>", live)

    async def test_quick_channel(self) -> None:
        """A channel that the guest has opened before QEMU says that it is there is open."""
        self.monitor.answers["query-chardev"] = [
            {"label": "charchannel0", "filename": "null", "frontend-open": True},
            {"label": "charchannel1", "filename": "null", "frontend-open": False},
        ]
        for name in ("org.qemu.guest_agent.0", "other"):
            channel = f"<channel type='null'><target type='virtio' name='{name}'/></channel>"
            await self.begin("domain_attach_device_flags", channel, LIVE)
        added, agent = c.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, c.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE
        self.assertEqual(self.ids(), [added, agent, added])
        live = self.record.live.format(0, 1)
        self.assertIn("<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>", live)
        self.assertIn("<target type='virtio' name='other'/>", live)

    async def test_end_at_each_step(self) -> None:
        """Whichever command is the last that QEMU gets: the call ends, and nothing goes on or stays open."""
        short = tempfile.mkdtemp()  # the path of a socket has at most 107 bytes
        self.addCleanup(shutil.rmtree, short)
        channel = (
            f"<channel type='unix'><source mode='bind' path='{short}/line'/>"
            "<target type='virtio' name='org.example'/></channel>"
        )
        steps = 0
        await self.asked_nothing()
        before = len(os.listdir("/proc/self/fd"))
        for name, document in (
            ("domain_attach_device_flags", self.two),
            ("domain_attach_device_flags", channel),
            ("domain_update_device_flags", self.medium("new")),
            ("domain_detach_device_flags", self.disk("one", "vda")),
        ):
            for last in range(1, 20):
                self.fresh()
                self.monitor.react["blockdev-open-tray"] = lambda _: self.tell(
                    "DEVICE_TRAY_MOVED", id="sata0-0-0", **{"tray-open": True}
                )
                self.monitor.react["device_del"] = lambda _: self.clock.callLater(
                    0, self.tell, "DEVICE_DELETED", device="virtio-disk0"
                )
                self.monitor.last = last
                self.monitor.at_last = partial(gone, self.guest)
                calling = self.begin(name, document, LIVE | CONFIG)
                while not calling.called:
                    await self.asked_nothing()
                    self.clock.advance(0)
                if len(self.monitor.asked) < last:
                    await calling
                    break
                try:
                    await calling  # it has done its part, if only what is left of it was to go
                except VirError:
                    steps += 1
                self.assertIsNone(self.record.job.owner)
                self.assertIsNone(self.record.guest)
                self.assertEqual([], [one for one in self.clock.getDelayedCalls() if one.active()])
                if name == "domain_attach_device_flags":
                    self.assertEqual(["vda", "sda"], self.targets(live=False))
        self.assertGreater(steps, 10)
        await self.asked_nothing()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))

    def fresh(self) -> None:
        """Have another guest, in another world."""
        self.setUp()


class SaveImageTests(VanishingBase):
    """Files of saved guests, whose client goes while a thread is at work."""

    async def test_document_is_changed(self) -> None:
        """A descriptor is closed when the thread is done with it: its number may be another's by then."""
        path = f"{self.folder}/image"
        xml = self.record.live.format(c.VIR_DOMAIN_XML_SECURE, 0)
        file = start_image(path, xml, running=True, over=True)
        finish_image(file, path)
        os.close(file)
        await self.asked_nothing()
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        seen: list[str] = []

        def rewrite(file: int, *args: Any, **kwargs: Any) -> None:
            entered.set()
            go_on.wait(30)
            seen.append(os.readlink(f"/proc/self/fd/{file}"))

        self.patch(saving, "rewrite_image", rewrite)
        before = len(os.listdir("/proc/self/fd"))
        calling = Deferred.fromCoroutine(self.calls.domain_save_image_define_xml(path, xml, 0))
        await deferToThread(entered.wait, 30)
        calling.cancel()
        go_on.set()
        await self.assertFailure(calling, CancelledError)
        self.assertEqual(seen, [path])
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))

    async def test_undefined_while_saved(self) -> None:
        """A guest that is undefined while it is saved goes on, and leaves no memory that nobody could use."""
        folder = self.world.settings.save
        folder.mkdir(parents=True)
        self.monitor.silent["query-migrate"] = Deferred()
        calling = self.begin("domain_managed_save", 0)
        await self.asked("query-migrate")
        self.assertEqual(1, len(os.listdir(folder)))
        await self.begin("domain_undefine_flags", c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        self.monitor.silent.pop("query-migrate").callback({"status": "completed"})
        await self.assertFailure(calling, OperationInvalid)
        self.assertEqual([], os.listdir(folder))
        self.assertFalse(self.record.managed_save)
        self.assertEqual("cont", self.monitor.commands[-1])

    async def test_removed_while_restored(self) -> None:
        """A managed save that was removed while its guest was starting does not count when that fails."""
        path = managed_path(self.world, self.record)
        path.parent.mkdir(parents=True)
        xml = self.record.live.format(c.VIR_DOMAIN_XML_SECURE, 0)
        file = start_image(str(path), xml, running=True, over=True)
        finish_image(file, str(path))
        os.close(file)
        self.record.guest = None
        self.world.stop(self.record, c.VIR_DOMAIN_SHUTOFF_SAVED)
        self.world.set_managed_save(self.record, True)
        started: Deferred[None] = Deferred()

        async def start(*args: Any, **kwargs: Any) -> None:
            await started

        self.patch(saving, "start", start)
        starting = Deferred.fromCoroutine(
            saving.restore_managed(self.world, self.record, paused=False, autodestroy=False)
        )
        while busy():
            await self.asked_nothing()
        await saving.drop_managed(self.world, self.record)
        started.errback(OperationInvalid("no"))
        await self.assertFailure(starting, OperationInvalid)
        self.assertFalse(self.record.managed_save)
        self.assertFalse(path.exists())
