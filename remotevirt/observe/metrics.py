"""Metrics for Prometheus.

The hot path only adds to plain numbers: one :class:`Cell` for each procedure that was called, found by the
procedure itself. What Prometheus wants to see is made from them when it asks, by :meth:`Metrics.collect`,
which a registry of ``prometheus_client`` calls. Everything runs on the reactor's thread, so nothing needs a
lock.

Nothing that a client chooses becomes a label: procedures, error codes and transports come from tables,
listeners from the configuration, and what has no name there is counted under one.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import prometheus_client
import twisted
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

import remotevirt
from remotevirt.errors import VirError
from remotevirt.observe.facts import OTHER, error_name, listener_name, reason_class
from remotevirt.observe.lag import LagMeter
from remotevirt.procedures import Procedure
from remotevirt.server.trace import Call, Tracer

__all__ = ["FAMILIES", "Family", "Metrics"]

BOUNDS: Final = (
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0
)  # fmt: skip
"""Upper bounds of the latency buckets, in seconds: from a look-up in memory to a driver that hangs."""

_BOUND_LABELS = (*map(str, BOUNDS), "+Inf")

EVENT_KINDS_MAXIMUM = 32
"""Kinds of events with a series of their own: drivers name them, and libvirt has seven."""


class Family(NamedTuple):
    """One metric: what Prometheus takes it for, what it is, and its labels."""

    type: str
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final[dict[str, Family]] = {
    "remotevirt_build": Family("info", "Versions of what runs.", ("version", "python", "twisted")),
    "remotevirt_calls": Family(
        "counter",
        "Calls that ended: answered (ok), with an error, or cancelled because the client left.",
        ("program", "procedure", "outcome"),
    ),
    "remotevirt_call_seconds": Family(
        "histogram", "Seconds from dispatching a call to its end.", ("program", "procedure")
    ),
    "remotevirt_calls_in_flight": Family("gauge", "Calls that have begun and not ended."),
    "remotevirt_errors": Family("counter", "Errors that calls were answered with.", ("code",)),
    "remotevirt_clients": Family("gauge", "Clients that are connected.", ("transport", "listener")),
    "remotevirt_connections": Family(
        "counter", "Clients that have connected since the start.", ("transport", "listener")
    ),
    "remotevirt_refused": Family("counter", "Clients that were turned away.", ("reason",)),
    "remotevirt_events": Family("counter", "Events sent to clients.", ("kind",)),
    "remotevirt_event_bytes": Family("counter", "Bytes of events sent to clients."),
    "remotevirt_stream_bytes": Family(
        "counter", "Bytes of streams, sent to clients or received from them.", ("direction",)
    ),
    "remotevirt_queue_depth": Family("gauge", "What waits, over all clients.", ("queue",)),
    "remotevirt_reactor_lag_seconds": Family("gauge", "How late the reactor was when last measured."),
    "remotevirt_reactor_lag_worst_seconds": Family(
        "gauge", "How late the reactor was at most in the last minute."
    ),
    "remotevirt_audit_lines": Family(
        "counter", "Lines of the audit trail, written or lost to a failing write.", ("result",)
    ),
}
"""Every metric of ours by its name; Prometheus adds ``_total`` to counters and ``_info`` to infos."""

_CLASSES: Final[dict[str, Any]] = {
    "info": InfoMetricFamily,
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Cell:
    """What is counted of one procedure: how its calls ended, and how long they took."""

    __slots__ = ("buckets", "cancelled", "error", "ok", "seconds")

    def __init__(self) -> None:
        self.ok = 0
        self.error = 0
        self.cancelled = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)


class Metrics(Tracer):
    """Counts what happens.

    Args:
        lag: what measures the reactor's lateness.
        queues: returns what waits, by name (``{"calls": 3, "bytes": 0}``); asked when Prometheus asks.
        audit: returns how many lines of the audit trail were written and lost; None without one.

    Attributes:
        registry: the registry to expose: these metrics, the process's and the garbage collector's.
    """

    def __init__(
        self,
        lag: LagMeter,
        queues: Callable[[], Mapping[str, float]] = dict,
        audit: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.lag = lag
        self.queues = queues
        self.audit = audit
        self._cells: dict[Procedure | None, tuple[str, Cell]] = {}
        self._errors: Counter[str] = Counter()
        self._clients: Counter[tuple[str, str]] = Counter()
        self._connections: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._event_bytes = 0
        self._sent = 0
        self._received = 0
        self._in_flight = 0
        self.registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)

    # -- the hot path ----------------------------------------------------------------------------------

    def call_started(self, call: Call) -> None:
        """Count it as in flight."""
        self._in_flight += 1

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Count it, and the time it took."""
        try:
            cell = self._cells[call.procedure][1]
        except KeyError:
            cell = self._make(call)
        latency = call.latency
        cell.ok += 1
        cell.seconds += latency
        cell.buckets[bisect_left(BOUNDS, latency)] += 1
        self._in_flight -= 1

    def call_failed(self, call: Call, error: VirError) -> None:
        """Count it, its error, and the time it took."""
        self._end(call).error += 1
        self._errors[error_name(error.code)] += 1

    def call_cancelled(self, call: Call) -> None:
        """Count it, and the time it took."""
        self._end(call).cancelled += 1

    def _end(self, call: Call) -> Cell:
        found = self._cells.get(call.procedure)
        cell = self._make(call) if found is None else found[1]
        cell.seconds += call.latency
        cell.buckets[bisect_left(BOUNDS, call.latency)] += 1
        self._in_flight -= 1
        return cell

    def _make(self, call: Call) -> Cell:
        cell = Cell()
        program = OTHER if call.procedure is None or call.program is None else call.program.name
        self._cells[call.procedure] = program, cell
        return cell

    # -- clients -----------------------------------------------------------------------------------------

    def client_connected(self, client: Any) -> None:
        """Count it."""
        where = (client.identity.transport, listener_name(client))
        self._clients[where] += 1
        self._connections[where] += 1

    def client_disconnected(self, client: Any, reason: str) -> None:
        """Count it no more."""
        self._clients[client.identity.transport, listener_name(client)] -= 1

    def client_refused(self, where: str, reason: str) -> None:
        """Count it by the class of the reason."""
        self._refused[reason_class(reason)] += 1

    def event_sent(self, client: Any, kind: str, id: int, size: int) -> None:
        """Count it and its bytes."""
        events = self._events
        events[kind if kind in events or len(events) < EVENT_KINDS_MAXIMUM else OTHER] += 1
        self._event_bytes += size

    def stream_moved(self, client: Any, procedure: Procedure, sent: int, received: int) -> None:
        """Count the bytes."""
        self._sent += sent
        self._received += received

    # -- what Prometheus asks for ------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Make all metrics; called by the registry."""
        for name, family in FAMILIES.items():
            labels = () if family.type == "info" else family.labels  # an info's labels come with its value
            metric: Any = _CLASSES[family.type](name, family.help, labels=labels)
            getattr(self, f"_collect_{name.removeprefix('remotevirt_')}")(metric)
            yield metric

    def _collect_build(self, metric: InfoMetricFamily) -> None:
        versions = {
            "version": remotevirt.__version__,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
        }
        metric.add_metric((), versions)

    def _rows(self) -> Iterator[tuple[tuple[str, str], Cell]]:
        for procedure, (program, cell) in self._cells.items():
            yield (program, OTHER if procedure is None else procedure.name), cell

    def _collect_calls(self, metric: CounterMetricFamily) -> None:
        for labels, cell in self._rows():
            for outcome in ("ok", "error", "cancelled"):
                if count := getattr(cell, outcome):
                    metric.add_metric((*labels, outcome), count)

    def _collect_call_seconds(self, metric: HistogramMetricFamily) -> None:
        for labels, cell in self._rows():
            total = 0
            buckets = []
            for bound, count in zip(_BOUND_LABELS, cell.buckets, strict=True):
                total += count
                buckets.append((bound, float(total)))
            metric.add_metric(labels, buckets, cell.seconds)

    def _collect_calls_in_flight(self, metric: GaugeMetricFamily) -> None:
        metric.add_metric((), self._in_flight)

    def _collect_errors(self, metric: CounterMetricFamily) -> None:
        _add(metric, (((name,), count) for name, count in self._errors.items()))

    def _collect_clients(self, metric: GaugeMetricFamily) -> None:
        _add(metric, self._clients.items())

    def _collect_connections(self, metric: CounterMetricFamily) -> None:
        _add(metric, self._connections.items())

    def _collect_refused(self, metric: CounterMetricFamily) -> None:
        _add(metric, (((reason,), count) for reason, count in self._refused.items()))

    def _collect_events(self, metric: CounterMetricFamily) -> None:
        _add(metric, (((kind,), count) for kind, count in self._events.items()))

    def _collect_event_bytes(self, metric: CounterMetricFamily) -> None:
        metric.add_metric((), self._event_bytes)

    def _collect_stream_bytes(self, metric: CounterMetricFamily) -> None:
        _add(metric, [(("sent",), self._sent), (("received",), self._received)])

    def _collect_queue_depth(self, metric: GaugeMetricFamily) -> None:
        _add(metric, (((name,), depth) for name, depth in self.queues().items()))

    def _collect_reactor_lag_seconds(self, metric: GaugeMetricFamily) -> None:
        metric.add_metric((), self.lag.last)

    def _collect_reactor_lag_worst_seconds(self, metric: GaugeMetricFamily) -> None:
        metric.add_metric((), self.lag.worst)

    def _collect_audit_lines(self, metric: CounterMetricFamily) -> None:
        if self.audit is not None:
            written, lost = self.audit()
            _add(metric, [(("written",), written), (("lost",), lost)])


def _add(metric: Any, samples: Iterable[tuple[Iterable[str], float]]) -> None:
    for labels, value in samples:
        metric.add_metric(tuple(labels), value)
