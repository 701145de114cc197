"""Compile a contract in memory, and say what it holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from remotevirt.rpcgen.emit_module import ModulePlan, emit_module
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.loader import Loaded
from remotevirt.rpcgen.model import Contract, Declaration, Procedure, Struct

__all__ = ["compile_contract", "summary"]

_MODULE = "contract"


def compile_contract(loaded: Loaded) -> None:
    """Emit the Python of a contract and compile it, without running it.

    Types from elsewhere are stood in for by a struct.

    Raises:
        RpcgenError: what was emitted is not Python: the contract has something that the emitter does not
            know how to write (the reference codec may still serve it).
    """
    own = loaded.contract
    strangers = tuple(Struct(name, (Declaration("unknown", "int"),)) for name in loaded.external_types)
    definitions = tuple(attrs.evolve(each, comment="") for each in (*own.definitions, *strangers))
    contract = Contract(definitions, own.programs)
    procedures: list[tuple[Procedure, str | None]] = [
        (procedure, None) for program in own.programs for procedure in program.procedures
    ]
    plan = ModulePlan(
        _MODULE, _MODULE, "A contract, compiled to see whether it can be.", definitions, procedures
    )
    homes = {definition.name: _MODULE for definition in definitions}
    text = emit_module(contract, plan, homes, _Everything())
    try:
        compile(text, _MODULE, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise RpcgenError(f"{loaded.files[0]}: cannot be written in Python: {error.msg}: {line}") from error


def summary(loaded: Loaded) -> str:
    """Say in one line what a contract holds; that of included files does not count."""
    own = loaded.own
    procedures = [procedure for program in own.programs for procedure in program.procedures]
    events = sum(procedure.event for procedure in procedures)
    declared = sum(constant.name not in loaded.supplied for constant in own.constants)
    sorts = f"{_count(len(procedures) - events, 'call')}, {_count(events, 'event')}"
    parts = [
        _count(len(own.programs), "program"),
        f"{_count(len(procedures), 'procedure')} ({sorts})",
        _count(len(own.structs), "struct"),
        _count(len(own.unions), "union"),
        _count(len(own.enums), "enum"),
        _count(len(own.typedefs), "typedef"),
        _count(declared, "constant"),
    ]
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Everything(Collection[Any]):
    """Holds every name: which public constants there are is not the contract's business."""

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Any:
        raise TypeError("everything has no end")

    def __len__(self) -> int:
        raise TypeError("everything has no end")
