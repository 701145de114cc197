"""Keeping the objects of a table: what a journal asks about them, and how one becomes what it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from remotevirt.drivers.journal import Journal
from remotevirt.drivers.tables import Table

__all__ = ["TableKeeper", "in_order", "slots_of"]


def slots_of(thing: object) -> Iterator[str]:
    """Tell the slots of an object, those of its base classes too."""
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def in_order(things: dict[Any, Any]) -> None:
    """Put objects that can be found into the order in which they came."""
    sorted_things = sorted(things.items(), key=lambda item: item[1].position)
    things.clear()
    things.update(sorted_things)


class TableKeeper(ABC):
    """Keeps the objects of a table."""

    ROW: type[Any]

    def __init__(self, table: Table[Any], journal: Journal) -> None:
        self.table = table
        self.journal = journal

    def touch(self, thing: Any) -> None:
        """Note an object that is about to change, to come or to go."""
        if not self.journal.knows(thing):
            self.journal.note(self, thing, self.essence(thing), self._remember(thing))

    def is_there(self, thing: Any) -> bool:
        """Return whether an object is in the table."""
        return self.table.by_name.get(thing.name) is thing

    def _remember(self, thing: Any) -> Callable[[], None]:
        table, there = self.table, self.is_there(thing)
        restore, restore_table = self.remember(thing), table.remember()

        def undo() -> None:
            is_there = self.is_there(thing)
            if is_there and not there:
                table.unindex(thing)
            restore()
            if there and not is_there:
                table.index(thing)
                in_order(table.by_name)
            restore_table()

        return undo

    def remember(self, thing: Any) -> Callable[[], None]:
        """Return what makes an object as it is now."""
        values = [(name, getattr(thing, name)) for name in slots_of(thing)]

        def restore() -> None:
            for name, value in values:
                setattr(thing, name, value)

        return restore

    def key(self, thing: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of an object's row."""
        return self.ROW, (thing.name,)

    def essence(self, thing: Any) -> tuple[Any, ...] | None:
        """Return what lasts of an object."""
        return (thing.model,) if self.is_there(thing) else None

    @abstractmethod
    def row(self, thing: Any) -> Any:
        """Return an object's row."""

    def parts(self, thing: Any) -> list[Any]:
        """Return the rows of what an object owns: nothing."""
        return []
