"""Comparing the CPUs of several hosts, as libvirt's test driver answers it."""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.cpu.baseline import baseline, need_cpus
from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import check_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoSupport

__all__ = ["CpuBaselineCalls"]


class CpuBaselineCalls(DomainCalls):
    """virConnectBaselineCPU, and its sibling that libvirt's test driver lacks."""

    def connect_baseline_cpu(self, xmlCPUs: Sequence[str], flags: int) -> str:
        """Return the document of the richest CPU that some hosts have in common.

        Args:
            xmlCPUs: the hosts' CPUs.
            flags: VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES lists the model's own features too.

        Raises:
            OperationFailed: they have nothing in common, or come from different vendors.
        """
        need_cpus(xmlCPUs, "virConnectBaselineCPU")
        expand = c.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        check_flags(flags, expand, "testConnectBaselineCPU")
        return baseline(xmlCPUs, expand=bool(flags & expand))

    def connect_baseline_hypervisor_cpu(
        self,
        emulator: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        xmlCPUs: Sequence[str],
        flags: int,
    ) -> str:
        """Fail: libvirt's test driver does not know what a hypervisor can do."""
        function = "virConnectBaselineHypervisorCPU"
        need_cpus(xmlCPUs, function)
        raise NoSupport(function, domain=c.VIR_FROM_DOMAIN)
