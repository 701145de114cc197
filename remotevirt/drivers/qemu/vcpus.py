"""Virtual CPUs: how many a domain has, those of a running guest that come and go, and what they do."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import CONFIG, IMPACT, LIVE
from remotevirt.drivers.domains.cpu_maps import check_vcpus_call, join_maps
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.faults import argument_must, both_flags, exclusive_flags, missing_flag
from remotevirt.drivers.qemu.calls import QemuCalls, to_the_end
from remotevirt.drivers.qemu.cpu_plugging import (
    enabled_vcpus,
    list_vcpus,
    plug_vcpu,
    removable_vcpus,
    unplug_vcpu,
)
from remotevirt.drivers.qemu.figures import affinity, task_figures
from remotevirt.drivers.qemu.lifecycle import no_agent
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg, OperationInvalid
from remotevirt.stubs.remote import NonnullDomain, VcpuInfo
from remotevirt.stubs.remote.domain import DomainGetVcpusRet
from remotevirt.xml.bitmap import parse_bitmap

__all__ = ["VcpuCalls"]

MAXIMUM: Final[int] = c.VIR_DOMAIN_VCPU_MAXIMUM
GUEST: Final[int] = c.VIR_DOMAIN_VCPU_GUEST
HOTPLUGGABLE: Final[int] = c.VIR_DOMAIN_VCPU_HOTPLUGGABLE


class VcpuCalls(QemuCalls):
    """Virtual CPUs."""

    def domain_get_max_vcpus(self, dom: NonnullDomain) -> int:
        """Return the most virtual CPUs that a domain can have; it must run."""
        record = self.record(dom)
        self.guest(record)
        return record.live.max_vcpus

    def domain_get_vcpus_flags(self, dom: NonnullDomain, flags: int) -> int:
        """Return how many virtual CPUs a domain has, or with VIR_DOMAIN_VCPU_MAXIMUM can have."""
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetVcpusFlags")
        self.check_flags(flags, IMPACT | MAXIMUM | GUEST, "DomainGetVcpusFlags")
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        if flags & GUEST:
            if not record.active:
                text = "vCPU count provided by the guest agent can only be requested for live domains"
                raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
            raise no_agent(record)
        return definition.max_vcpus if flags & MAXIMUM else definition.vcpus

    async def domain_set_vcpus(self, dom: NonnullDomain, nvcpus: int) -> None:
        """Change the number of virtual CPUs of a running guest."""
        await self.domain_set_vcpus_flags(dom, nvcpus, LIVE)

    @to_the_end
    async def domain_set_vcpus_flags(self, dom: NonnullDomain, nvcpus: int, flags: int) -> None:
        """Change the number of virtual CPUs, now, later or both, or with VIR_DOMAIN_VCPU_MAXIMUM the most."""
        function = "virDomainSetVcpusFlags"
        if flags & MAXIMUM and not flags & CONFIG:
            raise missing_flag(function, "VIR_DOMAIN_VCPU_MAXIMUM", "VIR_DOMAIN_AFFECT_CONFIG")
        if flags & GUEST and flags & CONFIG:
            raise both_flags(function, "VIR_DOMAIN_VCPU_GUEST", "VIR_DOMAIN_AFFECT_CONFIG")
        if nvcpus == 0:
            raise argument_must(function, "nvcpus", "not be zero")
        known = IMPACT | MAXIMUM | GUEST | HOTPLUGGABLE
        self.check_flags(flags, known, "DomainSetVcpusFlags")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetVcpusFlags"):
            live, config = self.definitions(record, flags)
            if flags & GUEST:
                raise no_agent(record)
            if flags & MAXIMUM:
                self._set_maximum(record, live, config, nvcpus)
                return
            for definition, word in ((live, "live"), (config, "persistent")):
                if definition is not None and nvcpus > definition.max_vcpus:
                    text = (
                        f"requested vcpus is greater than max allowable vcpus for the {word} domain:"
                        f" {nvcpus} > {definition.max_vcpus}"
                    )
                    raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
            if live is not None:
                await self._count_live(record, nvcpus)
                _, config = self.definitions(self.record(dom), flags)
            if config is not None:
                self.world.commit(self._count, record, config, nvcpus, bool(flags & HOTPLUGGABLE))

    def _set_maximum(
        self, record: QemuRecord, live: Definition | None, config: Definition | None, most: int
    ) -> None:
        if live is not None:
            text = "maximum vcpu count of a live domain can't be modified"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        assert config is not None
        cpu = config.model.cpu
        if cpu is not None and cpu.topology is not None:
            topology = cpu.topology
            if topology.sockets * topology.dies * topology.cores * topology.threads != most:
                text = "CPU topology doesn't match the desired vcpu count"
                raise InvalidArg(text, domain=c.VIR_FROM_QEMU)

        def change() -> None:
            self.world.touch(record)
            model = config.changing()
            model.maxvcpus, model.vcpus = most, min(model.vcpus, most)
            model.vcpu_list = None
            if model.cputune is not None:
                model.cputune.vcpupin = [pin for pin in model.cputune.vcpupin if pin.vcpu < most]
            record.refresh()

        self.world.commit(change)

    async def _count_live(self, record: QemuRecord, wanted: int) -> None:
        """Plug in the lowest that are off, or take out the highest that are on."""
        guest = self.guest(record)
        model = record.live.model
        on = enabled_vcpus(model)
        off = [number for number in range(model.maxvcpus) if number not in on]
        removable = [number for number in on if number in removable_vcpus(model)]
        fewer = max(len(on) - wanted, 0)
        if fewer > len(removable):
            text = "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        for number in off[: max(wanted - len(on), 0)]:
            await plug_vcpu(guest, number)
        for number in removable[::-1][:fewer]:
            await unplug_vcpu(guest, number)

    def _count(self, record: QemuRecord, config: Definition, wanted: int, hotpluggable: bool) -> None:
        """Have so many virtual CPUs on in a definition that does not run."""
        self.world.touch(record)
        model = config.changing()
        if model.vcpu_list is None and not hotpluggable:
            model.vcpus = wanted
        else:
            listed = list_vcpus(model).vcpus
            on = sum(one.enabled for one in listed)
            for one in listed if wanted > on else reversed(listed):
                if on != wanted and one.enabled == (wanted < on):
                    one.enabled, one.order = not one.enabled, None
                    one.hotpluggable = hotpluggable if one.enabled else True
                    on += 1 if one.enabled else -1
            model.vcpus = on
        record.refresh()

    @to_the_end
    async def domain_set_vcpu(self, dom: NonnullDomain, cpumap: str, state: int, flags: int) -> None:
        """Turn single virtual CPUs on or off; ``cpumap`` is text, ``1-3``."""
        function = "virDomainSetVcpu"
        if not cpumap:
            raise argument_must(function, "vcpumap", "not be NULL")
        if state not in (0, 1):
            raise InvalidArg("unsupported state value", domain=c.VIR_FROM_QEMU)
        self.check_flags(flags, IMPACT, "DomainSetVcpu")
        wanted = sorted(parse_bitmap(cpumap))
        if not wanted:
            raise InvalidArg("no vcpus selected for modification", domain=c.VIR_FROM_QEMU)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetVcpu"):
            live, config = self.definitions(record, flags)
            for definition, word in ((live, "live"), (config, "persistent")):
                if definition is not None:
                    _check_single(definition, wanted, bool(state), word)
            if live is not None:
                if len(wanted) != 1:
                    text = "only one hotpluggable entity can be selected"
                    raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
                await (plug_vcpu if state else unplug_vcpu)(self.guest(record), wanted[0])
                _, config = self.definitions(self.record(dom), flags)

            def change() -> None:
                if config is None:
                    return
                self.world.touch(record)
                model = config.changing()
                for one in list_vcpus(model).vcpus:
                    if one.id in wanted:
                        one.enabled, one.hotpluggable, one.order = bool(state), True, None
                model.vcpus = len(enabled_vcpus(model))
                record.refresh()

            self.world.commit(change)

    def domain_get_vcpus(self, dom: NonnullDomain, maxinfo: int, maplen: int) -> DomainGetVcpusRet:
        """Return state, CPU time in nanoseconds and host CPU of each virtual CPU that is on, and its map.

        The maps fill ``maxinfo * maplen`` bytes, however many CPUs there are.
        """
        check_vcpus_call(maxinfo, maplen)
        record = self.record(dom)
        guest = record.guest
        if guest is None or guest.process is None:
            text = "cannot retrieve vcpu information for inactive domain"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        pid = guest.process.pid
        info, maps = [], []
        for number in enabled_vcpus(record.live.model)[:maxinfo]:
            thread = guest.threads.get(number)
            figures = None if thread is None else task_figures(pid, thread)
            spent, cpu = (figures.cpu, figures.last_cpu) if figures else (0, 0)
            info.append(VcpuInfo(number, c.VIR_VCPU_RUNNING, spent, cpu))
            cpus = None if thread is None else affinity(pid, thread)
            maps.append(sum(1 << cpu for cpu in cpus or ()))
        return DomainGetVcpusRet(info, join_maps(maps, maxinfo, maplen))


def _check_single(definition: Definition, wanted: list[int], state: bool, word: str) -> None:
    """Refuse to change virtual CPUs that are not there, or are so already."""
    on = enabled_vcpus(definition.model)
    for number in wanted:
        if number >= definition.max_vcpus:
            text = f"vcpu {number} is not present in {word} config"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        if word == "live" and (number in on) == state:
            text = f"vcpu '{number}' is already in requested state"
            raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        if number == 0 and word == "persistent":
            raise InvalidArg("vCPU '0' can't be modified", domain=c.VIR_FROM_QEMU)
