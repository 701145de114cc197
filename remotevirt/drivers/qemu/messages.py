"""What the driver has to say of a guest: what makes it hard to vouch for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["MessageCalls"]

KINDS: Final[int] = c.VIR_DOMAIN_MESSAGE_DEPRECATION | c.VIR_DOMAIN_MESSAGE_TAINTING


class MessageCalls(QemuCalls):
    """virDomainGetMessages."""

    def domain_get_messages(self, dom: NonnullDomain, flags: int) -> Sequence[str]:
        """Return texts about a domain; of one that is off there are none."""
        self.check_flags(flags, KINDS, "DomainGetMessages")
        record = self.record(dom)
        wanted = flags or KINDS
        found: list[str] = []
        if wanted & c.VIR_DOMAIN_MESSAGE_TAINTING and record.active and record.live.model.commandline:
            found.append("tainted: custom configuration parameters specified")
        return found
