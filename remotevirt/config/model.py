"""The keys of the configuration: their defaults, what their values may be, and which mean nothing here.

Three kinds of key::

    libvirtd's   with its names and meanings, each a field of Config
    our own      for what libvirtd does not have, or has outside its file; fields too
    without      libvirtd's keys that nothing here corresponds to (IGNORED): accepted, checked, and noted
    meaning      once at the start, so that a libvirtd.conf can be used as it is

A key that is in none of them is an error with its line, where libvirtd reads on: a daemon that quietly
ignores a misspelt ``auth_tcp`` is a daemon that lets everybody in. For the same reason, what is asked for and
cannot be had (``polkit``, the host's audit system) is an error that says what there is instead.
"""

# ruff: noqa: RUF009 - the calls in Config describe fields; attrs wants them there

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from remotevirt.config import values
from remotevirt.config.grammar import ConfigError, Setting, Value, parse
from remotevirt.config.values import Auth
from remotevirt.logs.settings import Filter, Level, Output

__all__ = ["IGNORED", "KEYS", "OWN", "Config", "load", "read_text", "read_value"]

MAX_FILE = 1 << 20
"""Bytes of a configuration file; libvirtd's own example has 20 KiB."""

MAX_SECONDS = 86_400
"""The longest time that a key may give: a day."""

Reader = Callable[[Value], Any]

_NUMBER = re.compile("-?[0-9]{1,10}")


def _key(read: Reader, default: object) -> Any:
    """A key of libvirtd's."""
    return attrs.field(default=default, metadata={"read": read})


def _own(read: Reader, default: object) -> Any:
    """A key of our own."""
    return attrs.field(default=default, metadata={"read": read, "own": True})


@attrs.frozen(kw_only=True)
class Config:
    """The settings, by the names of their keys; None where the default depends on something else.

    What each means is in ``docs/options.rst``, which is checked against this class.

    Attributes:
        notes: one line for each key that was given and means nothing here.
    """

    # Where to listen.
    listen_tcp: bool = _key(values.flag, False)
    listen_tls: bool = _key(values.flag, False)
    listen_addr: str | None = _key(values.string, None)
    tcp_port: int = _key(values.port, 16509)
    tls_port: int = _key(values.port, 16514)
    unix_sock_dir: Path | None = _key(values.path, None)
    unix_sock_group: str | None = _key(values.string, None)
    unix_sock_rw_perms: int = _key(values.permissions, 0o700)
    unix_sock_ro_perms: int = _key(values.permissions, 0o777)
    unix_sock_admin_perms: int = _key(values.permissions, 0o700)
    admin_socket: Path | None = _own(values.path, None)
    metrics_listen: str | None = _own(values.string, None)

    # Certificates.
    ca_file: Path = _key(values.path, Path("/etc/pki/CA/cacert.pem"))
    cert_file: Path = _key(values.path, Path("/etc/pki/libvirt/servercert.pem"))
    key_file: Path = _key(values.path, Path("/etc/pki/libvirt/private/serverkey.pem"))
    crl_file: Path | None = _key(values.path, None)
    tls_no_sanity_certificate: bool = _key(values.flag, False)
    tls_no_verify_certificate: bool = _key(values.flag, False)
    tls_allowed_dn_list: tuple[str, ...] | None = _key(values.strings, None)
    tls_priority: str | None = _key(values.string, None)

    # Authentication and rights.
    auth_unix_rw: Auth = _key(values.unix_auth, "none")
    auth_unix_ro: Auth = _key(values.unix_auth, "none")
    auth_tcp: Auth | None = _key(values.auth, None)
    auth_tls: Auth = _key(values.auth, "none")
    tcp_min_ssf: int = _key(values.count(0), 112)
    sasl_allowed_username_list: tuple[str, ...] | None = _key(values.strings, None)
    sasl_users_file: Path | None = _own(values.path, None)
    sasl_mechanisms: tuple[str, ...] | None = _own(values.strings, None)
    policy_file: Path | None = _own(values.path, None)
    audit_file: str | None = _own(values.audit, None)
    audit_logging: bool = _key(values.flag, False)

    # Limits; the daemon's own defaults where it is None.
    max_clients: int | None = _key(values.count(1), None)
    max_queued_clients: int | None = _key(values.count(1, 1 << 16), None)
    max_anonymous_clients: int | None = _key(values.count(0), None)
    max_peer_clients: int | None = _own(values.count(0), None)
    max_client_requests: int | None = _key(values.count(1), None)
    max_unsent_bytes: int | None = _own(values.count(1 << 16), None)
    keepalive_interval: int | None = _key(values.count(-1), None)
    keepalive_count: int | None = _key(values.count(0), None)
    handshake_timeout: int | None = _own(values.count(1, MAX_SECONDS), None)
    auth_timeout: int | None = _own(values.count(1, MAX_SECONDS), None)
    frame_timeout: int | None = _own(values.count(1, MAX_SECONDS), None)
    drain_timeout: int | None = _own(values.count(0, MAX_SECONDS), None)
    idle_timeout: int = _own(values.count(0), 0)
    admin_max_clients: int = _key(values.count(1), 5000)
    admin_max_queued_clients: int = _key(values.count(1, 1 << 16), 5)
    admin_max_client_requests: int = _key(values.count(1), 5)
    admin_keepalive_interval: int = _key(values.count(-1), 5)
    admin_keepalive_count: int = _key(values.count(0), 5)

    # Logging.
    log_level: Level = _key(values.level, Level.INFO)
    log_filters: tuple[Filter, ...] = _key(values.filters, ())
    log_outputs: tuple[Output, ...] = _key(values.outputs, ())

    # What is served.
    drivers: tuple[str, ...] = _own(values.strings, ())
    state_dir: Path | None = _own(values.path, None)

    notes: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Mapping[str, Setting], name: str = "<config>") -> Config:
        """Give settings their meaning.

        Args:
            settings: from :func:`~remotevirt.config.grammar.parse`.
            name: what to call the file in errors and notes.

        Raises:
            ConfigError: a key is unknown, or its value is not what the key takes.
        """
        found: dict[str, Any] = {}
        notes = []
        for key, setting in settings.items():
            try:
                value = read_value(key, setting.value)
            except ConfigError as error:
                raise ConfigError(f"{name}:{setting.line}: {error}") from None
            if key in IGNORED:
                notes.append(f"{name}:{setting.line}: {key} has no effect here: {IGNORED[key][1]}")
            else:
                found[key] = value
        return cls(**found, notes=tuple(notes))


