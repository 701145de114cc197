"""The checkpoints of domains: making, finding and deleting them.

A domain has snapshots or checkpoints, not both, and checkpoints are made while it is active.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.definition import check_length
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.moments import ListFlags, references
from remotevirt.drivers.faults import both_flags, check_flags, missing_flag, not_running
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoDomainCheckpoint, OperationFailed, OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain, NonnullDomainCheckpoint
from remotevirt.stubs.remote.checkpoint import DomainCheckpointListAllChildrenRet, DomainListAllCheckpointsRet
from remotevirt.xml.checkpoint import CheckpointModel, format_checkpoint, parse_checkpoint
from remotevirt.xml.domain import copy_domain
from remotevirt.xml.values import format_uuid

__all__ = ["CheckpointCalls"]

REDEFINE: Final[int] = c.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
QUIESCE: Final[int] = c.VIR_DOMAIN_CHECKPOINT_CREATE_QUIESCE
REDEFINE_VALIDATE: Final[int] = c.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
CREATE_FLAGS: Final[int] = REDEFINE | QUIESCE

XML_FLAGS: Final[int] = (
    c.VIR_DOMAIN_CHECKPOINT_XML_SECURE
    | c.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
    | c.VIR_DOMAIN_CHECKPOINT_XML_SIZE
)
"""Sizes can be asked for, and are never known."""

GROUPS: Final[tuple[int, ...]] = (
    c.VIR_DOMAIN_CHECKPOINT_LIST_LEAVES | c.VIR_DOMAIN_CHECKPOINT_LIST_NO_LEAVES,
)

CHILDREN: Final[int] = c.VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN
METADATA_ONLY: Final[int] = c.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
CHILDREN_ONLY: Final[int] = c.VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN_ONLY


def _facts_of(model: CheckpointModel, has_children: bool) -> int:
    """Return the filter flags that are true of a checkpoint."""
    leaf: int = c.VIR_DOMAIN_CHECKPOINT_LIST_LEAVES
    return c.VIR_DOMAIN_CHECKPOINT_LIST_NO_LEAVES if has_children else leaf


LISTS: Final = ListFlags(
    deep=c.VIR_DOMAIN_CHECKPOINT_LIST_DESCENDANTS,
    topological=c.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL,
    groups=GROUPS,
    facts=_facts_of,
)
"""What the flags of list calls mean."""


class CheckpointCalls(DomainCalls):
    """Calls about checkpoints."""

    def checkpoint(self, checkpoint: NonnullDomainCheckpoint) -> tuple[DomainRecord, CheckpointModel]:
        """Return the domain and the checkpoint that a reference means.

        Raises:
            NoDomain: the domain is not there.
            NoDomainCheckpoint: the checkpoint is not there.
        """
        record = self.record(checkpoint.dom)
        return record, _named(record, checkpoint.name)

    def domain_checkpoint_create_xml(
        self, dom: NonnullDomain, xml_desc: str, flags: int
    ) -> NonnullDomainCheckpoint:
        """Make a checkpoint, or with VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE take in the description of one."""
        domain = c.VIR_FROM_DOMAIN_CHECKPOINT
        function, create = "virDomainCheckpointCreateXML", "VIR_DOMAIN_CHECKPOINT_CREATE_"
        if flags & REDEFINE and flags & QUIESCE:
            raise both_flags(function, f"{create}REDEFINE", f"{create}QUIESCE", domain)
        if flags & REDEFINE_VALIDATE and not flags & REDEFINE:
            raise missing_flag(function, f"{create}REDEFINE_VALIDATE", f"{create}REDEFINE", domain)
        check_flags(flags, CREATE_FLAGS, "testDomainCheckpointCreateXML")
        record = self.record(dom)
        if record.snapshots:
            text = "cannot create checkpoint while snapshot exists"
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
        if not record.active:
            text = "cannot create checkpoint for inactive domain"
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
        redefine = bool(flags & REDEFINE)
        model = parse_checkpoint(
            xml_desc, defaults=TestDefinition.DEFAULTS, now=self._seconds, redefine=redefine
        )
        model.size = model.guest_size = len(xml_desc)
        if redefine:
            _redefine(record, model)
            current = record.checkpoints.current in (None, model.parent)
        else:
            _complete(record, model)
            current = True
        self.world.keep_moment(record, record.checkpoints, model, current=current)
        return NonnullDomainCheckpoint(model.name, dom)

    def _seconds(self) -> int:
        """Return the time in seconds since 1970."""
        return self.world.now() // 1_000_000_000

    def domain_checkpoint_get_xml_desc(self, checkpoint: NonnullDomainCheckpoint, flags: int) -> str:
        """Return a checkpoint's document."""
        check_flags(flags, XML_FLAGS, "testDomainCheckpointGetXMLDesc")
        record, found = self.checkpoint(checkpoint)
        if flags & c.VIR_DOMAIN_CHECKPOINT_XML_SIZE and not record.active:
            raise not_running()
        guest = not flags & c.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
        secure = bool(flags & c.VIR_DOMAIN_CHECKPOINT_XML_SECURE)
        text = format_checkpoint(found, guest=guest, secure=secure)
        check_length(text)
        return text

    def domain_list_all_checkpoints(
        self, dom: NonnullDomain, need_results: int, flags: int
    ) -> DomainListAllCheckpointsRet:
        """Return the checkpoints that pass a filter, or with ``need_results`` 0 only how many."""
        check_flags(flags, LISTS.all, "testDomainListAllCheckpoints")
        names = LISTS.names(self.record(dom).checkpoints, None, flags)
        return DomainListAllCheckpointsRet(
            references(NonnullDomainCheckpoint, dom, names, need_results), len(names)
        )

    def domain_checkpoint_list_all_children(
        self, checkpoint: NonnullDomainCheckpoint, need_results: int, flags: int
    ) -> DomainCheckpointListAllChildrenRet:
        """Return children, or descendants, that pass a filter, or with ``need_results`` 0 how many."""
        check_flags(flags, LISTS.all, "testDomainCheckpointListAllChildren")
        record, found = self.checkpoint(checkpoint)
        names = LISTS.names(record.checkpoints, found.name, flags)
        return DomainCheckpointListAllChildrenRet(
            references(NonnullDomainCheckpoint, checkpoint.dom, names, need_results), len(names)
        )

    def domain_checkpoint_lookup_by_name(
        self, dom: NonnullDomain, name: str, flags: int
    ) -> NonnullDomainCheckpoint:
        """Return the checkpoint of a name."""
        check_flags(flags, 0, "testDomainCheckpointLookupByName")
        return NonnullDomainCheckpoint(_named(self.record(dom), name).name, dom)

    def domain_checkpoint_get_parent(
        self, checkpoint: NonnullDomainCheckpoint, flags: int
    ) -> NonnullDomainCheckpoint:
        """Return the checkpoint before another."""
        check_flags(flags, 0, "testDomainCheckpointGetParent")
        _, found = self.checkpoint(checkpoint)
        if found.parent is None:
            text = f"checkpoint '{found.name}' does not have a parent"
            raise NoDomainCheckpoint(text, domain=c.VIR_FROM_TEST)
        return NonnullDomainCheckpoint(found.parent, checkpoint.dom)

    def domain_checkpoint_delete(self, checkpoint: NonnullDomainCheckpoint, flags: int) -> None:
        """Delete a checkpoint, with what comes from it or only that."""
        if flags & CHILDREN and flags & CHILDREN_ONLY:
            names = ("VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN", "VIR_DOMAIN_CHECKPOINT_DELETE_CHILDREN_ONLY")
            raise both_flags("virDomainCheckpointDelete", *names, c.VIR_FROM_DOMAIN_CHECKPOINT)
        check_flags(flags, CHILDREN | METADATA_ONLY | CHILDREN_ONLY, "testDomainCheckpointDelete")
        record, found = self.checkpoint(checkpoint)
        children = bool(flags & (CHILDREN | CHILDREN_ONLY))
        itself = not flags & CHILDREN_ONLY
        self.world.drop_moment(record, record.checkpoints, found, children=children, itself=itself)


