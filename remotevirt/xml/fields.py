"""Documents as tables: a model's fields say where they stand in the XML, for reading and for writing alike.

A model is an attrs class whose fields are declared, in the order libvirt prints them, by these functions::

    @attrs.define
    class Watchdog(Model):
        TAG = "watchdog"
        model: str = attribute("model", Choice("i6300esb diag288"), required=True)
        action: str = attribute("action", Choice("reset none"), default="reset")
        info: DeviceInfo = inline(DeviceInfo)

`attribute`, `leaf`, `nested_attribute`, `flag`, `body`     hold plain values: ``<tag NAME='v'>``,
``<NAME>v</NAME>``, ``<NAME attr='v'/>``, ``<NAME/>``, the own text. `child`, `children`, `inline`     hold
other models: one element, any number of them, or fields that belong to the same element. `hook`     is for
what fits none of these: a pair of functions.

None is "not there" and is not printed. After its fields are read a model's :meth:`Model.complete` may check
them against each other and fill in what libvirt fills in while reading. What the schema does not know is
not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import attrs

from remotevirt.xml.model import (
    SPEC,
    Model,
    Printing,
    Reading,
    Source,
    Spec,
    merged,
)
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import Refusal, Scalar, Text, Where, missing_attribute
from remotevirt.xml.write import Tag, Verbatim
from remotevirt.xml.write import leaf as leaf_tag

__all__ = [
    "Model",
    "Printing",
    "Reading",
    "Source",
    "attribute",
    "body",
    "child",
    "children",
    "flag",
    "hidden",
    "hook",
    "inline",
    "leaf",
    "leaves",
    "nested_attribute",
    "variant",
    "write_element",
]

M = TypeVar("M", bound="Model")
TEXT = Text()


@attrs.frozen
class _Value(Spec):
    """What the plain values share."""

    name: str
    scalar: Scalar = TEXT
    secure: bool = False
    live: bool = False

    def shows(self, how: Printing) -> bool:
        return not ((self.secure and not how.secure) or (self.live and how.inactive))


@attrs.frozen
class _Attribute(_Value):
    required: Refusal | bool = False

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        if self.live and not how.live:
            return None
        text = source.get(self.name)
        if text is None:
            if not self.required:
                return None
            raise missing_attribute(source.tag, self.name) if self.required is True else self.required("")
        return self.scalar.read(text, Where(source.tag, self.name))

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        if self.shows(how):
            tag.attributes.append((self.name, self.scalar.write(value)))


@attrs.frozen
class _Leaf(_Value):
    def read(self, source: Source, how: Reading, model: Any) -> Any:
        element = source.first(self.name)
        if element is None or (self.live and not how.live):
            return None
        text = text_of(element)
        return self.scalar.read(text, Where(self.name)) if text else None

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        if self.shows(how):
            tag.children.append(leaf_tag(self.name, self.scalar.write(value)))


@attrs.frozen
class _NestedAttribute(_Value):
    attribute: str = ""
    required: Refusal | bool = False
    default: Any = None

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        element = source.first(self.name)
        if element is None or (self.live and not how.live):
            return None
        text = element.get(self.attribute)
        if text is None:
            if not self.required:
                return self.default
            raise missing_attribute(self.name, self.attribute) if self.required is True else self.required("")
        return self.scalar.read(text, Where(self.name, self.attribute))

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        if self.shows(how):
            tag.children.append(Tag(self.name).set(self.attribute, self.scalar.write(value)))


@attrs.frozen
class _Flag(_Value):
    def read(self, source: Source, how: Reading, model: Any) -> Any:
        return True if self.name in source.children else None

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        if value and self.shows(how):
            tag.children.append(Tag(self.name))


@attrs.frozen
class _Body(_Value):
    def read(self, source: Source, how: Reading, model: Any) -> Any:
        text = text_of(source.element)
        return self.scalar.read(text, Where(source.tag)) if text else None

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        tag.text = self.scalar.write(value)


@attrs.frozen
class _Child(Spec):
    cls: type[Model]
    many: bool = False
    too_many: Refusal | None = None
    merged: bool = False

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        found = source.children.get(self.cls.TAG)
        if not found:
            return None
        if self.too_many and len(found) > 1:
            raise self.too_many("")
        if self.many:
            return [self.cls.read(element, how) for element in found]
        if self.merged and len(found) > 1:
            return self.cls.read_source(merged(found), how)
        return self.cls.read(found[0], how)

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        if self.many:
            for item in value:
                item.print_into(tag, how)
        else:
            value.print_into(tag, how)


@attrs.frozen
class _Inline(Spec):
    cls: type[Model]

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        return self.cls.read_source(source, how)

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        value.fill(tag, how)


Chooser: TypeAlias = Callable[[Element], "type[Model] | None"]


@attrs.frozen
class _Variant(Spec):
    tag: str
    choose: Chooser
    many: bool

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        found = source.children.get(self.tag)
        if not found:
            return None
        read = []
        for element in found if self.many else found[:1]:
            cls = self.choose(element)
            if cls is not None:
                read.append(cls.read(element, how))
        return read if self.many else (read[0] if read else None)

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        for item in value if self.many else (value,):
            item.print_into(tag, how)


@attrs.frozen
class _Leaves(Spec):
    name: str

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        found = source.children.get(self.name)
        return [text_of(element) for element in found] if found else None

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        for text in value:
            tag.children.append(leaf_tag(self.name, text))


Reader: TypeAlias = Callable[[Source, Reading, Any], Any]
Writer: TypeAlias = Callable[[Any, Printing, Any], "Tag | Verbatim | None"]


@attrs.frozen
class _Hook(Spec):
    reader: Reader
    writer: Writer

    def read(self, source: Source, how: Reading, model: Any) -> Any:
        return self.reader(source, how, model)

    def write(self, value: Any, tag: Tag, how: Printing, model: Any) -> None:
        made = self.writer(value, how, model)
        if made is not None:
            tag.children.append(made)


def _field(spec: Spec, default: Any = None, factory: Any = None) -> Any:
    if factory is not None:
        return attrs.field(factory=factory, metadata={SPEC: spec})
    return attrs.field(default=default, metadata={SPEC: spec})


def attribute(
    name: str,
    scalar: Scalar = TEXT,
    *,
    default: Any = None,
    required: Refusal | bool = False,
    secure: bool = False,
    live: bool = False,
) -> Any:
    """An attribute of the element.

    Args:
        name: in the XML.
        scalar: the kind of value.
        default: the value where the attribute is not there; it is printed.
        required: True, or the error to raise, where the attribute must be there.
        secure: print only where passwords are asked for.
        live: only a running guest has it.
    """
    return _field(_Attribute(name, scalar, secure, live, required), default)


def leaf(name: str, scalar: Scalar = TEXT, *, default: Any = None, live: bool = False) -> Any:
    """A child element that holds text; empty is as good as not there."""
    return _field(_Leaf(name, scalar, False, live), default)


def nested_attribute(
    path: str,
    scalar: Scalar = TEXT,
    *,
    default: Any = None,
    required: Refusal | bool = False,
    absent: Any = None,
    live: bool = False,
) -> Any:
    """A child element with one attribute, ``path`` being ``child/attribute``.

    ``default`` is the value without the child, ``absent`` that of a child without the attribute.
    """
    name, _, attribute_name = path.partition("/")
    return _field(_NestedAttribute(name, scalar, False, live, attribute_name, required, absent), default)


def flag(name: str) -> Any:
    """A child element that is there or not."""
    return _field(_Flag(name), False)


def body(scalar: Scalar = TEXT) -> Any:
    """The text of the element itself."""
    return _field(_Body("", scalar))


def child(cls: type[M], *, too_many: Refusal | None = None, merged: bool = False) -> Any:
    """One child element; of several the first counts.

    Args:
        cls: the model.
        too_many: the error for several.
        merged: several are read as one with the attributes and children of all.
    """
    return _field(_Child(cls, False, too_many, merged))


def children(cls: type[M], *, too_many: Refusal | None = None) -> Any:
    """Any number of child elements, in document order; ``too_many`` is the error for more than one."""
    return _field(_Child(cls, True, too_many), factory=list)


def inline(cls: type[M]) -> Any:
    """The fields of another model, in this element."""
    return _field(_Inline(cls), factory=cls)


def hook(reader: Reader, writer: Writer, *, default: Any = None, factory: Any = None) -> Any:
    """A field of its own kind.

    Args:
        reader: (source, how, the model so far) -> the value, or None.
        writer: (value, how, model) -> an element, or None.
    """
    return _field(_Hook(reader, writer), default, factory)


def write_element(value: Model, how: Printing, model: Any) -> Tag:
    """Write a model as it writes itself: for a :func:`hook` that only reads in a way of its own."""
    return value.element(how)


def hidden(default: Any = None, factory: Any = None) -> Any:
    """A field that does not stand in the XML."""
    return attrs.field(factory=factory) if factory is not None else attrs.field(default=default)


def variant(tag: str, choose: Chooser, *, many: bool = False) -> Any:
    """A child element (or many) whose model depends on what is in it.

    Args:
        tag: of the element.
        choose: the element -> its model's class, or None to skip the element; may raise VirError.
        many: keep all of them.
    """
    spec = _Variant(tag, choose, many)
    return _field(spec, factory=list) if many else _field(spec)


def leaves(name: str) -> Any:
    """Any number of child elements that hold text, as a list of texts."""
    return _field(_Leaves(name), factory=list)
