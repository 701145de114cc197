"""Calls and replies as text that may be shown: decoded, short, on one line, without secrets.

What is secret is decided in three ways, each of them data:

* by the name of a field: :data:`SECRET_FIELDS`, which a test compares with all fields of the contract;
* by the contract's access checks: the result of a call that needs ``read_secure`` (a secret's value, XML with
  passwords) is not shown at all;
* by what stands inside of documents and lists: attributes, elements and typed parameters whose names say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from remotevirt.errors import VirError
from remotevirt.observe.facts import clean, uuid_text
from remotevirt.procedures import Procedure
from remotevirt.server.access import applies

__all__ = ["SECRET_FIELDS", "mask_text", "show_arguments", "show_error", "show_result"]

SECRET_FIELDS: Final[dict[str, str]] = {
    "buffer": "memory or disk of a guest",
    "cmd": "a command to a monitor or agent: it may set a password",
    "cookie": "what two hosts tell each other when a guest migrates: tickets of its consoles, for one",
    "cookie_in": "the same",
    "cookie_out": "the same",
    "data": "a step of SASL",
    "keycodes": "what is typed into a guest: passwords, for one",
    "nativeConfig": "a hypervisor's command line",
    "password": "a password of a guest's user",
    "result": "the answer to a command; numbers of this name are shown",
    "value": "a secret's value; numbers of this name are shown",
}
"""Fields that are not shown, and what they hold."""

MASK: Final = "***"

TEXT_SHOWN = 240
"""Characters shown of a text."""

TEXT_SEARCHED = 4096
"""Characters of a text that are looked at for secrets; what lies behind is not shown anyway."""

BYTES_SHOWN = 16
"""Bytes shown of an opaque; a longer one is told by its size."""

ITEMS_SHOWN = 8
"""Elements shown of a list; of the rest only the number is."""

LINE_SHOWN = 2000
"""Characters shown of all arguments, or of a result."""

# What was cut off may lack its closing quote or tag: everything to the end is part of the secret then.
_ATTRIBUTE = re.compile(
    r"((?:passw(?:or)?d|passphrase)[\"']?\s*[=:]\s*)(\"[^\"]*\"?|'[^']*'?|[^\s\"'<>,;&]+)", re.IGNORECASE
)
_ELEMENT = re.compile(
    r"(<(?:\w+:)?(cookie|dhCert|passphrase|passwd|password|secret|session)\b[^>]*(?<!/)>)(.*?)(?=</(?:\w+:)?\2\b|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_PARAMETER = re.compile(r"passw|passphrase|secret|token|credential|private|ticket", re.IGNORECASE)


def mask_text(text: str) -> str:
    """A text, an XML document perhaps, shortened, with the secrets inside replaced."""
    length = len(text)
    text = clean(" ".join(_without_secrets(text).split()), TEXT_SHOWN)
    return text if length <= TEXT_SEARCHED and not text.endswith("…") else f"{text} ({length} characters)"


def _without_secrets(text: str) -> str:
    text = _ELEMENT.sub(rf"\1{MASK}", text[:TEXT_SEARCHED])
    return _ATTRIBUTE.sub(rf"\1{MASK}", text)


def show_error(error: VirError) -> str:
    """What an error says. It may repeat what the client has sent: a command for a monitor, for one."""
    return clean(_without_secrets(error.message))


def show_arguments(args: Any) -> str:
    """Decoded arguments: ``dom=domain web 9b8c..., flags=1``."""
    return "" if args is None else _bounded(_fields(args))


def show_result(procedure: Procedure, args: Any, result: Any) -> str:
    """A decoded result, unless the call needed the right to see secrets."""
    if result is None:
        return ""
    for permission in procedure.acl or ():
        unconditional = not (permission.flags or permission.unless or permission.param)
        if permission.permission == "read_secure" and (
            unconditional or args is None or applies(permission, args)
        ):
            return MASK
    return _bounded(_fields(result))


def _bounded(text: str) -> str:
    return text if len(text) <= LINE_SHOWN else f"{text[: LINE_SHOWN - 1]}…"


def _fields(struct: Any) -> str:
    return ", ".join(
        f"{name}={_value(name, value)}" for name, value in zip(struct._fields, struct, strict=True)
    )


def _value(name: str, value: Any) -> str:
    if name in SECRET_FIELDS and isinstance(value, str | bytes | Sequence):
        return MASK
    if isinstance(value, str):
        return f'"{mask_text(value)}"'
    if isinstance(value, bytes):
        if name == "uuid" and len(value) == 16:
            return uuid_text(value)
        return value.hex() or "none" if len(value) <= BYTES_SHOWN else f"<{len(value)} bytes>"
    if hasattr(value, "_fields"):
        return _struct(value)
    if isinstance(value, Sequence):
        return _list(name, value)
    return str(value)


def _struct(value: Any) -> str:
    if value._fields == ("field", "value"):  # a typed parameter, of either program
        hidden = _PARAMETER.search(value.field)
        inner = MASK if hidden else _value("", value.value.value)
        return f"{clean(value.field)}:{inner}"
    return f"({_fields(value)})"


def _list(name: str, value: Sequence[Any]) -> str:
    shown = ", ".join(_value(name, item) for item in value[:ITEMS_SHOWN])
    more = len(value) - ITEMS_SHOWN
    return f"[{shown}, … {more} more]" if more > 0 else f"[{shown}]"
