"""The TLS listener as an endpoint: certificates, rules and bounds put together, and renewed while it listens.

:mod:`~remotevirt.transport.greeting` says what libvirt's clients expect of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, wrapServerTLS
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from remotevirt.description import MAX_PORT, DescriptionError, number
from remotevirt.transport.context import Connections
from remotevirt.transport.greeting import Admission, GreetingFactory, RefusedHook
from remotevirt.transport.pki import Credentials
from remotevirt.transport.sanity import check_sanity
from remotevirt.transport.settings import TLSSettings

__all__ = ["TLS_PREFIX", "LibvirtTLSEndpoint", "endpoint_from_fields"]

TLS_PREFIX = "libvirttls"
"""The endpoint string's name."""

USAGE = "libvirttls:PORT:pki=DIR[:interface=ADDR][:backlog=N][:priority=STRING][:noverify]"

log = Logger()


@implementer(IStreamServerEndpoint)
class LibvirtTLSEndpoint:
    """Listens for libvirt's clients over TLS.

    Args:
        reactor: provides IReactorTCP and IReactorTime.
        port: 0 for any that is free.
        credentials: ours, and whom we trust.
        interface: the address to listen on, an IPv6 one perhaps in brackets; empty for all of IPv4, ``::``
            for all of both.
        backlog: connections that may wait to be accepted.
        settings: how clients and our own certificate are treated.
        refused: hears of each client that was turned away: its address as ``HOST;PORT``, and why.
        over: what clients connect to, in place of `port` and `interface`: a socket that systemd opened.

    Raises:
        PKIError: the certificates cannot be served from.
    """

    def __init__(
        self,
        reactor: Any,
        port: int,
        credentials: Credentials,
        interface: str = "",
        backlog: int = 50,
        settings: TLSSettings | None = None,
        refused: RefusedHook | None = None,
        over: IStreamServerEndpoint | None = None,
    ) -> None:
        settings = settings or TLSSettings()
        _check(credentials, settings)
        self.reactor = reactor
        self._connections = Connections(credentials, settings)
        self._admission = Admission(settings, refused)
        if interface.startswith("[") and interface.endswith("]"):
            interface = interface[1:-1]
        tcp = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
        below = tcp(reactor, port, backlog, interface) if over is None else over
        self._endpoint = wrapServerTLS(self._connections, below, reactor)

    @property
    def credentials(self) -> Credentials:
        """What new clients are shown and held against."""
        return self._connections.credentials

    @property
    def settings(self) -> TLSSettings:
        """How new clients are treated."""
        return self._admission.settings

    @property
    def handshakes(self) -> int:
        """Connections that are not accepted yet."""
        return self._admission.handshakes

    @property
    def refused(self) -> RefusedHook | None:
        """What hears of clients that were turned away; may be set at any time."""
        return self._admission.refused

    @refused.setter
    def refused(self, hook: RefusedHook | None) -> None:
        self._admission.refused = hook

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Start listening; what `protocolFactory` makes sees accepted clients only."""
        return self._endpoint.listen(GreetingFactory(protocolFactory, self.reactor, self._admission))

    def reload(self, settings: TLSSettings | None = None) -> None:
        """Read the files again; what they hold is for new clients, and those who are there stay.

        Args:
            settings: other ones from now on; None leaves them.

        Raises:
            PKIError: what the files hold is no good, and what was in force stays.
        """
        settings = settings or self.settings
        credentials = Credentials.read(self.credentials.files)
        _check(credentials, settings)
        self._connections.replace(credentials, settings)
        self._admission.settings = settings


def endpoint_from_fields(
    reactor: Any, words: Sequence[str], options: Mapping[str, str], settings: TLSSettings | None = None
) -> LibvirtTLSEndpoint:
    """Make the endpoint from the fields of :data:`USAGE`.

    Args:
        reactor: what it shall listen with.
        words: the fields that hold no ``=``, behind the name.
        options: the fields that do.
        settings: the defaults, where the fields say nothing.

    Raises:
        DescriptionError: a field is missing, unknown, no number, or no priority string.
        PKIError: the certificates are no good.
    """
    unknown = set(options) - {"pki", "interface", "backlog", "priority"}
    if unknown:
        raise DescriptionError(f"libvirttls: unknown option {min(unknown)}=; it is {USAGE}")
    port, *flags = words or [""]
    if not port or flags not in ([], ["noverify"]) or "pki" not in options:
        raise DescriptionError(f"libvirttls: it is {USAGE}")
    settings = settings or TLSSettings()
    try:
        settings = attrs.evolve(
            settings,
            no_verify=settings.no_verify or bool(flags),
            priority=options.get("priority", settings.priority),
        )
    except ValueError as error:
        raise DescriptionError(f"libvirttls: {error}") from None
    return LibvirtTLSEndpoint(
        reactor,
        number("port", port, MAX_PORT),
        Credentials.load(options["pki"]),
        options.get("interface", ""),
        number("backlog", options.get("backlog", "50"), 1 << 16),
        settings,
    )


def _check(credentials: Credentials, settings: TLSSettings) -> None:
    """Refuse certificates that clients would refuse, and say what settings make of each other."""
    if not settings.no_sanity:
        check_sanity(credentials)
    if settings.no_verify and settings.allowed_dns is not None:
        log.warn("TLS: clients are not asked for certificates, so the list of allowed names says nothing")
