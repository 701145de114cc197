"""What a driver is: something that opens connections, each composed of sub-drivers.

As in libvirt, a connection has one sub-driver for each kind of object, so that a storage driver written
once serves any hypervisor. A sub-driver derives from its generated base class in
:mod:`remotevirt.stubs.drivers` and overrides what it can do; what it leaves out answers "not supported".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
from zope.interface import Attribute, Interface

from remotevirt.drivers.events import EventHub
from remotevirt.identity import Identity
from remotevirt.stubs.drivers import (
    HypervisorDriver,
    InterfaceDriver,
    NetworkDriver,
    NodeDeviceDriver,
    NWFilterDriver,
    SecretDriver,
    StorageDriver,
)

__all__ = ["ClientInfo", "DriverConnection", "DriverURI", "IDriver"]


@attrs.frozen
class DriverURI:
    """A connection URI as a client asked for it, its transport and authority already gone.

    Attributes:
        text: the whole URI.
        scheme: which driver is meant (``test``), without a ``+transport``.
        path: with its leading slash, percent signs decoded.
        query: the parameters, the last one winning where a name is repeated.
    """

    text: str
    scheme: str
    path: str = "/"
    query: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def parse(cls, text: str) -> DriverURI:
        """Split a URI.

        Raises:
            ValueError: it is not a URI.
        """
        parts = urlsplit(text)
        scheme = parts.scheme.partition("+")[0]
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=64))
        return cls(text, scheme, unquote(parts.path), query)


def _no_client(reason: str) -> None:
    """Disconnect nobody."""


@attrs.frozen
class ClientInfo:
    """What a driver may know of the client that opens a connection.

    Attributes:
        readonly: it may not change anything (it came in by the read-only socket, or asked for it).
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
        identity: who it is, as far as it has shown.
        disconnect: ends its connection, for the reason given; what is in flight is never answered.
    """

    readonly: bool = False
    transport: str = "unix"
    identity: Identity = attrs.field(factory=Identity)
    disconnect: Callable[[str], None] = attrs.field(default=_no_client, eq=False, repr=False)


def _nothing() -> None:
    """Do nothing."""


@attrs.define
class DriverConnection:
    """One open connection: its sub-drivers, its events, and how to close it.

    Attributes:
        uri: what the connection calls itself (connect_get_uri).
        events: where its driver publishes events, None if it has none.
        on_close: called once, when the client has closed or vanished.
    """

    uri: str
    hypervisor: HypervisorDriver = attrs.field(factory=HypervisorDriver)
    network: NetworkDriver = attrs.field(factory=NetworkDriver)
    storage: StorageDriver = attrs.field(factory=StorageDriver)
    interface: InterfaceDriver = attrs.field(factory=InterfaceDriver)
    nodedev: NodeDeviceDriver = attrs.field(factory=NodeDeviceDriver)
    secret: SecretDriver = attrs.field(factory=SecretDriver)
    nwfilter: NWFilterDriver = attrs.field(factory=NWFilterDriver)
    events: EventHub | None = None
    on_close: Callable[[], None] = _nothing


class IDriver(Interface):
    """A hypervisor driver: one object for each ``--driver`` of the daemon."""

    name: str = Attribute("Short name, as ``--driver`` takes it.")
    schemes: Sequence[str] = Attribute("The URI schemes that it answers.")
    default_uri: str = Attribute("What a client gets that asks for no URI.")

    def open(uri: DriverURI, client: ClientInfo) -> object:
        """Open a connection.

        Args:
            uri: what the client asked for; its scheme is one of ``schemes``.
            client: who asks.

        Returns:
            A DriverConnection, or a Deferred or coroutine of one.

        Raises:
            VirError: the URI cannot be opened.
        """