def _named(record: DomainRecord, name: str) -> CheckpointModel:
    """Return the checkpoint of a name; raises NoDomainCheckpoint."""
    found = record.checkpoints.by_name.get(name)
    if found is None:
        text = f"no domain checkpoint with matching name '{name}'"
        raise NoDomainCheckpoint(text, domain=c.VIR_FROM_TEST)
    return found


def _redefine(record: DomainRecord, model: CheckpointModel) -> None:
    """Check a description against the domain, and complete it.

    Raises:
        VirError: it does not belong to the domain.
    """
    record.checkpoints.check_parent(model)
    if model.domain is None:
        model.name_bitmaps()
        return
    if model.domain.uuid != record.uuid:
        text = f"definition for checkpoint {model.name} must use uuid {format_uuid(record.uuid)}"
        raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN_CHECKPOINT)
    model.align_disks()


def _complete(record: DomainRecord, model: CheckpointModel) -> None:
    """Fill in what the domain itself says of a new checkpoint.

    Raises:
        VirError: it cannot be as its document wants it.
    """
    model.domain = copy_domain(record.live.model)
    model.guest_size = record.live.size
    model.size += record.live.size
    model.align_disks()
    if model.name in record.checkpoints.by_name:
        raise OperationFailed(f"domain moment {model.name} already exists", domain=c.VIR_FROM_DOMAIN)
    model.parent = record.checkpoints.current
