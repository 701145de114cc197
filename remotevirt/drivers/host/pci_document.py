"""What a PCI device says of itself: its ids, what it is part of, and its link.

Much of it stands in files of /sys; the kind of header and the PCI Express capability are read from the
configuration space, whose first 64 bytes everybody may read. What only root may read is left out for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from remotevirt.drivers.host.device_files import Device
from remotevirt.drivers.host.device_names import PciNames
from remotevirt.xml.write import Tag, leaf

__all__ = ["pci_capability"]

_ADDRESS: Final = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")

# Where things stand in the configuration space, by the PCI specification.
CONFIG_PLAIN: Final = 256
STATUS: Final = 0x06
STATUS_CAPABILITIES: Final = 0x10
HEADER_TYPE: Final = 0x0E
FIRST_CAPABILITY: Final = 0x34
EXPRESS: Final = 0x10
CAPABILITIES_MAXIMUM: Final = 48
"""As many as fit; a list that goes round in a circle ends here."""

BRIDGES: Final = {1: "pci-bridge", 2: "cardbus-bridge"}
SPEEDS: Final = {1: "2.5", 2: "5", 3: "8", 4: "16", 5: "32", 6: "64"}
WITHOUT_LINK: Final = {0x9, 0xA}
"""Kinds of PCI Express devices that are part of the root complex."""

FUNCTIONS_MAXIMUM: Final = 4096
"""Virtual functions, or devices of an IOMMU group, that are listed."""


def _address(text: str) -> Tag | None:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    domain, bus, slot, function = (int(part, 16) for part in match.groups())
    tag = Tag("address").set("domain", f"0x{domain:04x}").set("bus", f"0x{bus:02x}")
    return tag.set("slot", f"0x{slot:02x}").set("function", f"0x{function:x}")


def _add_addresses(tag: Tag, names: Iterable[str | None]) -> None:
    for name in names:
        address = _address(name or "")
        if address is not None:
            tag.add(address)


def _named(tag: str, number: int, name: str | None) -> Tag:
    made = Tag(tag) if name is None else leaf(tag, name)
    return made.set("id", f"0x{number:04x}")


def pci_capability(device: Device, names: PciNames) -> Tag | None:
    """Return the capability of a PCI device; None if it is gone, or none."""
    match = _ADDRESS.fullmatch(device.name)
    vendor, product = device.number("vendor", 16), device.number("device", 16)
    if match is None or vendor is None or product is None:
        return None
    tag = Tag("capability").set("type", "pci")
    kind = device.number("class", 16)
    if kind is not None:
        tag.add(leaf("class", f"0x{kind:06x}"))
    for name, text in zip(("domain", "bus", "slot", "function"), match.groups(), strict=True):
        tag.add(leaf(name, int(text, 16)))
    tag.add(_named("product", product, names.product(vendor, product)))
    tag.add(_named("vendor", vendor, names.vendor(vendor)))
    _add_functions(tag, device)
    config = device.files.read_bytes(f"{device.path}/config", CONFIG_PLAIN + 1) or b""
    bridge = BRIDGES.get(config[HEADER_TYPE] & 0x7F) if len(config) > HEADER_TYPE else None
    if bridge is not None:
        tag.add(Tag("capability").set("type", bridge))
    _add_group(tag, device)
    node = device.number("numa_node")
    if node is not None and node >= 0:
        tag.add(Tag("numa").set("node", node))
    express = _express(device, config)
    if express is not None:
        tag.add(express)
    return tag


def _add_functions(tag: Tag, device: Device) -> None:
    """Say what the device is a virtual function of, and which it has itself."""
    physical = device.files.link_name(f"{device.path}/physfn")
    if physical is not None:
        made = Tag("capability", hold=True).set("type", "phys_function")
        _add_addresses(made, [physical])
        tag.add(made)
    most = device.number("sriov_totalvfs") or 0
    count = min(device.number("sriov_numvfs") or 0, FUNCTIONS_MAXIMUM)
    if most or count:
        made = Tag("capability").set("type", "virt_functions").set("maxCount", most or None)
        links = (device.files.link_name(f"{device.path}/virtfn{number}") for number in range(count))
        _add_addresses(made, links)
        tag.add(made)


def _add_group(tag: Tag, device: Device) -> None:
    """Say what the IOMMU cannot tell from the device."""
    group = device.files.link_name(f"{device.path}/iommu_group")
    if group is not None and group.isdecimal():
        made = Tag("iommuGroup").set("number", group)
        names = device.files.names(f"{device.path}/iommu_group/devices")
        _add_addresses(made, names[:FUNCTIONS_MAXIMUM])
        tag.add(made)


def _express(device: Device, config: bytes) -> Tag | None:
    """Return the element of a PCI Express device; None for others."""
    at = _find_capability(config, EXPRESS)
    # Only root sees the capabilities; but a configuration space that is larger has them.
    if at is None and device.files.size(f"{device.path}/config") <= CONFIG_PLAIN:
        return None
    tag = Tag("pci-express")
    if at is None or at + 0x14 > len(config):
        return tag
    if config[at + 2] >> 4 not in WITHOUT_LINK:
        able = int.from_bytes(config[at + 0x0C : at + 0x10], "little")
        state = int.from_bytes(config[at + 0x12 : at + 0x14], "little")
        tag.add(_link("cap", able).set("width", able >> 4 & 0x3F))
        tag.add(_link("sta", state).set("width", state >> 4 & 0x3F))
    return tag


def _link(validity: str, register: int) -> Tag:
    tag = Tag("link").set("validity", validity)
    if validity == "cap":
        tag.set("port", register >> 24)
    return tag.set("speed", SPEEDS.get(register & 0xF))


def _find_capability(config: bytes, wanted: int) -> int | None:
    """Return where a capability stands in the configuration space, None if it does not."""
    if len(config) < CONFIG_PLAIN or not config[STATUS] & STATUS_CAPABILITIES:
        return None
    at = config[FIRST_CAPABILITY]
    for _ in range(CAPABILITIES_MAXIMUM):
        if not 0x40 <= at < CONFIG_PLAIN - 1:
            return None
        if config[at] == wanted:
            return at
        at = config[at + 1]
    return None
