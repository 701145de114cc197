"""The options of ``twistd remotevirt``: what they are, what is wrong, and what the file adds."""

from __future__ import annotations

import os
import re
from pathlib import Path

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from remotevirt.config import KEYS, Config, ConfigError
from remotevirt.drivers.registry import DriverRegistry
from remotevirt.logs import Level
from remotevirt.logs.settings import show
from remotevirt.options import PATHS, TWINS, Options
from remotevirt.server import Limits
from remotevirt.tap import limits, makeService
from remotevirt.transport import UnixEndpoint
from tests.daemons import QUIET, TCP
from tests.quiet_driver import QuietDriver


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
            (["--config", "/nonexistent"], "--config /nonexistent: No such file or directory"),
            (["--policy", "/nonexistent"], "--policy /nonexistent: No such file or directory"),
            (["--sasl-users", "/nonexistent"], "--sasl-users /nonexistent: No such file or directory"),
            (["--set", "policy_file=/nonexistent"], "--set policy_file /nonexistent: No such file"),
            (["--state", "/nonexistent"], "--state /nonexistent: no such folder"),
            (["--set", "state_dir=/nonexistent"], "--set state_dir /nonexistent: no such folder"),
            (["--state", __file__], f"--state {os.path.abspath(__file__)}: not a folder"),
            (["--state", f"{__file__}/x"], f"--state {os.path.abspath(__file__)}/x: Not a directory"),
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

    def test_mistakes_of_a_file_name_its_keys(self) -> None:
        path = Path(self.mktemp())
        for setting, why in {
            'state_dir = "/nonexistent"': "state_dir /nonexistent: no such folder",
            'policy_file = "/nonexistent"': "policy_file /nonexistent: No such file or directory",
            "max_clients = many": f"{path.absolute()}:1: ",
        }.items():
            path.write_text(f"{setting}\n")
            why_not = self.refused("--driver", QUIET, "--listen", TCP, "--config", str(path.absolute()))
            self.assertTrue(why_not.startswith(why), why_not)

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
