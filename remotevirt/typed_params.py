"""Typed parameters: between Python values and the lists of ``TypedParam`` that travel.

Many of libvirt's calls take or return a list of named values, each of one of seven types. The type matters:
a C client that looks for an ``unsigned int`` does not accept a ``long long``, and libvirt's drivers refuse
a parameter of another type than the one they know. So the type is always stated: by the function
(:func:`uint`, :func:`llong`, ...), or by a table of the types that a call allows (:func:`from_dict`).

A driver's setter checks what it got and reads it as a dict::

    ALLOWED = allowed(VIR_DOMAIN_SCHEDULER_WEIGHT)

    def domain_set_scheduler_parameters(self, dom, params):
        check_params(params, ALLOWED)
        weight = to_dict(params).get(VIR_DOMAIN_SCHEDULER_WEIGHT)

and its getter builds the list: ``[uint(VIR_DOMAIN_SCHEDULER_WEIGHT, 50)]``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.params import TYPED_PARAM_TYPES
from remotevirt.stubs.remote import TypedParam, TypedParamValue

__all__ = [
    "TYPE_NAMES",
    "Value",
    "allowed",
    "boolean",
    "check_params",
    "double",
    "from_dict",
    "int_",
    "llong",
    "string",
    "to_dict",
    "to_lists",
    "uint",
    "ullong",
    "without_strings",
]

Value = int | float | str
"""What a typed parameter may hold; booleans are ``bool``, which is an ``int``."""

_AnyParam = tuple[str, tuple[int, Value]]
"""What the structs of all programs are: name, and type with value."""

TYPE_NAMES: Final[dict[int, str]] = {
    vir.VIR_TYPED_PARAM_INT: "int",
    vir.VIR_TYPED_PARAM_UINT: "uint",
    vir.VIR_TYPED_PARAM_LLONG: "llong",
    vir.VIR_TYPED_PARAM_ULLONG: "ullong",
    vir.VIR_TYPED_PARAM_DOUBLE: "double",
    vir.VIR_TYPED_PARAM_BOOLEAN: "boolean",
    vir.VIR_TYPED_PARAM_STRING: "string",
}
"""How libvirt's error messages call the types."""

_RANGES: Final[dict[int, tuple[int, int]]] = {
    vir.VIR_TYPED_PARAM_INT: (-(2**31), 2**31 - 1),
    vir.VIR_TYPED_PARAM_UINT: (0, 2**32 - 1),
    vir.VIR_TYPED_PARAM_LLONG: (-(2**63), 2**63 - 1),
    vir.VIR_TYPED_PARAM_ULLONG: (0, 2**64 - 1),
}
"""Least and greatest value of the integer types."""


# -- one parameter ------------------------------------------------------------------------------------------


def _integer(name: str, kind: int, value: int) -> TypedParam:
    if not isinstance(value, int):
        raise TypeError(f"{name}: {value!r} is not an integer")
    least, greatest = _RANGES[kind]
    if not least <= value <= greatest:
        raise ValueError(f"{name}: {value} is no {TYPE_NAMES[kind]}")
    return TypedParam(name, TypedParamValue(kind, int(value)))


def int_(name: str, value: int) -> TypedParam:
    """A parameter of C's ``int``, 32 bits; ValueError if it is out of range, as for the other integers."""
    return _integer(name, vir.VIR_TYPED_PARAM_INT, value)


def uint(name: str, value: int) -> TypedParam:
    """A parameter of ``unsigned int``, 32 bits."""
    return _integer(name, vir.VIR_TYPED_PARAM_UINT, value)


def llong(name: str, value: int) -> TypedParam:
    """A parameter of ``long long``, 64 bits."""
    return _integer(name, vir.VIR_TYPED_PARAM_LLONG, value)


def ullong(name: str, value: int) -> TypedParam:
    """A parameter of ``unsigned long long``, 64 bits."""
    return _integer(name, vir.VIR_TYPED_PARAM_ULLONG, value)


def double(name: str, value: float) -> TypedParam:
    """A parameter of ``double``; an integer will do."""
    return TypedParam(name, TypedParamValue(vir.VIR_TYPED_PARAM_DOUBLE, float(value)))


