"""What calls about metadata take, those of domains as those of networks: checked as the public API does."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.faults import argument_error, argument_must
from remotevirt.stubs import constants as c

__all__ = ["DESCRIPTION", "ELEMENT", "MAX_METADATA", "TITLE", "check_asked", "check_changed"]

MAX_METADATA: Final = 1024 * 1024
"""Characters that title, description and elements of one definition may have together; with the rest of
the definition they must fit the 4 MiB of a string on the wire even if every one is escaped. libvirt: none,
until the document is too long to be sent."""

DESCRIPTION: Final[int] = c.VIR_DOMAIN_METADATA_DESCRIPTION
TITLE: Final[int] = c.VIR_DOMAIN_METADATA_TITLE
ELEMENT: Final[int] = c.VIR_DOMAIN_METADATA_ELEMENT
"""The kinds of metadata; virNetworkMetadataType has the same numbers."""


def check_asked(function: str, type: int, uri: str | None, errors: int = c.VIR_FROM_DOMAIN) -> None:
    """Check which metadata a call asks for.

    Args:
        function: the name in libvirt's texts.
        type: virDomainMetadataType; unknown ones are the driver's to refuse.
        uri: namespace of the element.
        errors: which part of libvirt complains (virErrorDomain).

    Raises:
        InvalidArg: an element without a namespace, or something else with one.
    """
    if type in (TITLE, DESCRIPTION):
        if uri is not None:
            raise argument_must(function, "uri", "be NULL", errors)
    elif type == ELEMENT and uri is None:
        raise argument_must(function, "uri", "not be NULL", errors)


def check_changed(
    function: str,
    type: int,
    metadata: str | None,
    key: str | None,
    uri: str | None,
    errors: int = c.VIR_FROM_DOMAIN,
) -> None:
    """Check how a call changes metadata.

    Args:
        function, type, uri, errors: see :func:`check_asked`.
        metadata: the text, None to remove what is there.
        key: prefix of the element's namespace.

    Raises:
        InvalidArg: a title has several lines; an element has no namespace or prefix, or something else has.
    """
    if type == TITLE and metadata is not None and "\n" in metadata:
        raise argument_error(function, "metadata", "metadata title can't contain newlines", errors)
    check_asked(function, type, uri, errors)
    if type in (TITLE, DESCRIPTION):
        if key is not None:
            raise argument_must(function, "key", "be NULL", errors)
    elif type == ELEMENT and metadata is not None and key is None:
        raise argument_must(function, "key", "not be NULL", errors)
