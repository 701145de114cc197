"""The names of PCI devices and their makers, from the list that every distribution has.

::

    1af4  Red Hat, Inc.
    \t1042  Virtio 1.0 block device
    \t\t1af4 1100  a subsystem, which is not looked at
"""

from __future__ import annotations

import functools
from typing import Final

from remotevirt.drivers.host.files import Files

__all__ = ["PciNames"]

LISTS: Final = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")
LIST_MAXIMUM: Final = 8 * 1024 * 1024
"""Bytes of the list that are read; it has 1.3 million."""


class PciNames:
    """The names, read when the first is asked for."""

    def __init__(self, files: Files) -> None:
        self.files = files

    @functools.cached_property
    def _vendors(self) -> dict[str, tuple[str, list[str]]]:
        """Names of makers, and the lines of their devices."""
        texts = (self.files.read_bytes(name, LIST_MAXIMUM) for name in LISTS)
        text = next((text for text in texts if text is not None), b"").decode("utf-8", "replace")
        vendors: dict[str, tuple[str, list[str]]] = {}
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("C "):
                break  # classes: the makers are done
            if line.startswith("\t"):
                if line[1:2] != "\t":
                    lines.append(line)
            elif line and line[0] != "#":
                lines = []
                vendors.setdefault(line[:4].lower(), (line[4:].strip(), lines))
        return vendors

    def vendor(self, number: int) -> str | None:
        """Return a maker's name."""
        found = self._vendors.get(f"{number:04x}")
        return found[0] if found else None

    def product(self, vendor: int, number: int) -> str | None:
        """Return a device's name."""
        start = f"\t{number:04x} "
        found = self._vendors.get(f"{vendor:04x}")
        lines = (line for line in found[1] if line.lower().startswith(start)) if found else iter(())
        return next((line[5:].strip() for line in lines), None)
