"""Hypothesis strategies: values of any type of a contract, pieces of byte streams, headers.

Values are made from the contract's model in the form of :mod:`remotevirt.rpcgen.reference` (structs are
dictionaries); :func:`to_stub` and :func:`to_reference` turn them into the generated classes and back.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from remotevirt.rpc.message import Kind, pack_message
from remotevirt.rpcgen.contracts import load_contract
from remotevirt.rpcgen.model import Contract, Declaration, Enum, Struct, Typedef, Union
from remotevirt.rpcgen.model import Kind as Form
from remotevirt.rpcgen.naming import class_name

__all__ = [
    "CHARACTERS",
    "STREAM_KINDS",
    "Stubs",
    "bounded",
    "bytes_with_splits",
    "messages_with_descriptors",
    "mutated",
    "plain_messages",
    "resolve",
    "splits",
    "text",
    "words",
]

CHARACTERS = ("char", "unsigned char")

INTEGERS: Mapping[str, tuple[int, int]] = {
    "int": (-(1 << 31), (1 << 31) - 1),
    "unsigned int": (0, (1 << 32) - 1),
    "hyper": (-(1 << 63), (1 << 63) - 1),
    "unsigned hyper": (0, (1 << 64) - 1),
    "char": (0, 255),
    "unsigned char": (0, 255),
    "unsigned short": (0, 65535),
}

ITEMS = 3
"""Most elements that an array is given, and most characters of a text."""


def bounded(examples: int) -> Any:
    """Settings for a property that is tried so often; slow machines do not make it fail."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def text(maximum: int = ITEMS) -> st.SearchStrategy[str]:
    """Text that a string of XDR can hold: no NUL, no lone surrogates."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=maximum)


# -- byte streams ----------------------------------------------------------------------------------------


def splits(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at positions (taken modulo their length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[left:right] for left, right in pairwise(places)]


@st.composite
def bytes_with_splits(draw: Any, data: bytes, most: int = 12) -> list[bytes]:
    """Some way to cut these bytes into pieces."""
    return splits(data, draw(st.lists(st.integers(0, max(len(data), 1)), max_size=most)))


@st.composite
def mutated(draw: Any, data: bytes, most: int = 4) -> bytes:
    """These bytes with a few changed, removed or added."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        how = draw(st.sampled_from(("byte", "word", "remove", "insert")))
        if how == "byte" and changed:
            changed[place] = draw(st.integers(0, 255))
        elif how == "word" and len(changed) >= 4:
            place &= ~3
            word = draw(st.sampled_from((0, 1, 2, 7, 255, 256, 1 << 16, 1 << 22, 1 << 31, (1 << 32) - 1)))
            changed[place : place + 4] = word.to_bytes(4)
        elif how == "remove":
            del changed[place : place + draw(st.integers(1, 8))]
        elif how == "insert":
            changed[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(changed)


# -- contracts -------------------------------------------------------------------------------------------


def resolve(contract: Contract, declaration: Declaration) -> Declaration:
    """Look through typedefs. An optional is left as it is; its type may be a typedef again."""
    while declaration.kind is Form.SCALAR:
        definition = contract.get(declaration.type)
        if not isinstance(definition, Typedef):
            break
        inner = definition.declaration
        declaration = Declaration(declaration.name, inner.type, inner.kind, inner.bound)
    return declaration


class Stubs:
    """A contract and the classes that were generated from it.

    Args:
        name: of the contract (``"remote"``).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.contract = load_contract(name)
        self._modules = [importlib.import_module(f"remotevirt.stubs.{name}")]
        if name in ("qemu", "lxc"):
            self._modules.append(importlib.import_module("remotevirt.stubs.remote"))
        self.values = cache(self._values)

    def structs(self) -> Iterator[tuple[Struct, type[Any]]]:
        """Every struct with its class."""
        for struct in self.contract.structs:
            yield struct, self.find(struct.name)

    def find(self, name: str) -> type[Any]:
        """The class of a struct or union."""
        for module in self._modules:
            found: type[Any] | None = getattr(module, class_name(name), None)
            if found is not None:
                return found
        raise LookupError(f"no class for {name}")

    # -- values

    def _values(self, name: str) -> st.SearchStrategy[Any]:
        """Values of a definition or a primitive type."""
        if name in INTEGERS:
            low, high = INTEGERS[name]
            return st.one_of(st.sampled_from((low, high, 0 if low <= 0 else low, 1)), st.integers(low, high))
        if name == "double":
            return st.floats(width=64)
        definition = self.contract[name]
        if isinstance(definition, Typedef):
            return self._declared(definition.declaration)
        if isinstance(definition, Enum):
            return st.sampled_from(sorted(definition.members.values()))
        if isinstance(definition, Struct):
            return _dictionaries({field.name: self._declared(field) for field in definition.fields})
        assert isinstance(definition, Union)
        arms = []
        for arm in definition.arms:
            for case in arm.cases:
                members: dict[str, Any] = {definition.discriminant.name: st.just(case.value)}
                if arm.field is not None:
                    members[arm.field.name] = self._declared(arm.field)
                arms.append(_dictionaries(members))
        return st.one_of(arms)

    def _declared(self, declaration: Declaration) -> st.SearchStrategy[Any]:
        kind = declaration.kind
        maximum = ITEMS
        if declaration.bound is not None and declaration.bound.value is not None:
            maximum = min(maximum, declaration.bound.value)
        if kind is Form.OPTIONAL:
            return st.one_of(st.none(), self.values(declaration.type))
        if kind is Form.STRING:
            return text(maximum)
        if kind is Form.OPAQUE:
            return st.binary(max_size=maximum)
        if kind in (Form.OPAQUE_FIXED, Form.FIXED_ARRAY):
            assert declaration.bound is not None and declaration.bound.value is not None
            size = declaration.bound.value
            if kind is Form.OPAQUE_FIXED or declaration.type in CHARACTERS:
                return st.binary(min_size=size, max_size=size)
            return st.lists(self.values(declaration.type), min_size=size, max_size=size)
        if kind is Form.VARIABLE_ARRAY:
            if declaration.type in CHARACTERS:
                return st.binary(max_size=maximum)
            return st.lists(self.values(declaration.type), max_size=maximum)
        return self.values(declaration.type)

    # -- between the two forms

    def to_stub(self, declaration: Declaration, value: Any) -> Any:
        """Turn a value of the reference codec into what the generated classes hold."""
        declaration = resolve(self.contract, declaration)
        kind = declaration.kind
        inner = Declaration("item", declaration.type)
        if kind is Form.OPTIONAL:
            return None if value is None else self.to_stub(inner, value)
        if kind in (Form.FIXED_ARRAY, Form.VARIABLE_ARRAY) and declaration.type not in CHARACTERS:
            return [self.to_stub(inner, item) for item in value]
        definition = self.contract.get(declaration.type) if kind is Form.SCALAR else None
        if isinstance(definition, Struct):
            fields = [self.to_stub(field, value[field.name]) for field in definition.fields]
            return self.find(definition.name)(*fields)
        if isinstance(definition, Union):
            number = value[definition.discriminant.name]
            arm = _arm(definition, number)
            held = None if arm is None else self.to_stub(arm, value[arm.name])
            return self.find(definition.name)(number, held)
        return value

    def to_reference(self, declaration: Declaration, value: Any) -> Any:
        """Turn what the generated classes hold into a value of the reference codec."""
        declaration = resolve(self.contract, declaration)
        kind = declaration.kind
        inner = Declaration("item", declaration.type)
        if kind is Form.OPTIONAL:
            return None if value is None else self.to_reference(inner, value)
        if kind in (Form.FIXED_ARRAY, Form.VARIABLE_ARRAY) and declaration.type not in CHARACTERS:
            return [self.to_reference(inner, item) for item in value]
        definition = self.contract.get(declaration.type) if kind is Form.SCALAR else None
        if isinstance(definition, Struct):
            pairs = zip(definition.fields, value, strict=True)
            return {field.name: self.to_reference(field, item) for field, item in pairs}
        if isinstance(definition, Union):
            number, held = value
            arm = _arm(definition, number)
            head = {definition.discriminant.name: number}
            return head if arm is None else head | {arm.name: self.to_reference(arm, held)}
        if isinstance(definition, Enum):
            return int(value)
        return value


def _dictionaries(members: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Dictionaries with these members, in this order."""
    names = tuple(members)
    return st.tuples(*members.values()).map(lambda values: dict(zip(names, values, strict=True)))


def _arm(union: Union, number: int) -> Declaration | None:
    for arm in union.arms:
        if any(case.value == number for case in arm.cases):
            return arm.field
    return union.default


# -- messages --------------------------------------------------------------------------------------------

words = st.integers(0, (1 << 32) - 1)

TYPES = range(7)
STATUSES = range(3)


@st.composite
def plain_messages(draw: Any) -> bytes:
    """Whole messages of any type without descriptors, with any status and a short payload."""
    return pack_message(
        draw(words),
        draw(words),
        draw(st.integers(-(1 << 31), (1 << 31) - 1)),
        draw(st.sampled_from([number for number in TYPES if number not in (4, 5)])),
        draw(words),
        draw(st.sampled_from(STATUSES)),
        draw(st.binary(max_size=40)),
    )


@st.composite
def messages_with_descriptors(draw: Any) -> bytes:
    """Whole messages that carry descriptors, with the dummy bytes that follow them."""
    count = draw(st.integers(0, 32))
    payload = count.to_bytes(4) + draw(st.binary(max_size=12))
    head = pack_message(draw(words), 1, 5, draw(st.sampled_from((4, 5))), draw(words), 0, payload)
    return head + bytes(count)


STREAM_KINDS = (Kind.STREAM_DATA, Kind.STREAM_HOLE, Kind.STREAM_FINISH, Kind.STREAM_ABORT)
