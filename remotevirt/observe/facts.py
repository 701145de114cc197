"""What every observer asks of a call: the name of its error, whether it changed something, what it was about.

Which calls change something is not a list of ours: the contract's access checks say it. A call changes
something if it needs any permission beyond those that look (``getattr``, ``read`` and the ``search_`` ones);
where a permission depends on arguments, they are looked at. Calls that reveal secrets count as well, since
``read_secure`` is a permission of its own. The admin program declares no permissions; there the verb in a
procedure's name tells.
"""

from __future__ import annotations

import re
import typing
from functools import cache, lru_cache
from typing import Any, Final

from remotevirt.procedures import Permission, Procedure
from remotevirt.server.access import READING, applies
from remotevirt.stubs import constants as vir

__all__ = [
    "REFUSALS",
    "changes",
    "clean",
    "error_name",
    "listener_name",
    "object_kind",
    "object_of",
    "reason_class",
    "server_name",
]

REFUSALS: Final = frozenset(
    {
        vir.VIR_ERR_OPERATION_DENIED,
        vir.VIR_ERR_AUTH_FAILED,
        vir.VIR_ERR_AUTH_CANCELLED,
        vir.VIR_ERR_ACCESS_DENIED,
        vir.VIR_ERR_AUTH_UNAVAILABLE,
    }
)
"""Errors that say "you may not", rather than "it does not work"."""

REASON_CLASSES: Final = frozenset({"address", "authentication", "limit", "protocol", "timeout", "tls"})
"""What a client is turned away for: the word before the colon of a reason (``"limit: max_clients"``)."""

OTHER: Final = "other"
"""Where everything without a name of its own is counted."""

TEXT_MAXIMUM = 256
"""Characters shown of a text that a peer chose. libvirt's own names are shorter."""

_LEVELS = {"VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR"}  # virErrorLevel, in the same name space

_ERROR_NAMES: Final[dict[int, str]] = {
    value: name
    for name, value in vars(vir).items()
    if name.startswith(("VIR_ERR_", "VIR_WAR_")) and name not in _LEVELS and isinstance(value, int)
}

_LOOKING_VERBS = frozenset({"get", "list", "lookup"})
_SESSION = frozenset({"connect_open", "connect_close"})
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def error_name(code: int) -> str:
    """libvirt's name of an error code (``VIR_ERR_NO_DOMAIN``), ``other`` for one that it does not have."""
    return _ERROR_NAMES.get(code, OTHER)


def server_name(client: Any) -> str:
    """The name of the server (``libvirtd``, ``admin``) that a client talks to."""
    return str(getattr(client.server, "name", client.server))


def listener_name(client: Any) -> str:
    """The name of the listener that a client came in by."""
    return str(getattr(client.listener, "name", client.listener))


def reason_class(reason: str) -> str:
    """The class of a reason for which a client was turned away: one of a few, for counting."""
    head = reason.partition(":")[0]
    return head if head in REASON_CLASSES else OTHER


def clean(text: str, maximum: int = TEXT_MAXIMUM) -> str:
    """A peer's text on one line, bounded, with whatever a terminal might obey written as an escape."""
    if len(text) > maximum:
        text = f"{text[: maximum - 1]}…"
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


@cache  # as many entries as there are procedures
def changing_permissions(procedure: Procedure) -> tuple[Permission, ...] | bool:
    """What makes a procedure one that changes something.

    Returns:
        True: it always does; False: it never does; or the permissions that make it one, each of which
        depends on the arguments.
    """
    if procedure.acl is None:
        return procedure.name.split("_")[1] not in _LOOKING_VERBS and procedure.name not in _SESSION
    found = tuple(
        permission
        for permission in procedure.acl
        if permission.permission not in READING and not permission.permission.startswith("search_")
    )
    if any(not (one.flags or one.unless or one.param) for one in found):
        return True
    return found or False


def changes(procedure: Procedure, args: Any) -> bool:
    """Tell whether a call changes something, or reveals a secret.

    Args:
        procedure: what was called.
        args: its decoded arguments; None where it has none, or they did not decode.
    """
    found = changing_permissions(procedure)
    if isinstance(found, bool):
        return found
    return args is not None and any(applies(permission, args) for permission in found)


def object_of(value: Any) -> dict[str, Any] | None:
    """The first object that decoded arguments or a result name: its kind, and what identifies it.

    Returns:
        None without one; else ``{"kind": "domain", "name": "web", "uuid": "..."}``. What belongs to
        another object (a volume, a snapshot) holds that under the other's kind.
    """
    for field in value if isinstance(value, tuple) else ():
        if type(field).__name__.startswith("Nonnull"):
            return _describe(field)
    return None


@cache  # as many entries as there are structs
def object_kind(struct: Any) -> str | None:
    """The kind of the first object that a struct (or None) has a field for, None without one."""
    if struct is not None:
        for hint in typing.get_type_hints(struct).values():
            for candidate in (hint, *typing.get_args(hint)):
                if isinstance(candidate, type) and candidate.__name__.startswith("Nonnull"):
                    return _kind(candidate)
    return None


@lru_cache(maxsize=64)  # there are some twenty kinds of objects
def _kind(struct: Any) -> str:
    return _CAPITAL.sub("_", struct.__name__.removeprefix("Nonnull")).lower()


def _describe(value: Any) -> dict[str, Any]:
    """An object's kind, and those of its fields that identify it."""
    struct: Any = type(value)
    found: dict[str, Any] = {"kind": _kind(struct)}
    for name, field in zip(value._fields, value, strict=True):
        if name == "uuid":
            found[name] = uuid_text(field)
        elif type(field).__name__.startswith("Nonnull"):
            inner = _describe(field)
            found[str(inner.pop("kind"))] = inner
        elif isinstance(field, str):
            found[_FIELD_NAMES.get(name, name)] = clean(field)
        elif name == "id" and found["kind"] == "client":
            found[name] = field
    return found


_FIELD_NAMES = {"usageID": "usage", "filtername": "filter", "portdev": "name"}


def uuid_text(uuid: bytes) -> str:
    """A UUID as libvirt prints it."""
    text = uuid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
