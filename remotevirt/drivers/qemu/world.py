"""What the QEMU driver manages: its domains, and what all calls share.

::

    QemuWorld (a DomainTable) ── QemuRecord ── Guest ── QemuProcess, Monitor
        │
        └── commit(change): the one door for changes; with a store they are on the disk when it returns

A call that talks to QEMU is a coroutine, and others run while it waits. So it changes records only in
:meth:`QemuWorld.commit`, as a whole, and looks again at what may have changed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.logger import Logger

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.table import DomainTable
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.emulator import Emulator, MadeCpu
from remotevirt.drivers.qemu.firmware import Firmware
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.storage import RealStorage
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import NoDomain

if TYPE_CHECKING:
    from remotevirt.drivers.qemu.guest import Guest, Owner
    from remotevirt.drivers.qemu.probe import EmulatorCache

__all__ = ["QemuWorld"]

T = TypeVar("T")

log = Logger()


class QemuWorld(DomainTable):
    """The domains of the QEMU driver.

    Attributes:
        settings: what the operator decided.
        reactor: for time and input/output.
        emulators: what the binaries can do.
        firmware: what guests can start from.
        groups: the control groups that guests can have; None for none.
        journal: keeps what lasts; None where nothing does (in tests).
        note_owed: notes a file that is about to be owed, or not any more; see ``keeping``.
        open: the store can be written; the daemon is not ending.
        dump_panicked: keeps the memory of a guest that has panicked, or neglects its watchdog.
        storage: finds the volumes that disks name.
        made_cpus: what CPUs emulators have made before, by the words that decide it; see ``live_cpu``.
        owed: files that are to be given back to who had them, by their paths.
        device_gone: takes in that a guest has let go of a device, by its alias, which no call waits for.
        secret_value: returns the value of a secret, by UUID or usage.
    """

    __slots__ = (
        "device_gone",
        "dump_panicked",
        "emulators",
        "firmware",
        "groups",
        "journal",
        "made_cpus",
        "note_owed",
        "open",
        "owed",
        "reactor",
        "secret_value",
        "settings",
        "storage",
    )

    ERRORS = c.VIR_FROM_QEMU
    PREFIX = "qemu"

    RECORD = QemuRecord

    def __init__(
        self,
        settings: Settings,
        definitions: type[Definition],
        emulators: EmulatorCache,
        reactor: Any,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(definitions, now)
        self.settings = settings
        self.emulators = emulators
        self.reactor = reactor
        self.journal: Journal | None = None
        self.storage: RealStorage | None = None
        self.made_cpus: dict[tuple[str, ...], tuple[Emulator, MadeCpu]] = {}
        self.owed: dict[str, Owner] = {}
        self.note_owed: Callable[[Owner], None] | None = None
        self.open = True
        self.firmware: Sequence[Firmware] = ()
        self.groups: Groups | None = None
        self.dump_panicked: Callable[[Guest], Awaitable[None]] | None = None
        self.device_gone: Callable[[Guest, str], Awaitable[None]] | None = None
        self.secret_value: Callable[[Any], bytes | None] = lambda _: None

    def unknown(self, what: str) -> VirError:
        """Return the error for a domain that was looked for by ``what``, and is not there."""
        return NoDomain(f"no domain with matching {what}", domain=self.ERRORS)

    def commit(self, change: Callable[..., T], *args: Any) -> T:
        """Change records; what of it lasts is on the disk when this returns.

        Raises:
            VirError: the change was refused, or could not be kept and was undone.
        """
        if self.journal is None:
            return change(*args)
        return cast(T, self.journal.run(change, *args))

    def replace_live(self, record: DomainRecord, definition: Definition) -> None:
        """Let an inactive domain start with another definition this once, or take that back."""
        self.touch(record)
        if record.persistent and record.config is None and definition is not record.live:
            record.config = record.live
            self.text += definition.size
            record.live = definition
        elif record.config is definition:
            self.text -= record.live.size
            record.live, record.config = definition, None
        record.refresh()

    def records(self) -> Iterable[QemuRecord]:
        """Return all domains, in order of definition."""
        return cast(Iterable[QemuRecord], self.by_uuid.values())

    def guests(self) -> Iterable[Guest]:
        """Return all guests that have a QEMU."""
        return [record.guest for record in self.records() if record.guest is not None]

    def paths_in_use(self) -> frozenset[str]:
        """Return the files that were given to guests."""
        return frozenset(owner.path for guest in self.guests() for owner in guest.details.owners)

    def owner_of(self, path: str) -> Owner | None:
        """Return who had a file, by its real path, that another guest was given."""
        owners = (owner for guest in self.guests() for owner in guest.details.owners)
        return next((owner for owner in owners if owner.path == path), None)

    def owe(self, owners: Iterable[Owner]) -> None:
        """Note files that are to be given back, those apart that a guest has; inside of a commit."""
        used = self.paths_in_use()
        for owner in owners:
            if owner.path not in used and owner.path not in self.owed:
                self._touch_owed(owner)
                self.owed[owner.path] = owner

    def forgive(self, path: str) -> None:
        """Note that a file is not owed any more, or a guest's again; inside of a commit."""
        owner = self.owed.get(path)
        if owner is not None:
            self._touch_owed(owner)
            del self.owed[path]

    def _touch_owed(self, owner: Owner) -> None:
        if self.note_owed is not None and self.keeper is not None:
            self.note_owed(owner)

    def apply(self, change: Callable[[], Any]) -> None:
        """Change records after what has happened already, whether that can be kept or not.

        What cannot be kept is logged; the next start of the daemon finds out for itself.
        """
        try:
            self.commit(change)
        except VirError as error:
            log.error("what happened to a guest cannot be kept: {error}", error=error)
            keeper, self.keeper = self.keeper, None
            try:
                change()
            finally:
                self.keeper = keeper
