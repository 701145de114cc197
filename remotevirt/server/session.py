"""One client's session: what the daemon itself answers, and where the rest goes.

The daemon answers what is about the connection and not about a hypervisor: authentication, opening and
closing, features, and the registration for events. Everything else is looked up in the sub-drivers of the
connection that the client has opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.base import ClientInfo, DriverConnection
from remotevirt.drivers.events import Event
from remotevirt.identity import Identity
from remotevirt.policy import Policy, Rights, Watcher, enforce
from remotevirt.procedures import Procedure, Program
from remotevirt.rpc.message import pack_event
from remotevirt.server.access import readonly_guard
from remotevirt.server.authentication import Authentication
from remotevirt.server.dispatch import Guard
from remotevirt.server.events import EventRelay
from remotevirt.server.faults import auth_failed, auth_required, internal_error, unsupported
from remotevirt.server.monitor_events import event_filter
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import (
    HypervisorDriver,
    NetworkDriver,
    NodeDeviceDriver,
    SecretDriver,
    StorageDriver,
)
from remotevirt.stubs.errors import NoSupport
from remotevirt.typed_params import allowed, check_params

if TYPE_CHECKING:
    from remotevirt.server.daemon import Daemon

__all__ = ["LIBVIRT_VERSION", "Client", "Session"]

LIBVIRT_VERSION = 9_000_000
"""The libvirt version whose behaviour we show, and so report (connect_get_lib_version)."""

BEFORE_OPEN = frozenset({"connect_close", "connect_open", "connect_supports_feature"})
"""What is answered before a connection is open, besides authentication."""

EVENT_DRIVERS = {
    "network": ("network", NetworkDriver, vir.VIR_FROM_NETWORK),
    "node_device": ("nodedev", NodeDeviceDriver, vir.VIR_FROM_NODEDEV),
    "secret": ("secret", SecretDriver, vir.VIR_FROM_SECRET),
    "storage_pool": ("storage", StorageDriver, vir.VIR_FROM_STORAGE),
}
"""Kind of event -> the sub-driver of its objects, the base class, which cannot list them, and the domain of
its errors."""

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

    daemon: Daemon
    readonly: bool
    identity: Identity
    authenticated: bool

    def send(self, message: bytes) -> None:
        """Send a message that is no reply."""

    def send_event(self, message: bytes, event: Event) -> None:
        """Send a driver's event."""

    def finish(self) -> None:
        """Close once everything is sent."""

    def start_keepalive(self) -> None:
        """Begin to ping the client."""

    def authenticate(self, identity: Identity, layer: Any = None) -> None:
        """Note that the client has shown who it is."""

    def drop(self, reason: str) -> None:
        """Disconnect the client."""

    def forget_calls(self) -> None:
        """Look up anew what answers each procedure."""

    def later(self, call: Callable[[], None]) -> None:
        """Call something in the reactor's next turn."""


