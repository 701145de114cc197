"""How far a guest's memory has got on its way: virDomainJobInfo, as QEMU tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from remotevirt.stubs import constants as c

__all__ = ["Progress"]

BITS: Final = 1000 * 1000 / 8
"""Bytes of a megabit."""

MAX_RATE: Final = 1e9
"""Megabits a second that a rate may be; what is more is nonsense."""

RAM: Final = {
    c.VIR_DOMAIN_JOB_MEMORY_CONSTANT: "duplicate",
    c.VIR_DOMAIN_JOB_MEMORY_NORMAL: "normal",
    c.VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES: "normal-bytes",
    c.VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE: "dirty-pages-rate",
    c.VIR_DOMAIN_JOB_MEMORY_ITERATION: "dirty-sync-count",
    c.VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS: "postcopy-requests",
    c.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE: "page-size",
}
"""Figures of memory: what QEMU calls them."""


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
        migrates: QEMU can be asked to give up; not while it writes a dump by itself.
        elapsed: milliseconds that it has taken, once it is over.
        error: what QEMU says went wrong, when it has written a dump by itself.
        figures: what else QEMU tells: libvirt's names and the values, in libvirt's order.
    """

    __slots__ = (
        "aborted",
        "began",
        "done",
        "elapsed",
        "error",
        "figures",
        "left",
        "migrates",
        "operation",
        "total",
    )

    def __init__(self, operation: int, began: float, *, migrates: bool = True) -> None:
        self.operation = operation
        self.began = began
        self.total = self.done = self.left = 0
        self.aborted = False
        self.migrates = migrates
        self.elapsed = 0
        self.error = ""
        self.figures: dict[str, int] = {}

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take in what ``query-migrate`` or ``query-dump`` said."""
        ram = answer.get("ram")
        if isinstance(ram, Mapping):
            self.total, self.left = _count(ram.get("total")), _count(ram.get("remaining"))
            self.done = _count(ram.get("transferred"))
            rate = ram.get("mbps")
            figures = {
                c.VIR_DOMAIN_JOB_DOWNTIME: answer.get("downtime", answer.get("expected-downtime")),
                c.VIR_DOMAIN_JOB_SETUP_TIME: answer.get("setup-time"),
                c.VIR_DOMAIN_JOB_MEMORY_BPS: (
                    int(rate * BITS) if isinstance(rate, int | float) and 0 <= rate < MAX_RATE else None
                ),
                **{name: ram.get(key) for name, key in RAM.items()},
            }
            self.figures = {name: _count(value) for name, value in figures.items() if value is not None}
        elif "completed" in answer:
            self.total, self.done = _count(answer.get("total")), _count(answer.get("completed"))
            self.left = max(self.total - self.done, 0)
