"""How far a guest's memory has got on its way: virDomainJobInfo, as QEMU tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Progress"]


def _count(value: Any) -> int:
    """Return a number of QEMU's, 0 for what is none."""
    return value if isinstance(value, int) and 0 <= value < 2**64 else 0


class Progress:
    """A flow of memory.

    Attributes:
        operation: of virDomainJobOperation.
        began: when, on the reactor's clock.
        total, done, left: bytes of memory.
        aborted: somebody asked to give up.
    """

    __slots__ = ("aborted", "began", "done", "left", "operation", "total")

    def __init__(self, operation: int, began: float) -> None:
        self.operation = operation
        self.began = began
        self.total = self.done = self.left = 0
        self.aborted = False

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take in what ``query-migrate`` or ``query-dump`` said."""
        ram = answer.get("ram")
        if isinstance(ram, Mapping):
            self.total, self.left = _count(ram.get("total")), _count(ram.get("remaining"))
            self.done = _count(ram.get("transferred"))
        elif "completed" in answer:
            self.total, self.done = _count(answer.get("total")), _count(answer.get("completed"))
            self.left = max(self.total - self.done, 0)