def boolean(name: str, value: object) -> TypedParam:
    """A truth value, 0 or 1 on the wire."""
    return TypedParam(name, TypedParamValue(vir.VIR_TYPED_PARAM_BOOLEAN, int(bool(value))))


def string(name: str, value: str) -> TypedParam:
    """Text. To be sent only to a client that set VIR_TYPED_PARAM_STRING_OKAY; see :func:`without_strings`."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a string")
    return TypedParam(name, TypedParamValue(vir.VIR_TYPED_PARAM_STRING, value))


# -- many parameters ----------------------------------------------------------------------------------------


def allowed(*names: str) -> dict[str, int]:
    """The types of these parameters, for :func:`check_params` and :func:`from_dict`.

    Raises:
        KeyError: libvirt states no type for a name; the caller's table must.
    """
    return {name: TYPED_PARAM_TYPES[name] for name in names}


def from_dict(values: Mapping[str, Value | Iterable[str]], types: Mapping[str, int]) -> list[TypedParam]:
    """Make the list of a dict, in its order.

    Args:
        values: name -> value; for a parameter that may stand several times, the list of its values.
        types: name -> VIR_TYPED_PARAM_*, as :func:`allowed` makes it.

    Raises:
        KeyError: ``types`` lacks a name.
        TypeError, ValueError: a value does not fit its type.
    """
    params = []
    for name, value in values.items():
        items = [value] if isinstance(value, int | float | str) else value
        params += [_BUILDERS[types[name]](name, item) for item in items]
    return params


_BUILDERS: Final[dict[int, Callable[[str, Any], TypedParam]]] = {
    vir.VIR_TYPED_PARAM_INT: int_,
    vir.VIR_TYPED_PARAM_UINT: uint,
    vir.VIR_TYPED_PARAM_LLONG: llong,
    vir.VIR_TYPED_PARAM_ULLONG: ullong,
    vir.VIR_TYPED_PARAM_DOUBLE: double,
    vir.VIR_TYPED_PARAM_BOOLEAN: boolean,
    vir.VIR_TYPED_PARAM_STRING: string,
}


def to_dict(params: Iterable[_AnyParam]) -> dict[str, Value]:
    """Name -> value, booleans as ``bool``; of a name that stands several times, the first value counts."""
    return {name: values[0] for name, values in to_lists(params).items()}


def to_lists(params: Iterable[_AnyParam]) -> dict[str, list[Value]]:
    """Name -> all its values in order: for parameters that may be given several times."""
    found: dict[str, list[Value]] = {}
    for name, (kind, value) in params:
        found.setdefault(name, []).append(bool(value) if kind == vir.VIR_TYPED_PARAM_BOOLEAN else value)
    return found


def without_strings(params: Iterable[TypedParam]) -> list[TypedParam]:
    """What a client gets whose flags lack VIR_TYPED_PARAM_STRING_OKAY."""
    return [param for param in params if param.value.type != vir.VIR_TYPED_PARAM_STRING]


def check_params(
    params: Iterable[_AnyParam], types: Mapping[str, int], multiple: Collection[str] = ()
) -> None:
    """Refuse parameters as libvirt's drivers do: unknown ones, wrong types, repetitions.

    The complaint is about the first bad name in alphabetical order, whatever the order of the list: that is
    what libvirt 9.0.0 answers. Values are not looked at.

    Args:
        params: what the client sent.
        types: the names that this call knows -> VIR_TYPED_PARAM_*.
        multiple: names that may stand several times.

    Raises:
        ArgumentUnsupported: a name is not in ``types``.
        InvalidArg: a type is not the one in ``types``, or a name stands twice.
    """
    previous = None
    for name, (kind, _) in sorted(params, key=_by_name):
        if name not in types:
            raise ArgumentUnsupported(f"parameter '{name}' not supported")
        if name == previous and name not in multiple:
            raise InvalidArg(f"parameter '{name}' occurs multiple times")
        if kind != types[name]:
            raise InvalidArg(
                f"invalid type '{TYPE_NAMES.get(kind, 'unknown')}' for parameter '{name}', "
                f"expected '{TYPE_NAMES[types[name]]}'"
            )
        previous = name


def _by_name(param: _AnyParam) -> str:
    return param[0]
