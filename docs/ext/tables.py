"""What the manual's own directives share: tables whose cells are written in reStructuredText."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import ModuleType

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

__all__ = ["TableDirective", "documented_constants", "plain", "show_number"]

_ROLE = re.compile(r":[a-z:]+:`~?(?:[\w.]*\.)?([\w]+)`")


class TableDirective(SphinxDirective):
    """A directive that puts a table in its place."""

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]
    ) -> list[nodes.Node]:
        """Make a table; its cells are inline reStructuredText of one line."""
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
        for row in (head, *rows):
            lines += [f"   {'-' if number else '* -'} {cell}".rstrip() for number, cell in enumerate(row)]
            for number in range(len(lines) - len(row) + 1, len(lines)):
                lines[number] = f"  {lines[number]}"
        return self.parse_text_to_nodes("\n".join(lines))


def documented_constants(module: ModuleType) -> dict[str, tuple[object, str]]:
    """The public constants of a module that a docstring follows: name -> (value, docstring)."""
    found: dict[str, tuple[object, str]] = {}
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in pairwise(body):
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        if (
            isinstance(target, ast.Name)
            and not target.id.startswith("_")
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[target.id] = getattr(module, target.id), after.value.value
    return found


def plain(docstring: str) -> str:
    """A docstring on one line, its cross-references as literals: they would lead nowhere in the manual."""
    return _ROLE.sub(r"``\1``", " ".join(docstring.split()))


def show_number(value: object) -> str:
    """A number as a reader wants it: 33,554,432 is 32 MiB."""
    if not isinstance(value, int):
        return str(value)
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size and value % size == 0:
            return f"{value:,} ({value // size:,} {unit})"
    return f"{value:,}"
