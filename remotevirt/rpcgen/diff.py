"""What changed between two contracts.

Definitions and procedures are compared by name. What makes no difference on the wire is no change:
comments, order of declarations, and whether a bound of the same value is written as a number or by a name.
If the value of a constant changes, that is one change, and not another one for each bound it stands in.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import attrs

from remotevirt.rpcgen.annotations import annotation_lines
from remotevirt.rpcgen.model import (
    Constant,
    Contract,
    Declaration,
    Definition,
    Enum,
    Procedure,
    Program,
    Struct,
    Typedef,
    Union,
)
from remotevirt.rpcgen.printer import print_declaration

__all__ = ["Change", "compare", "describe"]

ADDED = "+"
REMOVED = "-"
CHANGED = "~"

_SORTS: dict[type, str] = {
    Struct: "structs",
    Union: "unions",
    Enum: "enums",
    Typedef: "typedefs",
    Constant: "constants",
}


@attrs.frozen
class Change:
    """One difference.

    Attributes:
        sort: what changed: ``programs``, ``procedures``, ``structs``, ``unions``, ``enums``, ``typedefs`` or
            ``constants``.
        mark: :data:`ADDED`, :data:`REMOVED` or :data:`CHANGED`.
        name: of the definition or procedure.
        details: for a change, what is different, line by line; else what it is, in one line or none.
    """

    sort: str
    mark: str
    name: str
    details: tuple[str, ...] = ()


def compare(old: Contract, new: Contract, ours: bool = True) -> list[Change]:
    """List what changed from ``old`` to ``new``.

    Args:
        old, new: the contracts.
        ours: whether both can state what libvirt's dialect has no word for (descriptors, public functions,
            versions, and the like); if not, it is left out of the comparison.
    """
    comparison = _Comparison(old, new, ours)
    return [*comparison.programs(), *comparison.procedures(), *comparison.definitions()]


def describe(changes: Sequence[Change]) -> str:
    """Return a list of changes as text, grouped by sort; empty if there are none."""
    lines: list[str] = []
    sort = ""
    for change in changes:
        if change.sort != sort:
            sort = change.sort
            group = [each for each in changes if each.sort == sort]
            counts = [
                f"{count} {word}"
                for mark, word in ((ADDED, "added"), (REMOVED, "removed"), (CHANGED, "changed"))
                if (count := sum(each.mark == mark for each in group))
            ]
            lines += ["", f"{sort}: {', '.join(counts)}"]
        if change.mark == CHANGED:
            lines.append(f"  ~ {change.name}")
            lines += [f"      {detail}" for detail in change.details]
        else:
            lines.append("  ".join([f"  {change.mark} {change.name}", *change.details]))
    return "".join(f"{line}\n" for line in lines[1:])


class _Comparison:
    def __init__(self, old: Contract, new: Contract, ours: bool) -> None:
        self._old = old
        self._new = new
        self._ours = ours
        values = {constant.name: constant.value for constant in old.constants}
        self._moved = {
            constant.name
            for constant in new.constants
            if constant.name in values and values[constant.name] != constant.value
        }
        """Constants of another value."""

    # Programs and procedures

    def programs(self) -> Iterator[Change]:
        old = {(program.constant, program.version_constant): program for program in self._old.programs}
        new = {(program.constant, program.version_constant): program for program in self._new.programs}
        for key, program in old.items():
            if key not in new:
                yield Change("programs", REMOVED, program.constant, (_program(program),))
            elif _program(program) != _program(new[key]):
                details = (f"{_program(program)} -> {_program(new[key])}",)
                yield Change("programs", CHANGED, program.constant, details)
        for key, program in new.items():
            if key not in old:
                yield Change("programs", ADDED, program.constant, (_program(program),))

    def procedures(self) -> Iterator[Change]:
        old, new = (
            {
                procedure.constant: procedure
                for program in contract.programs
                for procedure in program.procedures
            }
            for contract in (self._old, self._new)
        )
        for name, procedure in old.items():
            if name not in new:
                yield Change("procedures", REMOVED, name, (_signature(procedure),))
            elif details := tuple(self._procedure(procedure, new[name])):
                yield Change("procedures", CHANGED, name, details)
        for name, procedure in new.items():
            if name not in old:
                yield Change("procedures", ADDED, name, (_signature(procedure),))

    def _procedure(self, old: Procedure, new: Procedure) -> Iterator[str]:
        if old.number != new.number:
            yield f"number: {old.number} -> {new.number}"
        for word in ("args", "ret"):
            before, after = getattr(old, word) or "void", getattr(new, word) or "void"
            if before != after:
                yield f"{word}: {before} -> {after}"
        yield from _line_changes(self._annotations(old), self._annotations(new))

    def _annotations(self, procedure: Procedure) -> list[str]:
        if not self._ours:
            procedure = attrs.evolve(procedure, fds=None, pre_auth=False, daemon=False, api=None, since=None)
        lines = list(annotation_lines(procedure))
        return lines if procedure.priority == "high" else [*lines, "@priority: low"]

    # Definitions

    def definitions(self) -> Iterator[Change]:
        for sort, title in _SORTS.items():
            old = {each.name: each for each in self._old.definitions if isinstance(each, sort)}
            new = {each.name: each for each in self._new.definitions if isinstance(each, sort)}
            for name, definition in old.items():
                if name not in new:
                    yield Change(title, REMOVED, name, _summary(definition))
                elif details := tuple(self._definition(definition, new[name])):
                    yield Change(title, CHANGED, name, details)
            for name, definition in new.items():
                if name not in old:
                    yield Change(title, ADDED, name, _summary(definition))

    def _definition(self, old: Definition, new: Definition) -> Iterator[str]:
        if isinstance(old, Constant) and isinstance(new, Constant):
            if old.value != new.value:
                yield f"{old.literal or old.value} -> {new.literal or new.value}"
            return
        before, after = self._lines(old), self._lines(new)
        shown = dict([*before, *after])
        for line in _line_changes([key for key, _ in before], [key for key, _ in after]):
            yield f"{line[:2]}{shown[line[2:]]}"

    def _lines(self, definition: Definition) -> list[tuple[str, str]]:
        """The parts of a definition, each as it is compared and as it is shown."""
        match definition:
            case Struct(fields=fields):
                return [self._declaration(field) for field in fields]
            case Typedef(declaration=declaration):
                return [self._declaration(declaration)]
            case Enum(members=members):
                return [(f"{name} = {value}",) * 2 for name, value in members.items()]
            case Union(discriminant=discriminant, arms=arms, has_default=has_default, default=default):
                lines = [self._declaration(discriminant, "switch ")]
                for arm in arms:
                    values = "".join(f"case {case.value}: " for case in arm.cases)
                    key, shown = self._declaration(arm.field)
                    names = "".join(f"case {case.name or case.value}: " for case in arm.cases)
                    lines.append((values + key, names + shown))
                if has_default:
                    lines.append(self._declaration(default, "default: "))
                return lines
        return []

    def _declaration(self, declaration: Declaration | None, before: str = "") -> tuple[str, str]:
        if declaration is None:
            return f"{before}void", f"{before}void"
        compared = declaration
        bound = declaration.bound
        if bound is not None and bound.name not in self._moved:
            compared = attrs.evolve(declaration, bound=attrs.evolve(bound, name=None))
        return before + print_declaration(compared), before + print_declaration(declaration)


def _program(program: Program) -> str:
    return f"{program.number:#010x} version {program.version}"


def _signature(procedure: Procedure) -> str:
    what = "event " if procedure.event else ""
    return f"= {procedure.number}  {what}({procedure.args or 'void'}) -> {procedure.ret or 'void'}"


def _summary(definition: Definition) -> tuple[str, ...]:
    if isinstance(definition, Constant):
        return (f"= {definition.literal or definition.value}",)
    return ()


def _line_changes(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Lines that are in one sequence only, or at another place, marked with ``- `` and ``+ ``."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            yield from (f"- {line}" for line in old[old_start:old_end])
            yield from (f"+ {line}" for line in new[new_start:new_end])
