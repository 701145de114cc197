"""What tests of the QEMU driver share: its daemon, a libvirtd to compare with, guests, and clients."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.interop.daemons import Daemon, DaemonError, Remotevirt, _accepts, find_libvirtd
from tests.interop.peers import Output, require, run_virsh
from tests.qemu_guests import KERNEL_ARGS, Console, guest_initrd, guest_kernel

__all__ = ["GuestTestCase", "QemuLibvirtd", "RemotevirtQemu", "Watching", "children_of", "until"]

reactor: Any = _reactor

SECONDS = 30.0
"""How long something may take that a guest or QEMU does."""

GUEST = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  {settings}
  <devices>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""

EMPTY = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  {settings}
  <devices>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""
"""One whose firmware finds nothing to boot: it starts at once."""


class RemotevirtQemu(Remotevirt):
    """remotevirt with real guests.

    Args:
        options: of the driver, such as ``images=/srv``.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        super().__init__(driver=":".join(["qemu", *options]))
        self.directory.chmod(0o711)
        self.state = self.directory / "s"
        self.state.mkdir(mode=0o711)
        self.options = ["--state", str(self.state)]

    @property
    def guests_uri(self) -> str:
        """The URI of its guests."""
        return f"qemu+unix:///system?socket={quote(str(self.unix))}"

    def stop(self) -> int | None:
        """End guests and daemon, and remove its folder."""
        for pid in self.qemus():
            os.kill(pid, 9)
        return super().stop()

    def qemus(self) -> list[int]:
        """The processes of its guests, also after it was killed; zombies of ours too."""
        return children_of(self.state)


class QemuLibvirtd(Daemon):
    """A real libvirtd with its QEMU driver, as an ordinary user's own, below a folder of its own."""

    name = "rvl"

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        binary = find_libvirtd()
        if binary is None:
            raise DaemonError("libvirtd is not installed (Debian: libvirt-daemon)")
        config = self.directory / "libvirtd.conf"
        config.write_text(
            f'unix_sock_dir = "{self.directory}"\nauth_unix_rw = "none"\nlog_outputs = "3:stderr"\n'
        )
        home = self.directory
        config_home = home / "config" / "libvirt"
        config_home.mkdir(parents=True, exist_ok=True)
        (config_home / "qemu.conf").write_text('stdio_handler = "file"\nsecurity_driver = "none"\n')
        runtime = home / "r"
        runtime.mkdir(exist_ok=True)
        become: list[str] = []
        if os.geteuid() == 0:
            become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
            for path in (home, *home.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")
        environment = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(home / "data"),
        }
        return [*become, binary, "--config", str(config), "--pid-file", str(home / "pid")], environment

    def _is_up(self) -> bool:
        return _accepts(str(self.unix))

    @property
    def guests_uri(self) -> str:
        """The URI of its guests."""
        return f"qemu+unix:///session?socket={quote(str(self.unix))}"

    def stop(self) -> int | None:
        """End guests and daemon, and remove its folder."""
        for pid in children_of(self.directory):
            os.kill(pid, 9)
        return super().stop()


def children_of(folder: Path) -> list[int]:
    """The QEMUs whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            program = words.partition(b"\0")[0].rpartition(b"/")[2]
            if program.startswith(b"qemu-system") and os.fsencode(folder) + b"/" in words:
                found.append(int(entry.name))
    return found


async def until(condition: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait until something is so, in the test's own process; returns it."""
    end = reactor.seconds() + seconds
    while not (found := condition()):
        if reactor.seconds() > end:
            raise AssertionError(f"not within {seconds:g} seconds: {what or condition}")
        await deferLater(reactor, 0.05)
    return found


class Watching:
    """``virsh event --all --loop``, and the lifecycle and reboot events that it has printed."""

    def __init__(self, uri: str, path: Path) -> None:
        self._path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed with the watch
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", "virsh", "-c", uri, "event", "--all", "--loop"],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._file.close()

    def marks(self) -> int:
        """How many events of marks were heard."""
        return sum(event.startswith(MARK) for event in self.events())

    def events(self) -> list[str]:
        """What was heard: name of the event, of the domain, and what it says."""
        lines = re.findall(r"event '(\S+)' for domain '?([^':]+)'?:? ?(.*)", self._path.read_text())
        return [f"{domain} {kind} {said}".strip() for kind, domain, said in lines]


def uuid_of(name: str) -> UUID:
    """The UUID of the guest of a name."""
    return uuid5(NAMESPACE_URL, name)


MARK = "mark lifecycle Defined"


