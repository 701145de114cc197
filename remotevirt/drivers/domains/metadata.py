"""Titles, descriptions, and elements of strangers' XML that are kept with a domain."""

from __future__ import annotations

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.events import metadata_change
from remotevirt.drivers.faults import exclusive_flags
from remotevirt.drivers.metadata import DESCRIPTION, ELEMENT, MAX_METADATA, TITLE, check_asked, check_changed
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoDomainMetadata
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["MetadataCalls"]


class MetadataCalls(DomainCalls):
    """Reading and changing metadata."""

    def domain_get_metadata(self, dom: NonnullDomain, type: int, uri: str | None, flags: int) -> str:
        """Return a title, a description, or the element of a namespace.

        Raises:
            NoDomainMetadata: there is none.
        """
        function = "virDomainGetMetadata"
        if flags & IMPACT == IMPACT:
            raise exclusive_flags(function)
        check_asked(function, type, uri)
        self.check_flags(flags, IMPACT, "DomainGetMetadata")
        definition = self.one_definition(self.record(dom), flags)
        if type > ELEMENT:
            raise InvalidArg(f"unknown metadata type '{type}'", domain=c.VIR_FROM_DOMAIN)
        found = _current(definition, type, uri)
        if not found:
            text = "Requested metadata element is not present"
            raise NoDomainMetadata(text, domain=c.VIR_FROM_DOMAIN)
        return found

    def domain_set_metadata(
        self,
        dom: NonnullDomain,
        type: int,
        metadata: str | None,
        key: str | None,
        uri: str | None,
        flags: int,
    ) -> None:
        """Change, or with ``metadata`` None remove, a title, a description or an element.

        Args:
            dom: the domain.
            type: of virDomainMetadataType.
            metadata: the text; for an element, XML.
            key: prefix of the element's namespace.
            uri: the element's namespace.
            flags: virDomainModificationImpact; both definitions at once are possible.
        """
        check_changed("virDomainSetMetadata", type, metadata, key, uri)
        self.check_flags(flags, IMPACT, "DomainSetMetadata")
        record = self.record(dom)
        definitions = [found for found in self.definitions(record, flags) if found]
        if type > ELEMENT:
            raise InvalidArg(f"unknown metadata type '{type}'", domain=c.VIR_FROM_DOMAIN)
        for definition in definitions:
            _change(definition, type, metadata, key, uri)
        self.world.hub.publish(metadata_change(record.ref, type, uri))


def _change(
    definition: Definition, type: int, metadata: str | None, key: str | None, uri: str | None
) -> None:
    """Change one definition."""
    if metadata is not None:
        replaced = _current(definition, type, uri) or ""
        added = len(metadata) + len(uri or "") + len(key or "")
        if definition.metadata_size() - len(replaced) + added > MAX_METADATA:
            text = f"the metadata of a domain may hold {MAX_METADATA} characters"
            raise InvalidArg(text, domain=definition.ERRORS)
    if type == TITLE:
        definition.title = metadata or None
    elif type == DESCRIPTION:
        definition.description = metadata or None
    elif type == ELEMENT:
        definition.set_metadata(uri or "", key or "", metadata)


def _current(definition: Definition, type: int, uri: str | None) -> str | None:
    """Return what a definition has of one kind of metadata."""
    if type == ELEMENT:
        return definition.metadata(uri or "")
    if type == DESCRIPTION:
        return definition.description
    return definition.title if type == TITLE else None  # libvirt has nothing of the types below the first
