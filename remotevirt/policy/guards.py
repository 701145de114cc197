"""Enforcement: what stands between a client's call and the method that answers it.

:func:`enforce` is called once for each procedure that a client uses, and decides then as much as it can::

    certain       allowed for every object       the method itself: the calls cost nothing
    impossible    allowed for none               the error, and no argument is ever decoded
    otherwise     it depends on the object       a method that finds it, asks, and then calls

A call is checked in this order: what its arguments refer to; documents, and only where some document could be
allowed; then the driver's method is called; and what it returns is checked (look-ups) or filtered (lists). No
method that changes anything has its result checked.

The name in a reference is the client's, and so is never believed: see :mod:`remotevirt.policy.finder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutine
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from remotevirt.drivers.base import DriverConnection
from remotevirt.errors import VirError
from remotevirt.policy.documents import read_document
from remotevirt.policy.engine import NAME_KEPT, Rights, access_denied
from remotevirt.policy.filters import Filtering
from remotevirt.policy.finder import Finder, agrees, thing_of
from remotevirt.policy.plans import (
    Document,
    Filter,
    Named,
    Outcome,
    Parameters,
    Place,
    Reference,
    plan_of,
)
from remotevirt.policy.rules import Thing
from remotevirt.policy.turns import Steps, run
from remotevirt.procedures import Permission, Procedure, Program
from remotevirt.stubs import constants as vir

__all__ = ["APPROVED_MAXIMUM", "enforce"]

APPROVED_MAXIMUM: Final = 4096
"""References that a method keeps for one client because they were approved."""

Method: TypeAlias = Callable[..., Any]

Counts: TypeAlias = Callable[[Sequence[Any]], bool]
"""Tells from a call's arguments whether a permission is needed."""


def enforce(
    program: Program,
    procedure: Procedure,
    method: Method,
    rights: Rights,
    connection: DriverConnection,
) -> Method:
    """Return what to call instead of a method, so that a client does no more than it may.

    Args:
        program, procedure: what the client calls.
        method: what answers: called with the decoded arguments, and after them whatever its caller adds.
        rights: of the client.
        connection: what it has opened, to find the objects that it means.

    Returns:
        ``method`` itself if every call is allowed. Otherwise a method of the same kind, which raises or
        results in VIR_ERR_ACCESS_DENIED, and which answers at once if the driver does.

    Raises:
        VirError: VIR_ERR_ACCESS_DENIED, no call can be allowed.
    """
    plan = plan_of(program, procedure)
    if plan is None:
        raise undeclared(procedure)
    before: list[_Ask] = []
    after: list[_Ask] = []
    for check in plan.checks:
        needed: list[tuple[Permission, Counts | None]] = []
        for permission in check.permissions:
            right = permission.object, permission.permission
            if rights.certain(*right):
                continue
            counts = _counts(procedure, permission)
            if counts is None and not rights.possible(*right):
                raise access_denied(*right)
            needed.append((permission, counts))
        if needed:
            (after if isinstance(check.place, Outcome) else before).append(_Ask(check.place, needed, rights))
    filter = plan.filter
    if filter is not None and rights.certain(filter.permission.object, filter.permission.permission):
        filter = None
    if not before and not after and filter is None:
        return method
    finder = Finder(connection)
    return _Guarded(method, before, after, _filtering(filter, procedure, rights, connection, finder), finder)


def undeclared(procedure: Procedure) -> VirError:
    """Return what a client is told that calls a procedure for which nothing says what it needs."""
    return access_denied("connect", procedure.name)


def _filtering(
    filter: Filter | None,
    procedure: Procedure,
    rights: Rights,
    connection: DriverConnection,
    finder: Finder,
) -> Filtering | None:
    if filter is None:
        return None
    source = getattr(getattr(connection, procedure.driver or ""), filter.source) if filter.source else None
    return Filtering(filter, rights, finder, source)


