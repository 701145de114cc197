"""Which types contain which, and that none has no end.

A struct that contains itself behind an optional or a count is a list or a tree, and fine. One that
contains itself by value would be infinite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Declaration, Definition, Kind, Location, Struct, Typedef, Union

__all__ = ["check_recursion", "find_cycle"]


def check_recursion(definitions: Iterable[Definition]) -> None:
    """Refuse types without an end.

    Raises:
        RpcgenError: a type contains itself by value, or typedefs refer only to one another.
    """
    by_value: dict[str, list[str]] = {}
    typedefs: dict[str, list[str]] = {}
    locations: dict[str, Location | None] = {}
    for definition in definitions:
        locations[definition.name] = definition.location
        by_value[definition.name] = [
            declaration.type
            for declaration in _declarations(definition)
            if declaration.kind in {Kind.SCALAR, Kind.FIXED_ARRAY}
        ]
        if isinstance(definition, Typedef):
            typedefs[definition.name] = [definition.declaration.type]
    for edges in (by_value, typedefs):
        if (name := find_cycle(edges)) is not None:
            raise RpcgenError(f"{name} contains itself", locations[name])


def _declarations(definition: Definition) -> Iterator[Declaration]:
    match definition:
        case Typedef(declaration=declaration):
            yield declaration
        case Struct(fields=fields):
            yield from fields
        case Union(arms=arms, default=default):
            yield from (arm.field for arm in arms if arm.field)
            if default:
                yield default


def find_cycle(edges: Mapping[str, Sequence[str]]) -> str | None:
    """Return a node of a directed graph that can be reached from itself, or None.

    Without recursion: a contract may be as deep as it likes, Python's stack not.
    """
    finished: set[str] = set()
    for root in edges:
        path: dict[str, Iterator[str]] = {}
        node: str | None = root
        while node is not None:
            if node in path:
                return node
            if node not in finished and node in edges:
                path[node] = iter(edges[node])
            node = None
            while node is None and path:
                last = next(reversed(path))
                node = next(path[last], None)
                if node is None:
                    finished.add(last)
                    del path[last]
    return None
