"""libvirt's dialect of XDR: procedures as an enum, argument and result types by their names.

libvirt's ``.x`` files have no program blocks. What other contracts say there follows from names::

    const REMOTE_PROGRAM = 0x20008086;          program and version: constants that open as the
    const REMOTE_PROTOCOL_VERSION = 1;          procedures do

    enum remote_procedure {                     each member is a procedure; the doc comment above
        /**                                     it has the annotations
         * @generate: both
         * @acl: domain:getattr
         */
        REMOTE_PROC_DOMAIN_GET_INFO = 16,       arguments: remote_domain_get_info_args
    };                                          result:    remote_domain_get_info_ret

A procedure with neither, but with a ``..._msg`` struct, is an event. Some programs write their structs in
camel case (``virLockSpaceProtocolRegisterArgs``): names are compared without case and underscores.

Releases before 1.1 have no doc comments; a comment behind the member says what is special about it:
``/* autogen autogen readstream@1 priority:high */``.

:func:`add_programs` writes the program blocks that such a file leaves out; from there on the resolver
treats both forms alike. A file that has program blocks of its own is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import attrs

from remotevirt.rpcgen import facts
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.syntax import (
    Document,
    SyntaxConstant,
    SyntaxEnum,
    SyntaxMember,
    SyntaxProcedure,
    SyntaxProgram,
    Value,
)

__all__ = ["add_programs", "included_files", "is_dialect", "public_constants"]

_PROCEDURES = re.compile(r"(.+?)_?[Pp]rocedure")
_INCLUDE = re.compile(r'#\s*include\s+"([A-Za-z0-9_./-]{1,200})\.h"')
_OLD_STREAM = re.compile(r"\b(readstream|writestream)@([1-9][0-9]?)\b")
_OLD_PRIORITY = re.compile(r"\bpriority:(low|high)\b")


@cache
def public_constants() -> Mapping[str, int]:
    """The numbers in libvirt's public headers, which its contracts use without declaring them."""
    tables = facts.load()
    known = dict(tables.constants["integers"])
    for _, enumeration in tables.enumerations():
        known.update(enumeration["members"])
    values: dict[str, int] = {}
    for name, fact in known.items():
        while "alias" in fact:
            fact = known[fact["alias"]]
        values[name] = fact["value"]
    return values


def is_dialect(document: Document) -> bool:
    """Whether a file declares its procedures in an enum, and has no program block."""
    return not document.programs and any(_procedure_enums(document))


def included_files(document: Document) -> Iterator[str]:
    """The contract files that a file includes: ``types.x`` for ``%#include "types.h"``."""
    for line in document.passthrough:
        if found := _INCLUDE.fullmatch(line.strip()):
            yield f"{found[1]}.x"


def add_programs(document: Document) -> Document:
    """Replace the procedure enums of a file in libvirt's dialect by program blocks.

    Raises:
        RpcgenError: there is no constant with the program's number or version, or the members of an enum
            do not all open alike.
    """
    if not is_dialect(document):
        return document
    enums = list(_procedure_enums(document))
    types = {_plain(definition.name): definition.name for definition in document.definitions}
    programs = tuple(_program(document, enum, types) for enum in enums)
    rest = tuple(definition for definition in document.definitions if definition not in enums)
    return attrs.evolve(document, definitions=rest, programs=programs)


def _procedure_enums(document: Document) -> Iterator[SyntaxEnum]:
    for definition in document.definitions:
        if (
            isinstance(definition, SyntaxEnum)
            and _PROCEDURES.fullmatch(definition.name)
            and all("_PROC_" in member.name for member in definition.members)
        ):
            yield definition


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _program(document: Document, enum: SyntaxEnum, types: dict[str, str]) -> SyntaxProgram:
    prefix = enum.members[0].name.partition("_PROC_")[0]
    number = _constant(document, enum, f"{prefix}_PROGRAM")
    version = _constant(document, enum, f"{prefix}_PROTOCOL_VERSION", f"{prefix}_PROGRAM_VERSION")
    stem = _PROCEDURES.fullmatch(enum.name)
    assert stem is not None
    procedures: list[SyntaxProcedure] = []
    for member in enum.members:
        if member.name.partition("_PROC_")[0] != prefix:
            raise RpcgenError(f"{member.name} does not open with {prefix}_PROC_", member.location)
        if member.value is None:
            raise RpcgenError(f"procedure {member.name} has no number", member.location)
        procedures.append(_procedure(member, member.value, stem[1], types))
    return SyntaxProgram(
        prefix.lower(),
        number.name,
        Value(number.name, enum.location),
        version.name,
        Value(version.name, enum.location),
        tuple(procedures),
        enum.location,
        enum.location,
    )


def _constant(document: Document, enum: SyntaxEnum, *names: str) -> SyntaxConstant:
    for definition in document.definitions:
        if isinstance(definition, SyntaxConstant) and definition.name in names:
            return definition
    raise RpcgenError(f"{enum.name} lists procedures, but there is no {' or '.join(names)}", enum.location)


def _procedure(member: SyntaxMember, value: Value, stem: str, types: dict[str, str]) -> SyntaxProcedure:
    plain = _plain(stem + member.name.partition("_PROC_")[2])
    args, ret, msg = (types.get(plain + suffix) for suffix in ("args", "ret", "msg"))
    stated = _old_facts(member.trailer)
    if msg and not args and not ret:
        args = msg
        stated["event"] = True
    return SyntaxProcedure(
        member.name,
        value,
        Value(args, member.location) if args else None,
        Value(ret, member.location) if ret else None,
        member.doc,
        member.location,
        stated,
    )


def _old_facts(trailer: str) -> dict[str, Any]:
    """What the comment behind a member says, in releases that have nothing above it."""
    stated: dict[str, Any] = {found[1]: int(found[2]) for found in _OLD_STREAM.finditer(trailer)}
    if found := _OLD_PRIORITY.search(trailer):
        stated["priority"] = found[1]
    return stated
