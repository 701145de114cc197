"""The Factory: one protocol for each client that connects to one listener."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from remotevirt.server.daemon import Daemon
from remotevirt.server.protocol import ServerProtocol

__all__ = ["ServerFactory"]


class ServerFactory(Factory):
    """Makes a :class:`ServerProtocol` for each client.

    Args:
        daemon: what all clients share.
        readonly: whether clients of this listener may change anything.
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
    """

    log = Logger()
    noisy = False

    def __init__(self, daemon: Daemon, readonly: bool = False, transport: str = "unix") -> None:
        self.daemon = daemon
        self.readonly = readonly
        self.transport = transport

    def buildProtocol(self, addr: IAddress | None) -> ServerProtocol | None:
        """Return a protocol for a new client, None if there is no room for it."""
        if len(self.daemon.clients) >= self.daemon.limits.max_clients:
            self.log.warn(
                "refused a client: {limit} clients are connected (max_clients)",
                limit=self.daemon.limits.max_clients,
            )
            return None
        protocol = ServerProtocol(self.daemon, self.readonly, self.transport)
        protocol.factory = self
        return protocol
