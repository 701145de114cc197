"""Domains from the rows that lasted. Definitions are read when somebody looks inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from remotevirt.drivers.domains.definition import Figures
from remotevirt.drivers.domains.table import DomainTable
from remotevirt.store import DomainRow, MomentRow
from remotevirt.xml.checkpoint import parse_checkpoint
from remotevirt.xml.domain import DomainDefaults
from remotevirt.xml.snapshot import parse_snapshot

__all__ = ["load_domains"]

Attempt = Callable[[Any, Callable[[Any], Any]], Any]
"""Returns what a row makes, or None where that fails, which it logs."""


def load_domains(table: DomainTable, rows: dict[Any, list[Any]], attempt: Attempt) -> None:
    """Fill an empty table.

    Args:
        table: the table.
        rows: by kind, in order of position.
        attempt: tries to make something of a row.
    """
    moments: dict[bytes, list[MomentRow]] = {}
    for moment in rows[MomentRow]:
        moments.setdefault(moment.domain, []).append(moment)
    for row in rows[DomainRow]:
        _add_domain(table, row, moments.get(row.uuid, ()), attempt)


def _add_domain(table: DomainTable, row: DomainRow, moments: Sequence[MomentRow], attempt: Attempt) -> None:
    """Take in a domain with its snapshots and checkpoints."""
    figures = Figures(row.name, row.uuid, row.memory, row.current_memory, row.vcpus)
    definition = table.definitions.kept(row.document, row.size, figures)
    record = table.RECORD(definition, persistent=True)
    record.autostart = bool(row.autostart)
    record.managed_save = bool(row.managed_save)
    if moments:
        defaults = table.definitions.DEFAULTS
        found = [(kept, attempt(kept, lambda row: _moment(row, defaults))) for kept in moments]
        read = [(kept, moment) for kept, moment in found if moment is not None]
        for kind, kept_table in (("snapshot", record.snapshots), ("checkpoint", record.checkpoints)):
            kept_table.put_back(
                [(moment, kept.position, kept.rank) for kept, moment in read if kept.kind == kind]
            )
        table.text += sum(kept.size for kept, _ in read)
        record.snapshots.current = row.snapshot if row.snapshot in record.snapshots.by_name else None
        checkpoints = record.checkpoints
        checkpoints.current = row.checkpoint if row.checkpoint in checkpoints.by_name else None
    table.text += row.size
    table.positions = row.position - 1
    table.add(record)


def _moment(row: MomentRow, defaults: DomainDefaults) -> Any:
    """Return the snapshot or checkpoint of a row."""
    moment: Any
    if row.kind == "snapshot":
        moment = parse_snapshot(row.document, defaults=defaults, now=lambda: 0, redefine=True)
    else:
        moment = parse_checkpoint(
            row.document, defaults=defaults, now=lambda: 0, redefine=True, validate=False
        )
    moment.created, moment.parent = row.created, row.parent
    moment.size, moment.guest_size = row.size, row.guest_size
    return moment
