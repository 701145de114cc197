"""From syntax to model: give every name its meaning, and check that it has one.

All files of a contract share one namespace of types, constants and enum members; a name may be used above
its declaration and in another file than it is declared in. Blocks of the same program in several files
make one program. A program block declares the two constants it names, if nothing else does.

What the resolver is sure of, emitters and codecs rely on: every type is known, every bound is a number from
0 (fixed sizes: 1) to 2**32 - 1, no type contains itself except behind a count or an optional, and no
value takes zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from remotevirt.rpcgen.annotations import procedure_facts, read_comment
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import (
    PRIMITIVES,
    Arm,
    Bound,
    Case,
    Constant,
    Contract,
    Declaration,
    Definition,
    Enum,
    Kind,
    Location,
    Procedure,
    Program,
    Struct,
    Typedef,
    Union,
)
from remotevirt.rpcgen.recursion import check_recursion
from remotevirt.rpcgen.syntax import (
    Document,
    SyntaxBound,
    SyntaxConstant,
    SyntaxDeclaration,
    SyntaxDefinition,
    SyntaxEnum,
    SyntaxProcedure,
    SyntaxProgram,
    SyntaxStruct,
    SyntaxTypedef,
    SyntaxUnion,
    Value,
)

__all__ = ["Resolved", "resolve"]

_WORD = (0, 2**32 - 1)
_SIZE = (1, 2**32 - 1)
_ENUM = (-(2**31), 2**31 - 1)
_CONSTANT = (-(2**63), 2**64 - 1)

_DISCRIMINANTS = {"int": _ENUM, "unsigned int": _WORD, "bool": (0, 1)}
_BOOLEANS = {"FALSE": 0, "TRUE": 1}


class Resolved(NamedTuple):
    """A contract, and what it takes from outside.

    Attributes:
        contract: with the supplied constants it uses.
        supplied: the names of these constants.
        external_types: the types that it uses and does not declare; empty unless that was allowed.
    """

    contract: Contract
    supplied: tuple[str, ...]
    external_types: tuple[str, ...]


def resolve(
    documents: Sequence[Document],
    supplied: Mapping[str, int] | None = None,
    allow_external_types: bool = False,
) -> Resolved:
    """Merge the files of one contract.

    Args:
        documents: the parsed files.
        supplied: constants from outside. Those in use become part of the result, located where they
            are used first.
        allow_external_types: whether a type may be unknown.

    Raises:
        RpcgenError: a name that is unknown or declared twice, a value out of range, and the like.
    """
    return _Resolver(documents, supplied or {}, allow_external_types).run()


class _Symbol(NamedTuple):
    """A constant or an enum member: ``base`` (None: zero) plus ``offset``."""

    base: Value | None
    offset: int
    location: Location
    limits: tuple[int, int]


class _Resolver:
    def __init__(
        self,
        documents: Sequence[Document],
        supplied: Mapping[str, int],
        allow_external_types: bool,
    ) -> None:
        self._documents = documents
        self._supplied = supplied
        self._allow_external_types = allow_external_types
        self._locations: dict[str, Location] = {}
        self._symbols: dict[str, _Symbol] = {}
        self._values: dict[str, int] = {}
        self._types: dict[str, SyntaxDefinition] = {}
        self._used: dict[str, Constant] = {}  # constants of ``supplied``
        self._external: dict[str, None] = {}  # types, in order of their use

    def run(self) -> Resolved:
        for document in self._documents:
            for definition in document.definitions:
                self._declare_definition(definition)
        programs = [program for document in self._documents for program in document.programs]
        implicit = self._program_constants(programs)
        definitions: list[Definition] = []
        for document in self._documents:
            definitions += [self._definition(definition) for definition in document.definitions]
            definitions += [constant for file, constant in implicit if file == document.file]
        check_recursion(definitions)
        merged = self._programs(programs)
        contract = Contract((*self._used.values(), *definitions), merged)
        return Resolved(contract, tuple(self._used), tuple(self._external))

    # Names

    def _declare(self, name: str, location: Location) -> None:
        if name in self._locations:
            raise RpcgenError(f"{name} is declared already, at {self._locations[name]}", location)
        self._locations[name] = location

    def _declare_definition(self, definition: SyntaxDefinition) -> None:
        self._declare(definition.name, definition.location)
        if isinstance(definition, SyntaxConstant):
            symbol = _Symbol(definition.value, 0, definition.location, _CONSTANT)
            self._symbols[definition.name] = symbol
            return
        self._types[definition.name] = definition
        if not isinstance(definition, SyntaxEnum):
            return
        base, offset = None, 0
        for member in definition.members:
            if member.value is not None:
                base, offset = member.value, 0
            self._declare(member.name, member.location)
            self._symbols[member.name] = _Symbol(base, offset, member.location, _ENUM)
            offset += 1

    def _program_constants(self, programs: Sequence[SyntaxProgram]) -> list[tuple[str, Constant]]:
        """Declare what the program blocks name and nothing else declares."""
        implicit: list[tuple[str, Constant]] = []
        for program in programs:
            for name, value, location in (
                (program.name, program.value, program.location),
                (program.version_name, program.version_value, program.version_location),
            ):
                number = self._evaluate(value, _WORD)
                if name in self._symbols:
                    declared = self._evaluate(Value(name, location), _WORD)
                    if declared != number:
                        at = self._symbols[name].location
                        raise RpcgenError(f"{name} is {number} here, but {declared} at {at}", value.location)
                    continue
                self._declare(name, location)
                self._symbols[name] = _Symbol(value, 0, location, _WORD)
                implicit.append((location.file, Constant(name, number, _literal(value), location=location)))
        return implicit

    # Values

    def _evaluate(self, value: Value, limits: tuple[int, int]) -> int:
        """The number that a value stands for, which must be within ``limits``."""
        trail: dict[str, int] = {}  # name -> offset of its value to that of the next
        current: Value | None = value
        number = 0
        while current is not None and current.is_name:
            name = current.text
            if name in trail:
                raise RpcgenError(f"{name} is defined by itself", self._locations.get(name) or value.location)
            if name in self._values or name not in self._symbols:
                number = self._known(current)
                break
            symbol = self._symbols[name]
            trail[name] = symbol.offset
            current = symbol.base
        else:
            number = current.number() if current is not None else 0
        for name in reversed(trail):
            number += trail[name]
            self._values[name] = _within(number, self._symbols[name].limits, self._symbols[name].location)
        return _within(number, limits, value.location)

    def _known(self, value: Value) -> int:
        name = value.text
        if name in self._values:
            return self._values[name]
        if name in self._supplied:
            constant = Constant(name, self._supplied[name], location=value.location)
            return self._used.setdefault(name, constant).value
        if name in self._types:
            raise RpcgenError(f"{name} is a type, not a constant", value.location)
        raise RpcgenError(f"unknown constant {name}", value.location)

    # Definitions

    def _definition(self, definition: SyntaxDefinition) -> Definition:
        comment = read_comment(definition.doc)[0]
        location = definition.location
        match definition:
            case SyntaxConstant(name=name, value=value):
                return Constant(name, self._evaluate(value, _CONSTANT), _literal(value), comment, location)
            case SyntaxTypedef(declaration=declaration):
                return Typedef(self._declaration(declaration), comment, location)
            case SyntaxEnum(name=name, members=members):
                values = {m.name: self._evaluate(Value(m.name, m.location), _ENUM) for m in members}
                return Enum(name, values, comment, location)
            case SyntaxStruct(name=name, fields=fields):
                _check_distinct(fields)
                return Struct(name, tuple(map(self._declaration, fields)), comment, location)
            case SyntaxUnion():
                return self._union(definition, comment)

    def _declaration(self, syntax: SyntaxDeclaration) -> Declaration:
        if syntax.kind not in {Kind.STRING, Kind.OPAQUE, Kind.OPAQUE_FIXED}:
            self._check_type(syntax.type, syntax.type_location)
        bound = None
        if syntax.bound is not None:
            fixed = syntax.kind in {Kind.FIXED_ARRAY, Kind.OPAQUE_FIXED}
            bound = self._bound(syntax.bound, _SIZE if fixed else _WORD)
        return Declaration(syntax.name, syntax.type, syntax.kind, bound)

    def _bound(self, syntax: SyntaxBound, limits: tuple[int, int]) -> Bound:
        value = syntax.value
        if value is None:
            return Bound(None, None)
        return Bound(value.text if value.is_name else None, self._evaluate(value, limits))

    def _check_type(self, name: str, location: Location) -> None:
        if name in PRIMITIVES or name in self._types:
            return
        if name in self._locations:
            raise RpcgenError(f"{name} is a constant, not a type", location)
        if not self._allow_external_types:
            raise RpcgenError(f"unknown type {name}", location)
        self._external[name] = None

    def _union(self, syntax: SyntaxUnion, comment: str) -> Union:
        discriminant = self._declaration(syntax.discriminant)
        limits, members = self._discriminant(syntax.discriminant)
        fields = [syntax.discriminant, *(arm.field for arm in syntax.arms if arm.field)]
        _check_distinct([*fields, *([syntax.default] if syntax.default else [])])
        seen: dict[int, Value] = {}
        arms: list[Arm] = []
        for arm in syntax.arms:
            cases: list[Case] = []
            for value in arm.cases:
                if limits == _DISCRIMINANTS["bool"] and value.text in _BOOLEANS:
                    number = _BOOLEANS[value.text]
                else:
                    number = self._evaluate(value, limits)
                if members is not None and number not in members:
                    raise RpcgenError(f"{value.text} is no value of {discriminant.type}", value.location)
                if number in seen:
                    first = seen[number].location
                    raise RpcgenError(f"there is a case for {number} already at {first}", value.location)
                seen[number] = value
                cases.append(Case(value.text if value.is_name else None, number))
            arms.append(Arm(tuple(cases), self._declaration(arm.field) if arm.field else None))
        default = self._declaration(syntax.default) if syntax.default else None
        return Union(
            syntax.name, discriminant, tuple(arms), syntax.has_default, default, comment, syntax.location
        )

    def _discriminant(self, syntax: SyntaxDeclaration) -> tuple[tuple[int, int], set[int] | None]:
        """The limits of a discriminant's type, and its values if that is an enum."""
        name = syntax.type
        if syntax.kind is Kind.SCALAR:
            for _ in range(len(self._types) + 1):  # a chain of typedefs is at most that long
                definition = self._types.get(name)
                match definition:
                    case SyntaxEnum(members=members):
                        return _ENUM, {self._evaluate(Value(m.name, m.location), _ENUM) for m in members}
                    case SyntaxTypedef(declaration=declaration):
                        if declaration.kind is not Kind.SCALAR:
                            break
                        name = declaration.type
                    case _:
                        break
            if name in _DISCRIMINANTS:
                return _DISCRIMINANTS[name], None
            if name in self._external:
                return _CONSTANT, None
        raise RpcgenError(
            "a union is switched by an int, an unsigned int, a bool or an enum", syntax.type_location
        )

    # Programs

    def _programs(self, syntax: Sequence[SyntaxProgram]) -> tuple[Program, ...]:
        merged: dict[tuple[str, str], Program] = {}
        numbers: dict[tuple[int, int], SyntaxProgram] = {}
        for block in syntax:
            number = self._evaluate(block.value, _WORD)
            version = self._evaluate(block.version_value, _WORD)
            other = numbers.setdefault((number, version), block)
            if (other.name, other.version_name) != (block.name, block.version_name):
                where = f"{other.name} at {other.location}"
                raise RpcgenError(f"program {number:#x} version {version} is {where}", block.location)
            key = (block.name, block.version_name)
            before = merged.get(key)
            if before is None:
                before = Program(
                    block.short, block.name, number, block.version_name, version, (), block.location
                )
            procedures = tuple(self._procedure(block, procedure) for procedure in block.procedures)
            merged[key] = attrs.evolve(before, procedures=before.procedures + procedures)
        return tuple(_finished(program) for program in merged.values())

    def _procedure(self, block: SyntaxProgram, syntax: SyntaxProcedure) -> Procedure:
        number = self._evaluate(syntax.value, _WORD)
        for value in (syntax.args, syntax.ret):
            if value is not None:
                self._check_type(value.text, value.location)
        prefix = block.short.upper()
        name = syntax.constant.removeprefix(f"{prefix}_PROC_").removeprefix(f"{prefix}_").lower()
        procedure = Procedure(
            number=number,
            constant=syntax.constant,
            name=name,
            args=syntax.args.text if syntax.args else None,
            ret=syntax.ret.text if syntax.ret else None,
            location=syntax.location,
            **{**syntax.facts, **procedure_facts(syntax.doc)},
        )
        if procedure.event and procedure.ret:
            raise RpcgenError(f"{syntax.constant} is an event: it returns nothing", syntax.location)
        return procedure


