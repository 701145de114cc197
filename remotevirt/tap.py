"""``twistd remotevirt``: the services that its options describe.

::

    Options ──> Daemon ──> one factory per listener ──> ListeningService ─┐
            ──> admin server, metrics ────────────────> ListeningService ─┤
            ──> log, reload on SIGHUP, idle clock, systemd ───────────────┴──> DaemonService

The options themselves are in :mod:`remotevirt.options`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from remotevirt import config
from remotevirt.idle import IdleService
from remotevirt.listening import tls_settings
from remotevirt.notify import NotifyService
from remotevirt.observation import Observation
from remotevirt.options import Options
from remotevirt.reload import ReloadService
from remotevirt.server import Daemon, Limits, ServerFactory, Tracer
from remotevirt.service import DaemonService
from remotevirt.transport import Announcer, LibvirtTLSEndpoint, Listener, ListeningService, identify

__all__ = ["DRAIN_TIMEOUT", "Options", "makeService"]

DRAIN_TIMEOUT = 5
"""Seconds that running calls have when the daemon ends. libvirtd waits for none."""

log = Logger()


def makeService(options: Options) -> IService:
    """Make the daemon that parsed options describe; called by ``twistd``."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing it installs it

    reactor: Any = installed
    settings = options.config
    announcer = Announcer.below_twistd(options.drivers[0].default_uri, options.log_options())
    notify = NotifyService(reactor)
    reload = ReloadService(reactor, notify)
    observation = Observation(reactor, settings, options.places.metrics, options["trace"])
    tracers = [*observation.tracers, *(one for driver in options.drivers for one in tracers_of(driver))]
    daemon = Daemon(options.drivers, limits(settings), reactor, tracers=tracers)
    daemon.policy = options.policy
    daemon.sasl = options.make_sasl(reactor)
    observation.watch(daemon, announcer, reload)

    def make_factory(listener: Listener) -> ServerFactory:
        if isinstance(listener.endpoint, LibvirtTLSEndpoint):
            listener.endpoint.refused = lambda where, why: daemon.tell("client_refused", where, f"tls: {why}")
        return ServerFactory(
            daemon.server,
            readonly=listener.readonly,
            transport=listener.transport,
            name=listener.text,
            auth=options.auth[listener],
            identify=identify,
        )

    def opened(listener: Listener, address: IAddress) -> None:
        # Whoever reads the line may act on it at once: connect, or end us, in which case the reactor must be
        # there to close the sockets in order.
        reactor.callWhenRunning(announcer.opened, listener, address)

    def reload_certificates() -> None:
        for endpoint in tls_endpoints(options):
            endpoint.reload(tls_settings(options.fresh_config(), endpoint.settings))

    reload.add("log", options.reload_log)
    if options.policy is not None:
        reload.add("policy", options.policy.reload)
    if options.users is not None:
        reload.add("users", options.users.reload)
    if tls_endpoints(options):
        reload.add("certificates", reload_certificates)

    service = DaemonService(options.logs, replaces=options.replaces_log)
    service.drain = lambda: daemon.drain(
        DRAIN_TIMEOUT if settings.drain_timeout is None else settings.drain_timeout
    )
    idle = IdleService(reactor, settings.idle_timeout, lambda: len(daemon.server.clients), reactor.stop)
    # In this order they start; they stop in the opposite one.
    listening = ListeningService(options.listeners, make_factory, opened)
    for part in (observation, listening, reload, idle, notify):
        service.addService(part)  # type: ignore[no-untyped-call]
    for note in settings.notes:
        log.info("{note}", note=note)
    return service


def tls_endpoints(options: Options) -> list[LibvirtTLSEndpoint]:
    """The listeners that have certificates."""
    endpoints = [listener.endpoint for listener in options.listeners]
    return [endpoint for endpoint in endpoints if isinstance(endpoint, LibvirtTLSEndpoint)]


def tracers_of(driver: Any) -> Iterable[Tracer]:
    """The tracers that a driver brings along; most have none."""
    found: Iterable[Tracer] = getattr(driver, "tracers", ())
    return found


def limits(settings: config.Config) -> Limits:
    """The limits of a configuration: each that has the name of a key; those not set keep their defaults."""
    names = [field.name for field in attrs.fields(Limits) if field.name in config.KEYS]
    return Limits(**{name: value for name in names if (value := getattr(settings, name)) is not None})
