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

from typing import NoReturn

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.lexer import END, MARK, NAME, NUMBER, Comment, Token, tokenize
from remotevirt.rpcgen.model import Kind, Location
from remotevirt.rpcgen.syntax import (
    Definition,
    Document,
    SyntaxArm,
    SyntaxBound,
    SyntaxConstant,
    SyntaxDeclaration,
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
"""Words that name nothing. ``program`` and ``version`` are no such words: RFC 4506 allows fields of that name,
and they can only be meant where a program or a version may stand."""


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
        self._definitions: list[Definition] = []
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
            raise RpcgenError(f"expected {what}, but {self._next} is a word of the language", self._next.location)
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
        if self._next.text in _COMPOUND and self._next.kind == NAME:
            keyword = self._next.text
            at = self._tokens[self._index + 1 :]
            if at and (at[0].text in {"{", "switch"}):  # typedef struct { ... } name; is struct name { ... };
                self._take()
                mark = len(self._definitions)
                self._body(keyword, "", doc, at[0].location)
                body = self._definitions.pop()
                assert not isinstance(body, SyntaxTypedef)
                declarator = self._declarator(body.name, at[0].location, self._file)
                del mark
        declaration = self._declaration("the name of the type")
        self._definitions.append(SyntaxTypedef(declaration, doc, declaration.location))
