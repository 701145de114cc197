"""The node device document.

Devices come from node files or are host bus adapters that a client makes. Systems and adapters are checked;
the capabilities of other kinds are taken as they are and printed in libvirt's manner: two spaces a level,
single quotes, without comments.
"""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, NoName, XmlError
from remotevirt.xml.parse import Element, parse_document, text_of
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import Choice, Where, missing_attribute, parse_integer, parse_uuid
from remotevirt.xml.write import Tag, leaf, render

__all__ = [
    "FILTERS",
    "KINDS",
    "NEW",
    "DeviceModel",
    "format_device",
    "parse_device",
    "plain_tag",
    "read_device",
]

NEW: Final = "new device"
"""The name of a device in errors, before it has one."""

KINDS: Final = (
    *("system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi", "storage", "fc_host"),
    *("vports", "scsi_generic", "drm", "mdev_types", "mdev", "ccw", "css", "vdpa"),
    *("ap_card", "ap_queue", "ap_matrix", "vpd"),
)
"""What a device can be."""

FILTERS: Final[dict[str, int]] = {kind: 1 << number for number, kind in enumerate(KINDS)}
"""What a device can be, and the list filter of each (VIR_CONNECT_LIST_NODE_DEVICES_CAP_*)."""

UNREADABLE: Final = frozenset({"fc_host", "vports", "scsi_generic", "mdev_types", "vdpa", "vpd"})
"""What libvirt tells of devices and reads in no document."""

NUMBERS: Final[dict[str, tuple[str, int, tuple[tuple[str, str], ...]]]] = {
    "pci": (
        "PCI",
        0,
        (
            *(("domain", "domain ID"), ("bus", "bus ID"), ("slot", "slot ID"), ("function", "function ID")),
            *(("vendor/@id", "vendor ID"), ("product/@id", "product ID")),
        ),
    ),
    "usb_device": (
        "USB",
        0,
        (
            *(("bus", "bus number"), ("device", "device number")),
            *(("vendor/@id", "vendor ID"), ("product/@id", "product ID")),
        ),
    ),
    "usb": (
        "USB interface",
        0,
        (("number", "number"), ("class", "class"), ("subclass", "subclass"), ("protocol", "protocol")),
    ),
    "scsi": (
        "SCSI",
        0,
        (("host", "host ID"), ("bus", "bus ID"), ("target", "target ID"), ("lun", "LUN ID")),
    ),
}
"""The numbers that a capability must have: what begins their names, their base, and where they stand."""

TEXTS: Final = {"scsi_target": ("target", "target name"), "storage": ("block", "block device path")}
"""The text that a capability must have, and what errors call it."""

HOST_KINDS: Final = {"fc_host": "fc_host", "vport_ops": "vports"}
"""Capabilities of a SCSI host, and what lists call them."""


def _wrong(text: str) -> VirError:
    return InternalError(text, domain=c.VIR_FROM_NODEDEV)


def plain_tag(element: Element) -> Tag:
    """Return an element as it came; comments and attributes of other namespaces are dropped."""
    children = [plain_tag(child) for child in element.iterchildren("*") if not child.tag.startswith("{")]
    empty = element.text is not None and not children and not element.text.strip()
    tag = Tag(element.tag, hold=empty)
    for name, value in element.attrib.items():
        if not name.startswith("{"):
            tag.set(name, value)
    if children:
        tag.children.extend(children)
    elif element.text and element.text.strip():
        tag.text = element.text.strip()
    return tag


@attrs.define
class DeviceModel:
    """A device of the host.

    Attributes:
        name, parent: of the device, and of the one that it hangs on (None for the first).
        parent_names: ``wwnn``, ``wwpn`` and ``fabric_wwn`` of the parent, where those find it.
        capabilities: the elements.
        kinds: the names of its capabilities, then those inside them, as lists call them.
        wwnn, wwpn, fabric_wwn: of an adapter of a fibre channel.
        path: where the device is in /sys.
        node, links: its file in /dev, and the other names of that.
        driver: the kernel's driver that it has.
    """

    name: str
    parent: str | None = None
    parent_names: dict[str, str] = attrs.field(factory=dict)
    capabilities: list[Tag] = attrs.field(factory=list)
    kinds: list[str] = attrs.field(factory=list)
    wwnn: str | None = None
    wwpn: str | None = None
    fabric_wwn: str | None = None
    path: str | None = None
    node: str | None = None
    links: tuple[str, ...] = ()
    driver: str | None = None

    @property
    def is_vport_capable(self) -> bool:
        """Whether virtual adapters can hang on the device."""
        return "vports" in self.kinds

    def named(self, name: str, wwnn: str, wwpn: str) -> DeviceModel:
        """Return a copy of an adapter with other names."""
        text = format_device(self)
        for old, new in ((self.name, name), (self.wwnn, wwnn), (self.wwpn, wwpn)):
            for tag in ("name", "wwnn", "wwpn"):
                text = text.replace(render(leaf(tag, old)).strip(), render(leaf(tag, new)).strip())
        return parse_device(text)

    def element(self) -> Tag:
        """Return the document's root."""
        made = Tag("device")
        made.add(leaf("name", self.name))
        if self.path is not None:
            made.add(leaf("path", self.path))
        if self.node is not None:
            made.add(leaf("devnode", self.node).set("type", "dev"))
        for link in self.links:
            made.add(leaf("devnode", link).set("type", "link"))
        if self.parent is not None:
            made.add(leaf("parent", self.parent))
        if self.driver is not None:
            driver = Tag("driver")
            driver.add(leaf("name", self.driver))
            made.add(driver)
        made.children.extend(self.capabilities)
        return made