class GuestTestCase(TestCase):
    """Tests with a daemon and guests of their own; both end with the test."""

    timeout = 600

    def setUp(self) -> None:
        """Skip where a peer is missing."""
        require("virsh", "libvirt-python", "qemu-system-x86_64")
        self.daemon = RemotevirtQemu()
        self.addCleanup(self.daemon.stop)

    async def begin(self, *options: str) -> None:
        """Start the daemon, with options of the driver."""
        if options:
            self.daemon.driver = ":".join(["qemu", *options])
        await deferToThread(self.daemon.start)

    async def again(self) -> None:
        """Kill the daemon, and start it anew."""
        await deferToThread(self.daemon.kill)
        await deferToThread(self.daemon.start)

    async def virsh(self, *words: str, stdin: str = "") -> str:
        """What virsh prints; it must succeed."""
        output = await self.tried(*words, stdin=stdin)
        self.assertEqual(0, output.status, f"{words}: {output}\n{self.daemon.log()[-3000:]}")
        return output.out.strip()

    async def refused(self, *words: str) -> str:
        """What virsh complains of; it must fail."""
        output = await self.tried(*words)
        self.assertNotEqual(0, output.status, f"{words}: {output}")
        return output.err.strip()

    async def tried(self, *words: str, stdin: str = "") -> Output:
        """What virsh does."""
        return await deferToThread(run_virsh, self.daemon.guests_uri, *words, stdin=stdin)

    def guest(self, name: str = "guest", settings: str = "", devices: str = "", cmdline: str = "") -> Path:
        """The document of a guest that boots, in a file."""
        return self.document(
            name,
            GUEST.format(
                name=name,
                uuid=uuid_of(name),
                kernel=guest_kernel(),
                initrd=guest_initrd(),
                cmdline=f"{KERNEL_ARGS} {cmdline}",
                settings=settings,
                devices=devices,
            ),
        )

    def empty(
        self, name: str = "empty", settings: str = "", devices: str = "", daemon: Daemon | None = None
    ) -> Path:
        """The document of a guest that boots nothing, in a file."""
        text = EMPTY.format(name=name, uuid=uuid_of(name), settings=settings, devices=devices)
        return self.document(name, text, daemon)

    def document(self, name: str, text: str, daemon: Daemon | None = None) -> Path:
        """A document in a file, in the folder of the daemon that is asked."""
        path = (daemon or self.daemon).directory / f"{name}.xml"
        path.write_text(text)
        path.chmod(0o644)
        return path

    async def console(self, name: str = "guest") -> Console:
        """A guest's serial console, by its terminal."""
        console = Console.device(await self.virsh("ttyconsole", name))
        self.addCleanup(console.close)
        return console

    async def state(self, name: str = "guest") -> str:
        """State and reason."""
        return " ".join((await self.virsh("domstate", "--reason", name)).split())

    async def state_is(self, wanted: str, name: str = "guest") -> None:
        """Wait until a guest is in a state."""
        end = reactor.seconds() + SECONDS
        while (found := await self.state(name)) != wanted:
            self.assertLess(reactor.seconds(), end, f"{name} is {found}, not {wanted}")
            await deferLater(reactor, 0.1)

    async def is_gone(self, name: str = "guest") -> None:
        """Wait until a transient guest has ended."""
        end = reactor.seconds() + SECONDS
        while not (output := await self.tried("domstate", "--reason", name)).status:
            self.assertLess(
                reactor.seconds(), end, f"{name} is {output.out.strip()}\n{self.daemon.log()[-3000:]}"
            )
            await deferLater(reactor, 0.1)
        self.assertIn("failed to get domain", output.err)

    async def watch(self, daemon: RemotevirtQemu | QemuLibvirtd | None = None) -> Watching:
        """Hear events from now on, those of a domain ``mark`` among them."""
        daemon = daemon or self.daemon
        watching = Watching(daemon.guests_uri, daemon.directory / "heard")
        self.addCleanup(watching.close)
        while not watching.marks():
            await self.mark(daemon)
        await self.heard(watching, daemon)
        return watching

    async def mark(self, daemon: RemotevirtQemu | QemuLibvirtd) -> None:
        """Do something that leads to an event."""
        await deferToThread(run_virsh, daemon.guests_uri, "define", str(self.empty("mark", daemon=daemon)))

    async def heard(self, watching: Watching, daemon: RemotevirtQemu | QemuLibvirtd) -> list[str]:
        """What was heard until now, the last being the event of a mark."""
        marks = watching.marks()
        await self.mark(daemon)
        await until(lambda: watching.marks() > marks, "an event of a mark")
        return watching.events()

    def qemu(self) -> int:
        """The number of the only QEMU."""
        (pid,) = self.daemon.qemus()
        return pid

    async def nothing_left(self) -> None:
        """Check that no guest leaves anything; its folder is removed a moment after its end."""
        qemu = self.daemon.state / "qemu"

        def left() -> list[str]:
            return [str(path) for part in ("run", "channel") for path in (qemu / part).glob("*")]

        await until(lambda: not left(), "no folder of a guest")
        self.assertEqual([], self.daemon.qemus())
