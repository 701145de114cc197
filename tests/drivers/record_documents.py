"""Ask a libvirtd what it makes of the documents in ``documents.json``, and write its answers there.

    /usr/bin/python3 -m tests.drivers.record_documents URI

The URI is that of libvirt's own test driver, in the release that remotevirt follows (9.0.0). The file holds,
for each kind of object, pairs of a document and an answer: the document as it is printed afterwards, or an
error as a list of code, domain and text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCUMENTS = Path(__file__).with_name("documents.json")


def answer(define: Callable[[], Any], forget: str) -> str | list[Any]:
    """Return what a document comes to, and forget the object."""
    import libvirt

    try:
        thing = define()
    except libvirt.libvirtError as error:
        return [error.get_error_code(), error.get_error_domain(), error.get_error_message()]
    printed: str = thing.XMLDesc(0)
    getattr(thing, forget)()
    return printed


def main(uri: str) -> None:
    """Record all answers."""
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(uri)
    pool = connection.storagePoolLookupByName("default-pool")
    ways: dict[str, tuple[Callable[[str], Any], str]] = {
        "network": (connection.networkDefineXML, "undefine"),
        "pool": (lambda text: connection.storagePoolDefineXML(text, 0), "undefine"),
        "volume": (lambda text: pool.createXML(text, 0), "delete"),
        "interface": (lambda text: connection.interfaceDefineXML(text, 0), "undefine"),
        "device": (lambda text: connection.nodeDeviceCreateXML(text, 0), "destroy"),
    }
    kinds = json.loads(DOCUMENTS.read_text())
    for kind, pairs in kinds.items():
        define, forget = ways[kind]
        kinds[kind] = [[text, answer(lambda: define(text), forget)] for text, _ in pairs]  # noqa: B023
    DOCUMENTS.write_text(json.dumps(kinds, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
