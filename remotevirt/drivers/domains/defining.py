"""Taking in definitions and renaming domains, which every driver does alike."""

from __future__ import annotations

from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.events import lifecycle
from remotevirt.drivers.faults import argument_error, argument_must
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid, XmlError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DefineCalls"]


class DefineCalls(DomainCalls):
    """Calls that give a domain a definition, or another name."""

    def domain_define_xml(self, xml: str) -> Result[NonnullDomain]:
        """Define a domain, or define it anew."""
        return self.domain_define_xml_flags(xml, 0)

    @in_steps
    def domain_define_xml_flags(self, xml: str, flags: int) -> Steps[NonnullDomain]:
        """Define a domain; VIR_DOMAIN_DEFINE_VALIDATE checks the document more strictly first."""
        self.check_flags(flags, c.VIR_DOMAIN_DEFINE_VALIDATE, "DomainDefineXMLFlags")
        world = self.world
        validate = bool(flags & c.VIR_DOMAIN_DEFINE_VALIDATE)
        definition = yield Work(len(xml), world.definitions.parse, xml, validate=validate)
        record, replaced = world.assign(definition, live=False)
        world.set_persistent(record, True)
        detail = c.VIR_DOMAIN_EVENT_DEFINED_UPDATED if replaced else c.VIR_DOMAIN_EVENT_DEFINED_ADDED
        world.publish(record, c.VIR_DOMAIN_EVENT_DEFINED, detail)
        return record.ref

    def domain_rename(self, dom: NonnullDomain, new_name: str | None, flags: int) -> int:
        """Give an inactive domain another name; return 0."""
        function = "virDomainRename"
        if new_name is None:
            raise argument_must(function, "new_name", "not be NULL")
        if not new_name:
            raise argument_error(function, "new_name", f"string new_name in {function} must not be empty")
        self.check_flags(flags, 0, "DomainRename")
        world, record = self.world, self.record(dom)
        if record.active:
            raise OperationInvalid("cannot rename active domain", domain=self.world.ERRORS)
        if record.managed_save:
            text = "domain with a managed saved state can't be renamed"
            raise OperationInvalid(text, domain=self.world.ERRORS)
        if new_name == record.name:
            raise OperationInvalid("Can't rename domain to itself", domain=c.VIR_FROM_DOMAIN)
        if new_name in world.by_name:
            text = f"domain with name '{new_name}' already exists"
            raise OperationInvalid(text, domain=c.VIR_FROM_DOMAIN)
        if "/" in new_name:
            raise XmlError(f"name {new_name} cannot contain '/'", domain=self.world.ERRORS)
        old = lifecycle(record.ref, c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)
        world.rename(record, new_name)
        world.hub.publish(old)
        world.publish(record, c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_DEFINED_RENAMED)
        return 0
