"""The checkpoint document: a moment from which on it is recorded which blocks of a guest's disks change.

::

    <domaincheckpoint>
      <name>monday</name> <description>...</description>
      <parent><name>sunday</name></parent>
      <creationTime>1525889631</creationTime>
      <disks> <disk name='vda' checkpoint='bitmap' bitmap='monday'/> </disks>
      <domain type='test'>...</domain>
    </domaincheckpoint>

libvirt checks every such document against its schema, asked or not, and so do we where it is installed.
"""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN_CHECKPOINT
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain import DomainDefaults
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.moment import (
    Clock,
    Moment,
    child_text,
    disk_places,
    read_guest,
    read_moment,
    read_time,
    write_guest,
    write_head,
    write_parent,
)
from remotevirt.xml.parse import Element, parse_document
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import Choice, Where
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["BITMAP", "NO", "CheckpointDisk", "CheckpointModel", "format_checkpoint", "parse_checkpoint"]

NO: Final = "no"
BITMAP: Final = "bitmap"

SCHEMA: Final = SCHEMAS / "domaincheckpoint.rng"

_CHECKPOINT: Final = Choice(f"{NO} {BITMAP}")


@attrs.define
class CheckpointDisk:
    """Whether and where the changes of a disk are recorded.

    Attributes:
        name: of the disk in the guest; in a document also the path of its image.
        checkpoint: :data:`BITMAP` or :data:`NO`.
        bitmap: the name of what they are recorded in.
    """

    name: str
    checkpoint: str = BITMAP
    bitmap: str | None = None


@attrs.define
class CheckpointModel(Moment):
    """A checkpoint; ``disks`` are the guest's, in its order."""

    KIND: ClassVar[str] = "checkpoint"
    disks: list[CheckpointDisk] = attrs.field(factory=list)

    def align_disks(self) -> None:
        """Make an entry for each disk of the guest, in its order.

        Raises:
            ConfigUnsupported: the document asks for what does not exist or cannot be.
        """
        domain = VIR_FROM_DOMAIN_CHECKPOINT
        theirs = self.domain.devices.disks if self.domain is not None else []
        if len(self.disks) > len(theirs):
            raise ConfigUnsupported("too many disk checkpoint requests for domain", domain=domain)
        if not theirs:
            text = "domain must have at least one disk to perform checkpoints"
            raise ConfigUnsupported(text, domain=domain)
        aligned: list[CheckpointDisk | None] = [None] * len(theirs)
        places = disk_places(
            [disk.name for disk in self.disks],
            theirs,
            lambda name: ConfigUnsupported(f"disk '{name}' specified twice", domain=domain),
            domain,
        )
        default = NO if self.disks else BITMAP
        for disk, place in zip(self.disks, places, strict=True):
            if disk.checkpoint == BITMAP and _blank(theirs[place]):
                raise ConfigUnsupported(f"disk '{disk.name}' is empty or readonly", domain=domain)
            disk.name = theirs[place].dev
            aligned[place] = disk
        for place, their in enumerate(theirs):
            if aligned[place] is None:
                mode = NO if _blank(their) else default
                aligned[place] = CheckpointDisk(their.dev, mode)
        self.disks = [disk for disk in aligned if disk is not None]
        self.name_bitmaps()

    def name_bitmaps(self) -> None:
        """Name what the changes of disks are recorded in after the checkpoint, where nobody has named it."""
        for disk in self.disks:
            if disk.checkpoint == BITMAP and disk.bitmap is None:
                disk.bitmap = self.name


def parse_checkpoint(
    text: str, *, defaults: DomainDefaults, now: Clock, redefine: bool = False, validate: bool = True
) -> CheckpointModel:
    """Read a document.

    Args:
        text: the document.
        defaults: what the driver adds to documents of guests.
        now: the time of a new checkpoint, which is its name too if it has no other.
        redefine: the document describes a checkpoint.
        validate: refuse what libvirt's schema does not know, as libvirt does with all that clients send.

    Raises:
        VirError: with libvirt's code, domain and text.
    """
    domain = VIR_FROM_DOMAIN_CHECKPOINT
    root = parse_document(text, root="domaincheckpoint", source="(domain_checkpoint)", domain=domain)
    if validate and SCHEMA.exists():
        validate_document(root, SCHEMA)
    model = CheckpointModel()
    read_moment(model, root)
    if redefine:
        if not model.name:
            raise XmlError("a redefined checkpoint must have a name", domain=domain)
        model.created = read_time(root, CheckpointModel.KIND, domain)
        model.parent = child_text(root, "parent/name") or None
        model.domain = read_guest(root, "domain", defaults)
    else:
        model.created = now()
        model.name = model.name or str(model.created)
    model.disks = [_read_disk(element) for element in root.findall("disks/*")]
    return model


def _blank(disk: Disk) -> bool:
    """Return whether nothing can be written to a disk."""
    return disk.source_is_empty() or disk.readonly


def _read_disk(element: Element) -> CheckpointDisk:
    """Read a disk; raises VirError."""
    name = element.get("name")
    if name is None:
        raise InternalError("missing name from disk checkpoint element", domain=VIR_FROM_DOMAIN_CHECKPOINT)
    disk = CheckpointDisk(name)
    word = element.get("checkpoint")
    if word is not None:
        disk.checkpoint = _CHECKPOINT.read(word, Where("disk", "checkpoint")) or BITMAP
    disk.bitmap = element.get("bitmap") or None
    return disk


def format_checkpoint(model: CheckpointModel, *, guest: bool, secure: bool) -> str:
    """Print a checkpoint, with or without the guest's document and the passwords in it."""
    root = Tag("domaincheckpoint")
    write_head(root, model)
    write_parent(root, model)
    if model.created:
        root.add(leaf("creationTime", model.created))
    if model.disks:
        disks = Tag("disks")
        for disk in model.disks:
            tag = Tag("disk").set("name", disk.name).set("checkpoint", disk.checkpoint)
            disks.add(tag.set("bitmap", disk.bitmap))
        root.add(disks)
    if guest and model.domain is not None:
        write_guest(root, model.domain, secure=secure)
    return render(root)
