"""How the contract's names look in Python.

``remote_domain_get_info_ret`` becomes ``DomainGetInfoRet``, ``virNetMessageError`` becomes
``MessageError``: the program's prefix is dropped, because the module says it already. Field names stay as
they are, except that a Python keyword, or a name that the generated code needs for itself, gets a trailing
underscore.
"""

from __future__ import annotations

import keyword

from remotevirt.rpcgen.model import Procedure

__all__ = ["class_name", "error_domain", "field_name", "function_name"]

PREFIXES = ("remote_", "qemu_", "lxc_", "admin_", "keepalive_")


RESERVED = frozenset({"buf", "count", "enum", "index", "item", "pos", "present", "self", "struct", "vir"})
"""Local names of the generated codecs, and the methods of tuples."""


def class_name(name: str) -> str:
    """Return the Python class name of a struct, union or enum of a contract."""
    if name.startswith("virNet"):
        return name.removeprefix("virNet")
    for prefix in PREFIXES:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return field_name("".join(part[:1].upper() + part[1:] for part in name.split("_")))


def field_name(name: str) -> str:
    """Return the Python name of a field."""
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name


ERROR_DOMAINS = {
    "hypervisor": "VIR_FROM_DOMAIN",
    "network": "VIR_FROM_NETWORK",
    "storage": "VIR_FROM_STORAGE",
    "interface": "VIR_FROM_INTERFACE",
    "nodedev": "VIR_FROM_NODEDEV",
    "secret": "VIR_FROM_SECRET",
    "nwfilter": "VIR_FROM_NWFILTER",
}
"""Sub-driver -> the error domain that libvirt's public functions name, as libvirtd 9.0.0 answers."""

OBJECT_DOMAINS = {
    "Snapshot": "VIR_FROM_DOMAIN_SNAPSHOT",
    "Checkpoint": "VIR_FROM_DOMAIN_CHECKPOINT",
    "NodeDevice": "VIR_FROM_NODEDEV",
}
"""Part of a public function's name -> the error domain, where it is not that of the sub-driver."""


def function_name(procedure: Procedure) -> str:
    """Return the function that libvirt's errors name: the public one, or what it calls an internal one."""
    return procedure.api or f"vir{class_name(procedure.name)}"


def error_domain(program: str, procedure: Procedure, driver: str) -> str:
    """Return the constant of the error domain in which libvirt refuses a procedure."""
    if program != "remote":
        return "VIR_FROM_NONE"
    function = function_name(procedure)
    own = (domain for part, domain in OBJECT_DOMAINS.items() if part in function)
    return next(own, ERROR_DOMAINS[driver])
