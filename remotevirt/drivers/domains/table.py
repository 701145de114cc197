"""The table of a host's domains, and the only hand that changes it.

::

    DomainRecord  <-- by_uuid (all, in order of definition)
                  <-- by_name (all)
                  <-- by_id   (the active ones)

Every change that a list filter can see goes through a method of :class:`DomainTable`, which ends in
:meth:`DomainTable.changed`: the generation grows and the cached lists are dropped. Between two changes the
same list is handed out again and again; it is a tuple of references, so nobody can spoil it.

Where domains last (:mod:`remotevirt.drivers.journal`), each of these methods begins with
:meth:`DomainTable.touch`, which notes the domain as it is. A call that changes a definition need not say so:
it has found the domain through :meth:`remotevirt.drivers.domains.calls.DomainCalls.record`, which notes it.

Bounds: a table holds at most :data:`MAX_DOMAINS` domains, as many as a list reply can carry, with names of
at most :data:`MAX_NAME` bytes, so that the reply fits a message, and at most :data:`MAX_TEXT` characters of
definitions; more are refused with an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, TypeVar
from uuid import UUID

from remotevirt.drivers.domains import events
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.devices import DeviceEditor
from remotevirt.drivers.domains.domain import INACTIVE_ID, DomainRecord
from remotevirt.drivers.domains.filters import facts_of
from remotevirt.drivers.domains.moments import MomentTable
from remotevirt.drivers.events import EventHub
from remotevirt.errors import VirError
from remotevirt.procedures import Kept
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoDomain, OperationFailed, OperationInvalid
from remotevirt.stubs.remote import ConnectListAllDomainsRet
from remotevirt.xml.moment import Moment

__all__ = ["MAX_CACHED_LISTS", "MAX_DOMAINS", "MAX_ID", "MAX_NAME", "MAX_TEXT", "DomainList", "DomainTable"]

MAX_DOMAINS: Final = 16384
"""Domains in a world; REMOTE_DOMAIN_LIST_MAX, the most that a list reply can carry. libvirt: none."""

MAX_NAME: Final = 1024
"""Bytes in UTF-8 of the name of a domain, snapshot or checkpoint: a list of the most domains is then below
18 MiB. libvirt: none."""

MAX_TEXT: Final = 256 * 1024 * 1024
"""Characters of all definitions of a world together, as they were defined. libvirt: none."""

MOMENT_SIZE: Final = 4096
"""What a snapshot or checkpoint counts for besides its text: a small text makes a large model."""

MAX_ID: Final = 2**31 - 1
"""The largest id that the wire can carry."""

MAX_CACHED_LISTS: Final = 32
"""Filter combinations whose list is kept. There are thousands of them; real clients use a few."""


M = TypeVar("M", bound=Moment)
T = TypeVar("T")


class DomainList(Kept, ConnectListAllDomainsRet):
    """A list whose encoding is kept as long as the list itself."""


class DomainNotes(Protocol):
    """Notes domains before they change."""

    def touch(self, record: DomainRecord) -> None:
        """Note a domain, new or old."""

    def found(self, record: DomainRecord) -> None:
        """Note a domain that a call may change, if it is one that may change something."""

    def touch_moments(self, record: DomainRecord, table: MomentTable[Any]) -> None:
        """Note a domain, and its snapshots or checkpoints."""


class DomainTable:
    """The domains of a host.

    Attributes:
        definitions: how they are read.
        hub: where events go.
        by_uuid, by_name, by_id: the domains.
        generation: grows with every change that a list can show.
        lists: cached lists of the present generation, by filter flags.
        now: the time in nanoseconds since 1970.
        keeper: notes changes of domains that last; None where they do not.
    """

    __slots__ = (
        "by_id",
        "by_name",
        "by_uuid",
        "definitions",
        "generation",
        "hub",
        "keeper",
        "lists",
        "next_id",
        "now",
        "positions",
        "text",
    )

    ERRORS: ClassVar[int] = c.VIR_FROM_DOMAIN
    """Which part of libvirt complains (virErrorDomain)."""

    RECORD: ClassVar[type[DomainRecord]] = DomainRecord
    """What stands for a domain."""

    PREFIX: ClassVar[str] = ""
    """What libvirt's functions of the driver begin with, in texts (``test`` of ``testDomainGetMetadata``)."""

    def __init__(self, definitions: type[Definition], now: Callable[[], int] = time.time_ns) -> None:
        self.definitions = definitions
        self.hub = EventHub()
        self.by_uuid: dict[bytes, DomainRecord] = {}
        self.by_name: dict[str, DomainRecord] = {}
        self.by_id: dict[int, DomainRecord] = {}
        self.generation = 0
        self.lists: dict[int, DomainList] = {}
        self.next_id = 1
        self.now = now
        self.text = 0
        self.positions = 0
        self.keeper: DomainNotes | None = None

    def touch(self, record: DomainRecord) -> None:
        """Note that a domain is about to change."""
        if self.keeper is not None:
            self.keeper.touch(record)

    def changed(self, record: DomainRecord) -> None:
        """Note that a domain, and with it lists, may look different from now on."""
        record.facts = facts_of(record)
        self.generation += 1
        self.lists.clear()

    def assign(self, definition: Definition, *, live: bool) -> tuple[DomainRecord, bool]:
        """Take in a definition: of a new domain, or a newer one of a domain that is there.

        Args:
            definition: its UUID says which domain is meant.
            live: the domain is about to start with it; otherwise it is the persistent definition.

        Returns:
            The record, and whether this definition replaces one of the same kind.

        Raises:
            OperationFailed: name and UUID belong to different domains, or the world is full.
            OperationInvalid: it is to be started, and runs.
            InvalidArg: its name is too long.
        """
        self._check_name(definition.name)
        record = self._find(definition, live=live)
        if record is not None:
            self.touch(record)
        else:
            record = self.RECORD(definition, persistent=False)
            self.touch(record)
            self._make_room(definition, None)
            self.add(record)
            return record, False
        if live:
            self._make_room(definition, None)
            record.config, record.live, replaced = record.live, definition, True
        elif record.active:
            self._make_room(definition, record.config)
            replaced = record.config is not None
            record.config = definition
        else:
            self._make_room(definition, record.live)
            record.live, replaced = definition, True
        record.refresh()
        return record, replaced

    def add(self, record: DomainRecord) -> None:
        """Take in a new domain, whose name and UUID are free."""
        self.touch(record)
        self.positions += 1
        record.position = self.positions
        self.by_uuid[record.uuid] = record
        self.by_name[record.name] = record
        self.changed(record)

    def _find(self, definition: Definition, *, live: bool) -> DomainRecord | None:
        """Return the domain that a definition means, None if it is a new one."""
        record = self.by_uuid.get(definition.uuid)
        if record is not None:
            if record.name != definition.name:
                uuid = UUID(bytes=record.uuid)
                raise OperationFailed(
                    f"domain '{record.name}' is already defined with uuid {uuid}", domain=c.VIR_FROM_DOMAIN
                )
            if live and record.active:
                raise OperationInvalid(f"domain '{record.name}' is already active", domain=c.VIR_FROM_DOMAIN)
            return record
        named = self.by_name.get(definition.name)
        if named is not None:
            uuid = UUID(bytes=named.uuid)
            raise OperationFailed(
                f"domain '{named.name}' already exists with uuid {uuid}", domain=c.VIR_FROM_DOMAIN
            )
        return None

    def _make_room(self, definition: Definition, instead: Definition | None) -> None:
        """Count the text of a definition that comes in, and of the one that goes."""
        if instead is None and len(self.by_uuid) >= MAX_DOMAINS and definition.uuid not in self.by_uuid:
            raise OperationFailed(f"a host holds at most {MAX_DOMAINS} domains", domain=self.ERRORS)
        self._grow(definition.size - (instead.size if instead else 0))

    def _grow(self, size: int) -> None:
        """Count characters that come in, or with a negative number go."""
        self.check_room(size)
        self.text += size

    def check_room(self, size: int) -> None:
        """Check that there is room for so many characters.

        Raises:
            OperationFailed: there is not.
        """
        if size > 0 and self.text + size > MAX_TEXT:
            raise OperationFailed(
                f"the definitions of a host may hold {MAX_TEXT} characters", domain=self.ERRORS
            )

    def remove(self, record: DomainRecord) -> None:
        """Forget a domain."""
        self.touch(record)
        del self.by_uuid[record.uuid]
        del self.by_name[record.name]
        self.by_id.pop(record.id, None)
        self.text -= record.live.size + (record.config.size if record.config else 0)
        self.text -= sum(moment.size for table in (record.snapshots, record.checkpoints) for moment in table)
        self.changed(record)

    def replace(self, record: DomainRecord, definition: Definition) -> None:
        """Give an inactive domain another definition, whatever that says of name and UUID.

        Raises:
            OperationFailed: there is no room.
        """
        self.touch(record)
        self._grow(definition.size - record.live.size)
        definition.name = record.name
        record.live = definition
        record.refresh()
        self.changed(record)

    def change_devices(
        self,
        record: DomainRecord,
        *,
        live: Callable[[DeviceEditor], T] | None,
        config: Callable[[DeviceEditor], T] | None,
    ) -> tuple[T | None, T | None]:
        """Change devices of a domain in one of its definitions, or in both; all of it or nothing.

        Args:
            record: the domain.
            live: what to do to the running domain; None to leave it as it is.
            config: what to do to the persistent definition.

        Returns:
            What the two returned.

        Raises:
            VirError: from them; or the parts contradict each other now, or there is no room.
        """
        self.touch(record)
        before = record.persistent_definition
        wanted, kept = before.with_devices(config) if config is not None else (None, None)
        running, plugged = record.live.with_devices(live) if live is not None else (None, None)
        grown = (wanted.size - before.size) if wanted is not None else 0
        self._grow(grown + (running.size - record.live.size if running is not None else 0))
        if running is not None:
            record.live = running
        if wanted is not None and record.config is not None:
            record.config = wanted
        elif wanted is not None:
            record.live = wanted
        self.redefined(record)
        return plugged, kept

    def keep_moment(self, record: DomainRecord, table: MomentTable[M], moment: M, *, current: bool) -> None:
        """Keep a snapshot or checkpoint of a domain; one of its name is replaced.

        Args:
            record: the domain.
            table: where its moments of that kind are.
            moment: the new one; its size is yet without what every moment counts for.
            current: the domain's state descends from it.

        Raises:
            OperationFailed: there is no room.
            InvalidArg: its name is too long.
        """
        self._check_name(moment.name, moment.KIND)
        self._touch_moments(record, table)
        old = table.by_name.get(moment.name)
        moment.size += MOMENT_SIZE
        self._grow(moment.size - (old.size if old else 0))
        try:
            table.add(moment)
        except OperationFailed:
            self.text -= moment.size
            raise
        if current:
            table.current = moment.name
        self.changed(record)

    def drop_moment(
        self, record: DomainRecord, table: MomentTable[M], moment: M, *, children: bool, itself: bool = True
    ) -> None:
        """Forget a snapshot or checkpoint; if the current one goes, its parent becomes it.

        Args:
            record: the domain.
            table: where its moments of that kind are.
            moment: which one is meant.
            children: forget all that comes from it; otherwise its children become those of its parent.
            itself: forget the moment itself.
        """
        self._touch_moments(record, table)
        names = table.descendants(moment.name)[::-1] if children else []
        if itself:
            names.append(moment.name)
        for name in names:
            gone = table.by_name[name]
            table.remove(name)
            self.text -= gone.size
            if table.current == name:
                table.current = gone.parent
        self.changed(record)

    def set_current(self, record: DomainRecord, table: MomentTable[M], name: str | None) -> None:
        """Say which snapshot or checkpoint a domain's state descends from."""
        self._touch_moments(record, table)
        table.current = name
        self.changed(record)

    def _touch_moments(self, record: DomainRecord, table: MomentTable[M]) -> None:
        """Note that the snapshots or checkpoints of a domain are about to change."""
        if self.keeper is not None:
            self.keeper.touch_moments(record, table)

    def rename(self, record: DomainRecord, name: str) -> None:
        """Give an inactive domain a free name.

        Raises:
            InvalidArg: it is too long.
        """
        self._check_name(name)
        self.touch(record)
        del self.by_name[record.name]
        record.name = record.live.name = name
        if record.config:
            record.config.name = name
        self.by_name[name] = record
        record.make_ref()
        self.changed(record)

    def start(self, record: DomainRecord, reason: int, state: int = c.VIR_DOMAIN_RUNNING) -> None:
        """Make a domain active, with the next free id."""
        self.touch(record)
        record.id = self._take_id()
        self.by_id[record.id] = record
        if record.persistent and record.config is None:
            record.config = record.live.copy()
            self.text += record.config.size
        record.managed_save = False
        record.make_ref()
        self.set_state(record, state, reason)

    def _take_id(self) -> int:
        """Return the next id; after the last one they begin anew, leaving out those in use."""
        number = self.next_id
        while number in self.by_id:
            number = number % MAX_ID + 1
        self.next_id = number % MAX_ID + 1
        return number

    def stop(self, record: DomainRecord, reason: int) -> None:
        """Make a domain inactive; the persistent definition, where there is one, takes over."""
        self.touch(record)
        self.by_id.pop(record.id, None)
        record.id = INACTIVE_ID
        if record.config is not None:
            self.text -= record.live.size
            record.live, record.config = record.config, None
            record.refresh()
        record.make_ref()
        self.set_state(record, c.VIR_DOMAIN_SHUTOFF, reason)

    def stop_and_tell(self, record: DomainRecord, reason: int, detail: int, *, keep: bool = False) -> None:
        """Stop a domain and publish it; a transient one is gone afterwards, unless ``keep``.

        The event of a domain that never was persistent still carries the id it had.
        """
        before = record.ref if record.config is None else None
        self.stop(record, reason)
        self.hub.publish(events.lifecycle(before or record.ref, c.VIR_DOMAIN_EVENT_STOPPED, detail))
        if not record.persistent and not keep:
            self.remove(record)

    def redefined(self, record: DomainRecord) -> None:
        """Note that a call changed a definition of a domain, in a way that no list filter can see."""
        record.refresh()

    def set_state(self, record: DomainRecord, state: int, reason: int) -> None:
        """Change the state of a domain, and nothing else."""
        self.touch(record)
        record.state = state
        record.reason = reason
        self.changed(record)

    def set_persistent(self, record: DomainRecord, persistent: bool) -> None:
        """Make a domain persistent, or transient."""
        self.touch(record)
        record.persistent = persistent
        self.changed(record)

    def set_autostart(self, record: DomainRecord, autostart: bool) -> None:
        """Set whether a domain would start with its host."""
        self.touch(record)
        record.autostart = autostart
        self.changed(record)

    def set_managed_save(self, record: DomainRecord, saved: bool) -> None:
        """Set whether a domain has a saved image."""
        self.touch(record)
        record.managed_save = saved
        self.changed(record)

    def publish(self, record: DomainRecord, event: int, detail: int) -> None:
        """Publish a lifecycle event of a domain as it is now."""
        self.hub.publish(events.lifecycle(record.ref, event, detail))

    def unknown(self, what: str) -> VirError:
        """Return the error for a domain that was looked for by ``what``, of which nothing more is said."""
        return NoDomain(domain=self.ERRORS)

    def named(self, name: str) -> DomainRecord:
        """Return the domain of a name.

        Raises:
            NoDomain: there is none.
        """
        record = self.by_name.get(name)
        if record is None:
            raise self.unknown(f"name '{name}'")
        return record

    def _check_name(self, name: str, kind: str = "domain") -> None:
        """Refuse names that make lists too long to be sent.

        Raises:
            InvalidArg: it is one; ``kind`` says of what.
        """
        if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME:
            raise InvalidArg(f"the name of a {kind} may have {MAX_NAME} bytes", domain=self.ERRORS)
