"""What connects people and tools to a guest of the QEMU driver, with libvirt's clients and real guests."""

from __future__ import annotations

import atexit
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.interop.daemons import Remotevirt
from tests.interop.peers import TIMEOUT, Output, require, run_python, run_virsh
from tests.interop.qemu_session import until
from tests.qemu_guests import KERNEL_ARGS, Console, guest_initrd, guest_kernel

reactor: Any = _reactor

MIB = 1024 * 1024

GUEST = """
<domain type='qemu'>
  <name>guest</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'><log file='{log}'/></serial>
    <serial type='null'/>
    <console type='pty'><target type='serial'/></console>
    <console type='pty'><target type='virtio'/></console>
    <channel type='unix'><target type='virtio' name='org.example.line'/></channel>
    <graphics type='vnc' autoport='yes'/>
    <video><model type='vga'/></video>
  </devices>
</domain>
"""

BARE = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><console type='pty'/></devices>
</domain>
"""

LINE = """
import hashlib, os, sys, threading, libvirt
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("guest")
stream = connection.newStream()
getattr(domain, sys.argv[2])(sys.argv[3], stream)
data = os.urandom(int(sys.argv[4]))
view = memoryview(data)
while view:
    view = view[stream.send(bytes(view[:200000])):]
got = b""
while len(got) < len(data):
    part = stream.recv(100000)
    assert part, len(got)
    got += part
print(got == data)
stream.finish()
"""

DISPLAY = """
import socket, sys, libvirt
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("guest")
with socket.socket(fileno=domain.openGraphicsFD(0)) as line:
    print(line.recv(12))
ours, theirs = socket.socketpair()
domain.openGraphics(0, theirs.fileno())
theirs.close()
print(ours.recv(12))
for number in (1, 7):
    try:
        domain.openGraphicsFD(number)
    except libvirt.libvirtError as error:
        print(error)
"""

FILES = """
import os, sys, libvirt, libvirt_qemu
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("guest")
reader, writer = os.pipe()
command = '{"execute": "getfd", "arguments": {"fdname": "mine"}}'
print(libvirt_qemu.qemuMonitorCommandWithFiles(domain, command, [writer], 0))
command = '{"execute": "closefd", "arguments": {"fdname": "mine"}}'
print(libvirt_qemu.qemuMonitorCommand(domain, command, 0))
"""

REFUSALS = """
import sys, libvirt, libvirt_qemu
libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName("guest")
stream = connection.newStream
for call in (
    lambda: domain.openConsole("serial1", stream()),
    lambda: domain.openConsole("nothing", stream()),
    lambda: domain.openConsole(None, stream(), 4),
    lambda: domain.openChannel("serial0", stream()),
    lambda: domain.screenshot(stream(), 1),
    lambda: domain.sendKey(0, 50, [700], 1),
    lambda: domain.sendProcessSignal(1, 9),
    lambda: domain.fsInfo(),
    lambda: domain.fsFreeze(),
    lambda: domain.getTime(),
    lambda: domain.setTime({"seconds": 5}),
    lambda: domain.guestInfo(),
    lambda: domain.guestInfo(1 << 20),
    lambda: domain.setUserPassword("root", "x"),
    lambda: domain.setGuestVcpus("0", 1),
    lambda: domain.authorizedSSHKeysGet("root"),
    lambda: domain.pMSuspendForDuration(0, 0),
    lambda: libvirt_qemu.qemuAgentCommand(domain, "{}", 5, 0),
    lambda: libvirt_qemu.qemuMonitorCommand(domain, "xxx", 0),
    lambda: libvirt_qemu.qemuAttach(connection, 1, 0),
    lambda: connection.domainXMLFromNative("qemu-argv", "qemu"),
    lambda: connection.domainXMLToNative("other", ""),
):
    try:
        print("no error", call())
    except libvirt.libvirtError as error:
        print(error.get_error_code(), error.get_error_domain(), error)
