"""Descriptors that travel with messages over a UNIX socket, in both directions.

They arrive one by one, each with a byte of the stream, before or with the last byte of the message they
belong to; so they queue here until their message is served, in order. They leave behind the reply that they
belong to, each with the byte that the client reads for it: on any other, it would be lost. So the reply has
to be with the system before the first of them is queued, and nothing may be written before they are gone;
while that takes, the client's output waits.

Whatever happens, each is closed: by :class:`Files` when the call that carried it has ended, when it has been
sent, or with the client.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IUNIXTransport

from remotevirt.server.faults import rpc_error
from remotevirt.server.limits import DESCRIPTORS_MAXIMUM

if TYPE_CHECKING:
    from remotevirt.server.protocol import ServerProtocol

__all__ = ["Descriptors", "Files", "close_all"]


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors; one that is closed already is none of our business."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue


class Files(list[int]):
    """The descriptors of one call, closed once when it has ended."""

    def close(self) -> None:
        """Close them. May be called again."""
        descriptors, self[:] = self[:], []
        close_all(descriptors)


class Descriptors:
    """The descriptors of one client, on their way in and out.

    Args:
        client: the protocol.

    Attributes:
        busy: whether some wait to be sent, and all output with them.
    """

    __slots__ = ("_arrived", "_client", "_leaving", "_queued", "busy")

    def __init__(self, client: ServerProtocol) -> None:
        self._client = client
        self._arrived: list[int] = []  # a deque would take 760 bytes of every client
        self._leaving: list[int] = []
        self._queued = False
        self.busy = False

    # -- in --------------------------------------------------------------------------------------------

    def received(self, descriptor: int) -> None:
        """Take one that has arrived; a client that passes too many for no message is cut off."""
        self._arrived.append(descriptor)
        if len(self._arrived) > DESCRIPTORS_MAXIMUM:
            self._client.cut(f"more than {DESCRIPTORS_MAXIMUM} descriptors that belong to no message")

    def take(self, count: int) -> Files:
        """Return those of a message.

        Raises:
            VirError: not so many have arrived; the client is disconnected.
        """
        if len(self._arrived) < count:
            have = len(self._arrived)
            self._client.drop(f"a message that should carry {count} descriptors came with {have}")
            raise rpc_error(f"{count} descriptors were to come with the message")
        taken = Files(self._arrived[:count])
        del self._arrived[:count]
        return taken

    # -- out -------------------------------------------------------------------------------------------

    @property
    def passable(self) -> bool:
        """Whether any can be sent to the client."""
        return IUNIXTransport.providedBy(self._client.transport)

    def send(self, message: bytes, files: Sequence[int]) -> None:
        """Send a reply and its descriptors behind it, and close them."""
        self._client.write_now(message)
        self._leaving += files
        self.busy = True
        self.resume()
        if self.busy:
            self._client.pauseProducing()

    def resume(self) -> None:
        """Go on, if what was to be sent first has been."""
        if not self.busy:
            return
        transport: Any = self._client.transport
        if self._wait(transport):
            return
        if not self._queued:
            self._queued = True
            for descriptor in self._leaving:
                transport.sendFileDescriptor(descriptor)
            transport.write(bytes(len(self._leaving)))
            transport.doWrite()
            if self._wait(transport):
                return
        self._sent()
        self._client.flush()

    @staticmethod
    def _wait(transport: Any) -> bool:
        """Tell whether something is still to be sent; if so have the transport say when all is.

        It keeps everything in ``dataBuffer`` once it has tried to send, and calls a producer that has paused.
        """
        if not transport.dataBuffer:
            return False
        transport.producerPaused = True
        return True

    def _sent(self) -> None:
        self.busy = False
        self._queued = False
        files, self._leaving = self._leaving, []
        close_all(files)

    def close(self) -> None:
        """Close all: the client has gone. May be called again."""
        close_all(self._arrived)
        self._arrived.clear()
        self._sent()
