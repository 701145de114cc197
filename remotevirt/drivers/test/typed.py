"""Typed parameters, made and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import TypedParam, TypedParamValue

__all__ = ["TYPE_NAMES", "check_params", "int_param", "uint_param", "ullong_param"]

TYPE_NAMES: Final[dict[int, str]] = {
    c.VIR_TYPED_PARAM_INT: "int",
    c.VIR_TYPED_PARAM_UINT: "uint",
    c.VIR_TYPED_PARAM_LLONG: "llong",
    c.VIR_TYPED_PARAM_ULLONG: "ullong",
    c.VIR_TYPED_PARAM_DOUBLE: "double",
    c.VIR_TYPED_PARAM_BOOLEAN: "boolean",
    c.VIR_TYPED_PARAM_STRING: "string",
}
"""What libvirt's texts call the types."""


def int_param(name: str, value: int) -> TypedParam:
    """Return a signed 32-bit parameter."""
    return TypedParam(name, TypedParamValue(c.VIR_TYPED_PARAM_INT, value))


def uint_param(name: str, value: int) -> TypedParam:
    """Return an unsigned 32-bit parameter."""
    return TypedParam(name, TypedParamValue(c.VIR_TYPED_PARAM_UINT, value))


def ullong_param(name: str, value: int) -> TypedParam:
    """Return an unsigned 64-bit parameter."""
    return TypedParam(name, TypedParamValue(c.VIR_TYPED_PARAM_ULLONG, value))


def check_params(params: Iterable[TypedParam], known: Mapping[str, int]) -> None:
    """Check names and types of what a client sent; no name may come twice.

    Raises:
        ArgumentUnsupported: an unknown name.
        InvalidArg: a wrong type, or a name that comes again.
    """
    seen: set[str] = set()
    for param in sorted(params, key=lambda param: param.field):
        name, kind = param.field, param.value.type
        if name not in known:
            raise ArgumentUnsupported(f"parameter '{name}' not supported")
        if name in seen:
            raise InvalidArg(f"parameter '{name}' occurs multiple times")
        if kind != known[name]:
            raise InvalidArg(
                f"invalid type '{TYPE_NAMES.get(kind, 'unknown')}' for parameter '{name}', "
                f"expected '{TYPE_NAMES[known[name]]}'"
            )
        seen.add(name)
