"""Where a daemon listens: as its command line says, or on systemd's sockets, or as its configuration says.

::

    --listen given?                  those, and nothing else
    sockets inherited from systemd?  those, each for what its name says (ROLES)
    otherwise                        remotevirt-sock, remotevirt-sock-ro; TCP and TLS where listen_* says so

As in libvirtd, the ``listen_*`` and ``unix_sock_*`` keys mean nothing for sockets that systemd opened.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from remotevirt.config import Auth, Config, ConfigError
from remotevirt.description import Description, quote
from remotevirt.transport import Credentials, LibvirtTLSEndpoint, Listener, TLSSettings, parse_listener
from remotevirt.transport.settings import HANDSHAKE_TIMEOUT

__all__ = [
    "ADMIN_SOCKET",
    "ROLES",
    "SOCKET",
    "SOCKET_READONLY",
    "Places",
    "auth_key",
    "auth_of",
    "find_places",
    "runtime_folder",
    "tls_settings",
]

SOCKET = "remotevirt-sock"
SOCKET_READONLY = "remotevirt-sock-ro"
ADMIN_SOCKET = "remotevirt-admin-sock"

ROLES = ("remotevirt", "remotevirt-ro", "remotevirt-admin", "remotevirt-tcp", "remotevirt-tls")
"""The names of sockets that systemd hands over, with or without ``.socket``: by default a unit's name."""

BACKLOG = 50
"""Connections that may wait to be accepted, where ``max_queued_clients`` is not set."""

FIRST_DESCRIPTOR = 3
"""sd_listen_fds(3): where inherited sockets begin."""


@attrs.frozen
class Places:
    """Where to listen.

    Attributes:
        listeners: for clients of libvirt's remote program, in order.
        admin: for virt-admin; None where there is to be no such socket.
        metrics: for metrics and the status page; None where there are to be none.
    """

    listeners: Sequence[Listener]
    admin: Listener | None = None
    metrics: Listener | None = None


def find_places(
    reactor: Any,
    given: Sequence[tuple[str, bool]],
    settings: Config,
    *,
    environ: Mapping[str, str] | None = None,
    dry: bool = False,
) -> Places:
    """Where to listen: as the command line says, or systemd, or else the configuration.

    Args:
        reactor: what to listen with.
        given: endpoint strings of the command line with whether they are read-only.
        settings: the configuration, with what the command line says beside endpoints.
        environ: where systemd tells of its sockets; None: the process's.
        dry: only check: make no folder, and take systemd's sockets for granted.

    Raises:
        DescriptionError, PKIError, ConfigError: one of them cannot be made.
    """
    places = _find(reactor, given, settings, dict(os.environ) if environ is None else environ, dry)
    if settings.metrics_listen is None:
        return places
    return attrs.evolve(places, metrics=parse_listener(reactor, settings.metrics_listen))


def _find(
    reactor: Any, given: Sequence[tuple[str, bool]], settings: Config, environ: Mapping[str, str], dry: bool
) -> Places:
    if given:
        found = [
            parse_listener(
                reactor,
                text,
                readonly=readonly,
                mode=settings.unix_sock_ro_perms if readonly else settings.unix_sock_rw_perms,
                tls=tls_settings(settings),
            )
            for text, readonly in given
            if not (dry and Description.parse(text).name.lower() == "systemd")
        ]
        return Places(found, None if settings.admin_socket is None else _admin(reactor, settings, Path()))
    names = inherited_names(environ)
    if names:
        return _adopt(reactor, names, settings)
    folder = settings.unix_sock_dir or runtime_folder(make=not dry)
    found = [
        _unix(reactor, folder / SOCKET, settings.unix_sock_rw_perms, settings),
        _unix(reactor, folder / SOCKET_READONLY, settings.unix_sock_ro_perms, settings, readonly=True),
    ]
    if settings.listen_tcp:
        address = quote(settings.listen_addr or "127.0.0.1")
        text = f"tcp:{settings.tcp_port}:interface={address}{_backlog(settings)}"
        found.append(parse_listener(reactor, text))
    if settings.listen_tls:
        address = settings.listen_addr or ""
        text = f"libvirttls:{settings.tls_port}:interface={quote(address)}"
        backlog = settings.max_queued_clients or BACKLOG
        endpoint = LibvirtTLSEndpoint(
            reactor, settings.tls_port, _credentials(settings), address, backlog, tls_settings(settings)
        )
        found.append(Listener(text, endpoint, "tls"))
    return Places(found, _admin(reactor, settings, folder))


def auth_of(listener: Listener, settings: Config) -> Auth:
    """How clients of a listener prove who they are, beyond what its transport says.

    ``auth_tcp`` that is not set means "none" on the loopback address, where only this machine comes in, and
    "sasl" anywhere else. (libvirtd's default is "sasl", for both.)
    """
    found: Auth | None = getattr(settings, auth_key(listener))
    if found is not None:
        return found
    return "none" if _is_loopback(listener) else "sasl"


