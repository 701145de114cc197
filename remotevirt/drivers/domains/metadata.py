"""Titles, descriptions, and elements of strangers' XML that are kept with a domain."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import IMPACT, DomainCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.events import metadata_change
from remotevirt.drivers.faults import argument_error, exclusive_flags
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoDomainMetadata
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["MAX_METADATA", "MetadataCalls"]

MAX_METADATA: Final = 1024 * 1024
"""Characters that title, description and elements of one definition may have together; with the rest of
the definition they must fit the 4 MiB of a string on the wire even if every one is escaped. libvirt: none,
until the document is too long to be sent."""

DESCRIPTION: Final[int] = c.VIR_DOMAIN_METADATA_DESCRIPTION
TITLE: Final[int] = c.VIR_DOMAIN_METADATA_TITLE
ELEMENT: Final[int] = c.VIR_DOMAIN_METADATA_ELEMENT


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
        if type in (TITLE, DESCRIPTION):
            if uri is not None:
                raise argument_error(function, "uri", f"uri in {function} must be NULL")
        elif type == ELEMENT and uri is None:
            raise argument_error(function, "uri", f"uri in {function} must not be NULL")
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
        self._check_metadata(type, metadata, key, uri)
        self.check_flags(flags, IMPACT, "DomainSetMetadata")
        record = self.record(dom)
        definitions = [found for found in self.definitions(record, flags) if found]
        if type > ELEMENT:
            raise InvalidArg(f"unknown metadata type '{type}'", domain=c.VIR_FROM_DOMAIN)
        for definition in definitions:
            _change(definition, type, metadata, key, uri)
        self.world.hub.publish(metadata_change(record.ref, type, uri))

    @staticmethod
    def _check_metadata(type: int, metadata: str | None, key: str | None, uri: str | None) -> None:
        """Check the arguments as the public API does."""
        function = "virDomainSetMetadata"
        if type == TITLE and metadata is not None and "\n" in metadata:
            raise argument_error(function, "metadata", "metadata title can't contain newlines")
        if type in (TITLE, DESCRIPTION):
            for name, value in (("uri", uri), ("key", key)):
                if value is not None:
                    raise argument_error(function, name, f"{name} in {function} must be NULL")
        elif type == ELEMENT:
            if uri is None:
                raise argument_error(function, "uri", f"uri in {function} must not be NULL")
            if metadata is not None and key is None:
                raise argument_error(function, "key", f"key in {function} must not be NULL")


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
