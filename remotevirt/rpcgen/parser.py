"""From tokens to syntax: the grammar of RFC 4506 (XDR) and RFC 5531 (programs), by recursive descent.

Beyond the RFCs, as rpcgen and libvirt's contracts have it:

* the narrow C types ``char``, ``unsigned char``, ``short`` and ``unsigned short``;
* ``struct x`` in front of a name that is declared elsewhere (``typedef struct x x;`` says nothing);
* an enum member without a value is one more than the member before;
* a comma behind the last member of an enum.

A type that is declared where it is used becomes a definition of its own in front of the one that uses it.
If it has no name it gets one: ``struct { ... } size;`` in ``struct box`` is ``box_size``.

What names mean is the resolver's business (:mod:`remotevirt.rpcgen.resolve`).
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.lexer import END, MARK, NAME, NUMBER, Comment, Token, tokenize
from remotevirt.rpcgen.model import Kind, Location
from remotevirt.rpcgen.syntax import (
    Document,
    SyntaxArm,
    SyntaxBound,
    SyntaxConstant,
    SyntaxDeclaration,
    SyntaxDefinition,
    SyntaxEnum,
    SyntaxMember,
    SyntaxProcedure,
    SyntaxProgram,
    SyntaxStruct,
    SyntaxTypedef,
    SyntaxUnion,
    Value,
)

__all__ = ["MAX_NESTING", "parse"]

MAX_NESTING = 16
"""How deep types declared inside types may go. Real contracts nest none; the parser's stack is finite."""

_COMPOUND = ("enum", "struct", "union")
_SIMPLE = frozenset({"int", "hyper", "float", "double", "bool", "char", "short"})
_UNSIGNED = frozenset({"int", "hyper", "char", "short"})
_RESERVED = frozenset(
    {*_COMPOUND, *_SIMPLE, "case", "const", "default", "opaque", "quadruple", "string", "switch", "typedef"}
    | {"unsigned", "void"}
)
"""Words that name nothing. ``program`` and ``version`` are no such words: RFC 4506 allows fields of that
name, and they can only be meant where a program or a version may stand."""


def parse(text: str, file: str) -> Document:
    """Parse one contract file.

    Args:
        text: its content.
        file: its name, for locations.

    Raises:
        RpcgenError: what stands there is not XDR.
    """
    return _Parser(text, file).document()


