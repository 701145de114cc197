"""The reference of permissions, made from the contract.

``permissions:: OBJECT``    the permissions on a kind of object, and the calls that need each
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import TableDirective

from remotevirt.policy.permissions import Right, needed_by
from remotevirt.policy.plans import CLONED
from remotevirt.stubs.access import ACCESS_PERMISSIONS

MARKS = {"": "", "sometimes": " [#flags]_", "filter": " [#shows]_"}


def calls(right: Right) -> str:
    """The calls that need a permission, in alphabetical order."""
    found = [
        (procedure.name, "" if program.name == "remote" else f"{program.name}: ", MARKS[when])
        for program, procedure, when in needed_by(right)
    ]
    if right == (CLONED.object, CLONED.permission):
        found.append(("storage_vol_create_xml_from", "", " [#copies]_"))
    return ", ".join(f"{program}``{name}``{mark}" for name, program, mark in sorted(found))


class Permissions(TableDirective):
    """The permissions on one kind of object."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        kind = self.arguments[0]
        rows = [[f"``{kind}:{name}``", calls((kind, name))] for name in ACCESS_PERMISSIONS[kind]]
        return self.table(["permission", "calls that need it"], rows, [1, 4])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("permissions", Permissions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
