"""The typed model of a contract: what the parser yields and the emitters read.

A :class:`Contract` is a set of definitions (constants, typedefs, enums, structs, unions) in the order in
which they were declared, and the programs that use them. It knows nothing of the text it came from
except each definition's :class:`Location`, which errors name.

Names are kept exactly as the contract spells them; how they look in Python is the emitter's business.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

PRIMITIVES = frozenset(
    {
        "int",
        "unsigned int",
        "hyper",
        "unsigned hyper",
        "float",
        "double",
        "bool",
        "char",
        "unsigned char",
        "short",
        "unsigned short",
        "string",
        "opaque",
        "void",
    }
)
"""Types of RFC 4506 in canonical spelling, and the four narrow C types that libvirt's contracts use
(each takes 4 bytes on the wire)."""


@attrs.frozen
class Location:
    """Where a definition was read: file name, and line and column counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Kind(enum.Enum):
    """The forms of a declaration (RFC 4506, section 6.3)."""

    SCALAR = "scalar"  # T name
    FIXED_ARRAY = "fixed_array"  # T name[n]
    VARIABLE_ARRAY = "variable_array"  # T name<n>
    OPTIONAL = "optional"  # T *name
    STRING = "string"  # string name<n>
    OPAQUE = "opaque"  # opaque name<n>
    OPAQUE_FIXED = "opaque_fixed"  # opaque name[n]


@attrs.frozen
class Bound:
    """A size or a maximum: the constant that names it, if one does, and its value.

    ``value`` is None for ``<>``, which RFC 4506 reads as 2**32 - 1.
    """

    name: str | None
    value: int | None


@attrs.frozen
class Declaration:
    """One named value: a field of a struct, an arm of a union, the subject of a typedef."""

    name: str
    type: str
    kind: Kind = Kind.SCALAR
    bound: Bound | None = None


@attrs.frozen
class Constant:
    """``const NAME = value;``. ``literal`` is its spelling: a number (``0x20008086``) or another name."""

    name: str
    value: int
    literal: str | None = None
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Typedef:
    """``typedef declaration;``"""

    declaration: Declaration
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)

    @property
    def name(self) -> str:
        return self.declaration.name


@attrs.frozen
class Enum:
    """``enum name { member = value, ... };`` with every value resolved."""

    name: str
    members: Mapping[str, int]
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Struct:
    """``struct name { field; ... };``"""

    name: str
    fields: tuple[Declaration, ...]
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Case:
    """One label of a union's arm: the constant or enum member that names it, if one does, and its value."""

    name: str | None
    value: int


@attrs.frozen
class Arm:
    """The labels that select an arm, and what it holds (None for ``void``)."""

    cases: tuple[Case, ...]
    field: Declaration | None


@attrs.frozen
class Union:
    """``union name switch (type discriminant) { case ...: ...; default: ...; };``

    ``has_default`` tells ``default: void`` (default is None) from no default at all.
    """

    name: str
    discriminant: Declaration
    arms: tuple[Arm, ...]
    has_default: bool = False
    default: Declaration | None = None
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)


Definition = Constant | Typedef | Enum | Struct | Union


@attrs.frozen
class FlagsCondition:
    """An access check that counts only if all bits of ``flags`` (names joined by ``|``) are set, or, if
    ``negated``, only if none of them is."""

    flags: tuple[str, ...]
    negated: bool = False


@attrs.frozen
class ParamCondition:
    """An access check that counts only if the argument ``param`` equals the constant ``value``."""

    param: str
    value: str


@attrs.frozen
class Permission:
    """One access check: libvirt's object and permission names, and when it applies (None: always)."""

    object: str
    permission: str
    condition: FlagsCondition | ParamCondition | None = None


@attrs.frozen
class Procedure:
    """One procedure of a program.

    Attributes:
        number: its number on the wire.
        constant: its name in the contract (``REMOTE_PROC_DOMAIN_GET_INFO``).
        name: the same in lower case without the program's prefix (``domain_get_info``).
        args, ret: the struct names of argument and result, None for void. An event's message is its
            ``args`` (it is what the server sends).
        event: sent by the server without a call.
        priority: ``"high"`` or ``"low"``.
        acl: every entry must be allowed; None if the program has no access checks.
        aclfilter: items of a returned list that fail one are left out.
        readstream, writestream: position of the stream in libvirt's C call, 0 if there is none.
        sparseflag: the flag that makes the stream sparse.
        fds: which messages carry descriptors: ``"call"``, ``"reply"``, ``"call_and_reply"`` or None.
        pre_auth: served before authentication.
        daemon: answered by the daemon itself and not by a driver.
        api: libvirt's public function (``virDomainGetInfo``), None where it has none.
        since: libvirt's first version with it.
    """

    number: int
    constant: str
    name: str
    args: str | None = None
    ret: str | None = None
    event: bool = False
    priority: str = "low"
    acl: tuple[Permission, ...] | None = None
    aclfilter: tuple[Permission, ...] = ()
    readstream: int = 0
    writestream: int = 0
    sparseflag: str | None = None
    fds: str | None = None
    pre_auth: bool = False
    daemon: bool = False
    api: str | None = None
    since: str | None = None
    comment: str = ""
    location: Location | None = attrs.field(default=None, eq=False)

    @property
    def fds_in(self) -> bool:
        """Whether the call carries descriptors."""
        return self.fds in ("call", "call_and_reply")

    @property
    def fds_out(self) -> bool:
        """Whether the reply carries descriptors."""
        return self.fds in ("reply", "call_and_reply")

    @property
    def opens_stream(self) -> bool:
        """Whether the call opens a stream."""
        return bool(self.readstream or self.writestream)


@attrs.frozen
class Program:
    """A program and one version of it.

    Attributes:
        name: lower-case short name (``remote``): the prefix of its procedures' constants.
        constant, number: ``REMOTE_PROGRAM`` and 0x20008086.
        version_constant, version: ``REMOTE_PROTOCOL_VERSION`` and 1.
        procedures: in order of their numbers.
    """

    name: str
    constant: str
    number: int
    version_constant: str
    version: int
    procedures: tuple[Procedure, ...]
    location: Location | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Contract:
    """A set of definitions in order of declaration, and the programs that use them."""

    definitions: tuple[Definition, ...]
    programs: tuple[Program, ...] = ()
    _index: Mapping[str, Definition] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_index", {definition.name: definition for definition in self.definitions})

    def __getitem__(self, name: str) -> Definition:
        return self._index[name]

    def get(self, name: str) -> Definition | None:
        return self._index.get(name)

    @property
    def constants(self) -> tuple[Constant, ...]:
        return tuple(d for d in self.definitions if isinstance(d, Constant))

    @property
    def typedefs(self) -> tuple[Typedef, ...]:
        return tuple(d for d in self.definitions if isinstance(d, Typedef))

    @property
    def enums(self) -> tuple[Enum, ...]:
        return tuple(d for d in self.definitions if isinstance(d, Enum))

    @property
    def structs(self) -> tuple[Struct, ...]:
        return tuple(d for d in self.definitions if isinstance(d, Struct))

    @property
    def unions(self) -> tuple[Union, ...]:
        return tuple(d for d in self.definitions if isinstance(d, Union))
