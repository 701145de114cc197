"""``<backingStore>``: the images that a disk image is based on."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain.storage import FORMATS, STORAGE_TYPES, StorageSource, read_source
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    child,
    hook,
    write_element,
)
from remotevirt.xml.values import (
    Choice,
    Integer,
    xml_error,
)

__all__ = ["BackingStore"]


MAX_BACKING = 100
"""The longest chain of images behind a disk's: each is read inside the one before. libvirt has no bound but
the depth of a document, 256."""


@attrs.define
class Format(Model):
    TAG: ClassVar[str] = "format"
    type: str = attribute(
        "type",
        Choice(FORMATS, refusal=xml_error("unknown storage source format '{}'")),
        required=xml_error("missing disk backing store format"),
    )


def _read_nested(source: Source, how: Reading, model: Any) -> StorageSource:
    found = read_source(model.type, source, how)
    if found is None:
        raise XmlError("missing disk backing store source", domain=VIR_FROM_DOMAIN)
    return found


def _read_backing(source: Source, how: Reading, model: Any) -> BackingStore | None:
    element = source.first("backingStore")
    return BackingStore.read(element, how) if element is not None else None


@attrs.define
class BackingStore(Model):
    """What a disk image is based on; without a type it is the end of the chain."""

    TAG: ClassVar[str] = "backingStore"
    KEEP: ClassVar[bool] = True
    type: str | None = attribute(
        "type", Choice(" ".join(STORAGE_TYPES), refusal=xml_error("unknown storage source type '{}'"))
    )
    index: int | None = attribute("index", Integer(), live=True)
    format: Format | None = child(Format)
    source: StorageSource | None = hook(
        lambda source, how, model: _read_nested(source, how, model) if model.type else None, write_element
    )
    backing: BackingStore | None = hook(_read_backing, write_element)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> BackingStore:
        if source.get("type") is None:
            return cls()
        if sum(1 for _ in source.element.iterancestors("backingStore")) >= MAX_BACKING:
            raise XmlError(f"a disk image is based on more than {MAX_BACKING} others", domain=VIR_FROM_DOMAIN)
        if source.first("format") is None:
            raise XmlError("missing disk backing store format", domain=VIR_FROM_DOMAIN)
        return super().read_source(source, how)
