"""Keepalive with a clock: answers a client's pings, pings one that is silent, and gives up one that is dead.

The counting is :class:`remotevirt.rpc.keepalive.Keepalive`'s. Two situations are not silence:

* the client does not read. Then it is not read from, and a ping would wait behind what it has not read; if it
  is gone, sending to it will fail. Of its own pings at most one is answered when it reads again.
* the client is held back, because a driver has yet to take what it has sent. Its own pings are not read then,
  and it would take the daemon for dead; so it is sent a pong now and then, which counts as a sign of life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remotevirt.rpc.keepalive import PING, PING_PROCEDURE, PONG, Keepalive, KeepaliveAction

if TYPE_CHECKING:
    from remotevirt.server.protocol import ServerProtocol

__all__ = ["Pinger"]


class Pinger:
    """The keepalive of one client.

    Args:
        client: the protocol.

    Attributes:
        asking: whether the client is asked for signs of life: it has said that it answers.
    """

    __slots__ = ("_call", "_client", "_count", "_pong_unsent", "asking")

    def __init__(self, client: ServerProtocol) -> None:
        self._client = client
        self._count = Keepalive(client.server.limits.keepalive_count)
        self._call: Any = None
        self._pong_unsent = False
        self.asking = False

    def heard(self) -> None:
        """Note that something arrived."""
        self._count.heard()

    def received(self, procedure: int) -> None:
        """Take a keepalive message: answer a ping. A pong needs no answer."""
        if procedure == PING_PROCEDURE:
            if self._client.paused:
                self._pong_unsent = True
            else:
                self._client.send(PONG)

    def resume(self) -> None:
        """The client reads again: answer the ping that came meanwhile."""
        if self._pong_unsent:
            self._pong_unsent = False
            self._client.send(PONG)

    def ask(self) -> None:
        """Begin to ask for signs of life."""
        if not self.asking:
            self.asking = True
            self.limits_changed()

    def limits_changed(self) -> None:
        """Begin anew, with intervals that may have changed."""
        limits = self._client.server.limits
        self.stop()
        if self.asking and limits.keepalive_interval > 0:
            self._count.count = limits.keepalive_count
            self._again()

    def stop(self) -> None:
        """Ask no more. May be called again."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _again(self) -> None:
        interval = self._client.server.limits.keepalive_interval
        self._call = self._client.daemon.reactor.callLater(interval, self._tick)

    def _tick(self) -> None:
        self._call = None
        self._again()
        client = self._client
        if client.paused:
            return
        if client.held_back:
            client.send(PONG)
            return
        action = self._count.tick()
        if action is KeepaliveAction.PING:
            client.send(PING)
        elif action is KeepaliveAction.DEAD:
            client.cut(f"no answer to {self._count.count} pings")
