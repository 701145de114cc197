"""A domain of the QEMU driver: its record, and what makes calls on it wait for one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.qemu.jobs import Job
from remotevirt.drivers.qemu.progress import Progress

if TYPE_CHECKING:
    from remotevirt.drivers.qemu.guest import Guest

__all__ = ["QemuRecord", "RunStatus"]


class RunStatus:
    """Stands for what lasts of a running guest, beside the domain's own row; see ``keeping``."""

    __slots__ = ("record",)

    def __init__(self, record: QemuRecord) -> None:
        self.record = record


class QemuRecord(DomainRecord):
    """A domain.

    Attributes:
        guest: its QEMU, None while there is none.
        job: what one call at a time may do.
        status: stands for the row of the running guest.
        console: who holds the console stream, None for nobody.
        finished: how the last long job of it went that ended well, until somebody asks; None for none.
    """

    __slots__ = ("console", "finished", "guest", "job", "status")

    def __init__(self, definition: Definition, *, persistent: bool) -> None:
        self.guest: Guest | None = None
        self.job = Job()
        self.finished: Progress | None = None
        self.status = RunStatus(self)
        self.console: Any = None
        super().__init__(definition, persistent=persistent)
