"""What all families of calls share: the world, finding a domain, and choosing a definition.

``domain_*`` calls carry a reference; libvirt's drivers find the domain by the UUID in it and ignore name
and id, which may be stale. A call with "impact" flags means the live definition, the persistent one, or
whichever is in force (VIR_DOMAIN_AFFECT_CURRENT).
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.table import DomainTable
from remotevirt.drivers.faults import check_flags, exclusive_flags, no_domain, not_running
from remotevirt.drivers.folder import Folder
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["CONFIG", "IMPACT", "LIVE", "DomainCalls"]

LIVE: Final[int] = c.VIR_DOMAIN_AFFECT_LIVE
CONFIG: Final[int] = c.VIR_DOMAIN_AFFECT_CONFIG
IMPACT: Final[int] = LIVE | CONFIG


class DomainCalls(HypervisorDriver):
    """The base of the test hypervisor's families of calls.

    Attributes:
        world: what the calls work on.
        uri: how the connection was opened.
        files: the folder below which the client may name files; None where the operator allows none.
        note: told of every domain that a call finds, in a world that lasts.
    """

    def __init__(self, world: DomainTable, uri: str, files: Folder | None = None) -> None:
        self.world = world
        self.uri = uri
        self.files = files
        self.domains = world.by_uuid
        self.note = None if world.keeper is None else world.keeper.found

    def check_flags(self, flags: int, supported: int, function: str) -> None:
        """Refuse bits that a call does not know; ``function`` is named after the driver's prefix."""
        check_flags(flags, supported, f"{self.world.PREFIX}{function}", self.world.ERRORS)

    def record(self, dom: NonnullDomain) -> DomainRecord:
        """Return the domain that a reference means.

        Raises:
            NoDomain: it is not there.
        """
        record = self.domains.get(dom.uuid)
        if record is None:
            raise no_domain(dom, self.world.ERRORS)
        if self.note is not None:
            self.note(record)
        return record

    def active(self, dom: NonnullDomain, domain: int = c.VIR_FROM_DOMAIN) -> DomainRecord:
        """Return an active domain.

        Args:
            dom: the reference.
            domain: which part of libvirt complains where it is not active.

        Raises:
            NoDomain: it is not there.
            OperationInvalid: it is not active.
        """
        record = self.record(dom)
        if not record.active:
            raise not_running(domain)
        return record

    @staticmethod
    def impact(record: DomainRecord, flags: int) -> int:
        """Resolve VIR_DOMAIN_AFFECT_CURRENT and check what was asked for.

        Returns:
            ``flags`` with LIVE, CONFIG or both set.

        Raises:
            OperationInvalid: LIVE of an inactive domain, CONFIG of a transient one.
        """
        if not flags & IMPACT:
            flags |= LIVE if record.active else CONFIG
        if flags & LIVE and not record.active:
            raise not_running()
        if flags & CONFIG and not record.persistent:
            raise OperationInvalid(
                "transient domains do not have any persistent config", domain=c.VIR_FROM_DOMAIN
            )
        return flags

    def definitions(self, record: DomainRecord, flags: int) -> tuple[Definition | None, Definition | None]:
        """Return the live and the persistent definition that a call shall change, None where not meant.

        Raises:
            OperationInvalid: as :meth:`impact`.
        """
        flags = self.impact(record, flags)
        return (
            record.live if flags & LIVE else None,
            record.persistent_definition if flags & CONFIG else None,
        )

    def one_definition(self, record: DomainRecord, flags: int) -> Definition:
        """Return the definition that a call means which can mean only one.

        Raises:
            InvalidArg: both are asked for.
            OperationInvalid: as :meth:`impact`.
        """
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainObjGetOneDefState", "flags")
        live, config = self.definitions(record, flags)
        chosen = live or config
        assert chosen is not None
        return chosen
