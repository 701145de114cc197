"""The contents of a world at one moment, to be brought back in milliseconds.

A memento is made and read by the same process and never leaves it, so Python's own pickling serves: it is by
far the fastest way to copy a graph of some hundred thousand small objects. What is not part of the contents
(who listens to the world's events, its clock) is left out, and the tables that open connections hold on to
are filled anew rather than replaced.
"""

from __future__ import annotations

import contextlib
import gc
import io
import pickle
from collections.abc import Iterator
from typing import Any, Final

from lxml import etree

from remotevirt.drivers.keeping import slots_of
from remotevirt.drivers.tables import Table
from remotevirt.drivers.test.world import World
from remotevirt.testing.values import WorldError

__all__ = ["recall", "remember"]

NOT_CONTENTS: Final = frozenset({"hub", "now"})
"""What of a world stays as it is, whatever is brought back."""

_HUB: Final = "hub"

_ELEMENT: Final = type(etree.Element("any"))


def _element(text: bytes) -> Any:
    return etree.fromstring(text)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, hub: object) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._hub = hub

    def persistent_id(self, thing: Any) -> str | None:
        """Name what is not copied."""
        return _HUB if thing is self._hub else None

    def reducer_override(self, thing: Any) -> Any:
        """Copy the elements of documents, which do not pickle, as their texts."""
        if isinstance(thing, _ELEMENT):
            return _element, (etree.tostring(thing, with_tail=False),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, hub: object) -> None:
        super().__init__(file)
        self._hub = hub

    def persistent_load(self, name: str) -> Any:
        """Return what was not copied."""
        return self._hub


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Let the garbage collector rest, which would look at each new object again and again: half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def remember(world: World) -> bytes:
    """Return the contents of a world.

    Raises:
        WorldError: it lasts: to go back would have to be kept, as every change of it is.
    """
    if world.keeper is not None:
        raise WorldError("a world that lasts cannot be brought back to an earlier moment")
    contents = {name: getattr(world, name) for name in slots_of(world) if name not in NOT_CONTENTS}
    file = io.BytesIO()
    with _without_collector():
        _Pickler(file, world.hub).dump(contents)
    return file.getvalue()


def recall(world: World, memento: bytes) -> None:
    """Give a world the contents that it had once."""
    with _without_collector():
        contents = _Unpickler(io.BytesIO(memento), world.hub).load()
    generation = world.generation + 1
    for name, value in contents.items():
        _fill(world, name, value)
    world.generation = generation


def _fill(owner: Any, name: str, value: Any) -> None:
    """Set an attribute; a dictionary or table that is there is filled, and stays the one that it is."""
    there = getattr(owner, name)
    if isinstance(there, dict):
        there.clear()
        there.update(value)
    elif isinstance(there, Table):
        for slot in slots_of(there):
            if hasattr(value, slot):
                _fill(there, slot, getattr(value, slot))
    else:
        setattr(owner, name, value)
