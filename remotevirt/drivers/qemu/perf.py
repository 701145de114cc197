"""Performance events of QEMU's domains: definitions may name them, and nobody counts them."""

from __future__ import annotations

from collections.abc import Sequence

from remotevirt.drivers.domains.calls import CONFIG, LIVE
from remotevirt.drivers.domains.perf import ALLOWED, PerfCalls
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported
from remotevirt.stubs.remote import NonnullDomain, TypedParam
from remotevirt.typed_params import check_params

__all__ = ["QemuPerfCalls"]


class QemuPerfCalls(QemuCalls, PerfCalls):
    """``<perf>``."""

    def domain_set_perf_events(self, dom: NonnullDomain, params: Sequence[TypedParam], flags: int) -> None:
        """Turn events on and off, in the definition; of a running guest they can only be turned off.

        Raises:
            ArgumentUnsupported: one is to be counted of a guest that runs.
        """
        impact = self.impact(self.record(dom), flags) if not flags & ~(LIVE | CONFIG) else 0
        if impact & LIVE:
            check_params(params, ALLOWED)
            for param in params:
                if param.value.value:
                    text = f"unable to enable host cpu perf event for {param.field}"
                    raise ArgumentUnsupported(text, domain=c.VIR_FROM_PERF)
        super().domain_set_perf_events(dom, params, flags)
