"""The daemon's command line: ``twistd remotevirt``, its options, and the services they make.

::

    command line ──┐
                   ├──> where to listen, which drivers, limits ──> Daemon ──> one factory per listener
    --config FILE ─┘                                                          in a ListeningService

What can be checked before the daemon starts is checked in :meth:`Options.postOptions`, and every mistake
found there is one line on standard error and status 1; ``twistd`` itself would print its whole help first.
The command line wins over the file: one ``--listen`` or ``--listen-ro`` replaces all that the file implies.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.interfaces import IAddress
from twisted.python import usage

import remotevirt
from remotevirt import config
from remotevirt.description import quote
from remotevirt.drivers import DriverRegistry, load_driver
from remotevirt.errors import RemotevirtError
from remotevirt.server import Daemon, Limits, ServerFactory
from remotevirt.transport import (
    Announcer,
    Credentials,
    LibvirtTLSEndpoint,
    Listener,
    ListeningService,
    identify,
    parse_listener,
)

__all__ = ["Options", "makeService"]

SOCKET = "remotevirt-sock"
SOCKET_READONLY = "remotevirt-sock-ro"
DEFAULT_DRIVER = "test"


class Options(usage.Options):
    """The options of ``twistd remotevirt``."""

    synopsis = "[options]"
    longdesc = (
        "Serves libvirt's RPC protocol. Without options: the embedded hypervisor, on a read-write and a "
        "read-only UNIX socket in the runtime directory. Endpoints are Twisted's strings, such as "
        "unix:/run/vm.sock:mode=770, tcp:16509:interface=127.0.0.1 or systemd:domain=UNIX:name=vm, and "
        "libvirttls:16514:pki=DIR, which serves clients that show a certificate of DIR/cacert.pem."
    )
    optParameters: ClassVar[Sequence[Any]] = [
        ["config", "c", None, "Read this file, written like libvirtd.conf; the command line wins over it."],
        [
            "state",
            None,
            None,
            "Folder for what must outlive the daemon (driver test keeps nothing).",
        ],
    ]
    compData = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.conf"), "state": usage.CompleteDirs()}
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []
        self["driver"] = []
        self.config = config.Config()
        self.listeners: list[Listener] = []
        self.drivers: list[Any] = []

    def opt_listen(self, endpoint: str) -> None:
        """Serve clients here; may be given several times."""
        self["listen"].append((endpoint, False))

    def opt_listen_ro(self, endpoint: str) -> None:
        """Serve clients here who may look but not change; may be given several times."""
        self["listen"].append((endpoint, True))

    def opt_driver(self, spec: str) -> None:
        """A hypervisor to serve (default: test): a name or package.module:Class, options after colons."""
        self["driver"].append(spec)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"remotevirt {remotevirt.__version__}")
        sys.exit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        Raises:
            UsageError: a mistake in it, when we are on our own.
            SystemExit: the same below ``twistd``, the mistake already printed.
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
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it; twistd has by now

        try:
            if self["config"] is not None:
                self.config = config.load(self["config"])
            self.listeners = listeners(reactor, self["listen"], self.config)
        except RemotevirtError as error:
            raise usage.UsageError(str(error)) from None
        if self["state"] is not None and not os.path.isdir(self["state"]):
            raise usage.UsageError(f"--state {self['state']}: no such folder")
        for spec in self["driver"] or [DEFAULT_DRIVER]:
            try:
                self.drivers.append(load_driver(spec))
            except Exception as error:  # a third party's module may raise anything
                raise usage.UsageError(f"--driver {spec}: {error or type(error).__name__}") from None
        try:
            DriverRegistry(self.drivers)
        except ValueError as error:
            raise usage.UsageError(f"--driver: {error}") from None


def makeService(options: Options) -> IService:
    """Make the daemon that parsed options describe; called by ``twistd``."""
    # What has been made until now stays. Looking at it again and again would take half of the time that the
    # collector of garbage keeps everybody waiting.
    gc.freeze()
    daemon = Daemon(options.drivers, limits=limits(options.config))

    def make_factory(listener: Listener) -> ServerFactory:
        return ServerFactory(
            daemon.server,
            readonly=listener.readonly,
            transport=listener.transport,
            name=listener.text,
            identify=identify,
        )

    def opened(listener: Listener, address: IAddress) -> None:
        # Whoever reads the line may act on it at once: connect, or end us, in which case the reactor must be
        # there to close the sockets in order.
        daemon.reactor.callWhenRunning(announcer.opened, listener, address)

    announcer = Announcer.below_twistd(options.drivers[0].default_uri, options.parent)
    return ListeningService(options.listeners, make_factory, opened)


def limits(settings: config.Config) -> Limits:
    """The limits of a configuration file; those it does not name keep their defaults."""
    names = ("max_clients", "max_client_requests", "keepalive_interval", "keepalive_count")
    return Limits(**{name: value for name in names if (value := getattr(settings, name)) is not None})


def listeners(reactor: Any, given: Sequence[tuple[str, bool]], settings: config.Config) -> list[Listener]:
    """Where to listen: as the command line says, or else the configuration.

    Args:
        reactor: what to listen with.
        given: endpoint strings with whether they are read-only.
        settings: the configuration.

    Raises:
        DescriptionError, PKIError, ConfigError: one of them cannot be made.
    """
    if given:
        return [
            parse_listener(
                reactor,
                text,
                readonly=readonly,
                mode=settings.unix_sock_ro_perms if readonly else settings.unix_sock_rw_perms,
            )
            for text, readonly in given
        ]
    folder = settings.unix_sock_dir or runtime_folder()
    group = f":group={quote(settings.unix_sock_group)}" if settings.unix_sock_group else ""

    def unix(name: str, mode: int, readonly: bool) -> Listener:
        text = f"unix:{quote(str(folder / name))}:mode={mode:o}{group}"
        return parse_listener(reactor, text, readonly=readonly)

    found = [
        unix(SOCKET, settings.unix_sock_rw_perms, False),
        unix(SOCKET_READONLY, settings.unix_sock_ro_perms, True),
    ]
    if settings.listen_tcp:
        address = quote(settings.listen_addr or "127.0.0.1")
        found.append(parse_listener(reactor, f"tcp:{settings.tcp_port}:interface={address}"))
    if settings.listen_tls:
        credentials = Credentials.load_files(
            settings.ca_file, settings.cert_file, settings.key_file, settings.crl_file
        )
        address = settings.listen_addr or ""
        text = f"libvirttls:{settings.tls_port}:interface={quote(address)}"
        found.append(
            Listener(text, LibvirtTLSEndpoint(reactor, settings.tls_port, credentials, address), "tls")
        )
    return found


def runtime_folder(uid: int | None = None, environ: dict[str, str] | None = None) -> Path:
    """The folder for sockets of whoever runs us, made if need be.

    Returns:
        ``$RUNTIME_DIRECTORY`` where systemd has made one for us (``RuntimeDirectory=``). Otherwise
        ``/run/remotevirt`` for root; ``$XDG_RUNTIME_DIR/remotevirt`` for others, or below ``~/.cache`` where
        the system has no such folder (libvirt's rule, with our name).

    Raises:
        ConfigError: it cannot be made.
    """
    uid = os.geteuid() if uid is None else uid
    environ = dict(os.environ) if environ is None else environ
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        folder, mode = Path(given), 0o755
    elif uid == 0:
        folder, mode = Path("/run/remotevirt"), 0o755
    else:
        base = environ.get("XDG_RUNTIME_DIR") or os.path.join(os.path.expanduser("~"), ".cache")
        folder, mode = Path(base, "remotevirt"), 0o700
    if not folder.is_dir():
        try:
            folder.mkdir(parents=True)
            folder.chmod(mode)  # whatever the umask: everybody may reach the read-only socket
        except OSError as error:
            raise config.ConfigError(f"cannot make {folder} for sockets: {error.strerror}") from None
    return folder
