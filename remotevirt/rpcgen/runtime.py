"""Serve a contract that was loaded at run time: a program table made of the reference codec.

What :func:`load_program` returns is the same kind of table that the generated stubs hold, so a
:class:`~remotevirt.server.Daemon` that is given it serves the program beside libvirt's own: a driver's
hypervisor answers its procedures with methods named ``PROGRAM_PROCEDURE``. Structs are NamedTuples with
the contract's field names; what they contain has the reference codec's shapes (dicts and lists).

It is for programs that are not compiled (another vendor's, a draft); its codecs are some hundred times
slower than generated ones.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from remotevirt.procedures import Procedure, Program
from remotevirt.rpcgen import model
from remotevirt.rpcgen.naming import class_name, field_name, function_name
from remotevirt.rpcgen.reference import ReferenceCodec

__all__ = ["load_program", "message_type"]


def message_type(codec: ReferenceCodec, struct: model.Struct) -> type[Any]:
    """Return a NamedTuple class for a struct, with ``pack`` and ``unpack`` like a generated one."""
    names = [field.name for field in struct.fields]
    fields = [field_name(name) for name in names]

    def pack(self: tuple[Any, ...]) -> bytes:
        return codec.pack(struct.name, dict(zip(names, self, strict=True)))

    def unpack(buf: bytes, pos: int) -> tuple[Any, int]:
        value, end = codec.unpack_from(struct.name, buf, pos)
        return made(*(value[name] for name in names)), end

    base: Any = namedtuple(class_name(struct.name), fields)  # type: ignore[misc] # only known now
    body = {"__slots__": (), "__doc__": f"{struct.name}.", "pack": pack, "unpack": staticmethod(unpack)}
    made: type[Any] = type(class_name(struct.name), (base,), body)
    return made


def _result_type(codec: ReferenceCodec, struct: model.Struct) -> type[Any]:
    """Like :func:`message_type`; a single field is encoded from the bare value, as drivers return it."""
    made = message_type(codec, struct)
    if len(struct.fields) == 1:
        made.encode = staticmethod(lambda value: made(value).pack())
    return made


def load_program(contract: model.Contract, name: str, driver: str = "hypervisor") -> Program:
    """Make the table of a program.

    Args:
        contract: the loaded contract.
        name: which of its programs.
        driver: the sub-driver that answers it.

    Raises:
        LookupError: the contract has no such program, or a procedure takes or returns what is no struct.
    """
    program = next((each for each in contract.programs if each.name == name), None)
    if program is None:
        raise LookupError(f"no program {name}")
    codec = ReferenceCodec(contract)

    def struct(type_name: str | None) -> model.Struct | None:
        if type_name is None:
            return None
        definition = contract[type_name]
        if not isinstance(definition, model.Struct):
            raise LookupError(f"{type_name} is not a struct")
        return definition

    rows = []
    for procedure in program.procedures:
        args, ret = struct(procedure.args), struct(procedure.ret)
        rows.append(
            Procedure(
                procedure.number,
                procedure.name,
                args=message_type(codec, args) if args else None,
                ret=_result_type(codec, ret) if ret else None,
                api=function_name(procedure),
                driver=None if procedure.event else driver,
                high_priority=procedure.priority == "high",
                event=procedure.event,
            )
        )
    return Program(program.name, program.number, program.version, tuple(rows))
