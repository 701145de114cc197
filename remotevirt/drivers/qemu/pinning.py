"""Where the threads of a guest may run, as clients ask and say it: virtual CPUs and the emulator."""

from __future__ import annotations

from collections.abc import Callable

from remotevirt.drivers.domains.calls import IMPACT, LIVE
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.iothreads import threads_of
from remotevirt.drivers.domains.pin_info import (
    check_emulator_call,
    check_vcpu_call,
    emulator_pin_info,
    vcpu_pin_info,
)
from remotevirt.drivers.faults import argument_must
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR
from remotevirt.drivers.qemu.limits import confine
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.threads import (
    find_iothreads,
    host_cpus,
    pin_emulator,
    pin_thread,
    tell_tunable,
)
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.domain import DomainGetEmulatorPinInfoRet, DomainGetVcpuPinInfoRet

__all__ = ["PinningCalls"]


def _bits(cpumap: bytes, function: str) -> int:
    """Return the bitmap that a client wants; raises InvalidArg for none."""
    if not cpumap:
        raise argument_must(function, "cpumap", "not be NULL")
    bits = int.from_bytes(cpumap, "little")
    if not bits:
        raise InvalidArg("Empty cpu list for pinning", domain=c.VIR_FROM_QEMU)
    return bits


class PinningCalls(QemuCalls):
    """``<cputune>``: ``<vcpupin>`` and ``<emulatorpin>``."""

    def domain_get_vcpu_pin_info(
        self, dom: NonnullDomain, ncpumaps: int, maplen: int, flags: int
    ) -> DomainGetVcpuPinInfoRet:
        """Return the maps of a domain's virtual CPUs; ``num`` is how many of ``ncpumaps`` are meant."""
        check_vcpu_call(ncpumaps, maplen, flags)
        self.check_flags(flags, IMPACT, "DomainGetVcpuPinInfo")
        definition = self.one_definition(self.record(dom), flags)
        return vcpu_pin_info(definition, ncpumaps, maplen, host_cpus())

    async def domain_pin_vcpu(self, dom: NonnullDomain, vcpu: int, cpumap: bytes) -> None:
        """Say on which host CPUs a virtual CPU of a running guest may run."""
        await self._pin_vcpu(dom, vcpu, _bits(cpumap, "virDomainPinVcpu"), LIVE)

    async def domain_pin_vcpu_flags(self, dom: NonnullDomain, vcpu: int, cpumap: bytes, flags: int) -> None:
        """As domain_pin_vcpu, now, later or both."""
        await self._pin_vcpu(dom, vcpu, _bits(cpumap, "virDomainPinVcpuFlags"), flags)

    async def _pin_vcpu(self, dom: NonnullDomain, vcpu: int, bits: int, flags: int) -> None:
        self.check_flags(flags, IMPACT, "DomainPinVcpuFlags")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainPinVcpuFlags"):
            live, config = self.definitions(record, flags)
            for definition, word in ((live, "live"), (config, "persistent")):
                if definition is not None and vcpu >= definition.max_vcpus:
                    text = f"vcpu {vcpu} is out of range of {word} cpu count {definition.max_vcpus}"
                    raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
            if live is not None:
                guest = self.guest(record)
                thread = guest.threads.get(vcpu)
                if thread is not None:
                    await confine(guest, f"vcpu{vcpu}", bits)
                    pin_thread(guest, thread, bits)
                    live, config = self.definitions(self.record(dom), flags)
            self._keep(record, live, config, lambda one: one.pin_vcpu(vcpu, bits))
            if live is not None:
                tell_tunable(guest, f"vcpupin{vcpu}", bits)

    def _keep(
        self,
        record: QemuRecord,
        live: Definition | None,
        config: Definition | None,
        pin: Callable[[Definition], None],
    ) -> None:
        """Change the definitions that are meant."""

        def change() -> None:
            self.world.touch(record)
            for one in (live, config):
                if one is not None:
                    pin(one)

        self.world.commit(change)

    def domain_get_emulator_pin_info(
        self, dom: NonnullDomain, maplen: int, flags: int
    ) -> DomainGetEmulatorPinInfoRet:
        """Return the map of the emulator's threads."""
        check_emulator_call(maplen, flags)
        self.check_flags(flags, IMPACT, "DomainGetEmulatorPinInfo")
        return emulator_pin_info(self.one_definition(self.record(dom), flags), maplen, host_cpus())

    async def domain_pin_emulator(self, dom: NonnullDomain, cpumap: bytes, flags: int) -> None:
        """Say on which host CPUs the emulator may run."""
        bits = _bits(cpumap, "virDomainPinEmulator")
        self.check_flags(flags, IMPACT, "DomainPinEmulator")
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainPinEmulator"):
            live, config = self.definitions(record, flags)
            if live is not None:
                guest = self.guest(record)
                threads = await find_iothreads(guest) if threads_of(live.model) else {}
                await confine(guest, EMULATOR, bits)
                pin_emulator(guest, threads, bits)
                live, config = self.definitions(self.record(dom), flags)
            self._keep(record, live, config, lambda one: setattr(one, "emulator_pin", bits))
            if live is not None:
                tell_tunable(guest, "emulatorpin", bits)
