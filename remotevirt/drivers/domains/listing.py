"""Listing domains and looking them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.domains.domain import INACTIVE_ID
from remotevirt.drivers.domains.filters import ALL_FILTERS, groups_of, matches
from remotevirt.drivers.domains.table import MAX_CACHED_LISTS, DomainList
from remotevirt.drivers.faults import argument_must, check_count
from remotevirt.stubs.remote import ConnectListAllDomainsRet, NonnullDomain

__all__ = ["MAX_LIST", "ListingCalls"]

MAX_LIST: Final = 16384
"""REMOTE_DOMAIN_LIST_MAX."""


class ListingCalls(DomainCalls):
    """Lists, old and new, and lookups."""

    def connect_num_of_domains(self) -> int:
        """Return how many domains are active."""
        return len(self.world.by_id)

    def connect_list_domains(self, maxids: int) -> Sequence[int]:
        """Return the ids of the active domains, at most ``maxids``."""
        check_count(maxids, MAX_LIST, "maxids", "REMOTE_DOMAIN_LIST_MAX")
        return list(self.world.by_id)[:maxids]

    def connect_num_of_defined_domains(self) -> int:
        """Return how many domains are inactive."""
        return len(self.domains) - len(self.world.by_id)

    def connect_list_defined_domains(self, maxnames: int) -> Sequence[str]:
        """Return the names of the inactive domains, at most ``maxnames``."""
        check_count(maxnames, MAX_LIST, "maxnames", "REMOTE_DOMAIN_LIST_MAX")
        names = [record.name for record in self.domains.values() if record.id == INACTIVE_ID]
        return names[:maxnames]

    def connect_list_all_domains(self, need_results: int, flags: int) -> ConnectListAllDomainsRet:
        """Return the domains that pass a filter, or with ``need_results`` 0 only how many.

        The same object is returned until something changes that a list can show.
        """
        cached = self.world.lists.get(flags)
        if cached is None:
            self.check_flags(flags, ALL_FILTERS, "ConnectListAllDomains")
            refs = self._passing(groups_of(flags))
            cached = DomainList(refs, len(refs))
            if len(self.world.lists) >= MAX_CACHED_LISTS:
                self.world.lists.clear()
            self.world.lists[flags] = cached
        return cached if need_results else ConnectListAllDomainsRet((), cached.ret)

    def _passing(self, groups: tuple[int, ...]) -> tuple[NonnullDomain, ...]:
        """Return references to the domains that pass a filter."""
        records = self.domains.values()
        if not groups:
            return tuple([record.ref for record in records])
        if len(groups) == 1:
            group = groups[0]
            return tuple([record.ref for record in records if record.facts & group])
        return tuple([record.ref for record in records if matches(record.facts, groups)])

    def domain_lookup_by_id(self, id: int) -> NonnullDomain:
        """Return the active domain of an id."""
        record = self.world.by_id.get(id)
        if record is not None:
            return record.ref
        if id < 0:
            function = "virDomainLookupByID"
            raise argument_must(function, "id", "be zero or greater")
        raise self.world.unknown(f"id {id}")

    def domain_lookup_by_uuid(self, uuid: bytes) -> NonnullDomain:
        """Return the domain of a UUID."""
        record = self.domains.get(uuid)
        if record is None:
            raise self.world.unknown(f"uuid '{UUID(bytes=uuid)}'")
        return record.ref

    def domain_lookup_by_name(self, name: str) -> NonnullDomain:
        """Return the domain of a name."""
        return self.world.named(name).ref
