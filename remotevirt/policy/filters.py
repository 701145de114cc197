"""Lists that show a client what it may see, and counts that count the same.

The driver is asked for everything, then what the client may not see is left out: so a list of at most ten
names has ten, if there are ten that may be seen, and the number that a client asks for beforehand is that of
the list that it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from remotevirt.errors import VirError
from remotevirt.policy.engine import Rights
from remotevirt.policy.finder import ABSENT, Finder, thing_of
from remotevirt.policy.plans import Filter
from remotevirt.policy.rules import Thing
from remotevirt.policy.turns import Steps
from remotevirt.xml.values import parse_uuid

__all__ = ["Filtering"]


class Filtering:
    """Filters the results of one procedure for one client.

    Args:
        filter: how.
        rights: of the client.
        finder: finds the objects of its connection.
        source: for counts, the method that lists what is counted.
    """

    __slots__ = ("_filter", "_finder", "_kept", "_permission", "_rights", "_seen", "_source", "_uris")

    def __init__(
        self, filter: Filter, rights: Rights, finder: Finder, source: Callable[..., Any] | None
    ) -> None:
        self._filter = filter
        self._rights = rights
        self._finder = finder
        self._source = source
        self._permission = filter.permission.object, filter.permission.permission
        self._uris = rights.uris(*self._permission)
        self._seen: dict[Any, bool] = {}
        self._kept: tuple[Any, Any] = (None, None)

    def steps(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Steps[Any]:
        """Call a method, and filter what it returns."""
        form = self._filter.form
        if form == "all":
            result = yield from self._all(method, args)
        elif form == "stats":
            result = yield from self._stats(method, args)
        elif form.startswith("count "):
            index = self._filter.index
            full = (*args[:index], self._filter.maximum, *args[index:])
            assert self._source is not None
            found = yield self._source(*full)
            shown = yield from self._names(form.removeprefix("count "), found, full)
            result = len(shown)
        else:
            result = yield from self._some(method, args)
        return result

    def _some(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Steps[Any]:
        """Names, at most as many as the client wants."""
        index, maximum = self._filter.index, self._filter.maximum
        wanted = args[index]
        if not 0 <= wanted <= maximum:  # the driver knows best what to say about that
            wanted = max(wanted, 0)
            found = yield method(*args)
        else:
            found = yield method(*args[:index], maximum, *args[index + 1 :])
        shown = yield from self._names(self._filter.form, found, args)
        return shown[:wanted]

    def _names(self, form: str, found: Sequence[Any], args: tuple[Any, ...]) -> Steps[list[Any]]:
        """Leave out the names, ids or UUIDs of what the client may not see."""
        kind = self._permission[0]
        shown = []
        for name in found:
            if form == "names" and self._rights.names_only(*self._permission):
                if self._sees(Thing(kind, name, b"")):
                    shown.append(name)
                continue
            refs = yield from self._look(form, name, args)
            if refs and all(self._sees(thing) for thing in refs):
                shown.append(name)
        return shown

    def _look(self, form: str, name: Any, args: tuple[Any, ...]) -> Steps[list[Thing]]:
        """Find what a driver has listed. It may be gone by now."""
        kind = self._permission[0]
        try:
            if form == "ids":
                ref = yield self._finder.domain_by_id(name)
                thing = thing_of(kind, ref)
                if self._uris:
                    yield from self._finder.learn(thing, ref, self._uris)
                return [thing]
            parent = args[self._filter.parent] if self._filter.parent is not None else None
            known = Thing(kind, None, parse_uuid(name)) if form == "uuids" else Thing(kind, name)
            things = yield from self._finder.defined(known, parent, self._uris)
            return things
        except VirError as error:
            if error.code in ABSENT:
                return []
            raise

    def _all(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Steps[Any]:
        """References and their number."""
        index = self._filter.index
        wanted = args[index]
        result = yield method(*args[:index], 1, *args[index + 1 :])
        before, after = self._kept
        if result is not before or self._uris:
            refs = yield from self._visible(result[0])
            after = result if len(refs) == len(result[0]) else self._filter.result(refs, len(refs))
            # Drivers return the same list as long as nothing changes.
            self._kept = (result, after)
        return after if wanted else self._filter.result((), after[1])

    def _visible(self, refs: Sequence[Any]) -> Steps[list[Any]]:
        kind = self._permission[0]
        shown = []
        if not self._uris:
            before, now = self._seen, dict[Any, bool]()
            for ref in refs:
                sees = before.get(ref)
                if sees is None:
                    sees = self._sees(thing_of(kind, ref))
                now[ref] = sees
                if sees:
                    shown.append(ref)
            self._seen = now
            return shown
        for ref in refs:
            thing = thing_of(kind, ref)
            yield from self._finder.learn(thing, ref, self._uris)
            if self._sees(thing):
                shown.append(ref)
        return shown

    def _stats(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Steps[list[Any]]:
        """Statistics of domains. The references in them may be those that the client has sent."""
        records = yield method(*args)
        shown = []
        for record in records:
            try:
                things = yield from self._finder.meant("domain", record.dom, self._uris)
            except VirError as error:
                if error.code not in ABSENT:
                    raise
                continue
            if all(self._sees(thing) for thing in things):
                shown.append(record)
        return shown

    def _sees(self, thing: Thing) -> bool:
        return self._rights.check(*self._permission, thing).allowed
