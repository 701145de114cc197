"""``<hostdev>``: devices of the host that the guest gets."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import Address, PciPlace, RomInfo, choose_address
from remotevirt.xml.domain.ip import IpAddress, Route
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
from remotevirt.xml.parse import Element
from remotevirt.xml.values import (
    Boolean,
    Choice,
    Integer,
    Uuid,
    Where,
    internal,
    missing_attribute,
    on_off,
    unsupported,
    xml_error,
    yes_no,
)
from remotevirt.xml.write import Tag

__all__ = ["HostDevice", "read_interface_hostdev"]


@attrs.define
class PciHostAddress(PciPlace):
    TAG: ClassVar[str] = "address"


@attrs.define
class PciHostSource(Model):
    TAG: ClassVar[str] = "source"
    write_filtering: bool | None = attribute("writeFiltering", yes_no())
    address: PciHostAddress | None = child(PciHostAddress)

    def complete(self, source: Source, how: Reading) -> None:
        self.address = self.address or PciHostAddress()


_USB_ID = Integer(base=0, style="#06x")


@attrs.define
class UsbHostAddress(Model):
    TAG: ClassVar[str] = "address"
    bus: int = attribute("bus", Integer(base=0), required=True)
    device: int = attribute("device", Integer(base=0), required=True)


@attrs.define
class UsbHostSource(Model):
    TAG: ClassVar[str] = "source"
    startup_policy: str | None = attribute(
        "startupPolicy", Choice("mandatory requisite optional", silent="default")
    )
    guest_reset: str | None = attribute("guestReset", Choice("off uninitialized on"))
    vendor: int | None = nested_attribute(
        "vendor/id", Integer(base=0, style="#06x", zero="refused"), required=True
    )
    product: int | None = nested_attribute("product/id", _USB_ID, required=True)
    address: UsbHostAddress | None = child(UsbHostAddress)

    def complete(self, source: Source, how: Reading) -> None:
        if self.vendor is not None and self.product is None:
            raise InternalError("missing product", domain=VIR_FROM_DOMAIN)
        if self.vendor is None and self.product is not None:
            raise InternalError("missing vendor", domain=VIR_FROM_DOMAIN)


@attrs.define
class ScsiHostAddress(Model):
    TAG: ClassVar[str] = "address"
    bus: int = attribute("bus", Integer(), required=True)
    target: int = attribute("target", Integer(), required=True)
    unit: int = attribute("unit", Integer(bits=64), required=True)


_NO_ADAPTER = "'adapter' must be specified for scsi hostdev source"
_NO_ADAPTER_NAME = "'adapter' name must be specified for scsi hostdev source"


SECRET_TYPES: Final = frozenset(["none", "volume", "ceph", "tls", "vtpm"])
"""The kinds of secrets that there are beside that of iSCSI."""


@attrs.define
class ScsiHostSource(Model):
    TAG: ClassVar[str] = "source"
    protocol: str | None = attribute(
        "protocol",
        Choice("iscsi", silent="adapter", refusal=unsupported("Unknown SCSI subsystem protocol '{}'")),
    )
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
                raise XmlError("missing iSCSI hostdev source path name", domain=VIR_FROM_DOMAIN)
            if not self.hosts:
                raise XmlError("missing the host address for the iSCSI hostdev", domain=VIR_FROM_DOMAIN)
            if "/" not in self.name:
                self.name += "/0"
            if self.auth is not None and self.auth.secret is not None and self.auth.secret.type != "iscsi":
                kind = self.auth.secret.type or "(null)"
                if kind not in SECRET_TYPES:
                    raise ConfigUnsupported(f"invalid secret type {kind}", domain=VIR_FROM_DOMAIN)
                raise InternalError(f"hostdev invalid secret type '{kind}'", domain=VIR_FROM_DOMAIN)
        else:
            self.name, self.hosts, self.auth, self.initiator = None, [], None, None
            if self.address is None:
                raise XmlError("'address' must be specified for scsi hostdev source", domain=VIR_FROM_DOMAIN)
            if self.adapter is None:
                raise XmlError(
                    _NO_ADAPTER if source.first("adapter") is None else _NO_ADAPTER_NAME,
                    domain=VIR_FROM_DOMAIN,
                )


_WWPN = re.compile(r"naa\.[0-9a-fA-F]{16}\Z")


@attrs.define
class VhostSource(Model):
    TAG: ClassVar[str] = "source"
    protocol: str = attribute(
        "protocol",
        Choice("vhost", refusal=unsupported("Unknown scsi_host subsystem protocol '{}'")),
        required=xml_error("Missing scsi_host subsystem protocol"),
    )
    wwpn: str | None = attribute("wwpn")

    def complete(self, source: Source, how: Reading) -> None:
        if self.wwpn is None:
            raise XmlError("missing vhost-scsi hostdev source wwpn", domain=VIR_FROM_DOMAIN)
        if not _WWPN.match(self.wwpn):
            raise XmlError("malformed 'wwpn' value", domain=VIR_FROM_DOMAIN)


@attrs.define
class MdevAddress(Model):
    TAG: ClassVar[str] = "address"
    uuid: bytes = attribute(
        "uuid",
        Uuid(refusal=internal("Cannot parse uuid attribute of element <address>")),
        required=unsupported("Missing 'uuid' attribute for element <address>"),
    )


@attrs.define
class MdevSource(Model):
    TAG: ClassVar[str] = "source"
    address: MdevAddress | None = child(MdevAddress)

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is None:
            raise ConfigUnsupported("Missing <address> element", domain=VIR_FROM_DOMAIN)


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
    if model.mode != "capabilities":
        return _SUBSYSTEMS[model.type].read(element, how)
    found = CapabilitySource.read(element, how)
    for kind, name, what in (
        ("storage", "block", "storage"),
        ("misc", "char", "character"),
        ("net", "interface", "net"),
    ):
        if model.type == kind and getattr(found, name) is None:
            raise XmlError(f"Missing <{name}> element in hostdev {what} device", domain=VIR_FROM_DOMAIN)
        if model.type != kind:
            setattr(found, name, None)
    return found


def _write_source(value: Model, how: Printing, model: Any) -> Tag | None:
    tag = value.element(how)
    return None if tag.is_bare() else tag


def _read_type(source: Source, how: Reading, model: Any) -> None:
    kind = source.get("type")
    known = _CAPABILITIES if model.mode == "capabilities" else frozenset(_SUBSYSTEMS)
    if kind is None:
        raise XmlError(
            "missing source address type",
            domain=VIR_FROM_DOMAIN,
        )
    if kind not in known:
        raise ConfigUnsupported(f"unknown host device source address type '{kind}'", domain=VIR_FROM_DOMAIN)


_MODELS = {
    "mdev": Choice("vfio-pci vfio-ccw vfio-ap"),
    "scsi_host": Choice("virtio virtio-transitional virtio-non-transitional", silent="default"),
}


def _read_model(source: Source, how: Reading, model: Any) -> str | None:
    kind = _MODELS.get(model.type) if model.mode == "subsystem" else None
    text = source.get("model")
    if kind is None:
        if text is not None and model.mode == "subsystem":
            text = f"'model' attribute in <hostdev> is only supported when type='{model.type}'"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)
        return None
    if text is None:
        if model.type == "mdev":
            raise missing_attribute("hostdev", "model")
        return None
    return kind.read(text, Where("hostdev", "model"))


@attrs.define
class TeamingRef(Model):
    TAG: ClassVar[str] = "teaming"
    type: str = attribute("type", Choice("persistent transient"), required=True)
    persistent: str | None = attribute("persistent")


@attrs.define
class HostDevice(Model):
    """A device of the host."""

    TAG: ClassVar[str] = "hostdev"
    HOLD: ClassVar[bool] = True
    mode: str = attribute(
        "mode",
        Choice("subsystem capabilities", refusal=unsupported("unknown hostdev mode '{}'")),
        default="subsystem",
    )
    kind_check: None = hook(_read_type, lambda value, how, model: None)
    type: str = attribute("type")
    managed: bool | None = attribute("managed", Boolean("yes", "no", lenient=True))
    sgio: str | None = attribute("sgio", Choice("filtered unfiltered"))
    rawio: bool | None = attribute("rawio", yes_no())
    model: str | None = hook(_read_model, lambda value, how, model: None)
    display: bool | None = attribute("display", on_off())
    ramfb: bool | None = attribute("ramfb", on_off())
    driver: str | None = nested_attribute("driver/name", Choice("kvm vfio xen", silent="default"))
    source: Model | None = hook(_read_source, _write_source)
    teaming: TeamingRef | None = child(TeamingRef)
    ips: list[IpAddress] = children(IpAddress)
    routes: list[Route] = children(Route)
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    info: RomInfo = inline(RomInfo)

    def complete(self, source: Source, how: Reading) -> None:
        place = source.first("source")
        policy = place.get("startupPolicy") if place is not None else None
        if policy is not None and self.mode == "subsystem" and self.type != "usb":
            text = "Setting startupPolicy is only allowed for USB devices"
            raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
        if self.mode == "subsystem":
            self.managed = bool(self.managed)
        else:
            self.managed = None
        if self.type != "scsi" or self.mode != "subsystem":
            if self.sgio is not None and self.mode == "subsystem":
                raise XmlError("sgio is only supported for scsi host device", domain=VIR_FROM_DOMAIN)
            if self.rawio is not None and self.mode == "subsystem":
                raise XmlError("rawio is only supported for scsi host device", domain=VIR_FROM_DOMAIN)
        if self.type != "pci":
            self.driver = None
        if self.mode != "capabilities" or self.type != "net":
            self.ips, self.routes = [], []
        if self.type != "scsi":
            self.readonly = self.shareable = False
        if self.type != "mdev":
            self.display = self.ramfb = None

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        if self.model is not None:
            later = next(
                (i for i, (name, _) in enumerate(tag.attributes) if name in {"display", "ramfb"}), None
            )
            tag.attributes.insert(len(tag.attributes) if later is None else later, ("model", self.model))


@attrs.define
class UsbCardAddress(Address):
    """Where on the host a network card at a USB port is."""

    type: str = attribute("type")
    place: UsbHostAddress = inline(UsbHostAddress)


def _choose_card(element: Element) -> type[Model] | None:
    return UsbCardAddress if element.get("type") == "usb" else choose_address(element)


@attrs.define
class InterfaceHostSource(Model):
    """The source of a network card that is a host device."""

    TAG: ClassVar[str] = "source"
    address: Address | None = variant("address", _choose_card)


def read_interface_hostdev(source: Source, how: Reading) -> InterfaceHostSource | None:
    """The ``<source>`` of ``<interface type='hostdev'>``."""
    element = source.first("source")
    if element is None or element.find("address") is None or element.find("address").get("type") is None:
        raise XmlError("missing source address type", domain=VIR_FROM_DOMAIN)
    return InterfaceHostSource.read(element, how)
