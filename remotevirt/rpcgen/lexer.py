"""From text to tokens.

Tokens are names, numbers and punctuation. Beside them the text holds

* comments: ``/* ... */``. One that opens with ``/**`` is a *doc comment*: it belongs to the token that
  follows it, where the parser finds its text and annotations;
* lines that open with ``%``, which rpcgen copies into its C output: they are kept apart, because libvirt's
  contracts name there (``%#include``) the files whose types they use;
* lines that open with ``#`` (what the C preprocessor leaves behind), and blanks: these are skipped.

Every token knows its line and column, counted from 1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Location

__all__ = ["END", "MARK", "MAX_DIGITS", "NAME", "NUMBER", "Comment", "Text", "Token", "tokenize"]

NAME = "name"
NUMBER = "number"
MARK = "mark"
END = "end"

MAX_DIGITS = 30
"""A longer number cannot be meant: the widest value of XDR takes 20 digits, or 22 in octal."""

_PATTERN = re.compile(
    r"""
      (?P<blank>   [ \t\r\f\v]+ )
    | (?P<newline> \n )
    | (?P<comment> /\*.*?\*/ )
    | (?P<name>    [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number>  -?[0-9][A-Za-z0-9_]* )
    | (?P<mark>    [{}()\[\]<>;,:=*] )
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class Comment(NamedTuple):
    """A comment as written, its marks included, and where it starts."""

    text: str
    location: Location


class Token(NamedTuple):
    """One word of a contract.

    Attributes:
        kind: :data:`NAME`, :data:`NUMBER`, :data:`MARK`, or :data:`END` after the last one.
        text: as written; empty for the end.
        location: of its first character.
        doc: the last doc comment between the previous token and this one.
        trailer: the last comment of any form on the same line behind this token, in front of the next.
    """

    kind: str
    text: str
    location: Location
    doc: Comment | None = None
    trailer: str = ""

    def __str__(self) -> str:
        return "the end of the file" if self.kind == END else repr(self.text)


class Text(NamedTuple):
    """A contract cut into tokens.

    Attributes:
        file: its name, as errors show it.
        tokens: in order; the last is the end mark.
        passthrough: the lines that open with ``%``, without it.
    """

    file: str
    tokens: tuple[Token, ...]
    passthrough: tuple[str, ...]


def tokenize(text: str, file: str) -> Text:
    """Cut ``text`` into tokens.

    Args:
        text: the contract.
        file: its name, for locations.

    Raises:
        RpcgenError: a character, number or comment that XDR does not know.
    """
    tokens: list[Token] = []
    passthrough: list[str] = []
    doc: Comment | None = None
    line, start, position = 1, 0, 0  # start: where the line begins
    fresh = True  # nothing but blanks on this line so far
    while position < len(text):
        if (fresh and text[position] == "#") or (position == start and text[position] == "%"):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            if text[position] == "%":
                passthrough.append(text[position + 1 : end].rstrip())
            position = end
            continue
        match = _PATTERN.match(text, position)
        location = Location(file, line, position - start + 1)
        if match is None:
            if text.startswith("/*", position):
                raise RpcgenError("this comment has no end", location)
            raise RpcgenError(f"unexpected character {text[position]!a}", location)
        kind, word = match.lastgroup, match.group()
        position = match.end()
        if kind == "newline":
            line, start, fresh = line + 1, position, True
        elif kind == "comment":
            if word.startswith("/**") and word != "/**/":
                doc = Comment(word, location)
            if tokens and tokens[-1].location.line == line:
                tokens[-1] = tokens[-1]._replace(trailer=word)
            if "\n" in word:
                line += word.count("\n")
                start = match.start() + word.rindex("\n") + 1
        elif kind != "blank":
            fresh = False
            if kind == "number":
                _check_number(word, location)
            tokens.append(Token(str(kind), word, location, doc))
            doc = None
    tokens.append(Token(END, "", Location(file, line, position - start + 1)))
    return Text(file, tuple(tokens), tuple(passthrough))


def _check_number(word: str, location: Location) -> None:
    shown = word if len(word) <= MAX_DIGITS else word[:MAX_DIGITS] + "..."
    if _NUMBER.fullmatch(word) is None:
        raise RpcgenError(f"{shown!r} is not a number: write 31, 0x1f or 037", location)
    if len(word) > MAX_DIGITS:
        raise RpcgenError(f"the number {shown} is too large", location)
