"""What the admin program answers to one client.

There is nothing to open or to authenticate: a client that is let in may call anything, before "open" too, as
in libvirtd. Servers are named and clients numbered in each call; whoever has gone in between is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.admin.clients import client_info, client_reference, get_limits, new_limits
from remotevirt.admin.controls import Controls
from remotevirt.admin.workers import get_workers, set_workers
from remotevirt.errors import RemotevirtError, VirError
from remotevirt.procedures import Procedure, Program
from remotevirt.server import Server, ServerProtocol
from remotevirt.server.faults import internal_error, rpc_error, unsupported
from remotevirt.server.session import LIBVIRT_VERSION
from remotevirt.stubs import admin
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import InvalidArg, NoClient, NoServer
from remotevirt.stubs.remote import TypedParam

__all__ = ["AdminSession"]

NAME_SHOWN = 100
"""Characters of an unknown server's name that an error repeats."""

NEEDS = {
    "connect_get_logging_filters": "logs",
    "connect_set_logging_filters": "logs",
    "connect_get_logging_outputs": "logs",
    "connect_set_logging_outputs": "logs",
    "connect_set_daemon_timeout": "set_timeout",
    "connect_daemon_shutdown": "shutdown",
}
"""Which of the :class:`Controls` a procedure needs."""


