"""``twistd remotevirt``: its options, its defaults, how it fails; by the real program where it matters."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from remotevirt import __version__
from remotevirt.config import Config, ConfigError
from remotevirt.drivers.registry import DriverRegistry
from remotevirt.listening import find_places, runtime_folder
from remotevirt.server import Limits
from remotevirt.tap import Options, limits, makeService
from remotevirt.transport import Credentials, LibvirtTLSEndpoint, UnixEndpoint
from tests.daemons import ProcessTestCase
from tests.quiet_driver import QuietDriver
from tests.transport.pki import Authority

QUIET = "tests.quiet_driver:QuietDriver"
TCP = "tcp:0:interface=127.0.0.1"


class OptionsTests(TestCase):
    """The command line, parsed."""

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(["--driver", QUIET, *words])
        return options

    def refused(self, *words: str) -> str:
        options = Options()
        error = self.assertRaises(UsageError, options.parseOptions, words)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_listeners_in_order(self) -> None:
        found = self.parse(
            "--listen", TCP, "--listen-ro", "unix:s", "--listen", "tcp6:1:interface=\\:\\:1"
        ).listeners
        self.assertEqual(
            [(TCP, "tcp", False), ("unix:s", "unix", True), ("tcp6:1:interface=\\:\\:1", "tcp", False)],
            [(listener.text, listener.transport, listener.readonly) for listener in found],
        )

    def test_drivers_with_options(self) -> None:
        (driver,) = self.parse("--listen", TCP).drivers
        self.assertIsInstance(driver, QuietDriver)
        self.assertEqual("no thanks", self.refused("--driver", f"{QUIET}:fail=no thanks").rpartition(": ")[2])

    def test_refused(self) -> None:
        for words, why in [
            (["--listen", "nope:1"], "nope:1: Unknown endpoint type: 'nope'"),
            (["--listen", "tcp:abc"], "tcp:abc: port: a number from 0 to 65535 is wanted, not 'abc'"),
            (["--listen", "tcp:70000"], "not '70000'"),
            (["--listen", "tcp:1:speed=3"], "speed"),
            (["--listen", "unix:s:mode=999"], "mode: permissions from 0 to 777 are wanted, not '999'"),
            (["--listen", "unix:s:colour=red"], "it is unix:PATH[:mode=770]"),
            (["--listen", ""], "a name must come first"),
            (["--listen-ro", "libvirttls:1"], "libvirttls:PORT:pki=DIR"),
            (["--listen", "libvirttls:1:pki=/nonexistent"], "/nonexistent: no such folder of certificates"),
            (["--listen", "systemd:domain=UNIX:index=7"], "systemd:domain=UNIX:index=7: "),
            (["--driver", "nobody"], "--driver nobody: "),
            (["--driver", "tests.quiet_driver:Other"], "Other"),
            (["--driver", f"{QUIET}:speed=3"], "speed"),
            (["--driver", QUIET, "--driver", QUIET], "two drivers answer test: URIs"),
            (["--config", "/nonexistent"], "/nonexistent: No such file or directory"),
            (["--driver", QUIET, "--listen", TCP, "--state", "/nonexistent"], "no such folder"),
            (["--nonsense"], "nonsense"),
            (["word"], "unexpected argument 'word'"),
        ]:
            listen = [] if "--listen" in words or "--listen-ro" in words else ["--listen", TCP]
            self.assertIn(why, self.refused(*listen, *words))

    def test_command_line_wins_over_the_file(self) -> None:
        path = self.mktemp()
        Path(path).write_text('listen_tcp = 1\nunix_sock_rw_perms = "0750"\nmax_clients = 7\n')
        options = self.parse("--config", path, "--listen", "unix:s")
        (listener,) = options.listeners
        assert isinstance(listener.endpoint, UnixEndpoint)
        self.assertEqual(0o750, listener.endpoint.mode)
        self.assertEqual(7, limits(options.config).max_clients)

    def test_service(self) -> None:
        service = makeService(self.parse("--listen", TCP))
        self.assertTrue(IService.providedBy(service))

    def test_plugin(self) -> None:
        (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "remotevirt"]
        self.assertIs(Options, maker.options)


class ListenersTests(TestCase):
    """Where to listen when the command line does not say."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.folder = Path(os.path.relpath(self.folder))

    def test_two_sockets(self) -> None:
        found = find_places(reactor, [], Config(unix_sock_dir=self.folder)).listeners
        endpoints: Any = [listener.endpoint for listener in found]
        self.assertEqual(["remotevirt-sock", "remotevirt-sock-ro"], [Path(e.path).name for e in endpoints])
        self.assertEqual([0o700, 0o777], [endpoint.mode for endpoint in endpoints])
        self.assertEqual([False, True], [listener.readonly for listener in found])

    def test_awkward_folder(self) -> None:
        """The folder's name is not mistaken for options."""
        folder = self.folder / "a:mode=777"
        found: Any = find_places(reactor, [], Config(unix_sock_dir=folder, unix_sock_group="0")).listeners
        self.assertEqual(str(folder / "remotevirt-sock"), found[0].endpoint.path)
        self.assertEqual((0o700, 0), (found[0].endpoint.mode, found[0].endpoint.gid))

    def test_tcp_on_loopback_unless_said(self) -> None:
        for settings, text in [
            (Config(unix_sock_dir=self.folder, listen_tcp=True), "tcp:16509:interface=127.0.0.1"),
            (
                Config(unix_sock_dir=self.folder, listen_tcp=True, tcp_port=7, listen_addr="::1"),
                r"tcp:7:interface=\:\:1",
            ),
        ]:
            self.assertEqual(text, find_places(reactor, [], settings).listeners[2].text)

    def test_tls(self) -> None:
        folder = Authority().server_folder(self.folder / "pki")
        settings = Config(
            unix_sock_dir=self.folder,
            listen_tls=True,
            ca_file=folder / "cacert.pem",
            cert_file=folder / "servercert.pem",
            key_file=folder / "serverkey.pem",
        )
        listener = find_places(reactor, [], settings).listeners[2]
        assert isinstance(listener.endpoint, LibvirtTLSEndpoint)
        self.assertEqual("tls", listener.transport)
        self.assertEqual(Credentials.load(folder).chain, listener.endpoint.credentials.chain)

    def test_runtime_folder(self) -> None:
        before = os.umask(0o077)
        try:
            found = runtime_folder(1000, {"XDG_RUNTIME_DIR": str(self.folder)})
        finally:
            os.umask(before)
        self.assertEqual(self.folder / "remotevirt", found)
        self.assertEqual(0o700, stat.S_IMODE(found.stat().st_mode))
        self.assertEqual(found, runtime_folder(1000, {"XDG_RUNTIME_DIR": str(self.folder)}))

    def test_runtime_folder_of_systemd(self) -> None:
        """The first folder that systemd has made for the service comes before all rules, for root too."""
        found = runtime_folder(0, {"RUNTIME_DIRECTORY": f"{self.folder}/vm:/run/other"})
        self.assertEqual(self.folder / "vm", found)
        self.assertTrue(found.is_dir())

    def test_runtime_folder_cannot_be_made(self) -> None:
        (self.folder / "file").write_text("")
        environ = {"XDG_RUNTIME_DIR": str(self.folder / "file")}
        error = self.assertRaises(ConfigError, runtime_folder, 1000, environ)
        folder = self.folder / "file" / "remotevirt"
        self.assertEqual(f"cannot make {folder} for sockets: Not a directory", str(error))

    def test_limits(self) -> None:
        self.assertEqual(Limits(), limits(Config()))
        found = limits(Config(max_clients=1, max_client_requests=2, keepalive_interval=-1, keepalive_count=0))
        self.assertEqual(Limits(1, 2, -1, 0), found)

    def test_builtin_drivers_are_registered(self) -> None:
        """What works in a checkout works when installed."""
        from remotevirt.drivers.registry import BUILTIN

        text = Path(__file__).parent.parent.joinpath("setup.py").read_text()
        self.assertEqual(BUILTIN, dict(re.findall(r'"(\w+) = (remotevirt\.drivers[\w.]+:\w+)"', text)))
        self.assertEqual(("test",), DriverRegistry([QuietDriver()]).drivers[0].schemes)


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
        """Two sockets in the folder that the configuration names; they are gone afterwards."""
        folder = Path(tempfile.mkdtemp())  # not below trial's, whose path may be too long for a socket's
        self.addCleanup(folder.rmdir)
        settings = Path(os.path.abspath(self.mktemp()))
        settings.write_text(f'unix_sock_dir = "{folder}"\n')
        process = self.twistd("--driver", QUIET, "--config", str(settings))
        found = yield process.line(r"^ {4}(virsh -r .*)$")
        self.assertEqual(f"virsh -r -c 'test+unix:///default?socket={folder}/remotevirt-sock-ro'", found[1])
        sockets = sorted(folder.iterdir())
        self.assertEqual(["remotevirt-sock", "remotevirt-sock-ro"], [path.name for path in sockets])
        self.assertEqual([0o700, 0o777], [stat.S_IMODE(path.stat().st_mode) for path in sockets])
        yield self.end(process)
        self.assertEqual([], list(folder.iterdir()))

    @inlineCallbacks
    def test_version(self) -> Any:
        process = self.twistd("--version")
        self.assertEqual(0, (yield self.ended(process)))
        self.assertEqual(f"remotevirt {__version__}\n", process.out.decode())

    @inlineCallbacks
    def test_mistake_in_the_options(self) -> Any:
        line = yield self.fails("--listen", "tcp:nope")
        self.assertEqual("remotevirt: tcp:nope: port: a number from 0 to 65535 is wanted, not 'nope'", line)

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