def _counts(procedure: Procedure, permission: Permission) -> Counts | None:
    """Return what tells whether a permission is needed; None if it always is."""
    names: tuple[str, ...] = getattr(procedure.args, "_fields", ())
    if permission.param is not None:
        param, value = names.index(permission.param), permission.value
        return lambda args: bool(args[param] == value)
    if permission.flags:
        index, flags = names.index("flags"), permission.flags
        return lambda args: bool(args[index] & flags == flags)
    if permission.unless:
        index, unless = names.index("flags"), permission.unless
        return lambda args: not args[index] & unless
    return None


class _Ask:
    """Permissions on what is in one place, that this client does not have on everything.

    Args:
        place: where.
        needed: which, and when.
        rights: of the client.
    """

    __slots__ = ("_rights", "needed", "place", "quick")

    def __init__(self, place: Place, needed: list[tuple[Permission, Counts | None]], rights: Rights) -> None:
        self.place = place
        self.needed = needed
        self.quick: _Quick | None = None
        self._rights = rights

    def quicken(self, finder: Finder) -> _Quick | None:
        """Return the short way for this check, None if it has none."""
        place = self.place
        if not isinstance(place, Reference) or place.part is not None or place.renamed is not None:
            return None
        if any(counts is not None for _, counts in self.needed) or self._uris([p for p, _ in self.needed]):
            return None
        look = finder.first(place.kind)
        self.quick = None if look is None else _Quick(place.index, look)
        return self.quick

    def steps(self, args: Sequence[Any], finder: Finder) -> Steps[None]:
        """Check a call's arguments; raises VirError."""
        needed = [permission for permission, counts in self.needed if counts is None or counts(args)]
        if not needed:
            return
        for permission in needed:
            if not self._rights.possible(permission.object, permission.permission):
                raise access_denied(permission.object, permission.permission)
        uris = self._uris(needed)
        things = yield from self._things(args, finder, uris)
        self._decide(things, needed)
        if self.quick is not None:
            self.quick.approve(args)

    def result(self, value: Any, finder: Finder) -> Steps[None]:
        """Check what a look-up has found; raises VirError."""
        kind = self.place.kind
        needed = [permission for permission, _ in self.needed]
        thing = thing_of(kind, value)
        uris = self._uris(needed)
        if uris:
            yield from finder.learn(thing, value, uris)
        self._decide([thing], needed)

    def _uris(self, needed: list[Permission]) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for permission in needed:
            found |= self._rights.uris(permission.object, permission.permission)
        return found

    def _decide(self, things: list[Thing], needed: list[Permission]) -> None:
        for thing in things:
            for permission in needed:
                if not self._rights.check(permission.object, permission.permission, thing).allowed:
                    raise access_denied(permission.object, permission.permission)

    def _things(self, args: Sequence[Any], finder: Finder, uris: frozenset[str]) -> Steps[list[Thing]]:
        """Find the objects; at least one."""
        place = self.place
        if isinstance(place, Reference):
            ref = args[place.index]
            if place.part is not None:
                ref = getattr(ref, place.part)
            things = yield from finder.meant(place.kind, ref, uris)
            if place.renamed is not None:
                name = args[place.renamed]
                things += [_renamed(thing, name) for thing in things]
            return things
        if isinstance(place, Named):
            things = yield from finder.named(place.kind, args[place.index], uris)
            return things
        if isinstance(place, Document):
            name = args[place.name] if place.name is not None else None
            things = yield from self._document(place, args, name, args[place.index], finder, uris)
            return things
        if isinstance(place, Parameters):
            things = yield from self._parameters(place, args, finder, uris)
            return things
        return [Thing(place.kind)]

    def _parameters(
        self, place: Parameters, args: Sequence[Any], finder: Finder, uris: frozenset[str]
    ) -> Steps[list[Thing]]:
        """Find what typed parameters are about. If one is given twice, nobody knows which will count."""
        texts = _texts(args[place.index])
        if texts is None:
            return [Thing(place.kind)]
        name = texts.get(vir.VIR_MIGRATE_PARAM_DEST_NAME)
        xml = texts.get(vir.VIR_MIGRATE_PARAM_DEST_XML)
        if place.there and name is not None:
            things = yield from finder.named(place.kind, name, uris)
            return things
        if place.there or xml is None:
            return [Thing(place.kind)]
        things = yield from self._document(Document(place.kind, place.index), args, name, xml, finder, uris)
        return things

    def _document(
        self,
        place: Document,
        args: Sequence[Any],
        name: str | None,
        xml: str,
        finder: Finder,
        uris: frozenset[str],
    ) -> Steps[list[Thing]]:
        """Find what a document defines, in each pool or network that is meant, and what it replaces."""
        made = read_document(place.kind, xml, uris)
        if name is not None:
            made = _renamed(made, name or None)
        if place.parent is None:
            there = yield from finder.defined(made, None, uris)
            return [made, *there]
        ref = args[place.parent]
        parents = yield from finder.meant(place.parent_kind, ref)
        there = yield from finder.defined(made, ref, uris)
        return [*(Thing(made.kind, made.name, made.uuid, parent.name) for parent in parents), *there]


