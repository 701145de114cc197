"""How the contract's names look in Python.

``remote_domain_get_info_ret`` becomes ``DomainGetInfoRet``, ``virNetMessageError`` becomes
``MessageError``: the program's prefix is dropped, because the module says it already. Field names stay as
they are, except that a Python keyword gets a trailing underscore.
"""

from __future__ import annotations

import keyword

__all__ = ["class_name", "field_name", "struct_constant"]

PREFIXES = ("remote_", "qemu_", "lxc_", "admin_", "keepalive_")


def class_name(name: str) -> str:
    """Return the Python class name of a struct, union or enum of a contract."""
    if name.startswith("virNet"):
        return name.removeprefix("virNet")
    for prefix in PREFIXES:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def field_name(name: str) -> str:
    """Return the Python name of a field."""
    return f"{name}_" if keyword.iskeyword(name) else name


def struct_constant(codes: str) -> str:
    """Return the name under which a module keeps the :class:`struct.Struct` of these format codes.

    Runs of one code are counted: ``iiQ`` is ``_2iQ``.
    """
    return "_" + codes
