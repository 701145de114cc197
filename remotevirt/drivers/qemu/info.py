"""What a guest is and how it does."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.domains.info import DomainInfoCalls
from remotevirt.drivers.faults import both_flags, no_domain
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.documents import movable_document
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.drivers.qemu.lifecycle import no_agent
from remotevirt.drivers.qemu.live_cpu import as_asked
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoHostname, OperationInvalid
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.domain import DomainGetControlInfoRet, DomainGetInfoRet

__all__ = ["InfoCalls"]


class InfoCalls(QemuCalls, DomainInfoCalls):
    """Calls that look at one domain."""

    XML_FLAGS = DomainInfoCalls.XML_FLAGS | c.VIR_DOMAIN_XML_UPDATE_CPU

    def domain_get_xml_desc(self, dom: NonnullDomain, flags: int) -> str:
        """Return the live or the persistent definition, or what another host would need of it."""
        if not flags & (c.VIR_DOMAIN_XML_MIGRATABLE | c.VIR_DOMAIN_XML_UPDATE_CPU):
            return super().domain_get_xml_desc(dom, flags)
        self.check_flags(flags, self.XML_FLAGS, "DomainGetXMLDesc")
        record = self.record(dom)
        inactive = flags & c.VIR_DOMAIN_XML_INACTIVE
        definition = record.persistent_definition if inactive else record.live
        if flags & c.VIR_DOMAIN_XML_MIGRATABLE:
            return movable_document(definition if inactive else as_asked(record), flags)
        running = record.active and not inactive
        return (definition if running else definition.copy()).format(flags, record.id)

    def domain_get_info(self, dom: NonnullDomain) -> DomainGetInfoRet:
        """Return state, memory in KiB, CPUs, and the CPU time of the guest's process in nanoseconds."""
        record: Any = self.domains.get(dom.uuid)
        if record is None:
            raise no_domain(dom, c.VIR_FROM_QEMU)
        guest = record.guest
        figures = None if guest is None or guest.process is None else task_figures(guest.process.pid)
        spent = figures.user + figures.system if figures else 0
        return DomainGetInfoRet(record.state, record.max_memory, record.memory, record.vcpus, spent)

    def domain_get_control_info(self, dom: NonnullDomain, flags: int) -> DomainGetControlInfoRet:
        """Return whether the monitor is free, busy with a call, or does not answer."""
        self.check_flags(flags, 0, "DomainGetControlInfo")
        record = self.record(dom)
        guest = self.guest(record)
        if guest.monitor is None or guest.monitor.wedged:
            return DomainGetControlInfoRet(
                c.VIR_DOMAIN_CONTROL_ERROR, c.VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR, 0
            )
        if record.job.owner is not None:
            return DomainGetControlInfoRet(c.VIR_DOMAIN_CONTROL_JOB, 0, 0)
        return DomainGetControlInfoRet(c.VIR_DOMAIN_CONTROL_OK, 0, 0)

    def domain_get_os_type(self, dom: NonnullDomain) -> str:
        """Return "hvm"."""
        kind = self.record(dom).live.model.os.kind
        return kind.name if kind is not None and kind.name else "hvm"

    def domain_set_autostart(self, dom: NonnullDomain, autostart: int) -> None:
        """Set whether a domain starts with its host."""
        record = self.record(dom)
        if not record.persistent:
            text = "cannot set autostart for transient domain"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        self.world.set_autostart(record, bool(autostart))

    def domain_get_hostname(self, dom: NonnullDomain, flags: int) -> str:
        """Return the guest's host name, which only its agent knows, or who leases it an address: nobody."""
        lease, agent = c.VIR_DOMAIN_GET_HOSTNAME_LEASE, c.VIR_DOMAIN_GET_HOSTNAME_AGENT
        self.check_flags(flags, lease | agent, "DomainGetHostname")
        if flags == lease | agent:
            names = "VIR_DOMAIN_GET_HOSTNAME_LEASE", "VIR_DOMAIN_GET_HOSTNAME_AGENT"
            raise both_flags("qemuDomainGetHostname", *names, c.VIR_FROM_QEMU)
        record = self.record(dom)
        self.guest(record)
        if flags & lease:
            text = f"no hostname found for domain {record.name}"
            raise NoHostname(text, domain=c.VIR_FROM_QEMU)
        raise no_agent(record)
