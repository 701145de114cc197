"""CPU maps of the calls: bitmaps, the lowest CPU in the lowest bit of the first byte.

Clients say how many bytes they want for each; maps are cut or filled with zeros to fit.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.faults import argument_must, too_large
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError

__all__ = ["MAX_MAPS", "check_maps", "check_vcpus_call", "join_maps", "map_of"]

MAX_INFO: Final = 16384
"""REMOTE_VCPUINFO_MAX."""

MAX_MAPS: Final = 8388608
"""REMOTE_CPUMAPS_MAX, in bytes."""


def check_maps(name: str, count: int, maplen: int) -> None:
    """Bound the answer as libvirt's daemon does."""
    too_large(count, MAX_INFO, name, f"{name} > REMOTE_VCPUINFO_MAX")
    if maplen < 0:
        # libvirt names the wrong argument in one of the two calls
        wrong = "maplen" if name == "ncpumaps" else name
        raise InternalError(f"{wrong} must be non-negative", domain=c.VIR_FROM_RPC)
    if count * maplen > MAX_MAPS:
        raise InternalError("maxinfo * maplen > REMOTE_CPUMAPS_MAX", domain=c.VIR_FROM_RPC)


def check_vcpus_call(maxinfo: int, maplen: int) -> None:
    """Check the arguments of virDomainGetVcpus as libvirt's daemon and its public API do."""
    check_maps("maxinfo", maxinfo, maplen)
    if maxinfo == 0:
        raise argument_must("virDomainGetVcpus", "info", "not be NULL")


def map_of(definition: Definition, vcpu: int, hosts: int) -> int:
    """Return the bitmap of a CPU: its own pinning, the domain's mask, or every host CPU."""
    cpumap = definition.vcpu_pin(vcpu)
    if cpumap is None:
        cpumap = definition.cpu_mask
    return (1 << hosts) - 1 if cpumap is None else cpumap


def join_maps(maps: list[int], count: int, maplen: int) -> bytes:
    """Lay out ``count`` maps of ``maplen`` bytes, the missing ones empty."""
    mask = (1 << 8 * maplen) - 1
    return b"".join((bits & mask).to_bytes(maplen, "little") for bits in maps).ljust(count * maplen, b"\0")
