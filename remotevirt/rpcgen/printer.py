"""From model to text: a contract as we write it.

What the printer writes, the parser reads back as the same model, comments included. Annotations stand in
the doc comment of the procedure (see :mod:`remotevirt.rpcgen.annotations`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from remotevirt.rpcgen.annotations import annotation_lines
from remotevirt.rpcgen.model import (
    Bound,
    Case,
    Constant,
    Contract,
    Declaration,
    Definition,
    Enum,
    Kind,
    Procedure,
    Program,
    Struct,
    Typedef,
    Union,
)

__all__ = ["print_contract", "print_declaration", "print_definition", "print_procedure", "print_program"]

_INDENT = "    "
_WIDTH = 100


def print_contract(contract: Contract, heading: str = "", includes: Sequence[str] = ()) -> str:
    """Return a contract as text.

    Constants that a program block declares by naming them are not declared a second time, unless they have
    a comment.

    Args:
        contract: all of it is printed, external constants too.
        heading: text of a comment at the top.
        includes: the files whose types it uses, ``types.x``.
    """
    implied = {name for program in contract.programs for name in (program.constant, program.version_constant)}
    blocks = [_comment(heading, opening="/*")] if heading else []
    if includes:
        blocks.append("\n".join(f'%#include "{name.removesuffix(".x")}.h"' for name in includes))
    last: Definition | None = None
    for definition in contract.definitions:
        if isinstance(definition, Constant) and definition.name in implied and not definition.comment:
            continue
        text = print_definition(definition)
        if isinstance(definition, Constant) and isinstance(last, Constant):
            blocks[-1] += "\n" + text
        else:
            blocks.append(text)
        last = definition
    blocks += [print_program(program, contract) for program in contract.programs]
    return "\n\n".join(blocks) + "\n"


def print_definition(definition: Definition) -> str:
    """Return one definition as text, its comment included, without a newline at the end."""
    lines = [_comment(definition.comment)] if definition.comment else []
    match definition:
        case Constant(name=name, value=value, literal=literal):
            lines.append(f"const {name} = {literal or value};")
        case Typedef(declaration=declaration):
            lines.append(f"typedef {print_declaration(declaration)};")
        case Enum(name=name, members=members):
            width = max(map(len, members))
            body = ",\n".join(f"{_INDENT}{member:<{width}} = {value}" for member, value in members.items())
            lines.append(f"enum {name} {{\n{body}\n}};")
        case Struct(name=name, fields=fields):
            body = "\n".join(f"{_INDENT}{print_declaration(field)};" for field in fields)
            lines.append(f"struct {name} {{\n{body}\n}};")
        case Union():
            lines.append(_union(definition))
    return "\n".join(lines)


def print_declaration(declaration: Declaration) -> str:
    """Return one declaration as text: ``remote_nonnull_string names<REMOTE_DOMAIN_LIST_MAX>``."""
    name, type_ = declaration.name, declaration.type
    match declaration.kind:
        case Kind.OPTIONAL:
            return f"{type_} *{name}"
        case Kind.FIXED_ARRAY | Kind.OPAQUE_FIXED:
            return f"{type_} {name}[{_bound(declaration.bound)}]"
        case Kind.VARIABLE_ARRAY | Kind.STRING | Kind.OPAQUE:
            return f"{type_} {name}<{_bound(declaration.bound)}>"
    return f"{type_} {name}"


def print_program(program: Program, contract: Contract) -> str:
    """Return a program as text, its procedures in order of their numbers."""
    number = contract.get(program.constant)
    literal = number.literal if isinstance(number, Constant) else None
    lines = [f"program {program.constant} {{", f"{_INDENT}version {program.version_constant} {{"]
    for position, procedure in enumerate(program.procedures):
        if position:
            lines.append("")
        lines.append(textwrap.indent(print_procedure(procedure), 2 * _INDENT))
    lines += [f"{_INDENT}}} = {program.version};", f"}} = {literal or program.number};"]
    return "\n".join(lines)


def print_procedure(procedure: Procedure) -> str:
    """Return one procedure as text, with its comment and annotations, not indented."""
    ret = procedure.ret or "void"
    call = f"{procedure.constant}({procedure.args or 'void'}) = {procedure.number};"
    call = f"{ret} {call}" if len(ret) + len(call) < _WIDTH else f"{ret}\n{_INDENT}{call}"
    comment = _comment(procedure.comment, list(annotation_lines(procedure)))
    return f"{comment}\n{call}" if comment else call


def _union(union: Union) -> str:
    lines = [f"union {union.name} switch ({print_declaration(union.discriminant)}) {{"]
    for arm in union.arms:
        lines += [f"{_INDENT}case {_case(case)}:" for case in arm.cases]
        lines.append(2 * _INDENT + _arm(arm.field))
    if union.has_default:
        lines += [f"{_INDENT}default:", 2 * _INDENT + _arm(union.default)]
    return "\n".join([*lines, "};"])


def _arm(field: Declaration | None) -> str:
    return f"{print_declaration(field)};" if field else "void;"


def _case(case: Case) -> str:
    return case.name or str(case.value)


def _bound(bound: Bound | None) -> str:
    if bound is None or bound.value is None:
        return ""
    return bound.name or str(bound.value)


def _comment(text: str, annotations: Sequence[str] = (), opening: str = "/**") -> str:
    """A comment of text and annotations: on one line if that is short enough; empty if there is neither."""
    lines = text.split("\n") if text else []
    if len(lines) == 1 and not annotations and len(lines[0]) + len("/**  */") <= _WIDTH:
        return f"{opening} {lines[0]} */"
    if lines and annotations:
        lines.append("")
    lines += annotations
    if not lines:
        return ""
    return "\n".join([opening, *(f" * {line}".rstrip() for line in lines), " */"])
