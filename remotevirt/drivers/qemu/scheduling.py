"""How much CPU time guests get: shares, and quotas in periods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from remotevirt.drivers.domains.calls import IMPACT
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS
from remotevirt.drivers.faults import argument_error, exclusive_flags, too_large
from remotevirt.drivers.qemu.calls import to_the_end
from remotevirt.drivers.qemu.cgroups import CgroupCalls
from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR
from remotevirt.drivers.qemu.limits import tell_tuned
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetSchedulerTypeRet
from remotevirt.typed_params import check_params, from_dict, to_dict
from remotevirt.xml.domain.tuning import CpuTune

__all__ = ["SchedulerCalls"]

PERIODS: Final = (1000, 1000000)
"""Microseconds of a period of the scheduler."""

QUOTAS: Final = (1000, 17592186044415)
"""Microseconds in a period; below 0 is without a bound."""

SHARES: Final = (2, 262144)

ULLONG: Final[int] = c.VIR_TYPED_PARAM_ULLONG
LLONG: Final[int] = c.VIR_TYPED_PARAM_LLONG

SCHEDULER: Final = {
    c.VIR_DOMAIN_SCHEDULER_CPU_SHARES: ("shares", ULLONG, SHARES),
    c.VIR_DOMAIN_SCHEDULER_VCPU_PERIOD: ("period", ULLONG, PERIODS),
    c.VIR_DOMAIN_SCHEDULER_VCPU_QUOTA: ("quota", LLONG, QUOTAS),
    c.VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD: ("emulator_period", ULLONG, PERIODS),
    c.VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA: ("emulator_quota", LLONG, QUOTAS),
    c.VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD: ("global_period", ULLONG, PERIODS),
    c.VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA: ("global_quota", LLONG, QUOTAS),
    c.VIR_DOMAIN_SCHEDULER_IOTHREAD_PERIOD: ("iothread_period", ULLONG, PERIODS),
    c.VIR_DOMAIN_SCHEDULER_IOTHREAD_QUOTA: ("iothread_quota", LLONG, QUOTAS),
}
"""Parameters, in libvirt's order: the field of ``<cputune>``, the type, the least and the most."""

KINDS: Final = {name: kind for name, (_, kind, _) in SCHEDULER.items()}

SHARES_NAME: Final[str] = c.VIR_DOMAIN_SCHEDULER_CPU_SHARES

GROUPS: Final = {"vcpu": "vcpu", "emulator": EMULATOR, "global": "", "iothread": "iothread"}
"""What parameters begin with: the groups that they are about, by the beginning of their names."""


