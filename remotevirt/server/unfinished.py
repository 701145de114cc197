"""One budget for unfinished messages: memory that clients have taken and not yet given a meaning.

A client may send the beginning of a message of up to 32 MiB, and wait. Each byte that has arrived is held; so
the sum over all clients is bounded, and when it is exceeded the client that holds most pays, not the one
whose bytes happened to come last.
"""

from __future__ import annotations

from typing import Protocol

from remotevirt.server.limits import UNFINISHED_MAXIMUM

__all__ = ["UnfinishedBudget"]


class Holder(Protocol):
    """A client, as the budget sees it."""

    def cut(self, reason: str) -> None:
        """Disconnect it at once."""


class UnfinishedBudget:
    """Counts what clients hold.

    Args:
        maximum: bytes that all may hold together.

    Attributes:
        held: how many they do.
    """

    __slots__ = ("_by_client", "held", "maximum")

    def __init__(self, maximum: int = UNFINISHED_MAXIMUM) -> None:
        self.maximum = maximum
        self.held = 0
        self._by_client: dict[Holder, int] = {}

    def note(self, client: Holder, size: int) -> None:
        """Note how much a client holds now, 0 when it holds nothing any more."""
        before = self._by_client.get(client, 0)
        self.held += size - before
        if size:
            self._by_client[client] = size
        elif before:
            del self._by_client[client]
        while self.held > self.maximum:
            worst = max(self._by_client, key=self._by_client.__getitem__)
            self.held -= self._by_client.pop(worst)
            worst.cut(
                f"unfinished messages of all clients are over {self.maximum} bytes, most of them its own"
            )
