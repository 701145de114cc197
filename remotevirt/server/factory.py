"""The Factory: one protocol for each client that connects to one listener, as long as there is room.

Room is counted for each listener by itself, so that a flood on one never shuts out the clients of another.
When a listener is full, a client that has not shown who it is makes room for a new one, the oldest first:
whoever only connects cannot keep others out for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from remotevirt.identity import Identity
from remotevirt.server.protocol import ServerProtocol
from remotevirt.server.server import Server

__all__ = ["ServerFactory"]


def _unknown(transport: Any, kind: str) -> Identity:
    """Say of a client only how it came in."""
    return Identity(transport=kind)


class ServerFactory(Factory):
    """Makes a :class:`ServerProtocol` for each client of one listener.

    Args:
        server: what governs the clients.
        readonly: whether they may change anything.
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
        name: of the listener, for logs and metrics.
        auth: how clients show who they are: ``"none"`` (the transport has said it) or ``"sasl"``.
        identify: says who is at the other end of a transport.

    Attributes:
        clients: those connected, in the order in which they came.
        refused: how many were turned away for want of room.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        server: Server,
        readonly: bool = False,
        transport: str = "unix",
        *,
        name: str = "",
        auth: str = "none",
        identify: Callable[[Any, str], Identity] = _unknown,
    ) -> None:
        self.server = server
        self.readonly = readonly
        self.transport = transport
        self.name = name or transport
        self.auth = auth
        self.identify = identify
        self.clients: dict[int, ServerProtocol] = {}
        self.refused = 0
        self._peers: Counter[str] = Counter()
        server.factories.append(self)

    def buildProtocol(self, addr: IAddress | None) -> ServerProtocol | None:
        """Return a protocol for a new client, None if there is no room for it."""
        limits = self.server.limits
        if self.server.daemon.draining:
            return None
        if len(self.clients) >= limits.max_clients and not self._evict(None):
            self._turn_away(str(addr), f"{limits.max_clients} clients are connected (max_clients)")
            return None
        protocol = ServerProtocol(self.server, self)
        protocol.factory = self
        return protocol

    def admit(self, client: ServerProtocol) -> bool:
        """Take in a client whose transport is there; False: it may not come in, or there is no room for it.

        What it has to show for itself may cost another client its place, as the limits say.
        """
        limits = self.server.limits
        refusal = self.server.refusal
        reason = None if refusal is None else refusal(client.identity)
        if reason is not None:
            self._turn_away(client.identity.address, reason)
            return False
        peer = client.peer
        if 0 < limits.max_peer_clients <= self._peers[peer] and not self._evict(peer):
            reason = f"{limits.max_peer_clients} clients of {peer} are connected (max_peer_clients)"
            self._turn_away(client.identity.address, reason)
            return False
        if not client.authenticated:
            anonymous = sum(not other.authenticated for other in self.clients.values())
            if 0 < limits.max_anonymous_clients <= anonymous and not self._evict(None):
                reason = f"{anonymous} clients have not shown who they are (max_anonymous_clients)"
                self._turn_away(client.identity.address, reason)
                return False
        self.clients[client.id] = client
        self._peers[peer] += 1
        return True

    def forget(self, client: ServerProtocol) -> None:
        """Note that a client has gone. May be called again."""
        if self.clients.pop(client.id, None) is not None:
            peer = client.peer
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    def _evict(self, peer: str | None) -> bool:
        """Cut off a client that has not shown who it is.

        Args:
            peer: whose; None: that of the peer which has most of them. Of its clients the one goes that has
                waited longest.

        Returns:
            Whether there was one.
        """
        waiting = [client for client in self.clients.values() if not client.authenticated]
        if peer is None and waiting:
            peer = Counter(client.peer for client in waiting).most_common(1)[0][0]
        for client in waiting:
            if client.peer == peer:
                self.forget(client)
                client.cut("others need the place of a client that has not authenticated")
                return True
        return False

    def _turn_away(self, where: str, reason: str) -> None:
        self.refused += 1
        daemon = self.server.daemon
        text = "{listener}: refused a client: {reason}"
        daemon.damper.write("limit", self.log.warn, text, listener=self.name, reason=reason)
        daemon.tell("client_refused", where, f"limit: {reason}")