class SchedulerCalls(CgroupCalls):
    """``<cputune>``: shares, periods and quotas."""

    def domain_get_scheduler_type(self, dom: NonnullDomain) -> DomainGetSchedulerTypeRet:
        """Return the scheduler's name and how many parameters it has."""
        record = self.record(dom)
        if record.active:
            self.group_of(record, "cpu")
        return DomainGetSchedulerTypeRet("posix", len(SCHEDULER))

    def domain_get_scheduler_parameters(self, dom: NonnullDomain, nparams: int) -> Sequence[TypedParam]:
        """Return the parameters."""
        return self._get(dom, nparams, 0, "virDomainGetSchedulerParameters")

    def domain_get_scheduler_parameters_flags(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> Sequence[TypedParam]:
        """Return the parameters of a running guest, as the kernel has them, or of a definition."""
        return self._get(dom, nparams, flags, "virDomainGetSchedulerParametersFlags")

    def _get(self, dom: NonnullDomain, nparams: int, flags: int, function: str) -> Sequence[TypedParam]:
        too_large(nparams, MAX_PARAMS, "nparams")
        if nparams == 0:
            raise argument_error(function, "params", f"params in {function} must not be NULL")
        if flags & IMPACT == IMPACT:
            raise exclusive_flags(function)
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetSchedulerParametersFlags")
        record = self.record(dom)
        group = self.live_group(record, flags, "cpu")
        if group is None:
            tune = record.persistent_definition.model.cputune or CpuTune()
            values = {name: getattr(tune, field) or 0 for name, (field, _, _) in SCHEDULER.items()}
        else:
            values = _read(group)
        return list(from_dict(values, KINDS))[:nparams]

    async def domain_set_scheduler_parameters(self, dom: NonnullDomain, params: Sequence[TypedParam]) -> None:
        """Change parameters."""
        await self._set(dom, params, 0, "virDomainSetSchedulerParameters")

    async def domain_set_scheduler_parameters_flags(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change parameters, now, later or both; a running guest keeps periods and quotas that would be 0."""
        await self._set(dom, params, flags, "virDomainSetSchedulerParametersFlags")

    @to_the_end
    async def _set(self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int, function: str) -> None:
        if not params:
            raise argument_error(function, "params", f"params in {function} must not be NULL")
        self.check_flags(flags, IMPACT, "DomainSetSchedulerParametersFlags")
        check_params(params, KINDS)
        wanted = {name: int(value) for name, value in to_dict(params).items()}
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetSchedulerParametersFlags"):
            group = self.live_group(record, flags, "cpu")
            for name, value in wanted.items():
                least, most = SCHEDULER[name][2]
                if group is not None and name == SHARES_NAME:
                    continue  # whose bounds depend on the kernel's version of groups
                if 0 < value < least or value > most:
                    text = f"value of '{name}' is out of range [{least}, {most}]"
                    raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
            if group is not None:
                await self._set_live(record, group, wanted)
            _, config = self.definitions(self.record(dom), flags)
            if config is not None:
                self.world.commit(self._keep_tune, record, config, wanted)

    async def _set_live(self, record: QemuRecord, group: ControlGroup, wanted: Mapping[str, int]) -> None:
        """Change a running guest; what the kernel has taken is told, also if it refuses what follows."""
        done: dict[str, int] = {}
        try:
            for name, value in wanted.items():
                if value or name == SHARES_NAME:
                    await self.tell_kernel(record, partial(_write, group, name, value))
                    self.world.commit(self._keep_tune, record, record.live, {name: value})
                    done[name] = value
        finally:
            if done and record.guest is not None:
                named = {f"cputune.{name}": value for name, value in done.items()}
                kinds = {f"cputune.{name}": KINDS[name] for name in done}
                tell_tuned(record.guest, from_dict(named, kinds))

    def _keep_tune(self, record: QemuRecord, definition: Definition, wanted: Mapping[str, int]) -> None:
        self.world.touch(record)
        model = definition.changing()
        if model.cputune is None:
            model.cputune = CpuTune()
        for name, value in wanted.items():
            setattr(model.cputune, SCHEDULER[name][0], value or None)
        self.world.redefined(record)


def _write(group: ControlGroup, name: str, value: int) -> None:
    """Change a parameter of a running guest: of each group that it is about."""
    if name == SHARES_NAME:
        group.set_shares(value)
        return
    change: Callable[[str, int], None] = group.set_period if name.endswith("period") else group.set_quota
    for one in _groups(group, name.partition("_")[0]):
        change(one, value)


def _groups(group: ControlGroup, kind: str) -> list[str]:
    """Return the groups that a parameter is about."""
    start = GROUPS[kind]
    if not start:
        return [""]
    return [one for one in group.children() if one.rstrip("0123456789") == start]


def _read(group: ControlGroup) -> dict[str, int]:
    """Return all parameters of a running guest; the first CPU and the first IO thread stand for all."""
    values = {SHARES_NAME: group.shares()}
    for kind in GROUPS:
        first = next(iter(_groups(group, kind)), None)
        period, quota = (0, 0) if first is None else group.bandwidth(first)
        values |= {f"{kind}_period": period, f"{kind}_quota": quota}
    return values
