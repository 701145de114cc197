"""Calls that carry descriptors, and what libvirt's daemon says where they come without."""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import argument_must
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DescriptorCalls"]


class DescriptorCalls(DomainCalls):
    """With descriptors they are not supported: the guests have no displays, and open no files."""

    def domain_open_graphics(
        self, dom: NonnullDomain, idx: int, flags: int, files: Sequence[int]
    ) -> Result[None]:
        """Fail: there is no display to connect, or no descriptor to connect it with."""
        if not files:
            raise InternalError("No FD available at slot 0", domain=c.VIR_FROM_RPC)
        return super().domain_open_graphics(dom, idx, flags, files)

    def domain_fd_associate(
        self, dom: NonnullDomain, name: str, flags: int, files: Sequence[int]
    ) -> Result[None]:
        """Fail: there is nobody to lend a descriptor to, or no descriptor to lend."""
        if not files:
            function = "virDomainFDAssociate"
            raise argument_must(function, "nfds", "not be zero")
        return super().domain_fd_associate(dom, name, flags, files)
