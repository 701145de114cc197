"""One device's document, as a client gives it to attach, change or detach the device.

Such a document is read like the same element inside a domain; what libvirt fills in once it knows the guest
(an address, a MAC address, a port) is filled in when the device has been put into one
(:func:`~remotevirt.xml.domain.complete.complete_devices`), so None still tells that nothing was said.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from lxml import etree

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.domain.devices import Devices
from remotevirt.xml.fields import Model, Reading
from remotevirt.xml.parse import local_name, parse_fragment

__all__ = ["FAMILIES", "Device", "devices_of", "parse_device", "put", "take"]

Device: TypeAlias = Any
"""A model of one of the families of :data:`FAMILIES`; they have ``info``, all but leases and graphics."""

FAMILIES: Final[dict[str, str]] = {
    "disk": "disks",
    "lease": "leases",
    "filesystem": "filesystems",
    "interface": "interfaces",
    "input": "inputs",
    "sound": "sounds",
    "video": "videos",
    "hostdev": "hostdevs",
    "watchdog": "watchdogs",
    "controller": "controllers",
    "graphics": "graphics",
    "hub": "hubs",
    "redirdev": "redirdevs",
    "smartcard": "smartcards",
    "serial": "serials",
    "parallel": "parallels",
    "console": "consoles",
    "channel": "channels",
    "memballoon": "memballoon",
    "nvram": "nvram",
    "rng": "rngs",
    "shmem": "shmems",
    "tpm": "tpms",
    "panic": "panics",
    "memory": "memories",
    "iommu": "iommu",
    "vsock": "vsock",
    "audio": "audios",
}
"""Which field of :class:`Devices` holds the devices of a tag."""


def parse_device(text: str, *, live: bool = False) -> Device:
    """Read the document of one device.

    Args:
        text: the document.
        live: keep what only a running guest has.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    element = parse_fragment(text, source="(device_definition)")
    element.tag = local_name(element)
    field = FAMILIES.get(element.tag)
    if field is None:
        raise ConfigUnsupported(f"unknown device type '{element.tag}'", domain=VIR_FROM_DOMAIN)
    around = etree.Element("devices")
    around.append(element)
    found = getattr(Devices.read(around, Reading(live=live)), field)
    return found[0] if isinstance(found, list) else found


def devices_of(devices: Devices, tag: str) -> list[Device]:
    """The devices of one tag, as a list also where there can be only one."""
    found = getattr(devices, FAMILIES[tag])
    if isinstance(found, list):
        return found
    return [] if found is None else [found]


def put(devices: Devices, device: Model) -> None:
    """Add a device after those of its kind; where there can be only one, instead of it."""
    field = FAMILIES[device.TAG]
    found = getattr(devices, field)
    if isinstance(found, list):
        found.append(device)
    else:
        setattr(devices, field, device)


def take(devices: Devices, device: Model) -> None:
    """Remove a device, which is one of these."""
    field = FAMILIES[device.TAG]
    found = getattr(devices, field)
    if isinstance(found, list):
        setattr(devices, field, [one for one in found if one is not device])
    else:
        setattr(devices, field, None)
