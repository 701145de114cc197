"""Devices of the kernel's as libvirt's documents: what kind each is, its name, and its capabilities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from remotevirt.drivers.host.device_files import Device, find_devices
from remotevirt.drivers.host.device_names import PciNames
from remotevirt.drivers.host.ethtool import offloads
from remotevirt.drivers.host.host import DMI, Host
from remotevirt.drivers.host.pci_document import pci_capability
from remotevirt.drivers.host.storage_document import storage_capability
from remotevirt.xml.node_device import DeviceModel
from remotevirt.xml.write import Tag, leaf

__all__ = ["ROOT_DEVICE", "link_of", "read_devices"]

ROOT_DEVICE: Final = "computer"
"""The name of the first device."""

UINT: Final = 2**32

SCSI_TYPES: Final = {
    0: "disk",
    1: "tape",
    3: "processor",
    4: "worm",
    5: "cdrom",
    6: "scanner",
    7: "mod",
    8: "changer",
    12: "raid",
    13: "enclosure",
}
"""What a SCSI device is, by its number in the specification."""

DRM_TYPES: Final = ("primary", "control", "render")
"""What a node of a graphics card is for, by 64 minor numbers."""

DEVTYPES: Final = {
    "usb_device": "usb_device",
    "usb_interface": "usb",
    "scsi_host": "scsi_host",
    "scsi_target": "scsi_target",
    "scsi_device": "scsi",
    "disk": "storage",
    "wlan": "net",
    "drm_minor": "drm",
}
"""The kernel's word for a kind of device, and libvirt's."""

_NOT_IN_NAMES: Final = re.compile("[^0-9A-Za-z]")


def _kind(device: Device) -> str | None:
    """Return what libvirt calls the kind of a device; None for those that it does not list."""
    kind = device.properties.get("DEVTYPE")
    if kind is not None:
        return DEVTYPES.get(kind)
    if device.subsystem == "scsi_generic":
        return "scsi_generic"
    if "INTERFACE" in device.properties:
        return "net"
    return "pci" if "PCI_CLASS" in device.properties else None


def _described(kind: str, entries: Iterable[tuple[str, object]]) -> Tag:
    """Return a capability with one element for each thing that is known."""
    tag = Tag("capability").set("type", kind)
    for name, value in entries:
        if value is not None:
            tag.add(leaf(name, value))
    return tag


def _usb_device(device: Device) -> Tag | None:
    notes = device.properties
    vendor, product = device.number("idVendor", 16), device.number("idProduct", 16)
    bus, number = device.number("busnum"), device.number("devnum")
    if bus is None or number is None:
        return None
    tag = _described("usb_device", (("bus", bus), ("device", number)))
    names = (
        ("product", product, notes.get("ID_MODEL_FROM_DATABASE") or device.text("product")),
        ("vendor", vendor, notes.get("ID_VENDOR_FROM_DATABASE") or device.text("manufacturer")),
    )
    for element, ident, name in names:
        made = leaf(element, name) if name else Tag(element)
        tag.add(made.set("id", f"0x{ident or 0:04x}"))
    return tag


def _usb(device: Device) -> Tag:
    attributes = (
        ("number", "bInterfaceNumber"),
        ("class", "bInterfaceClass"),
        ("subclass", "bInterfaceSubClass"),
        ("protocol", "bInterfaceProtocol"),
    )
    return _described("usb", [(name, device.number(attribute, 16) or 0) for name, attribute in attributes])


def link_of(device: Device) -> tuple[int, str | None]:
    """Return a network interface's speed in Mbit/s (0 if it is not known), and its state."""
    state = device.text("operstate")
    speed = (device.number("speed") or 0) if state == "up" else 0
    return speed % UINT, state


def _net(device: Device) -> Tag:
    name = device.properties.get("INTERFACE", device.name)
    tag = _described("net", (("interface", name), ("address", device.text("address"))))
    speed, state = link_of(device)
    tag.add(Tag("link").set("speed", speed or None).set("state", state))
    for feature in offloads(name) if device.files.is_live else ():
        tag.add(Tag("feature").set("name", feature))
    wireless = device.properties.get("DEVTYPE") == "wlan"
    tag.add(Tag("capability").set("type", "80211" if wireless else "80203"))
    return tag


def _scsi_host(device: Device) -> Tag | None:
    number = device.name.removeprefix("host")
    if not number.isdecimal():
        return None
    own = f"{device.path}/scsi_host/{device.name}"
    unique = device.files.number(f"{own}/unique_id")
    tag = _described("scsi_host", (("host", int(number)), ("unique_id", unique)))
    fibre = f"{device.path}/fc_host/{device.name}"
    names = {
        name: (device.files.read(f"{fibre}/{attribute}", 64) or "").removeprefix("0x")
        for name, attribute in (("wwnn", "node_name"), ("wwpn", "port_name"), ("fabric_wwn", "fabric_name"))
    }
    if names["wwnn"] and names["wwpn"]:
        tag.add(_described("fc_host", [(name, text or None) for name, text in names.items()]))
        most = device.files.number(f"{fibre}/max_npiv_vports")
        if most:
            used = device.files.number(f"{fibre}/npiv_vports_inuse") or 0
            tag.add(_described("vport_ops", (("max_vports", most), ("vports", used))))
    return tag


