"""What is wrong is said in one line, with the place where it is."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.lexer import MAX_DIGITS
from remotevirt.rpcgen.parser import MAX_NESTING
from tests.rpcgen.texts import failure, load


def program(body: str) -> str:
    return f"program P {{ version V {{\n{body}\n}} = 1; }} = 5;"


class PositionTests(TestCase):
    """Each error names file, line and column."""

    def check(self, cases: dict[str, str]) -> None:
        for text, expected in cases.items():
            self.assertEqual(failure(text), expected, text)

    def test_words(self) -> None:
        self.check(
            {
                "const A = 1;\n  $": "2:3: unexpected character '$'",
                "const ä": "1:7: unexpected character '\\xe4'",
                "const A = 1; /* no end": "1:14: this comment has no end",
                "const A = 08;": "1:11: '08' is not a number: write 31, 0x1f or 037",
                "const A = 12ab;": "1:11: '12ab' is not a number: write 31, 0x1f or 037",
                f"const A = {'9' * 5000};": f"1:11: the number {'9' * MAX_DIGITS}... is too large",
                " %x": "1:2: unexpected character '%'",
            }
        )

    def test_grammar(self) -> None:
        start = "expected const, typedef, enum, struct, union or program"
        self.check(
            {
                "foo": f"1:1: {start}, found 'foo'",
                "const A = 1": "1:12: expected ';', found the end of the file",
                "const struct = 1;": (
                    "1:7: expected the name of a constant, but 'struct' is a word of the language"
                ),
                "const A = ;": "1:11: expected a value, found ';'",
                "struct s { };": "1:12: expected a type, found '}'",
                "struct s { int };": "1:16: expected the name of a field, found '}'",
                "struct s { string a; };": "1:20: expected '<', found ';'",
                "struct s { string a[4]; };": "1:20: expected '<', found '['",
                "struct s { opaque a; };": "1:20: expected '<' or '[', found ';'",
                "struct s { int a[]; };": "1:18: expected a size, found ']'",
                "struct s { int *a<3>; };": "1:18: expected ';', found '<'",
                "struct s { quadruple q; };": "1:12: quadruple is not supported: Python has no such number",
                "enum e { };": "1:10: expected the name of an enum's member, found '}'",
                "enum e { A B };": "1:12: expected '}', found 'B'",
                "union u switch (int x) { };": "1:26: expected 'case', found '}'",
                "union u switch (int x) { default: void; };": "1:26: expected 'case', found 'default'",
                "union u { int x; };": "1:9: expected 'switch', found '{'",
                "typedef struct { int a; } ;": "1:16: expected a complete declaration, found '{'",
                "program P { version V { } = 1; } = 5;": "1:25: expected a type, found '}'",
                "program P { version V { void A(struct { int x; }) = 1; } = 1; } = 5;": (
                    "1:32: no type can be declared here"
                ),
            }
        )
        self.assertIn("expected a type, found 'void'", failure("struct s { void; };"))

    def test_names(self) -> None:
        self.check(
            {
                "const A = 1;\nconst A = 2;": "2:7: A is declared already, at a.x:1:7",
                "const A = 1; struct A { int x; };": "1:21: A is declared already, at a.x:1:7",
                "enum e { A = 1, A = 2 };": "1:17: A is declared already, at a.x:1:10",
                "enum e { A = 1 }; const A = 1;": "1:25: A is declared already, at a.x:1:10",
                "struct s { int x; hyper x; };": "1:25: there is a x already at a.x:1:16",
                "union u switch (int x) { case 1: int x; };": "1:38: there is a x already at a.x:1:21",
                "const A = B;": "1:11: unknown constant B",
                "struct s { int x[N]; };": "1:18: unknown constant N",
                "struct s { foo x; };": "1:12: unknown type foo",
                "const A = 1; struct s { A x; };": "1:25: A is a constant, not a type",
                "struct s { int x; }; const A = s;": "1:32: s is a type, not a constant",
                "const A = B; const B = A;": "1:20: B is defined by itself",
                program("foo A(void) = 1;"): "2:1: unknown type foo",
            }
        )

    def test_values(self) -> None:
        word = "from 0 to 4294967295"
        self.check(
            {
                "struct s { int x<-1>; };": f"1:18: -1 is not {word}",
                "struct s { int x<4294967296>; };": f"1:18: 4294967296 is not {word}",
                "struct s { int x[0]; };": "1:18: 0 is not from 1 to 4294967295",
                "struct s { opaque x[0]; };": "1:21: 0 is not from 1 to 4294967295",
                "enum e { A = 2147483648 };": "1:10: 2147483648 is not from -2147483648 to 2147483647",
                "enum e { A = 2147483647, B };": "1:26: 2147483648 is not from -2147483648 to 2147483647",
                "const A = 18446744073709551616;": (
                    "1:11: 18446744073709551616 is not from -9223372036854775808 to 18446744073709551615"
                ),
                "union u switch (int x) { case 1: void; case 1: void; };": (
                    "1:45: there is a case for 1 already at a.x:1:31"
                ),
                "enum e { A = 1 }; union u switch (e x) { case 2: void; };": "1:47: 2 is no value of e",
                "union u switch (bool x) { case 2: void; };": "1:32: 2 is not from 0 to 1",
                "union u switch (hyper x) { case 2: void; };": (
                    "1:17: a union is switched by an int, an unsigned int, a bool or an enum"
                ),
                "union u switch (int x<3>) { case 2: void; };": (
                    "1:17: a union is switched by an int, an unsigned int, a bool or an enum"
                ),
            }
        )

    def test_recursion(self) -> None:
        self.check(
            {
                "struct s { s x; };": "1:8: s contains itself",
                "struct a { b x; }; struct b { a x[2]; };": "1:8: a contains itself",
                "typedef a b; typedef b a;": "1:11: b contains itself",
                "typedef a *b; typedef b *a;": "1:12: b contains itself",
                "union u switch (int x) { case 1: u y; };": "1:7: u contains itself",
            }
        )

    def test_programs(self) -> None:
        self.check(
            {
                program(
                    "void A(void) = 1;\nvoid B(void) = 1;"
                ): "3:6: procedure number 1 is taken already, at a.x:2:6",
                program("void A(void) = 1;\nvoid A(void) = 2;"): "3:6: A is taken already, at a.x:2:6",
                program("/** @event */\nint A(void) = 1;"): "3:5: A is an event: it returns nothing",
                program("/** @acl: none */ void A(void) = 1;\nvoid B(void) = 2;"): (
                    "3:6: B has no @acl, but others have (say '@acl: none' if it needs none)"
                ),
                "const P = 6;\n" + program("void A(void) = 1;"): "4:12: P is 5 here, but 6 at a.x:1:7",
                program("void A(void) = 1;") + "\nprogram Q { version W { void B(void) = 1; } = 1; } = 5;": (
                    "4:9: program 0x5 version 1 is P at a.x:1:9"
                ),
            }
        )

    def test_several_files(self) -> None:
        """The file in which it is wrong is the one that is named."""
        error = self.assertRaises(RpcgenError, load, "const A = 1;", "const B = 1;\nconst A = 2;")
        self.assertEqual(str(error), "b.x:2:7: A is declared already, at a.x:1:7")
        self.assertEqual(error.message, "A is declared already, at a.x:1:7")
        assert error.location is not None
        self.assertEqual((error.location.file, error.location.line, error.location.column), ("b.x", 2, 7))


class BoundedTests(TestCase):
    """However large or deep a contract is, it ends in an error or a model, and soon."""

    def test_nesting(self) -> None:
        """Types inside one another are counted, not recursed into until Python gives up."""
        text = "struct s { " + "struct { " * 5000 + "int x; " + "} y; " * 5000 + "};"
        self.assertIn(f"more than {MAX_NESTING} types inside one another", failure(text))

    def test_nesting_allowed(self) -> None:
        """As deep as the limit is fine."""
        depth = MAX_NESTING - 1
        text = "struct s { " + "struct { " * depth + "int x;" + " } y;" * depth + " };"
        self.assertEqual(len(load(text).structs), MAX_NESTING)

    def test_long_chains(self) -> None:
        """Chains of constants, typedefs and structs need no stack."""
        count = 20000
        constants = "".join(f"const C{i} = C{i + 1};" for i in range(count)) + f"const C{count} = 3;"
        self.assertEqual(load(constants).constants[0].value, 3)
        typedefs = "".join(f"typedef t{i + 1} t{i};" for i in range(count)) + f"typedef int t{count};"
        load(typedefs + "union u switch (t0 x) { case 1: void; };")
        load(
            "".join(f"struct s{i} {{ s{i + 1} x; }};" for i in range(count))
            + f"struct s{count} {{ int x; }};"
        )
