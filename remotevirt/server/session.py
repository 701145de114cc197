"""One client's session: what the daemon itself answers, and where the rest goes.

The daemon answers what is about the connection and not about a hypervisor: authentication, opening and
closing, features, and the registration for events. Everything else is looked up in the sub-drivers of the
connection that the client has opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.base import ClientInfo, DriverConnection
from remotevirt.procedures import Procedure, Program
from remotevirt.server.access import readonly_guard
from remotevirt.server.daemon import LIBVIRT_VERSION, Daemon
from remotevirt.server.dispatch import Guard
from remotevirt.server.events import EventRelay
from remotevirt.server.faults import auth_failed, internal_error, unsupported
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import NoSupport
from remotevirt.typed_params import allowed, check_params

__all__ = ["Client", "Session"]

BEFORE_OPEN = frozenset({"connect_close", "connect_open", "connect_supports_feature"})
"""What is answered before a connection is open, besides authentication."""

DAEMON_FEATURES = frozenset(
    {
        vir.VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK,
        vir.VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK,
        vir.VIR_DRV_FEATURE_TYPED_PARAM_STRING,
    }
)
"""What the daemon can do for any driver, besides keepalive."""

IDENTITY = allowed(
    vir.VIR_CONNECT_IDENTITY_USER_NAME,
    vir.VIR_CONNECT_IDENTITY_UNIX_USER_ID,
    vir.VIR_CONNECT_IDENTITY_GROUP_NAME,
    vir.VIR_CONNECT_IDENTITY_UNIX_GROUP_ID,
    vir.VIR_CONNECT_IDENTITY_PROCESS_ID,
    vir.VIR_CONNECT_IDENTITY_PROCESS_TIME,
    vir.VIR_CONNECT_IDENTITY_SASL_USER_NAME,
    vir.VIR_CONNECT_IDENTITY_X509_DISTINGUISHED_NAME,
    vir.VIR_CONNECT_IDENTITY_SELINUX_CONTEXT,
)
"""What an identity may consist of."""


class Client(Protocol):
    """What a session needs of the protocol that it serves."""

    def send(self, message: bytes) -> None:
        """Send an event."""

    def finish(self) -> None:
        """Close once everything is sent."""

    def start_keepalive(self) -> None:
        """Begin to ping the client."""


class Session:
    """The session of one client. Methods named like procedures answer these.

    Args:
        daemon: what all clients share.
        client: the protocol.
        readonly: whether the listener is for reading only.
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.

    Attributes:
        connection: what the client has opened, None before and after.
        events: what the client has registered for.
    """

    log = Logger()

    def __init__(self, daemon: Daemon, client: Client, readonly: bool, transport: str) -> None:
        self.daemon = daemon
        self.readonly = readonly
        self.transport = transport
        self.connection: DriverConnection | None = None
        self.events = EventRelay(client.send)
        self._client = client
        self._opening = False
        self._closed = False
        self._unlisten: Callable[[], None] | None = None

    # -- Handlers ----------------------------------------------------------------------------------

    def find(self, program: Program, procedure: Procedure) -> tuple[Callable[..., Any], Guard | None]:
        """Return the method that answers a procedure, and the check of its arguments."""
        name = procedure.name
        own = getattr(self, name, None) if program is remote.PROGRAM else None
        if self.connection is None and not (
            procedure.pre_auth or (name in BEFORE_OPEN and program is remote.PROGRAM)
        ):
            raise internal_error("hypervisor connection not open")
        guard = readonly_guard(procedure) if self.readonly else None
        if own is not None:
            return own, guard
        if procedure.driver is None or procedure.readstream or procedure.writestream:
            return _refuse(procedure), guard
        if program is not remote.PROGRAM:
            name = f"{program.name}_{name}"
        method = getattr(getattr(self.connection, procedure.driver), name, None)
        return method or _refuse(procedure), guard

    def close(self) -> None:
        """Close what the client had open. May be called again."""
        self._closed = True
        connection, self.connection = self.connection, None
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if connection is not None:
            self._end(connection)

    def _end(self, connection: DriverConnection) -> None:
        """Tell the driver that a connection of its has closed."""
        try:
            connection.on_close()
        except Exception:
            self.log.failure("a driver could not close {uri}", uri=connection.uri)

    # -- authentication ------------------------------------------------------------------------------

    def auth_list(self) -> Sequence[remote.AuthType]:
        """Say which authentication is wanted: none."""
        return [remote.AuthType.REMOTE_AUTH_NONE]

    def auth_sasl_init(self) -> str:
        """Refuse: SASL was not offered."""
        raise auth_failed()

    def auth_sasl_start(self, mech: str, nil: int, data: bytes) -> remote.AuthSaslStartRet:
        """Refuse: SASL was not offered."""
        raise auth_failed()

    def auth_sasl_step(self, nil: int, data: bytes) -> remote.AuthSaslStepRet:
        """Refuse: SASL was not offered."""
        raise auth_failed()

    def auth_polkit(self) -> int:
        """Refuse: polkit was not offered."""
        raise auth_failed()

    # -- connection ----------------------------------------------------------------------------------

    def connect_open(self, name: str | None, flags: int) -> Deferred[None] | None:
        """Open a connection to the driver that the URI means.

        Args:
            name: the URI; None or empty means the default driver's.
            flags: VIR_CONNECT_RO makes the session read-only.

        Raises:
            VirError: no driver answers the URI, or it refuses; or a connection is open.
        """
        if self.connection is not None or self._opening:
            raise internal_error("connection already open")
        driver, uri = self.daemon.registry.route(name)
        readonly = self.readonly or bool(flags & vir.VIR_CONNECT_RO)
        result = driver.open(uri, ClientInfo(readonly=readonly, transport=self.transport))
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            self._opening = True
            # When the client vanishes, what it waits for is cancelled, but not the driver's own Deferred:
            # a connection that it makes all the same is closed, not lost.
            answer: Deferred[None] = Deferred()
            result.addBoth(self._opened_later, readonly).chainDeferred(answer)
            return answer
        self._opened(result, readonly)
        return None

    def _opened_later(self, result: DriverConnection | Failure, readonly: bool) -> Failure | None:
        self._opening = False
        if isinstance(result, Failure):
            return result
        self._opened(result, readonly)
        return None

    def _opened(self, connection: DriverConnection, readonly: bool) -> None:
        if self._closed:
            self._end(connection)
            return
        if connection.events is not None:
            self._unlisten = connection.events.listen(self.events.deliver)
        self.readonly = readonly
        self.connection = connection

    def connect_close(self) -> None:
        """Close; the daemon disconnects once the reply is sent."""
        self.close()
        self._client.finish()

    def connect_get_uri(self) -> str:
        """Return the URI that the driver gave the connection."""
        return self._open().uri

    def connect_get_lib_version(self) -> int:
        """Return the version of libvirt whose behaviour is shown: major * 1,000,000 + minor * 1,000."""
        return LIBVIRT_VERSION

    def connect_supports_feature(self, feature: int) -> Any:
        """Say whether a feature (VIR_DRV_FEATURE_*) is there; asking for keepalive starts it."""
        if feature == vir.VIR_DRV_FEATURE_PROGRAM_KEEPALIVE:
            self._client.start_keepalive()
            return 1
        hypervisor = self._open().hypervisor
        if feature in DAEMON_FEATURES:
            return 1
        if type(hypervisor).connect_supports_feature is HypervisorDriver.connect_supports_feature:
            return 0
        return hypervisor.connect_supports_feature(feature)

    def connect_set_identity(self, params: Sequence[remote.TypedParam], flags: int) -> None:
        """Refuse another identity: only a proxy that is trusted could give one, and there is none."""
        check_params(params, IDENTITY)
        if params:
            raise NoSupport("virConnectSetIdentity")

    def connect_register_close_callback(self) -> None:
        """Register for the connection's end. The daemon never closes a driver's connection by itself."""

    def connect_unregister_close_callback(self) -> None:
        """Undo connect_register_close_callback."""

    # -- events --------------------------------------------------------------------------------------

    def connect_domain_event_register(self) -> int:
        """Register for lifecycle events in the legacy form; libvirtd's answer is always 0."""
        self.events.register("domain", vir.VIR_DOMAIN_EVENT_ID_LIFECYCLE, None, legacy=True)
        return 0

    def connect_domain_event_deregister(self) -> int:
        """Undo connect_domain_event_register."""
        self.events.deregister_legacy(vir.VIR_DOMAIN_EVENT_ID_LIFECYCLE)
        return 0

    def connect_domain_event_register_any(self, eventID: int) -> None:
        """Register for a domain event in the legacy form."""
        self.events.register("domain", eventID, None, legacy=True)

    def connect_domain_event_deregister_any(self, eventID: int) -> None:
        """Undo connect_domain_event_register_any."""
        self.events.deregister_legacy(eventID)

    def connect_domain_event_callback_register_any(
        self, eventID: int, dom: remote.NonnullDomain | None
    ) -> int:
        """Register a callback for an event of one domain or of all."""
        return self.events.register("domain", eventID, dom and dom.uuid)

    def connect_domain_event_callback_deregister_any(self, callbackID: int) -> None:
        """Forget a domain callback."""
        self.events.deregister("domain", callbackID)

    def connect_network_event_register_any(self, eventID: int, net: remote.NonnullNetwork | None) -> int:
        """Register a callback for an event of one network or of all."""
        return self.events.register("network", eventID, net and net.uuid)

    def connect_network_event_deregister_any(self, callbackID: int) -> None:
        """Forget a network callback."""
        self.events.deregister("network", callbackID)

    def connect_storage_pool_event_register_any(
        self, eventID: int, pool: remote.NonnullStoragePool | None
    ) -> int:
        """Register a callback for an event of one storage pool or of all."""
        return self.events.register("storage_pool", eventID, pool and pool.uuid)

    def connect_storage_pool_event_deregister_any(self, callbackID: int) -> None:
        """Forget a storage pool callback."""
        self.events.deregister("storage_pool", callbackID)

    def connect_node_device_event_register_any(
        self, eventID: int, dev: remote.NonnullNodeDevice | None
    ) -> int:
        """Register a callback for an event of one node device or of all."""
        return self.events.register("node_device", eventID, dev and dev.name)

    def connect_node_device_event_deregister_any(self, callbackID: int) -> None:
        """Forget a node device callback."""
        self.events.deregister("node_device", callbackID)

    def connect_secret_event_register_any(self, eventID: int, secret: remote.NonnullSecret | None) -> int:
        """Register a callback for an event of one secret or of all."""
        return self.events.register("secret", eventID, secret and secret.uuid)

    def connect_secret_event_deregister_any(self, callbackID: int) -> None:
        """Forget a secret callback."""
        self.events.deregister("secret", callbackID)

    def _open(self) -> DriverConnection:
        if self.connection is None:
            raise internal_error("hypervisor connection not open")
        return self.connection


def _refuse(procedure: Procedure) -> Callable[..., Any]:
    """Return a method that answers: not supported."""

    def refuse(*_: object) -> None:
        raise unsupported(procedure)

    return refuse
