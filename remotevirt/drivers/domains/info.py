"""What every driver answers alike about one domain: state, XML, autostart, whether it runs and lasts."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import no_domain
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.domain import DomainGetStateRet

__all__ = ["DomainInfoCalls"]

XML_FLAGS: Final[int] = c.VIR_DOMAIN_XML_SECURE | c.VIR_DOMAIN_XML_INACTIVE | c.VIR_DOMAIN_XML_MIGRATABLE
"""What domain_get_xml_desc knows."""


class DomainInfoCalls(DomainCalls):
    """Calls that look at one domain's record."""

    XML_FLAGS = XML_FLAGS

    def domain_get_state(self, dom: NonnullDomain, flags: int) -> DomainGetStateRet:
        """Return state and reason."""
        if flags:
            self.check_flags(flags, 0, "DomainGetState")
        record = self.domains.get(dom.uuid)
        if record is None:
            raise no_domain(dom, self.world.ERRORS)
        return DomainGetStateRet(record.state, record.reason)

    def domain_get_xml_desc(self, dom: NonnullDomain, flags: int) -> str:
        """Return the live or (VIR_DOMAIN_XML_INACTIVE) the persistent definition."""
        self.check_flags(flags, self.XML_FLAGS, "DomainGetXMLDesc")
        record = self.record(dom)
        inactive = flags & c.VIR_DOMAIN_XML_INACTIVE
        definition = record.persistent_definition if inactive else record.live
        return definition.format(flags, record.id)

    def domain_get_autostart(self, dom: NonnullDomain) -> int:
        """Return 1 if a domain would start with its host."""
        return int(self.record(dom).autostart)

    def domain_is_active(self, dom: NonnullDomain) -> int:
        """Return 1 for an active domain."""
        return int(self.record(dom).id >= 0)

    def domain_is_persistent(self, dom: NonnullDomain) -> int:
        """Return 1 for a persistent domain."""
        return int(self.record(dom).persistent)

    def domain_is_updated(self, dom: NonnullDomain) -> int:
        """Return 0, for any domain, as libvirt does."""
        return 0