KEYS: Mapping[str, Reader] = {
    field.name: field.metadata["read"] for field in attrs.fields(Config) if field.metadata
}
"""The keys that mean something, and what makes the value of Config of the file's."""

OWN = frozenset(field.name for field in attrs.fields(Config) if field.metadata.get("own"))
"""Those of them that libvirtd does not know."""

_NO_WORKERS = "there are no worker threads, and no call holds up another"
_NO_HOST = "the embedded hypervisor has no host"
_NO_MORE = "libvirtd itself has stopped reading it"

IGNORED: Mapping[str, tuple[Reader, str]] = {
    "min_workers": (values.count(0), _NO_WORKERS),
    "max_workers": (values.count(1), _NO_WORKERS),
    "prio_workers": (values.count(0), _NO_WORKERS),
    "admin_min_workers": (values.count(0), _NO_WORKERS),
    "admin_max_workers": (values.count(1), _NO_WORKERS),
    "keepalive_required": (values.flag, _NO_MORE),
    "admin_keepalive_required": (values.flag, _NO_MORE),
    "access_drivers": (values.access_drivers, "policy_file says who may do what"),
    "audit_level": (
        values.audit_level,
        "the host's audit system is not written to; audit_file keeps a trail",
    ),
    "host_uuid": (values.host_uuid, _NO_HOST),
    "host_uuid_source": (values.one_of("smbios", "machine-id"), _NO_HOST),
    "ovs_timeout": (values.count(0), "no Open vSwitch is called"),
}
"""libvirtd's other keys: what their values may be, and why they mean nothing."""


def read_value(key: str, value: Value) -> Any:
    """Read the value of one key.

    Raises:
        ConfigError: there is no such key, or it takes no such value; without file and line.
    """
    read = KEYS.get(key) or IGNORED.get(key, (None,))[0]
    if read is None:
        near = difflib.get_close_matches(key, [*KEYS, *IGNORED], n=1, cutoff=0.8)
        guess = f" (is {near[0]} meant?)" if near else ""
        raise ConfigError(f"unknown key {key}{guess}")
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{key} wants {error}") from None


def read_text(key: str, text: str) -> Any:
    """Read the value of one key of Config as a command line says it.

    The quotes of a string may be left out, and the brackets of a list of one.

    Raises:
        ConfigError: there is no such key, it means nothing here, or it takes no such value.
    """
    if key in IGNORED:
        raise ConfigError(f"{key} has no effect here: {IGNORED[key][1]}")
    if text.startswith(("[", '"', "'")):
        settings = parse(f"{key} = {text}", "value")
        if len(settings) > 1:  # by a line of its own
            raise ConfigError(f"{key} wants one value")
        return read_value(key, settings[key].value)
    meant: list[Value] = [text, [text]]
    if _NUMBER.fullmatch(text):
        meant.insert(0, int(text))  # which it need not be: permissions are strings
    mistakes = []
    for value in meant:
        try:
            return read_value(key, value)
        except ConfigError as error:
            mistakes.append(error)
    raise mistakes[0]


def load(path: str | Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, or says something we do not understand.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: larger than {MAX_FILE} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    return Config.from_settings(parse(text, str(path)), str(path))
