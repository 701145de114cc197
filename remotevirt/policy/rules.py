"""One rule of a policy: whom it speaks of, and which objects.

Whether a condition is met by an object has three answers: yes, no, and None where that cannot be told,
because what it asks about is not known. An allowance needs a yes; for a denial, None is enough. So whatever
cannot be found out can only take rights away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any, Final

import attrs

from remotevirt.identity import Identity
from remotevirt.policy.permissions import Right
from remotevirt.xml.parse import text_of

__all__ = ["NAMELESS", "Condition", "Metadata", "Rule", "Thing", "Who", "glob"]

NAMELESS: Final = ""
"""The name of what has none (a network port). Only patterns like ``*`` match it."""

NAME_MAXIMUM: Final = 4096
"""Characters of a name that patterns are tried on: clients choose names of up to 4 MiB, and a policy may have
thousands of rules. libvirt's own drivers take 255 at most, as names become names of files."""

WITH_UUID: Final = frozenset({"domain", "network", "network_port", "nwfilter", "secret", "storage_pool"})
"""Objects that have a UUID."""

WITH_PARENT: Final = frozenset({"network_port", "storage_vol"})
"""Objects that belong to another one: ports to a network, volumes to a pool."""


def glob(pattern: str) -> Callable[[str], object]:
    """Return what matches a text with ``*``, ``?`` and ``[...]``, case and all."""
    return re.compile(translate(pattern)).match


class Thing:
    """What is known of an object that somebody wants to do something to.

    Attributes:
        kind: libvirt's name of the kind of object (``"storage_vol"``).
        name: None if it is not known, or too long for patterns to be tried on it.
        uuid: 16 bytes; None if it is not known, ``b""`` if it has none (yet).
        parent: the name of the pool or network that it is in; None if it is not known.
        metadata: of a domain: namespace URI -> element, or None if it has none. A URI that is missing is
            not known.
    """

    __slots__ = ("kind", "metadata", "name", "parent", "uuid")

    def __init__(
        self,
        kind: str,
        name: str | None = None,
        uuid: bytes | None = None,
        parent: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.name = None if name is not None and len(name) > NAME_MAXIMUM else name
        self.uuid = uuid
        self.parent = parent
        self.metadata: Mapping[str, Any] = metadata or {}

    def __repr__(self) -> str:
        return f"<Thing {self.kind} {self.name!r}>"


@attrs.frozen
class Metadata:
    """A condition on the metadata of a domain: an element of a namespace, and its text or an attribute.

    Attributes:
        uri: the namespace.
        values: patterns, one of which the text must match.
        attribute: whose text that is; None for the element's own, without white space at the ends.
        patterns: ``values``, compiled.
    """

    uri: str
    values: tuple[str, ...]
    attribute: str | None = None
    patterns: tuple[Callable[[str], object], ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "patterns", tuple(map(glob, self.values)))

    def met(self, thing: Thing) -> bool | None:
        """Tell whether a domain has it; None if that is not known."""
        if self.uri not in thing.metadata:
            return None
        element = thing.metadata[self.uri]
        if element is None:
            return False
        if self.attribute is None:
            text: str | None = text_of(element).strip()
        else:
            text = element.get(self.attribute)
        return text is not None and any(match(text) for match in self.patterns)


@attrs.frozen
class Condition:
    """Which objects a rule speaks of. What is None or empty does not matter.

    Attributes:
        drivers: schemes of connection URIs.
        names: patterns of names.
        uuids: of 16 bytes each.
        parents: patterns of the name of the pool or network that an object is in.
        metadata: of domains.
    """

    drivers: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    uuids: frozenset[bytes] = frozenset()
    parents: tuple[str, ...] = ()
    metadata: Metadata | None = None
    _names: tuple[Callable[[str], object], ...] = attrs.field(init=False, repr=False, eq=False)
    _parents: tuple[Callable[[str], object], ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(map(glob, self.names)))
        object.__setattr__(self, "_parents", tuple(map(glob, self.parents)))

    @property
    def always(self) -> bool:
        """Whether every object of a driver meets it."""
        return not (self.names or self.uuids or self.parents or self.metadata)

    def concerns(self, kind: str) -> bool:
        """Whether objects of a kind have what it asks about. The connection has no name, and so on."""
        if kind == "connect":
            return self.always
        return not (
            (self.uuids and kind not in WITH_UUID)
            or (self.parents and kind not in WITH_PARENT)
            or (self.metadata and kind != "domain")
        )

    def met(self, thing: Thing) -> bool | None:
        """Tell whether an object meets it; None if that is not known."""
        answer: bool | None = True
        if self._names:
            if thing.name is None:
                answer = None
            elif not any(match(thing.name) for match in self._names):
                return False
        if self.uuids:
            if thing.uuid is None:
                answer = None
            elif thing.uuid not in self.uuids:
                return False
        if self._parents:
            if thing.parent is None:
                answer = None
            elif not any(match(thing.parent) for match in self._parents):
                return False
        if self.metadata is not None:
            found = self.metadata.met(thing)
            if found is False:
                return False
            answer = answer and found
        return answer


@attrs.frozen
class Who:
    """One way to name clients.

    Attributes:
        text: as it stands in the file: ``uid:root``, ``dn:*,O=Example,*``, ``*``.
        kind: ``"uid"``, ``"gid"``, ``"dn"``, ``"sasl"``, ``"transport"`` or ``"*"``.
        number: of ``uid`` and ``gid``.
        pattern: of the others.
    """

    text: str
    kind: str
    number: int = -1
    pattern: Callable[[str], object] = attrs.field(default=glob("*"), repr=False, eq=False)

    def means(self, identity: Identity, groups: frozenset[int]) -> bool:
        """Tell whether a client, which is in some UNIX groups, is one of them."""
        if self.kind == "*":
            return True
        if self.kind == "uid":
            return identity.uid == self.number
        if self.kind == "gid":
            return self.number in groups
        text: str | None = getattr(identity, self.kind)
        return text is not None and bool(self.pattern(text))


@attrs.frozen
class Rule:
    """One ``[[rule]]``.

    Attributes:
        number: counted from 1; line: where its ``allow`` or ``deny`` is, None if that could not be found.
        allow: whether it allows or denies.
        who, rights, on: whom what is allowed or denied on which objects.
        text: the rule in one line.
    """

    number: int
    line: int | None
    allow: bool
    who: tuple[Who, ...]
    rights: frozenset[Right]
    on: Condition
    text: str

    @property
    def place(self) -> str:
        """Where it is: ``line 12``."""
        return f"rule {self.number}" if self.line is None else f"line {self.line}"