"""

AGENT = "argument unsupported: QEMU guest agent is not configured"
UNSUPPORTED = "this function is not supported by the connection driver"
REFUSED = f"""\
1 10 internal error: character device serial1 is not using a PTY or UNIX socket
1 10 internal error: cannot find character device nothing
8 10 unsupported flags (0x4) in function qemuDomainOpenConsole
1 10 internal error: cannot find channel serial0
55 10 Requested operation is not valid: no such screen ID
1 10 internal error: cannot translate keycode 700 of linux codeset to qnum keycode
3 20 {UNSUPPORTED}: virDomainSendProcessSignal
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
8 10 invalid argument: unsupported guest information types '0x100000'
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
74 10 {AGENT}
1 0 internal error: cannot parse json xxx: Expecting value: line 1 column 1 (char 0)
3 0 {UNSUPPORTED}: virDomainQemuAttach
3 20 {UNSUPPORTED}: virConnectDomainXMLFromNative
8 10 invalid argument: unsupported config type other
"""
"""What libvirt 9.0.0's daemon answers to these calls, with the words of later ones for the first;
what a reader of JSON complains of is its own."""


class GuestTests(TestCase):
    """One daemon, and one guest that all tests share."""

    timeout = 120

    daemon: ClassVar[Remotevirt | None] = None
    state: ClassVar[Path]
    uri: ClassVar[str]
    log: ClassVar[Path]
    booted: ClassVar[bool] = False

    def setUp(self) -> None:
        """Start daemon and guest, if this is the first test; they end with the tests."""
        require("virsh", "libvirt-python", "qemu-system-x86_64")
        if GuestTests.daemon is not None:
            return
        kernel, initrd = guest_kernel(), guest_initrd()
        state = GuestTests.state = Path(tempfile.mkdtemp(prefix="rv-"))
        state.chmod(0o711)
        GuestTests.log = state / "serial.log"
        daemon = GuestTests.daemon = Remotevirt(driver="qemu", options=["--state", str(state)])
        atexit.register(self.stop)
        daemon.start()
        GuestTests.uri = f"qemu+unix:///system?socket={quote(str(daemon.unix))}"
        xml = GUEST.format(kernel=kernel, initrd=initrd, cmdline=KERNEL_ARGS, log=self.log)
        self.define("guest", xml)
        self.virsh("start", "guest")

    @classmethod
    def stop(cls) -> None:
        """End guests and daemon."""
        assert cls.daemon is not None
        for name in run_virsh(cls.uri, "list", "--name").out.split():
            run_virsh(cls.uri, "destroy", name)
        cls.daemon.stop()
        shutil.rmtree(cls.state, ignore_errors=True)

    @classmethod
    def define(cls, name: str, xml: str) -> None:
        """Define a domain."""
        path = cls.state / f"{name}.xml"
        path.write_text(xml)
        cls.virsh("define", str(path))

    @classmethod
    def virsh(cls, *words: str) -> str:
        """What virsh prints; it must succeed."""
        output = run_virsh(cls.uri, *words)
        assert output.status == 0, (words, output, cls.daemon and cls.daemon.log()[-3000:])
        return output.out.strip()

    async def aside(self, *words: str) -> Output:
        """What virsh does, while the test goes on to read what the guest prints."""
        return await deferToThread(run_virsh, self.uri, *words)

    async def console(self, *words: str, domain: str = "guest") -> Console:
        """``virsh console`` on a terminal."""
        console = Console.spawn(["virsh", "-c", self.uri, "console", domain, *words])
        self.addCleanup(console.close)
        return console

    async def shell(self, *words: str) -> Console:
        """The same, when the guest has booted and the console is connected."""
        if not self.booted:
            log = Console.file(self.log)
            await log.boot()
            await log.close()
            GuestTests.booted = True
        console = await self.console(*words)
        await self.answers(console)
        return console

    async def answers(self, console: Console) -> None:
        """Wait until virsh reads single keys, and the guest's shell answers.

        virsh says what its escape character is first, and only then prepares its terminal with TCSAFLUSH,
        which throws away what has been typed by then. Guests do so too: what is typed before the kernel has
        started its serial port is lost in part, whoever runs QEMU. Behind both nothing is lost.
        """
        await until(console.reads_keys, "virsh prepares its terminal")
        await console.command("true")

    async def ended(self, console: Console, pattern: str = "(?!)") -> None:
        """Wait until a program that shows a console ends."""
        error = await self.assertFailure(Deferred.fromCoroutine(console.wait_for(pattern)), AssertionError)
        self.assertIn("the console ended", str(error))

    async def test_console(self) -> None:
        """One holder at a time; another gets it by force; the escape key leaves it."""
        first = await self.shell()
        self.assertEqual("hello", await first.command("echo hello"))
        second = await self.console()
        await second.wait_for("error: operation failed: Active console session exists for this domain")
        await self.ended(second)
        third = await self.shell("--force")
        await self.ended(first)
        self.assertEqual("3", await third.command("echo $((1 + 2))"))
        third.send(b"\x1d")
        await self.ended(third)
        fourth = await self.shell()
        self.assertEqual("still here", await fourth.command("echo still here"))
        fourth.send(b"\x1d")
        await self.ended(fourth)

    async def test_much(self) -> None:
        """A MiB to the guest and back by a channel's socket, whole."""
        shell = await self.shell()
        # there is nothing to read, not even to wait for, before somebody has connected
        echo = (
            f"{{ : >/run/much; while [ $(wc -c </run/much) -lt {MIB} ];"
            f" do head -c {MIB} >>/run/much; sleep 0.1; done; cat /run/much >&0; }} <>/dev/vport0p1"
        )
        moved = Deferred.fromCoroutine(shell.command(echo))
        output = await deferToThread(run_python, LINE, self.uri, "openChannel", "org.example.line", str(MIB))
        self.assertEqual((0, "True\n", ""), output)
        await moved
        shell.send(b"\x1d")
        await self.ended(shell)

    async def test_keys(self) -> None:
        """The guest sees the keys that are sent, by names of Linux and by numbers of other sets."""
        shell = await self.shell()
        for words, number in (
            (("KEY_A",), 30),
            (("--codeset", "usb", "5"), 48),
            (("--codeset", "win32", "--holdtime", "20", "0x43"), 46),
        ):
            output = await self.aside("send-key", "guest", *words)
            self.assertEqual((0, ""), (output.status, output.err))
            await shell.wait_for(f"^key {number}$")
        shell.send(b"\x1d")
        await self.ended(shell)

    def test_screen(self) -> None:
        """A picture of what the video card shows: text of 80 by 25 characters, 9 by 16 points each."""
        path = self.state / "picture.png"
        said = self.virsh("screenshot", "guest", str(path))
        self.assertIn("with type of image/png", said)
        data = path.read_bytes()
        self.assertEqual(b"\x89PNG\r\n\x1a\n", data[:8])
        self.assertEqual((720, 400), struct.unpack(">2I", data[16:24]))
        self.assertEqual(b"IEND", data[-8:-4])
        folder = next((self.state / "qemu" / "run").iterdir())
        self.assertEqual([], list(folder.glob("screen-*")))

    def test_display(self) -> None:
        """VNC by its port, by a descriptor from the daemon, and by one for it."""
        address = self.virsh("vncdisplay", "guest").rpartition(":")
        with socket.create_connection(("127.0.0.1", 5900 + int(address[2])), TIMEOUT) as line:
            self.assertEqual(b"RFB 003.008\n", line.recv(12))
        greeting = "b'RFB 003.008\\n'\n"
        refused = "internal error: No graphics backend with index {}\n"
        output = run_python(DISPLAY, self.uri)
        self.assertEqual(greeting * 2 + refused.format(1) + refused.format(7), output.out, output.err)

    def test_monitor(self) -> None:
        """Commands in both languages, with a descriptor too; the guest is marked, also for a new daemon."""
        status = '"return":{"status":"running","singlestep":false,"running":true}'
        self.assertIn(status, self.virsh("qemu-monitor-command", "guest", '{"execute":"query-status"}'))
        pretty = self.virsh("qemu-monitor-command", "guest", "--pretty", '{"execute":"query-status"}')
        self.assertIn('"running": true', pretty)
        shown = self.virsh("qemu-monitor-command", "guest", "--hmp", "info status")
        self.assertEqual("VM status: running", shown)
        refused = self.virsh("qemu-monitor-command", "guest", '{"execute":"nothing"}')
        self.assertIn('"class":"CommandNotFound","desc":"The command nothing has not been found"', refused)
        self.assertIn("tainted: custom monitor control commands issued", self.virsh("dominfo", "guest"))
        done = run_python(FILES, self.uri)
        self.assertEqual("", done.err)
        self.assertEqual(2, done.out.count('"return":{}'), done.out)

    async def test_monitor_events(self) -> None:
        """All of them, or those of a name, or those that match."""
        self.define("paused", BARE.format(name="paused"))
        self.virsh("start", "paused")
        choices: tuple[tuple[str, ...], ...] = (
            (),
            ("--event", "STOP"),
            ("--regex", "--event", "^ST.P$"),
            ("--no-case", "--event", "stop"),
        )
        for words in choices:
            command = ["virsh", "-c", self.uri, "qemu-monitor-event", "--domain", "paused", *words]
            watching = Console.spawn([*command, "--loop", "--timestamp"])
            self.addCleanup(watching.close)
            for _ in range(20):
                await self.aside("suspend", "paused")
                await self.aside("resume", "paused")
                if "event STOP for domain 'paused'" in watching.seen:
                    break
            await watching.wait_for("event STOP for domain 'paused'")
            self.assertEqual(not words, "event RESUME" in watching.seen, watching.seen)
            await watching.close()
        output = run_virsh(self.uri, "qemu-monitor-event", "--regex", "--event", "((A*)*)*")
        self.assertIn("failed to compile regex '((A*)*)*'", output.err)
        self.virsh("destroy", "paused")

    async def test_end(self) -> None:
        """A console ends with its guest, without an error."""
        self.define("brief", BARE.format(name="brief"))
        self.virsh("start", "brief")
        console = await self.console(domain="brief")
        await console.wait_for("Escape character is")
        output = await self.aside("destroy", "brief")
        self.assertEqual(0, output.status, output.err)
        await self.ended(console)
        self.assertNotIn("error", console.seen)

    async def test_native(self) -> None:
        """The command line that is shown starts a QEMU that comes up."""
        path = self.state / "shown.xml"
        path.write_text(BARE.format(name="shown"))
        words = shlex.split(self.virsh("domxml-to-native", "qemu-argv", "--xml", str(path)))
        start = next(at for at, word in enumerate(words) if word.startswith("/"))
        environment = dict(word.split("=", 1) for word in words[:start])
        chardev = next(word for word in words if "id=charmonitor,path=" in word)
        monitor = Path(chardev.split("path=")[1].split(",")[0])
        monitor.parent.mkdir(parents=True)
        process = subprocess.Popen(words[start:], env=environment, stdout=subprocess.DEVNULL)
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(TIMEOUT)
                # It is there a moment before anybody listens.
                while line.connect_ex(str(monitor)):
                    self.assertIsNone(process.poll())
                    await deferLater(reactor, 0.02)
                self.assertIn(b'{"QMP": ', line.recv(100))
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(monitor.parent)
        self.virsh("domxml-to-native", "qemu-argv", "--domain", "guest")

    def test_refusals(self) -> None:
        """libvirt's codes and words."""
        output = run_python(REFUSALS, self.uri)
        self.assertEqual((REFUSED, ""), (output.out, output.err))
