"""Models: attrs classes that know how they are read from an element and printed as one.

:mod:`remotevirt.xml.fields` has the declarations that put a model's fields into the XML."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

import attrs

from remotevirt.xml.parse import Element, child_elements
from remotevirt.xml.write import Tag

__all__ = [
    "SPEC",
    "CheckedModel",
    "Model",
    "Printing",
    "Reading",
    "Source",
    "Spec",
    "latest",
    "layout",
    "merged",
    "reading",
]


SPEC = "xml"


class Source:
    """An element being read: its attributes, its children by tag, and the tag's own name.

    Attributes:
        element: the element.
        elements: it, or all of several that count as one (:func:`merged`).
    """

    __slots__ = ("_children", "element", "elements", "get", "tag")

    def __init__(self, element: Element) -> None:
        self.element = element
        self.elements: list[Element] = [element]
        self.tag: str = element.tag
        self.get: Callable[[str], str | None] = element.get
        self._children: dict[str, list[Element]] | None = None

    @property
    def children(self) -> dict[str, list[Element]]:
        """The child elements by tag."""
        if self._children is None:
            self._children = child_elements(self.element)
        return self._children

    def first(self, tag: str) -> Element | None:
        """The first child with a tag."""
        found = self.children.get(tag)
        return found[0] if found else None


def merged(elements: list[Element]) -> Source:
    """Return several elements of a name as one, which has the attributes and children of all."""
    source = Source(elements[0])
    if len(elements) > 1:
        source.elements = elements

        def get(name: str) -> str | None:
            return next((value for one in elements if (value := one.get(name)) is not None), None)

        source.get = get
        for other in elements[1:]:
            for tag, found in child_elements(other).items():
                source.children.setdefault(tag, []).extend(found)
    return source


def latest(elements: list[Element]) -> Source:
    """Return several elements as one in which what comes later counts, of attributes and of children."""
    source = Source(elements[-1])
    source.elements = elements
    for other in elements[:-1][::-1]:
        for tag, found in child_elements(other).items():
            source.children.setdefault(tag, [])[:0] = found
    for found in source.children.values():
        found.reverse()
    return source


@attrs.frozen
class Reading:
    """What reading depends on.

    Args:
        live: the document describes a running guest: keep what only a running guest has.
        guest: the guest whose document this is, as far as it was read: for what has to fit its numbers.
    """

    live: bool = False
    guest: Any = None


@attrs.frozen
class Printing:
    """What printing depends on.

    Args:
        secure: print passwords.
        inactive: leave out what only a running guest has.
        migratable: leave out what an old libvirt would not take.
    """

    secure: bool = False
    inactive: bool = False
    migratable: bool = False


@attrs.define
class Model:
    """The base of all models; see the module's text."""

    TAG: ClassVar[str] = ""
    KEEP: ClassVar[bool] = False
    """Print the element even if there is nothing in it."""
    HOLD: ClassVar[bool] = False
    """Print a start and an end tag even if there is nothing between them."""
    READ_FIRST: ClassVar[tuple[str, ...]] = ()
    """The fields that are read first, in this order; the others follow in that of printing. Of several faults
    the one that is found first is reported."""

    @classmethod
    def read(cls, element: Element, how: Reading) -> Self:
        """Read an element; raises VirError."""
        return cls.read_source(Source(element), how)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        """Read an element that was looked into before."""
        model = cls()
        for name, spec in reading(cls):
            value = spec.read(source, how, model)
            if value is not None:
                setattr(model, name, value)
        model.complete(source, how)
        return model

    def complete(self, source: Source, how: Reading) -> None:
        """Check and fill in, once all fields are read. Raises VirError."""

    def fill(self, tag: Tag, how: Printing) -> None:
        """Print all fields into a tag."""
        for name, spec in layout(type(self)):
            value = getattr(self, name)
            if value is not None:
                spec.write(value, tag, how, self)

    def element(self, how: Printing) -> Tag:
        """The element of this model."""
        tag = Tag(self.TAG, hold=self.HOLD)
        self.fill(tag, how)
        return tag

    def print_into(self, parent: Tag, how: Printing) -> None:
        """Add this model's element to its parent, unless there is nothing to say."""
        tag = self.element(how)
        if self.KEEP or self.HOLD or not tag.is_bare():
            parent.add(tag)

    def copy(self) -> Self:
        """A copy that shares nothing that can change."""
        cls = type(self)
        twin = cls.__new__(cls)
        for name in field_names(cls):
            value = getattr(self, name)
            if value is not None and type(value) not in PLAIN:
                value = _copied(value)
            setattr(twin, name, value)
        return twin


@attrs.define
class CheckedModel(Model):
    """A model some of whose fields are checked before the next is read."""

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        model = cls()
        for name, spec in reading(cls):
            value = spec.read(source, how, model)
            if value is not None:
                setattr(model, name, value)
            model.check(name, source, how)
        model.complete(source, how)
        return model

    def check(self, name: str, source: Source, how: Reading) -> None:
        """Check what was just read, while nothing after it has been. Raises VirError."""


PLAIN: frozenset[type] = frozenset({str, int, bool, bytes})
"""Values that copies share."""


NAMES: dict[type[Model], tuple[str, ...]] = {}


def field_names(cls: type[Model]) -> tuple[str, ...]:
    """The names of a model's fields, those too that do not stand in the XML."""
    known = NAMES.get(cls)
    if known is None:
        known = NAMES[cls] = tuple(field.name for field in attrs.fields(cls))
    return known


def _copied(value: Any) -> Any:
    if isinstance(value, Model):
        return value.copy()
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return value


class Spec(ABC):
    """How one field is read and written."""

    __slots__ = ()

    @abstractmethod
    def read(self, source: Source, how: Reading, model: Any) -> Any:
        """Return the value of a field, None if the element says nothing of it; raises VirError.

        Args:
            source: the element.
            how: what reading depends on.
            model: what has been read so far.
        """

    @abstractmethod
    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        """Print the value of a field, which is not None, into the tag of its model."""


Layout: TypeAlias = tuple[tuple[str, Spec], ...]


LAYOUTS: dict[type[Model], Layout] = {}


def layout(cls: type[Model]) -> Layout:
    """The fields of a model that stand in the XML, in printing order."""
    known = LAYOUTS.get(cls)
    if known is None:
        known = tuple(
            (field.name, field.metadata[SPEC]) for field in attrs.fields(cls) if SPEC in field.metadata
        )
        LAYOUTS[cls] = known
    return known


READINGS: dict[type[Model], Layout] = {}


def reading(cls: type[Model]) -> Layout:
    """The fields of a model that stand in the XML, in the order in which they are read."""
    known = READINGS.get(cls)
    if known is None:
        specs = dict(layout(cls))
        names = (*cls.READ_FIRST, *(name for name in specs if name not in cls.READ_FIRST))
        known = READINGS[cls] = tuple((name, specs[name]) for name in names)
    return known
