r"""libvirtd.conf's grammar: from a file's text to keys and values, with the line of each.

::

    # a comment
    listen_tcp = 1
    listen_addr = "127.0.0.1"
    tls_allowed_dn_list = [ "C=GB,*", "C=IE,*" ]

A value is a string in double or single quotes, a number, or a list of these. There are no escapes: a string
ends at the next quote of its kind, on the same line, or at ``\"\"\"`` if it began with that. A list
may go on over several lines. (libvirtd 9.0.0, measured, reads it so too, except for comments within a list.)

A key given twice is an error with its line, where libvirtd reads on.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import attrs

from remotevirt.errors import RemotevirtError

__all__ = ["MAX_NUMBER", "ConfigError", "Setting", "Value", "parse"]

Value: TypeAlias = "str | int | list[str | int]"

MAX_NUMBER = 2**31 - 1
"""libvirtd's numbers are C's int."""


class ConfigError(RemotevirtError, ValueError):
    """A configuration file that cannot be used; its text is one line with file and line number."""


@attrs.frozen
class Setting:
    """A value and the line it begins on, counted from 1."""

    value: Value
    line: int


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+ | \#[^\n]*)
  | (?P<newline>\n)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>-?[0-9]+)
  | (?P<long>\"\"\".*?\"\"\")
  | (?P<string>"[^"\n]*" | '[^'\n]*')
  | (?P<mark>[=\[\],])
    """,
    re.VERBOSE | re.DOTALL,
)


class _Reader:
    """Tokens of a file, one ahead, with the line each is on."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.text = text
        self.position = 0
        self.line = 1
        self.kind = ""
        self.token = ""
        self.token_line = 1
        self.advance()

    def error(self, what: str, line: int | None = None) -> ConfigError:
        return ConfigError(f"{self.name}:{self.token_line if line is None else line}: {what}")

    def advance(self) -> None:
        """Move to the next token that is not space; ``end`` after the last."""
        while True:
            self.token_line = self.line
            if self.position == len(self.text):
                self.kind, self.token = "end", ""
                return
            found = _TOKEN.match(self.text, self.position)
            if found is None:
                char = self.text[self.position]
                what = "the string is not closed" if char in "\"'" else f"unexpected {char!r}"
                raise self.error(what)
            self.position = found.end()
            self.kind, self.token = str(found.lastgroup), found[0]
            self.line += self.token.count("\n")
            if self.kind != "space":
                return

    def skip_newlines(self) -> None:
        while self.kind == "newline":
            self.advance()

    def scalar(self) -> str | int:
        """Read a string or a number."""
        kind, token = self.kind, self.token
        if kind not in ("number", "string", "long"):
            raise self.error(f"a value is wanted, not {_show(kind, token)}")
        value: str | int
        if kind == "number":
            value = int(token) if len(token) < 20 else MAX_NUMBER + 1
            if abs(value) > MAX_NUMBER:
                raise self.error(f"the number {token[:20]} is out of range")
        else:
            value = token[3:-3] if kind == "long" else token[1:-1]
        self.advance()
        return value

    def value(self) -> Value:
        """Read a string, a number, or a list of them."""
        if self.token != "[":
            return self.scalar()
        line = self.token_line
        items: list[str | int] = []
        self.advance()
        self.skip_newlines()
        while self.token != "]":
            if self.kind == "end":
                raise self.error("the list is not closed", line)
            items.append(self.scalar())
            self.skip_newlines()
            if self.token == ",":
                self.advance()
                self.skip_newlines()
            elif self.kind == "end":
                raise self.error("the list is not closed", line)
            elif self.token != "]":
                raise self.error(f"',' or ']' is wanted, not {_show(self.kind, self.token)}")
        self.advance()
        return items


def parse(text: str, name: str = "<config>") -> dict[str, Setting]:
    """Read the grammar; the meaning of keys is :class:`Config`'s.

    Args:
        text: the file.
        name: what to call it in errors.

    Raises:
        ConfigError: with the line.
    """
    settings: dict[str, Setting] = {}
    reader = _Reader(text, name)
    reader.skip_newlines()
    while reader.kind != "end":
        key, line = reader.token, reader.token_line
        if reader.kind != "name":
            raise reader.error(f"a key is wanted, not {_show(reader.kind, key)}")
        if key in settings:
            raise reader.error(f"{key} is already set in line {settings[key].line}")
        reader.advance()
        if reader.token != "=":
            raise reader.error(f"'=' is wanted after {key}")
        reader.advance()
        settings[key] = Setting(reader.value(), line)
        if reader.kind not in ("newline", "end"):
            raise reader.error(f"the end of the line is wanted, not {_show(reader.kind, reader.token)}")
        reader.skip_newlines()
    return settings


def _show(kind: str, token: str) -> str:
    return {"newline": "the end of the line", "end": "the end of the file"}.get(kind, repr(token[:40]))
