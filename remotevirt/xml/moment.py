"""What snapshots and checkpoints have in common: the moments of a guest, as documents.

Both are a name, a description, the moment that they come from, the time, some disks, and the guest's own
document as it was. A document that *describes* a moment (redefinition) says all of it; one that asks for a
new moment need not even have a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.xml.domain import DomainDefaults, DomainModel, read_domain
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.fields import Printing
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import parse_integer
from remotevirt.xml.write import Tag, leaf

__all__ = ["Clock", "Moment", "disk_places", "read_moment", "read_time", "write_head"]

Clock: TypeAlias = Callable[[], int]
"""Returns the time in seconds since 1970."""


@attrs.define
class Moment:
    """A moment of a guest.

    Attributes:
        name: unique among the moments of its kind that the guest has.
        parent: the name of the moment that it comes from, None for a root.
        created: seconds since 1970.
        domain: the guest's document at that moment, None where a description has left it out.
        size: the characters that it counts for, where somebody keeps it.
        guest_size: those that the guest's document would count for by itself.
    """

    name: str = ""
    description: str | None = None
    parent: str | None = None
    created: int = 0
    domain: DomainModel | None = None
    size: int = 0
    guest_size: int = 0

    KIND: ClassVar[str] = "moment"
    """What it is called in errors."""


def read_moment(moment: Moment, root: Element) -> None:
    """Read name and description."""
    moment.name = child_text(root, "name") or ""
    moment.description = child_text(root, "description") or None


def child_text(root: Element, path: str) -> str | None:
    """The text of a descendant, None if it is not there."""
    found = root.find(path)
    return None if found is None else text_of(found)


def read_time(root: Element, kind: str, domain: int) -> int:
    """The time in a description.

    Raises:
        InternalError: it is not there, or not a number.
    """
    created = parse_integer(child_text(root, "creationTime") or "", low=-(2**63), high=2**63 - 1)
    if created is None:
        raise InternalError(f"missing creationTime from existing {kind}", domain=domain)
    return created


def read_guest(root: Element, tag: str, defaults: DomainDefaults) -> DomainModel | None:
    """The guest's document in a description; one without a type is as good as none.

    Raises:
        VirError: as for any document of a guest.
    """
    found = root.find(tag)
    return None if found is None or not found.get("type") else read_domain(found, defaults=defaults)


def write_head(tag: Tag, moment: Moment) -> None:
    """Print name and description."""
    tag.add(leaf("name", moment.name))
    if moment.description:
        tag.add(leaf("description", moment.description))


def write_parent(tag: Tag, moment: Moment) -> None:
    """Print the name of the parent."""
    if moment.parent is not None:
        parent = Tag("parent")
        parent.add(leaf("name", moment.parent))
        tag.add(parent)


def write_guest(tag: Tag, model: DomainModel, *, secure: bool, name: str = "domain") -> None:
    """Print the guest's document."""
    element = model.element(Printing(secure=secure, inactive=True))
    element.name = name
    tag.add(element)


def disk_places(
    names: list[str], disks: list[Disk], twice: Callable[[str], VirError], domain: int
) -> Iterator[int]:
    """Find one by one the disks that a document names, by name in the guest or by path on the host.

    Args:
        names: what the document says.
        disks: what the guest has.
        twice: the error for a disk that is named twice.
        domain: which part of libvirt complains of one that is not there.

    Yields:
        The disk's place among the guest's.

    Raises:
        ConfigUnsupported: there is no such disk, or two have that path.
    """
    by_target = {disk.dev: number for number, disk in enumerate(disks)}
    by_path: dict[str, list[int]] = {}
    for number, disk in enumerate(disks):
        path = disk.source.place() if disk.source is not None else None
        if path:
            by_path.setdefault(path, []).append(number)
    seen: set[int] = set()
    for name in names:
        if name.startswith("/"):
            found = by_path.get(name, [])
            place = found[0] if len(found) == 1 else None
        else:
            place = by_target.get(name)
        if place is None:
            raise ConfigUnsupported(f"no disk named '{name}'", domain=domain)
        if place in seen:
            raise twice(name)
        seen.add(place)
        yield place
