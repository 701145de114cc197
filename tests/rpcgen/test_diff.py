"""What changed between two contracts."""

from __future__ import annotations

from hypothesis import given, settings
from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.diff import compare, describe
from remotevirt.rpcgen.model import Contract
from tests.rpcgen.texts import contracts, load, without_comments

OLD = """
const A = 1; const GONE = 2; const MAX = 8;
enum e { X = 1, Y = 2 };
typedef string name<MAX>;
struct same { int x; };
struct s { int x; int y; opaque o<MAX>; };
union u switch (int t) { case 1: int a; case 2: void; };
struct gone { int x; };
program P { version V {
    /** @acl: a:b
     */
    void P_PROC_ONE(s) = 1;
    /** @acl: none */
    void P_PROC_TWO(void) = 2;
    /** @acl: none */
    void P_PROC_THREE(void) = 3;
} = 1; } = 5;
"""
NEW = """
const A = 0x10; const MAX = 8; const FRESH = A;
enum e { X = 1, Y = 3, Z = 2 };
typedef string name<16>;
struct same { int x; };
struct s { int x; hyper y; opaque o<8>; int z; };
union u switch (int t) { case 1: int a; case 2: int b; default: void; };
struct fresh { int x; };
program P { version V {
    /**
     * A comment.
     * @acl: a:b:F
     * @priority: high
     */
    s P_PROC_ONE(fresh) = 1;
    /** @acl: none */
    void P_PROC_TWO(void) = 4;
    /** @event
      * @acl: none */
    void P_PROC_FOUR(s) = 3;
} = 1; } = 6;
"""
TEXT = """\
programs: 1 changed
  ~ P
      0x00000005 version 1 -> 0x00000006 version 1

procedures: 1 added, 1 removed, 2 changed
  ~ P_PROC_ONE
      args: s -> fresh
      ret: void -> s
      - @acl: a:b
      - @priority: low
      + @acl: a:b:F
      + @priority: high
  ~ P_PROC_TWO
      number: 2 -> 4
  - P_PROC_THREE  = 3  (void) -> void
  + P_PROC_FOUR  = 3  event (s) -> void

structs: 1 added, 1 removed, 1 changed
  ~ s
      - int y
      + hyper y
      + int z
  - gone
  + fresh

unions: 1 changed
  ~ u
      - case 2: void
      + case 2: int b
      + default: void

enums: 1 changed
  ~ e
      - Y = 2
      + Y = 3
      + Z = 2

typedefs: 1 changed
  ~ name
      - string name<MAX>
      + string name<16>

constants: 1 added, 1 removed, 2 changed
  ~ A
      1 -> 0x10
  - GONE  = 2
  ~ P
      5 -> 6
  + FRESH  = A
"""


class DiffTests(TestCase):
    """Two contracts and the list of their differences."""

    def test_everything(self) -> None:
        """Each sort of difference, and how it is told."""
        self.assertEqual(describe(compare(load(OLD), load(NEW))), TEXT)

    def test_same(self) -> None:
        """Comments, order, and how a bound is written make no difference."""
        old = load("/** A. */ const N = 4; struct s { int x<N>; }; struct t { int x; };")
        new = load("struct t { int x; }; struct s { int x<4>; }; const N = 0x4;")
        self.assertEqual(compare(old, new), [])
        self.assertEqual(describe([]), "")

    def test_constants_told_once(self) -> None:
        """A constant of another value is one change, not one for each bound made of it."""
        old, new = (load(f"const N = {value}; struct s {{ int x<N>; }};") for value in (4, 5))
        self.assertEqual([(each.sort, each.name) for each in compare(old, new)], [("constants", "N")])

    def test_order_of_fields(self) -> None:
        """Fields in another order are a difference on the wire."""
        old, new = load("struct s { int x; int y; };"), load("struct s { int y; int x; };")
        self.assertEqual([each.name for each in compare(old, new)], ["s"])

    def test_another_sort(self) -> None:
        """What was a struct and is a typedef now was removed and added."""
        old, new = load("struct s { int x; };"), load("typedef int s;")
        found = [(each.sort, each.mark) for each in compare(old, new)]
        self.assertEqual(found, [("structs", "-"), ("typedefs", "+")])

    def test_dialect(self) -> None:
        """What libvirt's dialect cannot say is only compared between two of ours."""
        text = "program P {{ version V {{ /**\n{}\n*/ void A(void) = 1; }} = 1; }} = 5;"
        old, new = (
            load(text.format("")),
            load(text.format("@fds: call\n@pre_auth\n@daemon\n@api: f\n@since: 1")),
        )
        self.assertEqual(compare(old, new, ours=False), [])
        (change,) = compare(old, new)
        self.assertEqual(len(change.details), 5)

    def test_no_access_checks(self) -> None:
        """A program without access checks is not the same as one that needs no permission."""
        text = "program P {{ version V {{ {} void A(void) = 1; }} = 1; }} = 5;"
        old, new = load(text.format("")), load(text.format("/** @acl: none */"))
        self.assertEqual([each.details for each in compare(old, new)], [("+ @acl: none",)])

    @settings(deadline=None, max_examples=50)
    @given(contracts(), contracts())
    def test_any(self, old: Contract, new: Contract) -> None:
        """There is no difference to oneself; what is added one way is removed the other way."""
        self.assertEqual(compare(old, without_comments(old)), [])
        there, back = compare(old, new), compare(new, old)
        added = {(each.sort, each.name) for each in there if each.mark == "+"}
        self.assertEqual(added, {(each.sort, each.name) for each in back if each.mark == "-"})
        self.assertEqual(len(there), len(back))
