"""The generated codecs agree with the reference codec, byte for byte, over every struct of every program."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.errors import XDRError
from remotevirt.rpcgen.contracts import CONTRACTS, load_contract
from remotevirt.rpcgen.model import Contract, Declaration, Enum, Kind, Struct, Typedef, Union
from remotevirt.rpcgen.naming import class_name
from remotevirt.rpcgen.reference import ReferenceCodec
from remotevirt.xdr import DECODE_ERRORS
from tests.rpcgen.texts import values


class Twins:
    """A contract with both of its codecs."""

    def __init__(self, name: str) -> None:
        self.contract: Contract = load_contract(name)
        self.codec = ReferenceCodec(self.contract)
        self.module = importlib.import_module(f"remotevirt.stubs.{name}")
        files = CONTRACTS[name].files
        self.types = [
            each
            for each in self.contract.definitions
            if isinstance(each, Struct | Union) and each.location and each.location.file.endswith(files)
        ]

    def stub(self, type_: str) -> Any:
        """The generated class of a type; that of an imported type stands in the remote program's stubs."""
        module = self.module
        if not hasattr(module, class_name(type_)):
            module = importlib.import_module("remotevirt.stubs.remote")
        return getattr(module, class_name(type_))

    def to_stub(self, declaration: Declaration, value: Any) -> Any:
        """Turn a value of the reference codec into one of the generated codec."""
        if declaration.kind is Kind.OPTIONAL and value is None:
            return None
        if declaration.kind in {Kind.FIXED_ARRAY, Kind.VARIABLE_ARRAY} and isinstance(value, list):
            return [self.to_stub(Declaration("item", declaration.type), item) for item in value]
        definition = self.contract.get(declaration.type)
        match definition:
            case Typedef(declaration=inner) if declaration.kind in {Kind.SCALAR, Kind.OPTIONAL}:
                return self.to_stub(inner, value)
            case Struct(fields=fields):
                stub = self.stub(definition.name)
                return stub(*(self.to_stub(field, value[field.name]) for field in fields))
            case Union(discriminant=discriminant):
                number = value[discriminant.name]
                arm = next(arm.field for arm in definition.arms if arm.cases[0].value == number)
                inner_value = self.to_stub(arm, value[arm.name]) if arm else None
                return self.stub(definition.name)(number, inner_value)
            case Enum():
                return self.stub(definition.name)(value)
        return value


def twins() -> Iterator[Twins]:
    for name in CONTRACTS:
        if name != "keepalive":  # its messages have no payload
            yield Twins(name)


class StubTests(TestCase):
    """Every struct and union."""

    def test_same_bytes(self) -> None:
        """The same value gives the same bytes, and these give the value again."""
        for twin in twins():
            for definition in twin.types:
                self.same_bytes(twin, definition.name)

    def same_bytes(self, twin: Twins, type_: str) -> None:
        stub = twin.stub(type_)

        @settings(deadline=None, max_examples=5, database=None)
        @given(values(twin.contract, type_))
        def check(value: Any) -> None:
            expected = twin.codec.pack(type_, value)
            native = twin.to_stub(Declaration("value", type_), value)
            self.assertEqual(native.pack(), expected, type_)
            self.assertEqual(stub.unpack(b"head" + expected, 4), (native, 4 + len(expected)), type_)

        check()

    def test_same_refusals(self) -> None:
        """Bytes that one refuses the other refuses; what both take means the same."""
        for twin in twins():
            for definition in twin.types:
                self.same_refusals(twin, definition.name)

    def same_refusals(self, twin: Twins, type_: str) -> None:
        stub = twin.stub(type_)

        @settings(deadline=None, max_examples=8, database=None)
        @given(values(twin.contract, type_), st.data())
        def check(value: Any, data: st.DataObject) -> None:
            packed = bytearray(twin.codec.pack(type_, value))
            where = data.draw(st.integers(0, len(packed)))
            packed[where : where + 4] = data.draw(st.binary(max_size=8))
            try:
                understood, end = twin.codec.unpack_from(type_, bytes(packed))
            except XDRError:
                self.assertRaises(DECODE_ERRORS, stub.unpack, bytes(packed), 0)
                return
            found, position = stub.unpack(bytes(packed), 0)
            # NaN is not equal to itself: what is compared are the bytes
            self.assertEqual((found.pack(), position), (twin.codec.pack(type_, understood), end), type_)

        check()

    def test_over_bounds(self) -> None:
        """One element or byte too many is refused in both directions, whatever the bound."""
        for twin in twins():
            for definition in twin.types:
                if isinstance(definition, Struct):
                    for index, field in enumerate(definition.fields):
                        self.over_bounds(twin, definition, index, field)

    def over_bounds(self, twin: Twins, struct: Struct, index: int, field: Declaration) -> None:
        bound = field.bound.value if field.bound else None
        if bound is None or bound > 70000 or field.kind in {Kind.FIXED_ARRAY, Kind.OPAQUE_FIXED}:
            return
        blank = {each.name: self.blank(twin, each) for each in struct.fields}
        item = Declaration("item", field.type)
        characters = field.kind is Kind.OPAQUE or field.type in {"char", "unsigned char"}
        too_many = b"x" * (bound + 1) if characters else [self.blank(twin, item)] * (bound + 1)
        stub = twin.stub(struct.name)
        good = [twin.to_stub(each, blank[each.name]) for each in struct.fields]
        stub(*good).pack()
        good[index] = twin.to_stub(field, too_many)
        self.assertRaises(XDRError, stub(*good).pack)
        self.assertRaises(XDRError, twin.codec.pack, struct.name, {**blank, field.name: too_many})

    def blank(self, twin: Twins, declaration: Declaration) -> Any:
        """The smallest value of a declaration."""
        match declaration.kind:
            case Kind.OPTIONAL:
                return None
            case Kind.STRING:
                return ""
            case Kind.OPAQUE:
                return b""
            case Kind.OPAQUE_FIXED:
                return bytes((declaration.bound and declaration.bound.value) or 0)
            case Kind.VARIABLE_ARRAY:
                return b"" if declaration.type in {"char", "unsigned char"} else []
            case Kind.FIXED_ARRAY:
                size = (declaration.bound and declaration.bound.value) or 0
                if declaration.type in {"char", "unsigned char"}:
                    return bytes(size)
                return [self.blank(twin, Declaration("item", declaration.type))] * size
        match twin.contract.get(declaration.type):
            case Typedef(declaration=inner):
                return self.blank(twin, inner)
            case Struct(fields=fields):
                return {field.name: self.blank(twin, field) for field in fields}
            case Enum(members=members):
                return min(members.values())
            case Union(discriminant=discriminant, arms=arms):
                field = arms[0].field
                value = {discriminant.name: arms[0].cases[0].value}
                return {**value, field.name: self.blank(twin, field)} if field else value
        return 0
