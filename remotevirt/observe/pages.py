"""Metrics and the status page: what measures and counts for them, and what serves them.

Not among the package's own names, since it takes a web server and the library of metrics: 4 MiB that a daemon
without ``metrics_listen`` does without.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from remotevirt.observe.endpoint import ObserveFactory
from remotevirt.observe.lag import LagMeter
from remotevirt.observe.metrics import Metrics
from remotevirt.observe.status import Domains, Status
from remotevirt.server import Tracer

__all__ = ["Pages"]


@attrs.frozen
class Pages:
    """What a daemon shows of itself.

    Attributes:
        tracers: hear what it does.
        lag: measures how late the reactor is, once it is started.
        factory: serves the pages.
    """

    tracers: list[Tracer]
    lag: LagMeter
    factory: ObserveFactory

    @classmethod
    def make(
        cls,
        reactor: Any,
        domains: Callable[[], Awaitable[dict[str, int]]],
        queues: Callable[[], dict[str, float]],
        audit: Callable[[], tuple[int, int]],
    ) -> Pages:
        """Make the pages of one daemon.

        Args:
            reactor: the clock.
            domains: returns how many domains are in which state.
            queues: returns how much of what waits.
            audit: returns how many lines of the audit trail were written, and how many lost.
        """
        lag = LagMeter(reactor)
        status = Status(reactor, lag, Domains(reactor, domains))
        metrics = Metrics(lag, queues=queues, audit=audit)
        return cls([metrics, status], lag, ObserveFactory(reactor, metrics.registry, status))
