"""What a contract file says, before names have a meaning: the parser's output, the resolver's input.

The classes mirror those of :mod:`remotevirt.rpcgen.model`; where that has values, these have
:class:`Value`: the word that stands in the text, a number or a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from remotevirt.rpcgen.lexer import Comment
from remotevirt.rpcgen.model import Kind, Location

__all__ = [
    "Document",
    "SyntaxArm",
    "SyntaxBound",
    "SyntaxConstant",
    "SyntaxDeclaration",
    "SyntaxDefinition",
    "SyntaxEnum",
    "SyntaxMember",
    "SyntaxProcedure",
    "SyntaxProgram",
    "SyntaxStruct",
    "SyntaxTypedef",
    "SyntaxUnion",
    "Value",
]


@attrs.frozen
class Value:
    """A number or the name of a constant, as written."""

    text: str
    location: Location

    @property
    def is_name(self) -> bool:
        """Whether it names a constant, and is no number itself."""
        return self.text[0].isalpha() or self.text[0] == "_"

    def number(self) -> int:
        """The value of a number: decimal, hexadecimal (``0x1f``) or octal (``037``)."""
        digits = self.text.lstrip("-")
        base = 16 if digits[:2] in {"0x", "0X"} else 8 if digits[0] == "0" else 10
        number = int(digits, base)
        return -number if self.text[0] == "-" else number


@attrs.frozen
class SyntaxBound:
    """What stands between brackets; the value is None for ``<>``."""

    value: Value | None


@attrs.frozen
class SyntaxDeclaration:
    """``type_location`` is that of the type's name: where an unknown type is reported."""

    name: str
    type: str
    kind: Kind
    bound: SyntaxBound | None
    location: Location
    type_location: Location


@attrs.frozen
class SyntaxConstant:
    name: str
    value: Value
    doc: Comment | None
    location: Location


@attrs.frozen
class SyntaxTypedef:
    declaration: SyntaxDeclaration
    doc: Comment | None
    location: Location

    @property
    def name(self) -> str:
        return self.declaration.name


@attrs.frozen
class SyntaxMember:
    """One member of an enum.

    Attributes:
        value: None if the text states none: then it is one more than the member before.
        doc: the doc comment above it.
        trailer: the comment behind it on the same line.
    """

    name: str
    value: Value | None
    doc: Comment | None
    trailer: str
    location: Location


@attrs.frozen
class SyntaxEnum:
    name: str
    members: tuple[SyntaxMember, ...]
    doc: Comment | None
    location: Location


@attrs.frozen
class SyntaxStruct:
    name: str
    fields: tuple[SyntaxDeclaration, ...]
    doc: Comment | None
    location: Location


@attrs.frozen
class SyntaxArm:
    cases: tuple[Value, ...]
    field: SyntaxDeclaration | None


@attrs.frozen
class SyntaxUnion:
    name: str
    discriminant: SyntaxDeclaration
    arms: tuple[SyntaxArm, ...]
    has_default: bool
    default: SyntaxDeclaration | None
    doc: Comment | None
    location: Location


@attrs.frozen
class SyntaxProcedure:
    """``args`` and ``ret`` are type names, None for void.

    ``facts`` are attributes of the model's procedure that follow from something else than the doc comment.
    """

    constant: str
    value: Value
    args: Value | None
    ret: Value | None
    doc: Comment | None
    location: Location
    facts: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class SyntaxProgram:
    """One version of a program. ``short`` is its name in lower case, the prefix of its structs."""

    short: str
    name: str
    value: Value
    version_name: str
    version_value: Value
    procedures: tuple[SyntaxProcedure, ...]
    location: Location
    version_location: Location


SyntaxDefinition = SyntaxConstant | SyntaxTypedef | SyntaxEnum | SyntaxStruct | SyntaxUnion


@attrs.frozen
class Document:
    """One file: its definitions and programs in order, and the lines meant for rpcgen's output."""

    file: str
    definitions: tuple[SyntaxDefinition, ...]
    programs: tuple[SyntaxProgram, ...]
    passthrough: tuple[str, ...] = ()
