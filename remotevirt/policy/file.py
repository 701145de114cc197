"""Policy files: TOML, read strictly.

::

    [groups]
    operator = ["read-only", "domain:start", "domain:stop"]

    [[rule]]
    who = ["gid:libvirt", "dn:*,O=Example,CN=admin*"]
    allow = ["operator"]
    on = { driver = "qemu", name = "web-*" }

Whatever is not understood is an error: an unknown key, permission, group or user; a value of another type; a
condition that a permission can never meet. A rule that quietly means nothing would be a hole.

The TOML library gives no positions. A rule's lines are found by counting the ``[[rule]]`` headers of the
text; where the count is not that of the rules (they can be written in other ways) errors give the rule's
number only.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from remotevirt.errors import RemotevirtError
from remotevirt.policy.engine import Policy
from remotevirt.policy.permissions import BUILT_IN, Right, expand
from remotevirt.policy.rules import Condition, Metadata, Rule, Who, glob
from remotevirt.xml.values import parse_uuid

__all__ = [
    "FILE_MAXIMUM",
    "RULES_MAXIMUM",
    "PolicyError",
    "group_number",
    "load_policy",
    "parse_policy",
    "user_number",
]

T = TypeVar("T")

FILE_MAXIMUM: Final = 1 << 20
"""Bytes of a policy file. libvirt has no such file."""

RULES_MAXIMUM: Final = 4096
"""Rules of a policy: each client's rights are found by looking at all of them once."""

HEADER: Final = re.compile(r"[ \t]*\[\[[ \t]*(?:rule|\"rule\"|'rule')[ \t]*\]\][ \t]*(?:#.*)?$")
TABLE: Final = re.compile(r"[ \t]*\[")

RULE_KEYS: Final = ("who", "allow", "deny", "on")
ON_KEYS: Final = ("driver", "name", "uuid", "parent", "metadata")
METADATA_KEYS: Final = ("uri", "value", "attribute")


class PolicyError(RemotevirtError, ValueError):
    """A policy that cannot be used; the text is one line that says where and why."""


class _Lines:
    """Where the rules of a text are."""

    def __init__(self, text: str, count: int) -> None:
        self.lines = text.splitlines()
        starts = [number for number, line in enumerate(self.lines) if HEADER.match(line)]
        self.starts = starts if len(starts) == count else None

    def header(self, rule: int) -> int | None:
        """The line, counted from 1, of the header of a rule, counted from 0."""
        return None if self.starts is None else self.starts[rule] + 1

    def key(self, rule: int, key: str) -> int | None:
        """The line of a key of a rule; that of the header if it is not found."""
        if self.starts is None:
            return None
        pattern = re.compile(rf"[ \t]*(?:{key}|\"{key}\"|'{key}')[ \t]*[=.]")
        for number in range(self.starts[rule] + 1, len(self.lines)):
            if TABLE.match(self.lines[number]) and HEADER.match(self.lines[number]):
                break
            if pattern.match(self.lines[number]):
                return number + 1
        return self.header(rule)


