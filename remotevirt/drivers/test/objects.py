"""What the lists of networks, pools, interfaces and devices share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed

__all__ = ["MAX_LIST", "MAX_OBJECTS", "Named", "Table", "passes"]

MAX_OBJECTS: Final = 16384
"""Objects of one kind in a world: what the lists of the wire can carry. libvirt: no bound."""

MAX_LIST: Final = 16384
"""REMOTE_NETWORK_LIST_MAX and its likes for pools, interfaces and devices."""


class Named(Protocol):
    """Something in a table."""

    name: str


T = TypeVar("T", bound=Named)


class Table(Generic[T]):
    """The objects of one kind in a world, by name, in the order in which they came."""

    __slots__ = ("by_name", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.by_name: dict[str, T] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(self.by_name.values())

    def add(self, thing: T) -> None:
        """Take in an object.

        Raises:
            OperationFailed: its name is taken, or there is no room.
        """
        if thing.name in self.by_name:
            raise OperationFailed(f"{self.kind} '{thing.name}' already exists", domain=c.VIR_FROM_TEST)
        if len(self.by_name) >= MAX_OBJECTS:
            text = f"a test node holds at most {MAX_OBJECTS} objects of a kind"
            raise OperationFailed(text, domain=c.VIR_FROM_TEST)
        self.by_name[thing.name] = thing


def passes(flags: int, *facts: tuple[int, int, bool]) -> bool:
    """Return whether an object passes a filter.

    Args:
        flags: of the list call.
        facts: (flag if it is true, flag if it is not, whether it is) for each pair of alternatives.
    """
    return all(not flags & (yes | no) or bool(flags & (yes if fact else no)) for yes, no, fact in facts)
