"""The state of the daemon, for people: what the status page shows.

A :class:`Status` hears what happens and keeps the recent part of it, each part bounded:

* every client that is connected, with how many calls it has made (the server bounds clients);
* the calls of each of the last :data:`SECONDS` seconds;
* the latencies of the last :data:`SAMPLES` calls of each procedure, for means and percentiles;
* the last :data:`REFUSALS_MAXIMUM` refusals.

:meth:`Status.report` makes one document of it. The domains in it come from the driver and are asked for at
most once in :data:`DOMAINS_SECONDS`, however many pages are open.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

import remotevirt
from remotevirt.errors import VirError
from remotevirt.memory import resident_bytes
from remotevirt.observe.facts import OTHER, REFUSALS, clean, error_name, server_name
from remotevirt.observe.lag import LagMeter
from remotevirt.procedures import Procedure
from remotevirt.server.trace import Call, Tracer

__all__ = ["Domains", "Status"]

SECONDS = 60
"""Seconds whose calls are counted one by one."""

SAMPLES = 128
"""Latencies kept of each procedure: enough for a 99th percentile, some 5 MB if all procedures are in use."""

RECENT = 300.0
"""Seconds after which a latency is no longer recent."""

SLOWEST_MAXIMUM = 12
"""Procedures that the page shows."""

CLIENTS_MAXIMUM = 200
"""Clients that the page shows, those connected longest; the rest is a number."""

REFUSALS_MAXIMUM = 50
"""Refusals kept; the oldest goes."""

DOMAINS_SECONDS = 3.0
"""Seconds for which an answer of the driver is shown again, so that open pages are no load for it."""

DOMAINS_TIMEOUT = 5.0
"""Seconds after which a driver that does not answer is left out of the page."""

DomainCounts = Mapping[str, int]
"""State of domains -> how many are in it."""


class Domains:
    """Domains by state, asked for seldom.

    Args:
        clock: the reactor.
        ask: returns the counts, or an awaitable of them.
    """

    log = Logger()

    def __init__(self, clock: Any, ask: Callable[[], DomainCounts | Awaitable[DomainCounts]]) -> None:
        self._clock = clock
        self._ask = ask
        self._known: DomainCounts | None = None
        self._asked: float | None = None
        self._waiting: list[Deferred[DomainCounts | None]] | None = None

    def get(self) -> Deferred[DomainCounts | None]:
        """Return a Deferred of the counts, None if the driver does not tell them."""
        if self._waiting is None:
            if self._asked is not None and self._clock.seconds() - self._asked < DOMAINS_SECONDS:
                return succeed(self._known)
            self._start()
        if self._waiting is None:
            return succeed(self._known)
        later: Deferred[DomainCounts | None] = Deferred()
        self._waiting.append(later)
        return later

    def _start(self) -> None:
        self._asked = self._clock.seconds()
        self._waiting = []
        asked: Deferred[Any] = maybeDeferred(self._ask)
        asked.addTimeout(DOMAINS_TIMEOUT, self._clock)
        asked.addCallbacks(_counts, self._failed)
        asked.addErrback(self._failed)
        asked.addCallback(self._done)

    def _failed(self, failure: Failure) -> None:
        self.log.warn("domains cannot be counted: {reason}", reason=failure.getErrorMessage())

    def _done(self, counts: DomainCounts | None) -> None:
        self._known = counts
        waiting, self._waiting = self._waiting or [], None
        for later in waiting:
            later.callback(counts)


def _counts(told: DomainCounts) -> DomainCounts:
    """What a driver told, as it can be shown; raises if it told something else."""
    return {clean(str(state)): int(number) for state, number in told.items()}


class _Seen:
    """A connected client, and how many calls it has made."""

    __slots__ = ("calls", "client")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.calls = 0


class Status(Tracer):
    """Keeps what the status page shows.

    Args:
        clock: the reactor.
        lag: what measures its lateness.
        domains: counts domains; None where nobody can.
        now: the time of day, in seconds since 1970.
    """

    def __init__(
        self,
        clock: Any,
        lag: LagMeter,
        domains: Domains | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.started = now()
        self.lag = lag
        self.domains = domains
        self._clock = clock
        self._now = now
        self._clients: dict[Any, _Seen] = {}
        self._calls = 0
        self._errors = 0
        self._second = int(clock.seconds())
        self._per_second: deque[int] = deque([0] * SECONDS, maxlen=SECONDS)
        self._this_second = 0
        self._latencies: dict[Procedure | None, tuple[str, deque[tuple[float, float]]]] = {}
        self._refusals: deque[dict[str, Any]] = deque(maxlen=REFUSALS_MAXIMUM)

    # -- what happens ------------------------------------------------------------------------------------

    def client_connected(self, client: Any) -> None:
        """Show it from now on."""
        self._clients[client] = _Seen(client)

    def client_disconnected(self, client: Any, reason: str) -> None:
        """Show it no more."""
        self._clients.pop(client, None)

    def client_refused(self, where: str, reason: str) -> None:
        """Note it among the refusals."""
        self._refuse(where, "connect", reason)

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Count it, and note its latency."""
        ended = call.started + call.latency
        if int(ended) != self._second:
            self._turn(int(ended))
        self._this_second += 1
        self._calls += 1
        seen = self._clients.get(call.client)
        if seen is not None:
            seen.calls += 1
        found = self._latencies.get(call.procedure)
        if found is None:
            found = self._make(call)
        found[1].append((ended, call.latency))

    def call_failed(self, call: Call, error: VirError) -> None:
        """The same, and note it among the refusals if it is one."""
        self.call_finished(call, b"")
        self._errors += 1
        if error.code in REFUSALS:
            why = f"{error_name(error.code)}: {error.message}"
            self._refuse(str(call.client.identity), call.name, why, call.client.id)

    def _turn(self, second: int) -> None:
        """Begin a new second; those in which nothing happened have no calls."""
        passed = second - self._second
        if passed > 0:
            self._per_second.append(self._this_second)
            self._per_second.extend([0] * min(passed - 1, SECONDS))
            self._this_second = 0
            self._second = second

    def _make(self, call: Call) -> tuple[str, deque[tuple[float, float]]]:
        name = OTHER if call.procedure is None else call.procedure.name
        found = self._latencies[call.procedure] = name, deque(maxlen=SAMPLES)
        return found

    def _refuse(self, who: str, what: str, why: str, client: int | None = None) -> None:
        self._refusals.append(
            {
                "when": self._now(),
                "client": client,
                "who": clean(who),
                "what": clean(what),
                "why": clean(why),
            }
        )

    # -- what is shown -----------------------------------------------------------------------------------

    def report(self) -> Deferred[dict[str, Any]]:
        """Return a Deferred of everything, as JSON can hold it."""
        if self.domains is None:
            return succeed(self._report(None))
        return self.domains.get().addCallback(self._report)

    def _report(self, domains: DomainCounts | None) -> dict[str, Any]:
        self._turn(int(self._clock.seconds()))
        seconds = list(self._per_second)
        now = self._now()
        return {
            "version": remotevirt.__version__,
            "pid": os.getpid(),
            "now": now,
            "started": self.started,
            "memory_bytes": resident_bytes(),
            "lag_seconds": {"last": self.lag.last, "worst": self.lag.worst},
            "calls": {
                "total": self._calls,
                "errors": self._errors,
                "last_second": seconds[-1],
                "per_second": sum(seconds) / SECONDS,
                "seconds": seconds,
            },
            "domains": domains,
            "slowest": self._slowest(),
            "clients_total": len(self._clients),
            "clients": [
                _show(seen) for seen, _ in zip(self._clients.values(), range(CLIENTS_MAXIMUM), strict=False)
            ],
            "refusals": list(reversed(self._refusals)),
        }

    def _slowest(self) -> list[dict[str, Any]]:
        """Procedures by the 99th percentile of their recent calls, the slowest first."""
        oldest = self._clock.seconds() - RECENT
        rows: list[dict[str, Any]] = []
        for name, samples in self._latencies.values():
            while samples and samples[0][0] < oldest:
                samples.popleft()
            latencies = sorted(latency for _, latency in samples)
            if latencies:
                count = len(latencies)
                rows.append(
                    {
                        "procedure": name,
                        "calls": count,
                        "mean_seconds": sum(latencies) / count,
                        "p99_seconds": latencies[min(count - 1, count * 99 // 100)],
                    }
                )
        rows.sort(key=lambda row: row["p99_seconds"], reverse=True)
        return rows[:SLOWEST_MAXIMUM]


def _show(seen: _Seen) -> dict[str, Any]:
    client = seen.client
    return {
        "id": client.id,
        "who": clean(str(client.identity)),
        "transport": client.identity.transport,
        "server": clean(server_name(client)),
        "readonly": client.readonly,
        "since": client.connected_at,
        "calls": seen.calls,
    }
