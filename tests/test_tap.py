"""``twistd remotevirt``, the real program: how it starts, fails and ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall

from remotevirt import __version__
from remotevirt.config import IGNORED
from tests.daemons import QUIET, TCP, ProcessTestCase
from tests.transport.pki import Authority


class DaemonTests(ProcessTestCase):
    """The real program."""

    @inlineCallbacks
    def fails(self, *options: str, **kwargs: Any) -> Any:
        """The program fails with one line; returns it."""
        process = self.twistd(*options, **kwargs)
        status = yield self.ended(process)
        self.assertNotEqual(0, status, process.printed())
        self.assertNotIn(b"Traceback", process.out + process.err)
        lines = process.err.decode().splitlines()
        self.assertEqual(1, len(lines), process.printed())
        self.assertTrue(lines[0].startswith("remotevirt: "), lines[0])
        return lines[0]

    @inlineCallbacks
    def test_says_where_it_listens(self) -> Any:
        process = self.twistd("--driver", QUIET, "--listen", TCP, "--listen-ro", "unix:sock")
        found = yield process.line(r"^Listening on tcp:127\.0\.0\.1:(\d+)\n {4}(virsh .*)$")
        self.assertNotEqual("0", found[1])
        self.assertEqual(f"virsh -c 'test+tcp://127.0.0.1:{found[1]}/default'", found[2])
        yield process.line(r"^Listening on unix:sock \(read-only\)$")
        with socket.create_connection(("127.0.0.1", int(found[1]))):
            pass
        self.assertEqual(-signal.SIGTERM, (yield self.end(process)))
        self.assertEqual(b"", process.err)

    @inlineCallbacks
    def test_without_listen(self) -> Any:
        """Three sockets in the folder that the configuration names; they are gone afterwards."""
        folder = Path(tempfile.mkdtemp())  # not below trial's, whose path may be too long for a socket's
        self.addCleanup(folder.rmdir)
        settings = Path(os.path.abspath(self.mktemp()))
        settings.write_text(f'unix_sock_dir = "{folder}"\n')
        process = self.twistd("--driver", QUIET, "--config", str(settings))
        found = yield process.line(r"^ {4}(virsh -r .*)$")
        self.assertEqual(f"virsh -r -c 'test+unix:///default?socket={folder}/remotevirt-sock-ro'", found[1])
        sockets = sorted(folder.iterdir())
        names = ["remotevirt-admin-sock", "remotevirt-sock", "remotevirt-sock-ro"]
        self.assertEqual(names, [path.name for path in sockets])
        self.assertEqual([0o700, 0o700, 0o777], [stat.S_IMODE(path.stat().st_mode) for path in sockets])
        yield self.end(process)
        self.assertEqual([], list(folder.iterdir()))

    @inlineCallbacks
    def test_version(self) -> Any:
        process = self.twistd("--version")
        self.assertEqual(0, (yield self.ended(process)))
        self.assertEqual(f"remotevirt {__version__}\n", process.out.decode())

    @inlineCallbacks
    def check(self, *options: str) -> Any:
        """What ``--check-config`` says, and its status."""
        process = self.twistd("--check-config", *options)
        status = yield self.ended(process)
        return status, process.out.decode(), process.err.decode()

    @inlineCallbacks
    def test_check_config(self) -> Any:
        folder = Path(tempfile.mkdtemp())  # as above
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "vm.conf"
        path.write_text(f'min_workers = 5\nunix_sock_dir = "{folder}"\nlog_outputs = "1:file:{folder}/log"\n')
        found = yield self.check("--config", str(path), "--driver", QUIET)
        note = f"{path}:1: min_workers has no effect here: {IGNORED['min_workers'][1]}"
        self.assertEqual((0, f"configuration OK\n{note}\n", ""), found)
        # Sockets that only systemd could hand over are taken for granted.
        found = yield self.check("--listen", "systemd:domain=UNIX:name=vm", "--driver", QUIET)
        self.assertEqual((0, "configuration OK\n", ""), found)
        self.assertEqual(["vm.conf"], os.listdir(folder))

    @inlineCallbacks
    def test_check_config_says_all_that_is_wrong(self) -> Any:
        found = yield self.check("--driver", "nobody", "--listen", "tcp:1", "--state", "/nonexistent")
        self.assertEqual((1, ""), found[:2])
        lines = found[2].splitlines()
        self.assertEqual(3, len(lines), lines)
        for line, why in zip(
            lines, ["auth_tcp", "/nonexistent: no such folder", "--driver nobody: "], strict=True
        ):
            self.assertTrue(line.startswith("remotevirt: "), line)
            self.assertIn(why, line)

    @inlineCallbacks
    def test_timeout(self) -> Any:
        """Without a client the daemon ends, in order and with status 0."""
        process = self.twistd("--driver", QUIET, "--listen", "unix:sock", "--timeout", "1")
        yield process.line("^Listening on unix:sock$")
        self.assertEqual(0, (yield self.ended(process)))
        self.assertIn("no client for 1 seconds: the daemon ends", process.out.decode())
        self.assertEqual(b"", process.err)

    @inlineCallbacks
    def test_log_outputs(self) -> Any:
        """They are the only log; the lines that say where the daemon is are printed all the same."""
        folder = Path(self.mktemp()).absolute()
        outputs = f"1:json:{folder}/log 4:stderr"
        process = self.twistd(
            "--driver", QUIET, "--listen", "unix:sock", "--log-outputs", outputs, cwd=folder
        )
        yield process.line("^Listening on unix:sock$")
        yield self.end(process)
        self.assertEqual(2, len(process.out.splitlines()), process.printed())
        self.assertEqual(b"", process.err)
        records = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        messages = [record["message"] for record in records]
        self.assertIn("Listening on unix:sock", messages)
        self.assertIn("Server Shut Down.", messages)
        self.assertEqual({"log"}, set(os.listdir(folder)) - {"sock"})

    @inlineCallbacks
    def test_log_outputs_in_the_background(self) -> Any:
        """No twistd.log then."""
        folder = Path(self.mktemp()).absolute()
        process = self.twistd(
            *["--driver", QUIET, "--listen", TCP, "--timeout", "1", "--log-outputs", f"2:file:{folder}/log"],
            before=[f"--pidfile={folder}/pid"],
            cwd=folder,
        )
        self.assertEqual(0, (yield self.ended(process)), process.printed())
        ended = LoopingCall(lambda: (folder / "pid").exists() or ended.stop())
        yield ended.start(0.05).addTimeout(30, reactor)
        self.assertEqual(["log"], os.listdir(folder))
        self.assertIn("no client for 1 seconds", (folder / "log").read_text())

    @inlineCallbacks
    def test_log_level(self) -> Any:
        """The settings hold for standard output too, where the log goes in the foreground."""
        process = self.twistd("--driver", QUIET, "--listen", "unix:sock", "--log-level", "3")
        yield process.line("^Listening on unix:sock$")
        yield self.end(process)
        self.assertEqual(2, len(process.out.splitlines()), process.printed())

    @inlineCallbacks
    def test_mistake_in_the_options(self) -> Any:
        line = yield self.fails("--listen", "tcp:nope")
        self.assertEqual("remotevirt: tcp:nope: port: a number from 0 to 65535 is wanted, not 'nope'", line)

    @inlineCallbacks
    def test_audit_trail_that_cannot_be_written(self) -> Any:
        """Without it there is no daemon."""
        folder = Path(self.mktemp()).absolute()
        (folder / "audit").mkdir(parents=True)
        options = ("--driver", QUIET, "--listen", "unix:sock", "--audit")
        line = yield self.fails(*options, str(folder / "audit"))
        self.assertEqual(f"remotevirt: audit_file {folder}/audit: Is a directory", line)
        line = yield self.fails(*options, str(folder / "none" / "audit"))
        self.assertEqual(f"remotevirt: --audit {folder}/none: no such folder", line)

    @inlineCallbacks
    def test_port_in_use(self) -> Any:
        """One line, a status, and nothing left behind: no socket, no process id file."""
        folder = Path(self.mktemp())
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            line = yield self.fails(
                "--driver", QUIET, "--listen", "unix:sock", "--listen", text, cwd=folder, before=["-n"]
            )
        self.assertEqual(f"remotevirt: cannot listen on {text}: Address already in use", line)
        self.assertEqual([], os.listdir(folder))

    @inlineCallbacks
    def test_port_in_use_in_the_background(self) -> Any:
        """The waiting parent is told, and fails too."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            process = self.twistd(
                "--driver", QUIET, "--listen", text, before=["--logfile=log", "--pidfile=pid"]
            )
            self.assertEqual(1, (yield self.ended(process)))
        self.assertIn(b"cannot listen on tcp:", process.err)
        self.assertNotIn(b"Traceback", process.out + process.err)

    @inlineCallbacks
    def test_unreadable_key(self) -> Any:
        folder = Authority().server_folder(Path(os.path.abspath(self.mktemp())))
        (folder / "serverkey.pem").write_text("no key")
        text = f"libvirttls:0:pki={folder}"
        line = yield self.fails("--driver", QUIET, "--listen", text)
        self.assertEqual(
            f"remotevirt: {text}: {folder}/serverkey.pem: holds no readable PEM private key", line
        )

    @inlineCallbacks
    def test_dead_daemons_socket(self) -> Any:
        """After a kill the next daemon takes the socket over; while one lives, the next refuses to start."""
        folder = Path(self.mktemp())
        options = ["--driver", QUIET, "--listen", "unix:sock"]
        first = self.twistd(*options, cwd=folder)
        yield first.line("^Listening on unix:sock$")
        line = yield self.fails(*options, cwd=folder)
        self.assertEqual("remotevirt: cannot listen on unix:sock: another daemon listens there", line)
        yield self.end(first, signal.SIGKILL)
        self.assertEqual(["sock"], os.listdir(folder))
        second = self.twistd(*options, cwd=folder)
        yield second.line("^Listening on unix:sock$")
        client = yield connectProtocol(
            UNIXClientEndpoint(reactor, os.path.relpath(folder / "sock")), Protocol()
        )
        client.transport.loseConnection()

    @inlineCallbacks
    def test_socket_of_systemd(self) -> Any:
        """A socket opened by somebody else is served, and its name left when the daemon ends."""
        folder = tempfile.mkdtemp()
        path = f"{folder}/sock"
        self.addCleanup(shutil.rmtree, folder)
        with socket.socket(socket.AF_UNIX) as systemd:
            systemd.bind(path)
            systemd.listen()
            process = self.twistd(
                "--driver",
                QUIET,
                "--listen",
                "systemd:domain=UNIX:name=vm",
                env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "vm"},
                descriptors={3: systemd.fileno()},
            )
            yield process.line("^Listening on unix:.*sock$")
            client = yield connectProtocol(UNIXClientEndpoint(reactor, path), Protocol())
            client.transport.loseConnection()
            yield self.end(process)
        self.assertEqual(b"", process.err)
        self.assertTrue(os.path.exists(path))

    @inlineCallbacks
    def test_log_file_has_the_lines_too(self) -> Any:
        folder = Path(self.mktemp())
        process = self.twistd(
            "--driver",
            QUIET,
            "--listen",
            "unix:sock",
            cwd=folder,
            before=["-n", "--pidfile=", "--logfile=log"],
        )
        yield process.line("^Listening on unix:sock$")
        self.assertIn("Listening on unix:sock", (folder / "log").read_text())
