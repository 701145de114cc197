"""The smallest driver that virsh can manage: guests that only exist in memory."""

from uuid import NAMESPACE_OID, uuid5

from zope.interface import implementer

from remotevirt.drivers import DriverConnection, IDriver
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import NoDomain, OperationInvalid


class Calls(HypervisorDriver):
    def __init__(self, names):
        self.names = {uuid5(NAMESPACE_OID, name).bytes: name for name in names}
        self.running = set()

    def domain_lookup_by_uuid(self, uuid):
        if uuid not in self.names:
            raise NoDomain(f"no domain with matching uuid '{uuid.hex()}'")
        return remote.NonnullDomain(self.names[uuid], uuid, 1 if uuid in self.running else -1)

    def domain_lookup_by_name(self, name):
        return self.domain_lookup_by_uuid(uuid5(NAMESPACE_OID, name).bytes)

    def connect_list_all_domains(self, need_results, flags):
        refs = [self.domain_lookup_by_uuid(uuid) for uuid in self.names]
        if flags == vir.VIR_CONNECT_LIST_DOMAINS_ACTIVE:
            refs = [ref for ref in refs if ref.uuid in self.running]
        return remote.ConnectListAllDomainsRet(refs, len(refs))

    def domain_get_state(self, dom, flags):
        running = dom.uuid in self.running
        return remote.DomainGetStateRet(vir.VIR_DOMAIN_RUNNING if running else vir.VIR_DOMAIN_SHUTOFF, 0)

    def domain_get_info(self, dom):
        return remote.DomainGetInfoRet(self.domain_get_state(dom, 0).state, 65536, 65536, 1, 0)

    def domain_get_os_type(self, dom):
        return "hvm"

    def domain_get_xml_desc(self, dom, flags):
        return f"<domain type='fleet'><name>{self.names[dom.uuid]}</name></domain>"

    def domain_create(self, dom):
        self.running.add(self.domain_lookup_by_uuid(dom.uuid).uuid)

    def domain_destroy(self, dom):
        if dom.uuid not in self.running:
            raise OperationInvalid("domain is not running")
        self.running.remove(dom.uuid)


@implementer(IDriver)
class Fleet:
    name, schemes, default_uri = "fleet", ("fleet",), "fleet:///system"

    def __init__(self, guests):
        self.calls = Calls(guests.split(","))

    def open(self, uri, client):
        return DriverConnection(uri.text, hypervisor=self.calls)