def auth_key(listener: Listener) -> str:
    """The key that says how clients of a listener prove who they are."""
    if listener.transport == "unix":
        return "auth_unix_ro" if listener.readonly else "auth_unix_rw"
    return f"auth_{listener.transport}"


def runtime_folder(
    uid: int | None = None, environ: Mapping[str, str] | None = None, *, make: bool = True
) -> Path:
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
    if make and not os.path.isdir(folder):
        try:
            folder.mkdir(parents=True)
            folder.chmod(mode)  # whatever the umask: everybody may reach the read-only socket
        except OSError as error:
            raise ConfigError(f"cannot make {folder} for sockets: {error.strerror}") from None
    return folder


def inherited_names(environ: Mapping[str, str]) -> Sequence[str]:
    """The names of the sockets that systemd handed to this process, in the order of their descriptors."""
    names = environ.get("LISTEN_FDNAMES", "")
    # Twisted takes LISTEN_PID and LISTEN_FDS out of the environment when it has adopted the sockets. A
    # LISTEN_PID that is still there is another process's.
    meant_for_us = environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid())
    return names.split(":") if names and meant_for_us else ()


def _adopt(reactor: Any, names: Sequence[str], settings: Config) -> Places:
    found = []
    admin = None
    for index, name in enumerate(names):
        role = name.removesuffix(".socket")
        if role not in ROLES:
            wanted = ", ".join(f"{role}.socket" for role in ROLES)
            raise ConfigError(f"systemd's socket {name}: its name says not what for; those that do: {wanted}")
        with socket.socket(fileno=os.dup(FIRST_DESCRIPTOR + index)) as inherited:
            domain = inherited.family.name.removeprefix("AF_")
        text = f"systemd:domain={domain}:index={index}"
        if (domain == "UNIX") != (role in ROLES[:3]):
            raise ConfigError(f"systemd's socket {name}: a socket of the kind {domain} is not for that")
        listener = parse_listener(reactor, text, readonly=role == "remotevirt-ro")
        if role == "remotevirt-admin":
            admin = listener
        elif role == "remotevirt-tls":
            found.append(_adopt_tls(reactor, listener, settings))
        else:
            found.append(listener)
    return Places(found, admin)


def _adopt_tls(reactor: Any, listener: Listener, settings: Config) -> Listener:
    """TLS, with the certificates of the configuration, on a socket that systemd opened."""
    endpoint = LibvirtTLSEndpoint(
        reactor, 0, _credentials(settings), settings=tls_settings(settings), over=listener.endpoint
    )
    return Listener(listener.text, endpoint, "tls")


def tls_settings(settings: Config, before: TLSSettings | None = None) -> TLSSettings:
    """How TLS treats clients and our own certificate.

    Args:
        settings: the configuration.
        before: what is in force, perhaps with a priority or ``noverify`` of the endpoint's own, which stay.

    Raises:
        ConfigError: the configuration says what cannot be done.
    """
    timeout = HANDSHAKE_TIMEOUT if settings.handshake_timeout is None else settings.handshake_timeout
    try:
        found = TLSSettings(
            no_verify=settings.tls_no_verify_certificate,
            allowed_dns=settings.tls_allowed_dn_list,
            no_sanity=settings.tls_no_sanity_certificate,
            priority=settings.tls_priority,
            handshake_timeout=timeout,
        )
        if before is None:
            return found
        return attrs.evolve(
            found,
            no_verify=found.no_verify or before.no_verify,
            priority=found.priority if before.priority is None else before.priority,
        )
    except ValueError as error:
        raise ConfigError(f"tls_priority: {error}") from None


def _unix(reactor: Any, path: Path, mode: int, settings: Config, *, readonly: bool = False) -> Listener:
    group = f":group={quote(settings.unix_sock_group)}" if settings.unix_sock_group else ""
    text = f"unix:{quote(str(path))}:mode={mode:o}{group}{_backlog(settings)}"
    return parse_listener(reactor, text, readonly=readonly)


def _admin(reactor: Any, settings: Config, folder: Path) -> Listener:
    path = settings.admin_socket or folder / ADMIN_SOCKET
    settings = attrs.evolve(settings, max_queued_clients=settings.admin_max_queued_clients)
    return _unix(reactor, path, settings.unix_sock_admin_perms, settings)


def _backlog(settings: Config) -> str:
    return "" if settings.max_queued_clients is None else f":backlog={settings.max_queued_clients}"


def _credentials(settings: Config) -> Credentials:
    return Credentials.load_files(settings.ca_file, settings.cert_file, settings.key_file, settings.crl_file)


def _is_loopback(listener: Listener) -> bool:
    """Whether only this machine can reach a TCP listener."""
    descriptor = getattr(listener.endpoint, "fileno", None)
    if isinstance(descriptor, int):
        with socket.socket(fileno=os.dup(descriptor)) as inherited:
            host = str(inherited.getsockname()[0])
    else:
        host = Description.parse(listener.text).options.get("interface", "")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
