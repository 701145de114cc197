"""What most devices have in common: alias, boot order, option ROM, and where on which bus they sit."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import Any, ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DEVICE, VIR_FROM_DOMAIN, VIR_FROM_NONE
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    hook,
    inline,
    variant,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Integer, Text, on_off, yes_no
from remotevirt.xml.write import Tag

__all__ = [
    "Address",
    "BootableInfo",
    "CcidAddress",
    "DeviceInfo",
    "DriveAddress",
    "PciAddress",
    "RomInfo",
    "UsbAddress",
    "choose_address",
]

_ALIAS = re.compile(r"[A-Za-z0-9._-]+\Z")
_LOADPARM = re.compile(r"[A-Za-z0-9. ]+\Z")
_USB_PORT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}\Z")

USER_ALIAS = "ua-"
"""What the aliases begin with that users choose; others are a running guest's own."""


@attrs.define
class Address(Model):
    """The base of all addresses."""

    TAG: ClassVar[str] = "address"
    KEEP: ClassVar[bool] = True
    type: str = attribute("type")


def _hex(digits: int, bits: int, high: int | None = None) -> Integer:
    return Integer(bits=bits, base=0, style=f"#0{digits + 2}x", high=high)


@attrs.define
class Zpci(Model):
    """The s390 side of a PCI address."""

    TAG: ClassVar[str] = "zpci"
    uid: int | None = attribute("uid", Integer(base=0, style="#06x"))
    fid: int | None = attribute("fid", Integer(base=0, style="#010x"))

    def complete(self, source: Source, how: Reading) -> None:
        if self.uid is not None or self.fid is not None:
            self.uid, self.fid = self.uid or 0, self.fid or 0


@attrs.define
class PciPlace(Model):
    """The four numbers of a PCI address."""

    domain: int = attribute("domain", _hex(4, 32), default=0)
    bus: int = attribute("bus", _hex(2, 32), default=0)
    slot: int = attribute("slot", _hex(2, 32), default=0)
    function: int = attribute("function", _hex(1, 32), default=0)

    def complete(self, source: Source, how: Reading) -> None:
        if self.bus > 0xFF:
            raise XmlError(f"Invalid PCI address bus='0x{self.bus:x}', must be <= 0xFF", domain=VIR_FROM_NONE)
        if self.slot > 0x1F:
            raise XmlError(
                f"Invalid PCI address slot='0x{self.slot:x}', must be <= 0x1F", domain=VIR_FROM_NONE
            )
        if self.function > 7:
            raise XmlError(
                f"Invalid PCI address function=0x{self.function:x}, must be <= 7", domain=VIR_FROM_NONE
            )

    def is_zero(self) -> bool:
        """Whether nothing was said: a function alone is as good as nothing."""
        return not (self.domain or self.bus or self.slot)


@attrs.define
class PciAddress(Address):
    """Where a device is on a PCI bus."""

    type: str = attribute("type")
    place: PciPlace = inline(PciPlace)
    multifunction: bool | None = attribute("multifunction", on_off())
    zpci: Zpci | None = child(Zpci)

    def fill(self, tag: Tag, how: Printing) -> None:
        # An address that says nothing asks for one to be chosen.
        tag.set("type", self.type)
        if not self.place.is_zero():
            self.place.fill(tag, how)
        if self.multifunction is not None:
            tag.set("multifunction", "on" if self.multifunction else "off")
        if self.zpci is not None:
            self.zpci.print_into(tag, how)


@attrs.define
class DriveAddress(Address):
    """Where a disk is on a controller."""

    type: str = attribute("type", default="drive")
    controller: int = attribute("controller", Integer(), default=0)
    bus: int = attribute("bus", Integer(), default=0)
    target: int = attribute("target", Integer(), default=0)
    unit: int = attribute("unit", Integer(), default=0)


@attrs.define
class VirtioSerialAddress(Address):
    type: str = attribute("type", default="virtio-serial")
    controller: int = attribute("controller", Integer(), default=0)
    bus: int = attribute("bus", Integer(), default=0)
    port: int = attribute("port", Integer(), default=0)


@attrs.define
class CcidAddress(Address):
    """Which slot of a reader a smart card is in."""

    type: str = attribute("type", default="ccid")
    controller: int = attribute("controller", Integer(), default=0)
    slot: int = attribute("slot", Integer(), default=0)


@attrs.define
class UsbAddress(Address):
    """Which port of a USB bus a device is at; ``1.2`` is port 2 of the hub at port 1."""

    type: str = attribute("type", default="usb")
    bus: int = attribute("bus", Integer(), default=0)
    port: str | None = attribute("port", Text())

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        # libvirt looks at the port before the bus.
        port = source.get("port")
        if port and not _USB_PORT.match(port):
            raise InternalError("Cannot parse <address> 'port' attribute", domain=VIR_FROM_DEVICE)
        return super().read_source(source, how)


@attrs.define
class SpaprVioAddress(Address):
    type: str = attribute("type", default="spapr-vio")
    reg: int | None = attribute("reg", Integer(bits=64, base=16, style="#010x"))


