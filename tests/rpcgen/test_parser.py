"""The grammar: what RFC 4506 and RFC 5531 allow, and what libvirt's contracts need beyond that."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.lexer import tokenize
from remotevirt.rpcgen.model import (
    Arm,
    Bound,
    Case,
    Constant,
    Declaration,
    Enum,
    Kind,
    Struct,
    Typedef,
    Union,
)
from tests.rpcgen.texts import failure, load


def field(text: str) -> Declaration:
    """The only field of a struct that is declared so."""
    struct = load(f"const N = 7; struct other {{ int x; }}; struct s {{ {text}; }};")["s"]
    assert isinstance(struct, Struct)
    return struct.fields[0]


class LexerTests(TestCase):
    """Words, blanks and comments."""

    def test_locations(self) -> None:
        """Lines and columns count from 1, behind comments of several lines too."""
        text = tokenize("const A\n  = /* x\n y */ 3;", "f.x")
        found = [(token.text, token.location.line, token.location.column) for token in text.tokens]
        self.assertEqual(
            found, [("const", 1, 1), ("A", 1, 7), ("=", 2, 3), ("3", 3, 7), (";", 3, 8), ("", 3, 9)]
        )

    def test_passthrough(self) -> None:
        """Lines that open with a percent sign are kept apart, in comments they are nothing special."""
        text = tokenize('%#include "a.h"  \nconst A = 1;\n/*\n%no\n*/\n%b', "f.x")
        self.assertEqual(text.passthrough, ('#include "a.h"', "b"))
        self.assertEqual(len(text.tokens), 6)

    def test_preprocessor(self) -> None:
        """What the C preprocessor leaves behind is skipped."""
        self.assertEqual(len(tokenize('# 1 "a.x"\n  #pragma x\nconst', "f.x").tokens), 2)

    def test_docs(self) -> None:
        """Only the last doc comment in front of a token belongs to it."""
        first, second, _ = tokenize("/** a */ /** b */ /* c */ /**/ x y", "f.x").tokens
        self.assertEqual(first.doc.text if first.doc else "", "/** b */")
        self.assertIsNone(second.doc)

    def test_trailers(self) -> None:
        """A comment behind a token on its line is its trailer."""
        first, second, _ = tokenize("x /* a */\n/* b */ y", "f.x").tokens
        self.assertEqual((first.trailer, second.trailer), ("/* a */", ""))

    def test_carriage_returns(self) -> None:
        """Files of other systems are read as well."""
        self.assertEqual(load("const A = 1;\r\nconst B = 2;\r\n")["B"], Constant("B", 2))


class ConstantTests(TestCase):
    """Numbers and names of numbers."""

    def test_bases(self) -> None:
        """Decimal, hexadecimal and octal, and how they were written."""
        contract = load(
            "const A = 31; const B = 0x1F; const C = 037; const D = -5; const E = 0; const F = A;"
        )
        expected = [("A", 31, None), ("B", 31, "0x1F"), ("C", 31, "037"), ("D", -5, None), ("E", 0, None)]
        self.assertEqual([(c.name, c.value, c.literal) for c in contract.constants][:5], expected)
        self.assertEqual(contract["F"], Constant("F", 31, "A"))

    def test_use_before_declaration(self) -> None:
        """Constants, enum members and other files may be named before they are declared."""
        contract = load("const A = B; struct s { opaque x[E]; };", "const B = C;", "enum e { C = 4, E = A };")
        self.assertEqual(contract["A"], Constant("A", 4, "B"))
        self.assertEqual(
            contract["s"], Struct("s", (Declaration("x", "opaque", Kind.OPAQUE_FIXED, Bound("E", 4)),))
        )


class DeclarationTests(TestCase):
    """Every form of a declaration."""

    def test_forms(self) -> None:
        """Scalars, arrays, optionals, strings and opaque data, with bounds by number and by name."""
        seven, named, none = Bound(None, 7), Bound("N", 7), Bound(None, None)
        forms = {
            "int a": Declaration("a", "int"),
            "other a": Declaration("a", "other"),
            "struct other a": Declaration("a", "other"),
            "int a[7]": Declaration("a", "int", Kind.FIXED_ARRAY, seven),
            "int a[N]": Declaration("a", "int", Kind.FIXED_ARRAY, named),
            "int a<7>": Declaration("a", "int", Kind.VARIABLE_ARRAY, seven),
            "other a<N>": Declaration("a", "other", Kind.VARIABLE_ARRAY, named),
            "other a<>": Declaration("a", "other", Kind.VARIABLE_ARRAY, none),
            "other *a": Declaration("a", "other", Kind.OPTIONAL),
            "string a<N>": Declaration("a", "string", Kind.STRING, named),
            "string a<>": Declaration("a", "string", Kind.STRING, none),
            "opaque a<0x7>": Declaration("a", "opaque", Kind.OPAQUE, seven),
            "opaque a<>": Declaration("a", "opaque", Kind.OPAQUE, none),
            "opaque a[N]": Declaration("a", "opaque", Kind.OPAQUE_FIXED, named),
        }
        for text, expected in forms.items():
            self.assertEqual(field(text), expected, text)

    def test_types(self) -> None:
        """Every type that is built in, in its canonical spelling."""
        spellings = {"unsigned": "unsigned int"}
        plain = ["int", "hyper", "char", "short"]
        spellings |= {name: name for name in [*plain, "float", "double", "bool"]}
        spellings |= {f"unsigned {name}": f"unsigned {name}" for name in plain}
        for text, expected in spellings.items():
            self.assertEqual(field(f"{text} a").type, expected, text)

    def test_program_and_version_as_names(self) -> None:
        """These words mean something only where a program may stand."""
        struct = load("struct s { int program; int version; };")["s"]
        assert isinstance(struct, Struct)
        self.assertEqual([each.name for each in struct.fields], ["program", "version"])

    def test_nested(self) -> None:
        """Types declared where they are used become definitions of their own, in front."""
        contract = load(
            "struct s { struct { int w; } size; enum x { A = 1 } y<2>;"
            "    union switch (int t) { case 1: void; } *u; };"
        )
        self.assertEqual([each.name for each in contract.definitions], ["s_size", "x", "s_u", "s"])
        expected = (
            Declaration("size", "s_size"),
            Declaration("y", "x", Kind.VARIABLE_ARRAY, Bound(None, 2)),
            Declaration("u", "s_u", Kind.OPTIONAL),
        )
        self.assertEqual(contract["s"], Struct("s", expected))

    def test_nested_deeper(self) -> None:
        """A name is made from all the names around it."""
        contract = load("typedef struct { struct { struct { int a; } b; } c; } d;")
        self.assertEqual([each.name for each in contract.definitions], ["d_c_b", "d_c", "d"])

    def test_typedefs(self) -> None:
        """Of declarations, and of types declared on the spot."""
        contract = load(
            "typedef string name<9>; typedef struct { int a; } pair; typedef enum { A = 1 } some<3>;"
            "struct other { int x; }; typedef struct other other; typedef other *maybe;"
            "typedef struct q { int b; } r;"
        )
        self.assertEqual(
            contract["name"], Typedef(Declaration("name", "string", Kind.STRING, Bound(None, 9)))
        )
        self.assertEqual(contract["pair"], Struct("pair", (Declaration("a", "int"),)))
        self.assertEqual(contract["some_item"], Enum("some_item", {"A": 1}))
        self.assertEqual(
            contract["some"], Typedef(Declaration("some", "some_item", Kind.VARIABLE_ARRAY, Bound(None, 3)))
        )
        self.assertEqual(contract["maybe"], Typedef(Declaration("maybe", "other", Kind.OPTIONAL)))
        self.assertEqual(contract["r"], Typedef(Declaration("r", "q")))
        self.assertEqual(len(contract.definitions), 8)


class CompoundTests(TestCase):
    """Enums and unions."""

    def test_enum(self) -> None:
        """Values by number and name, counted on where there is none, and a comma at the end."""
        contract = load("const N = 9; enum e { A, B = 4, C, D = N, E = -1, F = 0x10, };")
        self.assertEqual(contract["e"], Enum("e", {"A": 0, "B": 4, "C": 5, "D": 9, "E": -1, "F": 16}))

    def test_union(self) -> None:
        """Several labels for an arm, arms without a value, a default."""
        contract = load(
            "enum e { A = 1, B = 2, C = 3 };"
            "union u switch (e kind) { case A: case 2: int x; case C: void; };"
            "union v switch (unsigned t) { case 0: string s<>; default: opaque o[4]; };"
            "union w switch (bool t) { case TRUE: int x; case FALSE: void; };"
            "typedef e f; union x switch (f t) { case 1: int x; default: void; };"
        )
        kind = Declaration("kind", "e")
        arms = (
            Arm((Case("A", 1), Case(None, 2)), Declaration("x", "int")),
            Arm((Case("C", 3),), None),
        )
        self.assertEqual(contract["u"], Union("u", kind, arms))
        default = Declaration("o", "opaque", Kind.OPAQUE_FIXED, Bound(None, 4))
        arm = Arm((Case(None, 0),), Declaration("s", "string", Kind.STRING, Bound(None, None)))
        self.assertEqual(contract["v"], Union("v", Declaration("t", "unsigned int"), (arm,), True, default))
        bools = (Arm((Case("TRUE", 1),), Declaration("x", "int")), Arm((Case("FALSE", 0),), None))
        self.assertEqual(contract["w"], Union("w", Declaration("t", "bool"), bools))
        union = contract["x"]
        assert isinstance(union, Union)
        self.assertEqual((union.has_default, union.default), (True, None))

    def test_lists(self) -> None:
        """A type may contain itself behind an optional or a count."""
        load("struct list { int x; list *next; }; struct tree { tree branches<>; };")


class ProgramTests(TestCase):
    """Program and version blocks."""

    text = """
        struct a { int x; };
        program T_PROGRAM {
            version T_ONE { a T_PROC_GET(void) = 2; void T_PROC_PUT(a) = N; } = 1;
            version T_TWO { unsigned hyper OTHER(unsigned) = 0; } = 2;
        } = 0x20000000;
        const N = 1;
    """

    def test_program(self) -> None:
        """One program for each version; procedures in order of their numbers."""
        one, two = load(self.text).programs
        self.assertEqual((one.name, one.constant, one.number), ("t", "T_PROGRAM", 0x20000000))
        self.assertEqual((one.version_constant, one.version, two.version), ("T_ONE", 1, 2))
        found = [(each.number, each.constant, each.name, each.args, each.ret) for each in one.procedures]
        self.assertEqual(found, [(1, "T_PROC_PUT", "put", "a", None), (2, "T_PROC_GET", "get", None, "a")])
        other = two.procedures[0]
        self.assertEqual((other.name, other.args, other.ret), ("other", "unsigned int", "unsigned hyper"))

    def test_constants(self) -> None:
        """The block declares the constants it names."""
        contract = load(self.text)
        self.assertEqual(contract["T_PROGRAM"], Constant("T_PROGRAM", 0x20000000, "0x20000000"))
        self.assertEqual(contract["T_TWO"], Constant("T_TWO", 2))

    def test_merged(self) -> None:
        """Blocks of one program in several files make one program; a constant may be declared as well."""
        block = "program P {{ version V {{ void {}(void) = {}; }} = 1; }} = 5;"
        contract = load(block.format("B", 2), "const P = 5;", block.format("A", 1))
        (program,) = contract.programs
        self.assertEqual([each.constant for each in program.procedures], ["A", "B"])
        self.assertEqual([each.location.file for each in program.procedures if each.location], ["c.x", "a.x"])

    def test_several_arguments(self) -> None:
        """They are refused, with a word on what to do."""
        text = "program P { version V { void A(int, int) = 1; } = 1; } = 5;"
        self.assertEqual(failure(text), "1:30: A takes several arguments: put them into a struct")
