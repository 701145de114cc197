"""``twistd remotevirt``: its options, its defaults, how it fails; by the real program where it matters."""

from __future__ import annotations

import json
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
from twisted.internet.task import LoopingCall
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from remotevirt import __version__
from remotevirt.config import IGNORED, KEYS, Config, ConfigError
from remotevirt.drivers.registry import DriverRegistry
from remotevirt.logs import Level
from remotevirt.logs.settings import show
from remotevirt.options import PATHS, TWINS, Options
from remotevirt.server import Limits
from remotevirt.tap import limits, makeService
from remotevirt.transport import UnixEndpoint
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

    def test_twins(self) -> None:
        """Each option that says what a key says sets that key, and is taken before the file."""
        path = Path(self.mktemp()).absolute()
        path.write_text('max_clients = 7\nlog_filters = "4:remote"\nkeepalive_count = 3\nauth_tls = "sasl"\n')
        options = self.parse(
            *[
                "--config",
                str(path),
                "--listen",
                TCP,
                "--max-clients",
                "9",
                "--log-filters",
                "1:tls 2:srv",
            ],
            *["--set", "keepalive_interval=-1", "--set", "unix_sock_rw_perms = 0770", "--auth-tcp", "none"],
        )
        found = options.config
        self.assertEqual((9, 3, -1), (found.max_clients, found.keepalive_count, found.keepalive_interval))
        self.assertEqual("1:*tls* 2:*srv*", show(found.log_filters))
        self.assertEqual(0o770, found.unix_sock_rw_perms)
        self.assertEqual(("none", "sasl"), (found.auth_tcp, found.auth_tls))
        self.assertEqual("1:*tls* 2:*srv*", options.logs.get_filters())

    def test_every_twin_is_the_twin_of_a_key(self) -> None:
        """And each takes what the key takes: a path may be relative on the command line."""
        self.assertEqual(set(), {key for _, key, _, _ in TWINS} - set(KEYS))
        self.assertEqual(set(), PATHS - set(KEYS))
        folder = Path(self.mktemp())
        folder.mkdir()
        options = self.parse("--listen", TCP, "--state", str(folder))
        self.assertEqual(folder.absolute(), options.config.state_dir)

    def test_verbose(self) -> None:
        self.assertEqual(Level.DEBUG, self.parse("--listen", TCP, "--verbose").config.log_level)
        found = self.parse("--listen", TCP, "--verbose", "--log-level", "3").config
        self.assertEqual(Level.WARNING, found.log_level)

    def test_log_reloaded(self) -> None:
        """What the file says of the log now takes effect; what it says as before stays as somebody set it."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        path = folder / "vm.conf"
        path.write_text(f'log_outputs = "1:file:{folder}/a"\nlog_filters = "1:tls"\n')
        options = self.parse("--config", str(path), "--listen", TCP)
        logs = options.logs
        self.addCleanup(logs.close)
        logs.set_filters("4:set-by-hand")
        (folder / "a").rename(folder / "a.1")
        path.write_text(f'log_outputs = "1:file:{folder}/a"\nlog_filters = "1:tls"\nlog_level = 4\n')
        options.reload_log()
        self.assertTrue((folder / "a").exists())
        self.assertEqual(("4", "4:*set-by-hand*"), (logs.get_level(), logs.get_filters()))
        path.write_text(f'log_outputs = "3:file:{folder}/b"\nlog_filters = "2:tls"\n')
        options.reload_log()
        now = (logs.get_level(), logs.get_filters(), logs.get_outputs())
        self.assertEqual(("2", "2:*tls*", f"3:file:{folder}/b"), now)
        path.write_text("log_level = 9\n")
        self.assertRaises(ConfigError, options.reload_log)
        path.write_text('log_outputs = "3:file:/nonexistent/b"\nlog_level = 4\n')
        self.assertRaises(ValueError, options.reload_log)
        self.assertEqual(now, (logs.get_level(), logs.get_filters(), logs.get_outputs()))

    def test_drivers_of_the_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text(f'drivers = [ "{QUIET}" ]\n')
        options = Options()
        options.parseOptions(["--config", str(path), "--listen", TCP])
        self.assertIsInstance(options.drivers[0], QuietDriver)

    def test_mistakes_name_the_option(self) -> None:
        for words, why in [
            (["--max-clients", "many"], "--max-clients: wants a number of at least 1"),
            (["--set", "max_clients=0"], "--set max_clients: wants a number of at least 1"),
            (["--set", "max_client=1"], "--set max_client: unknown key max_client (is max_clients meant?)"),
            (["--set", "max_clients"], "--set max_clients: it is KEY=VALUE"),
            (["--set", "min_workers=1"], "--set min_workers: has no effect here"),
            (["--auth-unix-rw", "polkit"], '--auth-unix-rw: wants "none" or "sasl": polkit'),
            (["--log-outputs", "1:file:x"], "file wants an absolute path"),
            (
                ["--log-outputs", "1:file:/nonexistent/x"],
                "1:file:/nonexistent/x': No such file",
            ),
            (["--timeout", "soon"], "--timeout: wants a number of at least 0"),
        ]:
            self.assertIn(why, self.refused("--driver", QUIET, "--listen", TCP, *words))

    def test_protection_that_is_not_there(self) -> None:
        """What would protect somebody and cannot be had is refused, never ignored."""
        folder = Path(self.mktemp())
        folder.mkdir()
        broken = folder / "broken"
        broken.write_text("what is this?")
        for setting, why in {
            "policy_file=/nowhere": "/nowhere",
            f"policy_file={broken.absolute()}": str(broken),
            "sasl_users_file=/nowhere": "/nowhere",
            f"sasl_users_file={broken.absolute()}": str(broken),
            "tls_priority=NONSENSE": "tls_priority",
            "metrics_listen=nonsense": "nonsense",
        }.items():
            self.assertIn(why, self.refused("--driver", QUIET, "--listen", TCP, "--set", setting))
        users = folder / "users"
        users.touch(mode=0o600)
        words = ("--auth-tcp", "sasl", "--sasl-users", str(users))
        self.assertIn("CRAM-MD5", self.refused("--listen", TCP, *words, "--set", "sasl_mechanisms=CRAM-MD5"))

    def test_nothing_to_log_in_with(self) -> None:
        """Where nobody could log in, the daemon does not start."""
        folder = Path(self.mktemp())
        folder.mkdir()
        users = folder / "users"
        users.touch(mode=0o600)
        words = ("--listen", TCP, "--auth-tcp", "sasl", "--sasl-users", str(users))
        why = self.refused("--driver", QUIET, *words)
        self.assertIn(f"{TCP}: clients have to log in there (auth_tcp), and no SASL mechanism of", why)
        self.assertIn("SCRAM-SHA-256 is good enough for plain TCP", why)
        self.assertIn(
            "PLAIN is", self.refused(*words, "--set", "sasl_mechanisms=PLAIN", "--set", "tcp_min_ssf=0")
        )
        self.parse(*words, "--set", "tcp_min_ssf=0")
        self.parse("--listen", "unix:s", "--auth-unix-rw", "sasl", "--sasl-users", str(users))

    def test_tcp_beyond_this_machine(self) -> None:
        """Clients from elsewhere have to say who they are, unless the operator says otherwise."""
        for endpoint in ("tcp:0", "tcp6:0", "tcp:0:interface=0.0.0.0", "tcp:0:interface=192.0.2.1"):
            why = self.refused("--driver", QUIET, "--listen", endpoint)
            self.assertIn(f"{endpoint}: clients have to log in there (auth_tcp)", why)
            self.parse("--listen", endpoint, "--auth-tcp", "none")
        for endpoint in (TCP, "tcp:0:interface=localhost", "tcp6:0:interface=\\:\\:1"):
            self.parse("--listen", endpoint)
            self.assertIn("no sasl_users_file", self.refused("--listen", endpoint, "--auth-tcp", "sasl"))
        self.assertIn("(auth_unix_rw)", self.refused("--listen", "unix:s", "--auth-unix-rw", "sasl"))
        self.parse("--listen-ro", "unix:s", "--auth-unix-rw", "sasl")


class LimitsTests(TestCase):
    """The limits of the configuration."""

    def test_limits(self) -> None:
        self.assertEqual(Limits(), limits(Config()))
        found = limits(Config(max_clients=1, max_client_requests=2, keepalive_interval=-1, keepalive_count=0))
        wanted = Limits(max_clients=1, max_client_requests=2, keepalive_interval=-1, keepalive_count=0)
        self.assertEqual(wanted, found)

    def test_builtin_drivers_are_registered(self) -> None:
        """What works in a checkout works when installed."""
        from remotevirt.drivers.registry import BUILTIN

        text = Path(__file__).parent.parent.joinpath("setup.py").read_text()
        self.assertEqual(BUILTIN, dict(re.findall(r'"(\w+) = (remotevirt\.[\w.]+:[A-Z]\w+)"', text)))
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
        self.assertEqual(f"remotevirt: audit_file {folder}/none/audit: no such folder", line)

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
