"""The reference codec: serves a contract that was loaded at run time, with xdrlib3, without generated code.

It is slow and plain on purpose: what the generated codecs do fast, it does by looking at the model field
by field, so that property tests can hold them to it. It also serves whatever is off the hot path, such as
the contract of another libvirt release.

Values, by type:

=============================================  =============================================================
``int``, ``hyper``, narrow types, enums        ``int``
``float``, ``double``                          ``float``
``bool``                                       ``bool``
``string``                                     ``str``, without NUL; bounds count UTF-8 bytes
``opaque``; arrays of (``unsigned``) ``char``  ``bytes``
other arrays                                   ``list``
optional                                       the value, or None
struct                                         ``dict``: field name -> value
union                                          ``dict``: the discriminant, and the field of its arm if it
                                               has one: ``{"type": 7, "s": "text"}``
=============================================  =============================================================

As libvirt has it, a narrow type takes four bytes on the wire, each element of an array too, and its upper
bytes are not looked at (they may hold the sign). Padding is not looked at either, and any non-zero word
is a present optional. Counts are compared with their bound, and with the bytes that are there, before
anything is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from xdrlib3 import Error as XdrlibError
from xdrlib3 import Packer, Unpacker

from remotevirt.errors import XDRError
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Bound, Contract, Declaration, Enum, Kind, Struct, Typedef, Union

__all__ = ["MAX_DEPTH", "ReferenceCodec"]

MAX_DEPTH = 64
"""How deep values may nest. Contracts of libvirt need 5; a list made of optionals could exhaust the stack."""

_UNBOUNDED = 2**32 - 1

_INTEGERS: Mapping[str, tuple[int, int]] = {
    "int": (-(2**31), 2**31 - 1),
    "unsigned int": (0, 2**32 - 1),
    "hyper": (-(2**63), 2**63 - 1),
    "unsigned hyper": (0, 2**64 - 1),
    "char": (0, 255),
    "unsigned char": (0, 255),
    "short": (-(2**15), 2**15 - 1),
    "unsigned short": (0, 2**16 - 1),
}
_SIZES: Mapping[str, int] = {"hyper": 8, "unsigned hyper": 8, "double": 8}
_CHARACTERS = ("char", "unsigned char")


class ReferenceCodec:
    """Packs and unpacks the types of a contract.

    Args:
        contract: where types are looked up.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._least: dict[str, int] = {}

    def pack(self, type_name: str, value: object) -> bytes:
        """Return the encoding of a value.

        Args:
            type_name: a definition of the contract, or a type that is built in; ``void`` for nothing.
            value: see the module's docstring.

        Raises:
            XDRError: the value does not fit its type.
            RpcgenError: there is no such type.
        """
        packer = Packer()
        if type_name != "void":
            try:
                self._pack(packer, Declaration("value", type_name), value, 0)
            except (XdrlibError, struct.error, OverflowError) as error:
                raise XDRError(str(error)) from error
        elif value is not None:
            raise XDRError("void has no value")
        return bytes(packer.get_buffer())

    def unpack(self, type_name: str, data: bytes) -> Any:
        """Return the value that opens ``data``; bytes behind it are ignored, as libvirt ignores them.

        Raises:
            XDRError: what stands there is no encoding of the type.
            RpcgenError: there is no such type.
        """
        return self.unpack_from(type_name, data)[0]

    def unpack_from(self, type_name: str, data: bytes, position: int = 0) -> tuple[Any, int]:
        """Return the value at ``position`` and the position behind it."""
        if type_name == "void":
            return None, position
        unpacker = Unpacker(data)
        unpacker.set_position(position)
        try:
            value = self._unpack(unpacker, Declaration("value", type_name), 0)
        except EOFError as error:
            raise XDRError("truncated") from error
        return value, unpacker.get_position()

    # Packing

    def _pack(self, packer: Packer, declaration: Declaration, value: Any, depth: int) -> None:
        _check_depth(depth)
        type_ = declaration.type
        match declaration.kind:
            case Kind.SCALAR:
                self._pack_scalar(packer, type_, value, depth)
            case Kind.OPTIONAL:
                packer.pack_bool(value is not None)
                if value is not None:
                    self._pack_scalar(packer, type_, value, depth)
            case Kind.STRING:
                if not isinstance(value, str):
                    raise XDRError(f"not text: {type(value).__name__}")
                try:
                    data = value.encode()
                except UnicodeEncodeError as error:
                    raise XDRError(f"not text: {error}") from None
                if 0 in data:
                    raise XDRError("string contains a NUL")
                _check_count(len(data), declaration)
                packer.pack_string(data)
            case Kind.OPAQUE:
                _check_count(len(_bytes(value)), declaration)
                packer.pack_opaque(value)
            case Kind.OPAQUE_FIXED:
                _check_count(len(_bytes(value)), declaration)
                packer.pack_fopaque(len(value), value)
            case Kind.FIXED_ARRAY | Kind.VARIABLE_ARRAY as kind:
                if type_ in _CHARACTERS:
                    _bytes(value)
                elif not isinstance(value, Sequence) or isinstance(value, str | bytes):
                    raise XDRError(f"not a list: {type(value).__name__}")
                _check_count(len(value), declaration)
                if kind is Kind.VARIABLE_ARRAY:
                    packer.pack_uint(len(value))
                for index, item in enumerate(value):
                    with _inside(f"[{index}]"):
                        self._pack_scalar(packer, type_, item, depth)

    def _pack_scalar(self, packer: Packer, type_: str, value: Any, depth: int) -> None:
        if type_ in _INTEGERS:
            low, high = _INTEGERS[type_]
            if not isinstance(value, int) or not low <= value <= high:
                raise XDRError(f"{_shown(value)} is no {type_}")
            if _SIZES.get(type_) == 8:
                packer.pack_uhyper(value & 2**64 - 1)
            else:
                packer.pack_uint(value & 2**32 - 1)
        elif type_ in {"float", "double"}:
            if not isinstance(value, int | float):
                raise XDRError(f"{_shown(value)} is no {type_}")
            packer.pack_float(value) if type_ == "float" else packer.pack_double(value)
        elif type_ == "bool":
            if not isinstance(value, int):
                raise XDRError(f"{_shown(value)} is no bool")
            packer.pack_bool(bool(value))
        else:
            self._pack_defined(packer, type_, value, depth)

    def _pack_defined(self, packer: Packer, type_: str, value: Any, depth: int) -> None:
        match self._definition(type_):
            case Typedef(declaration=declaration):
                self._pack(packer, declaration, value, depth + 1)
            case Enum(members=members):
                if not isinstance(value, int) or value not in members.values():
                    raise XDRError(f"{_shown(value)} is not a member of {type_}")
                packer.pack_enum(value)
            case Struct(fields=fields):
                _check_keys(value, type_, [field.name for field in fields])
                for field in fields:
                    with _inside(field.name):
                        self._pack(packer, field, value[field.name], depth + 1)
            case Union(discriminant=discriminant) as union:
                if not isinstance(value, Mapping) or discriminant.name not in value:
                    raise XDRError(f"{type_} needs a dictionary with {discriminant.name!r}")
                number = value[discriminant.name]
                with _inside(discriminant.name):
                    self._pack(packer, discriminant, number, depth + 1)
                arm = _arm(union, number)
                _check_keys(value, type_, [discriminant.name, *([arm.name] if arm else [])])
                if arm is not None:
                    with _inside(arm.name):
                        self._pack(packer, arm, value[arm.name], depth + 1)

    # Unpacking

    def _unpack(self, unpacker: Unpacker, declaration: Declaration, depth: int) -> Any:
        _check_depth(depth)
        type_ = declaration.type
        match declaration.kind:
            case Kind.SCALAR:
                return self._unpack_scalar(unpacker, type_, depth)
            case Kind.OPTIONAL:
                return self._unpack_scalar(unpacker, type_, depth) if unpacker.unpack_uint() else None
            case Kind.STRING:
                data = unpacker.unpack_fopaque(_unpack_count(unpacker, declaration, 1))
                if 0 in data:
                    raise XDRError("string contains a NUL")
                try:
                    return bytes(data).decode()
                except UnicodeDecodeError:
                    raise XDRError("string is not UTF-8") from None
            case Kind.OPAQUE:
                return bytes(unpacker.unpack_fopaque(_unpack_count(unpacker, declaration, 1)))
            case Kind.OPAQUE_FIXED:
                return bytes(unpacker.unpack_fopaque(_maximum(declaration.bound)))
            case Kind.FIXED_ARRAY:
                count = _maximum(declaration.bound)
                _check_remaining(unpacker, count, self._least_size(type_, depth))
            case Kind.VARIABLE_ARRAY:
                count = _unpack_count(unpacker, declaration, self._least_size(type_, depth))
        items: list[Any] = []
        for index in range(count):
            with _inside(f"[{index}]"):
                items.append(self._unpack_scalar(unpacker, type_, depth))
        return bytes(items) if type_ in _CHARACTERS else items

    def _unpack_scalar(self, unpacker: Unpacker, type_: str, depth: int) -> Any:
        match type_:
            case "int":
                return unpacker.unpack_int()
            case "unsigned int":
                return unpacker.unpack_uint()
            case "hyper":
                return unpacker.unpack_hyper()
            case "unsigned hyper":
                return unpacker.unpack_uhyper()
            case "char" | "unsigned char":
                return unpacker.unpack_uint() & 0xFF
            case "unsigned short":
                return unpacker.unpack_uint() & 0xFFFF
            case "short":
                return (unpacker.unpack_uint() + 0x8000 & 0xFFFF) - 0x8000
            case "float":
                return unpacker.unpack_float()
            case "double":
                return unpacker.unpack_double()
            case "bool":
                return unpacker.unpack_uint() != 0
        return self._unpack_defined(unpacker, type_, depth)

    def _unpack_defined(self, unpacker: Unpacker, type_: str, depth: int) -> Any:
        match self._definition(type_):
            case Typedef(declaration=declaration):
                return self._unpack(unpacker, declaration, depth + 1)
            case Enum(members=members):
                number = unpacker.unpack_enum()
                if number not in members.values():
                    raise XDRError(f"{number} is not a member of {type_}")
                return number
            case Struct(fields=fields):
                value = {}
                for field in fields:
                    with _inside(field.name):
                        value[field.name] = self._unpack(unpacker, field, depth + 1)
                return value
            case Union(discriminant=discriminant) as union:
                number = self._unpack(unpacker, discriminant, depth + 1)
                value = {discriminant.name: number}
                arm = _arm(union, number)
                if arm is not None:
                    with _inside(arm.name):
                        value[arm.name] = self._unpack(unpacker, arm, depth + 1)
                return value

    # Types

    def _definition(self, name: str) -> Typedef | Enum | Struct | Union:
        definition = self._contract.get(name)
        if isinstance(definition, Typedef | Enum | Struct | Union):
            return definition
        raise RpcgenError(f"unknown type {name}")

    def _least_size(self, type_: str, depth: int) -> int:
        """The fewest bytes that a value of a type can take."""
        if type_ in _INTEGERS or type_ in {"float", "double", "bool"}:
            return _SIZES.get(type_, 4)
        if type_ not in self._least:
            _check_depth(depth)
            match self._definition(type_):
                case Typedef(declaration=declaration):
                    size = self._least_declared(declaration, depth + 1)
                case Struct(fields=fields):
                    size = sum(self._least_declared(field, depth + 1) for field in fields)
                case Enum() | Union():
                    size = 4
            self._least[type_] = size
        return self._least[type_]

    def _least_declared(self, declaration: Declaration, depth: int) -> int:
        match declaration.kind:
            case Kind.SCALAR:
                return self._least_size(declaration.type, depth)
            case Kind.FIXED_ARRAY:
                return _maximum(declaration.bound) * self._least_size(declaration.type, depth)
            case Kind.OPAQUE_FIXED:
                return _maximum(declaration.bound)
        return 4


