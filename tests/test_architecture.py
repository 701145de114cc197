"""The doors between rooms open one way, and modules stay small: asked of the source, not of what is loaded.

::

    errors, xdr, procedures <- stubs <- rpc <- server, client <- tap
                               stubs <- typed_params, xml <- drivers <- server
    server, identity <- admin, observe <- tap
    drivers, server, observe, transport <- testing <- pytest_plugin
    transport <- tap           rpcgen: seen by no other room

A *room* is a module or package directly in ``remotevirt``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.daemons import ROOT

BASE = {"errors", "xdr"}
TABLES = BASE | {"procedures"}
MAY_SEE: dict[str, set[str]] = {
    "errors": set(),
    "xdr": {"errors"},
    "identity": set(),
    "damper": set(),
    "procedures": BASE,
    "stubs": TABLES,
    "strangers": set(),
    "rpc": TABLES | {"strangers", "stubs"},
    "typed_params": {"errors", "stubs"},
    "commands": set(),
    "policy": TABLES | {"commands", "drivers", "identity", "stubs", "xml"},
    "xml": {"errors", "stubs"},
    "description": {"errors"},
    "store": {"errors"},
    "drivers": TABLES | {"description", "identity", "store", "stubs", "typed_params", "xml"},
    "server": TABLES | {"auth", "damper", "stubs", "rpc", "drivers", "identity", "policy", "typed_params"},
    "observe": TABLES
    | {"damper", "identity", "memory", "outlets", "server", "stubs", "typed_params", "__init__"},
    "testing": TABLES
    | {"drivers", "identity", "observe", "rpc", "server", "stubs", "transport", "typed_params", "xml"},
    "pytest_plugin": {"testing"},
    "client": TABLES | {"stubs", "rpc", "transport"},
    "auth": {"errors", "identity"},
    "transport": {"errors", "damper", "description", "identity", "strangers"},
    "outlets": set(),
    "logs": {"errors", "outlets"},
    "config": {"errors", "description", "logs"},
    "listening": {"errors", "config", "description", "transport"},
    "notify": {"errors"},
    "reload": {"errors", "notify"},
    "idle": {"errors"},
    "memory": set(),
    "service": {"errors", "logs"},
    "units": {"errors"},
    "observation": {"config", "drivers", "observe", "reload", "server", "stubs", "transport"},
    "options": {
        "__init__",
        "auth",
        "config",
        "drivers",
        "errors",
        "listening",
        "logs",
        "policy",
        "transport",
    },
    "admin": TABLES | {"stubs", "server", "identity", "typed_params"},
    "tap": {
        "admin",
        "config",
        "drivers",
        "idle",
        "listening",
        "memory",
        "notify",
        "observation",
        "options",
        "reload",
        "server",
        "service",
        "transport",
    },
    "rpcgen": TABLES | {"commands"},
    "__init__": set(),
}
"""Which rooms a room may import from, besides itself."""

SANS_IO = ("errors", "xdr", "procedures", "stubs", "rpc", "typed_params", "xml", "rpcgen")
"""Rooms that neither wait, nor look at a clock, nor know who carries their bytes."""

IO_MODULES = {"asyncio", "select", "selectors", "signal", "socket", "ssl", "threading", "time", "twisted"}

LINES_MAXIMUM = 500
"""Past this, a module probably holds two concepts. Generated ones may be longer."""


class Module:
    """A source file, and the modules that it imports wherever in it it does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        parts = path.relative_to(ROOT).with_suffix("").parts
        self.room = parts[1]
        self.package = parts[:-1]
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)

    @cached_property
    def imports(self) -> Sequence[tuple[str, ...]]:
        """The full name of each thing imported, in parts."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[tuple[str, ...]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield tuple(alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                base = self.package[: len(self.package) - node.level + 1] if node.level else ()
                base += tuple(node.module.split(".")) if node.module else ()
                for alias in node.names:
                    yield (*base, alias.name)

    def rooms(self) -> set[str]:
        """The other rooms that it imports from."""
        found = set()
        for name in self.imports:
            if name[0] == "remotevirt":
                known = len(name) > 1 and name[1] in MAY_SEE
                found.add(name[1] if known else "__init__")
        return found - {self.room}


@cache
def modules() -> Sequence[Module]:
    """All of the package, read once."""
    return [Module(path) for path in sorted((ROOT / "remotevirt").rglob("*.py"))]


class ArchitectureTests(TestCase):
    """Rules of docs/architecture.rst."""

    def setUp(self) -> None:
        self.modules = modules()

    def test_every_room_is_known(self) -> None:
        self.assertEqual(set(), {module.room for module in self.modules} - set(MAY_SEE))

    def test_doors_open_one_way(self) -> None:
        wrong = [
            f"{module.path.relative_to(ROOT)} imports from {', '.join(sorted(bad))}"
            for module in self.modules
            if (bad := module.rooms() - MAY_SEE[module.room])
        ]
        self.assertEqual([], wrong)

    def test_no_circles(self) -> None:
        """The table itself allows none."""

        def reach(room: str) -> set[str]:
            found = set(MAY_SEE[room])
            for other in MAY_SEE[room]:
                found |= reach(other)
            return found

        for room in MAY_SEE:
            self.assertNotIn(room, reach(room))

    def test_wire_core_does_no_io(self) -> None:
        wrong = [
            f"{module.path.relative_to(ROOT)} imports {'.'.join(name)}"
            for module in self.modules
            if module.room in SANS_IO
            for name in module.imports
            if name[0] in IO_MODULES
        ]
        self.assertEqual([], wrong)

    def test_nothing_imports_tests(self) -> None:
        wrong = [
            str(m.path) for m in self.modules for name in m.imports if name[0] in ("tests", "benchmarks")
        ]
        self.assertEqual([], wrong)

    def test_modules_are_small(self) -> None:
        long = [
            f"{module.path.relative_to(ROOT)}: {lines} lines"
            for module in self.modules
            if module.room != "stubs" and (lines := module.text.count("\n")) > LINES_MAXIMUM
        ]
        self.assertEqual([], long)

    def test_every_module_says_what_it_is(self) -> None:
        """An empty one that only makes a folder a package need not."""
        spoken = [m for m in self.modules if m.text and not ast.get_docstring(m.tree)]
        silent = [str(module.path.relative_to(ROOT)) for module in spoken]
        self.assertEqual([], silent)


class ReaderTests(TestCase):
    """The reader of imports itself: a rule that sees nothing forbids nothing."""

    def read(self, text: str) -> Module:
        module = Module.__new__(Module)
        module.path = ROOT / "remotevirt" / "rpc" / "x.py"
        module.room = "rpc"
        module.package = ("remotevirt", "rpc")
        module.text = text
        module.tree = ast.parse(text)
        return module

    def test_every_form_of_import(self) -> None:
        for text, room in {
            "import remotevirt.server.daemon": "server",
            "from remotevirt.server import daemon": "server",
            "from remotevirt import server": "server",
            "from .. import server": "server",
            "from ..server import daemon": "server",
            "def f():\n    from remotevirt.tap import x": "tap",
            "from remotevirt import __version__": "__init__",
        }.items():
            self.assertEqual({room}, self.read(text).rooms(), text)

    def test_own_room(self) -> None:
        for text in (
            "from . import y",
            "from .y import z",
            "from remotevirt.rpc.y import z",
            "import os.path",
        ):
            self.assertEqual(set(), self.read(text).rooms(), text)
