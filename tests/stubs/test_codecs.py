"""Every generated struct of every contract, held to the reference codec and to hostile bytes.

The reference codec (xdrlib3, field by field from the model) is the oracle: what it packs, the generated code
packs; what it unpacks or refuses, the generated code unpacks to the same or refuses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import XDRError
from remotevirt.rpcgen.contracts import CONTRACTS
from remotevirt.rpcgen.model import Contract, Declaration, Enum, Kind, Struct, Union
from remotevirt.rpcgen.reference import ReferenceCodec
from remotevirt.stubs.remote import NonnullDomain, NonnullNetwork, NonnullNwfilter, NonnullStoragePool
from remotevirt.xdr import DECODE_ERRORS
from tests.strategies import CHARACTERS, Stubs, bounded, mutated, resolve

STUBS = {name: Stubs(name) for name in CONTRACTS}
IMPORTING = ("qemu", "lxc")
"""Contracts that repeat what they import from ``remote``."""

EXAMPLES = 3
UINT_MAX = (1 << 32) - 1


def structs(name: str) -> Iterator[tuple[Struct, type[Any]]]:
    """The structs of a contract that no other contract has."""
    known = {struct.name for struct in STUBS["remote"].contract.structs} if name in IMPORTING else set()
    for struct, cls in STUBS[name].structs():
        if struct.name not in known:
            yield struct, cls


def whole(struct: Struct) -> Declaration:
    """A struct as something declared."""
    return Declaration("value", struct.name)


class CodecCase(SynchronousTestCase):
    """What the cases below share. One class for each contract is made at the end of the module."""

    contract = ""

    def setUp(self) -> None:
        self.stubs = STUBS[self.contract]
        self.reference = ReferenceCodec(self.stubs.contract)

    def each_value(self, check: Any, examples: int = EXAMPLES) -> None:
        """Call ``check(struct, cls, value, data)`` for values of every struct; ``data`` draws more."""
        for struct, cls in structs(self.contract):
            strategy = st.tuples(st.just(struct), st.just(cls), self.stubs.values(struct.name))
            bounded(examples)(given(strategy, st.data())(lambda drawn, data: check(*drawn, data)))()


class RoundTripMixin:
    """Values that fit."""

    def test_round_trip(self) -> None:
        """What is packed unpacks to the same, wherever it stands, and is what the reference packs."""

        def check(struct: Struct, cls: type[Any], value: Any, _: Any) -> None:
            wire = self.reference.pack(struct.name, value)
            stub = self.stubs.to_stub(whole(struct), value)
            self.assertEqual(wire, stub.pack(), struct.name)
            again, end = cls.unpack(b"skip" + wire + b"more", 4)
            self.assertIs(cls, type(again))
            self.assertEqual(4 + len(wire), end, struct.name)
            self.assertEqual(repr(value), repr(self.stubs.to_reference(whole(struct), again)), struct.name)

        self.each_value(check)

    def test_truncated(self) -> None:
        """No beginning of an encoding passes for a whole one, and none raises anything unforeseen."""

        def check(struct: Struct, cls: type[Any], value: Any, _: Any) -> None:
            wire = self.reference.pack(struct.name, value)
            for size in range(len(wire)):
                self.assertRaises(DECODE_ERRORS, cls.unpack, wire[:size], 0)

        self.each_value(check, 2)

    def test_mutated(self) -> None:
        """Changed bytes are understood as the reference understands them, or refused by both."""

        def check(struct: Struct, cls: type[Any], value: Any, data: Any) -> None:
            wire = data.draw(mutated(self.reference.pack(struct.name, value)))
            try:
                expected = self.reference.unpack_from(struct.name, wire)
            except XDRError:
                self.assertRaises(DECODE_ERRORS, cls.unpack, wire, 0)
                return
            stub, end = cls.unpack(wire, 0)
            self.assertEqual(
                repr(expected), repr((self.stubs.to_reference(whole(struct), stub), end)), struct.name
            )

        self.each_value(check)


class KeptTests(SynchronousTestCase):
    """References whose decoding is kept: what was decoded before must not be taken for what is there now."""

    REFS = (
        NonnullDomain("name", b"u" * 16, 7),
        NonnullNetwork("name", b"u" * 16),
        NonnullNwfilter("name", b"u" * 16),
        NonnullStoragePool("name", b"u" * 16),
    )

    def test_same_bytes(self) -> None:
        """Decode to the same each time, wherever they stand."""
        for ref in self.REFS:
            wire = ref.pack()
            for head in (b"", b"1234", b"12345678"):
                again, end = ref.unpack(head + wire + b"tail", len(head))
                self.assertEqual((ref, len(head + wire)), (again, end))
                self.assertIs(type(ref), type(again))

    def test_similar_bytes(self) -> None:
        """A byte more or less, another length, or less than all of it: never what was kept."""
        for ref in self.REFS:
            wire = ref.pack()
            ref.unpack(wire, 0)
            for size in range(len(wire)):
                self.assertRaises(DECODE_ERRORS, ref.unpack, wire[:size], 0)
            for place in range(4, len(wire)):
                changed = bytearray(wire)
                changed[place] ^= 1
                self.assertNotEqual(ref, ref.unpack(bytes(changed), 0)[0])
            for size in (0, 1, 3, 5, 64, 65, 1 << 22, UINT_MAX):
                other = size.to_bytes(4) + wire[4:]
                with contextlib.suppress(*DECODE_ERRORS):
                    self.assertNotEqual(ref, ref.unpack(other, 0)[0])

    def test_errors_are_not_kept(self) -> None:
        """Bytes that do not decode do not decode the second time."""
        for ref in self.REFS:
            wire = ref.pack().replace(b"name", b"na\0e")
            for _ in range(2):
                self.assertRaises(XDRError, ref.unpack, wire, 0)

    def test_long_names(self) -> None:
        """Are decoded, not kept."""
        for ref in self.REFS:
            for size in (63, 64, 65, 66, 1000):
                long = ref._replace(name="x" * size)
                self.assertEqual((long, len(long.pack())), long.unpack(long.pack(), 0))


class Minimal:
    """The smallest value of each type, for putting one that is too large beside it."""

    def __init__(self, stubs: Stubs) -> None:
        self.stubs = stubs

    def declared(self, declaration: Declaration) -> Any:
        """The smallest value of something declared, in the form of the reference codec."""
        declaration = resolve(self.stubs.contract, declaration)
        kind, size = declaration.kind, declaration.bound and declaration.bound.value
        if kind is Kind.OPTIONAL:
            return None
        if kind is Kind.STRING:
            return ""
        if kind is Kind.OPAQUE or (kind is Kind.VARIABLE_ARRAY and declaration.type in CHARACTERS):
            return b""
        if kind is Kind.VARIABLE_ARRAY:
            return []
        if kind is Kind.OPAQUE_FIXED or (kind is Kind.FIXED_ARRAY and declaration.type in CHARACTERS):
            return bytes(size or 0)
        definition = self.stubs.contract.get(declaration.type)
        if isinstance(definition, Struct):
            return {field.name: self.declared(field) for field in definition.fields}
        if isinstance(definition, Union):
            arm = definition.arms[0]
            head = {definition.discriminant.name: arm.cases[0].value}
            return head if arm.field is None else head | {arm.field.name: self.declared(arm.field)}
        if isinstance(definition, Enum):
            return min(definition.members.values())
        return 0


class BoundsMixin:
    """Every bound of the contract, in both directions."""

    def bounded_fields(self) -> Iterator[tuple[Struct, type[Any], int, Declaration, bool]]:
        """Each field with a bound: struct, class, number of the field, its declaration, if it is optional."""
        for struct, cls in structs(self.contract):
            for number, field in enumerate(struct.fields):
                declaration = resolve(self.stubs.contract, field)
                optional = declaration.kind is Kind.OPTIONAL
                if optional:
                    declaration = resolve(self.stubs.contract, Declaration(field.name, declaration.type))
                if declaration.kind in (Kind.STRING, Kind.OPAQUE, Kind.VARIABLE_ARRAY):
                    yield struct, cls, number, declaration, optional

    def value_of_size(self, declaration: Declaration, size: int) -> Any:
        """A value with so many bytes or elements, as the stubs hold it."""
        if declaration.kind is Kind.STRING:
            return "x" * size
        if declaration.kind is Kind.OPAQUE or declaration.type in CHARACTERS:
            return bytes(size)
        item = Declaration("item", declaration.type)
        return [self.stubs.to_stub(item, Minimal(self.stubs).declared(item))] * size

    def stub_with(self, struct: Struct, number: int, value: Any) -> Any:
        """A minimal struct with one field replaced."""
        stub = self.stubs.to_stub(whole(struct), Minimal(self.stubs).declared(whole(struct)))
        return type(stub)(*stub[:number], value, *stub[number + 1 :])

    def head_of(self, struct: Struct, number: int, optional: bool) -> bytes:
        """The encoding of a minimal struct up to the count of one field."""
        head = attrs.evolve(struct, name="head", fields=struct.fields[:number])
        contract = Contract((*self.stubs.contract.definitions, head))
        value = Minimal(self.stubs).declared(whole(struct))
        before = {field.name: value[field.name] for field in head.fields}
        return ReferenceCodec(contract).pack("head", before) + (b"\0\0\0\1" if optional else b"")

    def test_over_the_bound_is_not_packed(self) -> None:
        """One byte or element more than the contract allows is refused."""
        for struct, _, number, declaration, _ in self.bounded_fields():
            maximum = declaration.bound.value
            stub = self.stub_with(struct, number, self.value_of_size(declaration, maximum + 1))
            self.assertIn("over its maximum", str(self.assertRaises(XDRError, stub.pack)), struct.name)

    def test_at_the_bound_goes_both_ways(self) -> None:
        """As much as the contract allows is packed and unpacked (where that is not very much)."""
        for struct, cls, number, declaration, _ in self.bounded_fields():
            maximum = declaration.bound.value
            if maximum <= 4096:
                stub = self.stub_with(struct, number, self.value_of_size(declaration, maximum))
                wire = stub.pack()
                self.assertEqual((stub, len(wire)), cls.unpack(wire, 0), struct.name)

    def test_over_the_bound_is_not_unpacked(self) -> None:
        """A count over the bound is refused as such, before the bytes behind it are looked for."""
        for struct, cls, number, declaration, optional in self.bounded_fields():
            head = self.head_of(struct, number, optional)
            for claimed in (declaration.bound.value + 1, UINT_MAX):
                wire = head + claimed.to_bytes(4) + bytes(64)
                error = self.assertRaises(XDRError, cls.unpack, wire, 0)
                self.assertIn("over its maximum", str(error), struct.name)

    def test_claims_without_bytes(self) -> None:
        """A count within its bound for which too few bytes follow is refused as truncated."""
        for struct, cls, number, declaration, optional in self.bounded_fields():
            head = self.head_of(struct, number, optional)
            maximum = declaration.bound.value
            error = self.assertRaises(XDRError, cls.unpack, head + maximum.to_bytes(4), 0)
            self.assertIn("is truncated", str(error), struct.name)


class MessageTests(CodecCase, RoundTripMixin, BoundsMixin):
    """Header, error and stream hole."""

    contract = "message"


class RemoteTests(CodecCase, RoundTripMixin, BoundsMixin):
    """The remote program."""

    contract = "remote"


class QemuTests(CodecCase, RoundTripMixin, BoundsMixin):
    """The qemu program."""

    contract = "qemu"


class LxcTests(CodecCase, RoundTripMixin, BoundsMixin):
    """The lxc program."""

    contract = "lxc"


class AdminTests(CodecCase, RoundTripMixin, BoundsMixin):
    """The admin program."""

    contract = "admin"


def _remote() -> RemoteTests:
    case = RemoteTests("test_truncated")
    case.setUp()
    return case


class CoverageTests(SynchronousTestCase):
    """That the tests above see everything."""

    def test_every_struct_has_a_class(self) -> None:
        """No struct is without a class, no class stands for two structs of a contract."""
        for name, stubs in STUBS.items():
            classes = [cls for _, cls in stubs.structs()]
            self.assertEqual(len(classes), len(set(classes)), name)
        self.assertGreater(len(list(structs("remote"))), 700)

    def test_bounded_fields_are_found(self) -> None:
        """There are some 400 fields with a bound in the remote program alone."""
        self.assertGreater(len(list(RemoteTests.bounded_fields(_remote()))), 400)

    def test_no_element_is_empty(self) -> None:
        """Every element of an array takes room, so that its count is bounded by the bytes there are."""
        for stubs in STUBS.values():
            for struct in stubs.contract.structs:
                self.assertTrue(struct.fields, struct.name)
