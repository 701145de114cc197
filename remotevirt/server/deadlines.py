"""Deadlines: how long a client may take to show who it is, and a message to arrive.

A client that has done the first and sends nothing may idle for ever. Timers run by the reactor's clock, and
one for messages exists only while a message is unfinished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remotevirt.server.protocol import ServerProtocol

__all__ = ["AuthDeadline", "FrameDeadline"]


class AuthDeadline:
    """Drops a client that does not authenticate in time.

    Args:
        client: the protocol.
    """

    __slots__ = ("_call", "_client")

    def __init__(self, client: ServerProtocol) -> None:
        self._client = client
        self._call: Any = None

    def start(self) -> None:
        """Begin to wait, unless there is nothing to wait for."""
        timeout = self._client.server.limits.auth_timeout
        if timeout > 0 and not self._client.authenticated:
            self._call = self._client.daemon.reactor.callLater(timeout, self._over, timeout)

    def stop(self) -> None:
        """Wait no more. May be called again."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _over(self, timeout: float) -> None:
        self._call = None
        self._client.cut(f"it has not authenticated within {timeout:g} seconds")


class FrameDeadline:
    """Drops a client whose message does not become whole in time, and counts what it holds of one.

    Args:
        client: the protocol.

    Attributes:
        held: bytes of an unfinished message.
    """

    __slots__ = ("_call", "_client", "_since", "held")

    def __init__(self, client: ServerProtocol) -> None:
        self._client = client
        self._call: Any = None
        self._since = 0.0
        self.held = 0

    def note(self, held: int, progress: bool) -> None:
        """Note what is held after a read.

        Args:
            held: bytes of an unfinished message, 0 if there is none.
            progress: whether the read completed messages, so that the unfinished one has just begun.
        """
        daemon = self._client.daemon
        if held and (progress or not self.held):
            self._since = daemon.reactor.seconds()
        self.held = held
        daemon.unfinished.note(self._client, held)
        timeout = self._client.server.limits.frame_timeout
        if held and self._call is None and timeout > 0:
            self._call = daemon.reactor.callLater(timeout, self._look, timeout)

    def stop(self) -> None:
        """Wait no more. May be called again."""
        self.held = 0
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _look(self, timeout: float) -> None:
        self._call = None
        if not self.held:
            return
        now = self._client.daemon.reactor.seconds()
        if self._client.held_back:
            self._since = now  # it cannot go on sending: it is we who do not read
        left = self._since + timeout - now
        if left > 0:
            self._call = self._client.daemon.reactor.callLater(left, self._look, timeout)
        else:
            self._client.drop(f"a message was not complete within {timeout:g} seconds")
