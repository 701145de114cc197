"""``<hostdev>``: devices of the host that the guest gets."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.address import Address, PciAddress, PciPlace, RomInfo, choose_address
from remotevirt.xml.domain.storage import Auth, Host, Initiator
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    flag,
    hook,
    inline,
    leaf,
    nested_attribute,
    variant,
)
from remotevirt.xml.values import Choice, Integer, Text, Uuid, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import Tag

__all__ = ["HostDevice", "read_interface_hostdev"]


@attrs.define
class PciHostAddress(PciPlace):
    TAG: ClassVar[str] = "address"


@attrs.define
class PciHostSource(Model):
    TAG: ClassVar[str] = "source"
    write_filtering: bool | None = attribute("writeFiltering", yes_no())
    startup_policy: str | None = attribute("startupPolicy")
    address: PciHostAddress | None = child(PciHostAddress)

    def complete(self, source: Source, how: Reading) -> None:
        if self.startup_policy is not None:
            raise ConfigUnsupported("Setting startupPolicy is only allowed for USB devices", domain=VIR_FROM_DOMAIN)
        if self.address is None:
            raise XmlError("Missing <address> element in hostdev device", domain=VIR_FROM_DOMAIN)


_USB_ID = Integer(base=0, style="#06x", refusal=xml_error("cannot parse usb vendor id {}"))


@attrs.define
class UsbHostAddress(Model):
    TAG: ClassVar[str] = "address"
    bus: int | None = attribute("bus", Integer())
    device: int | None = attribute("device", Integer())
    port: str | None = attrs.field(default=None)


@attrs.define
class UsbHostSource(Model):
    TAG: ClassVar[str] = "source"
    startup_policy: str | None = attribute("startupPolicy", Choice("mandatory requisite optional", silent="default"))
    guest_reset: str | None = attribute("guestReset", Choice("off uninitialized on"))
    vendor: int | None = nested_attribute("vendor/id", Integer(base=0, style="#06x", refusal=xml_error("cannot parse vendor id {}")), required=xml_error("usb vendor needs id"))
    product: int | None = nested_attribute("product/id", Integer(base=0, style="#06x", refusal=xml_error("cannot parse product {}")), required=xml_error("usb product needs id"))
    address: UsbHostAddress | None = child(UsbHostAddress)

    def complete(self, source: Source, how: Reading) -> None:
        if self.vendor is None and self.address is None:
            raise XmlError("usb address needs bus id", domain=VIR_FROM_DOMAIN)
        if self.vendor == 0:
            raise XmlError("vendor cannot be 0.", domain=VIR_FROM_DOMAIN)
        if self.vendor is not None and self.product is None:
            raise XmlError("missing product", domain=VIR_FROM_DOMAIN)


@attrs.define
class ScsiHostAddress(Model):
    TAG: ClassVar[str] = "address"
    bus: int = attribute("bus", Integer(), required=True)
    target: int = attribute("target", Integer(), required=True)
    unit: int = attribute("unit", Integer(bits=64), required=True)


@attrs.define
class ScsiHostSource(Model):
    TAG: ClassVar[str] = "source"
    protocol: str | None = attribute("protocol", Choice("iscsi", silent="adapter"))
    name: str | None = attribute("name")
    hosts: list[Host] = children(Host)
    adapter: str | None = nested_attribute("adapter/name")
    address: ScsiHostAddress | None = child(ScsiHostAddress)
    auth: Auth | None = child(Auth)
    initiator: Initiator | None = child(Initiator)

    def complete(self, source: Source, how: Reading) -> None:
        if self.protocol == "iscsi":
            self.adapter = self.address = None
            if self.name is None:
                raise XmlError("Missing iSCSI hostdev name", domain=VIR_FROM_DOMAIN)
        else:
            self.name, self.hosts, self.auth, self.initiator = None, [], None, None
            if self.address is None:
                raise XmlError("'address' must be specified for scsi hostdev source", domain=VIR_FROM_DOMAIN)
            if self.adapter is None:
                raise XmlError("'adapter' must be specified for scsi hostdev source", domain=VIR_FROM_DOMAIN)


@attrs.define
class VhostSource(Model):
    TAG: ClassVar[str] = "source"
    protocol: str = attribute("protocol", Choice("vhost"), required=xml_error("Missing scsi_host subsystem protocol"))
    wwpn: str | None = attribute("wwpn")


@attrs.define
class MdevAddress(Model):
    TAG: ClassVar[str] = "address"
    uuid: bytes = attribute("uuid", Uuid(refusal=xml_error("Cannot parse uuid attribute of element <address>")), required=xml_error("Missing 'uuid' attribute for element <address>"))


@attrs.define
class MdevSource(Model):
    TAG: ClassVar[str] = "source"
    address: MdevAddress | None = child(MdevAddress)

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is None:
            raise XmlError("Missing <address> element", domain=VIR_FROM_DOMAIN)


@attrs.define
class CapabilitySource(Model):
    TAG: ClassVar[str] = "source"
    block: str | None = leaf("block")
    char: str | None = leaf("char")
    interface: str | None = leaf("interface")


_SUBSYSTEMS: dict[str, type[Model]] = {
    "usb": UsbHostSource,
    "pci": PciHostSource,
    "scsi": ScsiHostSource,
    "scsi_host": VhostSource,
    "mdev": MdevSource,
}
_CAPABILITIES = frozenset(("storage", "misc", "net"))


def _read_source(source: Source, how: Reading, model: Any) -> Model:
    element = source.first("source")
    if element is None:
        raise XmlError("Missing <source> element in hostdev device", domain=VIR_FROM_DOMAIN)
    cls = CapabilitySource if model.mode == "capabilities" else _SUBSYSTEMS[model.type]
    return cls.read(element, how)


def _read_type(source: Source, how: Reading, model: Any) -> None:
    kind = source.get("type")
    known = _CAPABILITIES if model.mode == "capabilities" else frozenset(_SUBSYSTEMS)
    if kind is None:
        raise XmlError(
            "missing source address type",
            domain=VIR_FROM_DOMAIN,
        )
    if kind not in known:
        raise XmlError(f"unknown host device source address type '{kind}'", domain=VIR_FROM_DOMAIN)


@attrs.define
class TeamingRef(Model):
    TAG: ClassVar[str] = "teaming"
    type: str = attribute("type", Choice("persistent transient"), required=True)
    persistent: str | None = attribute("persistent")


@attrs.define
class HostDevice(Model):
    """A device of the host."""

    TAG: ClassVar[str] = "hostdev"
    mode: str = attribute("mode", Choice("subsystem capabilities", refusal=xml_error("unknown hostdev mode '{}'")), default="subsystem")
    kind_check: None = hook(_read_type, lambda value, how, model: None)
    type: str = attribute("type")
    managed: bool | None = attribute("managed", yes_no())
    sgio: str | None = attribute("sgio", Choice("filtered unfiltered"))
    rawio: bool | None = attribute("rawio", yes_no())
    model: str | None = attribute("model")
    display: bool | None = attribute("display", on_off())
    ramfb: bool | None = attribute("ramfb", on_off())
    driver: str | None = nested_attribute("driver/name", Choice("kvm vfio xen", silent="default"))
    source: Model | None = hook(_read_source, lambda value, how, model: value.element(how))
    teaming: TeamingRef | None = child(TeamingRef)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    info: RomInfo = inline(RomInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.mode == "subsystem":
            self.managed = bool(self.managed)
        else:
            self.managed = None
        if self.type != "scsi" or self.mode != "subsystem":
            if self.sgio is not None and self.mode == "subsystem":
                raise ConfigUnsupported("sgio is only supported for scsi host device", domain=VIR_FROM_DOMAIN)
            if self.rawio is not None and self.mode == "subsystem":
                raise ConfigUnsupported("rawio is only supported for scsi host device", domain=VIR_FROM_DOMAIN)
        if self.type != "pci":
            self.driver = None
        if self.type == "mdev":
            if self.model is None:
                raise XmlError("Missing 'model' attribute in mediated device's <hostdev> element", domain=VIR_FROM_DOMAIN)
            Choice("vfio-pci vfio-ccw vfio-ap", refusal=xml_error("unknown hostdev model '{}'")).read(self.model, None)  # type: ignore[arg-type]
        elif self.type != "scsi_host":
            self.model = self.display = self.ramfb = None


@attrs.define
class InterfaceHostSource(Model):
    """The source of a network card that is a host device."""

    TAG: ClassVar[str] = "source"
    address: Address | None = variant("address", choose_address)


def read_interface_hostdev(source: Source, how: Reading) -> InterfaceHostSource | None:
    """The ``<source>`` of ``<interface type='hostdev'>``."""
    element = source.first("source")
    if element is None or element.find("address") is None or element.find("address").get("type") is None:
        raise XmlError("missing source address type", domain=VIR_FROM_DOMAIN)
    return InterfaceHostSource.read(element, how)
