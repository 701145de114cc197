"""Taking snapshots of domains, going back to them, deleting them.

::

    going back to        from off               from running or paused
    a running one        start                  stop, start
    a paused one         start, pause           stop, start, pause
    one that is off      nothing                stop

Each step is an event, with the detail "from snapshot". The flags of a revert choose between running and
paused; of a snapshot that is off they ask for a start besides. A snapshot keeps the domain's live definition,
and going back makes it the live and the persistent one.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.definition import check_length
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.faults import both_flags, check_flags, missing_flag
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.snapshot_lists import SnapshotLists
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import (
    InternalError,
    InvalidArg,
    OperationFailed,
    OperationInvalid,
    OperationUnsupported,
)
from remotevirt.stubs.remote import NonnullDomain, NonnullDomainSnapshot
from remotevirt.xml.domain import copy_domain
from remotevirt.xml.domain.stability import check_stability
from remotevirt.xml.snapshot import (
    DISK_SNAPSHOT,
    OFF,
    STATES,
    SnapshotModel,
    format_snapshot,
    parse_snapshot,
)
from remotevirt.xml.snapshot_disks import EXTERNAL, INTERNAL, MANUAL, NO, align_disks
from remotevirt.xml.values import format_uuid

__all__ = ["SnapshotCalls", "complete_description"]

REDEFINE: Final[int] = c.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
CURRENT: Final[int] = c.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
HALT: Final[int] = c.VIR_DOMAIN_SNAPSHOT_CREATE_HALT
VALIDATE: Final[int] = c.VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE
CREATE_FLAGS: Final[int] = (
    REDEFINE
    | CURRENT
    | HALT
    | VALIDATE
    | c.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
    | c.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | c.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE
)
"""What snapshots of libvirt 9.0.0's test driver can be; the last three make no difference."""

RUNNING: Final[int] = c.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING
PAUSED: Final[int] = c.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
REVERT_FLAGS: Final[int] = RUNNING | PAUSED | c.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE
CHILDREN: Final[int] = c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN
CHILDREN_ONLY: Final[int] = c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY


