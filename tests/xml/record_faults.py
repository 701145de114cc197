#!/usr/bin/python3
"""Faults of a domain's document in the order in which libvirt finds them, and how two of them come together.

``faults.json`` has a fault a line: the element that it stands in (none for the domain itself), the XML, and
the error as code, domain and message. Of two faults in one document the earlier line's is reported. Run with
the URI of libvirt's test driver (``/usr/bin/python3 tests/xml/record_faults.py test:///default``; libvirt
9.0.0) this writes the errors anew, and tells of each pair that libvirt reports otherwise.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).with_name("faults.json")
PARENTS = ("devices", "cputune", "features")


def together(*faults: Sequence[Any]) -> str:
    """Return a document that is right but for some faults."""
    inside = {
        name: "".join(xml for parent, xml, *_ in faults if parent == name) for name in ("", "os", *PARENTS)
    }
    memory = "" if "<memory" in inside[""].replace("<memoryB", "") else "<memory>65536</memory>"
    parts = "".join(f"<{name}>{inside[name]}</{name}>" for name in PARENTS if inside[name])
    os = f"<os><type>hvm</type>{inside['os']}</os>"
    return f"<domain type='test'><name>x</name>{memory}{inside['']}{parts}{os}</domain>"


def main(uri: str) -> None:
    """Record all errors and check the order."""
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open(uri)

    def error(*faults: Sequence[Any]) -> list[Any]:
        try:
            connection.defineXML(together(*faults))
        except libvirt.libvirtError as found:
            return [found.get_error_code(), found.get_error_domain(), found.get_error_message()]
        raise SystemExit(f"libvirt takes {together(*faults)}")

    faults = [[parent, xml, error((parent, xml))] for parent, xml, _ in json.loads(FAULTS.read_text())]
    for first, second in itertools.combinations(faults, 2):
        if error(first, second) != first[2]:
            print(f"not in this order: {first[1]} {second[1]}")
    lines = ",\n".join(json.dumps(fault, ensure_ascii=False) for fault in faults)
    FAULTS.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
