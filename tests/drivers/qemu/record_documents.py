"""Ask a libvirtd what its QEMU driver makes of the documents in ``documents.json``, and write that there.

    /usr/bin/python3 -m tests.drivers.qemu.record_documents URI

The URI is that of a libvirtd of the release that remotevirt follows (9.0.0), with a QEMU 7.2 that may use
KVM, without swtpm, and with ``security_driver = "none"``. Domains are defined and forgotten, not started.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCUMENTS = Path(__file__).with_name("documents.json")


def main(uri: str) -> None:
    """Record all answers."""
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(uri)

    def answer(text: str) -> str | list[Any]:
        try:
            domain = connection.defineXML(text)
        except libvirt.libvirtError as error:
            return [error.get_error_code(), error.get_error_domain(), error.get_error_message()]
        printed: str = domain.XMLDesc(0)
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
        return printed

    recorded = json.loads(DOCUMENTS.read_text())
    DOCUMENTS.write_text(
        json.dumps([[about, text, answer(text)] for about, text, _ in recorded], indent=0) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
