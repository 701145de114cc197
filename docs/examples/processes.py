"""A driver whose guests are processes of the daemon: each option names one and says how to run it."""

import shlex
from uuid import NAMESPACE_OID, uuid5
from xml.sax.saxutils import escape

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from zope.interface import implementer

from remotevirt.drivers import DriverConnection, Event, EventHub, IDriver
from remotevirt.stubs import constants as vir
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import NoDomain, OperationInvalid
from remotevirt.stubs.remote import (
    ConnectListAllDomainsRet,
    DomainEventLifecycleMsg,
    DomainGetInfoRet,
    DomainGetStateRet,
    NonnullDomain,
)


class Guest(ProcessProtocol):
    """One guest. While it runs, the id of its process is the domain's id."""

    def __init__(self, name, command, hub):
        self.name, self.command, self.hub = name, command, hub
        self.uuid = uuid5(NAMESPACE_OID, name).bytes
        self.pid, self.waiting = -1, []

    def ref(self):
        return NonnullDomain(self.name, self.uuid, self.pid)

    def state(self):
        return vir.VIR_DOMAIN_SHUTOFF if self.pid < 0 else vir.VIR_DOMAIN_RUNNING

    def start(self):
        command = shlex.split(self.command)
        self.pid = reactor.spawnProcess(self, command[0], command, env=None).pid
        self.publish(vir.VIR_DOMAIN_EVENT_STARTED)

    def processEnded(self, reason):
        self.pid = -1
        self.publish(vir.VIR_DOMAIN_EVENT_STOPPED)
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def publish(self, event):
        msg = DomainEventLifecycleMsg(self.ref(), event, 0)
        self.hub.publish(Event("domain", vir.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self.uuid, msg))


class Calls(HypervisorDriver):
    """What clients may call; the rest of the base class answers "not supported"."""

    def __init__(self, guests):
        self.guests = guests

    def find(self, dom, running=None):
        guest = next((guest for guest in self.guests if guest.uuid == dom.uuid), None)
        if guest is None:
            raise NoDomain(f"no domain with matching uuid '{dom.uuid.hex()}'")
        if running not in (None, guest.pid >= 0):
            raise OperationInvalid("domain is not running" if running else "domain is already running")
        return guest

    def connect_list_all_domains(self, need_results, flags):
        wanted = flags & (vir.VIR_CONNECT_LIST_DOMAINS_ACTIVE | vir.VIR_CONNECT_LIST_DOMAINS_INACTIVE)
        flag = {True: vir.VIR_CONNECT_LIST_DOMAINS_ACTIVE, False: vir.VIR_CONNECT_LIST_DOMAINS_INACTIVE}
        refs = [guest.ref() for guest in self.guests if not wanted or wanted & flag[guest.pid >= 0]]
        return ConnectListAllDomainsRet(refs if need_results else [], len(refs))

    def domain_lookup_by_name(self, name):
        for guest in self.guests:
            if guest.name == name:
                return guest.ref()
        raise NoDomain(f"no domain with matching name '{name}'")

    def domain_lookup_by_uuid(self, uuid):
        return self.find(NonnullDomain("", uuid, -1)).ref()

    def domain_get_state(self, dom, flags):
        return DomainGetStateRet(self.find(dom).state(), 0)

    def domain_get_info(self, dom):
        return DomainGetInfoRet(self.find(dom).state(), maxMem=0, memory=0, nrVirtCpu=1, cpuTime=0)

    def domain_get_os_type(self, dom):
        return "exe"

    def domain_get_xml_desc(self, dom, flags):
        guest = self.find(dom)
        return f"<domain type='process'><name>{escape(guest.name)}</name></domain>"

    def domain_create(self, dom):
        self.find(dom, running=False).start()

    async def domain_destroy(self, dom):
        guest = self.find(dom, running=True)
        ended = Deferred()
        guest.waiting.append(ended)
        guest.transport.signalProcess("KILL")
        await ended


@implementer(IDriver)
class Processes:
    """``--driver processes:Processes:NAME=COMMAND:NAME=COMMAND``"""

    name, schemes, default_uri = "processes", ("process",), "process:///system"

    def __init__(self, **commands):
        self.hub = EventHub()
        self.guests = [Guest(name, command, self.hub) for name, command in commands.items()]

    def open(self, uri, client):
        return DriverConnection(uri.text, hypervisor=Calls(self.guests), events=self.hub)
