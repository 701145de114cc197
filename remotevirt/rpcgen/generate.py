"""Write the stubs: everything below ``remotevirt/stubs``, from the contracts and the fact tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from remotevirt.rpcgen import facts
from remotevirt.rpcgen.contracts import CONTRACTS, load_contract
from remotevirt.rpcgen.emit import Source, emit_stubs

__all__ = ["STUBS", "differences", "generate_all", "write"]

STUBS = Path(__file__).parent.parent / "stubs"
"""Where the stubs live."""

PACKAGE = '''\
"""The generated stubs: structs with codecs, procedure tables, driver interfaces, constants, errors.

Everything here comes from ``remotevirt/protocol`` by ``make generate`` and is never edited.
"""
'''


def generate_all() -> dict[str, str]:
    """Return path below ``remotevirt/stubs`` -> text, for every file there."""
    sources = [
        Source(name, load_contract(name), files.stems, files.drivers, files.imports)
        for name, files in CONTRACTS.items()
    ]
    tables = facts.load()
    public = {name for _, enum in tables.enumerations() for name in enum["members"]}
    return {"__init__.py": PACKAGE, **facts.generate(tables), **emit_stubs(sources, public)}


def differences(files: Mapping[str, str], folder: Path = STUBS) -> list[str]:
    """Return the files that are missing, stale or left over in a folder, sorted."""
    present = {str(path.relative_to(folder)): path for path in folder.rglob("*.py")}
    stale = [name for name, text in files.items() if name not in present or present[name].read_text() != text]
    return sorted({*stale, *(name for name in present if name not in files)})


def write(files: Mapping[str, str], folder: Path = STUBS) -> list[str]:
    """Make a folder hold exactly these files; return the names of those that changed."""
    changed = differences(files, folder)
    for name in changed:
        path = folder / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name])
        else:
            path.unlink()
    return changed
