"""Reading and changing how much memory a domain has by its definitions."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, LIVE, DomainCalls
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.faults import argument_must
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, OperationInvalid, Overflow
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["MAXIMUM", "MemoryCalls", "MemorySizeCalls"]

MAXIMUM: Final[int] = c.VIR_DOMAIN_MEM_MAXIMUM
MAX_KIB: Final = 2**54 - 1
"""The largest size that the public API passes on: what fits 64 bits in bytes."""


class MemorySizeCalls(DomainCalls):
    """What every driver does alike; sizes are in KiB."""

    def domain_get_max_memory(self, dom: NonnullDomain) -> int:
        """Return what a domain can have at most."""
        return self.record(dom).max_memory

    @staticmethod
    def check_memory(memory: int, function: str) -> None:
        """Check a size as the public API does."""
        if memory == 0:
            raise argument_must(function, "memory", "not be zero")
        if memory > MAX_KIB:
            raise Overflow(f"input too large: {memory}", domain=c.VIR_FROM_DOMAIN)


class MemoryCalls(MemorySizeCalls):
    """Memory of domains of which there is nothing but their definitions."""

    def domain_set_max_memory(self, dom: NonnullDomain, memory: int) -> None:
        """Change the most that an inactive domain can have."""
        self.check_memory(memory, "virDomainSetMaxMemory")
        self._set_memory(dom, memory, MAXIMUM)

    def domain_set_memory(self, dom: NonnullDomain, memory: int) -> None:
        """Change what an active domain has."""
        self.check_memory(memory, "virDomainSetMemory")
        self._set_memory(dom, memory, LIVE)

    def domain_set_memory_flags(self, dom: NonnullDomain, memory: int, flags: int) -> None:
        """Change what a domain has, or with VIR_DOMAIN_MEM_MAXIMUM can have, now or later."""
        self.check_memory(memory, "virDomainSetMemoryFlags")
        self._set_memory(dom, memory, flags)

    def _set_memory(self, dom: NonnullDomain, memory: int, flags: int) -> None:
        """Change one definition."""
        self.check_flags(flags, IMPACT | MAXIMUM, "DomainSetMemoryFlags")
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        if flags & MAXIMUM:
            if definition is record.live and record.active:
                raise OperationInvalid(
                    "cannot resize the maximum memory on an active domain", domain=self.world.ERRORS
                )
            definition.max_memory = memory
            definition.memory = min(definition.memory, memory)
        else:
            if memory > definition.max_memory:
                raise InvalidArg("cannot set memory higher than max memory", domain=self.world.ERRORS)
            definition.memory = memory
        record.refresh()

    def domain_set_memory_stats_period(self, dom: NonnullDomain, period: int, flags: int) -> None:
        """Change how often, in seconds, the balloon would collect statistics; 0 is never."""
        if period < 0:
            function = "virDomainSetMemoryStatsPeriod"
            raise argument_must(function, "period", "be zero or greater")
        self.check_flags(flags, IMPACT, "DomainSetMemoryStatsPeriod")
        self._set_period(self.record(dom), period, flags)

    def _set_period(self, record: DomainRecord, period: int, flags: int) -> None:
        """Change the balloon of one definition."""
        definition = self.one_definition(record, flags)
        if not definition.has_balloon:
            raise InternalError(
                "No memory balloon device configured, can not set the collection period",
                domain=self.world.ERRORS,
            )
        definition.balloon_period = period
