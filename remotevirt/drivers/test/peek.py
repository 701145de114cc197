"""Looking into a guest's memory and disks, of which only the memory shows anything."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import argument_error, check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, NoSupport
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["PeekCalls"]

MAX_SIZE: Final = 4194304
"""Bytes that one call may ask for: REMOTE_DOMAIN_MEMORY_PEEK_BUFFER_MAX, and the same for disks."""

PATTERN: Final = bytes(range(256)) * 2
"""What lies in every guest's memory: each byte is the lowest one of its address."""


class PeekCalls(DomainCalls):
    """virDomainMemoryPeek and virDomainBlockPeek."""

    def domain_memory_peek(self, dom: NonnullDomain, offset: int, size: int, flags: int) -> bytes:
        """Return bytes of the memory; an address is VIR_MEMORY_VIRTUAL or _PHYSICAL, which is the same."""
        _check_size(size)
        function = "virDomainMemoryPeek"
        both = c.VIR_MEMORY_VIRTUAL | c.VIR_MEMORY_PHYSICAL
        if flags & both == both:
            text = "Flags 'VIR_MEMORY_VIRTUAL' and 'VIR_MEMORY_PHYSICAL' are mutually exclusive"
            raise argument_error(function, "ctl", text)
        check_flags(flags, both, "testDomainMemoryPeek")
        if not flags:
            text = "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL"
            raise InvalidArg(text, domain=c.VIR_FROM_TEST)
        self.active(dom)
        start = offset % 256
        return (PATTERN[start : start + 256] * (size // 256 + 1))[:size]

    def domain_block_peek(self, dom: NonnullDomain, path: str, offset: int, size: int, flags: int) -> bytes:
        """Fail: libvirt's test driver has nothing on its disks."""
        _check_size(size)
        function = "virDomainBlockPeek"
        if not path:
            raise argument_error(function, "disk", f"string disk in {function} must not be empty")
        raise NoSupport(function, domain=c.VIR_FROM_DOMAIN)


def _check_size(size: int) -> None:
    """Bound the answer as libvirt's daemon does."""
    if size > MAX_SIZE:
        raise InternalError("size > maximum buffer size", domain=c.VIR_FROM_RPC)
