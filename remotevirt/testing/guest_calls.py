"""The test hypervisor with guests that behave: what clients see of their lives.

Each method here asks whether its domain has a life. If not, the answer is that of libvirt's test driver, at
once, to the byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.folder import Folder
from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.drivers.test.newer import NewerCalls
from remotevirt.drivers.test.world import World
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import AgentUnresponsive
from remotevirt.stubs.remote import (
    DomainInterface,
    DomainIpAddr,
    DomainStatsRecord,
    NonnullDomain,
    TypedParam,
)
from remotevirt.stubs.remote.domain import (
    DomainBlockStatsRet,
    DomainGetCpuStatsRet,
    DomainGetFsinfoRet,
    DomainGetInfoRet,
    DomainGetTimeRet,
    DomainInterfaceStatsRet,
)
from remotevirt.testing.guests import Guests, Life
from remotevirt.typed_params import string, uint, ullong
from remotevirt.xml.domain.interface import Interface

__all__ = ["GuestHypervisor", "NewerGuestHypervisor"]

NANO: Final = 1_000_000_000

BLOCK: Final = 4096
"""Bytes that one request of a disk moves; PACKET: that one packet carries."""

PACKET: Final = 1000

SYSTEM_SHARE: Final = 5
"""One part in so many of a guest's CPU time is its kernel's."""

GROUPS: Final[int] = (
    c.VIR_DOMAIN_STATS_CPU_TOTAL
    | c.VIR_DOMAIN_STATS_BALLOON
    | c.VIR_DOMAIN_STATS_VCPU
    | c.VIR_DOMAIN_STATS_INTERFACE
    | c.VIR_DOMAIN_STATS_BLOCK
)
"""Groups of bulk statistics that guests with a life have besides those of libvirt's test driver."""

ENFORCE: Final[int] = c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS


