"""Typed parameters: making, reading and checking them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt import typed_params as tp
from remotevirt.errors import VirError
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import ArgumentUnsupported, InvalidArg
from remotevirt.stubs.remote import TypedParam, TypedParamValue

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)

VALUES = {
    vir.VIR_TYPED_PARAM_INT: st.integers(-(2**31), 2**31 - 1),
    vir.VIR_TYPED_PARAM_UINT: st.integers(0, 2**32 - 1),
    vir.VIR_TYPED_PARAM_LLONG: st.integers(-(2**63), 2**63 - 1),
    vir.VIR_TYPED_PARAM_ULLONG: st.integers(0, 2**64 - 1),
    vir.VIR_TYPED_PARAM_DOUBLE: st.floats(allow_nan=False),
    vir.VIR_TYPED_PARAM_BOOLEAN: st.booleans(),
    vir.VIR_TYPED_PARAM_STRING: TEXT,
}


@st.composite
def typed_dicts(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, int]]:
    """A dict of values, and the types that fit them."""
    types = draw(st.dictionaries(TEXT, st.sampled_from(sorted(VALUES)), max_size=6))
    return {name: draw(VALUES[kind]) for name, kind in types.items()}, types


class BuilderTests(TestCase):
    """One function per type."""

    def test_types(self) -> None:
        cases: tuple[tuple[Callable[[str, Any], TypedParam], Any, int, Any], ...] = (
            (tp.int_, -5, vir.VIR_TYPED_PARAM_INT, -5),
            (tp.uint, 5, vir.VIR_TYPED_PARAM_UINT, 5),
            (tp.llong, -(2**40), vir.VIR_TYPED_PARAM_LLONG, -(2**40)),
            (tp.ullong, 2**63, vir.VIR_TYPED_PARAM_ULLONG, 2**63),
            (tp.double, 1, vir.VIR_TYPED_PARAM_DOUBLE, 1.0),
            (tp.boolean, True, vir.VIR_TYPED_PARAM_BOOLEAN, 1),
            (tp.string, "x", vir.VIR_TYPED_PARAM_STRING, "x"),
        )
        for build, value, kind, kept in cases:
            param = build("n", value)
            self.assertEqual(param, TypedParam("n", TypedParamValue(kind, kept)))
            self.assertIs(type(param.value.value), type(kept))

    def test_ranges(self) -> None:
        for build, least, greatest in (
            (tp.int_, -(2**31), 2**31 - 1),
            (tp.uint, 0, 2**32 - 1),
            (tp.llong, -(2**63), 2**63 - 1),
            (tp.ullong, 0, 2**64 - 1),
        ):
            for value in (least, greatest):
                param = build("n", value)
                self.assertEqual(TypedParam.unpack(param.pack(), 0)[0], param)
            for value in (least - 1, greatest + 1):
                self.assertRaises(ValueError, build, "n", value)

    def test_other_types(self) -> None:
        self.assertRaises(TypeError, tp.uint, "n", "5")
        self.assertRaises(TypeError, tp.uint, "n", 5.0)
        self.assertRaises(TypeError, tp.string, "n", 5)
        self.assertRaises(TypeError, tp.string, "n", b"bytes")


class DictTests(TestCase):
    """Between dicts and lists."""

    @given(typed_dicts())
    def test_round_trip_over_the_wire(self, case: tuple[dict[str, Any], dict[str, int]]) -> None:
        values, types = case
        params = [TypedParam.unpack(param.pack(), 0)[0] for param in tp.from_dict(values, types)]
        tp.check_params(params, types)
        self.assertEqual(tp.to_dict(params), values)
        self.assertEqual([type(v) for v in tp.to_dict(params).values()], [type(v) for v in values.values()])

    def test_order_is_kept(self) -> None:
        params = tp.from_dict({"vcpu_quota": -1, "cpu_shares": 9}, tp.allowed("cpu_shares", "vcpu_quota"))
        self.assertEqual(params, [tp.llong("vcpu_quota", -1), tp.ullong("cpu_shares", 9)])

    def test_several_values_of_a_name(self) -> None:
        types = tp.allowed("migrate_disks", "bandwidth")
        params = tp.from_dict({"migrate_disks": ["vda", "vdb"], "bandwidth": 3}, types)
        self.assertEqual(tp.to_dict(params), {"migrate_disks": "vda", "bandwidth": 3})
        self.assertEqual(tp.to_lists(params), {"migrate_disks": ["vda", "vdb"], "bandwidth": [3]})

    def test_unknown_names(self) -> None:
        self.assertRaises(KeyError, tp.from_dict, {"x": 1}, {})
        self.assertRaises(KeyError, tp.allowed, "no-such-parameter")

    def test_without_strings(self) -> None:
        number = tp.uint("a", 1)
        self.assertEqual(tp.without_strings([tp.string("s", "x"), number]), [number])


class CheckTests(TestCase):
    """Complaints are libvirt's: codes and texts were read from libvirt 9.0.0's test driver, whose
    virDomainSetSchedulerParameters knows ``weight`` only.
    """

    def refused(self, *params: TypedParam) -> VirError:
        error: VirError = self.assertRaises(VirError, tp.check_params, params, tp.allowed("weight"))
        return error

    def test_accepted(self) -> None:
        tp.check_params([], {})
        tp.check_params([tp.uint("weight", 5)], tp.allowed("weight"))
        tp.check_params([tp.uint("weight", 5)], tp.allowed("cap", "weight"))

    def test_unsupported(self) -> None:
        error = self.refused(tp.int_("bogus", 1))
        self.assertIsInstance(error, ArgumentUnsupported)
        self.assertEqual((error.code, error.domain), (74, 0))
        self.assertEqual(error.message, "argument unsupported: parameter 'bogus' not supported")
        self.assertEqual(error.str1, "argument unsupported: %s")
        self.assertEqual(error.str2, "parameter 'bogus' not supported")

    def test_wrong_type(self) -> None:
        for param, name in (
            (tp.int_("weight", 5), "int"),
            (tp.llong("weight", 5), "llong"),
            (tp.ullong("weight", 5), "ullong"),
            (tp.double("weight", 5), "double"),
            (tp.boolean("weight", 1), "boolean"),
            (tp.string("weight", "abc"), "string"),
            (TypedParam("weight", TypedParamValue(9, 5)), "unknown"),
        ):
            error = self.refused(param)
            self.assertIsInstance(error, InvalidArg)
            self.assertEqual(
                error.message,
                f"invalid argument: invalid type '{name}' for parameter 'weight', expected 'uint'",
            )

    def test_repeated(self) -> None:
        for second in (tp.uint("weight", 6), tp.int_("weight", 6)):
            error = self.refused(tp.uint("weight", 5), second)
            self.assertIsInstance(error, InvalidArg)
            self.assertEqual(error.message, "invalid argument: parameter 'weight' occurs multiple times")

    def test_repeated_where_allowed(self) -> None:
        disks = [tp.string("migrate_disks", "vda"), tp.string("migrate_disks", "vdb")]
        types = tp.allowed("migrate_disks")
        tp.check_params(disks, types, multiple=["migrate_disks"])
        self.assertRaises(InvalidArg, tp.check_params, disks, types)

    def test_first_complaint_goes_by_name(self) -> None:
        wrong, first, last = tp.llong("weight", 5), tp.int_("aaa", 1), tp.int_("zzz", 1)
        self.assertIn("'aaa' not supported", self.refused(last, first).message)
        self.assertIn("'aaa' not supported", self.refused(wrong, first).message)
        self.assertIn("invalid type 'llong'", self.refused(last, wrong).message)
        self.assertIn("invalid type 'int'", self.refused(tp.int_("weight", 1), tp.uint("weight", 1)).message)

    def test_order_of_the_list_stays(self) -> None:
        params = [tp.uint("weight", 1), tp.uint("cap", 1)]
        tp.check_params(params, tp.allowed("cap", "weight"))
        self.assertEqual([param.field for param in params], ["weight", "cap"])
