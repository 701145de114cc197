"""Memory parameters: the limits that the host would hold a domain to, in KiB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS, cut, need_params
from remotevirt.drivers.faults import exclusive_flags, too_large
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetMemoryParametersRet
from remotevirt.typed_params import allowed, check_params, to_dict, ullong
from remotevirt.xml.domain.tuning import MemoryTune

__all__ = ["HARD", "SOFT", "SWAP", "UNLIMITED", "MemoryTuningCalls"]

UNLIMITED: Final[int] = c.VIR_DOMAIN_MEMORY_PARAM_UNLIMITED

HARD: Final[str] = c.VIR_DOMAIN_MEMORY_HARD_LIMIT
SOFT: Final[str] = c.VIR_DOMAIN_MEMORY_SOFT_LIMIT
SWAP: Final[str] = c.VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT
LIMITS: Final = (HARD, SOFT, SWAP)
"""The parameters, in the order of cuts; the document's elements have the same names."""

ALLOWED: Final = allowed(*LIMITS)


class MemoryTuningCalls(DomainCalls):
    """``<memtune>``."""

    def domain_get_memory_parameters(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> DomainGetMemoryParametersRet:
        """Return the limits."""
        too_large(nparams, MAX_PARAMS, "nparams")
        if flags & IMPACT == IMPACT:
            raise exclusive_flags("virDomainGetMemoryParameters")
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetMemoryParameters")
        if nparams == 0:
            return DomainGetMemoryParametersRet((), len(LIMITS))
        record = self.record(dom)
        params = [ullong(name, self.memory_limit(record, flags, name)) for name in LIMITS]
        return DomainGetMemoryParametersRet(cut(params, nparams, flags), 0)

    def domain_set_memory_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> Result[None]:
        """Change limits.

        Raises:
            InvalidArg: the limit with swap would be below the one without.
        """
        wanted = self.wanted_limits(params, flags)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        self.check_swap(record, wanted)
        self.keep_limits(record, definition, wanted)
        return None

    def memory_limit(self, record: DomainRecord, flags: int, name: str) -> int:
        """Return one limit of the definition that is meant."""
        return _limit(self.one_definition(record, flags).model.memtune, name)

    def wanted_limits(self, params: Sequence[TypedParam], flags: int) -> dict[str, int]:
        """Return the limits that a call wants; raises InvalidArg for what is none."""
        need_params(params, "virDomainSetMemoryParameters")
        self.check_flags(flags, IMPACT, "DomainSetMemoryParameters")
        check_params(params, ALLOWED)
        return {name: int(value) for name, value in to_dict(params).items()}

    def check_swap(self, record: DomainRecord, wanted: Mapping[str, int]) -> None:
        """Refuse a limit with swap below the one without; raises InvalidArg."""
        if HARD in wanted or SWAP in wanted:
            # what is not to be changed counts as it is now, even where the change is for later
            now = record.live.model.memtune
            hard, swap = (wanted.get(name, _limit(now, name)) for name in (HARD, SWAP))
            if hard > swap:
                text = "memory hard_limit tunable value must be lower than or equal to swap_hard_limit"
                raise InvalidArg(text, domain=self.world.ERRORS)

    def keep_limits(
        self, record: DomainRecord, definition: Definition | None, wanted: Mapping[str, int]
    ) -> None:
        """Put limits into a definition, if one is meant."""
        if definition is None:
            return
        self.world.touch(record)
        model = definition.changing()
        if model.memtune is None:
            model.memtune = MemoryTune()
        for name, limit in wanted.items():
            setattr(model.memtune, name, limit)
        self.world.redefined(record)


def _limit(tune: MemoryTune | None, name: str) -> int:
    """Return a limit, UNLIMITED where there is none."""
    limit: int | None = getattr(tune, name, None)
    return UNLIMITED if limit is None else limit
