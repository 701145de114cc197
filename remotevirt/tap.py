"""``twistd remotevirt``: the services that its options describe.

::

    Options ──> Daemon ──> one factory per listener ──> ListeningService ─┐
            ──> Logs, reload on SIGHUP, idle clock, systemd ──────────────┴──> DaemonService

The options themselves are in :mod:`remotevirt.options`.
"""

from __future__ import annotations

import attrs
from twisted.application.service import IService
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from remotevirt import config
from remotevirt.idle import IdleService
from remotevirt.notify import NotifyService
from remotevirt.options import Options
from remotevirt.reload import ReloadService
from remotevirt.server import Daemon, Limits, ServerFactory
from remotevirt.service import DaemonService
from remotevirt.transport import Announcer, Listener, ListeningService, identify

__all__ = ["Options", "makeService"]

log = Logger()


def makeService(options: Options) -> IService:
    """Make the daemon that parsed options describe; called by ``twistd``."""
    settings = options.config
    daemon = Daemon(options.drivers, limits=limits(settings))
    reactor = daemon.reactor

    def make_factory(listener: Listener) -> ServerFactory:
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

    announcer = Announcer.below_twistd(options.drivers[0].default_uri, options.log_options())
    notify = NotifyService(reactor)
    reload = ReloadService(reactor, notify)
    reload.add("log", options.reload_log)
    service = DaemonService(options.logs, replaces=options.replaces_log)

    # Here the parts are plugged in that do not exist yet. Each takes its keys out of options.UNSERVED, checks
    # its files in Options._mistakes, and is handed to the daemon, becomes a child of `service`, or both:
    #   policy_file                                  rights: daemon; reload.add("policy", ...)
    #   sasl_*, tcp_min_ssf, options.auth[listener]  logging in: make_factory; reload.add("users", ...)
    #   tls_*                                        find_places; reload.add("certificates", ...)
    #   audit_file, audit_logging, --trace           tracers of the daemon; reload.add("audit", ...)
    #   options.places.metrics                       a ListeningService of its own
    #   options.places.admin, admin_*                another one, given options.logs, reload and idle
    #   drain_timeout                                service.drain

    idle = IdleService(reactor, settings.idle_timeout, lambda: len(daemon.clients), reactor.stop)
    # In this order they start; they stop in the opposite one.
    for part in (ListeningService(options.listeners, make_factory, opened), reload, idle, notify):
        service.addService(part)  # type: ignore[no-untyped-call]
    for note in settings.notes:
        log.info("{note}", note=note)
    return service


def limits(settings: config.Config) -> Limits:
    """The limits of a configuration: each that has the name of a key; those not set keep their defaults."""
    names = [field.name for field in attrs.fields(Limits) if field.name in config.KEYS]
    return Limits(**{name: value for name in names if (value := getattr(settings, name)) is not None})
