"""Calls that need a file descriptor with them, and never get one: the daemon takes none from clients."""

from __future__ import annotations

from remotevirt.drivers.test.calls import DomainCalls
from remotevirt.drivers.test.faults import argument_error
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DescriptorCalls"]


class DescriptorCalls(DomainCalls):
    """Fail as libvirt's daemon does where the descriptor is missing."""

    def domain_open_graphics(self, dom: NonnullDomain, idx: int, flags: int) -> None:
        """Fail: there is no descriptor to connect."""
        raise InternalError("No FD available at slot 0", domain=c.VIR_FROM_RPC)

    def domain_fd_associate(self, dom: NonnullDomain, name: str, flags: int) -> None:
        """Fail: there is no descriptor to lend."""
        function = "virDomainFDAssociate"
        raise argument_error(function, "nfds", f"nfds in {function} must not be zero")
