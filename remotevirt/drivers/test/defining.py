"""Taking domains in and letting them go: define, create from XML, undefine, rename."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.events import lifecycle
from remotevirt.drivers.faults import argument_error, check_flags
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid, XmlError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DefiningCalls"]

UNDEFINE_FLAGS: Final[int] = c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
"""What undefine knows in libvirt 9.0.0's test driver."""


class DefiningCalls(DomainCalls):
    """Calls that make domains appear, disappear, or change their names."""

    def domain_define_xml(self, xml: str) -> Result[NonnullDomain]:
        """Define a domain, or define it anew."""
        return self.domain_define_xml_flags(xml, 0)

    @in_steps
    def domain_define_xml_flags(self, xml: str, flags: int) -> Steps[NonnullDomain]:
        """Define a domain; VIR_DOMAIN_DEFINE_VALIDATE checks the document more strictly first."""
        check_flags(flags, c.VIR_DOMAIN_DEFINE_VALIDATE, "testDomainDefineXMLFlags")
        world = self.world
        validate = bool(flags & c.VIR_DOMAIN_DEFINE_VALIDATE)
        definition = yield Work(len(xml), TestDefinition.parse, xml, validate=validate)
        record, replaced = world.assign(definition, live=False)
        world.set_persistent(record, True)
        detail = c.VIR_DOMAIN_EVENT_DEFINED_UPDATED if replaced else c.VIR_DOMAIN_EVENT_DEFINED_ADDED
        world.publish(record, c.VIR_DOMAIN_EVENT_DEFINED, detail)
        return record.ref

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

    def domain_rename(self, dom: NonnullDomain, new_name: str | None, flags: int) -> int:
        """Give an inactive domain another name; return 0."""
        function = "virDomainRename"
        if new_name is None:
            raise argument_error(function, "new_name", f"new_name in {function} must not be NULL")
        if not new_name:
            raise argument_error(function, "new_name", f"string new_name in {function} must not be empty")
        check_flags(flags, 0, "testDomainRename")
        world, record = self.world, self.record(dom)
        if record.active:
            raise OperationInvalid("cannot rename active domain", domain=c.VIR_FROM_TEST)
        if new_name == record.name:
            raise OperationInvalid("Can't rename domain to itself", domain=c.VIR_FROM_DOMAIN)
        if new_name in world.by_name:
            text = f"domain with name '{new_name}' already exists"
            raise OperationInvalid(text, domain=c.VIR_FROM_DOMAIN)
        if "/" in new_name:
            raise XmlError(f"name {new_name} cannot contain '/'", domain=c.VIR_FROM_TEST)
        old = lifecycle(record.ref, c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)
        world.rename(record, new_name)
        world.hub.publish(old)
        world.publish(record, c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_RENAMED)
        return 0
