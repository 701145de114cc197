"""Devices as the kernel shows them in /sys, with what udev noted of them where it runs.

::

    /sys/bus/pci/devices/0000:00:02.0 -> ../../../devices/pci0000:00/0000:00:02.0
    .../uevent                     DRIVER=virtio-pci
                                   PCI_CLASS=18000
    /run/udev/data/b254:0          E:ID_SERIAL=...
                                   S:disk/by-path/...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import attrs

from remotevirt.drivers.host.files import Files

__all__ = ["Device", "find_devices"]

PLACES: Final = (
    "/sys/bus/pci/devices",
    "/sys/bus/usb/devices",
    "/sys/bus/scsi/devices",
    "/sys/class/net",
    "/sys/class/block",
    "/sys/class/scsi_generic",
    "/sys/class/drm",
)
"""Where the devices are that are listed."""

DEVICES_MAXIMUM: Final = 32768
"""Devices that are listed; a list holds 65536, and each is some reads."""

LINKS_MAXIMUM: Final = 64
"""Other names of a device that are told."""


@attrs.frozen
class Device:
    """A device of the kernel's.

    Attributes:
        path: in /sys, without symbolic links.
        name: the last part of it.
        subsystem: ``pci``, ``net``, ...
        properties: of the kernel's and udev's.
        links: other names of its file in /dev.
    """

    files: Files
    path: str
    name: str
    subsystem: str
    properties: dict[str, str]
    links: tuple[str, ...] = ()

    @property
    def node(self) -> str | None:
        """Its file in /dev; None if it has none."""
        found = self.properties.get("DEVNAME")
        return None if not found else os.path.join("/dev", found)

    def text(self, attribute: str) -> str | None:
        """Return an attribute, None if it is not there or empty."""
        return self.files.read(f"{self.path}/{attribute}", 4096) or None

    def number(self, attribute: str, base: int = 10) -> int | None:
        """Return an attribute that is a number."""
        return self.files.number(f"{self.path}/{attribute}", base)


def _pairs(text: str | None, prefix: str = "") -> dict[str, str]:
    """Return the lines ``KEY=value`` of a file, those that begin with a prefix."""
    lines = [line.removeprefix(prefix) for line in (text or "").splitlines() if line.startswith(prefix)]
    return {key: value for key, equal, value in (line.partition("=") for line in lines) if equal}


def _notes_of_udev(files: Files, subsystem: str, name: str, own: dict[str, str]) -> str | None:
    """Return what udev noted of a device; None if it does not run, or noted nothing."""
    if "MAJOR" in own and "MINOR" in own:
        kind = "b" if subsystem == "block" else "c"
        key = f"{kind}{own['MAJOR']}:{own['MINOR']}"
    elif "IFINDEX" in own:
        key = f"n{own['IFINDEX']}"
    else:
        key = f"+{subsystem}:{name}"
    return files.read(f"/run/udev/data/{key}")


def read_device(files: Files, path: str) -> Device:
    """Read a device by its path in /sys."""
    name = path.rpartition("/")[2]
    own = _pairs(files.read(f"{path}/uevent"))
    subsystem = files.link_name(f"{path}/subsystem") or ""
    notes = _notes_of_udev(files, subsystem, name, own)
    links = [line[2:] for line in (notes or "").splitlines() if line.startswith("S:")]
    return Device(
        files,
        path,
        name,
        subsystem,
        _pairs(notes, "E:") | own,
        tuple(f"/dev/{link}" for link in sorted(links)[:LINKS_MAXIMUM]),
    )


def find_devices(files: Files) -> Iterator[Device]:
    """Read the devices, by path: one comes after what it hangs on."""
    found = {files.resolve(f"{place}/{name}") for place in PLACES for name in files.names(place)}
    for path in sorted(found)[:DEVICES_MAXIMUM]:
        yield read_device(files, path)
