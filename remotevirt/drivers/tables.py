"""What networks, pools, interfaces and devices share: the table that holds the objects of one kind.

::

    Table       <-- by_name (all, in the order in which they came)
    KeyedTable  <-- by_uuid as well

As for domains, lists are kept by filter until something changes that a list can show, and records hold
ready made references. A table is bounded: by the number of its objects, which is what a list reply can
carry, and by the characters of their definitions.

In a world that lasts (:mod:`remotevirt.drivers.journal`) an object is noted before it changes: tables do
it for those that come and go, and whoever changes one in place calls :meth:`Table.touch` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from remotevirt.drivers.faults import check_count
from remotevirt.stubs.errors import OperationFailed

__all__ = [
    "MAX_CACHED_LISTS",
    "MAX_LIST",
    "MAX_OBJECTS",
    "MAX_TEXT",
    "Keyed",
    "KeyedTable",
    "Named",
    "Table",
    "passes",
]

MAX_OBJECTS: Final = 16384
"""Objects of one kind in a world: what the lists of the wire can carry. libvirt: no bound."""

MAX_LIST: Final = 16384
"""REMOTE_NETWORK_LIST_MAX and its likes for pools, volumes, interfaces and devices."""

MAX_TEXT: Final = 64 * 1024 * 1024
"""Characters of the definitions of one kind of object, as they were defined. libvirt: none."""

MAX_CACHED_LISTS: Final = 32
"""Filter combinations whose list is kept. There are thousands of them; real clients use a few."""


class Named(Protocol):
    """Something in a table: its name, the characters that it counts for, and which one in order it is."""

    name: str
    size: int
    position: int


class Keyed(Named, Protocol):
    """Something that has a UUID too."""

    uuid: bytes


class Notes(Protocol):
    """Notes objects before they change."""

    def touch(self, thing: Any) -> None:
        """Note an object, new or old."""


T = TypeVar("T", bound=Named)
K = TypeVar("K", bound=Keyed)


class Table(Generic[T]):
    """The objects of one kind in a world.

    Attributes:
        kind: what they are called in errors.
        errors: which part of libvirt complains (virErrorDomain).
        by_name: all of them.
        lists: answers to list calls, by filter flags; dropped by every change.
        size: the characters of all definitions.
        positions: how many objects have come; each gets its number.
        keeper: notes changes in a world that lasts; None in one that does not.
    """

    __slots__ = ("by_name", "errors", "keeper", "kind", "lists", "positions", "size")

    def __init__(self, kind: str, errors: int) -> None:
        self.kind = kind
        self.errors = errors
        self.by_name: dict[str, T] = {}
        self.lists: dict[int, Any] = {}
        self.size = 0
        self.positions = 0
        self.keeper: Notes | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def add(self, thing: T) -> None:
        """Take in an object, whose name must be free.

        Raises:
            OperationFailed: the name is taken, or there is no room.
        """
        if thing.name in self.by_name:
            raise OperationFailed(f"{self.kind} '{thing.name}' already exists", domain=self.errors)
        if len(self.by_name) >= MAX_OBJECTS:
            text = f"a host holds at most {MAX_OBJECTS} objects of a kind"
            raise OperationFailed(text, domain=self.errors)
        self.touch(thing)
        self.grow(thing.size)
        self.positions += 1
        thing.position = self.positions
        self.index(thing)
        self.changed()

    def remove(self, thing: T) -> None:
        """Forget an object."""
        self.touch(thing)
        self.unindex(thing)
        self.size -= thing.size
        self.changed()

    def index(self, thing: T) -> None:
        """Let an object be found."""
        self.by_name[thing.name] = thing

    def unindex(self, thing: T) -> None:
        """Let an object be found no more."""
        del self.by_name[thing.name]

    def touch(self, thing: T) -> None:
        """Note that an object is about to change."""
        if self.keeper is not None:
            self.keeper.touch(thing)

    def remember(self) -> Callable[[], None]:
        """Return what makes the table's own numbers as they are now."""
        size = self.size

        def restore() -> None:
            self.size = size
            self.changed()

        return restore

    def grow(self, size: int) -> None:
        """Count characters of definitions that come in, or with a negative number go.

        Raises:
            OperationFailed: there is no room.
        """
        if size > 0 and self.size + size > MAX_TEXT:
            text = f"the definitions of a host's {self.kind}s may hold {MAX_TEXT} characters"
            raise OperationFailed(text, domain=self.errors)
        self.size += size

    def changed(self) -> None:
        """Note that lists may look different from now on."""
        self.lists.clear()

    def listing(self, flags: int, make: Callable[[int], Any]) -> Any:
        """Return the answer to a list call: the one that is kept, or a new one from ``make(flags)``."""
        found = self.lists.get(flags)
        if found is None:
            found = make(flags)
            if len(self.lists) >= MAX_CACHED_LISTS:
                self.lists.clear()
            self.lists[flags] = found
        return found

    def names(
        self, maxnames: int, limit: str, wanted: Callable[[T], bool], maximum: int = MAX_LIST
    ) -> Sequence[str]:
        """Return the names of some objects, at most ``maxnames``; ``limit`` is what libvirt calls the bound.

        Raises:
            Rpc: ``maxnames`` is negative or too large.
        """
        check_count(maxnames, maximum, "maxnames", limit)
        return [thing.name for thing in self.by_name.values() if wanted(thing)][:maxnames]

    def count(self, wanted: Callable[[T], bool]) -> int:
        """Return how many objects are wanted."""
        return sum(1 for thing in self.by_name.values() if wanted(thing))


class KeyedTable(Table[K]):
    """Objects that references find by UUID as well."""

    __slots__ = ("by_uuid",)

    def __init__(self, kind: str, errors: int) -> None:
        super().__init__(kind, errors)
        self.by_uuid: dict[bytes, K] = {}

    def index(self, thing: K) -> None:
        """Let an object be found."""
        super().index(thing)
        self.by_uuid[thing.uuid] = thing

    def unindex(self, thing: K) -> None:
        """Let an object be found no more."""
        super().unindex(thing)
        del self.by_uuid[thing.uuid]


def passes(flags: int, *facts: tuple[int, int, bool]) -> bool:
    """Return whether an object passes a filter.

    Args:
        flags: of the list call.
        facts: (flag if it is true, flag if it is not, whether it is) for each pair of alternatives.
    """
    return all(not flags & (yes | no) or bool(flags & (yes if fact else no)) for yes, no, fact in facts)