class GuestHypervisor(TestHypervisor):
    """The hypervisor sub-driver of one connection to a world with behaving guests."""

    def __init__(self, guests: Guests, world: World, uri: str, files: Folder | None = None) -> None:
        super().__init__(world, uri, files)
        self.guests = guests

    def _now(self) -> float:
        return self.guests.clock.seconds()

    def _life(self, dom: NonnullDomain) -> Life | None:
        return self.guests.lives.get(dom.uuid)

    def _need_agent(self, dom: NonnullDomain) -> None:
        """Refuse what the agent would do while it does not answer.

        Raises:
            AgentUnresponsive: it does not.
        """
        life = self._life(dom)
        if life is not None and not life.agent(self._now()):
            raise AgentUnresponsive("QEMU guest agent is not connected", domain=c.VIR_FROM_TEST)

    # -- power -----------------------------------------------------------------------------------------

    def domain_shutdown_flags(self, dom: NonnullDomain, flags: int) -> None:
        """Ask a guest to shut down; one with a life takes its time, or does not listen."""
        life = self._life(dom)
        if life is None or flags:
            super().domain_shutdown_flags(dom, flags)
        else:
            self.guests.leave(self.record(dom), life, "off")

    def domain_reboot(self, dom: NonnullDomain, flags: int) -> None:
        """Ask a guest to reboot; one with a life takes its time, or does not listen."""
        life = self._life(dom)
        if life is None:
            super().domain_reboot(dom, flags)
            return
        if flags & c.VIR_DOMAIN_REBOOT_GUEST_AGENT:
            self._need_agent(dom)
        self.guests.leave(self.active(dom), life, "reboot")

    def domain_reset(self, dom: NonnullDomain, flags: int) -> None:
        """Reset a domain: its guest boots anew, whether it wants or not."""
        super().domain_reset(dom, flags)
        life = self._life(dom)
        if life is not None:
            self.guests.reset(self.record(dom), life)

    # -- counters --------------------------------------------------------------------------------------

    def domain_get_info(self, dom: NonnullDomain) -> DomainGetInfoRet:
        """Return state, memory, CPUs, and the CPU time, which grows with the load."""
        info = super().domain_get_info(dom)
        life = self._life(dom)
        if life is None:
            return info
        return info._replace(cpuTime=self._cpu_time(life, info.nrVirtCpu))

    def _cpu_time(self, life: Life, cpus: int) -> int:
        """Return the CPU time of a guest, in nanoseconds."""
        return round(life.cpu_seconds(self._now()) * NANO) * cpus

    def domain_get_cpu_stats(
        self, dom: NonnullDomain, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> DomainGetCpuStatsRet:
        """Return CPU times in total, of a guest with a life as its load has it."""
        found = super().domain_get_cpu_stats(dom, nparams, start_cpu, ncpus, flags)
        life = self._life(dom)
        if life is None or not found.params:
            return found
        total = self._cpu_time(life, self.record(dom).vcpus)
        share = total if start_cpu == -1 else total // (self._host_cpus() or 1)
        values = {c.VIR_DOMAIN_CPU_STATS_USERTIME: share - share // SYSTEM_SHARE}
        values[c.VIR_DOMAIN_CPU_STATS_SYSTEMTIME] = share // SYSTEM_SHARE
        params = [ullong(param.field, values.get(param.field, share)) for param in found.params]
        return found._replace(params=params)

    def _host_cpus(self) -> int:
        return self.world.node.cpus

    def domain_block_stats(self, dom: NonnullDomain, path: str) -> DomainBlockStatsRet:
        """Return figures of a disk, which grow with the load."""
        found = super().domain_block_stats(dom, path)
        life = self._life(dom)
        if life is None:
            return found
        read, written = self._moved(life, life.profile.disk_read), self._moved(life, life.profile.disk_write)
        return DomainBlockStatsRet(read // BLOCK, read, written // BLOCK, written, 0)

    def domain_interface_stats(self, dom: NonnullDomain, device: str) -> DomainInterfaceStatsRet:
        """Return figures of an interface, which grow with the load."""
        found = super().domain_interface_stats(dom, device)
        life = self._life(dom)
        if life is None:
            return found
        got, sent = self._moved(life, life.profile.net_receive), self._moved(life, life.profile.net_send)
        return DomainInterfaceStatsRet(got, got // PACKET, 0, 0, sent, sent // PACKET, 0, 0)

    def _moved(self, life: Life, rate: float) -> int:
        """Return what a guest has moved at so many bytes a second."""
        return int(life.working(self._now()) * rate)

    def connect_get_all_domain_stats(
        self, doms: Sequence[NonnullDomain], stats: int, flags: int
    ) -> Sequence[DomainStatsRecord]:
        """Return bulk statistics; of guests with a life more groups than libvirt's test driver knows."""
        more = stats & GROUPS if self.guests.lives else 0
        if more and stats == more:
            # libvirt's driver would complain of these groups, or fill in its own: its list is all we want.
            found = super().connect_get_all_domain_stats(doms, c.VIR_DOMAIN_STATS_STATE, flags)
            found = [DomainStatsRecord(record.dom, ()) for record in found]
        else:
            found = super().connect_get_all_domain_stats(doms, stats & ~more, flags)
        if not self.guests.lives:
            return found
        return [self._with_more(record, stats or GROUPS) for record in found]

    def _with_more(self, record: DomainStatsRecord, stats: int) -> DomainStatsRecord:
        life = self._life(record.dom)
        if life is None:
            return record
        domain = self.record(record.dom)
        return DomainStatsRecord(record.dom, [*record.params, *self._more(domain, life, stats)])

    def _more(self, record: DomainRecord, life: Life, stats: int) -> list[TypedParam]:
        params: list[TypedParam] = []
        profile, devices = life.profile, record.live.model.devices
        one = round(life.cpu_seconds(self._now()) * NANO)
        if stats & c.VIR_DOMAIN_STATS_CPU_TOTAL:
            total = one * record.vcpus
            params += [
                ullong("cpu.time", total),
                ullong("cpu.user", total - total // SYSTEM_SHARE),
                ullong("cpu.system", total // SYSTEM_SHARE),
            ]
        if stats & c.VIR_DOMAIN_STATS_BALLOON:
            params += [ullong("balloon.current", record.memory), ullong("balloon.maximum", record.max_memory)]
        if stats & c.VIR_DOMAIN_STATS_VCPU:
            params += [uint("vcpu.current", record.vcpus), uint("vcpu.maximum", record.live.max_vcpus)]
            for number in range(record.vcpus):
                params += [uint(f"vcpu.{number}.state", 1), ullong(f"vcpu.{number}.time", one)]
        if stats & c.VIR_DOMAIN_STATS_INTERFACE:
            got, sent = self._moved(life, profile.net_receive), self._moved(life, profile.net_send)
            params.append(uint("net.count", len(devices.interfaces)))
            for number, interface in enumerate(devices.interfaces):
                name = (interface.target.dev if interface.target else None) or f"vnet{number}"
                params += [
                    string(f"net.{number}.name", name),
                    ullong(f"net.{number}.rx.bytes", got),
                    ullong(f"net.{number}.rx.pkts", got // PACKET),
                    ullong(f"net.{number}.tx.bytes", sent),
                    ullong(f"net.{number}.tx.pkts", sent // PACKET),
                ]
        if stats & c.VIR_DOMAIN_STATS_BLOCK:
            read, written = self._moved(life, profile.disk_read), self._moved(life, profile.disk_write)
            params.append(uint("block.count", len(devices.disks)))
            for number, disk in enumerate(devices.disks):
                params += [
                    string(f"block.{number}.name", disk.dev),
                    ullong(f"block.{number}.rd.reqs", read // BLOCK),
                    ullong(f"block.{number}.rd.bytes", read),
                    ullong(f"block.{number}.wr.reqs", written // BLOCK),
                    ullong(f"block.{number}.wr.bytes", written),
                ]
        return params

    # -- the agent and what it knows -------------------------------------------------------------------

    def domain_interface_addresses(
        self, dom: NonnullDomain, source: int, flags: int
    ) -> Sequence[DomainInterface]:
        """Return the interfaces, with addresses once they are leased; an agent must be there to be asked."""
        found = super().domain_interface_addresses(dom, source, flags)
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            self._need_agent(dom)
        life = self._life(dom)
        if life is None or life.leased(self._now()):
            return found
        if source == c.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
            return [interface._replace(addrs=[]) for interface in found]
        return []

    def addresses_of(self, interface: Interface, number: int, id: int) -> Sequence[DomainIpAddr]:
        """Return the addresses that the ``number``-th interface of the domain with this id is leased."""
        return self._addresses(interface, number, id)

    def domain_get_hostname(self, dom: NonnullDomain, flags: int) -> str:
        """Return the guest's host name, which its agent knows."""
        found = super().domain_get_hostname(dom, flags)
        self._need_agent(dom)
        return found

    def domain_get_time(self, dom: NonnullDomain, flags: int) -> DomainGetTimeRet:
        """Return the guest's time: its world's, if it has a life."""
        found = super().domain_get_time(dom, flags)
        self._need_agent(dom)
        if self._life(dom) is None:
            return found
        return DomainGetTimeRet(*divmod(self.world.now(), NANO))

    def domain_set_time(self, dom: NonnullDomain, seconds: int, nseconds: int, flags: int) -> None:
        """Set the guest's time, if the agent is there; a guest that has a life keeps its world's."""
        self._need_agent(dom)
        super().domain_set_time(dom, seconds, nseconds, flags)

    def domain_fsfreeze(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Freeze file systems, if the agent is there."""
        self._need_agent(dom)
        return super().domain_fsfreeze(dom, mountpoints, flags)

    def domain_fsthaw(self, dom: NonnullDomain, mountpoints: Sequence[str], flags: int) -> int:
        """Thaw file systems, if the agent is there."""
        self._need_agent(dom)
        return super().domain_fsthaw(dom, mountpoints, flags)

    def domain_fstrim(self, dom: NonnullDomain, mountPoint: str | None, minimum: int, flags: int) -> None:
        """Trim file systems, if the agent is there."""
        super().domain_fstrim(dom, mountPoint, minimum, flags)
        self._need_agent(dom)

    def domain_get_fsinfo(self, dom: NonnullDomain, flags: int) -> DomainGetFsinfoRet:
        """Return file systems, if the agent is there."""
        found = super().domain_get_fsinfo(dom, flags)
        self._need_agent(dom)
        return found

    def domain_set_user_password(
        self, dom: NonnullDomain, user: str | None, password: str | None, flags: int
    ) -> None:
        """Accept a password and forget it, if the agent is there."""
        super().domain_set_user_password(dom, user, password, flags)
        self._need_agent(dom)


class NewerGuestHypervisor(NewerCalls, GuestHypervisor):
    """The same with what libvirt's test driver has learnt since 9.0.0."""
