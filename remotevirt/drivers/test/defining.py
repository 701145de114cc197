"""Taking domains in and letting them go: create from XML, undefine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.defining import DefineCalls
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DefiningCalls"]

UNDEFINE_FLAGS: Final[int] = c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
"""What undefine knows in libvirt 9.0.0's test driver."""


class DefiningCalls(DefineCalls):
    """Calls that make domains appear and disappear."""

    @in_steps
    def domain_create_xml(self, xml_desc: str, flags: int) -> Steps[NonnullDomain]:
        """Start a transient domain, or an inactive persistent one with another definition this time."""
        check_flags(flags, c.VIR_DOMAIN_START_VALIDATE, "testDomainCreateXML")
        world = self.world
        validate = bool(flags & c.VIR_DOMAIN_START_VALIDATE)
        definition = yield Work(len(xml_desc), TestDefinition.parse, xml_desc, validate=validate)
        record, _ = world.assign(definition, live=True)
        world.start(record, c.VIR_DOMAIN_RUNNING_BOOTED)
        world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_BOOTED)
        return record.ref

    def domain_create_xml_with_files(
        self, xml_desc: str, flags: int, files: Sequence[int]
    ) -> Result[NonnullDomain]:
        """As domain_create_xml; the descriptors are of no use to a domain that does not exist."""
        return self.domain_create_xml(xml_desc, flags)

    def domain_undefine(self, dom: NonnullDomain) -> None:
        """Undefine a domain; a running one becomes transient."""
        self.domain_undefine_flags(dom, 0)

    def domain_undefine_flags(self, dom: NonnullDomain, flags: int) -> None:
        """Undefine a domain, and with flags its saved image and snapshots too."""
        check_flags(flags, UNDEFINE_FLAGS, "testDomainUndefineFlags")
        world, record = self.world, self.record(dom)
        if record.managed_save and not flags & c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE:
            raise OperationInvalid(
                "Refusing to undefine while domain managed save image exists", domain=c.VIR_FROM_TEST
            )
        if not record.active and record.snapshots and not flags & c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA:
            text = f"cannot delete inactive domain with {len(record.snapshots)} snapshots"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        world.set_managed_save(record, False)
        world.publish(record, c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
        if record.active:
            world.set_persistent(record, False)
        else:
            world.remove(record)
