"""The disks of a snapshot: how each of the guest's disks is kept.

*internal* in the image itself, *external* by leaving the image alone and writing on in a new one, *manual* by
somebody else, *no* not at all. What a document leaves out is taken from the guest's disk, and after that from
where the snapshot goes as a whole.
"""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN_SNAPSHOT
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.stubs.errors import XmlError as XmlFault
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.document import MAX_DEVICES, DomainModel
from remotevirt.xml.domain.storage import FORMATS, STORAGE_TYPES, StorageSource, read_source
from remotevirt.xml.fields import Printing, Reading, Source
from remotevirt.xml.moment import disk_places
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Where, unsupported
from remotevirt.xml.write import Tag

__all__ = ["EXTERNAL", "INTERNAL", "MANUAL", "NO", "SnapshotDisk", "align_disks", "read_disks"]

NO: Final = "no"
INTERNAL: Final = "internal"
EXTERNAL: Final = "external"
MANUAL: Final = "manual"

_SNAPSHOT: Final = Choice(f"{NO} {INTERNAL} {EXTERNAL} {MANUAL}")
_TYPE: Final = Choice(" ".join(STORAGE_TYPES))
_FORMAT: Final = Choice(
    FORMATS.replace("none", ""),
    refusal=unsupported("unknown disk snapshot driver '{}'", VIR_FROM_DOMAIN_SNAPSHOT),
)


@attrs.define
class SnapshotDisk:
    """How a disk is kept.

    Attributes:
        name: of the disk in the guest; in a document also the path of its image.
        snapshot: one of the words above, None as long as nobody has said.
        type: what kind of place the new image is in.
        format: of the new image.
        source: the new image.
    """

    name: str
    snapshot: str | None = None
    type: str = "file"
    format: str | None = None
    source: StorageSource | None = None

    @property
    def path(self) -> str | None:
        """The place of the new image, None if nobody has named one."""
        return self.source.place() if self.source is not None else None

    @classmethod
    def read(cls, element: Element) -> SnapshotDisk:
        """Read an element; raises VirError."""
        domain = VIR_FROM_DOMAIN_SNAPSHOT
        name = element.get("name")
        if name is None:
            raise InternalError("missing name from disk snapshot element", domain=domain)
        disk = cls(name)
        word = element.get("snapshot")
        if word is not None:
            disk.snapshot = _SNAPSHOT.read(word, Where("disk", "snapshot"))
        kind = element.get("type")
        if kind is not None:
            disk.type = _TYPE.read(kind, Where("disk", "type")) or disk.type
        disk.source = read_source(disk.type, Source(element), Reading())
        driver = element.find("driver")
        known = None if driver is None else driver.get("type")
        if known is not None:
            disk.format = _FORMAT.read(known, Where("driver", "type"))
        path = disk.path
        if path is not None and disk.type in {"file", "block"} and not path.startswith("/"):
            raise XmlFault(f"disk snapshot image path '{path}' must be absolute", domain=domain)
        if disk.snapshot is None and (path is not None or disk.format is not None):
            disk.snapshot = EXTERNAL
        return disk

    def element(self) -> Tag:
        """The element as it is printed."""
        tag = Tag("disk").set("name", self.name).set("snapshot", self.snapshot)
        if self.path is None and self.format is None:
            return tag
        tag.set("type", self.type)
        if self.format is not None:
            tag.add(Tag("driver").set("type", self.format))
        if self.source is not None:
            source = self.source.element(Printing(secure=True, inactive=True))
            if not source.is_bare():
                tag.add(source)
        return tag


def read_disks(root: Element) -> list[SnapshotDisk]:
    """The disks that a document names; raises VirError."""
    elements = root.findall("disks/*")
    if len(elements) > MAX_DEVICES:
        raise _too_many()
    return [SnapshotDisk.read(element) for element in elements]


def _too_many() -> ConfigUnsupported:
    """Return the error for more disks than the guest has, or can have."""
    text = "too many disk snapshot requests for domain"
    return ConfigUnsupported(text, domain=VIR_FROM_DOMAIN_SNAPSHOT)


def _wanted(disk: Disk) -> str | None:
    """How the guest's document wants a disk to be kept; None if it does not say."""
    return disk.snapshot or (NO if disk.readonly else None)


def align_disks(disks: list[SnapshotDisk], guest: DomainModel, default: str) -> list[SnapshotDisk]:
    """Return an entry for each disk of the guest, in its order.

    Args:
        disks: what the document says of some of them.
        guest: the guest's document.
        default: how disks are kept that nothing is said of; if internal, all must be.

    Raises:
        ConfigUnsupported: the document asks for what does not exist or cannot be.
    """
    domain = VIR_FROM_DOMAIN_SNAPSHOT
    uniform = default == INTERNAL
    theirs = guest.devices.disks
    if len(disks) > len(theirs):
        raise _too_many()
    aligned: list[SnapshotDisk | None] = [None] * len(theirs)
    places = disk_places(
        [disk.name for disk in disks],
        theirs,
        lambda name: ConfigUnsupported(f"disk '{name}' specified twice", domain=domain),
        domain,
    )
    for disk, place in zip(disks, places, strict=True):
        wanted = _wanted(theirs[place])
        if disk.snapshot is None:
            strict = uniform and wanted not in (default, NO)
            disk.snapshot = default if wanted is None or strict else wanted
        elif uniform and disk.snapshot != default and not disk.snapshot == wanted == NO:
            raise ConfigUnsupported(f"disk '{disk.name}' must use snapshot mode '{default}'", domain=domain)
        if disk.path is not None and disk.snapshot != EXTERNAL:
            text = f"file '{disk.path}' for disk '{disk.name}' requires use of external snapshot mode"
            raise ConfigUnsupported(text, domain=domain)
        disk.name = theirs[place].dev
        aligned[place] = disk
    for place, their in enumerate(theirs):
        if aligned[place] is None:
            mode = NO if their.source_is_empty() else _wanted(their) or default
            aligned[place] = SnapshotDisk(their.dev, mode)
    found = [disk for disk in aligned if disk is not None]
    for disk, their in zip(found, theirs, strict=True):
        if disk.snapshot == EXTERNAL and disk.path is None:
            raise _nameless(disk, their)
    return found


def _nameless(disk: SnapshotDisk, their: Disk) -> ConfigUnsupported:
    """Return the error for a new image that nobody has named.

    libvirt makes up a name beside an image that it finds to be a plain file on the host. There are no images
    here, and nobody may learn from us which files the host has.
    """
    name = "external snapshot name"
    if disk.type != "file":
        text = f"cannot generate {name} for disk '{disk.name}' on a '{disk.type}' device"
    elif their.source_is_empty():
        text = f"cannot generate {name} for disk '{disk.name}' without source"
    else:
        text = f"source for disk '{disk.name}' is not a regular file; refusing to generate {name}"
    return ConfigUnsupported(text, domain=VIR_FROM_DOMAIN_SNAPSHOT)