class _Parser:
    """``_next`` is the token to read next; ``_nesting`` counts the open type bodies."""

    def __init__(self, text: str, file: str) -> None:
        cut = tokenize(text, file)
        self._file = file
        self._passthrough = cut.passthrough
        self._tokens = cut.tokens
        self._index = 0
        self._nesting = 0
        self._definitions: list[SyntaxDefinition] = []
        self._programs: list[SyntaxProgram] = []

    # Words

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._next
        if token.kind != END:
            self._index += 1
        return token

    def _is(self, text: str) -> bool:
        return self._next.kind in {NAME, MARK} and self._next.text == text

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._take()
            return True
        return False

    def _expect(self, text: str) -> Token:
        if not self._is(text):
            self._fail(f"expected {text!r}")
        return self._take()

    def _fail(self, why: str) -> NoReturn:
        raise RpcgenError(f"{why}, found {self._next}", self._next.location)

    def _identifier(self, what: str) -> Token:
        if self._next.kind != NAME:
            self._fail(f"expected {what}")
        if self._next.text in _RESERVED:
            raise RpcgenError(
                f"expected {what}, but {self._next} is a word of the language", self._next.location
            )
        return self._take()

    def _value(self, what: str) -> Value:
        if self._next.kind == NUMBER:
            token = self._take()
        else:
            token = self._identifier(what)
        return Value(token.text, token.location)

    # Definitions

    def document(self) -> Document:
        while self._next.kind != END:
            self._definition()
        return Document(self._file, tuple(self._definitions), tuple(self._programs), self._passthrough)

    def _definition(self) -> None:
        start = self._next
        if self._accept("const"):
            name = self._identifier("the name of a constant")
            self._expect("=")
            value = self._value("a value")
            self._definitions.append(SyntaxConstant(name.text, value, start.doc, name.location))
        elif self._accept("typedef"):
            self._typedef(start.doc)
        elif start.text in _COMPOUND and start.kind == NAME:
            self._take()
            name = self._identifier(f"the name of the {start.text}")
            self._body(start.text, name.text, start.doc, name.location)
        elif self._is("program"):
            self._program()
        else:
            self._fail("expected const, typedef, enum, struct, union or program")
        self._expect(";")

    def _typedef(self, doc: Comment | None) -> None:
        by_keyword = self._next.text in _COMPOUND
        declaration = self._declaration("the name of the type", _Scope("", doc))
        if by_keyword and declaration.kind is Kind.SCALAR and declaration.type == declaration.name:
            return  # "typedef struct { ... } x" has declared x already, "typedef struct x x" adds nothing
        self._definitions.append(SyntaxTypedef(declaration, doc, declaration.location))

    def _body(self, keyword: str, name: str, doc: Comment | None, location: Location) -> None:
        """Read the body of an enum, struct or union, and declare it under ``name``."""
        if self._nesting == MAX_NESTING:
            raise RpcgenError(f"more than {MAX_NESTING} types inside one another", self._next.location)
        self._nesting += 1
        if keyword == "enum":
            self._definitions.append(SyntaxEnum(name, self._members(), doc, location))
        elif keyword == "struct":
            self._expect("{")
            fields = [self._field(name)]
            while not self._accept("}"):
                fields.append(self._field(name))
            self._definitions.append(SyntaxStruct(name, tuple(fields), doc, location))
        else:
            self._union(name, doc, location)
        self._nesting -= 1

    def _field(self, outer: str) -> SyntaxDeclaration:
        field = self._declaration("the name of a field", _Scope(outer, None))
        self._expect(";")
        return field

    def _members(self) -> tuple[SyntaxMember, ...]:
        self._expect("{")
        members: list[SyntaxMember] = []
        while not members or not self._is("}"):
            name = self._identifier("the name of an enum's member")
            value = self._value("a value") if self._accept("=") else None
            more = self._accept(",")
            trailer = self._tokens[self._index - 1].trailer
            members.append(SyntaxMember(name.text, value, name.doc, trailer, name.location))
            if not more:
                break
        self._expect("}")
        return tuple(members)

    def _union(self, name: str, doc: Comment | None, location: Location) -> None:
        self._expect("switch")
        self._expect("(")
        discriminant = self._declaration("the name of the discriminant", None)
        self._expect(")")
        self._expect("{")
        arms: list[SyntaxArm] = []
        while not arms or self._is("case"):
            cases: list[Value] = []
            while not cases or self._is("case"):
                self._expect("case")
                cases.append(self._value("the value of a case"))
                self._expect(":")
            arms.append(SyntaxArm(tuple(cases), self._arm(name)))
        has_default, default = False, None
        if self._accept("default"):
            self._expect(":")
            has_default, default = True, self._arm(name)
        self._expect("}")
        self._definitions.append(
            SyntaxUnion(name, discriminant, tuple(arms), has_default, default, doc, location)
        )

    def _arm(self, outer: str) -> SyntaxDeclaration | None:
        if self._accept("void"):
            self._expect(";")
            return None
        return self._field(outer)

    # Declarations

    def _declaration(self, what: str, scope: _Scope | None) -> SyntaxDeclaration:
        """Read ``type name``, with ``*`` or brackets where they may stand.

        Args:
            what: the name, for errors.
            scope: where the declaration stands; None where no type can be declared.
        """
        first = self._next
        if first.text in {"string", "opaque"} and first.kind == NAME:
            self._take()
            name = self._identifier(what)
            if self._is("<"):
                kind = Kind.STRING if first.text == "string" else Kind.OPAQUE
                bound = self._bound(">")
            elif self._is("[") and first.text == "opaque":
                kind, bound = Kind.OPAQUE_FIXED, self._bound("]")
            else:
                self._fail("expected '<'" if first.text == "string" else "expected '<' or '['")
            return SyntaxDeclaration(name.text, first.text, kind, bound, name.location, first.location)
        if self._is("void"):
            self._fail(
                "void may only be the arm of a union, or stand for no argument or result: expected a type"
            )
        type_ = self._type(scope)
        kind, bounded = Kind.SCALAR, None
        if self._accept("*"):
            kind = Kind.OPTIONAL
        name = self._identifier(what)
        if kind is Kind.SCALAR and self._is("<"):
            kind, bounded = Kind.VARIABLE_ARRAY, self._bound(">")
        elif kind is Kind.SCALAR and self._is("["):
            kind, bounded = Kind.FIXED_ARRAY, self._bound("]")
        return SyntaxDeclaration(name.text, type_.text, kind, bounded, name.location, type_.location)

    def _bound(self, close: str) -> SyntaxBound:
        self._take()
        value = None
        if not (close == ">" and self._is(">")):
            value = self._value("a size")
        self._expect(close)
        return SyntaxBound(value)

    def _type(self, scope: _Scope | None) -> Value:
        """Read a type, and return its name: canonical for what is built in."""
        first = self._next
        if first.kind != NAME:
            self._fail("expected a type")
        if first.text == "unsigned":
            self._take()
            more = self._next
            if more.kind == NAME and more.text in _UNSIGNED:
                self._take()
                return Value(f"unsigned {more.text}", first.location)
            return Value("unsigned int", first.location)
        if first.text in _SIMPLE:
            return Value(self._take().text, first.location)
        if first.text in _COMPOUND:
            return self._compound(scope)
        if first.text == "quadruple":
            raise RpcgenError("quadruple is not supported: Python has no such number", first.location)
        name = self._identifier("a type")
        return Value(name.text, name.location)

    def _compound(self, scope: _Scope | None) -> Value:
        """Read ``struct name`` (a reference) or a type declared on the spot, with or without a name."""
        keyword = self._take()
        name = "" if self._is("{") or self._is("switch") else self._identifier("a type").text
        if self._is("{") or (keyword.text == "union" and self._is("switch")):
            if scope is None:
                raise RpcgenError("no type can be declared here", keyword.location)
            name = name or self._name_of_anonymous(scope.outer)
            self._body(keyword.text, name, scope.doc, keyword.location)
        return Value(name, keyword.location)

    def _name_of_anonymous(self, outer: str) -> str:
        """Find the name that follows the body which opens here, and derive that of the type from it."""
        index, depth = self._index, 0
        while self._tokens[index].kind != END:
            text = self._tokens[index].text
            depth += (text == "{") - (text == "}")
            index += 1
            if text == "}" and depth == 0:
                break
        while self._tokens[index].text == "*":
            index += 1
        name = self._tokens[index]
        if name.kind != NAME:
            self._fail("expected a complete declaration")
        if outer:
            return f"{outer}_{name.text}"
        plain = self._tokens[index - 1].text == "}" and self._tokens[index + 1].text == ";"
        return name.text if plain else f"{name.text}_item"

    # Programs

    def _program(self) -> None:
        self._take()
        name = self._identifier("the name of the program")
        self._expect("{")
        versions = [self._version()]
        while not self._accept("}"):
            versions.append(self._version())
        self._expect("=")
        value = self._value("the number of the program")
        short = name.text.removesuffix("_PROGRAM").removesuffix("_PROG").lower()
        for version, version_value, procedures in versions:
            self._programs.append(
                SyntaxProgram(
                    short,
                    name.text,
                    value,
                    version.text,
                    version_value,
                    procedures,
                    name.location,
                    version.location,
                )
            )

    def _version(self) -> tuple[Token, Value, tuple[SyntaxProcedure, ...]]:
        self._expect("version")
        name = self._identifier("the name of the version")
        self._expect("{")
        procedures = [self._procedure()]
        while not self._accept("}"):
            procedures.append(self._procedure())
        self._expect("=")
        value = self._value("the number of the version")
        self._expect(";")
        return name, value, tuple(procedures)

    def _procedure(self) -> SyntaxProcedure:
        doc = self._next.doc
        ret = self._void_or_type()
        name = self._identifier("the name of a procedure")
        self._expect("(")
        args = [self._void_or_type()]
        while self._accept(","):
            args.append(self._type(None))
        self._expect(")")
        self._expect("=")
        value = self._value("the number of the procedure")
        self._expect(";")
        if len(args) > 1:
            raise RpcgenError(f"{name.text} takes several arguments: put them into a struct", name.location)
        return SyntaxProcedure(name.text, value, args[0], ret, doc, name.location)

    def _void_or_type(self) -> Value | None:
        return None if self._accept("void") else self._type(None)


class _Scope(NamedTuple):
    """Where a type is declared on the spot: in which type (empty: in a typedef), and with which comment."""

    outer: str
    doc: Comment | None
