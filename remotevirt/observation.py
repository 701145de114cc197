"""What watches the daemon, as the configuration asks for it: tracers, and the pages that show what they know.

::

    audit_file, audit_logging ──> AuditTracer ─┐
    --trace                   ──> LiveTracer  ─┼──> the daemon's tracers
    log_level 1               ──> LogTracer   ─┤
    metrics_listen            ──> Metrics, Status ──> ObserveFactory, behind an endpoint of its own

With none of these the daemon has no tracer, and its calls cost nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress

from remotevirt.config import Config, ConfigError
from remotevirt.drivers import ClientInfo, DriverURI
from remotevirt.observe import AuditTracer, LiveTracer, LogTracer, open_sink
from remotevirt.observe.sinks import LogSink
from remotevirt.reload import ReloadService
from remotevirt.server import Daemon, Tracer
from remotevirt.stubs import constants as vir
from remotevirt.transport import Announcer, Listener, ListeningService

if TYPE_CHECKING:
    from remotevirt.observe.pages import Pages

__all__ = ["Observation"]

STATES = {
    "running": vir.VIR_CONNECT_LIST_DOMAINS_RUNNING,
    "paused": vir.VIR_CONNECT_LIST_DOMAINS_PAUSED,
    "shut off": vir.VIR_CONNECT_LIST_DOMAINS_SHUTOFF,
    "other": vir.VIR_CONNECT_LIST_DOMAINS_OTHER,
}
"""The states that the status page counts, with the filters that list calls have for them."""


class Observation(MultiService):
    """The tracers of one daemon, and the service that shows what they know.

    Args:
        reactor: the clock.
        settings: what is wanted.
        place: where metrics and the status page are served, None for nowhere.
        trace: whether each call is printed.

    Attributes:
        tracers: for the daemon.

    Raises:
        ConfigError: the audit trail cannot be opened.
    """

    def __init__(self, reactor: Any, settings: Config, place: Listener | None, trace: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.place = place
        self.tracers: list[Tracer] = []
        self.audits: list[AuditTracer] = []
        self.daemon: Daemon | None = None
        self._pages: Pages | None = None
        if place is not None:
            self._show(reactor)
        for where in filter(None, [settings.audit_file]):
            try:
                self.audits.append(AuditTracer(open_sink(where, reactor), reactor))
            except OSError as error:
                raise ConfigError(f"audit_file {where}: {error.strerror}") from None
        if settings.audit_logging:
            self.audits.append(AuditTracer(LogSink(), reactor))
        self.tracers += self.audits
        if settings.log_level == 1:
            self.tracers.append(LogTracer())
        if trace:
            self.tracers.append(LiveTracer())

    def _show(self, reactor: Any) -> None:
        from remotevirt.observe.pages import Pages  # noqa: PLC0415 - most daemons need none of what it takes

        self._pages = Pages.make(reactor, self._count_domains, self._queues, self._count_lines)
        self.tracers += self._pages.tracers

    def watch(self, daemon: Daemon, announcer: Announcer, reload: ReloadService) -> None:
        """Begin with a daemon that has these tracers; it may be served from now on."""
        self.daemon = daemon
        if self.audits:
            reload.add("audit trail", self._reopen)
        pages, place = self._pages, self.place
        if pages is not None and place is not None:

            def opened(listener: Listener, address: IAddress) -> None:
                self.reactor.callWhenRunning(announcer.opened_page, listener, address)

            listening = ListeningService([place], lambda _: pages.factory, opened)
            self.addService(listening)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Begin to measure."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._pages is not None:
            self._pages.lag.start()

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        if self._pages is not None:
            self._pages.lag.stop()

    def stopService(self) -> Deferred[None]:
        """Show and measure no more. The tracers go on, for calls that are still running.

        Returns:
            A Deferred that fires when that is done.
        """
        return Deferred.fromCoroutine(self._stop())

    def close(self) -> None:
        """Close the audit trail: nothing happens any more."""
        for audit in self.audits:
            audit.close()

    def _reopen(self) -> None:
        for audit in self.audits:
            audit.reopen()

    def _count_lines(self) -> tuple[int, int]:
        counts = [audit.counts() for audit in self.audits]
        return sum(written for written, _ in counts), sum(lost for _, lost in counts)

    def _queues(self) -> dict[str, float]:
        """What waits, over all clients."""
        clients = [] if self.daemon is None else self.daemon.clients
        return {
            "calls in flight": sum(len(client.dispatcher.in_flight) for client in clients),
            "calls waiting": sum(client.waiting for client in clients),
            "streams": sum(len(client.streams) for client in clients),
            "stream bytes": sum(client.streams.queued for client in clients),
            "unfinished bytes": 0 if self.daemon is None else self.daemon.unfinished.held,
        }

    async def _count_domains(self) -> dict[str, int]:
        """Ask the first driver how many domains are in which state."""
        assert self.daemon is not None
        driver, uri = self.daemon.registry.route(None)
        assert isinstance(uri, DriverURI)
        connection = await maybeDeferred(driver.open, uri, ClientInfo(readonly=True))
        try:
            counts = {}
            for state, flags in STATES.items():
                method = connection.hypervisor.connect_list_all_domains
                counts[state] = (await maybeDeferred(method, 0, flags)).ret
            return counts
        finally:
            connection.on_close()
