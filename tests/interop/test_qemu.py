"""The QEMU driver with virsh and real guests, emulated: their lives, ends, and what both leave behind."""

from __future__ import annotations

import os
import re
import shutil
import signal

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.interop.peers import Running, require, run_virsh
from tests.interop.qemu_session import SECONDS, GuestTestCase, QemuLibvirtd, RemotevirtQemu, reactor, until

AGENT_CAME = "guest agent-lifecycle state: 'connected' reason: 'channel event'"


class LifeTests(GuestTestCase):
    """What is asked of a guest, and what it does by itself."""

    async def test_states_and_events(self) -> None:
        """The same calls lead to the same states, refusals and events as with libvirt's own daemon."""
        require("libvirtd")
        await self.begin()
        libvirtd = QemuLibvirtd()
        self.addCleanup(libvirtd.stop)
        await deferToThread(libvirtd.start)
        # Side by side, since libvirtd often sleeps.
        walks = [Deferred.fromCoroutine(self.walk(daemon)) for daemon in (libvirtd, self.daemon)]
        theirs, ours = await gatherResults(walks, consumeErrors=True)
        self.assertEqual(theirs, ours)

    async def walk(self, daemon: RemotevirtQemu | QemuLibvirtd) -> list[tuple[str, str, list[str]]]:
        """What each call leads to: an error or the domain's state, and events."""
        path = self.empty(daemon=daemon)
        watching = await self.watch(daemon)
        seen = len(watching.events())
        saved = str(daemon.directory / "saved")
        steps: list[tuple[str, str, list[str]]] = []
        for line in CALLS:
            words = [{"XML": str(path), "FILE": saved}.get(word, word) for word in line.split()]
            output = await deferToThread(run_virsh, daemon.guests_uri, *words)
            found = await deferToThread(run_virsh, daemon.guests_uri, "domstate", "--reason", "empty")
            events = await self.heard(watching, daemon)
            heard = [event for event in events[seen:] if event.startswith("empty lifecycle ")]
            seen = len(events)
            said = output.err.strip() if output.status else found.out.strip()
            steps.append((line, said, heard))
        return steps

    async def test_guest(self) -> None:
        """A guest boots, goes on with its memory after each kind of break, and ends by its power button."""
        await self.begin()
        await self.virsh("define", str(self.guest()))
        await self.virsh("start", "guest")
        console = await self.console()
        self.assertIn("cpus 1", await console.boot())
        await console.command("echo kept >/run/note")
        before = int(await console.command("counter"))
        saved = str(self.daemon.directory / "saved")
        for words in (
            [["suspend", "guest"], ["resume", "guest"]],
            [["save", "guest", saved], ["restore", saved]],
            [["managedsave", "guest"], ["start", "guest"]],
        ):
            for one in words:
                await self.virsh(*one)
            await console.close()
            console = await self.console()
            self.assertEqual("kept", await console.command("cat /run/note"), words)
            now = int(await console.command("counter"))
            self.assertGreaterEqual(now, before)
            before = now
        await self.again()
        self.assertEqual("running (restored)", await self.state())
        self.assertEqual("kept", await console.command("cat /run/note"))
        self.assertGreater(int(await console.command("counter")), before)
        await self.virsh("reboot", "guest")
        await console.boot()
        await self.assertFailure(Deferred.fromCoroutine(console.command("cat /run/note")), AssertionError)
        console.send_line("reboot -f")
        await console.boot()
        await self.virsh("shutdown", "guest")
        await self.state_is("shut off (shutdown)")
        await self.nothing_left()

    async def test_ignored(self) -> None:
        """A guest that ignores its power button is destroyed, and one that is away powers off by itself.

        What it opens and closes meanwhile is known afterwards.
        """
        await self.begin()
        channel = "<channel type='unix'><target type='virtio' name='{}'/></channel>"
        agent, other = (channel.format(name) for name in ("org.qemu.guest_agent.0", "other"))
        await self.virsh("define", str(self.guest(cmdline="ignore-acpi", devices=agent + other)))
        await self.virsh("start", "guest")
        watching = await self.watch()
        await self.channels_are("disconnected", "disconnected")
        console = await self.console()
        await console.boot()
        await console.command("sleep 999 </dev/vport0p1 & echo $! >/run/held")
        await until(lambda: AGENT_CAME in watching.events(), "the agent's channel")
        await self.channels_are("connected", "disconnected")
        await deferToThread(self.daemon.kill)
        await console.command("kill $(cat /run/held); sleep 999 </dev/vport0p2 &")
        await deferToThread(self.daemon.start)
        await self.channels_are("disconnected", "connected")
        await self.virsh("shutdown", "guest")
        await console.wait_for("key 116")
        self.assertIn("running", await self.state())
        await deferToThread(self.daemon.kill)
        console.send_line("poweroff -f")
        await self.assertFailure(Deferred.fromCoroutine(console.wait_for("^done", 3)), AssertionError)
        await deferToThread(self.daemon.start)
        await self.state_is("shut off (shutdown)")
        await self.nothing_left()

    async def channels_are(self, *states: str) -> None:
        """Wait until the guest has its channels open or not."""
        end = reactor.seconds() + SECONDS
        while (found := re.findall(r"state='(\w+)'/>", await self.virsh("dumpxml", "guest"))) != [*states]:
            self.assertLess(reactor.seconds(), end, found)
            await deferLater(reactor, 0.1)

    async def test_away(self) -> None:
        """What guests do by themselves is as their definitions say, also while there is no daemon."""
        await self.begin()
        settings = "<on_poweroff>restart</on_poweroff><on_crash>preserve</on_crash>"
        await self.virsh("define", str(self.guest(settings=settings, devices="<panic model='isa'/>")))
        await self.virsh("start", "guest")
        console = await self.console()
        await console.boot()
        console.send_line("poweroff -f")
        await console.boot()
        await deferToThread(self.daemon.kill)
        console.send_line("reboot -f")
        await console.boot()
        await deferToThread(self.daemon.start)
        self.assertEqual("running (booted)", await self.state())
        await deferToThread(self.daemon.kill)
        console.send_line("echo c >/proc/sysrq-trigger")
        await self.assertFailure(Deferred.fromCoroutine(console.wait_for("^done", 1)), AssertionError)
        await deferToThread(self.daemon.start)
        await self.state_is("crashed (panicked)")
        await self.virsh("destroy", "guest")

        await self.virsh("define", str(self.guest(settings="<on_reboot>destroy</on_reboot>")))
        await self.virsh("start", "guest")
        console = await self.console()
        await console.boot()
        await deferToThread(self.daemon.kill)
        console.send_line("reboot -f")
        await self.assertFailure(Deferred.fromCoroutine(console.boot(1)), AssertionError)
        await deferToThread(self.daemon.start)
        await self.state_is("shut off (shutdown)")
        await self.nothing_left()

    async def test_autostart(self) -> None:
        """When the host has started, guests start that shall, each though another does not; once."""
        await self.begin()
        missing = "<disk type='file'><source file='/nowhere'/><target dev='vda' bus='virtio'/></disk>"
        for name, devices in (("a", missing), ("b", ""), ("c", ""), ("d", "")):
            await self.virsh("define", str(self.empty(name, devices=devices)))
            await self.virsh("autostart", name)
        await self.virsh("autostart", "c", "--disable")
        await self.virsh("start", "d")
        await self.virsh("managedsave", "d")

        async def running() -> list[str]:
            return (await self.virsh("list", "--name")).split()

        await self.again()
        self.assertEqual([], await running())
        await deferToThread(self.daemon.kill)
        (self.daemon.state / "qemu" / "booted").unlink()  # as if the host had been started anew
        await deferToThread(self.daemon.start)
        await self.state_is("running (booted)", "b")
        await self.state_is("running (restored)", "d")
        self.assertEqual(["b", "d"], sorted(await running()))
        self.assertIn("domain 'a' does not start: Cannot access storage file '/nowhere'", self.daemon.log())
        await until((self.daemon.state / "qemu" / "booted").exists, "the mark of the host's start")
        for name in ("b", "d"):
            await self.virsh("destroy", name)
        await self.again()
        self.assertEqual([], await running())
        await self.nothing_left()

    async def test_crashes(self) -> None:
        """A panic does what ``on_crash`` says; a QEMU that is killed is a failure."""
        await self.begin()
        watching = await self.watch()
        panic = "<panic model='isa'/>"
        for action, wanted in (("destroy", "shut off (crashed)"), ("preserve", "crashed (panicked)")):
            settings = f"<on_crash>{action}</on_crash>"
            await self.virsh("define", str(self.guest(settings=settings, devices=panic)))
            await self.virsh("start", "guest")
            console = await self.console()
            await console.boot()
            console.send_line("echo c >/proc/sysrq-trigger")
            await self.state_is(wanted)
            await console.close()
        self.assertIn("guest lifecycle Crashed Panicked", watching.events())
        self.assertIn("guest lifecycle Stopped Crashed", watching.events())
        await self.virsh("destroy", "guest")
        await self.virsh("create", str(self.empty()))
        os.kill(self.qemu(), signal.SIGKILL)
        await until(lambda: "empty lifecycle Stopped Failed" in watching.events())
        self.assertIn("failed to get domain 'empty'", await self.refused("domstate", "empty"))
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        os.kill(self.qemu(), signal.SIGKILL)
        await self.state_is("shut off (crashed)", "empty")
        await self.nothing_left()

    async def test_autodestroy(self) -> None:
        """A guest ends with the connection that it was started for, or with the daemon."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        await self.virsh(stdin="start empty --autodestroy\n")
        await self.state_is("shut off (destroyed)", "empty")
        await self.virsh("start", "empty", "--paused")
        self.assertEqual("paused (user)", await self.state("empty"))
        client = Running(["virsh", "-c", self.daemon.guests_uri])
        self.addCleanup(client.stop)
        await self.virsh("destroy", "empty")
        client.type("start empty --autodestroy")
        await self.state_is("running (booted)", "empty")
        await self.again()
        await self.state_is("shut off (destroyed)", "empty")
        await self.nothing_left()

    async def test_changes_while_it_runs(self) -> None:
        """A new definition counts from the next start; one without a definition is gone at its end."""
        await self.begin()
        await self.virsh("define", str(self.empty()))
        await self.virsh("start", "empty")
        path = self.empty()
        path.write_text(path.read_text().replace(">32<", ">48<"))
        await self.virsh("define", str(path))
        self.assertIn("32768 KiB", await self.virsh("dominfo", "empty"))
        await self.virsh("destroy", "empty")
        await self.virsh("start", "empty")
        self.assertIn("49152 KiB", await self.virsh("dominfo", "empty"))
        await self.virsh("autostart", "empty")
        await self.virsh("undefine", "empty")
        self.assertIn("Persistent:     no", await self.virsh("dominfo", "empty"))
        await self.virsh("define", str(path))
        self.assertIn("Autostart:      disable", await self.virsh("dominfo", "empty"))
        await self.virsh("undefine", "empty")
        await self.again()
        self.assertIn("Persistent:     no", await self.virsh("dominfo", "empty"))
        await self.virsh("destroy", "empty")
        self.assertIn("failed to get domain", await self.refused("domstate", "empty"))
        await self.nothing_left()

    async def test_save_files(self) -> None:
        """A guest that one daemon has saved goes on in the other, and comes back."""
        require("libvirtd")
        await self.begin()
        libvirtd = QemuLibvirtd()
        self.addCleanup(libvirtd.stop)
        await deferToThread(libvirtd.start)
        saved = self.daemon.directory / "saved"
        await self.virsh("create", str(self.empty()))
        await self.virsh("save", "empty", str(saved))
        if os.geteuid() == 0:
            shutil.chown(saved, "nobody", "nogroup")
        uri = libvirtd.guests_uri
        for words, wanted in (
            (["save-image-dumpxml", str(saved)], "<name>empty</name>"),
            (["restore", str(saved)], "Domain restored"),
            (["domstate", "--reason", "empty"], "running (restored)"),
            (["save", "empty", str(libvirtd.directory / "back")], "saved"),
        ):
            output = await deferToThread(run_virsh, uri, *words)
            self.assertIn(wanted, output.out, output)
        back = str(libvirtd.directory / "back")
        self.assertIn("<name>empty</name>", await self.virsh("save-image-dumpxml", back))
        edited = self.document(
            "edited", (await self.virsh("save-image-dumpxml", back)).replace("destroy<", "restart<")
        )
        await self.virsh("save-image-define", back, str(edited), "--paused")
        await self.virsh("restore", back)
        self.assertEqual("paused (migrating)", await self.state("empty"))
        self.assertIn("<on_poweroff>restart", await self.virsh("dumpxml", "empty"))
        await self.virsh("resume", "empty")
        await self.virsh("destroy", "empty")
        await self.nothing_left()


CALLS = (
    "define XML",
    "start empty",
    "suspend empty",
    "suspend empty",
    "resume empty",
    "resume empty",
    "reset empty",
    "undefine empty",
    "define XML",
    "save empty FILE",
    "restore FILE",
    "save empty FILE",
    "restore FILE --paused",
    "managedsave empty",
    "start empty",
    "managedsave empty --running",
    "domrename empty other",
    "start empty --paused",
    "shutdown empty",
    "shutdown empty --mode agent",
    "reboot empty --mode agent",
    "domrename empty other",
    "resume empty",
    "managedsave empty --paused",
    "start empty",
    "destroy empty",
    "domrename empty other",
    "domrename other empty",
    "start empty --force-boot",
    "managedsave empty",
    "undefine empty",
    "start empty",
    "destroy empty",
    "start empty --paused",
    "resume empty",
    "destroy empty --graceful",
    "shutdown empty",
    "undefine empty",
    "create XML",
    "managedsave empty",
    "destroy empty",
)
"""XML is the guest's document, FILE where it is saved."""
