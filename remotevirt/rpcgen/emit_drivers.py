"""Emit the driver interfaces: one base class for each sub-driver, one method for each procedure.

A driver author derives from them and overrides what the hypervisor can do. Every method of the base
raises libvirt's "not supported", naming libvirt's public function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from remotevirt.rpcgen.emit_codec import CodecEmitter
from remotevirt.rpcgen.emit_module import HEADER, wrap_comment
from remotevirt.rpcgen.model import Contract, FlagsCondition, ParamCondition, Permission, Procedure, Struct
from remotevirt.rpcgen.naming import class_name, error_domain, field_name, function_name

__all__ = ["INTERFACES", "DriverPlan", "driver_method_name", "emit_driver"]

INTERFACES = {
    "hypervisor": ("HypervisorDriver", "host and domains"),
    "network": ("NetworkDriver", "virtual networks and their ports"),
    "storage": ("StorageDriver", "storage pools and volumes"),
    "interface": ("InterfaceDriver", "the host's network interfaces"),
    "nodedev": ("NodeDeviceDriver", "the host's devices"),
    "secret": ("SecretDriver", "secrets"),
    "nwfilter": ("NWFilterDriver", "network filters and their bindings"),
}
"""Sub-driver -> name of its base class, what it is about."""


@attrs.frozen
class DriverPlan:
    """One sub-driver: its procedures, each with its program's name and the contract that declares it."""

    driver: str
    procedures: Sequence[tuple[str, Contract, Procedure]]


def driver_method_name(program: str, procedure: str) -> str:
    """Return the method that answers a procedure; those of other programs carry the program's name."""
    return procedure if program == "remote" else f"{program}_{procedure}"


def emit_driver(plan: DriverPlan, homes: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of one sub-driver's module."""
    name, about = INTERFACES[plan.driver]
    emitters: dict[str, CodecEmitter] = {}
    methods: list[str] = []
    for program, contract, procedure in plan.procedures:
        emitter = emitters.setdefault(program, CodecEmitter(contract))
        methods += ["", *_method(emitter, program, procedure, plan.driver)]
    body = [
        f"class {name}:",
        f'    """What a driver can do with {about}. Override what yours can do.',
        "",
        "    A method may return its value, a Deferred of it, or a coroutine; it may raise VirError.",
        "    Parameters are the fields of the procedure's arguments, in order, and for a call that carries",
        "    descriptors these; they are closed when the call has ended, so duplicate what you keep.",
        '    """',
        "",
        "    __slots__ = ()",
        *methods,
    ]
    text = "\n".join(body)
    imports = ["from __future__ import annotations", ""]
    if "Sequence[" in text:
        imports += ["from collections.abc import Sequence", ""]
    results = [name for name in ("FilesResult", "Result", "StreamResult") if f"{name}[" in text]
    imports.append(f"from remotevirt.procedures import {', '.join(results)}")
    imports.append("from remotevirt.stubs import constants as vir")
    imports.append("from remotevirt.stubs.errors import NoSupport")
    foreign: dict[str, set[str]] = {}
    for program, emitter in emitters.items():
        for used in emitter.used:
            if used in homes[program] and re.search(rf"\b{class_name(used)}\b", text):
                foreign.setdefault(homes[program][used], set()).add(class_name(used))
    for module in sorted(foreign):
        names = sorted(foreign[module])
        imports += [f"from {module} import (", *(f"    {each}," for each in names), ")"]
    head = [HEADER.format(source="remotevirt/protocol").rstrip(), f'"""Driver interface: {about}."""', ""]
    return "\n".join([*head, *imports, "", "", text]) + "\n"


def _method(emitter: CodecEmitter, program: str, procedure: Procedure, driver: str) -> list[str]:
    parameters = ["self"]
    if procedure.args:
        struct = emitter.contract[procedure.args]
        assert isinstance(struct, Struct)
        parameters += [f"{field_name(field.name)}: {emitter.python_type(field)}" for field in struct.fields]
    if procedure.fds_in:
        parameters.append("files: Sequence[int]")
    result = _result(emitter, procedure)
    name = driver_method_name(program, procedure.name)
    signature = f"    def {name}({', '.join(parameters)}) -> Result[{result}]:"
    if len(signature) > 110:
        head = [f"    def {name}(", *(f"        {each}," for each in parameters)]
        lines = [*head, f"    ) -> Result[{result}]:"]
    else:
        lines = [signature]
    api = procedure.api or "no public function"
    since = f", libvirt {procedure.since}" if procedure.since else ""
    where = f"Procedure {procedure.number}: {api}{since}."
    comment = wrap_comment(procedure.comment, "        ") if procedure.comment else []
    access = "; ".join(_access(permission) for permission in procedure.acl or ())
    details = wrap_comment(where + (f" Needs {access}." if access else ""), "        ")
    docstring = [*comment, "", *details] if comment else details
    docstring[0] = '        """' + docstring[0].strip()
    domain = error_domain(program, procedure, driver)
    return [
        *lines,
        *docstring,
        '        """',
        f'        raise NoSupport("{function_name(procedure)}", domain=vir.{domain})',
    ]


def _result(emitter: CodecEmitter, procedure: Procedure) -> str:
    """Return the type of what a method returns, or its Deferred or coroutine gives."""
    value = "None"
    if procedure.ret:
        struct = emitter.contract[procedure.ret]
        assert isinstance(struct, Struct)
        if len(struct.fields) == 1:
            value = emitter.python_type(struct.fields[0])
        else:
            emitter.used.add(struct.name)
            value = class_name(struct.name)
    if procedure.opens_stream:
        return f"StreamResult[{value}]"
    return f"FilesResult[{value}]" if procedure.fds_out else value


def _access(permission: Permission) -> str:
    text = f"{permission.object}.{permission.permission}"
    condition = permission.condition
    if isinstance(condition, FlagsCondition):
        names = " | ".join(condition.flags)
        return f"{text} {'unless' if condition.negated else 'if'} {names}"
    if isinstance(condition, ParamCondition):
        return f"{text} if {condition.param} is {condition.value}"
    return text
