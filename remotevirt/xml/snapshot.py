"""The snapshot document: a guest as it was, and how its memory and disks were kept.

::

    <domainsnapshot>
      <name>before</name> <description>...</description>
      <state>running</state>
      <parent><name>clean</name></parent>
      <creationTime>1386166249</creationTime>
      <memory snapshot='internal'/>
      <disks> <disk name='vda' snapshot='internal'/> </disks>
      <domain type='test'>...</domain>
    </domainsnapshot>

Of a document that asks for a new snapshot name, description, memory and disks count; one that describes a
snapshot (redefinition) says everything.
"""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN_SNAPSHOT
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain import DomainDefaults, DomainModel
from remotevirt.xml.moment import (
    Clock,
    Moment,
    child_text,
    read_guest,
    read_moment,
    read_time,
    write_guest,
    write_head,
    write_parent,
)
from remotevirt.xml.parse import Element, parse_document
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.snapshot_disks import EXTERNAL, INTERNAL, MANUAL, NO, SnapshotDisk, read_disks
from remotevirt.xml.values import Choice, Where, unsupported
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["DISK_SNAPSHOT", "OFF", "STATES", "SnapshotModel", "format_snapshot", "parse_snapshot"]

DISK_SNAPSHOT: Final = "disk-snapshot"
"""The state of a snapshot that has only disks in it."""

OFF: Final = "shutoff"

STATES: Final = ("nostate", "running", "blocked", "paused", "shutdown", OFF, "crashed", "pmsuspended")
"""The words of virDomainState, by number."""

_STATE: Final = Choice(
    " ".join((*STATES[1:], DISK_SNAPSHOT)),
    refusal=unsupported("Invalid state '{}' in domain snapshot XML", VIR_FROM_DOMAIN_SNAPSHOT),
)
_MEMORY: Final = Choice(f"{NO} {INTERNAL} {EXTERNAL} {MANUAL}")


@attrs.define
class SnapshotModel(Moment):
    """A snapshot.

    Attributes:
        state: a word of :data:`STATES`, or :data:`DISK_SNAPSHOT`.
        memory: how the memory was kept (:mod:`remotevirt.xml.snapshot_disks` has the words), None as long as
            nobody has said.
        memory_file: where, if that is outside.
        disks: how the disks were kept.
        inactive: the guest's persistent document, where a description has one.
    """

    KIND: ClassVar[str] = "snapshot"
    state: str = "nostate"
    memory: str | None = None
    memory_file: str | None = None
    disks: list[SnapshotDisk] = attrs.field(factory=list)
    inactive: DomainModel | None = None

    @property
    def online(self) -> bool:
        """Whether going back to it leads to a guest that runs or is paused."""
        return self.state in {"running", "paused"}

    @property
    def external(self) -> bool:
        """Whether any of it is kept outside of the disks that it is of."""
        return self.memory == EXTERNAL or any(disk.snapshot == EXTERNAL for disk in self.disks)


def parse_snapshot(
    text: str, *, defaults: DomainDefaults, now: Clock, redefine: bool = False, validate: bool = False
) -> SnapshotModel:
    """Read a document.

    Args:
        text: the document.
        defaults: what the driver adds to documents of guests.
        now: the time of a new snapshot, which is its name too if it has no other.
        redefine: the document describes a snapshot.
        validate: refuse what libvirt's schema does not know.

    Raises:
        VirError: with libvirt's code, domain and text.
    """
    domain = VIR_FROM_DOMAIN_SNAPSHOT
    root = parse_document(text, root="domainsnapshot", source="(domain_snapshot)", domain=domain)
    if validate:
        validate_document(root, SCHEMAS / "domainsnapshot.rng")
    model = SnapshotModel()
    read_moment(model, root)
    if redefine:
        if not model.name:
            raise XmlError("a redefined snapshot must have a name", domain=domain)
        _read_description(model, root, defaults)
    _read_memory(model, root, offline=redefine and model.state in {OFF, DISK_SNAPSHOT})
    if model.memory_file is not None and not model.memory_file.startswith("/"):
        text = f"memory snapshot file path ({model.memory_file}) must be absolute"
        raise XmlError(text, domain=domain)
    model.disks = read_disks(root)
    if not redefine:
        model.created = now()
        model.name = model.name or str(model.created)
    return model


def _read_description(model: SnapshotModel, root: Element, defaults: DomainDefaults) -> None:
    """Read what only the description of a snapshot says."""
    model.created = read_time(root, SnapshotModel.KIND, VIR_FROM_DOMAIN_SNAPSHOT)
    model.parent = child_text(root, "parent/name") or None
    state = child_text(root, "state")
    if not state:
        raise XmlError("missing state from existing snapshot", domain=VIR_FROM_DOMAIN_SNAPSHOT)
    model.state = _STATE.read(state, Where("state")) or state
    model.domain = read_guest(root, "domain", defaults)
    model.inactive = read_guest(root, "inactiveDomain", defaults)


def _read_memory(model: SnapshotModel, root: Element, *, offline: bool) -> None:
    """Read how the memory is kept.

    Args:
        model: what was read before.
        root: the document.
        offline: there is no memory to keep.
    """
    domain = VIR_FROM_DOMAIN_SNAPSHOT
    element = root.find("memory")
    word = None if element is None else element.get("snapshot")
    model.memory_file = None if element is None else element.get("file")
    if word is not None:
        model.memory = _MEMORY.read(word, Where("memory", "snapshot"))
        if offline and model.memory != NO:
            text = "memory state cannot be saved with offline or disk-only snapshot"
            raise XmlError(text, domain=domain)
    elif model.memory_file is not None:
        model.memory = EXTERNAL
    elif offline:
        model.memory = NO
    elif model.state != "nostate":
        model.memory = INTERNAL
    if model.memory == MANUAL:
        raise XmlError("'manual' memory snapshot mode not supported", domain=domain)
    if model.memory_file is not None and model.memory != EXTERNAL:
        raise XmlError(f"memory filename '{model.memory_file}' requires external snapshot", domain=domain)
    if model.memory == EXTERNAL and model.memory_file is None:
        raise XmlError("external memory snapshots require a filename", domain=domain)


def format_snapshot(model: SnapshotModel, *, secure: bool) -> str:
    """Print a snapshot; ``secure`` with the passwords that the guest's document has."""
    root = Tag("domainsnapshot")
    write_head(root, model)
    root.add(leaf("state", model.state))
    write_parent(root, model)
    if model.created:
        root.add(leaf("creationTime", model.created))
    if model.memory is not None:
        root.add(Tag("memory").set("snapshot", model.memory).set("file", model.memory_file))
    if model.disks:
        disks = Tag("disks")
        for disk in model.disks:
            disks.add(disk.element())
        root.add(disks)
    if model.domain is not None:
        write_guest(root, model.domain, secure=secure)
    if model.inactive is not None:
        write_guest(root, model.inactive, secure=secure, name="inactiveDomain")
    return render(root)
