"""``twistd remotevirt``: the services that its options describe.

::

    Options ──> Daemon ──> one factory per listener ──> ListeningService ─┐
            ──> admin server, metrics ────────────────> ListeningService ─┤
            ──> log, reload on SIGHUP, idle clock, systemd ───────────────┴──> DaemonService

The options themselves are in :mod:`remotevirt.options`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from remotevirt import config
from remotevirt.admin import Controls, admin_server
from remotevirt.drivers import DriverService
from remotevirt.idle import IdleService
from remotevirt.listening import tls_settings
from remotevirt.memory import MemoryService
from remotevirt.notify import NotifyService
from remotevirt.observation import Observation
from remotevirt.options import Options
from remotevirt.reload import ReloadService
from remotevirt.server import Daemon, Limits, ServerFactory, Tracer
from remotevirt.service import DaemonService
from remotevirt.transport import (
    Announcer,
    LibvirtTLSEndpoint,
    Listener,
    ListeningService,
    StartupError,
    identify,
)
from remotevirt.transport.service import print_error

__all__ = ["DRAIN_TIMEOUT", "Options", "makeService"]

DRAIN_TIMEOUT = 5
"""Seconds that running calls have when the daemon ends. libvirtd waits for none."""

Opened = Callable[[Listener, IAddress], object]

log = Logger()


def makeService(options: Options) -> IService:
    """Make the daemon that parsed options describe; called by ``twistd``."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing it installs it

    # What has been made until now stays. Looking at it again and again would take half of the time that the
    # collector of garbage keeps everybody waiting.
    gc.freeze()
    reactor: Any = installed
    settings = options.config
    announcer = Announcer.below_twistd(options.drivers[0].default_uri, options.log_options())
    notify = NotifyService(reactor)
    reload = ReloadService(reactor, notify)
    try:
        observation = Observation(reactor, settings, options.places.metrics, options["trace"])
    except config.ConfigError as error:
        print_error(str(error))
        raise StartupError(str(error)) from None
    tracers = [*observation.tracers, *(one for driver in options.drivers for one in tracers_of(driver))]
    daemon = Daemon(options.drivers, limits(settings), reactor, tracers=tracers)
    daemon.policy = options.policy
    daemon.sasl = options.make_sasl(reactor)
    observation.watch(daemon, announcer, reload)

    reload_certificates = certificates_of(options)
    add_reloads(reload, options, reload_certificates)
    service = DaemonService(options.logs, replaces=options.replaces_log)
    drivers = DriverService(options.drivers)

    async def drain() -> None:
        await daemon.drain(DRAIN_TIMEOUT if settings.drain_timeout is None else settings.drain_timeout)
        drivers.finish()
        observation.close()

    service.drain = lambda: Deferred.fromCoroutine(drain())
    idle = IdleService(reactor, settings.idle_timeout, lambda: len(daemon.server.clients), reactor.stop)

    def when_running(announce: Opened) -> Opened:
        # Whoever reads the line may act on it at once: connect, or end us, in which case the reactor must be
        # there to close the sockets in order.
        return lambda listener, address: reactor.callWhenRunning(announce, listener, address)

    make_factory = factories_of(daemon, options)
    parts: list[Any] = [
        ListeningService(options.listeners, make_factory, when_running(announcer.opened)),
    ]
    if options.places.admin is not None:
        controls = Controls(options.logs, reload_certificates, idle.set_timeout, reactor.stop)
        admin = admin_server(daemon, controls, admin_limits(settings))

        def make_admin_factory(listener: Listener) -> ServerFactory:
            return ServerFactory(admin, transport="unix", name=listener.text, identify=identify)

        parts.append(
            ListeningService([options.places.admin], make_admin_factory, when_running(announcer.opened_admin))
        )
    # In this order they start; they stop in the opposite one.
    for part in (drivers, *parts, observation, reload, idle, MemoryService(reactor), notify):
        service.addService(part)  # type: ignore[no-untyped-call]
    for note in settings.notes:
        log.info("{note}", note=note)
    return service


def factories_of(daemon: Daemon, options: Options) -> Callable[[Listener], ServerFactory]:
    """What makes the factory of a listener's clients."""

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

    return make_factory


def certificates_of(options: Options) -> Callable[[], None] | None:
    """What reads the listeners' certificates again; None if no listener has any."""
    endpoints = tls_endpoints(options)

    def reload_certificates() -> None:
        for endpoint in endpoints:
            endpoint.reload(tls_settings(options.fresh_config(), endpoint.settings))

    return reload_certificates if endpoints else None


def add_reloads(reload: ReloadService, options: Options, certificates: Callable[[], None] | None) -> None:
    """Have read again, at SIGHUP, what can be."""
    reload.add("log", options.reload_log)
    if options.policy is not None:
        reload.add("policy", options.policy.reload)
    if options.users is not None:
        reload.add("users", options.users.reload)
    if certificates is not None:
        reload.add("certificates", certificates)


def tls_endpoints(options: Options) -> list[LibvirtTLSEndpoint]:
    """The listeners that have certificates."""
    endpoints = [listener.endpoint for listener in options.listeners]
    return [endpoint for endpoint in endpoints if isinstance(endpoint, LibvirtTLSEndpoint)]


def admin_limits(settings: config.Config) -> Limits:
    """The limits of the admin server's clients."""
    return Limits(
        max_clients=settings.admin_max_clients,
        max_client_requests=settings.admin_max_client_requests,
        keepalive_interval=settings.admin_keepalive_interval,
        keepalive_count=settings.admin_keepalive_count,
    )


def tracers_of(driver: Any) -> Iterable[Tracer]:
    """The tracers that a driver brings along; most have none."""
    found: Iterable[Tracer] = getattr(driver, "tracers", ())
    return found


def limits(settings: config.Config) -> Limits:
    """The limits of a configuration: each that has the name of a key; those not set keep their defaults."""
    names = [field.name for field in attrs.fields(Limits) if field.name in config.KEYS]
    return Limits(**{name: value for name in names if (value := getattr(settings, name)) is not None})
