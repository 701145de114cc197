"""Who is at the other end of a transport, as far as the transport can tell.

A UNIX socket's kernel knows the process that connected (``SO_PEERCRED``, unix(7)): its user and group at that
moment, which it cannot choose. A network peer has an address, and over TLS the name in its certificate.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from remotevirt.identity import Identity
from remotevirt.transport.dn import peer_dn
from remotevirt.transport.sanity import UNREADABLE

__all__ = ["identify"]

_UCRED = struct.Struct("iII")
"""struct ucred: pid, uid, gid."""


def identify(transport: Any, kind: str) -> Identity:
    """Return the identity that a transport shows.

    Args:
        transport: a connected transport.
        kind: ``"unix"``, ``"tcp"`` or ``"tls"``.
    """
    if kind == "unix":
        pid, uid, gid = _UCRED.unpack(
            transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        return Identity(kind, uid=uid, gid=gid, pid=pid)
    peer = transport.getPeer()
    address = f"{peer.host};{peer.port}" if isinstance(peer, IPv4Address | IPv6Address) else str(peer)
    return Identity(kind, address, dn=_name(transport) if kind == "tls" else None)


def _name(transport: Any) -> str | None:
    """The name in a certificate; None for one that cannot be read, which nobody has verified either."""
    try:
        return peer_dn(transport)
    except UNREADABLE:
        return None
