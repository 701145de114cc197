r"""The grammar that endpoints and drivers are named in: ``name:word:key=value``.

It is the grammar of Twisted's endpoint strings, so that one rule of quoting serves the whole command line::

    unix:/run/vm.sock:mode=770      name "unix", words ("/run/vm.sock",), options {"mode": "770"}
    test:keep:files=/srv/nodes      name "test", words ("keep",), options {"files": "/srv/nodes"}
    tcp:16509:interface=\:\:1       a backslash takes the next character literally

Only the first ``=`` of a field divides it. What Twisted lets pass and a user would rather hear of is refused
here: an empty name, an option given twice, a backslash at the very end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from remotevirt.errors import RemotevirtError

__all__ = ["MAX_PORT", "Description", "DescriptionError", "fields", "number", "quote"]

ESCAPE = "\\"
MAX_PORT = 65535


class DescriptionError(RemotevirtError, ValueError):
    """A description that names nothing we can make; its text is one line, for the person who wrote it."""


@attrs.frozen
class Description:
    """One parsed description.

    Args:
        text: as the user wrote it, for messages.
        name: the first field.
        words: the other fields that hold no ``=``, in order.
        options: the fields that do.
    """

    text: str
    name: str
    words: Sequence[str] = ()
    options: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def parse(cls, text: str) -> Description:
        """Read one description.

        Raises:
            DescriptionError: it has no name, an option twice, or ends in the middle of a quotation.
        """
        words: list[str] = []
        options: dict[str, str] = {}
        for key, value in fields(text):
            if value is None:
                words.append(key)
            elif key in options:
                raise DescriptionError(f"{text!r}: {key}= is given twice")
            else:
                options[key] = value
        if not words or not words[0]:
            raise DescriptionError(f"{text!r}: a name must come first")
        return cls(text, words[0], tuple(words[1:]), options)


def number(what: str, text: str, highest: int) -> int:
    """Read a number of a description.

    Raises:
        DescriptionError: it is none, or larger than `highest`.
    """
    if not text.isascii() or not text.isdecimal() or int(text) > highest:
        raise DescriptionError(f"{what}: a number from 0 to {highest} is wanted, not {text!r}")
    return int(text)


def quote(text: str) -> str:
    """Write `text` so that, inside a description, it stands for itself: paths and IPv6 addresses need it."""
    return "".join(ESCAPE + char if char in "\\:=" else char for char in text)


def fields(text: str) -> list[tuple[str, str | None]]:
    """Return the fields of a description in order: (word, None) or (key, value).

    Raises:
        DescriptionError: it ends in the middle of a quotation.
    """
    found: list[tuple[str, str | None]] = []
    key: str | None = None
    current = ""
    chars = iter(text)
    for char in chars:
        if char == ESCAPE:
            quoted = next(chars, None)
            if quoted is None:
                raise DescriptionError(f"{text!r}: ends in a backslash that quotes nothing")
            current += quoted
        elif char == ":":
            found.append((current, None) if key is None else (key, current))
            key, current = None, ""
        elif char == "=" and key is None:
            key, current = current, ""
        else:
            current += char
    found.append((current, None) if key is None else (key, current))
    return found
