"""Validation against libvirt's own schemas, for callers that ask for it (``virsh define --validate``).

The schemas come with libvirt and are read from where it installs them; they are no part of remotevirt.
libvirt's words for a document that does not fit are libxml2's, and so are ours.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any, Final

from lxml import etree

from remotevirt.stubs.constants import VIR_FROM_XML
from remotevirt.stubs.errors import InternalError, XmlError, XmlInvalidSchema
from remotevirt.xml.parse import Element

__all__ = ["SCHEMAS", "validate_document"]

SCHEMAS: Final = Path("/usr/share/libvirt/schemas")
"""Where libvirt installs its schemas."""


MAX_VALIDATED: Final = 20_000
"""The most elements of a document that is validated; the time grows with the square of their number, and
these take about a second. libvirt: no bound."""


@functools.cache
def _schema(path: str) -> Any:
    try:
        return etree.RelaxNG(file=path)
    except (OSError, etree.LxmlError):
        raise InternalError(f"Unable to parse RNG {path}", domain=VIR_FROM_XML) from None


def validate_document(element: Element, schema: Path) -> None:
    """Refuse a document that does not fit a schema.

    Raises:
        VirError: XmlInvalidSchema if it does not fit, InternalError if there is no such schema, XmlError if
            the document is too large.
    """
    if sum(1 for _ in itertools.islice(element.iter(), MAX_VALIDATED + 1)) > MAX_VALIDATED:
        text = f"a document of more than {MAX_VALIDATED} elements is not validated"
        raise XmlError(text, domain=VIR_FROM_XML)
    found = _schema(str(schema))
    if not found.validate(element):
        words = "".join(f"{entry.message}\n" for entry in found.error_log)
        raise XmlInvalidSchema(f"Unable to validate doc against {schema}\n{words}", domain=VIR_FROM_XML)
