"""Clients and their limits, in the admin program's terms.

``nclients_max`` and ``nclients_unauth_max`` are :class:`~remotevirt.server.Limits`' ``max_clients`` and
``max_anonymous_clients``, which bound each listener of a server by itself; ``nclients`` and
``nclients_unauth`` count the clients of all its listeners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from remotevirt.server import Limits, Server, ServerProtocol
from remotevirt.stubs import admin
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import InvalidArg
from remotevirt.stubs.remote import TypedParam
from remotevirt.typed_params import boolean, check_params, int_, string, uint

__all__ = ["client_info", "client_reference", "get_limits", "new_limits"]

TRANSPORTS: Final = {
    "unix": vir.VIR_CLIENT_TRANS_UNIX,
    "tcp": vir.VIR_CLIENT_TRANS_TCP,
    "tls": vir.VIR_CLIENT_TRANS_TLS,
}

SETTABLE: Final = {
    vir.VIR_SERVER_CLIENTS_MAX: vir.VIR_TYPED_PARAM_UINT,
    vir.VIR_SERVER_CLIENTS_UNAUTH_MAX: vir.VIR_TYPED_PARAM_UINT,
}


def client_reference(client: ServerProtocol) -> admin.NonnullClient:
    """Return what stands for a client in the program."""
    server = admin.NonnullServer(client.server.name)
    transport = TRANSPORTS[client.listener.transport]
    return admin.NonnullClient(server, client.id, int(client.connected_at), transport)


def client_info(client: ServerProtocol) -> list[TypedParam]:
    """Return who a client is: as much of it as its transport and its authentication have shown."""
    identity = client.identity
    params = [boolean(vir.VIR_CLIENT_INFO_READONLY, client.session.readonly)]

    def add(name: str, text: str | None) -> None:
        if text is not None:
            params.append(string(name, text))

    add(vir.VIR_CLIENT_INFO_SASL_USER_NAME, identity.sasl)
    if client.listener.transport != "unix":
        host, _, port = identity.address.rpartition(";")
        params.append(
            string(vir.VIR_CLIENT_INFO_SOCKET_ADDR, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        )
        add(vir.VIR_CLIENT_INFO_X509_DISTINGUISHED_NAME, identity.dn)
    elif identity.uid is not None and identity.gid is not None and identity.pid is not None:
        params.append(int_(vir.VIR_CLIENT_INFO_UNIX_USER_ID, identity.uid))
        add(vir.VIR_CLIENT_INFO_UNIX_USER_NAME, identity.user)
        params.append(int_(vir.VIR_CLIENT_INFO_UNIX_GROUP_ID, identity.gid))
        add(vir.VIR_CLIENT_INFO_UNIX_GROUP_NAME, identity.group)
        params.append(int_(vir.VIR_CLIENT_INFO_UNIX_PROCESS_ID, identity.pid))
    return params


def get_limits(server: Server) -> list[TypedParam]:
    """Return how many clients a server takes, and how many it has."""
    limits = server.limits
    return [
        uint(vir.VIR_SERVER_CLIENTS_MAX, limits.max_clients),
        uint(vir.VIR_SERVER_CLIENTS_CURRENT, len(server.clients)),
        uint(vir.VIR_SERVER_CLIENTS_UNAUTH_MAX, limits.max_anonymous_clients),
        uint(vir.VIR_SERVER_CLIENTS_UNAUTH_CURRENT, server.anonymous),
    ]


def new_limits(limits: Limits, params: Sequence[admin.TypedParam]) -> Limits:
    """Return limits with those changed that are given.

    Raises:
        VirError: a parameter is unknown, of a wrong type, given twice, or at odds with another.
    """
    check_params(params, SETTABLE)
    given = {name: int(value) for name, (_, value) in params}
    clients = given.get(vir.VIR_SERVER_CLIENTS_MAX, limits.max_clients)
    anonymous = given.get(vir.VIR_SERVER_CLIENTS_UNAUTH_MAX, limits.max_anonymous_clients)
    if anonymous > clients:
        # What libvirtd says, though it means "not be greater".
        raise InvalidArg(
            "The overall maximum number of clients waiting for authentication must not be less than the "
            "overall maximum number of clients",
            domain=vir.VIR_FROM_RPC,
        )
    return attrs.evolve(limits, max_clients=clients, max_anonymous_clients=anonymous)
