"""What the value of a key may be.

Each reader takes a value of the file and returns what :class:`~remotevirt.config.model.Config` holds, or
raises ValueError with what is wanted, to be read after "KEY wants ...".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from remotevirt.config.grammar import Value
from remotevirt.description import MAX_PORT
from remotevirt.logs.settings import Filter, Level, Output, parse_filters, parse_outputs

__all__ = [
    "Auth",
    "access_drivers",
    "audit",
    "audit_level",
    "auth",
    "count",
    "filters",
    "flag",
    "host_uuid",
    "level",
    "one_of",
    "outputs",
    "path",
    "permissions",
    "port",
    "string",
    "strings",
    "unix_auth",
]

Auth: TypeAlias = Literal["none", "sasl"]
"""How a client proves who it is, beyond what its transport says."""

MAX_MODE = 0o777
MAX_LIST = 10_000
"""Strings in a list, such as the names of those who may come in; beyond that a policy is wanted."""


def string(value: Value) -> str:
    """A string that says something."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a string")
    return value


def strings(value: Value) -> tuple[str, ...]:
    """A list of strings, which may be empty."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of strings")
    if len(value) > MAX_LIST:
        raise ValueError(f"a list of at most {MAX_LIST} strings")
    return tuple(map(str, value))


def path(value: Value) -> Path:
    """An absolute path."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("an absolute path")
    return Path(value)


def audit(value: Value) -> str:
    """Where the audit trail goes: a file's absolute path, or the journal."""
    if value == "journald":
        return "journald"
    try:
        return str(path(value))
    except ValueError as error:
        raise ValueError(f'{error} or "journald"') from None


def flag(value: Value) -> bool:
    """0 or 1."""
    if value not in (0, 1):
        raise ValueError("0 or 1")
    return bool(value)


def port(value: Value) -> int:
    """A port; libvirt writes it as a string (it may be a service's name there; a number is wanted here)."""
    text = str(value)
    if isinstance(value, list) or not re.fullmatch("[0-9]{1,5}", text) or int(text) > MAX_PORT:
        raise ValueError(f"a port from 0 to {MAX_PORT}")
    return int(text)


def permissions(value: Value) -> int:
    """Permissions in octal, as a string."""
    if not isinstance(value, str) or not re.fullmatch("[0-7]{1,4}", value) or int(value, 8) > MAX_MODE:
        raise ValueError('permissions such as "0770"')
    return int(value, 8)


def count(lowest: int, highest: int | None = None) -> Callable[[Value], int]:
    """A number within bounds."""
    wanted = f"a number of at least {lowest}" if highest is None else f"a number from {lowest} to {highest}"

    def read(value: Value) -> int:
        if not isinstance(value, int) or value < lowest or (highest is not None and value > highest):
            raise ValueError(wanted)
        return value

    return read


def one_of(*names: str) -> Callable[[Value], str]:
    """One of some words."""
    wanted = " or ".join(f'"{name}"' for name in names)

    def read(value: Value) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError(wanted)
        return value

    return read


def auth(value: Value) -> Auth:
    """How clients of a network listener prove who they are."""
    if value == "none":
        return "none"
    if value == "sasl":
        return "sasl"
    raise ValueError('"none" or "sasl"')


def unix_auth(value: Value) -> Auth:
    """How clients of a UNIX socket prove who they are."""
    if value == "polkit":
        raise ValueError(
            '"none" or "sasl": polkit asks the person at a desktop, which a daemon without one cannot; '
            "policy_file says what each local user may do"
        )
    return auth(value)


def access_drivers(value: Value) -> tuple[str, ...]:
    """libvirt's drivers of access control, of which only the one that does nothing is let pass."""
    names = strings(value)
    if set(names) - {"nop"}:
        raise ValueError('[] or ["nop"]: policy_file says who may do what, and there are no other drivers')
    return names


def audit_level(value: Value) -> int:
    """0 or 1. 2 demands the host's audit system, which we do not write to."""
    if value == 2:
        raise ValueError("0 or 1: the host's audit system is not written to; audit_file keeps a trail")
    return count(0, 1)(value)


def host_uuid(value: Value) -> uuid.UUID:
    """A UUID whose digits are not all the same, as libvirt wants it."""
    wanted = "a UUID whose digits are not all the same"
    try:
        found = uuid.UUID(string(value))
    except ValueError:
        raise ValueError(wanted) from None
    if len(set(found.hex)) == 1:
        raise ValueError(wanted)
    return found


def level(value: Value) -> Level:
    """A level of libvirt's log."""
    if not isinstance(value, int) or not Level.DEBUG <= value <= Level.ERROR:
        raise ValueError("1 (debug), 2 (info), 3 (warning) or 4 (error)")
    return Level(value)


def filters(value: Value) -> tuple[Filter, ...]:
    """Filters of libvirt's log."""
    return _parsed(parse_filters, value, "LEVEL:MATCH ...")


def outputs(value: Value) -> tuple[Output, ...]:
    """Outputs of libvirt's log; an empty string means the default ones."""
    return _parsed(parse_outputs, value, "LEVEL:KIND[:WHERE] ...")


T = TypeVar("T")


def _parsed(parse: Callable[[str], T], value: Value, form: str) -> T:
    if not isinstance(value, str):
        raise ValueError(f'a string "{form}"')
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f'a string "{form}"; {error}') from None
