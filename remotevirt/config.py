r"""The configuration file: libvirtd.conf's grammar, and the keys of it that mean something here.

::

    # a comment
    listen_tcp = 1
    listen_addr = "127.0.0.1"
    max_clients = 100

A value is a string in double or single quotes, a number, or a list of these. There are no escapes: a string
ends at the next quote of its kind, on the same line, or at ``\"\"\"`` if it began with that. A list
may go on over several lines. (libvirtd 9.0.0, measured, reads it so too, except for comments within a list.)

A key we do not know, or one given twice, is an error with its line, where libvirtd reads on: a daemon that
quietly ignores a misspelt ``auth_tcp`` is a daemon that lets everybody in. For the same reason the ``auth_*``
keys are read, and only ``none``, which is what happens, is accepted. Two defaults differ from libvirtd's, on
the careful side: TLS has to be asked for, and TCP without ``listen_addr`` is served on loopback only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from remotevirt.errors import RemotevirtError

__all__ = ["Config", "ConfigError", "Setting", "Value", "load", "parse"]

Value: TypeAlias = "str | int | list[str | int]"

MAX_FILE = 1 << 20
"""Bytes of a configuration file; libvirtd's own example has 20 KiB."""

MAX_NUMBER = 2**31 - 1
MAX_PORT = 65535
MAX_MODE = 0o777


class ConfigError(RemotevirtError, ValueError):
    """A configuration file that cannot be used; its text is one line with file and line number."""


