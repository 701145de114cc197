"""Where the threads of a domain may run, by its definition: what all drivers check and answer alike."""

from __future__ import annotations

from remotevirt.drivers.domains.calls import IMPACT
from remotevirt.drivers.domains.cpu_maps import MAX_MAPS, check_maps, join_maps, map_of
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.faults import argument_must, exclusive_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, Rpc
from remotevirt.stubs.remote.domain import DomainGetEmulatorPinInfoRet, DomainGetVcpuPinInfoRet

__all__ = ["check_emulator_call", "check_vcpu_call", "emulator_pin_info", "vcpu_pin_info"]


def check_vcpu_call(ncpumaps: int, maplen: int, flags: int) -> None:
    """Check the arguments of virDomainGetVcpuPinInfo as libvirt's daemon and its public API do."""
    function = "virDomainGetVcpuPinInfo"
    check_maps("ncpumaps", ncpumaps, maplen)
    if ncpumaps == 0:
        raise argument_must(function, "ncpumaps", "be greater than zero")
    if maplen == 0:
        raise argument_must(function, "cpumaps", "not be NULL")
    if flags & IMPACT == IMPACT:
        raise exclusive_flags(function)


def vcpu_pin_info(definition: Definition, ncpumaps: int, maplen: int, hosts: int) -> DomainGetVcpuPinInfoRet:
    """Return the maps of a domain's CPUs; ``num`` is how many of ``ncpumaps`` are meant.

    Args:
        definition: which says it.
        ncpumaps: the most maps, each of ``maplen`` bytes.
        maplen: see there.
        hosts: how many CPUs the host has.
    """
    shown = min(ncpumaps, definition.max_vcpus)
    maps = [map_of(definition, vcpu, hosts) for vcpu in range(shown)]
    return DomainGetVcpuPinInfoRet(join_maps(maps, ncpumaps, maplen), shown)


def check_emulator_call(maplen: int, flags: int) -> None:
    """Check the arguments of virDomainGetEmulatorPinInfo as libvirt's daemon and its public API do."""
    function = "virDomainGetEmulatorPinInfo"
    if maplen < 0:
        raise InternalError("maplen must be non-negative", domain=c.VIR_FROM_RPC)
    if maplen > MAX_MAPS:
        raise Rpc("Unable to encode message payload", domain=c.VIR_FROM_RPC)
    if maplen == 0:
        raise argument_must(function, "cpumap", "not be NULL")
    if flags & IMPACT == IMPACT:
        raise exclusive_flags(function)


def emulator_pin_info(definition: Definition, maplen: int, hosts: int) -> DomainGetEmulatorPinInfoRet:
    """Return the map of the emulator's threads, in ``maplen`` bytes, on a host with so many CPUs."""
    cpumap = definition.emulator_pin
    if cpumap is None:
        cpumap = definition.cpu_mask
    if cpumap is None:
        cpumap = (1 << hosts) - 1
    return DomainGetEmulatorPinInfoRet(join_maps([cpumap], 1, maplen), 1)
