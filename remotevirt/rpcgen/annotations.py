"""Doc comments: the words for a reader, and the annotations for the machine.

A doc comment stands above what it describes. Lines that open with ``@`` are annotations, one a line; all
other lines are text::

    /**
     * State, memory and CPU time of a domain.
     *
     * @acl: domain:read
     * @priority: high
     */

==================  ========================================================================================
``@acl``            ``object:permission``, needed always; ``object:permission:FLAG``, only with that flag
                    (``A|B``: with both; ``!A|B``: with neither); ``object:permission::argument:VALUE``, only
                    with that argument; ``none`` alone: nothing is needed. One line for each, all must be met
``@aclfilter``      the same forms: items of the returned list that fail one are left out
``@priority``       ``high``: never waits for the hypervisor; ``low``, the default, may
``@readstream``     place of the stream in the C call; data flows to the client
``@writestream``    the same; data flows from the client
``@sparseflag``     the flag that makes the stream sparse
``@generate``       a word to libvirt's own generator (``none``, ``client``, ``server``, ``both``): checked,
                    not kept
``@fds``            descriptors travel with the ``call``, the ``reply`` or ``call_and_reply``
``@event``          sent by the server without a call
``@pre_auth``       served before authentication
``@daemon``         answered by the daemon, not by a driver
``@api``            libvirt's public function
``@since``          libvirt's first version with it
==================  ========================================================================================

The first seven are libvirt's own words, the others are ours. :func:`procedure_facts` reads them,
:func:`annotation_lines` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.lexer import Comment
from remotevirt.rpcgen.model import FlagsCondition, Location, ParamCondition, Permission, Procedure

__all__ = ["Annotation", "annotation_lines", "procedure_facts", "read_comment"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")
_ANNOTATION = re.compile(r"@([A-Za-z_]+)(?:\s*:\s*(.*?))?\s*")

_GENERATE = ("none", "client", "server", "both")
_PRIORITIES = ("low", "high")
_FDS = ("call", "reply", "call_and_reply")
_MAX_POSITION = 32
"""No C function takes that many parameters: a larger stream position is a slip."""


class Annotation(NamedTuple):
    """``@word: value`` and where it stands; the value is empty if there is none."""

    word: str
    value: str
    location: Location

    def one_of(self, allowed: tuple[str, ...]) -> str:
        """The value, which must be one of ``allowed``."""
        if self.value not in allowed:
            self.fail(f"expected {', '.join(allowed[:-1])} or {allowed[-1]}")
        return self.value

    def matching(self, pattern: re.Pattern[str], what: str) -> str:
        """The value, which must match ``pattern``; ``what`` names it in the error."""
        if pattern.fullmatch(self.value) is None:
            self.fail(f"expected {what}")
        return self.value

    def flag(self) -> bool:
        """True; there must be no value."""
        if self.value:
            self.fail("it takes no value")
        return True

    def position(self) -> int:
        """The value as the place of a parameter."""
        text = self.value
        if not (text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= _MAX_POSITION):
            self.fail(f"expected a number from 1 to {_MAX_POSITION}")
        return int(text)

    def fail(self, why: str) -> NoReturn:
        """Report a value that makes no sense."""
        shown = f"@{self.word}: {self.value}" if self.value else f"@{self.word}"
        raise RpcgenError(f"{shown!r}: {why}", self.location)


def read_comment(comment: Comment | None) -> tuple[str, list[Annotation]]:
    """Split a doc comment into its text (lines joined, no blank ones at the ends) and its annotations."""
    if comment is None:
        return "", []
    text: list[str] = []
    annotations: list[Annotation] = []
    file, first, column = comment.location.file, comment.location.line, comment.location.column
    for number, line in enumerate(comment.text[:-2].split("\n")):
        opening = re.match(r"/\*\*+" if number == 0 else r"[ \t]*\*?", line)
        start = opening.end() if opening else 0
        words = line[start:].strip()
        found = _ANNOTATION.fullmatch(words)
        if found is None:
            text.append(words)
            continue
        at = len(line) - len(line[start:].lstrip()) + (column if number == 0 else 1)
        annotations.append(Annotation(found[1], found[2] or "", Location(file, first + number, at)))
    return "\n".join(text).strip("\n"), annotations


def procedure_facts(comment: Comment | None) -> dict[str, Any]:
    """Read what a doc comment says of a procedure.

    Returns:
        Attributes of :class:`~remotevirt.rpcgen.model.Procedure`, as far as the comment states them.

    Raises:
        RpcgenError: an unknown annotation or value, or one given twice.
    """
    text, annotations = read_comment(comment)
    facts: dict[str, Any] = {"comment": text} if text else {}
    acl: list[Permission] = []
    aclfilter: list[Permission] = []
    seen: dict[str, Annotation] = {}
    for annotation in annotations:
        word = annotation.word
        if word == "acl":
            if "acl" in seen and "none" in {annotation.value, seen["acl"].value}:
                annotation.fail("'none' stands alone")
            if annotation.value != "none":
                acl.append(_permission(annotation))
            facts["acl"] = tuple(acl)
        elif word == "aclfilter":
            aclfilter.append(_permission(annotation))
            facts["aclfilter"] = tuple(aclfilter)
        elif word in seen:
            annotation.fail("given twice")
        elif word == "generate":
            annotation.one_of(_GENERATE)
        else:
            facts[word] = _fact(annotation)
        seen[word] = annotation
    return facts


def _fact(annotation: Annotation) -> object:
    match annotation.word:
        case "priority":
            return annotation.one_of(_PRIORITIES)
        case "fds":
            return annotation.one_of(_FDS)
        case "readstream" | "writestream":
            return annotation.position()
        case "sparseflag":
            return annotation.matching(_IDENTIFIER, "the name of a flag")
        case "api":
            return annotation.matching(_IDENTIFIER, "the name of a function")
        case "since":
            return annotation.matching(_VERSION, "a version such as 0.9.13")
        case "event" | "pre_auth" | "daemon":
            return annotation.flag()
    raise RpcgenError(f"unknown annotation '@{annotation.word}'", annotation.location)


def _permission(annotation: Annotation) -> Permission:
    condition: FlagsCondition | ParamCondition | None = None
    parts = annotation.value.split(":")
    match parts:
        case [_, _]:
            pass
        case [_, _, flags]:
            parts[2:] = flags.removeprefix("!").split("|")
            condition = FlagsCondition(tuple(parts[2:]), negated=flags.startswith("!"))
        case [_, _, "", param, value]:
            parts[2:] = [param, value]
            condition = ParamCondition(param, value)
        case _:
            parts = [""]
    if any(_IDENTIFIER.fullmatch(name) is None for name in parts):
        annotation.fail(
            "expected object:permission, object:permission:FLAGS or object:permission::argument:VALUE"
        )
    return Permission(parts[0], parts[1], condition)


def annotation_lines(procedure: Procedure) -> Iterator[str]:
    """The annotations that state what is special about a procedure, as :func:`procedure_facts` reads them."""
    if procedure.event:
        yield "@event"
    if procedure.daemon:
        yield "@daemon"
    if procedure.pre_auth:
        yield "@pre_auth"
    if procedure.acl == ():
        yield "@acl: none"
    for permission in procedure.acl or ():
        yield f"@acl: {_permission_text(permission)}"
    for permission in procedure.aclfilter:
        yield f"@aclfilter: {_permission_text(permission)}"
    if procedure.priority != "low":
        yield f"@priority: {procedure.priority}"
    for word in ("readstream", "writestream", "sparseflag", "fds", "api", "since"):
        if value := getattr(procedure, word):
            yield f"@{word}: {value}"


def _permission_text(permission: Permission) -> str:
    text = f"{permission.object}:{permission.permission}"
    match permission.condition:
        case FlagsCondition(flags=flags, negated=negated):
            return f"{text}:{'!' if negated else ''}{'|'.join(flags)}"
        case ParamCondition(param=param, value=value):
            return f"{text}::{param}:{value}"
    return text
