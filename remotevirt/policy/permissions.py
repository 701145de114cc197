"""The words of a policy: libvirt's permissions, and sets of them.

A permission is an object and what is done to it, written ``domain:start``. A pattern has ``*`` in it
(``domain:*``, ``connect:search_*``, ``*:read``). Two names stand for sets that need no definition: ``all``,
and ``read-only``, which is what libvirt lets a read-only connection do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from remotevirt.procedures import Procedure, Program
from remotevirt.stubs import lxc, qemu, remote
from remotevirt.stubs.access import ACCESS_PERMISSIONS

__all__ = ["BUILT_IN", "EVERY", "PROGRAMS", "Right", "expand", "needed_by"]

Right: TypeAlias = tuple[str, str]
"""Object and permission: ``("domain", "start")``."""

EVERY: Final[frozenset[Right]] = frozenset(
    (thing, permission) for thing, permissions in ACCESS_PERMISSIONS.items() for permission in permissions
)
"""All that there are."""

BUILT_IN: Final[dict[str, frozenset[Right]]] = {
    "all": EVERY,
    "read-only": frozenset(
        right for right in EVERY if right[1] in ("getattr", "read") or right[1].startswith("search_")
    ),
}
"""Sets that every policy knows by name."""

PROGRAMS: Final[tuple[Program, ...]] = (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM)
"""The programs whose calls need permissions."""


def expand(pattern: str) -> frozenset[Right]:
    """Return what a pattern such as ``domain:*`` stands for.

    Raises:
        ValueError: libvirt has no such object or permission; the text says what was meant perhaps.
    """
    thing, colon, permission = pattern.partition(":")
    if not colon:
        raise ValueError(f"{pattern!r} is neither object:permission nor a group")
    objects = [name for name in ACCESS_PERMISSIONS if fnmatchcase(name, thing)]
    if not objects:
        raise ValueError(f"no object {thing!r}{_perhaps(thing, ACCESS_PERMISSIONS)}")
    known = {right for right in EVERY if right[0] in objects}
    found = frozenset(right for right in known if fnmatchcase(right[1], permission))
    if not found:
        of = f" of object {thing!r}" if len(objects) == 1 else ""
        raise ValueError(f"no permission {permission!r}{of}{_perhaps(permission, {n for _, n in known})}")
    return found


def _perhaps(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word.replace("-", "_"), known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def needed_by(right: Right) -> Iterator[tuple[Program, Procedure, str]]:
    """Yield the calls that need a permission.

    Yields:
        Program, procedure, and when: ``""`` for always, ``"sometimes"`` if it depends on the arguments,
        ``"filter"`` if it decides what a list shows or which events come.
    """
    for program in PROGRAMS:
        for procedure in program.procedures.values():
            if procedure.event:
                continue
            conditions = [
                bool(p.flags or p.unless or p.param)
                for p in procedure.acl or ()
                if (p.object, p.permission) == right
            ]
            if conditions:
                yield program, procedure, "sometimes" if all(conditions) else ""
            elif any((p.object, p.permission) == right for p in procedure.aclfilter):
                yield program, procedure, "filter"