def _child_text(element: Element, name: str) -> str | None:
    found = element.find(name)
    return None if found is None else text_of(found) or None


def _read_capability(model: DeviceModel, element: Element, name: str) -> None:
    kind = element.get("type")
    if kind is None:
        raise missing_attribute("capability", "type")
    Choice(" ".join(KINDS)).read(kind, Where("capability", "type"))
    model.capabilities.append(plain_tag(element))
    model.kinds.append(kind)
    if kind == "system":
        uuid = _child_text(element, "hardware/uuid")
        if uuid is None:
            raise _wrong(f"no system UUID supplied for '{name}'")
        if parse_uuid(uuid) is None:
            raise _wrong(f"malformed uuid element for '{name}'")
    elif kind == "net" and not _child_text(element, "interface"):
        raise _wrong(f"no network interface supplied for '{name}'")
    elif kind in UNREADABLE:
        raise _wrong(f"unknown capability type '{KINDS.index(kind)}' for '{name}'")
    elif kind in NUMBERS:
        _check_numbers(element, name, *NUMBERS[kind])
    elif kind in TEXTS and not _child_text(element, TEXTS[kind][0]):
        raise _wrong(f"no {TEXTS[kind][1]} supplied for '{name}'")
    elif kind == "scsi_host":
        _check_host_id(element, name)
        for inside in element.findall("capability"):
            _read_host_capability(model, inside, name)


def _check_numbers(
    element: Element, name: str, family: str, base: int, places: tuple[tuple[str, str], ...]
) -> None:
    for place, what in places:
        tag, _, attribute = place.partition("/@")
        found = element.find(tag)
        text = None if found is None else (found.get(attribute) if attribute else text_of(found))
        if not text:
            raise _wrong(f"no {family} {what} supplied for '{name}'")
        if parse_integer(text, base=base) is None:
            raise _wrong(f"invalid {family} {what} supplied for '{name}'")


def _check_host_id(element: Element, name: str) -> None:
    """Check the number of a SCSI host; one that is still to be made gets it later."""
    text = _child_text(element, "host")
    if name != NEW and text is None:
        raise _wrong(f"no SCSI host ID supplied for '{name}'")
    if name != NEW and parse_integer(text or "", base=0) is None:
        raise _wrong(f"invalid SCSI host ID supplied for '{name}'")


def _read_host_capability(model: DeviceModel, element: Element, name: str) -> None:
    kind = element.get("type")
    if kind is None:
        raise _wrong(f"missing SCSI host capability type for '{name}'")
    if kind not in HOST_KINDS:
        raise _wrong(f"unknown SCSI host capability type '{kind}' for '{name}'")
    model.kinds.append(HOST_KINDS[kind])
    if kind == "fc_host":
        for field in ("wwnn", "wwpn"):
            value = _child_text(element, field)
            if value is None:
                generated = ", and auto-generation failed" if name == NEW else ""
                raise _wrong(f"no {field.upper()} supplied for '{name}'{generated}")
            setattr(model, field, value)
        model.fabric_wwn = _child_text(element, "fabric_wwn")


def _read_parent(model: DeviceModel, element: Element) -> None:
    found = element.find("parent")
    if found is None:
        return
    model.parent = text_of(found) or None
    names = {name: value for name in ("wwnn", "wwpn", "fabric_wwn") if (value := found.get(name))}
    for one, other in (("wwnn", "wwpn"), ("wwpn", "wwnn")):
        if one in names and other not in names:
            raise XmlError(
                f"when providing parent {one}='{names[one]}', the {other} must also be provided",
                domain=c.VIR_FROM_NODEDEV,
            )
    model.parent_names = names


def read_device(element: Element, *, new: bool = False) -> DeviceModel:
    """Read a device that stands inside another document.

    Args:
        element: the ``<device>``.
        new: a client wants it made, so it needs no name, and one that is there does not count.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    name = NEW if new else _child_text(element, "name")
    if name is None:
        raise NoName(domain=c.VIR_FROM_NODEDEV)
    model = DeviceModel(name)
    found = element.findall("capability")
    if not found:
        raise _wrong(f"no device capabilities for '{name}'")
    for capability in found:
        _read_capability(model, capability, name)
    _read_parent(model, element)
    return model


def parse_device(text: str, *, new: bool = False, validate: bool = False) -> DeviceModel:
    """Read a device document; see :func:`read_device`. With ``validate`` it must fit libvirt's schema."""
    place = "(node_device_definition)"
    root = parse_document(text, root="device", source=place, domain=c.VIR_FROM_NODEDEV)
    if validate:
        validate_document(root, SCHEMAS / "nodedev.rng")
    return read_device(root, new=new)


def format_device(model: DeviceModel) -> str:
    """Print a device, with a line end after it."""
    return render(model.element())