class AdminSession:
    """The session of one client. Methods named like procedures answer these.

    Args:
        client: the protocol.
        controls: what more of the daemon can be governed.
    """

    log = Logger()
    readonly = False

    def __init__(self, client: ServerProtocol, controls: Controls) -> None:
        self._client = client
        self._daemon = client.daemon
        self._controls: Any = controls

    # -- Handlers ----------------------------------------------------------------------------------

    def find(
        self, program: Program, procedure: Procedure
    ) -> tuple[Callable[..., Any], Callable[[Any], None] | None]:
        """Return the method that answers a procedure, and the check of its flags."""
        need = NEEDS.get(procedure.name)
        if need is not None and getattr(self._controls, need) is None:
            raise unsupported(procedure)
        method = getattr(self, procedure.name, None)
        if method is None:
            raise unsupported(procedure)
        return method, _no_flags(procedure)

    def close(self) -> None:
        """Close nothing: a client has nothing open."""

    def say_goodbye(self) -> None:
        """Say nothing: the program has no message for it."""

    # -- the connection ------------------------------------------------------------------------------

    def connect_open(self, flags: int) -> None:
        """Begin."""

    def connect_close(self) -> None:
        """Take leave; the daemon disconnects once the reply is sent."""
        self._client.finish()

    def connect_get_lib_version(self) -> int:
        """Return the version of libvirt whose behaviour is shown."""
        return LIBVIRT_VERSION

    # -- servers -------------------------------------------------------------------------------------

    def connect_list_servers(self, need_results: int, flags: int) -> admin.ConnectListServersRet:
        """List the servers by name. (libvirtd's order is a hash table's, and differs from start to start.)"""
        found = [admin.NonnullServer(name) for name in sorted(self._daemon.servers)]
        return admin.ConnectListServersRet(found if need_results else [], len(found))

    def connect_lookup_server(self, name: str, flags: int) -> admin.NonnullServer:
        """Find a server."""
        return admin.NonnullServer(self._server(admin.NonnullServer(name)).name)

    def server_get_threadpool_parameters(self, srv: admin.NonnullServer, flags: int) -> list[TypedParam]:
        """Show threads."""
        return get_workers(self._daemon.reactor.getThreadPool(), self._server(srv))

    def server_set_threadpool_parameters(
        self, srv: admin.NonnullServer, params: Sequence[admin.TypedParam], flags: int
    ) -> None:
        """Bound the threads, which all servers share."""
        self._server(srv)
        set_workers(self._daemon.reactor.getThreadPool(), params)
        self._note("workers of all servers", params)

    def server_get_client_limits(self, srv: admin.NonnullServer, flags: int) -> list[TypedParam]:
        """Show how many clients a server takes and has."""
        return get_limits(self._server(srv))

    def server_set_client_limits(
        self, srv: admin.NonnullServer, params: Sequence[admin.TypedParam], flags: int
    ) -> None:
        """Change how many clients each listener of a server takes; those who are there stay."""
        server = self._server(srv)
        server.set_limits(new_limits(server.limits, params))
        self._note(f"clients of server {server.name}", params)

    def server_update_tls_files(self, srv: admin.NonnullServer, flags: int) -> None:
        """Read the certificates of TLS again."""
        server = self._server(srv)
        reload_tls = self._controls.reload_tls
        if reload_tls is None or all(listener.transport != "tls" for listener in server.factories):
            raise internal_error("no tls service found, unable to update tls files")
        try:
            reload_tls()
        except VirError:
            raise
        except RemotevirtError as error:
            raise internal_error(str(error)) from None

    # -- clients -------------------------------------------------------------------------------------

    def server_list_clients(
        self, srv: admin.NonnullServer, need_results: int, flags: int
    ) -> admin.ServerListClientsRet:
        """List the clients of a server, in the order in which they came."""
        clients = self._server(srv).clients
        if not need_results:
            return admin.ServerListClientsRet([], len(clients))
        if len(clients) > admin.ADMIN_CLIENT_LIST_MAX:
            raise rpc_error(f"Too many clients '{len(clients)}' for limit '{admin.ADMIN_CLIENT_LIST_MAX}'")
        found = [client_reference(client) for _, client in sorted(clients.items())]
        return admin.ServerListClientsRet(found, len(found))

    def server_lookup_client(self, srv: admin.NonnullServer, id: int, flags: int) -> admin.NonnullClient:
        """Find a client."""
        return client_reference(self._find_client(srv, id))

    def client_get_info(self, clnt: admin.NonnullClient, flags: int) -> list[TypedParam]:
        """Say who a client is."""
        return client_info(self._find_client(clnt.srv, clnt.id))

    def client_close(self, clnt: admin.NonnullClient, flags: int) -> Deferred[None] | None:
        """Disconnect a client; one that disconnects itself gets no reply, as from libvirtd."""
        client = self._find_client(clnt.srv, clnt.id)
        client.cut(f"disconnected by {self._client.identity}")
        return Deferred() if client is self._client else None

    # -- the daemon ----------------------------------------------------------------------------------

    def connect_get_logging_filters(self, flags: int) -> admin.ConnectGetLoggingFiltersRet:
        """Show what is logged."""
        filters = self._controls.logs.get_filters()
        return admin.ConnectGetLoggingFiltersRet(filters or None, len(filters.split()))

    def connect_set_logging_filters(self, filters: str | None, flags: int) -> None:
        """Change what is logged."""
        _set(self._controls.logs.set_filters, filters)

    def connect_get_logging_outputs(self, flags: int) -> admin.ConnectGetLoggingOutputsRet:
        """Show where it is logged."""
        outputs = self._controls.logs.get_outputs()
        return admin.ConnectGetLoggingOutputsRet(outputs, len(outputs.split()))

    def connect_set_logging_outputs(self, outputs: str | None, flags: int) -> None:
        """Change where it is logged."""
        _set(self._controls.logs.set_outputs, outputs)

    def connect_set_daemon_timeout(self, timeout: int, flags: int) -> None:
        """Change after how many seconds without a client the daemon ends."""
        self._controls.set_timeout(timeout)

    def connect_daemon_shutdown(self, flags: int) -> None:
        """End the daemon, when the reply is on its way."""
        self._client.later(self._controls.shutdown)

    # -- what is meant -------------------------------------------------------------------------------

    def _server(self, wanted: admin.NonnullServer) -> Server:
        server = self._daemon.servers.get(wanted.name)
        if server is None:
            raise NoServer(f"No server named '{wanted.name[:NAME_SHOWN]}'", domain=vir.VIR_FROM_RPC)
        return server

    def _find_client(self, srv: admin.NonnullServer, id: int) -> ServerProtocol:
        client = self._server(srv).clients.get(id)
        if client is None:
            raise NoClient(f"No client with matching ID '{id}'", domain=vir.VIR_FROM_RPC)
        return client

    def _note(self, what: str, params: Sequence[admin.TypedParam]) -> None:
        """Log a change."""
        change = ", ".join(f"{name}={value}" for name, (_, value) in params)
        self.log.info("{who} set {what}: {change}", who=str(self._client.identity), what=what, change=change)


def _set(setter: Callable[[str], None], text: str | None) -> None:
    try:
        setter(text or "")
    except ValueError as error:
        raise InvalidArg(str(error)) from None


def _no_flags(procedure: Procedure) -> Callable[[Any], None] | None:
    """Return what refuses flags, of which no call of the program knows any; None for a call without them."""
    if procedure.args is None or "flags" not in procedure.args._fields:
        return None
    function = f"admin{str(procedure.api).removeprefix('virAdm')}"

    def guard(args: Any) -> None:
        if args.flags:
            raise InvalidArg(
                message=f"unsupported flags ({args.flags:#x}) in function {function}",
                domain=vir.VIR_FROM_ADMIN,
                str1=function,
                str2="flags",
                int1=0,
                int2=0,
            )

    return guard