def _scsi_target(device: Device) -> Tag:
    return _described("scsi_target", [("target", device.name)])


def _scsi(device: Device) -> Tag | None:
    parts = device.name.split(":")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return None
    values = [int(part) for part in parts]
    kind = SCSI_TYPES.get(device.number("type") or 0) if device.text("type") else None
    names = ("host", "bus", "target", "lun", "type")
    return _described("scsi", zip(names, [*values, kind], strict=True))


def _scsi_generic(device: Device) -> Tag | None:
    return None if device.node is None else _described("scsi_generic", [("char", device.node)])


def _drm(device: Device) -> Tag | None:
    minor = device.properties.get("MINOR", "")
    place = int(minor) >> 6 if minor.isdecimal() else len(DRM_TYPES)
    return _described("drm", [("type", DRM_TYPES[place])]) if place < len(DRM_TYPES) else None


READERS: Final[dict[str, Callable[[Device], Tag | None]]] = {
    "usb_device": _usb_device,
    "usb": _usb,
    "net": _net,
    "scsi_host": _scsi_host,
    "scsi_target": _scsi_target,
    "scsi": _scsi,
    "storage": storage_capability,
    "scsi_generic": _scsi_generic,
    "drm": _drm,
}
"""What makes the capability of each kind but pci, which needs the list of names."""

INSIDE: Final = {"fc_host": "fc_host", "vport_ops": "vports"}
"""Capabilities inside others that lists know, and what they call them."""


def _name(device: Device, kind: str) -> str:
    """Return libvirt's name of a device: subsystem, the kernel's name, and what makes it unique."""
    extra = None
    if kind == "net":
        extra = device.text("address")
    elif kind == "storage":
        extra = device.properties.get("ID_SERIAL")
    parts = (device.subsystem, device.name, extra)
    return _NOT_IN_NAMES.sub("_", "_".join(part for part in parts if part))


def _computer(host: Host) -> DeviceModel:
    """Return the first device: the machine itself."""

    def said(name: str) -> str | None:
        return host.files.read(f"{DMI}/{name}", 4096) or None

    uuid = host.uuid if host.files.exists(DMI) else UUID(int=0)
    tag = _described("system", [("product", said("product_name"))])
    hardware = (
        ("vendor", said("sys_vendor")),
        ("version", said("product_version")),
        ("serial", said("product_serial")),
        ("uuid", uuid),
    )
    firmware = (
        ("vendor", said("bios_vendor")),
        ("version", said("bios_version")),
        ("release_date", said("bios_date")),
    )
    for name, entries in (("hardware", hardware), ("firmware", firmware)):
        inner = Tag(name, hold=True)
        for entry, value in entries:
            if value is not None:
                inner.add(leaf(entry, value))
        tag.add(inner)
    return DeviceModel(ROOT_DEVICE, capabilities=[tag], kinds=["system"])


def _parent(path: str, known: dict[str, str]) -> str:
    """Return the name of the nearest listed device above a path."""
    while path:
        path = path.rpartition("/")[0]
        if path in known:
            return known[path]
    return ROOT_DEVICE


def read_devices(host: Host, names: PciNames) -> dict[str, DeviceModel]:
    """Read all devices, by name; the machine comes first, and each after what it hangs on."""
    found = {ROOT_DEVICE: _computer(host)}
    known: dict[str, str] = {}
    for device in find_devices(host.files):
        kind = _kind(device)
        if kind is None:
            continue
        tag = pci_capability(device, names) if kind == "pci" else READERS[kind](device)
        if tag is None:
            continue
        model = DeviceModel(_name(device, kind), _parent(device.path, known))
        known[device.path] = model.name
        model.capabilities, model.kinds = [tag], [kind]
        for inner in tag.children:
            inside = INSIDE.get(dict(inner.attributes).get("type", "")) if isinstance(inner, Tag) else None
            if inside is not None and isinstance(inner, Tag):
                model.kinds.append(inside)
                if inside == "fc_host":
                    texts = {one.name: one.text for one in inner.children if isinstance(one, Tag)}
                    model.wwnn, model.wwpn = texts.get("wwnn"), texts.get("wwpn")
                    model.fabric_wwn = texts.get("fabric_wwn")
        model.path, model.driver = device.path, host.files.link_name(f"{device.path}/driver")
        model.node, model.links = device.node, device.links
        found[model.name] = model
    return found