def _renamed(thing: Thing, name: str | None) -> Thing:
    return Thing(thing.kind, name, thing.uuid, thing.parent, thing.metadata)


def _texts(params: Sequence[Any]) -> dict[str, str] | None:
    """Return the texts among typed parameters by name; None if a name is there more than once."""
    names = [param.field for param in params]
    if len(set(names)) < len(names):
        return None
    return {param.field: param.value.value for param in params if isinstance(param.value.value, str)}


class _Quick:
    """The short way for calls that ask about one reference again and again.

    A reference is approved again as long as it agrees with the object that its UUID leads to, and that object
    is exactly what was approved. That costs one look-up, as it must.

    Args:
        index: of the argument that is the reference.
        look: looks up what a reference means first of all.
    """

    __slots__ = ("_approved", "_index", "_look")

    def __init__(self, index: int, look: Callable[[Any], Any]) -> None:
        self._index = index
        self._look: Callable[[Any], Any] | None = look
        self._approved: set[Any] = set()

    def approve(self, args: Sequence[Any]) -> None:
        """Note that a reference was approved. Only what a driver has made is kept, in size and number."""
        true = self._true(args[self._index])
        if true is None or any(isinstance(part, str) and len(part) > NAME_KEPT for part in true):
            return
        if len(self._approved) >= APPROVED_MAXIMUM:
            self._approved.clear()
        self._approved.add(true)

    def __call__(self, args: Sequence[Any]) -> bool:
        """Tell whether a call can be made without asking again."""
        if not self._approved:
            return False
        true = self._true(args[self._index])
        return true is not None and true in self._approved

    def _true(self, ref: Any) -> Any:
        """Return the driver's own reference to what a client's leads to, None if they do not agree."""
        if self._look is None:
            return None
        try:
            true = self._look(ref)
        except VirError:
            return None
        if isinstance(true, Deferred):
            self._look = None  # a driver that takes time has no short way
            true.addErrback(_forget)
        elif iscoroutine(true):
            self._look = None
            true.close()
        elif true == ref or agrees(true, ref):
            return true
        return None


def _forget(failure: Failure) -> None:
    """Drop what comes of a look-up that will be made again."""


class _Guarded:
    """A method with checks before and after it. Called as the method is."""

    __slots__ = ("_after", "_before", "_filtering", "_finder", "_method", "_quick")

    def __init__(
        self,
        method: Method,
        before: list[_Ask],
        after: list[_Ask],
        filtering: Filtering | None,
        finder: Finder,
    ) -> None:
        self._method = method
        self._before = before
        self._after = after
        self._filtering = filtering
        self._finder = finder
        alone = len(before) == 1 and not after and filtering is None
        self._quick = before[0].quicken(finder) if alone else None

    def __call__(self, *args: Any, **more: Any) -> Any:
        """Check, call, check or filter."""
        if self._quick is not None and self._quick(args):
            return self._method(*args, **more)
        return run(self._steps(args, more))

    def _steps(self, args: tuple[Any, ...], more: dict[str, Any]) -> Steps[Any]:
        for ask in self._before:
            yield from ask.steps(args, self._finder)
        if self._filtering is not None:
            value = yield from self._filtering.steps(self._method, args)
        else:
            value = yield self._method(*args, **more)
        for ask in self._after:
            yield from ask.result(value, self._finder)
        return value
