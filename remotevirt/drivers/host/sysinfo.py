"""What the firmware says of the host (SMBIOS), as libvirt's ``<sysinfo type='smbios'>``.

dmidecode knows everything, but only for root. Who is not root, or does not have it, gets what Linux shows to
everybody in /sys/class/dmi/id.

::

    BIOS Information
    \tVendor: LENOVO
    \tVersion: G4ETA1WW (2.61 )
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

from remotevirt.drivers.host.files import Files
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["format_decoded", "read_sysinfo"]

DECODER_SECONDS: Final = 10
"""How long dmidecode may take; it reads one table."""

DECODED_MAXIMUM: Final = 1024 * 1024
"""Characters of its output that are looked at: a table is 64 KiB, and its text some times that."""

TYPES: Final = "0,1,2,3,4,11,17"
"""Which structures libvirt asks for."""

_COMMON: Final = (("manufacturer", "Manufacturer"), ("version", "Version"), ("serial", "Serial Number"))

SECTIONS: Final[dict[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "BIOS Information": (
        "bios",
        (
            ("vendor", "Vendor"),
            ("version", "Version"),
            ("date", "Release Date"),
            ("release", "BIOS Revision"),
        ),
    ),
    "System Information": (
        "system",
        (
            ("manufacturer", "Manufacturer"),
            ("product", "Product Name"),
            *_COMMON[1:],
            ("uuid", "UUID"),
            ("sku", "SKU Number"),
            ("family", "Family"),
        ),
    ),
    "Base Board Information": (
        "baseBoard",
        (
            ("manufacturer", "Manufacturer"),
            ("product", "Product Name"),
            *_COMMON[1:],
            ("asset", "Asset Tag"),
            ("location", "Location In Chassis"),
        ),
    ),
    "Chassis Information": ("chassis", (*_COMMON, ("asset", "Asset Tag"), ("sku", "SKU Number"))),
    "Processor Information": (
        "processor",
        (
            ("socket_destination", "Socket Designation"),
            ("type", "Type"),
            ("family", "Family"),
            ("manufacturer", "Manufacturer"),
            ("signature", "Signature"),
            ("version", "Version"),
            ("external_clock", "External Clock"),
            ("max_speed", "Max Speed"),
            ("status", "Status"),
            ("serial_number", "Serial Number"),
            ("part_number", "Part Number"),
        ),
    ),
    "Memory Device": (
        "memory_device",
        (
            ("size", "Size"),
            ("form_factor", "Form Factor"),
            ("locator", "Locator"),
            ("bank_locator", "Bank Locator"),
            ("type", "Type"),
            ("type_detail", "Type Detail"),
            ("speed", "Speed"),
            ("manufacturer", "Manufacturer"),
            ("serial_number", "Serial Number"),
            ("part_number", "Part Number"),
        ),
    ),
}
"""dmidecode's title of a structure -> libvirt's element, and the name and dmidecode's label of each entry."""

ONCE: Final = {"bios", "system", "chassis"}
"""Structures of which the first counts."""

DMI_FILES: Final[dict[str, dict[str, str]]] = {
    "BIOS Information": {
        "Vendor": "bios_vendor",
        "Version": "bios_version",
        "Release Date": "bios_date",
        "BIOS Revision": "bios_release",
    },
    "System Information": {
        "Manufacturer": "sys_vendor",
        "Product Name": "product_name",
        "Version": "product_version",
        "Serial Number": "product_serial",
        "UUID": "product_uuid",
        "SKU Number": "product_sku",
        "Family": "product_family",
    },
    "Base Board Information": {
        "Manufacturer": "board_vendor",
        "Product Name": "board_name",
        "Version": "board_version",
        "Serial Number": "board_serial",
        "Asset Tag": "board_asset_tag",
    },
    "Chassis Information": {
        "Manufacturer": "chassis_vendor",
        "Version": "chassis_version",
        "Serial Number": "chassis_serial",
        "Asset Tag": "chassis_asset_tag",
    },
}
"""The same in /sys/class/dmi/id, as far as it is there."""

Record = tuple[str, dict[str, str]]
"""A structure: its title, and values by label."""


def read_sysinfo(files: Files, arch: str) -> str | None:
    """Return the document; None if the host has no SMBIOS that this process can read."""
    if arch not in {"x86_64", "i686", "aarch64"}:
        return None
    decoded = _decode() if files.is_live else None
    records = list(_records(decoded)) if decoded else []
    return _format(records or _read_files(files))


def format_decoded(text: str) -> str | None:
    """Return the document of what dmidecode printed; None if there is nothing in it."""
    return _format(list(_records(text)))


def _decode() -> str | None:
    """Return what dmidecode says; None if it says nothing."""
    program = shutil.which("dmidecode", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-q", "-t", TYPES],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DECODER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout[:DECODED_MAXIMUM].decode("utf-8", "replace")


def _records(text: str) -> Iterator[Record]:
    """Take dmidecode's output apart."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line[0].isspace():
            values = {}
            yield line.strip(), values
        elif line.startswith("\t") and not line.startswith("\t\t"):
            label, colon, value = line[1:].partition(": ")
            if colon:
                values.setdefault(label, value.rstrip())


def _read_files(files: Files) -> list[Record]:
    """Read what Linux shows of the structures."""
    records = []
    for title, names in DMI_FILES.items():
        found = {label: files.read(f"/sys/class/dmi/id/{name}", 4096) for label, name in names.items()}
        records.append((title, {label: text for label, text in found.items() if text}))
    return records


def _format(records: list[Record]) -> str | None:
    root = Tag("sysinfo").set("type", "smbios")
    for title, (name, entries) in SECTIONS.items():
        of_kind = [values for found, values in records if found == title]
        for values in of_kind[:1] if name in ONCE else of_kind:
            tag = Tag(name)
            if values.get("Size") == "No Module Installed":
                continue
            for entry, label in entries:
                if label in values:
                    made = leaf("entry", values[label])
                    tag.add(made.set("name", entry))
            if tag.children:
                root.add(tag)
    strings = [
        text
        for title, values in records
        if title == "OEM Strings"
        for label, text in values.items()
        if label.startswith("String ")
    ]
    if strings:
        oem = Tag("oemStrings")
        for text in strings:
            oem.add(leaf("entry", text))
        root.add(oem)
    return render(root) if root.children else None
