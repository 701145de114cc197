#!/usr/bin/python3
"""Record what libvirt's test driver answers to the documents in ``data``.

Needs libvirt 9.0.0 and its Python binding (``/usr/bin/python3 tests/xml/record.py``), and nothing else,
so that it runs where remotevirt is not installed. For each ``data/NAME.xml`` it writes
``NAME.expected.xml``; in each table ``data/*.json`` it fills in, beside each document or part of one
(``xml``), either what is printed (``prints``) or the error (``error``: code, domain, message). A table
says by its ``frame`` what its documents are parts of. Every document is given to a process of its own,
since some make libvirt crash.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
UUID = "782aa9e4-fb65-42ff-8572-17dda7a76df5"
START = (
    f"<domain type='test'><name>x</name><uuid>{UUID}</uuid><memory>65536</memory><os><type>hvm</type></os>"
)


def framed(frame: str, part: str) -> str:
    """The whole document for a part of one."""
    if frame == "devices":
        return f"{START}<devices>{part}</devices></domain>"
    if frame == "domain":
        return f"{START}{part}</domain>"
    return part


def shown(frame: str, text: str) -> str:
    """The part of a printed domain that a table keeps."""
    if frame != "devices":
        return text
    head, _, rest = text.partition("  <devices>\n")
    # What stands above the devices never changes but for the boot device.
    boot = "" if "<boot dev='hd'/>" in head else "no boot device\n"
    return boot + rest.partition("  </devices>\n")[0]


def _answer(document: str, flags: int, running: bool) -> dict[str, Any]:
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("test:///default")
    try:
        domain = connection.defineXML(document)
    except libvirt.libvirtError as error:
        return {"error": [error.get_error_code(), error.get_error_domain(), error.get_error_message()]}
    if running:
        domain.create()
    return {"prints": domain.XMLDesc(flags)}


def answer(document: str, flags: int = 0, *, running: bool = False) -> dict[str, Any]:
    """What libvirt answers: ``prints`` or ``error``; nothing if it dies of the document."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as stream:
            json.dump(_answer(document, flags, running), stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    answered: dict[str, Any] = json.loads(text) if text else {}
    return answered


def record_table(path: Path) -> None:
    """Fill in one table; documents that are answered differently each time are dropped from it."""
    table = json.loads(path.read_text())
    frame = table["frame"]
    kept = []
    for case in table["cases"]:
        document = framed(frame, case["xml"])
        first = answer(document)
        if not first or first != answer(document):
            print(f"{path.name}: dropped {case['xml'][:70]}", file=sys.stderr)
            continue
        if "prints" in first:
            first["prints"] = shown(frame, first["prints"])
        kept.append({"xml": case["xml"], **first})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in kept)
    path.write_text(f'{{"frame": "{frame}", "cases": [\n{lines}\n]}}\n')


def main() -> None:
    """Record everything."""
    for path in sorted(DATA.glob("*.xml")):
        if not path.name.endswith(".expected.xml"):
            found = answer(path.read_text())
            path.with_name(f"{path.stem}.expected.xml").write_text(found.get("prints") or json.dumps(found))
    for path in sorted(DATA.glob("*.json")):
        record_table(path)


if __name__ == "__main__":
    main()
