"""Parameters of the scheduler, of NUMA and of block I/O, and the time that a guest's process has had.

All but the last are for control groups; see :mod:`remotevirt.drivers.qemu.cgroups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.domains.blkio_tuning import BlkioTuningCalls
from remotevirt.drivers.domains.calls import IMPACT, LIVE
from remotevirt.drivers.domains.numa_tuning import NODESET, NumaTuningCalls
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS
from remotevirt.drivers.faults import argument_error, argument_must, exclusive_flags, too_large
from remotevirt.drivers.qemu.cgroups import CgroupCalls, no_controller
from remotevirt.drivers.qemu.figures import task_figures
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationInvalid, OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import (
    DomainGetBlkioParametersRet,
    DomainGetCpuStatsRet,
    DomainGetSchedulerTypeRet,
)
from remotevirt.typed_params import check_params, from_dict, to_dict, ullong
from remotevirt.xml.domain.tuning import CpuTune

__all__ = ["TuningCalls"]

PERIODS: Final = (1000, 1000000)
"""Microseconds of a period of the scheduler."""

QUOTAS: Final = (1000, 18446744073709551)
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

MAX_CPUS: Final = 128
"""REMOTE_DOMAIN_GET_CPU_STATS_NCPUS_MAX."""


class SchedulerCalls(CgroupCalls):
    """``<cputune>``: shares, periods and quotas."""

    def domain_get_scheduler_type(self, dom: NonnullDomain) -> DomainGetSchedulerTypeRet:
        """Return the scheduler's name and how many parameters it has."""
        if self.record(dom).active:
            raise no_controller("cpu")
        return DomainGetSchedulerTypeRet("posix", len(SCHEDULER))

    def domain_get_scheduler_parameters(self, dom: NonnullDomain, nparams: int) -> Sequence[TypedParam]:
        """Return the parameters."""
        return self._get(dom, nparams, 0, "virDomainGetSchedulerParameters")

    def domain_get_scheduler_parameters_flags(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> Sequence[TypedParam]:
        """Return the parameters of a definition."""
        return self._get(dom, nparams, flags, "virDomainGetSchedulerParametersFlags")

    def _get(self, dom: NonnullDomain, nparams: int, flags: int, function: str) -> Sequence[TypedParam]:
        too_large(nparams, MAX_PARAMS, "nparams")
        if nparams == 0:
            raise argument_must(function, "params", "not be NULL")
        if flags & IMPACT == IMPACT:
            raise exclusive_flags(function)
        self.check_flags(flags, IMPACT | STRINGS, "DomainGetSchedulerParametersFlags")
        self.only_config(dom, flags, "cpu")
        tune = self.record(dom).persistent_definition.model.cputune or CpuTune()
        values = {name: getattr(tune, field) or 0 for name, (field, _, _) in SCHEDULER.items()}
        return list(from_dict(values, KINDS))[:nparams]

    def domain_set_scheduler_parameters(self, dom: NonnullDomain, params: Sequence[TypedParam]) -> None:
        """Change parameters."""
        self._set(dom, params, 0, "virDomainSetSchedulerParameters")

    def domain_set_scheduler_parameters_flags(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change parameters of a definition."""
        self._set(dom, params, flags, "virDomainSetSchedulerParametersFlags")

    def _set(self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int, function: str) -> None:
        if not params:
            raise argument_must(function, "params", "not be NULL")
        self.check_flags(flags, IMPACT, "DomainSetSchedulerParametersFlags")
        check_params(params, KINDS)
        wanted = {name: int(value) for name, value in to_dict(params).items()}
        self.only_config(dom, flags, "cpu")
        for name, value in wanted.items():
            least, most = SCHEDULER[name][2]
            if 0 < value < least or value > most:
                text = f"value of '{name}' is out of range [{least}, {most}]"
                raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
        record = self.record(dom)
        model = record.persistent_definition.changing()
        if model.cputune is None:
            model.cputune = CpuTune()
        for name, value in wanted.items():
            setattr(model.cputune, SCHEDULER[name][0], value or None)
        self.world.redefined(record)


class TuningCalls(SchedulerCalls, NumaTuningCalls, BlkioTuningCalls):
    """All of them."""

    def domain_set_numa_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change mode, cells or both of the persistent definition."""
        record = self.record(dom)
        if self.impact(record, flags) & LIVE and any(param.field == NODESET for param in params):
            tune = record.live.model.numatune
            if tune is None or tune.memory is None or tune.memory.mode != "strict":
                text = "change of nodeset for running domain requires strict numa mode"
                raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
            raise no_controller("cpuset")
        super().domain_set_numa_parameters(dom, params, flags)

    def domain_get_blkio_parameters(
        self, dom: NonnullDomain, nparams: int, flags: int
    ) -> DomainGetBlkioParametersRet:
        """Return the weight and the limits of the persistent definition."""
        self.only_config(dom, flags, "blkio")
        return super().domain_get_blkio_parameters(dom, nparams, flags)

    def domain_set_blkio_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change the weight and limits of the persistent definition."""
        self.only_config(dom, flags, "blkio")
        super().domain_set_blkio_parameters(dom, params, flags)

    def domain_get_cpu_stats(
        self, dom: NonnullDomain, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> DomainGetCpuStatsRet:
        """Return the CPU time of a guest's process; shares of single host CPUs are not counted.

        With ``nparams`` 0 only the number of parameters.
        """
        too_large(nparams, MAX_PARAMS, "nparams")
        too_large(ncpus, MAX_CPUS, "ncpus")
        function = "virDomainGetCPUStats"
        if start_cpu < -1:
            raise argument_must(function, "start_cpu", "be zero or greater")
        if start_cpu == -1 and ncpus != 1:
            raise argument_error(function, "start_cpu", "ncpus must be 1 when start_cpu is -1")
        self.check_flags(flags, STRINGS, "DomainGetCPUStats")
        guest = self.guest(self.record(dom))
        figures = None if guest.process is None else task_figures(guest.process.pid)
        if start_cpu != -1 or figures is None:
            text = "CPU times are not counted for single CPUs of the host"
            raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
        params = [
            ullong(c.VIR_DOMAIN_CPU_STATS_CPUTIME, figures.cpu),
            ullong(c.VIR_DOMAIN_CPU_STATS_USERTIME, figures.user),
            ullong(c.VIR_DOMAIN_CPU_STATS_SYSTEMTIME, figures.system),
        ]
        if nparams == 0:
            return DomainGetCpuStatsRet((), len(params))
        return DomainGetCpuStatsRet(params[:nparams], min(nparams, len(params)))
