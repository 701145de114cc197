"""NUMA parameters: from which of the host's cells a domain's memory comes, and how strictly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS, cut, need_params
from remotevirt.drivers.faults import too_large
from remotevirt.procedures import Result
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationInvalid
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetNumaParametersRet
from remotevirt.typed_params import allowed, check_params, int_, string, to_dict
from remotevirt.xml.bitmap import format_mask, parse_mask
from remotevirt.xml.domain.document import DomainModel
from remotevirt.xml.domain.tuning import NumaMemory, NumaTune

__all__ = ["NumaTuningCalls", "Placing", "placed_memory"]

MODE: Final[str] = c.VIR_DOMAIN_NUMA_MODE
NODESET: Final[str] = c.VIR_DOMAIN_NUMA_NODESET

ALLOWED: Final = allowed(MODE, NODESET)

MODES: Final = ("strict", "preferred", "interleave", "restrictive")
"""The words for virDomainNumatuneMemMode."""


class Placing(NamedTuple):
    """What a call wants; None for what it does not name."""

    mode: str | None
    nodeset: str | None


class NumaTuningCalls(DomainCalls):
    """``<numatune>``."""

    def domain_get_numa_parameters(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> DomainGetNumaParametersRet:
        """Return mode and cells."""
        too_large(nparams, MAX_PARAMS, "nparams")
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetNumaParameters")
        if nparams == 0:
            return DomainGetNumaParametersRet((), len(ALLOWED))
        memory = placed_memory(self.one_definition(self.record(dom), flags).model)
        mode = MODES.index(memory.mode) if memory and memory.mode else 0
        nodeset = (memory.nodeset if memory else None) or ""
        params = [int_(MODE, mode), string(NODESET, nodeset)]
        return DomainGetNumaParametersRet(cut(params, nparams, flags), 0)

    def domain_set_numa_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> Result[None]:
        """Change mode, cells or both.

        Raises:
            InvalidArg: there is no such mode, or the cells are no set.
            OperationInvalid: the set is empty, or the mode of a running domain would change.
            ConfigUnsupported: a mode without cells.
        """
        self.check_numa(params, flags)
        record = self.record(dom)
        definition = self.one_definition(record, flags)
        wanted = self.wanted_placing(params)
        self.check_mode(record, definition, wanted)
        self.keep_placing(record, definition, wanted)
        return None

    def check_numa(self, params: Sequence[TypedParam], flags: int) -> None:
        """Refuse parameters that there are not."""
        need_params(params, "virDomainSetNumaParameters")
        self.check_flags(flags, IMPACT, "DomainSetNumaParameters")
        check_params(params, ALLOWED)

    def wanted_placing(self, params: Sequence[TypedParam]) -> Placing:
        """Return what a call wants; raises InvalidArg, OperationInvalid."""
        wanted = to_dict(params)
        return Placing(
            _mode(int(wanted[MODE]), self.world.ERRORS) if MODE in wanted else None,
            _nodeset(str(wanted[NODESET]), self.world.ERRORS) if NODESET in wanted else None,
        )

    def check_mode(self, record: DomainRecord, definition: Definition, wanted: Placing) -> None:
        """Refuse to change the mode of a running domain; raises OperationInvalid."""
        memory = placed_memory(definition.model)
        changed = wanted.mode and memory is not None and wanted.mode != memory.mode
        if changed and record.active and definition is record.live:
            text = "can't change numatune mode for running domain"
            raise OperationInvalid(text, domain=self.world.ERRORS)

    def keep_placing(self, record: DomainRecord, definition: Definition, wanted: Placing) -> None:
        """Put it into a definition; raises ConfigUnsupported for a mode without cells."""
        self.world.touch(record)
        _set(definition.changing(), wanted.mode, wanted.nodeset)
        self.world.redefined(record)


def placed_memory(model: DomainModel) -> NumaMemory | None:
    """Return where a document's memory comes from, None if it does not say."""
    memory = model.numatune.memory if model.numatune else None
    return memory if memory is not None and memory.placement is not None else None


def _mode(number: int, errors: int) -> str:
    """Return the word for a mode; raises InvalidArg."""
    if not 0 <= number < len(MODES):
        raise InvalidArg(f"unsupported numatune mode: '{number}'", domain=errors)
    return MODES[number]


def _nodeset(text: str, errors: int) -> str:
    """Return the canonical text of a set of cells; raises InvalidArg, OperationInvalid."""
    mask = parse_mask(text)
    if not mask:
        raise OperationInvalid(f"Invalid nodeset of 'numatune': {text}", domain=errors)
    return format_mask(mask)


def _set(model: DomainModel, mode: str | None, nodeset: str | None) -> None:
    """Change a document; raises ConfigUnsupported."""
    memory = placed_memory(model)
    if memory is None:
        memory = NumaMemory()
        memory.mode, memory.nodeset = mode or MODES[0], nodeset
        memory.settle(static=model.vcpu.placement == "static")
        if model.numatune is None:
            model.numatune = NumaTune()
        model.numatune.memory = memory
        return
    memory.mode = mode or memory.mode
    if nodeset:
        memory.nodeset, memory.placement = nodeset, "static"
