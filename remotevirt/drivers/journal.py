"""What a call changes: kept as a whole before anybody hears of it, or undone as a whole.

::

    call ──> Journal.run ──> the method changes objects      each is noted before it changes
                        ──> rows of what changed ──> Store    one transaction, on the disk
                        ──> events go out, the reply goes out
             if that fails:  objects as they were, no events, an error

What runs through the journal is synchronous, so nobody can look in between: what one client sees of another's
call is on the disk. A call that changes nothing that lasts (a guest that is paused) writes nothing.

An object is noted by whoever holds the objects of its kind (:class:`Keeper`), before its first change in a
call. To change one outside of :meth:`Journal.run` is a mistake that is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol, TypeVar, cast

from remotevirt.drivers.documents import within
from remotevirt.drivers.events import EventHub
from remotevirt.errors import VirError
from remotevirt.procedures import Procedure
from remotevirt.store import Store, StoreError
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import StorageDriver
from remotevirt.stubs.errors import OperationFailed

__all__ = ["CHANGING", "Journal", "Keeper"]

D = TypeVar("D")

READING: Final = ("getattr", "read", "read_secure")
"""Permissions of calls that change nothing, besides those to search."""


def _changes_something(procedure: Procedure) -> bool:
    """Return whether a procedure may change an object, by the rights that it asks for."""
    return procedure.driver is not None and any(
        check.permission not in READING and not check.permission.startswith("search_")
        for check in procedure.acl or ()
    )


CHANGING: Final = frozenset(
    procedure.name for procedure in remote.PROGRAM.procedures.values() if _changes_something(procedure)
)
"""The procedures whose calls run through a journal."""


class Keeper(Protocol):
    """Knows what lasts of the objects of a kind."""

    def key(self, thing: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of an object's row."""

    def essence(self, thing: Any) -> tuple[Any, ...] | None:
        """Return what lasts of an object, to be compared; None if nothing does, or it is not there."""

    def row(self, thing: Any) -> Any:
        """Return an object's row."""

    def parts(self, thing: Any) -> list[Any]:
        """Return the rows of what an object owns."""


class Unit:
    """One call's changes."""

    __slots__ = ("noted", "tables", "undo")

    def __init__(self) -> None:
        self.noted: dict[int, tuple[Keeper, Any, tuple[Any, ...] | None]] = {}
        self.tables: dict[int, Callable[[], tuple[list[Any], list[Any]]]] = {}
        self.undo: list[Callable[[], None]] = []

    def rows(self) -> tuple[list[Any], list[Any]]:
        """Return the rows to put, and kinds and keys of those to drop."""
        puts: list[Any] = []
        drops: list[Any] = []
        for keeper, thing, before in self.noted.values():
            after = keeper.essence(thing)
            if after is None:
                if before is not None:
                    drops.append(keeper.key(thing))
            elif before is None:
                puts.append(keeper.row(thing))
                puts.extend(keeper.parts(thing))
            elif after != before:
                puts.append(keeper.row(thing))
        for changes in self.tables.values():
            more, gone = changes()
            puts.extend(more)
            drops.extend(gone)
        return puts, drops


class Journal:
    """The changes of a world that lasts.

    Attributes:
        store: where they are kept.
        errors: which part of libvirt complains (virErrorDomain).
        unit: those of the call that runs now, None between calls.
    """

    __slots__ = ("errors", "hub", "store", "unit")

    def __init__(self, store: Store, hub: EventHub, errors: int) -> None:
        self.errors = errors
        self.store = store
        self.hub = hub
        self.unit: Unit | None = None

    def note(
        self, keeper: Keeper, thing: Any, before: tuple[Any, ...] | None, undo: Callable[[], None]
    ) -> None:
        """Note an object that is about to change, once in a call (:meth:`knows`).

        Args:
            keeper: of its kind.
            thing: the object.
            before: what has lasted of it until now.
            undo: makes it as it is now.

        Raises:
            RuntimeError: no call runs.
        """
        unit = self._open()
        unit.noted[id(thing)] = keeper, thing, before
        unit.undo.append(undo)

    def note_table(
        self, table: Any, changes: Callable[[], tuple[list[Any], list[Any]]], undo: Callable[[], None]
    ) -> None:
        """Note a table inside an object: ``changes`` returns what to put and to drop.

        Raises:
            RuntimeError: no call runs.
        """
        unit = self._open()
        unit.tables[id(table)] = changes
        unit.undo.append(undo)

    def knows(self, thing: Any) -> bool:
        """Return whether an object was noted in this call."""
        unit = self.unit
        return unit is not None and (id(thing) in unit.noted or id(thing) in unit.tables)

    def _open(self) -> Unit:
        if self.unit is None:
            raise RuntimeError("a world that lasts was about to be changed outside of Journal.run")
        return self.unit

    def run(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method, and keep what it changes.

        What the method refuses (VirError) is refused, and what it changed before that is kept; any other
        exception is a bug, and nothing of what it did stays.

        Raises:
            OperationFailed: it could not be kept, and nothing has changed.
        """
        if self.unit is not None:
            return method(*args)
        unit = self.unit = Unit()
        self.hub.hold()
        try:
            try:
                result = method(*args)
            except VirError:
                self._keep(unit)
                raise
            self._keep(unit)
        except BaseException:
            # after _keep nothing is left to undo, and the events that it let through have gone out
            self._undo(unit)
            raise
        finally:
            self.unit = None
            self.hub.release()
        return result

    def _keep(self, unit: Unit) -> None:
        """Write what a call has changed; raises OperationFailed."""
        puts, drops = unit.rows()
        if puts or drops:
            try:
                self.store.write(puts, drops)
            except StoreError as error:
                raise OperationFailed(f"cannot keep this change: {error}", domain=self.errors) from error
        unit.undo.clear()

    def _undo(self, unit: Unit) -> None:
        """Make everything as it was; of the events nobody hears."""
        if not unit.undo:
            return
        for undo in reversed(unit.undo):
            undo()
        self.hub.drop()

    def guard(self, driver: D) -> D:
        """Let all methods of a sub-driver that may change something run through the journal; returns it."""
        for name in _own_methods(cast(Any, type(driver))):
            setattr(driver, name, within(self.run, getattr(driver, name)))
        return driver


@cache
def _own_methods(driver: Any) -> tuple[str, ...]:
    """Return the methods of a sub-driver that may change something; not those that only refuse."""
    stubs = f"{StorageDriver.__module__.rpartition('.')[0]}."
    return tuple(
        name
        for name in sorted(CHANGING)
        if (method := getattr(driver, name, None)) is not None and not method.__module__.startswith(stubs)
    )
