"""The secrets of a host, and how they last.

A secret is found by its UUID and by its usage, each of which belongs to one secret at most. Those that are
ephemeral are in the table only; the others have a row in a store as well, which the journal writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from remotevirt.drivers.events import EventHub
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.keeping import TableKeeper
from remotevirt.drivers.tables import KeyedTable
from remotevirt.errors import VirError
from remotevirt.procedures import Kept
from remotevirt.store import SecretRow, Store
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.stubs.remote import NonnullSecret
from remotevirt.xml.secret import SecretModel, format_secret, parse_secret
from remotevirt.xml.values import format_uuid

__all__ = ["SecretRecord", "SecretTable", "open_table"]

NOTHING: Final = "(null)"
"""What libvirt's texts show for a usage that is not there."""

log = Logger()


class SecretRef(Kept, NonnullSecret):
    """A reference whose encoding is kept."""


class SecretRecord:
    """A secret.

    Attributes:
        name, uuid: what it is known by; the name is the UUID's text.
        ref: for clients.
        model: its definition, of ``size`` characters.
        sealed: its value, encrypted; None as long as it has none.
        position: which one it is.
    """

    __slots__ = ("model", "name", "position", "ref", "sealed", "size", "uuid")

    def __init__(self, model: SecretModel, size: int, sealed: bytes | None = None) -> None:
        self.uuid = model.uuid
        self.name = format_uuid(model.uuid)
        self.size = size
        self.sealed = sealed
        self.position = 0
        self.model: SecretModel
        self.ref: SecretRef
        self.define(model)

    def define(self, model: SecretModel) -> None:
        """Take over a definition."""
        self.model = model
        self.ref = SecretRef(model.uuid, model.usage_type, model.usage_id or "")


class SecretTable(KeyedTable[SecretRecord]):
    """The secrets of a host.

    Attributes:
        by_usage: those that have one, by type and name of what they are for.
    """

    __slots__ = ("by_usage",)

    def __init__(self) -> None:
        super().__init__("secret", c.VIR_FROM_SECRET)
        self.by_usage: dict[tuple[int, str], SecretRecord] = {}

    def index(self, thing: SecretRecord) -> None:
        """Let a secret be found."""
        super().index(thing)
        if thing.model.usage_id is not None:
            self.by_usage[thing.model.usage_type, thing.model.usage_id] = thing

    def unindex(self, thing: SecretRecord) -> None:
        """Let a secret be found no more."""
        super().unindex(thing)
        if thing.model.usage_id is not None:
            del self.by_usage[thing.model.usage_type, thing.model.usage_id]

    def remember(self) -> Callable[[], None]:
        """Return what makes the table's own numbers as they are now, and usages those of the secrets."""
        restore = super().remember()

        def restore_all() -> None:
            restore()
            self.by_usage.clear()
            for record in self:
                if record.model.usage_id is not None:
                    self.by_usage[record.model.usage_type, record.model.usage_id] = record

        return restore_all

    def assign(self, model: SecretModel, size: int) -> SecretRecord:
        """Take in a definition: of a new secret, or a newer one.

        The usage's name cannot change, and a private secret stays private. As in libvirt the usage's type
        can change; that it then may be the one of another secret is refused here.

        Raises:
            InternalError: a rule is broken.
            OperationFailed: there is no room.
        """
        record = self.by_uuid.get(model.uuid)
        if record is not None:
            if record.model.usage_id != model.usage_id:
                text = f"is already defined for use with {record.model.usage_id or NOTHING}"
                raise InternalError(f"a secret with UUID {record.name} {text}", domain=self.errors)
            if record.model.private and not model.private:
                text = "cannot change private flag on existing secret"
                raise InternalError(text, domain=self.errors)
        other = self.by_usage.get((model.usage_type, model.usage_id)) if model.usage_id is not None else None
        if other is not None and other is not record:
            text = f"already defined for use with {model.usage_id}"
            raise InternalError(f"a secret with UUID {other.name} {text}", domain=self.errors)
        if record is None:
            record = SecretRecord(model, size)
            self.add(record)
            return record
        self.touch(record)
        self.grow(size - record.size)
        self.by_usage.pop((record.model.usage_type, record.model.usage_id or ""), None)
        record.size = size
        record.define(model)
        if model.usage_id is not None:
            self.by_usage[model.usage_type, model.usage_id] = record
        self.changed()
        return record


class SecretKeeper(TableKeeper):
    """Keeps secrets that are not ephemeral."""

    ROW = SecretRow

    def key(self, thing: SecretRecord) -> tuple[Any, tuple[Any, ...]]:
        """Return kind and key of a secret's row."""
        return SecretRow, (thing.uuid,)

    def essence(self, thing: SecretRecord) -> tuple[Any, ...] | None:
        """Return what lasts of a secret."""
        if thing.model.ephemeral or not self.is_there(thing):
            return None
        return thing.model, thing.sealed

    def row(self, thing: SecretRecord) -> SecretRow:
        """Return a secret's row."""
        model = thing.model
        return SecretRow(
            thing.uuid,
            thing.position,
            model.usage_type,
            model.usage_id,
            format_secret(model),
            thing.size,
            thing.sealed,
        )


def open_table(store: Store, hub: EventHub) -> tuple[SecretTable, Journal]:
    """Return the secrets in a store, and the journal that calls on them go through.

    A secret that cannot be read is left where it is, and the log says so.
    """
    table = SecretTable()
    for row in store.rows.get(SecretRow, ()):
        try:
            record = SecretRecord(parse_secret(row.document), row.size, row.value)
            table.positions = row.position - 1
            table.add(record)
        except VirError as error:
            text = "{path}: secret {uuid} is not served, and left where it is: {error}"
            log.error(text, path=store.path, uuid=format_uuid(row.uuid), error=error)
    store.rows.pop(SecretRow, None)
    journal = Journal(store, hub, c.VIR_FROM_SECRET)
    table.keeper = SecretKeeper(table, journal)
    return table, journal
