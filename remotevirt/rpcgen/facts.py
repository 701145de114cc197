"""From fact tables to Python: constants, enumerations, errors, typed parameters and access permissions.

Beside the procedures, libvirt has public numbers and names that are not in any contract: they stand in its C
headers. We keep them as data in ``remotevirt/protocol/constants.json`` and ``errors.json``, one fact a line,
so that a new libvirt release is a small diff there; this module turns them into Python text:

=================  ==========================================================================================
``constants.py``   every number and string as a plain module-level name: what drivers compare and send
``enums.py``       the same numbers as ``IntEnum`` and ``IntFlag``, for people: logs, tools, tests
``errors.py``      one exception class per error code
``params.py``      which type libvirt gives a typed parameter of a given name
``access.py``      objects of the access control and the permissions on each
=================  ==========================================================================================

Shape of the tables. A *fact* is ``{"value": 1, "since": "0.0.1"}``, or ``{"alias": "OTHER_NAME", ...}`` where
the header defines it by another name; a string that names a typed parameter adds ``"type"``, an error code
its texts, an error domain its label. An enumeration has a ``kind``: ``flags`` are combined with ``|``,
``values`` exclude each other. Its ``sentinel`` is the ``_LAST`` member, which grows with the releases: a
constant for bounds checks, but no member of the Python enum. ``private_enums`` are not in the headers, but
seen on the wire.

:func:`generate` is a pure function of the tables; it writes nothing.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["NOTE", "Tables", "enum_class_name", "error_class_name", "generate", "load"]

NOTE = "# Generated from the fact tables in remotevirt/protocol by `make generate`: do not edit.\n"

Facts = Mapping[str, Any]

BUILTIN_CLASHES = {"SystemError": "VirSystemError"}
"""Error classes that would hide a builtin exception, and what they are called instead."""

RENAMED_ENUMS = {"virDrvFeature": "DriverFeature"}
"""Enumerations that are not public in C: ours to name."""


class Tables(NamedTuple):
    """The parsed fact tables.

    Attributes:
        constants: ``constants.json``: integers, enums, private_enums, strings, access_permissions.
        errors: ``errors.json``: enums, of codes, domains and levels.
    """

    constants: Facts
    errors: Facts

    def enumerations(self) -> Iterator[tuple[str, Facts]]:
        """Every enumeration and what is known of it, those of the errors last."""
        for enums in (self.constants["enums"], self.constants["private_enums"], self.errors["enums"]):
            yield from enums.items()


def load() -> Tables:
    """Read the tables that come with the package."""
    folder = resources.files("remotevirt").joinpath("protocol")
    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in ("constants.json", "errors.json")]
    return Tables(*map(json.loads, texts))


def enum_class_name(enum: str) -> str:
    """The Python class of a C enumeration: ``virDomainState`` -> ``DomainState``."""
    return RENAMED_ENUMS.get(enum) or enum.removeprefix("vir")


def error_class_name(code: str) -> str:
    """The class of an error code: ``VIR_ERR_NO_DOMAIN`` -> ``NoDomain``.

    The six ``VIR_WAR_`` codes keep that word (``WarNoNode``): ``NoNetwork`` and others would be taken twice.
    """
    words = code.removeprefix("VIR_").removeprefix("ERR_").split("_")
    name = "".join(word.capitalize() for word in words)
    return BUILTIN_CLASHES.get(name, name)


def generate(tables: Tables | None = None) -> dict[str, str]:
    """Make the text of every module.

    Args:
        tables: the facts; None for those that come with the package.

    Returns:
        File name (in ``remotevirt/stubs``) -> text.

    Raises:
        ValueError: a name is given twice, a class name would be, or a parameter has two types.
        KeyError: an alias names something that is not defined before it.
    """
    tables = tables or load()
    return {
        "constants.py": _constants_module(tables),
        "enums.py": _enums_module(tables),
        "errors.py": _errors_module(tables),
        "params.py": _params_module(tables),
        "access.py": _access_module(tables),
    }


def _module(docstring: str, body: list[str]) -> str:
    return NOTE + f'"""{docstring}"""\n\nfrom __future__ import annotations\n\n' + "\n".join(body) + "\n"


def _string(text: str) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _literal(value: int | str) -> str:
    return _string(value) if isinstance(value, str) else str(value)


# -- constants ----------------------------------------------------------------------------------------------


class _Names:
    """Prints constants, and knows which are printed already: an alias may only look back."""

    def __init__(self) -> None:
        self.values: dict[str, int | str] = {}

    def line(self, name: str, fact: Facts) -> str:
        if name in self.values:
            raise ValueError(f"{name} is in the tables twice")
        if "alias" in fact:
            self.values[name] = self.values[fact["alias"]]
            value = fact["alias"]
        else:
            self.values[name] = fact["value"]
            value = _literal(fact["value"])
        since = f"  # {fact['since']}" if "since" in fact else ""
        return f"{name}: Final = {value}{since}"


def _constants_module(tables: Tables) -> str:
    names = _Names()
    body = ["from typing import Final", ""]
    late = []  # numbers given by the name of an enumeration's member
    body.append("# Numbers of their own")
    for name, fact in tables.constants["integers"].items():
        if "alias" in fact and fact["alias"] not in names.values:
            late.append((name, fact))
        else:
            body.append(names.line(name, fact))
    for enum, table in tables.enumerations():
        body += ["", f"# {enum}"]
        body += [names.line(name, fact) for name, fact in table["members"].items()]
        if "sentinel" in table:
            body.append(names.line(table["sentinel"]["name"], table["sentinel"]))
    if late:
        body += ["", "# Other names of members above"]
        body += [names.line(name, fact) for name, fact in late]
    family = ""
    for name, fact in tables.constants["strings"].items():
        if _family(name) != family:
            family = _family(name)
            body += ["", f"# {family}_*"]
        body.append(names.line(name, fact))
    docstring = (
        f"libvirt's public constants, as of {tables.constants['source']['version']}.\n\n"
        "Names and values are those of the C headers; the comment behind a value is the libvirt release\n"
        "that brought it. A ``_LAST`` name is the number of values known here, for bounds checks. The\n"
        "strings at the end are names of typed parameters, or parts of such names.\n"
    )
    return _module(docstring, body)


def _family(name: str) -> str:
    """What the names of a group of strings begin with: ``VIR_DOMAIN_SCHEDULER``, ``VIR_MIGRATE_PARAM``."""
    return "_".join(name.split("_")[:3])


# -- enumerations -------------------------------------------------------------------------------------------


def _enums_module(tables: Tables) -> str:
    values: dict[str, int] = {}
    classes: dict[str, list[str]] = {}
    for enum, table in tables.enumerations():
        name = enum_class_name(enum)
        if name in classes or not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"{enum} gives no class name of its own: {name}")
        base, noun = ("IntFlag", "Bits") if table["kind"] == "flags" else ("IntEnum", "Values")
        lines = ["", "", f"class {name}({base}):", f'    """{noun} of {enum}."""', ""]
        for member, fact in table["members"].items():
            values[member] = values[fact["alias"]] if "alias" in fact else fact["value"]
            lines.append(f"    {member} = {values[member]}")
        classes[name] = lines
    body = ["from enum import IntEnum, IntFlag", "", "__all__ = ["]
    body += [f'    "{name}",' for name in sorted(classes)]
    body += ["]"]
    for lines in classes.values():
        body += lines
    docstring = (
        "libvirt's public enumerations as Python enums.\n\n"
        "``DomainState(1).name`` is ``VIR_DOMAIN_RUNNING``. Values that exclude each other are ``IntEnum``,\n"
        "bits that are combined ``IntFlag``; equal values within one class are aliases. This module is for\n"
        "people (logs, tools, tests): code on the way of a message uses the plain numbers of\n"
        ":mod:`remotevirt.stubs.constants`, which are quicker to import and to compare.\n"
    )
    return _module(docstring, body)


# -- errors -------------------------------------------------------------------------------------------------


def _errors_module(tables: Tables) -> str:
    enums = tables.errors["enums"]
    codes = {name: fact for name, fact in enums["virErrorNumber"]["members"].items() if fact["value"]}
    classes = {error_class_name(name): name for name in codes}
    if len(classes) != len(codes):
        raise ValueError("two error codes want the same class name")
    body = ["from typing import Final", "", "from remotevirt.errors import VirError", "", "__all__ = ["]
    body += [f'    "{name}",' for name in sorted([*classes, "DOMAIN_LABELS", "ERRORS", "error_class"])]
    body += ["]"]
    for name, code in classes.items():
        fact = codes[code]
        plain, detail = fact["plain"], fact["detail"] or fact["plain"]
        body += [
            "",
            "",
            f"class {name}(VirError):",
            f'    """{code}, number {fact["value"]}, since libvirt {fact["since"]}."""',
            "",
            f"    code = {fact['value']}",
            f"    plain = {_string(plain)}",
            f"    format = {_string(detail)}",
        ]
    body += ["", "", "ERRORS: Final[dict[int, type[VirError]]] = {"]
    body += [f"    {codes[code]['value']}: {name}," for name, code in classes.items()]
    body += ["}", '"""Error code -> its class."""', ""]
    body += ["DOMAIN_LABELS: Final[dict[int, str]] = {"]
    for name, fact in enums["virErrorDomain"]["members"].items():
        body.append(f"    {fact['value']}: {_string(fact['label'])},  # {name}")
    body += ["}", '"""Error domain -> how libvirt calls that part of itself in logs."""', "", ""]
    body += [
        "def error_class(code: int) -> type[VirError]:",
        '    """The class of an error code; :class:`VirError` for a code that this table does not know."""',
        "    return ERRORS.get(code, VirError)",
    ]
    docstring = (
        "One exception class for each of libvirt's error codes.\n\n"
        "``plain`` is the text of an error without detail, ``format`` the one that a detail is filled into.\n"
        "See :class:`remotevirt.errors.VirError` for the arguments. ``VIR_ERR_OK`` is no error and has no\n"
        "class.\n"
    )
    return _module(docstring, body)


# -- typed parameters ---------------------------------------------------------------------------------------


def _params_module(tables: Tables) -> str:
    whole: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    types: dict[str, str] = {}
    for name, fact in tables.constants["strings"].items():
        if "type" not in fact:
            continue
        value = fact["value"]
        if types.setdefault(value, fact["type"]) != fact["type"]:
            raise ValueError(f"{name}: typed parameter {value!r} has two types")
        table = suffixes if "_SUFFIX_" in name else whole
        if value not in (tables.constants["strings"][other]["value"] for other in table):
            table[name] = fact["type"]
    body = ["from typing import Final", "", "from remotevirt.stubs import constants as vir", ""]
    body += ["TYPED_PARAM_TYPES: Final[dict[str, int]] = {"]
    body += [f"    vir.{name}: vir.VIR_TYPED_PARAM_{kind}," for name, kind in whole.items()]
    body += ["}", '"""Name of a typed parameter -> VIR_TYPED_PARAM_*."""', ""]
    body += ["TYPED_PARAM_SUFFIX_TYPES: Final[dict[str, int]] = {"]
    body += [f"    vir.{name}: vir.VIR_TYPED_PARAM_{kind}," for name, kind in suffixes.items()]
    body += ["}", '"""Last part of a numbered name (``.state`` of ``vcpu.0.state``) -> VIR_TYPED_PARAM_*."""']
    docstring = (
        "The types that libvirt gives its typed parameters.\n\n"
        "A name has the same type in every call. One that several macros share stands here once.\n"
    )
    return _module(docstring, body)


# -- access control -----------------------------------------------------------------------------------------


def _access_module(tables: Tables) -> str:
    body = ["from typing import Final", "", "ACCESS_PERMISSIONS: Final[dict[str, tuple[str, ...]]] = {"]
    for name, permissions in tables.constants["access_permissions"].items():
        body.append(f"    {_string(name)}: (")
        body += [f"        {_string(permission)}," for permission in permissions]
        body.append("    ),")
    body += ["}", '"""Object of the access control -> its permissions, in libvirt\'s order."""']
    docstring = (
        "The objects that libvirt's access control knows, and the permissions on each.\n\n"
        "A procedure's ``@acl`` names pairs of these; the polkit action of a pair is\n"
        "``org.libvirt.api.<object>.<permission>`` with dashes for underscores.\n"
    )
    return _module(docstring, body)
