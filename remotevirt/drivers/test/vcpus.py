"""Reading and changing a domain's CPUs, and where they may run.

A CPU map is a bitmap, the lowest CPU in the lowest bit of the first byte. Clients say how many bytes they
want for each; maps are cut or filled with zeros to fit.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import CONFIG, IMPACT, LIVE
from remotevirt.drivers.domains.cpu_maps import check_vcpus_call, join_maps, map_of
from remotevirt.drivers.domains.pin_info import (
    check_emulator_call,
    check_vcpu_call,
    emulator_pin_info,
    vcpu_pin_info,
)
from remotevirt.drivers.faults import argument_error, argument_must, check_flags, exclusive_flags, signed
from remotevirt.drivers.test.calls import WorldCalls
from remotevirt.drivers.test.host import MAX_VCPUS
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationInvalid
from remotevirt.stubs.remote import NonnullDomain, VcpuInfo
from remotevirt.stubs.remote.domain import (
    DomainGetEmulatorPinInfoRet,
    DomainGetVcpuPinInfoRet,
    DomainGetVcpusRet,
)

__all__ = ["VcpuCalls"]

MAXIMUM: Final[int] = c.VIR_DOMAIN_VCPU_MAXIMUM


class VcpuCalls(WorldCalls):
    """CPUs and their pinning."""

    def domain_get_max_vcpus(self, dom: NonnullDomain) -> int:
        """Return the most CPUs that an active domain can have without a restart."""
        return self.active(dom).live.max_vcpus

    def domain_get_vcpus_flags(self, dom: NonnullDomain, flags: int) -> int:
        """Return how many CPUs a domain has, or with VIR_DOMAIN_VCPU_MAXIMUM can have."""
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetVcpusFlags")
        check_flags(flags, IMPACT | MAXIMUM, "testDomainGetVcpusFlags")
        definition = self.one_definition(self.record(dom), flags)
        return definition.max_vcpus if flags & MAXIMUM else definition.vcpus

    def domain_set_vcpus(self, dom: NonnullDomain, nvcpus: int) -> None:
        """Change the number of CPUs of an active domain."""
        self._check_vcpus(nvcpus, "virDomainSetVcpus")
        self._set_vcpus(dom, nvcpus, LIVE)

    def domain_set_vcpus_flags(self, dom: NonnullDomain, nvcpus: int, flags: int) -> None:
        """Change the number of CPUs, now, later or both, or with VIR_DOMAIN_VCPU_MAXIMUM the most."""
        function = "virDomainSetVcpusFlags"
        if flags & MAXIMUM and not flags & CONFIG:
            text = "Flag 'VIR_DOMAIN_AFFECT_CONFIG' is required by flag 'VIR_DOMAIN_VCPU_MAXIMUM'"
            raise argument_error(function, "ctl", text)
        self._check_vcpus(nvcpus, function)
        self._set_vcpus(dom, nvcpus, flags)

    @staticmethod
    def _check_vcpus(nvcpus: int, function: str) -> None:
        """Check a number of CPUs as the public API does."""
        if nvcpus == 0:
            raise argument_must(function, "nvcpus", "not be zero")

    def _set_vcpus(self, dom: NonnullDomain, nvcpus: int, flags: int) -> None:
        """Change the definitions that are meant."""
        check_flags(flags, IMPACT | MAXIMUM, "testDomainSetVcpusFlags")
        if nvcpus > MAX_VCPUS:
            text = f"requested cpu amount exceeds maximum supported amount ({signed(nvcpus)} > {MAX_VCPUS})"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        record = self.record(dom)
        live, config = self.definitions(record, flags)
        meant = [definition for definition in (live, config) if definition]
        if flags & MAXIMUM:
            assert config is not None
            config.max_vcpus = nvcpus
            config.vcpus = min(config.vcpus, nvcpus)
        else:
            most = min(definition.max_vcpus for definition in meant)
            if nvcpus > most:
                text = f"requested cpu amount exceeds maximum ({nvcpus} > {most})"
                raise InvalidArg(text, domain=c.VIR_FROM_TEST)
            for definition in meant:
                definition.vcpus = nvcpus
        record.refresh()

    def domain_get_vcpus(self, dom: NonnullDomain, maxinfo: int, maplen: int) -> DomainGetVcpusRet:
        """Return state, CPU time in nanoseconds and host CPU of each CPU, and its map.

        The maps fill ``maxinfo * maplen`` bytes, however many CPUs there are.
        """
        check_vcpus_call(maxinfo, maplen)
        record = self.record(dom)
        if not record.active:
            text = "cannot list vcpus for an inactive domain"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        live, hosts = record.live, self.world.node.cpus
        shown = range(min(maxinfo, live.vcpus))
        cpu_time = self.world.now() // 10000
        maps = [map_of(live, vcpu, hosts) for vcpu in shown]
        info = [
            VcpuInfo(vcpu, c.VIR_VCPU_RUNNING, cpu_time, cpumap.bit_length() - 1)
            for vcpu, cpumap in zip(shown, maps, strict=True)
        ]
        return DomainGetVcpusRet(info, join_maps(maps, maxinfo, maplen))

    def domain_get_vcpu_pin_info(
        self, dom: NonnullDomain, ncpumaps: int, maplen: int, flags: int
    ) -> DomainGetVcpuPinInfoRet:
        """Return the maps of a domain's CPUs; ``num`` is how many of ``ncpumaps`` are meant."""
        check_vcpu_call(ncpumaps, maplen, flags)
        definition = self.one_definition(self.record(dom), flags)
        return vcpu_pin_info(definition, ncpumaps, maplen, self.world.node.cpus)

    def domain_pin_vcpu(self, dom: NonnullDomain, vcpu: int, cpumap: bytes) -> None:
        """Say on which host CPUs a CPU of an active domain may run."""
        self._pin_vcpu(dom, vcpu, cpumap, "virDomainPinVcpu")

    def domain_pin_vcpu_flags(self, dom: NonnullDomain, vcpu: int, cpumap: bytes, flags: int) -> None:
        """As domain_pin_vcpu; libvirt 9.0.0's test driver knows no flag."""
        check_flags(flags, 0, "testDomainPinVcpuFlags")
        self._pin_vcpu(dom, vcpu, cpumap, "virDomainPinVcpuFlags")

    def _pin_vcpu(self, dom: NonnullDomain, vcpu: int, cpumap: bytes, function: str) -> None:
        """Pin a CPU of the live definition."""
        if not cpumap:
            raise argument_must(function, "cpumap", "not be NULL")
        record = self.record(dom)
        if not record.active:
            text = "cannot pin vcpus on an inactive domain"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        if vcpu >= record.live.vcpus:
            text = f"requested vcpu '{signed(vcpu)}' is not present in the domain"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        record.live.pin_vcpu(vcpu, int.from_bytes(cpumap, "little"))

    def domain_get_emulator_pin_info(
        self, dom: NonnullDomain, maplen: int, flags: int
    ) -> DomainGetEmulatorPinInfoRet:
        """Return the map of the emulator's threads."""
        check_emulator_call(maplen, flags)
        check_flags(flags, IMPACT, "testDomainGetEmulatorPinInfo")
        return emulator_pin_info(self.one_definition(self.record(dom), flags), maplen, self.world.node.cpus)

    def domain_pin_emulator(self, dom: NonnullDomain, cpumap: bytes, flags: int) -> None:
        """Say on which host CPUs the emulator may run."""
        function = "virDomainPinEmulator"
        if not cpumap:
            raise argument_must(function, "cpumap", "not be NULL")
        check_flags(flags, IMPACT, "testDomainPinEmulator")
        definition = self.one_definition(self.record(dom), flags)
        bits = int.from_bytes(cpumap, "little")
        if not bits:
            raise InvalidArg("Empty cpu list for pinning", domain=c.VIR_FROM_TEST)
        definition.emulator_pin = bits
