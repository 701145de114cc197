"""The QEMU driver when something dies, hangs or lies: the daemon, QEMU, a client, the disk."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.interop.peers import Running
from tests.interop.qemu_session import GuestTestCase, until, uuid_of

reactor: Any = _reactor

SEED = 20261127

ENVIRONMENT = {b"", b"LC_ALL", b"PATH", b"HOME", b"TMPDIR"} | {
    b"XDG_%s_HOME" % kind for kind in (b"DATA", b"CACHE", b"CONFIG")
}
"""Variables that a guest's QEMU may have."""


MAC = "52:54:00:00:00:09"
CHANGING = """
<controller type='scsi' index='0' model='virtio-scsi'/>
<disk type='file'><source file='{folder}/one'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='{folder}/old'/><target dev='sda' bus='sata'/></disk>
<interface type='user'><mac address='{mac}'/><model type='virtio'/></interface>
"""
DISK = "<disk type='file'><source file='{folder}/two'/><target dev='sdb' bus='scsi'/></disk>"
MEDIUM = (
    "<disk type='file' device='cdrom'><source file='{folder}/{name}'/><target dev='sda' bus='sata'/></disk>"
)


class DyingTests(GuestTestCase):
    """The daemon is killed."""

    async def test_any_moment(self) -> None:
        """At whatever moment of a guest's life: what is found fits together, and nothing is left behind."""
        await self.begin()
        chance = random.Random(SEED)
        image = self.daemon.directory / "disk.img"
        image.write_bytes(bytes(1 << 20))
        os.chown(image, 0, 0)
        disk = f"<disk type='file'><source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
        await self.virsh("define", str(self.empty(devices=disk)))
        saved = self.daemon.directory / "saved"
        for words in MOMENTS:
            if words[0] in ("start", "create"):
                await self.tried("destroy", "empty")
                await self.tried("managedsave-remove", "empty")
            elif "shut off" in await self.state("empty"):
                await self.virsh("start", "empty")
            client = Running(["virsh", "-c", self.daemon.guests_uri])
            client.type(" ".join(words).replace("FILE", str(saved)))
            await deferLater(reactor, chance.uniform(0, 0.6))
            await self.again()
            client.stop()
            state = await self.settled("empty")
            qemus = self.daemon.qemus()
            if state.startswith("shut off"):
                self.assertEqual([], qemus, (words, state))
                self.assertEqual(0, image.stat().st_uid, words)
                await self.nothing_left()
            else:
                self.assertIn(state.partition(" ")[0], ("running", "paused"), words)
                self.assertEqual(1, len(qemus), (words, state))
                has = await self.virsh("dominfo", "empty")
                self.assertIn("Managed save:   no", has, words)
        await self.tried("destroy", "empty")
        await self.nothing_left()
        self.assertEqual(0, image.stat().st_uid)

    async def settled(self, name: str) -> str:
        """The state when the daemon has talked to the guest's QEMU."""
        found = await self.tried("reset", name)
        if found.status:
            self.assertIn("domain is not running", found.err)
        return await self.state(name)

    async def test_devices(self) -> None:
        """Daemon or QEMU die while devices change: QEMU, the definition and the owners of files agree."""
        await self.begin()
        chance, folder = random.Random(SEED + 1), self.daemon.directory
        for name in ("one", "two", "old", "new"):
            (folder / name).write_bytes(bytes(1 << 20))
            (folder / name).chmod(0o600)
        await self.virsh("define", str(self.empty(devices=CHANGING.format(folder=folder, mac=MAC))))
        disk = self.document("disk", DISK.format(folder=folder))
        media = {
            name: self.document(name, MEDIUM.format(folder=folder, name=name)) for name in ("old", "new")
        }
        changes = [f"attach-device empty {disk} --live", f"detach-device empty {disk} --live"]
        changes += [f"update-device empty {media[name]} --live" for name in ("new", "old")]
        changes += [f"domif-setlink empty {MAC} {state}" for state in ("down", "up")]
        await self.virsh("start", "empty")
        for number in range(18):
            words = changes[number % len(changes)]
            client = Running(["virsh", "-c", self.daemon.guests_uri])
            client.type(words)
            await deferLater(reactor, chance.uniform(0.02, 0.3))
            if number % 9 == 8:
                for pid in self.daemon.qemus():
                    os.kill(pid, signal.SIGKILL)
                await self.state_is("shut off (crashed)", "empty")
                await self.virsh("start", "empty")
            await self.again()
            client.stop()
            await self.settled("empty")
            await self.agrees(words)
        await self.virsh("destroy", "empty")
        await self.nothing_left()
        for name in ("one", "two", "old", "new"):
            self.assertEqual(os.geteuid(), (folder / name).stat().st_uid, name)

    async def asked(self, command: str, **arguments: Any) -> Any:
        """What QEMU answers."""
        text = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(await self.virsh("qemu-monitor-command", "empty", text))["return"]

    async def agrees(self, words: str) -> None:
        """Check that QEMU and the definition agree, and that just the files of the latter are the guest's."""
        document = ElementTree.fromstring(await self.virsh("dumpxml", "empty"))
        there = {one["name"] for one in await self.asked("qom-list", path="/machine/peripheral")}
        aliases = {str(one.find("alias").get("name")) for one in document.iterfind("devices/disk")}
        found = {one for one in there if one.startswith(("scsi0-", "sata0-", "virtio-disk"))}
        self.assertEqual(aliases, found, words)
        indexes = {one.get("index") for one in document.iter("source") if one.get("index")}
        nodes = {str(one["node-name"]) for one in await self.asked("query-named-block-nodes", flat=True)}
        numbers = {one.split("-")[1] for one in nodes if one.startswith("libvirt-")}
        self.assertEqual(indexes, numbers, words)
        named = {Path(one.get("file", "")).name for one in document.iter("source")}
        for name in ("one", "two", "old", "new"):
            owner = (self.daemon.directory / name).stat().st_uid
            if os.geteuid() == 0:
                self.assertEqual(name in named, owner != 0, (words, name))
        (drive,) = [one for one in await self.asked("query-block") if one.get("qdev") == "sata0-0-0"]
        wanted = next(
            one.find("source") for one in document.iterfind("devices/disk") if one.get("device") == "cdrom"
        )
        node = "" if wanted is None else f"libvirt-{wanted.get('index')}-"
        self.assertTrue(drive.get("inserted", {}).get("node-name", "").startswith(node), (words, drive))

    async def test_files(self) -> None:
        """The daemon, or QEMU too, dies while memory goes into a file: it is complete, or it is gone."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        file = self.daemon.directory / "file"
        for words, both in (
            ("save empty", False),
            ("save empty", True),
            ("dump empty", False),
            ("dump empty --memory-only", False),
            ("dump empty --memory-only --live", True),
            ("managedsave empty", False),
        ):
            await self.tried("start", "empty")
            path = file
            if words.startswith("managed"):
                path = self.daemon.state / "qemu" / "save" / f"{uuid_of('empty').hex}.save"
            client = Running(["virsh", "-c", self.daemon.guests_uri])
            command, name, *options = words.split()
            client.type(" ".join([command, name, *([] if path is not file else [str(file)]), *options]))
            while not path.exists():
                await deferLater(reactor, 0.001)
            await deferToThread(self.daemon.kill)
            if both:
                for pid in self.daemon.qemus():
                    os.kill(pid, signal.SIGKILL)
                await until(lambda: not self.daemon.qemus())
            await deferToThread(self.daemon.start)
            client.stop()
            state = await self.settled("empty")
            if state.startswith("running"):
                await until(lambda path=path: not path.exists() or _is_dump(path))
                path.unlink(missing_ok=True)
                self.assertIn("None", await self.virsh("domjobinfo", "empty"))
            elif state == "shut off (crashed)":
                self.assertTrue(both, words)
                await until(lambda path=path: not path.exists())
            else:
                self.assertEqual("shut off (saved)", state, words)
                self.assertTrue(path.exists())
                path.unlink() if path is file else await self.virsh("managedsave-remove", "empty")
        await self.tried("destroy", "empty")
        await self.nothing_left()

    async def test_both(self) -> None:
        """QEMU dies while the daemon is away: off, crashed; and nobody else's process is taken for it."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        await self.virsh("create", str(self.empty("brief")))
        await self.virsh("start", "empty")
        await deferToThread(self.daemon.kill)
        for pid in self.daemon.qemus():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not self.daemon.qemus())
        await deferToThread(self.daemon.start)
        self.assertEqual("shut off (crashed)", await self.state("empty"))
        self.assertIn("failed to get domain", await self.refused("domstate", "brief"))
        await self.nothing_left()

    async def descriptors(self) -> int:
        """How many descriptors the daemon has, but for those that it has for a moment."""
        found = []
        for _ in range(10):
            await deferLater(reactor, 0.05)
            found.append(len(os.listdir(f"/proc/{self.daemon.pid}/fd")))
        return min(found)

    async def test_leaks(self) -> None:
        """Guests come and go, and the daemon has as many descriptors as before."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        counts = []
        for _ in range(4):
            await self.virsh(
                stdin="start empty\nsuspend empty\nmanagedsave empty\nstart empty\ndestroy empty\n"
            )
            await self.nothing_left()
            counts.append(await self.descriptors())
        self.assertEqual(counts[1], counts[-1], counts)
        zombies = [
            entry.name
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _parent_and_state(entry) == (self.daemon.pid, "Z")
        ]
        self.assertEqual([], zombies)


class HangingTests(GuestTestCase):
    """QEMU does not answer."""

    async def test_wedged(self) -> None:
        """Only calls that need it wait, and not for ever; it may be destroyed, and it may recover."""
        await self.begin("monitor-timeout=2")
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        pid = self.qemu()
        os.kill(pid, signal.SIGSTOP)
        waiting = self.refused("suspend", "empty")
        for words in (["list"], ["dominfo", "empty"], ["dumpxml", "empty"], ["domstate", "empty"]):
            began = reactor.seconds()
            await self.virsh(*words)
            self.assertLess(reactor.seconds() - began, 2, words)
        self.assertIn("Timed out during operation: QEMU did not answer to 'stop' in 2 seconds", await waiting)
        os.kill(pid, signal.SIGCONT)
        await self.state_is("paused (user)", "empty")
        await self.virsh("resume", "empty")
        os.kill(pid, signal.SIGSTOP)
        began = reactor.seconds()
        await self.virsh("destroy", "empty")
        self.assertLess(reactor.seconds() - began, 5)
        await self.nothing_left()

    async def test_wedged_at_start(self) -> None:
        """A daemon that starts serves before such a guest answers, and has it back when it does."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        pid = self.qemu()
        os.kill(pid, signal.SIGSTOP)
        await self.again()
        self.assertEqual("running (booted)", await self.state("empty"))
        os.kill(pid, signal.SIGCONT)
        await self.virsh("suspend", "empty")
        self.assertEqual("paused (user)", await self.state("empty"))