@attrs.frozen
class Setting:
    """A value and the line it begins on, counted from 1."""

    value: Value
    line: int


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+ | \#[^\n]*)
  | (?P<newline>\n)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>-?[0-9]+)
  | (?P<long>\"\"\".*?\"\"\")
  | (?P<string>"[^"\n]*" | '[^'\n]*')
  | (?P<mark>[=\[\],])
    """,
    re.VERBOSE | re.DOTALL,
)


class _Reader:
    """Tokens of a file, one ahead, with the line each is on."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.text = text
        self.position = 0
        self.line = 1
        self.kind = ""
        self.token = ""
        self.token_line = 1
        self.advance()

    def error(self, what: str, line: int | None = None) -> ConfigError:
        return ConfigError(f"{self.name}:{self.token_line if line is None else line}: {what}")

    def advance(self) -> None:
        """Move to the next token that is not space; ``end`` after the last."""
        while True:
            self.token_line = self.line
            if self.position == len(self.text):
                self.kind, self.token = "end", ""
                return
            found = _TOKEN.match(self.text, self.position)
            if found is None:
                char = self.text[self.position]
                what = "the string is not closed" if char in "\"'" else f"unexpected {char!r}"
                raise self.error(what)
            self.position = found.end()
            self.kind, self.token = str(found.lastgroup), found[0]
            self.line += self.token.count("\n")
            if self.kind != "space":
                return

    def skip_newlines(self) -> None:
        while self.kind == "newline":
            self.advance()

    def scalar(self) -> str | int:
        """Read a string or a number."""
        kind, token = self.kind, self.token
        if kind not in ("number", "string", "long"):
            raise self.error(f"a value is wanted, not {_show(kind, token)}")
        value: str | int
        if kind == "number":
            value = int(token) if len(token) < 20 else MAX_NUMBER + 1
            if abs(value) > MAX_NUMBER:
                raise self.error(f"the number {token[:20]} is out of range")
        else:
            value = token[3:-3] if kind == "long" else token[1:-1]
        self.advance()
        return value

    def value(self) -> Value:
        """Read a string, a number, or a list of them."""
        if self.token != "[":
            return self.scalar()
        line = self.token_line
        items: list[str | int] = []
        self.advance()
        self.skip_newlines()
        while self.token != "]":
            if self.kind == "end":
                raise self.error("the list is not closed", line)
            items.append(self.scalar())
            self.skip_newlines()
            if self.token == ",":
                self.advance()
                self.skip_newlines()
            elif self.kind == "end":
                raise self.error("the list is not closed", line)
            elif self.token != "]":
                raise self.error(f"',' or ']' is wanted, not {_show(self.kind, self.token)}")
        self.advance()
        return items


def parse(text: str, name: str = "<config>") -> dict[str, Setting]:
    """Read the grammar; the meaning of keys is :class:`Config`'s.

    Args:
        text: the file.
        name: what to call it in errors.

    Raises:
        ConfigError: with the line.
    """
    settings: dict[str, Setting] = {}
    reader = _Reader(text, name)
    reader.skip_newlines()
    while reader.kind != "end":
        key, line = reader.token, reader.token_line
        if reader.kind != "name":
            raise reader.error(f"a key is wanted, not {_show(reader.kind, key)}")
        if key in settings:
            raise reader.error(f"{key} is already set in line {settings[key].line}")
        reader.advance()
        if reader.token != "=":
            raise reader.error(f"'=' is wanted after {key}")
        reader.advance()
        settings[key] = Setting(reader.value(), line)
        if reader.kind not in ("newline", "end"):
            raise reader.error(f"the end of the line is wanted, not {_show(reader.kind, reader.token)}")
        reader.skip_newlines()
    return settings


def _show(kind: str, token: str) -> str:
    return {"newline": "the end of the line", "end": "the end of the file"}.get(kind, repr(token[:40]))


# What a value may be. Each returns the value as Config wants it, or raises ValueError with what is wanted.


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _path(value: Value) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("an absolute path")
    return Path(value)


def _flag(value: Value) -> bool:
    if value not in (0, 1):
        raise ValueError("0 or 1")
    return bool(value)


def _port(value: Value) -> int:
    """A port; libvirt writes it as a string (it may be a service's name there; a number is wanted here)."""
    text = str(value)
    if isinstance(value, list) or not text.isascii() or not text.isdecimal() or int(text) > MAX_PORT:
        raise ValueError(f"a port from 0 to {MAX_PORT}")
    return int(text)


def _mode(value: Value) -> int:
    """Permissions in octal, as a string."""
    if not isinstance(value, str) or not re.fullmatch("[0-7]{1,4}", value) or int(value, 8) > MAX_MODE:
        raise ValueError('permissions such as "0770"')
    return int(value, 8)


def _count(lowest: int) -> Callable[[Value], int]:
    def count(value: Value) -> int:
        if not isinstance(value, int) or value < lowest:
            raise ValueError(f"a number of at least {lowest}")
        return value

    return count


def _no_auth(value: Value) -> Literal["none"]:
    if value != "none":
        raise ValueError('"none": no other authentication is served yet')
    return "none"


Auth = Literal["none"]

_KEYS: dict[str, Callable[[Value], Any]] = {
    "listen_tcp": _flag,
    "listen_tls": _flag,
    "listen_addr": _string,
    "tcp_port": _port,
    "tls_port": _port,
    "unix_sock_dir": _path,
    "unix_sock_group": _string,
    "unix_sock_rw_perms": _mode,
    "unix_sock_ro_perms": _mode,
    "ca_file": _path,
    "cert_file": _path,
    "key_file": _path,
    "crl_file": _path,
    "auth_unix_rw": _no_auth,
    "auth_unix_ro": _no_auth,
    "auth_tcp": _no_auth,
    "auth_tls": _no_auth,
    "max_clients": _count(1),
    "max_client_requests": _count(1),
    "keepalive_interval": _count(-1),
    "keepalive_count": _count(0),
}
"""Each key of :class:`Config`, and what makes its value of the file's."""


@attrs.frozen(kw_only=True)
class Config:
    """The keys of the file, by their own names; None where the default depends on something else."""

    listen_tcp: bool = False
    listen_tls: bool = False
    listen_addr: str | None = None
    tcp_port: int = 16509
    tls_port: int = 16514

    unix_sock_dir: Path | None = None
    unix_sock_group: str | None = None
    unix_sock_rw_perms: int = 0o700
    unix_sock_ro_perms: int = 0o777

    ca_file: Path = Path("/etc/pki/CA/cacert.pem")
    cert_file: Path = Path("/etc/pki/libvirt/servercert.pem")
    key_file: Path = Path("/etc/pki/libvirt/private/serverkey.pem")
    crl_file: Path | None = None

    auth_unix_rw: Auth = "none"
    auth_unix_ro: Auth = "none"
    auth_tcp: Auth = "none"
    auth_tls: Auth = "none"

    max_clients: int | None = None
    max_client_requests: int | None = None
    keepalive_interval: int | None = None
    keepalive_count: int | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Setting], name: str = "<config>") -> Config:
        """Give settings their meaning.

        Raises:
            ConfigError: a key is unknown, or its value is not what the key takes.
        """
        values: dict[str, Any] = {}
        for key, setting in settings.items():
            if key not in _KEYS:
                raise ConfigError(f"{name}:{setting.line}: unknown key {key}{_guess(key, list(_KEYS))}")
            try:
                values[key] = _KEYS[key](setting.value)
            except ValueError as error:
                raise ConfigError(f"{name}:{setting.line}: {key} wants {error}") from None
        return cls(**values)


def _guess(key: str, known: Sequence[str]) -> str:
    """The key that was meant, perhaps."""
    import difflib  # noqa: PLC0415 - only for a message

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    return f" (is {near[0]} meant?)" if near else ""


def load(path: str | Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, or says something we do not understand.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: larger than {MAX_FILE} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    return Config.from_settings(parse(text, str(path)), str(path))