def load_policy(path: str | Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it cannot be read, is not a policy, or may be changed by everybody.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(FILE_MAXIMUM + 1)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error
    if mode & stat.S_IWOTH:
        raise PolicyError(f"{path}: everybody may change it (mode {mode:04o})")
    if len(data) > FILE_MAXIMUM:
        raise PolicyError(f"{path}: longer than {FILE_MAXIMUM} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path}:{line}: not UTF-8") from error
    return parse_policy(text, str(path))


def parse_policy(text: str, name: str = "<policy>") -> Policy:
    """Read the text of a policy.

    Args:
        text: TOML.
        name: what to call it in errors.

    Raises:
        PolicyError: it is not a policy.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{name}: {error}") from error
    except RecursionError as error:
        raise PolicyError(f"{name}: nested too deeply") from error
    try:
        _known(document, ("groups", "rule"))
        groups = _groups(document.get("groups", {}))
        tables = document.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ValueError("rules are written [[rule]]")
        if len(tables) > RULES_MAXIMUM:
            raise ValueError(f"more than {RULES_MAXIMUM} rules")
    except ValueError as error:
        raise PolicyError(f"{name}: {error}") from error
    lines = _Lines(text, len(tables))
    return Policy(tuple(_rule(table, number, lines, groups, name) for number, table in enumerate(tables)))


# -- values -----------------------------------------------------------------------------------------------


def _known(table: Mapping[str, object], keys: Iterable[str]) -> None:
    for key in table:
        if key not in keys:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(keys)}")


def _strings(value: object) -> tuple[str, ...]:
    """Return a string, or a list of strings that is not empty."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(item, str) and item for item in found):
        raise ValueError("a string or a list of strings is wanted, none of them empty")
    return tuple(found)


def _string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a string is wanted")
    return value


# -- groups -----------------------------------------------------------------------------------------------


def _groups(tables: object) -> dict[str, frozenset[Right]]:
    """Read ``[groups]``: each may hold permissions, patterns, and groups."""
    if not isinstance(tables, dict):
        raise ValueError("groups: a table is wanted")
    texts: dict[str, tuple[str, ...]] = {}
    for group, value in tables.items():
        if ":" in group or group in BUILT_IN:
            raise ValueError(f"groups: {group!r} cannot be the name of a group")
        try:
            texts[group] = _strings(value)
        except ValueError as error:
            raise ValueError(f"groups: {group}: {error}") from None
    done = dict(BUILT_IN)

    def resolve(group: str, above: tuple[str, ...]) -> frozenset[Right]:
        if group in above:
            raise ValueError(f"groups: {group} contains itself")
        if group not in done:
            found: frozenset[Right] = frozenset()
            for item in texts[group]:
                if item in texts:
                    found |= resolve(item, (*above, group))
                else:
                    try:
                        found |= _rights(item, BUILT_IN)
                    except ValueError as error:
                        raise ValueError(f"groups: {group}: {error}") from None
            done[group] = found
        return done[group]

    try:
        for group in texts:
            resolve(group, ())
    except RecursionError:
        raise ValueError("groups: nested too deeply") from None
    return done


def _rights(item: str, groups: Mapping[str, frozenset[Right]]) -> frozenset[Right]:
    """Return what a group or a pattern stands for."""
    if item in groups:
        return groups[item]
    if ":" in item:
        return expand(item)
    raise ValueError(f"no group {item!r}; known: {', '.join(sorted(groups))}")


# -- rules ------------------------------------------------------------------------------------------------


def _rule(
    table: Mapping[str, object],
    index: int,
    lines: _Lines,
    groups: Mapping[str, frozenset[Right]],
    name: str,
) -> Rule:
    """Read one rule; its errors say where."""

    def wrong(why: object, key: str | None = None) -> PolicyError:
        line = lines.header(index) if key is None else lines.key(index, key)
        place = name if line is None else f"{name}:{line}"
        return PolicyError(f"{place}: rule {index + 1}: {f'{key}: ' if key else ''}{why}")

    for key in table:
        if key not in RULE_KEYS:
            raise wrong(f"unknown key {key!r}; known: {', '.join(RULE_KEYS)}", key)
    if ("allow" in table) == ("deny" in table):
        raise wrong("needs either allow or deny")
    if "who" not in table:
        raise wrong("needs who")
    effect = "allow" if "allow" in table else "deny"
    key = "who"
    try:
        who = tuple(map(_who, _strings(table["who"])))
        key = "on"
        on = _condition(table.get("on", {}))
        key = effect
        items = _strings(table[effect])
        rights: frozenset[Right] = frozenset()
        for item in items:
            found = _rights(item, groups)
            # A pattern or a group may hold more than the rule can mean; what is named has to mean something.
            if not any(on.concerns(right[0]) for right in found):
                raise ValueError(f"{item} has nothing of what this rule's 'on' asks for")
            rights |= found
    except ValueError as error:
        raise wrong(error, key) from None
    text = f"who = {_show(table['who'])}, {effect} = {_show(table[effect])}"
    if "on" in table:
        text += f", on = {_show(table['on'])}"
    return Rule(index + 1, lines.key(index, effect), effect == "allow", who, rights, on, text)


def _show(value: Any) -> str:
    """Write a value as TOML does, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_show(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_show, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _who(text: str) -> Who:
    kind, _, rest = text.partition(":")
    if text == "*":
        return Who(text, "*")
    if not rest or kind not in ("uid", "gid", "dn", "sasl", "transport"):
        raise ValueError(f"{text!r} is none of uid:, gid:, dn:, sasl:, transport: and *")
    if kind == "uid":
        return Who(text, kind, user_number(rest))
    if kind == "gid":
        return Who(text, kind, group_number(rest))
    if kind == "transport" and rest not in ("unix", "tcp", "tls"):
        raise ValueError(f"{text!r}: a transport is unix, tcp or tls")
    return Who(text, kind, pattern=glob(rest))


def user_number(text: str) -> int:
    """Return the number of a local user given by name or number; raises ValueError."""
    return _number(text, lambda name: pwd.getpwnam(name).pw_uid, "user")


def group_number(text: str) -> int:
    """Return the number of a local group given by name or number; raises ValueError."""
    return _number(text, lambda name: grp.getgrnam(name).gr_gid, "group")


def _number(text: str, find: Callable[[str], int], what: str) -> int:
    """Return a number, or that of a name in the system's database."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return find(text)
    except KeyError:
        raise ValueError(f"there is no {what} {text!r}") from None


def _condition(table: object) -> Condition:
    if not isinstance(table, dict):
        raise ValueError('a table is wanted, such as { name = "web-*" }')
    _known(table, ON_KEYS)
    return Condition(
        drivers=frozenset(_listed(table, "driver", str)),
        names=_listed(table, "name", str),
        uuids=frozenset(_listed(table, "uuid", _uuid)),
        parents=_listed(table, "parent", str),
        metadata=_metadata(table["metadata"]) if "metadata" in table else None,
    )


def _listed(table: dict[str, Any], key: str, read: Callable[[str], T]) -> tuple[T, ...]:
    """Read what a table has under a key, a string or several; nothing where it has not the key."""
    if key not in table:
        return ()
    try:
        return tuple(read(item) for item in _strings(table[key]))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _uuid(text: str) -> bytes:
    uuid = parse_uuid(text)
    if uuid is None:
        raise ValueError(f"{text!r} is no UUID")
    return uuid


def _metadata(table: object) -> Metadata:
    try:
        if not isinstance(table, dict):
            raise ValueError('a table is wanted, such as { uri = "...", value = "..." }')
        _known(table, METADATA_KEYS)
        for key in ("uri", "value"):
            if key not in table:
                raise ValueError(f"needs {key}")
        attribute = _string(table["attribute"]) if "attribute" in table else None
        return Metadata(_string(table["uri"]), _strings(table["value"]), attribute)
    except ValueError as error:
        raise ValueError(f"metadata: {error}") from None