class SnapshotCalls(SnapshotLists):
    """Calls that make and use snapshots."""

    def domain_snapshot_create_xml(
        self, dom: NonnullDomain, xml_desc: str, flags: int
    ) -> NonnullDomainSnapshot:
        """Take a snapshot, or with VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE take in the description of one."""
        domain = c.VIR_FROM_DOMAIN_SNAPSHOT
        function, create = "virDomainSnapshotCreateXML", "VIR_DOMAIN_SNAPSHOT_CREATE_"
        if flags & CURRENT and not flags & REDEFINE:
            raise missing_flag(function, f"{create}CURRENT", f"{create}REDEFINE", domain)
        for other in ("NO_METADATA", "HALT"):
            if flags & REDEFINE and flags & getattr(c, create + other):
                raise both_flags(function, f"{create}REDEFINE", create + other, domain)
        check_flags(flags, CREATE_FLAGS, "testDomainSnapshotCreateXML")
        record = self.record(dom)
        if record.checkpoints:
            text = "cannot create snapshot while checkpoint exists"
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
        if flags & HALT and not record.persistent:
            text = "cannot halt after transient domain snapshot"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        model = parse_snapshot(
            xml_desc,
            defaults=TestDefinition.DEFAULTS,
            now=self._seconds,
            redefine=bool(flags & REDEFINE),
            validate=bool(flags & VALIDATE),
        )
        model.size = model.guest_size = len(xml_desc)
        if flags & REDEFINE:
            complete_description(record, model)
            self.world.keep_moment(record, record.snapshots, model, current=bool(flags & CURRENT))
        else:
            _complete(record, model)
            self.world.keep_moment(record, record.snapshots, model, current=True)
            if flags & HALT and record.active:
                self._stop(record)
                dom = dom._replace(id=record.id)
        return NonnullDomainSnapshot(model.name, dom)

    def _seconds(self) -> int:
        """Return the time in seconds since 1970."""
        return self.world.now() // 1_000_000_000

    def _stop(self, record: DomainRecord) -> None:
        """Stop a domain whose snapshot takes over; a transient one stays."""
        reason, detail = c.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT, c.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT
        self.world.stop_and_tell(record, reason, detail, keep=True)

    def domain_snapshot_get_xml_desc(self, snap: NonnullDomainSnapshot, flags: int) -> str:
        """Return a snapshot's document."""
        check_flags(flags, c.VIR_DOMAIN_SNAPSHOT_XML_SECURE, "testDomainSnapshotGetXMLDesc")
        _, found = self.snapshot(snap)
        text = format_snapshot(found, secure=bool(flags & c.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
        check_length(text)
        return text

    def domain_revert_to_snapshot(self, snap: NonnullDomainSnapshot, flags: int) -> None:
        """Put a domain back into the state of a snapshot, or into another that the flags ask for."""
        if flags & RUNNING and flags & PAUSED:
            names = ("VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING", "VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED")
            raise both_flags("virDomainRevertToSnapshot", *names, c.VIR_FROM_DOMAIN_SNAPSHOT)
        check_flags(flags, REVERT_FLAGS, "testDomainRevertToSnapshot")
        record, found = self.snapshot(snap)
        start = found.online or bool(flags & (RUNNING | PAUSED))
        if not record.persistent and not start:
            text = "transient domain needs to request run or pause to revert to inactive snapshot"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        assert found.domain is not None
        definition = TestDefinition(copy_domain(found.domain), found.guest_size)
        self.world.check_room(definition.size)
        if record.active:
            self._stop(record)
        self.world.replace(record, definition)
        if start:
            self._run_on(
                record, paused=not flags & RUNNING and (found.state == "paused" or bool(flags & PAUSED))
            )
        self.world.set_current(record, record.snapshots, found.name)

    def _run_on(self, record: DomainRecord, *, paused: bool) -> None:
        """Let a domain run on from a snapshot."""
        world = self.world
        world.start(record, c.VIR_DOMAIN_RUNNING_FROM_SNAPSHOT)
        world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT)
        if paused:
            world.set_state(record, c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT)
            detail = c.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT
            world.publish(record, c.VIR_DOMAIN_EVENT_SUSPENDED, detail)

    def domain_snapshot_delete(self, snap: NonnullDomainSnapshot, flags: int) -> None:
        """Delete a snapshot, with what comes from it or only that."""
        if flags & CHILDREN and flags & CHILDREN_ONLY:
            names = ("VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN", "VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY")
            raise both_flags("virDomainSnapshotDelete", *names, c.VIR_FROM_DOMAIN_SNAPSHOT)
        check_flags(flags, CHILDREN | CHILDREN_ONLY, "testDomainSnapshotDelete")
        record, found = self.snapshot(snap)
        children = bool(flags & (CHILDREN | CHILDREN_ONLY))
        itself = not flags & CHILDREN_ONLY
        self.world.drop_moment(record, record.snapshots, found, children=children, itself=itself)


def complete_description(record: DomainRecord, model: SnapshotModel) -> None:
    """Check a description, against the domain and against what it replaces, and complete it.

    Raises:
        VirError: it does not belong to the domain, or says too different things.
    """
    domain = c.VIR_FROM_DOMAIN_SNAPSHOT
    table = record.snapshots
    table.check_parent(model)
    if model.domain is not None and model.domain.uuid != record.uuid:
        text = f"definition for snapshot {model.name} must use uuid {format_uuid(record.uuid)}"
        raise InvalidArg(text, domain=domain)
    old = table.by_name.get(model.name)
    if old is not None:
        if old.online != model.online:
            text = f"cannot change between online and offline snapshot state in snapshot {model.name}"
            raise InvalidArg(text, domain=domain)
        if (old.state == DISK_SNAPSHOT) != (model.state == DISK_SNAPSHOT):
            text = f"cannot change between disk only and full system in snapshot {model.name}"
            raise InvalidArg(text, domain=domain)
        if old.domain is not None:
            if model.domain is None:
                model.domain = old.domain
            else:
                check_stability(old.domain, model.domain)
    if model.domain is None:
        raise InternalError("missing domain in snapshot", domain=domain)
    default = EXTERNAL if model.state == DISK_SNAPSHOT or model.external else INTERNAL
    model.disks = align_disks(model.disks, model.domain, default)


def _complete(record: DomainRecord, model: SnapshotModel) -> None:
    """Fill in what the domain itself says of a new snapshot.

    Raises:
        VirError: it cannot be as its document wants it.
    """
    model.domain = copy_domain(record.live.model)
    model.guest_size = record.live.size
    model.size += record.live.size
    model.state = STATES[record.state]
    if model.memory != EXTERNAL:
        model.memory = NO if model.state == OFF else INTERNAL
    if any(disk.snapshot == MANUAL for disk in model.disks):
        text = "'manual' snapshot mode is not supported by the test driver"
        raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
    location = EXTERNAL if model.memory == EXTERNAL else INTERNAL
    model.disks = align_disks(model.disks, model.domain, location)
    if model.name in record.snapshots.by_name:
        raise OperationFailed(f"domain moment {model.name} already exists", domain=c.VIR_FROM_DOMAIN)
    model.parent = record.snapshots.current
