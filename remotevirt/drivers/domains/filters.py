"""The filters of ``connect_list_all_domains`` and of the bulk statistics.

The flags come in groups. Within a group they are alternatives, between groups all must hold; a group
without any flag, or with all of them, lets everything through. So a filter compiles to a tuple of masks,
and a domain to the flags that are true of it, which are kept in its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from remotevirt.stubs import constants as c

if TYPE_CHECKING:
    from remotevirt.drivers.domains.domain import DomainRecord

__all__ = ["ALL_FILTERS", "GROUPS", "facts_of", "groups_of", "matches"]

GROUPS: Final[tuple[int, ...]] = (
    c.VIR_CONNECT_LIST_DOMAINS_ACTIVE | c.VIR_CONNECT_LIST_DOMAINS_INACTIVE,
    c.VIR_CONNECT_LIST_DOMAINS_PERSISTENT | c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT,
    c.VIR_CONNECT_LIST_DOMAINS_RUNNING
    | c.VIR_CONNECT_LIST_DOMAINS_PAUSED
    | c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF
    | c.VIR_CONNECT_LIST_DOMAINS_OTHER,
    c.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE | c.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE,
    c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART | c.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART,
    c.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT | c.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT,
    c.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT | c.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT,
)
"""Flags that exclude one another, group by group."""

ALL_FILTERS: Final[int] = sum(GROUPS)
"""Every filter flag."""

STATES: Final[dict[int, int]] = {
    c.VIR_DOMAIN_RUNNING: c.VIR_CONNECT_LIST_DOMAINS_RUNNING,
    c.VIR_DOMAIN_PAUSED: c.VIR_CONNECT_LIST_DOMAINS_PAUSED,
    c.VIR_DOMAIN_SHUTOFF: c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF,
}
"""The flags of states that have one of their own; all others are OTHER."""


def groups_of(flags: int, groups: tuple[int, ...] = GROUPS) -> tuple[int, ...]:
    """Return the masks of a filter, one for each group that it narrows; ``groups`` are those of its kind."""
    return tuple(flags & group for group in groups if 0 != flags & group != group)


def facts_of(record: DomainRecord) -> int:
    """Return the flags that are true of a domain, one of each group."""
    return (
        (c.VIR_CONNECT_LIST_DOMAINS_ACTIVE if record.active else c.VIR_CONNECT_LIST_DOMAINS_INACTIVE)
        | (
            c.VIR_CONNECT_LIST_DOMAINS_PERSISTENT
            if record.persistent
            else c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT
        )
        | STATES.get(record.state, c.VIR_CONNECT_LIST_DOMAINS_OTHER)
        | (
            c.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
            if record.managed_save
            else c.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE
        )
        | (
            c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART
            if record.autostart
            else c.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART
        )
        | (
            c.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT
            if record.snapshots
            else c.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT
        )
        | (
            c.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT
            if record.checkpoints
            else c.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT
        )
    )


def matches(facts: int, groups: tuple[int, ...]) -> bool:
    """Return whether what :func:`facts_of` found passes a filter made by :func:`groups_of`."""
    return all(facts & group for group in groups)