@attrs.define
class CcwAddress(Address):
    type: str = attribute("type", default="ccw")
    cssid: int | None = attribute("cssid", Integer(base=0, style="#x"))
    ssid: int | None = attribute("ssid", Integer(base=0, style="#x"))
    devno: int | None = attribute("devno", Integer(base=0, style="#06x"))

    def complete(self, source: Source, how: Reading) -> None:
        said = [value for value in (self.cssid, self.ssid, self.devno) if value is not None]
        if not said:
            self.cssid = self.ssid = self.devno = 0
            return
        if len(said) != 3:
            raise InternalError(
                "Invalid partial specification for virtio ccw address", domain=VIR_FROM_DEVICE
            )
        if said[0] > 0xFE or said[1] > 3 or said[2] > 0xFFFF:
            raise InternalError(
                "Invalid specification for virtio ccw address: "
                f"cssid='0x{said[0]:x}' ssid='0x{said[1]:x}' devno='0x{said[2]:04x}'",
                domain=VIR_FROM_DEVICE,
            )


@attrs.define
class IsaAddress(Address):
    type: str = attribute("type", default="isa")
    iobase: int | None = attribute("iobase", Integer(base=16, style="#x", zero="silent"))
    irq: int | None = attribute("irq", Integer(base=16, style="#x", zero="silent"))


@attrs.define
class DimmAddress(Address):
    type: str = attribute("type", default="dimm")
    slot: int = attribute("slot", Integer(), required=True)
    base: int | None = attribute("base", Integer(bits=64, base=16, style="#x", zero="silent"))


@attrs.define
class PlainAddress(Address):
    type: str = attribute("type")


_ADDRESSES: dict[str, type[Address]] = {
    "pci": PciAddress,
    "drive": DriveAddress,
    "virtio-serial": VirtioSerialAddress,
    "ccid": CcidAddress,
    "usb": UsbAddress,
    "spapr-vio": SpaprVioAddress,
    "ccw": CcwAddress,
    "virtio-mmio": PlainAddress,
    "isa": IsaAddress,
    "dimm": DimmAddress,
    "unassigned": PlainAddress,
}


def choose_address(element: Element) -> type[Model] | None:
    """The model for an ``<address>``."""
    kind = element.get("type")
    if kind is None:
        raise InternalError("No type specified for device address", domain=VIR_FROM_DOMAIN)
    if kind == "virtio-s390":
        raise XmlError("virtio-s390 bus doesn't have an address", domain=VIR_FROM_DOMAIN)
    cls = _ADDRESSES.get(kind)
    if cls is None:
        raise ConfigUnsupported(f"unknown address type '{kind}'", domain=VIR_FROM_DOMAIN)
    return cls


@attrs.define
class Boot(Model):
    """A device's place in the order of booting."""

    TAG: ClassVar[str] = "boot"
    order: int = attribute("order", Integer(zero="refused"), required=True)
    loadparm: str | None = attribute("loadparm")

    def complete(self, source: Source, how: Reading) -> None:
        if self.loadparm is None:
            return
        if not 1 <= len(self.loadparm.encode()) <= 8:
            raise InternalError(
                f"loadparm value '{self.loadparm}' must be between 1 and 8 characters", domain=VIR_FROM_DOMAIN
            )
        self.loadparm = self.loadparm.upper()
        if not _LOADPARM.match(self.loadparm):
            raise InternalError(
                f"invalid loadparm value '{self.loadparm}', expecting chars in set of [a-zA-Z0-9.]"
                " and blank spaces",
                domain=VIR_FROM_DOMAIN,
            )


@attrs.define
class Rom(Model):
    """An option ROM."""

    TAG: ClassVar[str] = "rom"
    enabled: bool | None = attribute("enabled", yes_no())
    bar: bool | None = attribute("bar", on_off())
    file: str | None = attribute("file")

    def complete(self, source: Source, how: Reading) -> None:
        if self.enabled is False and (self.bar is not None or self.file is not None):
            raise ConfigUnsupported(
                "ROM tuning is not supported when ROM is disabled", domain=VIR_FROM_DOMAIN
            )


@attrs.define
class Master(Model):
    """The companion of a USB controller."""

    TAG: ClassVar[str] = "master"
    startport: int = attribute("startport", Integer(), default=0)


@attrs.define
class Acpi(Model):
    TAG: ClassVar[str] = "acpi"
    index: int | None = attribute("index", Integer(zero="refused"))


def _read_alias(source: Source, how: Reading, model: Any) -> str | None:
    element = source.first("alias")
    name: str | None = element.get("name") if element is not None else None
    if name and (how.live or (name.startswith(USER_ALIAS) and _ALIAS.match(name))):
        return name
    return None


def _write_alias(value: str, how: Printing, model: Any) -> Tag | None:
    if how.inactive and not value.startswith(USER_ALIAS):
        return None
    return Tag("alias").set("name", value)


@attrs.define
class DeviceInfo(Model):
    """Alias and address of a device."""

    alias: str | None = hook(_read_alias, _write_alias)
    master: Master | None = child(Master)
    acpi: Acpi | None = child(Acpi)
    address: Address | None = variant("address", choose_address)


@attrs.define
class BootableInfo(Model):
    """That, and a boot order."""

    boot: Boot | None = child(Boot)
    alias: str | None = hook(_read_alias, _write_alias)
    acpi: Acpi | None = child(Acpi)
    address: Address | None = variant("address", choose_address)


@attrs.define
class RomInfo(Model):
    """That, and an option ROM: network and host devices."""

    boot: Boot | None = child(Boot)
    alias: str | None = hook(_read_alias, _write_alias)
    rom: Rom | None = child(Rom)
    acpi: Acpi | None = child(Acpi)
    address: Address | None = variant("address", choose_address)
