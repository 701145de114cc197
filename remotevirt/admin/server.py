"""The server called ``admin``: it has a socket of its own, which only the daemon's owner may use.

The mode of the socket (0700) keeps others out as libvirtd's does. It is not relied on: a socket may be opened
by someone else (systemd) with another mode, so each client's user, as the kernel tells it, is looked at too.
Whoever does not come by a UNIX socket has none, and is not let in.
"""

from __future__ import annotations

import os
from functools import partial

import attrs

from remotevirt.admin.controls import Controls
from remotevirt.admin.session import AdminSession
from remotevirt.identity import Identity
from remotevirt.server import Daemon, Limits, Server
from remotevirt.stubs import admin

__all__ = ["ADMIN_SERVER", "admin_server"]

ADMIN_SERVER = "admin"
"""What it is called; scripts that call virt-admin know this name."""


def admin_server(daemon: Daemon, controls: Controls | None = None, limits: Limits | None = None) -> Server:
    """Add the server of the admin program to a daemon.

    Args:
        daemon: what it governs.
        controls: what more of the daemon it governs.
        limits: what its clients may take. Nobody is anonymous here, so there is no bound for those who are.

    Returns:
        The server, for a :class:`~remotevirt.server.ServerFactory` with ``transport="unix"`` and an
        ``identify`` that asks the kernel.
    """
    make_session = partial(AdminSession, controls=controls or Controls())
    limits = attrs.evolve(limits or Limits(), max_anonymous_clients=0)
    server = Server(daemon, ADMIN_SERVER, limits, (admin.PROGRAM,), make_session, refusal=refusal)
    daemon.servers[ADMIN_SERVER] = server
    return server


def refusal(identity: Identity) -> str | None:
    """Say why a client may not administrate the daemon, None if it may: root, and the daemon's own user."""
    if identity.uid in (0, os.geteuid()):
        return None
    return f"{identity} may not administrate the daemon"