@contextmanager
def _inside(name: str) -> Iterator[None]:
    """Let errors say where in a value they happened: ``params: [3]: value: s: ...``."""
    try:
        yield
    except XDRError as error:
        raise XDRError(f"{name}: {error}") from None
    except (XdrlibError, EOFError) as error:
        raise XDRError(f"{name}: {str(error) or 'truncated'}") from None


def _arm(union: Union, number: object) -> Declaration | None:
    for arm in union.arms:
        if any(case.value == number for case in arm.cases):
            return arm.field
    if union.has_default:
        return union.default
    raise XDRError(f"{union.name} has no arm {_shown(number)}")


def _maximum(bound: Bound | None) -> int:
    return _UNBOUNDED if bound is None or bound.value is None else bound.value


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise XDRError(f"more than {MAX_DEPTH} values inside one another")


def _check_count(count: int, declaration: Declaration) -> None:
    """Check a size against the bound: for a fixed one it must be that, else no more than that."""
    maximum = _maximum(declaration.bound)
    if declaration.kind in {Kind.FIXED_ARRAY, Kind.OPAQUE_FIXED} and count != maximum:
        raise XDRError(f"size {count} where {maximum} is wanted")
    if count > maximum:
        raise XDRError(f"size {count} is over the maximum of {maximum}")


def _unpack_count(unpacker: Unpacker, declaration: Declaration, least: int) -> int:
    count: int = unpacker.unpack_uint()
    _check_count(count, declaration)
    _check_remaining(unpacker, count, least)
    return count


def _check_remaining(unpacker: Unpacker, count: int, least: int) -> None:
    if count * least > len(unpacker.get_buffer()) - unpacker.get_position():
        raise XDRError(f"{count} elements are truncated")


def _check_keys(value: object, type_: str, names: Sequence[str]) -> None:
    if not isinstance(value, Mapping):
        raise XDRError(f"{type_} needs a dictionary, not {type(value).__name__}")
    if value.keys() != set(names):
        wrong = ", ".join(sorted(map(str, value.keys() ^ set(names))))
        raise XDRError(f"{type_} has not exactly the fields {', '.join(names)} (look at {wrong})")


def _bytes(value: object) -> bytes | bytearray:
    if isinstance(value, bytes | bytearray):
        return value
    raise XDRError(f"not bytes: {type(value).__name__}")


def _shown(value: object) -> str:
    """A value as errors show it: not all of it, it may be large."""
    return repr(value) if isinstance(value, int) and abs(value) < 2**70 else type(value).__name__
