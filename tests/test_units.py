"""systemd's units: complete, accepted by systemd, and in step with what the daemon knows of them."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import FailTest, SkipTest, TestCase

from remotevirt.listening import ROLES
from remotevirt.options import Options
from remotevirt.units import UnitsError, read_units, write_units
from remotevirt.units.__main__ import main
from tests.daemons import ProcessTestCase

PROGRAM = Path("/bin/true")


def parsed(text: str) -> ConfigParser:
    """A unit, by its sections."""
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return parser


class UnitsTests(TestCase):
    """What is in the units."""

    def setUp(self) -> None:
        self.units = read_units(PROGRAM, Path("/etc/vm.conf"))

    def test_a_socket_for_each_role(self) -> None:
        self.assertEqual({"remotevirt.service", *(f"{role}.socket" for role in ROLES)}, set(self.units))
        for role in ROLES:
            unit = parsed(self.units[f"{role}.socket"])
            self.assertEqual("remotevirt.service", unit["Socket"]["Service"])
            self.assertNotIn(
                "FileDescriptorName", unit["Socket"]
            )  # so it is the unit's name, which says the role

    def test_only_root_may_change_things(self) -> None:
        modes = {role: parsed(self.units[f"{role}.socket"])["Socket"].get("SocketMode") for role in ROLES}
        self.assertEqual(
            {
                "remotevirt": "0600",
                "remotevirt-ro": "0666",
                "remotevirt-admin": "0600",
                "remotevirt-tcp": None,
                "remotevirt-tls": None,
            },
            modes,
        )
        tcp = parsed(self.units["remotevirt-tcp.socket"])["Socket"]["ListenStream"]
        self.assertEqual("127.0.0.1:16509", tcp)

    def test_command(self) -> None:
        """The service's command is one that the daemon's options take."""
        program, *words = shlex.split(parsed(self.units["remotevirt.service"])["Service"]["ExecStart"])
        self.assertEqual(str(PROGRAM), program)
        options = Options()
        after = words[words.index("remotevirt") + 1 :]
        self.assertEqual(["--config", "/etc/vm.conf"], after)
        for name in after[::2]:
            self.assertIn(name.removeprefix("--") + "=", options.longOpt)
        self.assertEqual("notify", parsed(self.units["remotevirt.service"])["Service"]["Type"])

    def test_accepted_by_systemd(self) -> None:
        """``systemd-analyze verify`` has nothing to say."""
        if shutil.which("systemd-analyze") is None:
            text = "systemd-analyze is not installed (Debian: systemd)"
            raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        paths = [str(path) for path in write_units(folder, self.units)]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
        )
        self.assertEqual((0, "", ""), (done.returncode, done.stdout, done.stderr))

    def test_paths_that_units_cannot_say(self) -> None:
        folder = Path(self.mktemp()).absolute() / "a b"
        folder.mkdir(parents=True)
        program = folder / "twistd"
        program.write_text("")
        for twistd, config, why in [
            (program, Path("/x"), "without spaces"),
            (PROGRAM, Path("/etc/%h.conf"), "without spaces"),
            (PROGRAM, Path("vm.conf"), "an absolute path"),
            (Path("/nonexistent/twistd"), Path("/x"), "no such program"),
        ]:
            self.assertIn(why, str(self.assertRaises(UnitsError, read_units, twistd, config)))


class CommandTests(TestCase):
    """``python -m remotevirt.units``."""

    def run_main(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words)
        return status, out.getvalue(), err.getvalue()

    def test_writes(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        status, out, err = self.run_main(str(folder), "--twistd", str(PROGRAM), "--config", "/etc/vm.conf")
        self.assertEqual((0, ""), (status, err))
        self.assertEqual([str(path) for path in sorted(folder.iterdir())], out.splitlines())
        service = (folder / "remotevirt.service").read_text()
        self.assertIn(f"ExecStart={PROGRAM} --nodaemon --pidfile= remotevirt --config /etc/vm.conf", service)
        self.assertNotIn("@", service.replace("@system-service", "").replace("~@privileged @resources", ""))

    def test_fails_in_one_line(self) -> None:
        status, out, err = self.run_main("/nonexistent", "--twistd", str(PROGRAM))
        self.assertEqual((1, ""), (status, out))
        self.assertEqual("remotevirt: /nonexistent/remotevirt-admin.socket: No such file or directory\n", err)


class ActivationTests(ProcessTestCase):
    """The service's own command, with sockets handed over and somebody to notify, as by systemd."""

    @inlineCallbacks
    def test_served_notified_reloaded_stopped(self) -> Any:
        folder = Path(tempfile.mkdtemp(prefix="units-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "vm.conf").write_text('log_outputs = "2:file:' + str(folder / "log") + '"\n')
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(str(folder / "notify"))
        notify.setblocking(False)
        names = ["remotevirt.socket", "remotevirt-ro.socket", "remotevirt-tcp.socket"]
        sockets = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket()]
        for listening, address in zip(
            sockets, [f"{folder}/rw", f"{folder}/ro", ("127.0.0.1", 0)], strict=True
        ):
            self.addCleanup(listening.close)
            listening.bind(address)
            listening.listen()
        text = read_units(PROGRAM, folder / "vm.conf")["remotevirt.service"]
        _, *words = shlex.split(parsed(text)["Service"]["ExecStart"])
        where = words.index("remotevirt")
        process = self.twistd(
            *words[where + 1 :],
            before=words[:where],
            env={
                "LISTEN_FDS": str(len(names)),
                "LISTEN_FDNAMES": ":".join(names),
                "NOTIFY_SOCKET": str(folder / "notify"),
            },
            descriptors={3 + index: listening.fileno() for index, listening in enumerate(sockets)},
        )
        yield process.line(rf"^Listening on unix:{folder}/rw$")
        yield process.line(rf"^Listening on unix:{folder}/ro \(read-only\)$")
        yield process.line(r"^Listening on tcp:127\.0\.0\.1:\d+$")
        self.assertEqual(["READY=1"], (yield self.told(notify)))
        os.rename(folder / "log", folder / "log.1")
        process.signal("HUP")
        first, stamp = yield self.told(notify)
        self.assertEqual("RELOADING=1", first)
        self.assertRegex(stamp, r"^MONOTONIC_USEC=\d+$")
        self.assertEqual(["READY=1"], (yield self.told(notify)))
        self.assertIn("starting up", (folder / "log.1").read_text())
        self.assertIn("reloaded log", (folder / "log").read_text())
        yield self.end(process)
        self.assertEqual(["STOPPING=1"], (yield self.told(notify)))
        self.assertTrue((folder / "rw").exists())
        self.assertEqual(b"", process.err)

    def told(self, notify: socket.socket) -> Any:
        """The next message that systemd would get, in lines."""
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
        from twisted.internet.interfaces import IReadDescriptor
        from zope.interface import implementer

        found: Deferred[list[str]] = Deferred()

        @implementer(IReadDescriptor)
        class Reader:
            """Waits for one datagram."""

            def fileno(self) -> int:
                return notify.fileno()

            def doRead(self) -> None:
                loop.removeReader(reader)
                found.callback(notify.recv(4096).decode().split("\n"))

            def connectionLost(self, reason: object) -> None:
                """Nothing to do."""

            def logPrefix(self) -> str:
                return "notify"

        loop: Any = reactor
        reader = Reader()
        loop.addReader(reader)
        self.addCleanup(loop.removeReader, reader)
        return found.addTimeout(30, loop)

    @inlineCallbacks
    def test_a_socket_that_is_not_ours(self) -> Any:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            for name, why in [
                ("web.socket", "systemd's socket web.socket: its name says not what for"),
                ("remotevirt.socket", "a socket of the kind INET is not for that"),
            ]:
                process = self.spawn(
                    sys.executable,
                    "-c",
                    "import os; os.environ['LISTEN_PID'] = str(os.getpid());"
                    "from twisted.scripts.twistd import run; run()",
                    "-n",
                    "--pidfile=",
                    "remotevirt",
                    env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": name},
                    descriptors={3: listening.fileno()},
                )
                self.assertEqual(1, (yield self.ended(process)))
                self.assertIn(why, process.err.decode())
