"""What lasts of the QEMU driver: the domains, and which of them run, in processes that outlive the daemon."""

from __future__ import annotations

import json
from typing import Any

import attrs

from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.domains.keeper import DomainKeeper
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.qemu.guest import Owner
from remotevirt.drivers.qemu.record import QemuRecord, RunStatus
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.store import GuestRow, OwnerRow
from remotevirt.stubs import constants as c

__all__ = ["QemuKeeper"]


class QemuKeeper(DomainKeeper):
    """Keeps domains, and with each of them that it runs."""

    def __init__(self, world: QemuWorld, journal: Journal) -> None:
        super().__init__(world, journal)
        self.guests = GuestKeeper(world)
        self.owners = OwnerKeeper(world)
        world.note_owed = self.touch_owed

    def touch(self, record: DomainRecord) -> None:
        """Note a domain that is about to change, or to come."""
        super().touch(record)
        assert isinstance(record, QemuRecord)
        status = record.status
        if not self.journal.knows(status):
            self.journal.note(self.guests, status, self.guests.essence(status), _nothing)

    def touch_owed(self, owner: Owner) -> None:
        """Note a file that is about to be owed to somebody, or not any more."""
        if not self.journal.knows(owner):
            owed = self.owners.world.owed
            before = dict(owed)

            def undo() -> None:
                owed.clear()
                owed.update(before)

            self.journal.note(self.owners, owner, self.owners.essence(owner), undo)


class OwnerKeeper:
    """Keeps which files are to be given back."""

    def __init__(self, world: QemuWorld) -> None:
        self.world = world

    def key(self, owner: Owner) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of the row."""
        return OwnerRow, (owner.path,)

    def essence(self, owner: Owner) -> tuple[Any, ...] | None:
        """Return what lasts; None if nothing is owed."""
        return (owner.uid, owner.gid) if self.world.owed.get(owner.path) is owner else None

    def row(self, owner: Owner) -> OwnerRow:
        """Return the row."""
        return OwnerRow(owner.path, 0, owner.uid, owner.gid)

    def parts(self, owner: Owner) -> list[Any]:
        """Return nothing: an owner owns no rows."""
        return []


class GuestKeeper:
    """Keeps that a domain runs: the row of its QEMU."""

    def __init__(self, world: QemuWorld) -> None:
        self.world = world

    def key(self, status: RunStatus) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of the row."""
        return GuestRow, (status.record.uuid,)

    def essence(self, status: RunStatus) -> tuple[Any, ...] | None:
        """Return what lasts of a guest; None if there is no QEMU."""
        record = status.record
        guest = record.guest
        if guest is None or not record.active or self.world.by_uuid.get(record.uuid) is not record:
            return None
        return (
            record.id,
            record.name,
            record.state,
            record.reason,
            record.persistent,
            record.live.stamp,
            guest.stamp,
            None if guest.process is None else guest.process.pid,
        )

    def row(self, status: RunStatus) -> GuestRow:
        """Return the row."""
        record = status.record
        guest = record.guest
        assert guest is not None
        process = guest.process
        identity: dict[str, Any] = {}
        if process is not None:
            identity = {"pid": process.pid, "start_time": process.start_time, "boot": process.boot}
        return GuestRow(
            record.uuid,
            record.position,
            record.name,
            record.live.format(c.VIR_DOMAIN_XML_SECURE, record.id),
            record.live.size,
            record.id,
            record.state,
            record.reason,
            json.dumps(identity),
            json.dumps(attrs.asdict(guest.details)),
        )

    def parts(self, status: RunStatus) -> list[Any]:
        """Return nothing: a guest owns no rows."""
        return []


def _nothing() -> None:
    """Undo nothing: whether QEMU runs is not a matter of memory."""