def _literal(value: Value) -> str | None:
    """How a constant's value is spelt, unless that is plain decimal."""
    return None if not value.is_name and value.text == str(value.number()) else value.text


def _within(number: int, limits: tuple[int, int], location: Location) -> int:
    low, high = limits
    if not low <= number <= high:
        raise RpcgenError(f"{number} is not from {low} to {high}", location)
    return number


def _check_distinct(declarations: Iterable[SyntaxDeclaration]) -> None:
    seen: dict[str, Location] = {}
    for declaration in declarations:
        if declaration.name in seen:
            first = seen[declaration.name]
            raise RpcgenError(f"there is a {declaration.name} already at {first}", declaration.location)
        seen[declaration.name] = declaration.location


def _finished(program: Program) -> Program:
    """Order the procedures of a program by number, and check them against one another."""
    names: dict[str, Procedure] = {}
    numbers: dict[int, Procedure] = {}
    for procedure in program.procedures:
        for same in (names.get(procedure.constant), numbers.get(procedure.number)):
            if same is not None:
                what = "procedure number" if same.constant != procedure.constant else same.constant
                number = f" {procedure.number}" if same.constant != procedure.constant else ""
                message = f"{what}{number} is taken already, at {same.location}"
                raise RpcgenError(message, procedure.location)
        names[procedure.constant] = numbers[procedure.number] = procedure
    with_acl = next((procedure for procedure in program.procedures if procedure.acl is not None), None)
    without = next((procedure for procedure in program.procedures if procedure.acl is None), None)
    if with_acl and without:
        raise RpcgenError(
            f"{without.constant} has no @acl, but others have (say '@acl: none' if it needs none)",
            without.location,
        )
    ordered = tuple(numbers[number] for number in sorted(numbers))
    return attrs.evolve(program, procedures=ordered)
