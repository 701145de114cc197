"""The snapshots of a domain, or its checkpoints: a tree of moments, and which of them is the current one.

A moment is plain data (:class:`remotevirt.xml.moment.Moment`); where it stands in the tree follows from the
name of its parent. Children stand newest first, as in libvirt, and a moment that is described anew counts as
new. Nobody but :class:`remotevirt.drivers.domains.table.DomainTable` changes a table.

Lists have filters in groups, as lists of domains have (:mod:`remotevirt.drivers.domains.filters`): each
kind of moment says what is true of one.

Bound: at most :data:`MAX_MOMENTS` of a kind for a domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

import attrs

from remotevirt.drivers.domains.filters import groups_of, matches
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationFailed
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.moment import Moment

__all__ = ["MAX_MOMENTS", "ListFlags", "MomentTable", "references"]

MAX_MOMENTS: Final = 4096
"""Snapshots, or checkpoints, of a domain. libvirt: what a list reply can carry, 16384; with the longest names
that we allow a reply with so many would not fit a message."""

M = TypeVar("M", bound=Moment)
R = TypeVar("R")


class MomentTable(Generic[M]):
    """The moments of one kind that a domain has.

    Attributes:
        by_name: all of them, in the order in which they were made.
        current: the name of the one that the domain's state descends from, None for none.
        places: by name, the moment's place among all, and its rank among the children of its parent: those of
            higher ranks stand in front. The numbers only grow.
    """

    __slots__ = ("_children", "_next", "by_name", "current", "places")

    def __init__(self) -> None:
        self.by_name: dict[str, M] = {}
        self.current: str | None = None
        self._children: dict[str | None, list[str]] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[M]:
        return iter(self.by_name.values())

    def add(self, moment: M) -> None:
        """Take in a moment; one of its name is replaced, and keeps its children.

        Raises:
            OperationFailed: there are too many.
        """
        name = moment.name
        old = self.by_name.get(name)
        if old is not None:
            self._children[old.parent].remove(name)
        elif len(self.by_name) >= MAX_MOMENTS:
            text = f"a domain has at most {MAX_MOMENTS} {moment.KIND}s"
            raise OperationFailed(text, domain=c.VIR_FROM_DOMAIN)
        self.by_name[name] = moment
        self._children.setdefault(moment.parent, []).insert(0, name)
        number = self._number()
        self.places[name] = self.places[name][0] if old is not None else number, number

    def remove(self, name: str) -> None:
        """Forget a moment; its children become those of its parent."""
        moment = self.by_name.pop(name)
        siblings = self._children[moment.parent]
        siblings.remove(name)
        orphans = self._children.pop(name, [])
        del self.places[name]
        for orphan in reversed(orphans):
            self.by_name[orphan].parent = moment.parent
            self.places[orphan] = self.places[orphan][0], self._number()
        siblings[:0] = orphans

    def _number(self) -> int:
        """Return the next number for a place or a rank."""
        self._next += 1
        return self._next

    def put_back(self, moments: Iterable[tuple[M, int, int]]) -> None:
        """Fill an empty table with moments that were kept, each with its place and its rank.

        One whose parent is not among them becomes a root.
        """
        found = sorted(moments, key=lambda kept: kept[1])
        self.by_name = {moment.name: moment for moment, _, _ in found}
        self.places = {moment.name: (place, rank) for moment, place, rank in found}
        for moment, _, _ in sorted(found, key=lambda kept: -kept[2]):
            if moment.parent not in self.by_name:
                moment.parent = None
            self._children.setdefault(moment.parent, []).append(moment.name)
        self._next = max((max(place) for place in self.places.values()), default=0)

    def remember(self) -> Callable[[], None]:
        """Return what makes the table, and where its moments stand, as it is now."""
        by_name, places, current = dict(self.by_name), dict(self.places), self.current
        children = {parent: list(names) for parent, names in self._children.items()}
        parents = [moment.parent for moment in self]

        def restore() -> None:
            self.by_name, self.places, self.current, self._children = by_name, places, current, children
            for moment, parent in zip(self, parents, strict=True):
                moment.parent = parent

        return restore

    def children(self, name: str | None) -> list[str]:
        """The names of a moment's children; of None, those that have no parent."""
        return self._children.get(name, [])

    def descendants(self, name: str | None) -> list[str]:
        """The names of all that come from a moment, each before what comes from it."""
        found: list[str] = []
        waiting = list(reversed(self.children(name)))
        while waiting:
            one = waiting.pop()
            found.append(one)
            waiting.extend(reversed(self.children(one)))
        return found

    def check_parent(self, moment: M) -> None:
        """Refuse a description whose parent is not there or comes from the moment itself.

        Raises:
            InvalidArg: it is one.
        """
        name, parent = moment.name, moment.parent
        if parent is None:
            return
        if parent == name:
            text = f"cannot set moment {name} as its own parent"
            raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
        step = self.by_name.get(parent)
        if step is None:
            text = f"parent {parent} for moment {name} not found"
            raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
        while step.parent is not None:
            if step.parent == name:
                text = f"parent {step.name} would create cycle to {name}"
                raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN)
            step = self.by_name[step.parent]

    def listing(
        self,
        start: str | None,
        *,
        deep: bool,
        ordered: bool,
        groups: tuple[int, ...],
        facts: Callable[[M, bool], int],
    ) -> list[str]:
        """The names that pass a filter.

        Args:
            start: the moment whose children are meant, None for the domain.
            deep: not only the children but all descendants.
            ordered: parents stand before their children.
            groups: the filter (:func:`remotevirt.drivers.domains.filters.groups_of`).
            facts: the filter flags that are true of a moment; is told whether it has children.
        """
        if not deep:
            names = list(self.children(start))
        elif start is None and not ordered:
            names = list(self.by_name)
        else:
            names = self.descendants(start)
        if not groups:
            return names
        return [
            name for name in names if matches(facts(self.by_name[name], bool(self.children(name))), groups)
        ]


@attrs.frozen
class ListFlags:
    """What the flags of a kind's list calls mean.

    Args:
        deep: of a moment's children, all descendants; of a domain's moments, only the roots.
        topological: parents stand before their children.
        groups: flags that exclude one another, group by group.
        facts: those that are true of a moment; is told whether it has children.
    """

    deep: int
    topological: int
    groups: tuple[int, ...]
    facts: Callable[[Any, bool], int]

    @property
    def all(self) -> int:
        """All flags that there are."""
        return self.deep | self.topological | sum(self.groups)

    def names(self, table: MomentTable[Any], start: str | None, flags: int) -> list[str]:
        """The names that pass a filter, of a domain (``start`` None) or of what comes from a moment."""
        return table.listing(
            start,
            deep=bool(flags & self.deep) == (start is not None),
            ordered=bool(flags & self.topological),
            groups=groups_of(flags, self.groups),
            facts=self.facts,
        )


def references(
    make: Callable[[str, NonnullDomain], R], dom: NonnullDomain, names: list[str], need_results: int
) -> list[R]:
    """References to moments of a domain as the client named it; none if only their number is wanted."""
    return [make(name, dom) for name in names] if need_results else []
