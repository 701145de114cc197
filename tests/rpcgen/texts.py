"""Contracts for tests: loading them from text, and hypothesis strategies that make them up.

Also strategies for values of a contract's types, in the form of the reference codec.
"""

from __future__ import annotations

import keyword
import string
import sys
from typing import Any

import attrs
from hypothesis import strategies as st

from remotevirt.rpcgen.dialect import add_programs, public_constants
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import (
    Arm,
    Bound,
    Case,
    Constant,
    Contract,
    Declaration,
    Definition,
    Enum,
    FlagsCondition,
    Kind,
    ParamCondition,
    Permission,
    Procedure,
    Program,
    Struct,
    Typedef,
    Union,
)
from remotevirt.rpcgen.parser import parse
from remotevirt.rpcgen.resolve import resolve


def load(*texts: str) -> Contract:
    """The contract that these texts make; the first is called ``a.x``, the next ``b.x``, and so on."""
    documents = [parse(text, f"{letter}.x") for letter, text in zip("abcdef", texts, strict=False)]
    return resolve([add_programs(document) for document in documents], public_constants()).contract


def failure(*texts: str) -> str:
    """The error that loading these texts ends in, as ``line:column: message``."""
    try:
        load(*texts)
    except RpcgenError as error:
        return str(error).removeprefix("a.x:")
    raise AssertionError(f"this was accepted: {texts}")


def unordered(contract: Contract) -> tuple[list[Definition], tuple[Program, ...]]:
    """A contract without what a round trip through text may change: the order of definitions."""
    return sorted(contract.definitions, key=lambda definition: definition.name), contract.programs


# Strategies

RESERVED = {"bool", "case", "char", "const", "default", "double", "enum", "float", "hyper", "int", "opaque"}
RESERVED |= {"program", "quadruple", "short", "string", "struct", "switch", "typedef", "union", "unsigned"}
RESERVED |= {"version", "void", *keyword.kwlist}

