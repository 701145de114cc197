"""Emit the stubs of whole contracts: the plan of modules, and the package files that tie them together.

A contract of one file becomes one module (``message.x`` -> ``remotevirt.stubs.message``); a contract of
several becomes a package with a module for each (``remote/domain.x`` -> ``remotevirt.stubs.remote.domain``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

import attrs

from remotevirt.rpcgen.emit_drivers import INTERFACES, DriverPlan, emit_driver
from remotevirt.rpcgen.emit_module import HEADER, ModulePlan, emit_module
from remotevirt.rpcgen.model import Contract, Definition, Location, Procedure, Program
from remotevirt.rpcgen.naming import class_name

__all__ = ["Source", "emit_stubs"]

STUBS = "remotevirt.stubs"


@attrs.frozen
class Source:
    """A contract to emit.

    Attributes:
        name: its name, and that of its module or package below ``remotevirt.stubs``.
        contract: the model, names of imported contracts included.
        files: the stems of its own files, in order; definitions from other files are imported.
        drivers: file stem -> the sub-driver that answers its procedures.
        imports: names of the contracts whose definitions it uses.
    """

    name: str
    contract: Contract
    files: Sequence[str]
    drivers: Mapping[str, str]
    imports: Sequence[str] = ()


def _stem(location: Location | None) -> str:
    return PurePath(location.file).stem if location else ""


def _driver(source: Source, procedure: Procedure) -> str | None:
    return None if procedure.daemon or procedure.event else source.drivers.get(_stem(procedure.location))


def emit_stubs(sources: Sequence[Source], external: Collection[str]) -> dict[str, str]:
    """Return path below ``remotevirt/stubs`` -> text, for all contracts and the driver interfaces.

    Args:
        sources: the contracts, each after those it imports.
        external: names of the public constants, which access conditions may use.
    """
    files: dict[str, str] = {}
    homes: dict[str, dict[str, str]] = {}
    for source in sources:
        home = {name: module for other in source.imports for name, module in homes[other].items()}
        own = [d for d in source.contract.definitions if _stem(d.location) in source.files]
        home.update({d.name: _module(source, _stem(d.location)) for d in own})
        homes[source.name] = home
        plans = [_plan(source, stem, own) for stem in source.files]
        for plan in plans:
            files[_path(plan.module)] = emit_module(source.contract, plan, home, external)
        program = next((p for p in source.contract.programs if _own_program(source, p)), None)
        if len(source.files) > 1 and program:
            files[f"{source.name}/__init__.py"] = _package(source, program, plans, files)
    for driver in INTERFACES:
        procedures = [
            (source.name, source.contract, procedure)
            for source in sources
            for program in source.contract.programs
            if _own_program(source, program)
            for procedure in program.procedures
            if _driver(source, procedure) == driver
        ]
        files[f"drivers/{driver}.py"] = emit_driver(DriverPlan(driver, procedures), homes)
    files["drivers/__init__.py"] = _drivers_package()
    return files


def _own_program(source: Source, program: Program) -> bool:
    return program.name == source.name


def _module(source: Source, stem: str) -> str:
    return f"{STUBS}.{source.name}.{stem}" if len(source.files) > 1 else f"{STUBS}.{source.name}"


def _path(module: str) -> str:
    return module.removeprefix(STUBS + ".").replace(".", "/") + ".py"


def _plan(source: Source, stem: str, own: Sequence[Definition]) -> ModulePlan:
    multiple = len(source.files) > 1
    path = f"{source.name}/{stem}.x" if multiple else f"{stem}.x"
    procedures = [
        (procedure, _driver(source, procedure))
        for program in source.contract.programs
        if _own_program(source, program)
        for procedure in program.procedures
        if not multiple or _stem(procedure.location) == stem
    ]
    about = f"the {source.name} program: {stem}" if multiple else f"the {source.name} contract"
    return ModulePlan(
        module=_module(source, stem),
        source=f"remotevirt/protocol/{path}",
        title=f"Stubs of {about}.",
        definitions=[d for d in own if _stem(d.location) == stem],
        procedures=procedures,
        program_name=source.name,
        program=None
        if multiple
        else next((p for p in source.contract.programs if _own_program(source, p)), None),
    )


def _package(source: Source, program: Program, plans: Sequence[ModulePlan], files: Mapping[str, str]) -> str:
    lines = [
        HEADER.format(source=f"remotevirt/protocol/{source.name}").rstrip(),
        f'"""The {source.name} program: every struct, and the table of its procedures."""',
        "",
        "from typing import Final",
        "",
        "from remotevirt.procedures import Program",
    ]
    exported = ["PROGRAM"]
    constants_home = ""
    tables = []
    for plan in plans:
        stem = plan.module.rpartition(".")[2]
        names = sorted(
            class_name(d.name)
            for d in plan.definitions
            if f"class {class_name(d.name)}(" in files[_path(plan.module)]
        )
        exported += names
        if any(d.name == program.constant for d in plan.definitions):
            constants_home = stem
        if names:
            lines += [f"from {plan.module} import (", *(f"    {name}," for name in names), ")"]
        if plan.procedures:
            tables.append(stem)
    lines += [f"from {STUBS}.{source.name} import (", *(f"    {stem}," for stem in tables), ")"]
    if not constants_home:
        raise LookupError(f"no file of {source.name} declares {program.constant}")
    lines += [
        f"from {STUBS}.{source.name}.{constants_home} import {program.constant}, {program.version_constant}",
        "",
        "PROGRAM: Final = Program(",
        f'    "{program.name}",',
        f"    {program.constant},",
        f"    {program.version_constant},",
        "    (",
        *(f"        *{stem}.PROCEDURES," for stem in tables),
        "    ),",
        ")",
        "",
        "__all__ = [",
        *(f'    "{name}",' for name in sorted(exported)),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _drivers_package() -> str:
    lines = [
        HEADER.format(source="remotevirt/protocol").rstrip(),
        '"""The interfaces that a driver author implements, one class for each sub-driver."""',
        "",
        *(f"from {STUBS}.drivers.{driver} import {name}" for driver, (name, _) in INTERFACES.items()),
        "",
        "__all__ = [",
        *(f'    "{name}",' for name, _ in sorted(INTERFACES.values())),
        "]",
    ]
    return "\n".join(lines) + "\n"