class Session:
    """The session of one client. Methods named like procedures answer these.

    Args:
        client: the protocol.

    Attributes:
        readonly: whether the client may only look: its listener says so, or it has asked for it.
        connection: what the client has opened, None before and after.
        events: what the client has registered for.
    """

    log = Logger()

    def __init__(self, client: Client) -> None:
        self.daemon = client.daemon
        self.readonly = client.readonly
        self.connection: DriverConnection | None = None
        self.events = EventRelay(client.send_event)
        self._client = client
        self._authentication = Authentication(client)
        self._opening = False
        self._closed = False
        self._wants_end = False
        self._rights: Rights | None = None
        self._unlisten: list[Callable[[], None]] = []

    # -- Handlers ----------------------------------------------------------------------------------

    def find(self, program: Program, procedure: Procedure) -> tuple[Callable[..., Any], Guard | None]:
        """Return the method that answers a procedure, and the check of its arguments."""
        name = procedure.name
        if not (self._client.authenticated or (procedure.pre_auth and program is remote.PROGRAM)):
            raise auth_required()
        own = getattr(self, _own_name(program, procedure), None)
        if self.connection is None and not (
            procedure.pre_auth or (name in BEFORE_OPEN and program is remote.PROGRAM)
        ):
            raise internal_error("hypervisor connection not open")
        guard = readonly_guard(procedure) if self.readonly else None
        method = own or self._driver_method(program, procedure)
        if self._rights is not None and self.connection is not None and not procedure.pre_auth:
            method = enforce(program, procedure, method, self._rights, self.connection)
        return method, guard

    def _driver_method(self, program: Program, procedure: Procedure) -> Callable[..., Any]:
        """Return the method of the sub-driver that answers a procedure, or one that says: not supported."""
        if procedure.driver is None:
            return _refuse(procedure)
        name = _own_name(program, procedure)
        return getattr(getattr(self.connection, procedure.driver), name, None) or _refuse(procedure)

    def close(self) -> None:
        """Close what the client had open. May be called again."""
        self._closed = True
        self._authentication.close()
        connection, self.connection = self.connection, None
        while self._unlisten:
            self._unlisten.pop()()
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
        """Say which authentication is wanted."""
        return self._authentication.list()

    def auth_sasl_init(self) -> str:
        """Begin SASL; return the mechanisms that are offered."""
        return self._authentication.sasl_init()

    def auth_sasl_start(self, mech: str, nil: int, data: bytes) -> Any:
        """Take a client's choice of mechanism, with its first message."""
        return self._authentication.sasl_start(mech, nil, data)

    def auth_sasl_step(self, nil: int, data: bytes) -> Any:
        """Take a client's next message."""
        return self._authentication.sasl_step(nil, data)

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
        self._rights = self._find_rights(uri.scheme)
        readonly = self.readonly or bool(flags & vir.VIR_CONNECT_RO)
        identity = self._client.identity
        result = driver.open(uri, ClientInfo(readonly, identity.transport, identity, self._client.drop))
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            self._opening = True
            # When the client vanishes, what it waits for is cancelled, but not the driver's own Deferred:
            # a connection that it makes all the same is closed, not lost.
            answer: Deferred[None] = Deferred()
            result.addBoth(self._opened_later, readonly, uri.scheme).chainDeferred(answer)
            return answer
        self._opened(result, readonly, uri.scheme)
        return None

    def _opened_later(
        self, result: DriverConnection | Failure, readonly: bool, scheme: str
    ) -> Failure | None:
        self._opening = False
        if isinstance(result, Failure):
            return result
        self._opened(result, readonly, scheme)
        return None

    def _opened(self, connection: DriverConnection, readonly: bool, scheme: str) -> None:
        if self._closed:
            self._end(connection)
            return
        if connection.events is not None:
            self._unlisten.append(connection.events.listen(self.events.deliver))
        self.readonly = readonly
        self.connection = connection
        policy = self.daemon.policy
        if policy is not None:
            self._policy_changed(policy.current, scheme)  # it may be another than when the client asked
            self._unlisten.append(policy.listen(lambda new: self._policy_changed(new, scheme)))

    def _find_rights(self, scheme: str) -> Rights | None:
        """Return what the client may do with a driver; None where nothing but its listener limits it.

        Raises:
            VirError: VIR_ERR_ACCESS_DENIED, it may not even open a connection.
        """
        if self.daemon.policy is None:
            return None
        rights = self.daemon.policy.current.for_client(self._client.identity, scheme)
        rights.require("connect", "getattr")
        return rights

    def _policy_changed(self, policy: Policy, scheme: str) -> None:
        """Look again what the client may do; calls that were prepared before are prepared anew."""
        self._rights = policy.for_client(self._client.identity, scheme)
        self._watch()
        self._client.forget_calls()

    def _watch(self) -> None:
        """Let no event through that the client may not see."""
        if self._rights is not None and self.connection is not None:
            self.events.may_see = Watcher(self._rights, self.connection).may_see

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
        """Register for the connection's end, as when the daemon ends."""
        self._wants_end = True

    def connect_unregister_close_callback(self) -> None:
        """Undo connect_register_close_callback."""
        self._wants_end = False

    def say_goodbye(self) -> None:
        """Tell a client that has registered for it that its connection is about to be closed."""
        if self._wants_end and self.connection is not None:
            self._wants_end = False
            message = remote.ConnectEventConnectionClosedMsg(vir.VIR_CONNECT_CLOSE_REASON_EOF)
            program = remote.PROGRAM
            number = program.by_name["connect_event_connection_closed"].number
            self._client.send(pack_event(program.number, program.version, number, message.pack()))

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
        return self._register("network", eventID, net and net.uuid)

    def connect_network_event_deregister_any(self, callbackID: int) -> None:
        """Forget a network callback."""
        self.events.deregister("network", callbackID)

    def connect_storage_pool_event_register_any(
        self, eventID: int, pool: remote.NonnullStoragePool | None
    ) -> int:
        """Register a callback for an event of one storage pool or of all."""
        return self._register("storage_pool", eventID, pool and pool.uuid)

    def connect_storage_pool_event_deregister_any(self, callbackID: int) -> None:
        """Forget a storage pool callback."""
        self.events.deregister("storage_pool", callbackID)

    def connect_node_device_event_register_any(
        self, eventID: int, dev: remote.NonnullNodeDevice | None
    ) -> int:
        """Register a callback for an event of one node device or of all."""
        return self._register("node_device", eventID, dev and dev.name)

    def connect_node_device_event_deregister_any(self, callbackID: int) -> None:
        """Forget a node device callback."""
        self.events.deregister("node_device", callbackID)

    def connect_secret_event_register_any(self, eventID: int, secret: remote.NonnullSecret | None) -> int:
        """Register a callback for an event of one secret or of all."""
        return self._register("secret", eventID, secret and secret.uuid)

    def connect_secret_event_deregister_any(self, callbackID: int) -> None:
        """Forget a secret callback."""
        self.events.deregister("secret", callbackID)

    def qemu_connect_domain_monitor_event_register(
        self, dom: remote.NonnullDomain | None, event: str | None, flags: int
    ) -> int:
        """Register a callback for the emulator's own events, of one domain or of all."""
        hypervisor = type(self._open().hypervisor)
        if hypervisor.qemu_domain_monitor_command is HypervisorDriver.qemu_domain_monitor_command:
            function = "virConnectDomainQemuMonitorEventRegister"
            raise NoSupport(function, domain=vir.VIR_FROM_NONE)
        return self.events.register("qemu_monitor", 0, dom and dom.uuid, wanted=event_filter(event, flags))

    def qemu_connect_domain_monitor_event_deregister(self, callbackID: int) -> None:
        """Forget a callback for the emulator's events."""
        self.events.deregister("qemu_monitor", callbackID)

    def _register(self, kind: str, id: int, key: bytes | str | None) -> int:
        """Register a callback, unless the connection has no objects of that kind: none can be listed."""
        name, base, domain = EVENT_DRIVERS[kind]
        listing = f"connect_list_all_{kind}s"
        if getattr(type(getattr(self._open(), name)), listing) is getattr(base, listing):
            function = remote.PROGRAM.by_name[f"connect_{kind}_event_register_any"].api
            raise NoSupport(function, domain=domain)
        return self.events.register(kind, id, key)

    def _open(self) -> DriverConnection:
        if self.connection is None:
            raise internal_error("hypervisor connection not open")
        return self.connection


def _own_name(program: Program, procedure: Procedure) -> str:
    """Return the name of the method that answers a procedure."""
    return procedure.name if program is remote.PROGRAM else f"{program.name}_{procedure.name}"


def _refuse(procedure: Procedure) -> Callable[..., Any]:
    """Return a method that answers: not supported."""

    def refuse(*_: object) -> None:
        raise unsupported(procedure)

    return refuse