class FullDiskTests(GuestTestCase):
    """What cannot be kept."""

    async def test_full(self) -> None:
        """What cannot be kept is refused, or if it has happened, found out by the next daemon."""
        self.daemon.driver = "tests.interop.full_store:FullQemuDriver"
        await self.begin()
        full = self.daemon.state / "full"
        await self.virsh("define", str(self.empty()))
        full.touch()
        said = "cannot keep this change: the disk is full"
        self.assertIn(said, await self.refused("start", "empty"))
        self.assertIn(said, await self.refused("create", str(self.empty("brief"))))
        self.assertEqual("shut off (unknown)", await self.state("empty"))
        self.assertIn("failed to get domain", await self.refused("domstate", "brief"))
        await self.nothing_left()
        full.unlink()
        await self.virsh("start", "empty")
        full.touch()
        self.assertIn(said, await self.refused("managedsave", "empty"))
        self.assertEqual("running (save canceled)", await self.state("empty"))
        await self.virsh("destroy", "empty")
        self.assertEqual("shut off (destroyed)", await self.state("empty"))
        await self.nothing_left()
        full.unlink()
        await self.again()
        self.assertEqual("shut off (crashed)", await self.state("empty"))
        await self.virsh("start", "empty")


class ConfinedTests(GuestTestCase):
    """What a guest's QEMU is and has."""

    async def test_process(self) -> None:
        """It is an ordinary user without a way up, in a folder of its own, with nothing of the daemon's."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        proc = Path(f"/proc/{self.qemu()}")
        status = dict(
            line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line
        )
        self.assertEqual("1", status["NoNewPrivs"])
        self.assertEqual("2", status["Seccomp"])
        self.assertEqual("0077", status["Umask"])
        self.assertEqual("0" * 16, status["CapEff"].strip())
        if os.geteuid() == 0:
            self.assertEqual(1, len(set(status["Uid"].split())))
            self.assertNotEqual("0", status["Uid"].split()[0])
            self.assertNotIn("0", status["Groups"].split())
        folder = self.daemon.state / "qemu" / "run" / uuid_of("empty").hex
        self.assertEqual(0o700, folder.stat().st_mode & 0o777)
        self.assertEqual(status["Uid"].split()[0], str(folder.stat().st_uid))
        self.assertEqual(str(folder), os.readlink(proc / "cwd"))
        monitors = self.daemon.state / "qemu" / "monitor"
        self.assertEqual((os.geteuid(), 0o700), (monitors.stat().st_uid, monitors.stat().st_mode & 0o777))
        self.assertEqual([f"{folder.name}.sock"], os.listdir(monitors))
        names = {word.partition(b"=")[0] for word in (proc / "environ").read_bytes().split(b"\0")}
        self.assertLessEqual(names, ENVIRONMENT)
        ours = _things(Path(f"/proc/{self.daemon.pid}"))
        theirs = _things(proc)
        self.assertEqual(set(), {thing for thing in ours & theirs if thing.startswith(("socket:", "pipe:"))})
        files = {thing for thing in theirs if thing.startswith("/") and not thing.startswith("/memfd")}
        self.assertLessEqual({Path(thing).suffix for thing in files}, {".log", ".pid"})

    async def test_images(self) -> None:
        """With ``images=`` guests have what is below it, and nothing else, by whatever name."""
        images = self.daemon.directory / "images"
        images.mkdir(mode=0o755)
        await self.begin(f"images={images}")
        (images / "link").symlink_to("/etc/passwd")
        for path in ("/etc/passwd", f"{images}/../log", f"{images}/link"):
            disk = f"<disk type='file'><source file='{path}'/><target dev='vda'/></disk>"
            await self.virsh("define", str(self.empty(devices=disk)))
            said = await self.refused("start", "empty")
            self.assertIn("is outside the folders that guests may use", said)
        serial = "<serial type='file'><source path='/etc/motd-not'/></serial>"
        await self.virsh("define", str(self.empty(devices=serial)))
        self.assertIn("is outside the folders", await self.refused("start", "empty"))
        self.assertFalse(os.path.exists("/etc/motd-not"))
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        self.assertIn("is outside the folders", await self.refused("save", "empty", "/etc/saved-not"))
        self.assertFalse(os.path.exists("/etc/saved-not"))

    async def test_names(self) -> None:
        """Whatever things are called, they end in no shell and no option, and the guest starts."""
        await self.begin()
        folder = self.daemon.directory / "a,file=$(touch x);'`"
        folder.mkdir(mode=0o711)
        disk = folder / "ünï=on,readonly=off disk\n.img"
        disk.write_bytes(bytes(1 << 20))
        xml_path = str(disk).replace("&", "&amp;").replace("'", "&apos;").replace("\n", "&#10;")
        devices = (
            f"<disk type='file'><source file='{xml_path}'/><target dev='vda' bus='virtio'/>"
            "<serial>a.b-c_d</serial></disk>"
            "<channel type='unix'><target type='virtio' name='org.x,y=z;`id`.ä'/></channel>"
        )
        name = "-kernel,foo=$(id);'..\"ä"
        path = self.empty("named", devices=devices)
        text = path.read_text().replace("<name>named</name>", f"<name>{name}</name>")
        path.write_text(text)
        await self.virsh("define", str(path))
        uuid = str(uuid_of("named"))
        await self.virsh("start", uuid)
        self.assertEqual("running (booted)", await self.state(uuid))
        command = Path(f"/proc/{self.qemu()}/cmdline").read_bytes().split(b"\0")
        self.assertNotIn(name.encode(), command)
        await self.virsh("destroy", uuid)
        self.assertEqual(0 if os.geteuid() == 0 else os.geteuid(), disk.stat().st_uid)
        await self.nothing_left()


MOMENTS = (
    ("start", "empty"),
    ("start", "empty"),
    ("suspend", "empty"),
    ("save", "empty", "FILE"),
    ("managedsave", "empty"),
    ("managedsave", "empty"),
    ("start", "empty"),
    ("destroy", "empty"),
    ("destroy", "empty", "--graceful"),
    ("reset", "empty"),
)
"""What the daemon is doing, more or less, when it is killed."""


def _is_dump(path: Path) -> bool:
    """Whether a dump is complete: all of the memory, or a stream that ends in its own description."""
    data = path.read_bytes()
    if data.startswith(b"\x7fELF"):
        return len(data) > 32 << 20
    return data.startswith(b"QEVM") and data.endswith(b"}")


def _things(proc: Path) -> set[str]:
    """What the descriptors of a process mean, but for what every process has."""
    found = set()
    for name in os.listdir(proc / "fd"):
        try:
            found.add(os.readlink(proc / "fd" / name))
        except OSError:
            continue
    return found - {"/dev/null"}


def _parent_and_state(proc: Path) -> tuple[int, str]:
    try:
        words = (proc / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return int(words[1]), words[0]
