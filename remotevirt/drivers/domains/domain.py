"""One domain of the test hypervisor: its record, and the table of its states.

A record holds two definitions. ``live`` is what the domain is now, whether it runs or not; ``config`` is
what a running persistent domain will be after it stops, and None while nothing distinguishes the two
(the domain is off, or transient). Starting copies ``live`` to ``config``; stopping moves ``config`` back.

Nobody but :class:`remotevirt.drivers.domains.table.DomainTable` changes ``name``, ``id``, ``state``,
``persistent``, ``autostart``, ``managed_save``, ``snapshots`` or ``checkpoints``: lists are cached, and only
the table knows when to drop them. What hot calls answer with is kept ready made beside the definition: the
reference, and the numbers of ``domain_get_info``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.moments import MomentTable
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.checkpoint import CheckpointModel
from remotevirt.xml.snapshot import SnapshotModel

__all__ = ["INACTIVE_ID", "POWER_ACTIONS", "DomainRecord", "DomainRef"]

INACTIVE_ID: Final = -1
"""The id of a domain that does not run."""

POWER_ACTIONS: Final[dict[str, tuple[int, int]]] = {
    "destroy": (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN),
    "preserve": (c.VIR_DOMAIN_SHUTOFF, c.VIR_DOMAIN_SHUTOFF_SHUTDOWN),
    "restart": (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED),
    "rename-restart": (c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_RUNNING_BOOTED),
}
"""What ``on_poweroff`` and ``on_reboot`` lead to: state and reason."""


class DomainRef(Kept, NonnullDomain):
    """A reference whose encoding is kept: every list and lookup sends it."""


class DomainRecord:
    """A domain of a world.

    Attributes:
        uuid: 16 bytes, the key that references are resolved by; never changes.
        name: as in both definitions.
        id: positive while active, otherwise -1.
        ref: ready made reference to the domain as it is now.
        live, config: the definitions, see above.
        state, reason: virDomainState and the reason in that state's own enum.
        persistent, autostart, managed_save: what they say.
        snapshots, checkpoints: the moments that the domain has kept.
        polling: how the IO threads poll that calls have added.
        frozen: mount points of the guest's file systems that are frozen.
        guest_time: what a call has set the guest's clock to, in seconds and nanoseconds; None if none has.
        facts: the list filters that are true of the domain; the world keeps them so.
        position: which of the world's domains it is, in order of definition.
        max_memory, memory: of ``live``, in KiB.
        vcpus: of ``live``, the ones that are on; the wire has 16 bits for them, as libvirt has.
    """

    __slots__ = (
        "autostart",
        "checkpoints",
        "config",
        "facts",
        "frozen",
        "guest_time",
        "id",
        "live",
        "managed_save",
        "max_memory",
        "memory",
        "name",
        "persistent",
        "polling",
        "position",
        "reason",
        "ref",
        "snapshots",
        "state",
        "uuid",
        "vcpus",
    )

    def __init__(self, definition: Definition, *, persistent: bool) -> None:
        self.uuid: bytes = definition.uuid
        self.name: str = definition.name
        self.id = INACTIVE_ID
        self.live = definition
        self.config: Definition | None = None
        self.state: int = c.VIR_DOMAIN_SHUTOFF
        self.reason: int = c.VIR_DOMAIN_SHUTOFF_UNKNOWN
        self.persistent = persistent
        self.autostart = False
        self.managed_save = False
        self.snapshots: MomentTable[SnapshotModel] = MomentTable()
        self.checkpoints: MomentTable[CheckpointModel] = MomentTable()
        self.polling: list[Any] = []
        self.frozen: set[str] = set()
        self.guest_time: tuple[int, int] | None = None
        self.facts = 0
        self.position = 0
        self.max_memory = self.memory = self.vcpus = 0
        self.ref: DomainRef
        self.make_ref()
        self.refresh()

    def __repr__(self) -> str:
        return f"<DomainRecord {self.name!r} id={self.id} state={self.state}/{self.reason}>"

    @property
    def active(self) -> bool:
        """Whether the domain has an id: it runs, is paused, or has crashed in place."""
        return self.id != INACTIVE_ID

    @property
    def persistent_definition(self) -> Definition:
        """The definition that survives a stop; ``live`` where there is no other."""
        return self.config or self.live

    def remember(self) -> Callable[[], None]:
        """Return what makes the record as it is now, definitions included and moments not."""
        values = [(name, getattr(self, name)) for name in DomainRecord.__slots__]
        polling, frozen = list(self.polling), set(self.frozen)
        kept = [one.remember() for one in (self.live, self.config) if one is not None]

        def restore() -> None:
            for name, value in values:
                setattr(self, name, value)
            self.polling, self.frozen = polling, frozen
            for one in kept:
                one()

        return restore

    def make_ref(self) -> None:
        """Make ``ref`` anew, after ``name`` or ``id`` changed. The one place where it is made."""
        self.ref = DomainRef(self.name, self.uuid, self.id)

    def refresh(self) -> None:
        """Take over the numbers of ``live``, after it changed or was replaced."""
        live = self.live
        self.max_memory = live.max_memory
        self.memory = live.memory
        self.vcpus = live.vcpus & 0xFFFF
