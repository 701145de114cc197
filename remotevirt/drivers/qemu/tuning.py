"""NUMA and block I/O of guests, and the CPU time that they have had."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from remotevirt.drivers.domains.blkio_tuning import DEVICE_LIMITS, WEIGHT, BlkioTuningCalls, parse_limits
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.numa_tuning import NumaTuningCalls, placed_memory
from remotevirt.drivers.domains.parameters import MAX_PARAMS, STRINGS
from remotevirt.drivers.faults import argument_error, too_large
from remotevirt.drivers.qemu.calls import to_the_end
from remotevirt.drivers.qemu.cgroups import CgroupCalls, cpu_times, no_controller
from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InvalidArg, OperationInvalid, VirSystemError
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.stubs.remote.domain import DomainGetCpuStatsRet
from remotevirt.typed_params import ullong
from remotevirt.xml.bitmap import parse_bitmap

__all__ = ["TuningCalls"]

MAX_CPUS: Final = 128
"""REMOTE_DOMAIN_GET_CPU_STATS_NCPUS_MAX."""


class TuningCalls(CgroupCalls, NumaTuningCalls, BlkioTuningCalls):
    """``<numatune>`` and ``<blkiotune>``, and the CPU time of a guest."""

    def io_weight(self, record: DomainRecord, flags: int) -> int:
        """Return the weight: of a running guest, the kernel's."""
        assert isinstance(record, QemuRecord)
        group = self.live_group(record, flags, "blkio")
        return super().io_weight(record, flags) if group is None else group.weight()

    @to_the_end
    async def domain_set_blkio_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change the weight and limits, now, later or both; one that fails does not keep others from it."""
        self.check_blkio(params, flags)
        record = self.record(dom)
        failure: VirError | None = None
        async with self.turn(record, "remoteDispatchDomainSetBlkioParameters"):
            group = self.live_group(record, flags, "blkio")
            for param in params:
                if group is None:
                    break
                try:
                    await self._set_blkio(record, group, param)
                except (InvalidArg, OperationInvalid, VirSystemError) as error:
                    failure = error
            _, config = self.definitions(self.record(dom), flags)
            if config is not None:
                self.world.commit(self.keep_blkio, record, config, params)
        if failure is not None:
            raise failure

    async def _set_blkio(self, record: QemuRecord, group: ControlGroup, param: TypedParam) -> None:
        """Change one parameter of a running guest."""
        name, (_, value) = param
        if name == WEIGHT:
            await self.tell_kernel(record, partial(group.set_weight, int(value)))
        else:
            field = DEVICE_LIMITS[name][0]
            limits = parse_limits(str(value), name)

            def limit() -> None:
                for path, most in limits.items():
                    group.set_device_limit(field, path, most)

            await self.tell_kernel(record, limit)
        self.world.commit(self.keep_blkio, record, record.live, [param])

    @to_the_end
    async def domain_set_numa_parameters(
        self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int
    ) -> None:
        """Change mode, cells or both, now, later or both; a running guest's cells in mode "restrictive"."""
        self.check_numa(params, flags)
        record = self.record(dom)
        async with self.turn(record, "remoteDispatchDomainSetNumaParameters"):
            live, config = self.definitions(record, flags)
            wanted = self.wanted_placing(params)
            if live is not None:
                self.check_mode(record, live, wanted)
                group = self.group_of(record, "cpuset")
                if wanted.nodeset is not None:
                    await self._set_nodes(record, group, wanted.nodeset)
                _, config = self.definitions(self.record(dom), flags)
                self.world.commit(self.keep_placing, record, record.live, wanted)
            if config is not None:
                self.world.commit(self.keep_placing, record, config, wanted)

    async def _set_nodes(self, record: QemuRecord, group: ControlGroup, nodeset: str) -> None:
        """Have all threads of a running guest get memory from other nodes."""
        memory = placed_memory(record.live.model)
        if memory is not None and memory.mode != "restrictive":
            text = "change of nodeset for running domain requires restrictive numa mode"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        for node in sorted(parse_bitmap(nodeset)):
            if node and not os.path.exists(f"/sys/devices/system/node/node{node}"):
                raise ConfigUnsupported(f"NUMA node {node} is unavailable", domain=c.VIR_FROM_NONE)

        def move() -> None:
            for name in group.children():
                group.set_cpuset(name, "mems", nodeset)

        await self.tell_kernel(record, move)

    def domain_get_cpu_stats(
        self, dom: NonnullDomain, nparams: int, start_cpu: int, ncpus: int, flags: int
    ) -> DomainGetCpuStatsRet:
        """Return the CPU time of a guest, in total (``start_cpu`` -1) or on each of some CPUs of the host.

        With ``nparams`` 0 only a number: of parameters, or with ``ncpus`` 0 too, of CPUs.
        """
        too_large(nparams, MAX_PARAMS, "nparams")
        too_large(ncpus, MAX_CPUS, "ncpus")
        function = "virDomainGetCPUStats"
        if start_cpu < -1:
            text = f"start_cpu in {function} must be zero or greater"
            raise argument_error(function, "start_cpu", text)
        if start_cpu == -1 and ncpus != 1:
            raise argument_error(function, "start_cpu", "ncpus must be 1 when start_cpu is -1")
        self.check_flags(flags, STRINGS, "DomainGetCPUStats")
        record = self.record(dom)
        if start_cpu == -1:
            return _total(self.guest(record), nparams)
        group = self.group_of(record, "cpuacct")
        return _by_cpu(group, nparams, start_cpu, ncpus)


def _total(guest: Guest, nparams: int) -> DomainGetCpuStatsRet:
    """Return the time on all CPUs."""
    times = cpu_times(guest)
    if times is None:
        raise no_controller("cpuacct")
    params = [
        ullong(c.VIR_DOMAIN_CPU_STATS_CPUTIME, times.total),
        ullong(c.VIR_DOMAIN_CPU_STATS_USERTIME, times.user),
        ullong(c.VIR_DOMAIN_CPU_STATS_SYSTEMTIME, times.system),
    ]
    if nparams == 0:
        return DomainGetCpuStatsRet((), len(params))
    return DomainGetCpuStatsRet(params[:nparams], min(nparams, len(params)))


def _by_cpu(group: ControlGroup, nparams: int, start_cpu: int, ncpus: int) -> DomainGetCpuStatsRet:
    """Return the time on some CPUs of the host: of the whole guest, and of its virtual CPUs."""
    whole = group.times_by_cpu("")
    if ncpus == 0:
        return DomainGetCpuStatsRet((), len(whole))
    if nparams == 0:
        return DomainGetCpuStatsRet((), 2)
    if start_cpu >= len(whole):
        text = f"start_cpu {start_cpu} larger than maximum of {len(whole) - 1}"
        raise InvalidArg(text, domain=c.VIR_FROM_CGROUP)
    vcpus = [group.times_by_cpu(name) for name in group.children() if name.startswith("vcpu")]
    params: list[TypedParam] = []
    for cpu in range(start_cpu, min(start_cpu + ncpus, len(whole))):
        params += [
            ullong(c.VIR_DOMAIN_CPU_STATS_CPUTIME, whole[cpu]),
            ullong(c.VIR_DOMAIN_CPU_STATS_VCPUTIME, sum(times[cpu] for times in vcpus if cpu < len(times))),
        ][:nparams]
    return DomainGetCpuStatsRet(params, min(nparams, 2))
