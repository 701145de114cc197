"""The daemon's command line, the file that it names, and what both together say.

::

    command line ──┐
                   ├──> Config ──> where to listen, which drivers, the log
    --config FILE ─┘

The command line wins over the file: an option that is the twin of a key (``TWINS``, and ``--set`` for all
keys) replaces its value, and one ``--listen`` or ``--listen-ro`` every listener that the file implies.

What can be checked before the daemon starts is checked in :meth:`Options.postOptions`, and a mistake found
there is one line on standard error and status 1; ``twistd`` itself would print its whole help first.
``--check-config`` prints all mistakes instead of the first, and ends there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import attrs
from twisted.python import usage

import remotevirt
from remotevirt import config
from remotevirt.auth import DEFAULT_MECHANISMS, SaslService, UsersError, UsersFile, users_portal
from remotevirt.drivers import DriverRegistry, load_driver
from remotevirt.errors import RemotevirtError
from remotevirt.listening import Places, auth_key, auth_of, find_places
from remotevirt.logs import Kind, Level, Logs, Output
from remotevirt.logs.settings import show
from remotevirt.policy import PolicyError, PolicyStore
from remotevirt.transport import Listener

__all__ = ["PATHS", "TWINS", "Options"]

DEFAULT_DRIVER = "test"

TWINS = [
    ("auth-tcp", "auth_tcp", "METHOD", "How TCP clients log in: none or sasl."),
    ("auth-tls", "auth_tls", "METHOD", "How TLS clients log in, on top of their certificate: none or sasl."),
    (
        "auth-unix-rw",
        "auth_unix_rw",
        "METHOD",
        "How clients of a read-write UNIX socket log in: none or sasl.",
    ),
    (
        "auth-unix-ro",
        "auth_unix_ro",
        "METHOD",
        "How clients of a read-only UNIX socket log in: none or sasl.",
    ),
    ("sasl-users", "sasl_users_file", "FILE", "Who may log in by SASL, with salted keys."),
    ("policy", "policy_file", "FILE", "Who may do what."),
    (
        "audit",
        "audit_file",
        "FILE",
        "Write a line for each change and each refusal here: a path, or journald.",
    ),
    ("metrics", "metrics_listen", "ENDPOINT", "Serve metrics and the status page here."),
    ("admin-socket", "admin_socket", "PATH", "Serve virt-admin here."),
    ("max-clients", "max_clients", "N", "Clients at once."),
    ("timeout", "idle_timeout", "SECONDS", "Exit when there was no client for so long; 0: never."),
    ("log-level", "log_level", "LEVEL", "What to log: 1 debug, 2 info, 3 warnings, 4 errors."),
    ("log-filters", "log_filters", "FILTERS", "Other levels for some sources: LEVEL:MATCH ..."),
    ("log-outputs", "log_outputs", "OUTPUTS", "Where to log: LEVEL:KIND[:WHERE] ..."),
    ("state", "state_dir", "DIR", "Folder for what must outlive the daemon."),
]
"""Options that say what a key of the file says: option, key, what it takes, help."""

PATHS = frozenset({"sasl_users_file", "policy_file", "admin_socket", "state_dir"})
"""Keys whose path may be relative on the command line: to the folder that the daemon is started in."""


class Options(usage.Options):
    """The options of ``twistd remotevirt``.

    Attributes:
        config: the settings, of file and command line.
        places: where to listen.
        auth: for each listener, how its clients log in.
        drivers: what to serve, the default one first.
        logs: the daemon's log.
        replaces_log: whether it takes the place of the log that ``twistd`` would open.
        policy: who may do what; None where no file says it.
        users: who may log in by SASL with a password; None where no file says it.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves libvirt's RPC protocol. Without options: the embedded hypervisor, on a read-write and a "
        "read-only UNIX socket in the runtime directory. Endpoints are Twisted's strings, such as "
        "unix:/run/vm.sock:mode=770, tcp:16509:interface=127.0.0.1 or systemd:domain=UNIX:name=vm, and "
        "libvirttls:16514:pki=DIR, which serves clients that show a certificate of DIR/cacert.pem."
    )
    optParameters: ClassVar[Sequence[Any]] = [
        ["config", "c", None, "Read this file, written like libvirtd.conf; the command line wins over it."],
        *[[option, None, None, text] for option, _, _, text in TWINS],
    ]
    optFlags: ClassVar[Sequence[Any]] = [
        ["check-config", None, "Check everything that can be checked without opening a socket, and exit."],
        ["verbose", "v", "Log everything, as --log-level 1 does."],
        ["trace", None, "Print each call and its reply, decoded."],
    ]
    compData = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.conf"),
            "state": usage.CompleteDirs(),
            "policy": usage.CompleteFiles(),
            "sasl-users": usage.CompleteFiles(),
            "audit": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["driver"] = []
        self["set"] = []
        self.config = config.Config()
        self.places = Places([])
        self.auth: dict[Listener, config.Auth] = {}
        self.drivers: list[Any] = []
        self.logs = Logs()
        self.replaces_log = False
        self.policy: PolicyStore | None = None
        self.users: UsersFile | None = None
        self._config_file: str | None = None

    @property
    def listeners(self) -> Sequence[Listener]:
        """Where to listen for clients of libvirt's remote program."""
        return self.places.listeners

    def opt_listen(self, endpoint: str) -> None:
        """Serve clients here; may be given several times."""
        self["listen"].append((endpoint, False))

    def opt_listen_ro(self, endpoint: str) -> None:
        """Serve clients here who may look but not change; may be given several times."""
        self["listen"].append((endpoint, True))

    def opt_driver(self, spec: str) -> None:
        """A hypervisor to serve (default: test): a name or package.module:Class, options after colons."""
        self["driver"].append(spec)

    def opt_set(self, setting: str) -> None:
        """Set any key of the configuration file, as KEY=VALUE; may be given several times."""
        self["set"].append(setting)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"remotevirt {remotevirt.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        Raises:
            UsageError: a mistake in it, when we are on our own.
            SystemExit: the same below ``twistd``, the mistake already printed; or the end of
                ``--check-config``.
        """
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            if self.parent is None:
                raise
            sys.stderr.write(f"remotevirt: {' '.join(str(error).split())}\n")
            sys.exit(1)

    def parseArgs(self, *args: str) -> None:
        """Refuse what is no option."""
        if args:
            raise usage.UsageError(f"unexpected argument {args[0]!r}; see --help")

    def postOptions(self) -> None:
        """Check everything that can be checked before the daemon starts, and make drivers and listeners."""
        mistakes = list(self._mistakes())
        if self["check-config"]:
            for mistake in mistakes:
                sys.stderr.write(f"remotevirt: {' '.join(mistake.split())}\n")
            if not mistakes:
                print("\n".join(["configuration OK", *self.config.notes]))
            sys.exit(1 if mistakes else 0)
        if mistakes:
            raise usage.UsageError(mistakes[0])

    def _mistakes(self) -> Iterator[str]:
        """Read and make everything; what goes wrong on the way."""
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it; twistd has by now

        if self["config"] is not None:
            self._config_file = os.path.abspath(self["config"])  # the daemon may change its folder
        try:
            self.config = self._read_config(self["config"])
        except RemotevirtError as error:
            yield _unread("--config", error)
            return  # what follows would be about settings that nobody wanted
        try:
            self.places = find_places(reactor, self["listen"], self.config, dry=self["check-config"])
        except RemotevirtError as error:
            yield str(error)
        for listener in self.listeners:
            self.auth[listener] = auth_of(listener, self.config)
            if self.auth[listener] == "sasl" and not self._knows_users():
                key = auth_key(listener)
                yield (
                    f"{listener.text}: clients have to log in there ({key}), and no sasl_users_file says "
                    f'who may; {key} = "none" lets in everybody who reaches it'
                )
        yield from self._load_rights()
        yield from self._missing("state_dir", self.config.state_dir)
        trail = self.config.audit_file
        if trail not in (None, "journald"):
            yield from self._missing("audit_file", os.path.dirname(trail))
        yield from self._load_drivers()
        if not self["check-config"]:
            try:
                self._open_log()
            except ValueError as error:
                yield str(error)

    def _missing(self, key: str, folder: str | os.PathLike[str] | None) -> Iterator[str]:
        """What is wrong with a folder that a key names, if anything is."""
        try:
            if folder is not None and not stat.S_ISDIR(os.stat(folder).st_mode):
                yield f"{self._said_by(key)} {folder}: not a folder"
        except FileNotFoundError:
            yield f"{self._said_by(key)} {folder}: no such folder"
        except OSError as error:
            yield f"{self._said_by(key)} {folder}: {error.strerror}"

    def _said_by(self, key: str) -> str:
        """Return what the value of a key comes from: its option, ``--set``, or the key in a file."""
        option = next((option for option, twin, _, _ in TWINS if twin == key), None)
        if option is not None and self[option] is not None:
            return f"--{option}"
        is_set = any(setting.partition("=")[0].strip() == key for setting in self["set"])
        return f"--set {key}" if is_set else key

    def _read_config(self, path: str | None) -> config.Config:
        """Read the configuration file, and what the command line says of its keys.

        Raises:
            ConfigError: in one of them there is a mistake.
        """
        settings = config.Config() if path is None else config.load(path)
        given: dict[str, Any] = {}
        for setting in self["set"]:
            key, equals, text = setting.partition("=")
            if not equals:
                raise config.ConfigError(f"--set {setting}: it is KEY=VALUE")
            given[key.strip()] = _read(f"--set {key.strip()}", key.strip(), text.strip())
        if self["verbose"]:
            given["log_level"] = config.read_value("log_level", 1)
        for option, key, _, _ in TWINS:
            text = self[option]
            if text is not None:
                is_path = key in PATHS or (key == "audit_file" and text != "journald")
                given[key] = _read(f"--{option}", key, os.path.abspath(text) if is_path else text)
        return attrs.evolve(settings, **given)

    def _open_log(self) -> None:
        """Open the log, unless that is left to ``twistd``.

        Raises:
            ValueError: it cannot be opened.
        """
        twistd: Any = self.parent or {}
        own_log = bool(twistd.get("logfile") or twistd.get("syslog") or twistd.get("logger"))
        # In the background there is no standard output: twistd makes its twistd.log, as for other services.
        default = [Output(Level.DEBUG, Kind.STDOUT)] if twistd.get("nodaemon") and not own_log else []
        outputs = self.config.log_outputs
        self.replaces_log = bool(outputs or default) and not own_log
        self.logs = Logs(self.config.log_level, self.config.log_filters, outputs, default)

    def reload_log(self) -> None:
        """Open the log's files anew, and let what the configuration now says of the log take effect.

        What it says as before stays as it is, perhaps set by virt-admin meanwhile.

        Raises:
            ConfigError, ValueError: there is a mistake in the configuration, or a file cannot be opened.
        """
        fresh, before = self._read_config(self._config_file), self.config
        if fresh.log_outputs != before.log_outputs:
            self.logs.set_outputs(show(fresh.log_outputs))
        else:
            self.logs.reopen()
        if fresh.log_level != before.log_level:
            self.logs.set_level(str(int(fresh.log_level)))
        if fresh.log_filters != before.log_filters:
            self.logs.set_filters(show(fresh.log_filters))
        self.config = attrs.evolve(
            before,
            log_level=fresh.log_level,
            log_filters=fresh.log_filters,
            log_outputs=fresh.log_outputs,
        )

    def log_options(self) -> dict[str, Any] | None:
        """What the options of ``twistd`` say of the log, for whoever has to print lines."""
        if self.parent is None:
            return None
        options = dict(self.parent)
        if self.config.log_outputs and self.replaces_log and not options.get("logfile"):
            options["logfile"] = "log_outputs"  # it is not standard output alone
        return options

    def fresh_config(self) -> config.Config:
        """The settings as file and command line say them now.

        Raises:
            ConfigError: there is a mistake in them.
        """
        return self._read_config(self._config_file)

    def _mechanisms(self) -> Sequence[str]:
        """The SASL mechanisms to offer."""
        return self.config.sasl_mechanisms or DEFAULT_MECHANISMS

    def _knows_users(self) -> bool:
        """Whether somebody can log in: a file has users, or Kerberos has."""
        return self.config.sasl_users_file is not None or "GSSAPI" in map(str.upper, self._mechanisms())

    def _load_rights(self) -> Iterator[str]:
        """Load the policy, and the users of SASL; what goes wrong."""
        try:
            if self.config.policy_file is not None:
                self.policy = PolicyStore(self.config.policy_file)
        except PolicyError as error:
            yield _unread(self._said_by("policy_file"), error)
            return
        try:
            if self.config.sasl_users_file is not None:
                self.users = UsersFile(self.config.sasl_users_file)
        except UsersError as error:
            yield _unread(self._said_by("sasl_users_file"), error)
            return
        try:
            sasl = self.make_sasl(None)
        except ValueError as error:
            yield f"sasl_mechanisms: {error}"
            return
        for listener, auth in self.auth.items():
            if sasl is not None and auth == "sasl" and not sasl.available(listener.transport):
                key = auth_key(listener)
                yield (
                    f"{listener.text}: clients have to log in there ({key}), and no SASL mechanism of "
                    f"{', '.join(sasl.mechanisms)} is good enough for plain TCP (tcp_min_ssf)"
                )

    def make_sasl(self, clock: Any) -> SaslService | None:
        """What lets clients log in; None where no listener asks them to.

        Args:
            clock: an IReactorTime.

        Raises:
            ValueError: a mechanism is not known, not installed, or nobody checks its users.
        """
        if "sasl" not in self.auth.values() or not self._knows_users():
            return None
        return SaslService(
            users_portal(self.users),
            clock,
            self._mechanisms(),
            self.config.sasl_allowed_username_list,
            self.config.tcp_min_ssf,
        )

    def _load_drivers(self) -> Iterator[str]:
        """Load the drivers; what goes wrong."""
        folder = self.config.state_dir
        for spec in self["driver"] or self.config.drivers or [DEFAULT_DRIVER]:
            try:
                self.drivers.append(load_driver(spec, None if folder is None else str(folder)))
            except Exception as error:  # a third party's module may raise anything
                yield f"--driver {spec}: {error or type(error).__name__}"
        if self.drivers:
            try:
                DriverRegistry(self.drivers)
            except ValueError as error:
                yield f"--driver: {error}"


def _unread(said_by: str, error: Exception) -> str:
    """A mistake in a file, which names its line; or that it cannot be read, and what named that file."""
    return f"{said_by} {error}" if isinstance(error.__cause__, OSError) else str(error)


def _read(option: str, key: str, text: str) -> Any:
    """A key's value as an option says it; a mistake names the option rather than the key."""
    try:
        return config.read_text(key, text)
    except config.ConfigError as error:
        raise config.ConfigError(f"{option}: {str(error).removeprefix(f'{key} ')}") from None