names = st.text(string.ascii_lowercase + "_", min_size=3, max_size=8).filter(
    lambda name: name[0] != "_" and name not in RESERVED
)
comments = st.lists(
    st.text(string.printable.replace("\n", "").replace("\r", "") + "äß", max_size=30)
    .map(str.strip)
    .filter(lambda line: "*/" not in line and not line.startswith(("@", "/")) and line.isprintable()),
    max_size=3,
).map(lambda lines: "\n".join(lines).strip("\n"))
numbers = st.sampled_from(["int", "unsigned int", "hyper", "unsigned hyper", "float", "double", "bool"]) | (
    st.sampled_from(["char", "unsigned char", "short", "unsigned short"])
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """Contracts of a few definitions and a program, with comments and annotations."""
    taken = iter(draw(st.lists(names, min_size=20, max_size=20, unique=True)))
    constant = Constant(f"C_{next(taken)}".upper(), draw(st.integers(1, 40)), None, draw(comments))
    definitions: list[Definition] = [constant]
    types: list[str] = []

    def declaration(name: str) -> Declaration:
        kind = draw(st.sampled_from(list(Kind)))
        defined = bool(types) and draw(st.booleans())
        type_ = draw(st.sampled_from(types) if defined else numbers)
        size = Bound(None, draw(st.integers(1, 9)))
        bound = draw(st.sampled_from([size, Bound(constant.name, constant.value)]))
        match kind:
            case Kind.SCALAR | Kind.OPTIONAL:
                return Declaration(name, type_, kind)
            case Kind.STRING:
                return Declaration(name, "string", kind, draw(st.sampled_from([bound, Bound(None, None)])))
            case Kind.OPAQUE | Kind.OPAQUE_FIXED:
                return Declaration(name, "opaque", kind, bound)
        return Declaration(name, type_, kind, bound)

    for _ in range(draw(st.integers(1, 8))):
        name = next(taken)
        fields = draw(st.lists(names, min_size=1, max_size=4, unique=True))
        comment = draw(comments)
        members = {f"{name}_{each}".upper(): value for value, each in enumerate(fields, -1)}
        sort = draw(st.sampled_from([Struct, Typedef, Enum, Union]))
        if sort is Struct:
            definitions.append(Struct(name, tuple(map(declaration, fields)), comment))
        elif sort is Typedef:
            definitions.append(Typedef(declaration(name), comment))
        elif sort is Enum:
            definitions.append(Enum(name, members, comment))
        else:
            arms = tuple(
                Arm((Case(None, number),), declaration(field) if draw(st.booleans()) else None)
                for number, field in enumerate(fields)
            )
            switch = Declaration("switched", draw(st.sampled_from(["int", "unsigned int"])))
            default = declaration("otherwise") if draw(st.booleans()) else None
            has_default = default is not None or draw(st.booleans())
            definitions.append(Union(name, switch, arms, has_default, default, comment))
        types.append(name)
    numbers_taken = sorted(draw(st.sets(st.integers(0, 2**32 - 1), max_size=4)))
    with_acl = draw(st.booleans())
    procedures = tuple(draw(_procedures(number, types, with_acl)) for number in numbers_taken)
    programs: tuple[Program, ...] = ()
    if procedures:
        definitions += [Constant("T_PROGRAM", 0x20008086, "0x20008086"), Constant("T_PROTOCOL_VERSION", 1)]
        programs = (Program("t", "T_PROGRAM", 0x20008086, "T_PROTOCOL_VERSION", 1, procedures),)
    return Contract(tuple(definitions), programs)


@st.composite
def _procedures(draw: st.DrawFn, number: int, types: list[str], with_acl: bool) -> Procedure:
    flags = st.lists(names.map(str.upper), min_size=1, max_size=2).map(tuple)
    conditions = st.one_of(
        st.none(),
        st.builds(FlagsCondition, flags, st.booleans()),
        st.builds(ParamCondition, names, names.map(str.upper)),
    )
    permissions = st.lists(st.builds(Permission, names, names, conditions), max_size=3).map(tuple)
    event = draw(st.booleans())
    maybe_type = st.none() | st.sampled_from(types)
    return Procedure(
        number=number,
        constant=f"T_PROC_N{number}",
        name=f"n{number}",
        args=draw(maybe_type),
        ret=None if event else draw(maybe_type),
        event=event,
        priority=draw(st.sampled_from(["low", "high"])),
        acl=draw(permissions) if with_acl else None,
        aclfilter=draw(permissions),
        readstream=draw(st.integers(0, 9)),
        writestream=draw(st.integers(0, 9)),
        sparseflag=draw(st.none() | names),
        fds=draw(st.sampled_from([None, "call", "reply", "call_and_reply"])),
        pre_auth=draw(st.booleans()),
        daemon=draw(st.booleans()),
        api=draw(st.none() | names),
        since=draw(st.sampled_from([None, "0.3.0", "11"])),
        comment=draw(comments),
    )


_INTEGERS = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "unsigned int": st.integers(0, 2**32 - 1),
    "hyper": st.integers(-(2**63), 2**63 - 1),
    "unsigned hyper": st.integers(0, 2**64 - 1),
    "char": st.integers(0, 255),
    "unsigned char": st.integers(0, 255),
    "short": st.integers(-(2**15), 2**15 - 1),
    "unsigned short": st.integers(0, 2**16 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bool": st.booleans(),
}
_MOST = 4  # elements of a list: enough to tell none, one and several apart


def values(contract: Contract, type_: str) -> st.SearchStrategy[Any]:
    """Values of a type, as the reference codec takes them."""
    if type_ in _INTEGERS:
        return _INTEGERS[type_]
    match contract[type_]:
        case Typedef(declaration=declaration):
            return _declared(contract, declaration)
        case Enum(members=members):
            return st.sampled_from(sorted(set(members.values())))
        case Struct(fields=fields):
            return st.fixed_dictionaries({field.name: _declared(contract, field) for field in fields})
        case Union(discriminant=discriminant, arms=arms, has_default=has_default, default=default):
            choices = []
            for arm in arms:
                field = {arm.field.name: _declared(contract, arm.field)} if arm.field else {}
                for case in arm.cases:
                    choices.append(st.fixed_dictionaries({discriminant.name: st.just(case.value), **field}))
            if has_default:
                known = {case.value for arm in arms for case in arm.cases}
                other = values(contract, discriminant.type).filter(lambda number: number not in known)
                field = {default.name: _declared(contract, default)} if default else {}
                choices.append(st.fixed_dictionaries({discriminant.name: other, **field}))
            return st.one_of(choices)
    raise AssertionError(type_)


def _declared(contract: Contract, declaration: Declaration) -> st.SearchStrategy[Any]:
    maximum = sys.maxsize
    if declaration.bound is not None and declaration.bound.value is not None:
        maximum = declaration.bound.value
    most = min(maximum, _MOST)
    characters = declaration.type in {"char", "unsigned char"}
    match declaration.kind:
        case Kind.SCALAR:
            return values(contract, declaration.type)
        case Kind.OPTIONAL:
            return st.none() | st.deferred(lambda: values(contract, declaration.type))
        case Kind.STRING:
            return st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=most).filter(
                lambda text: len(text.encode()) <= maximum
            )
        case Kind.OPAQUE:
            return st.binary(max_size=most)
        case Kind.OPAQUE_FIXED:
            return st.binary(min_size=maximum, max_size=maximum)
        case Kind.FIXED_ARRAY if characters:
            return st.binary(min_size=maximum, max_size=maximum)
        case Kind.VARIABLE_ARRAY if characters:
            return st.binary(max_size=most)
    items = st.deferred(lambda: values(contract, declaration.type))
    if declaration.kind is Kind.FIXED_ARRAY:
        return st.lists(items, min_size=maximum, max_size=maximum)
    return st.lists(items, max_size=most)


def without_comments(contract: Contract) -> Contract:
    """A contract without any comment."""
    definitions = tuple(attrs.evolve(definition, comment="") for definition in contract.definitions)
    programs = tuple(
        attrs.evolve(
            program,
            procedures=tuple(attrs.evolve(procedure, comment="") for procedure in program.procedures),
        )
        for program in contract.programs
    )
    return Contract(definitions, programs)
