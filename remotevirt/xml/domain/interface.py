"""``<interface>``: network cards."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import (
    VIR_FROM_DOMAIN,
    VIR_FROM_NONE,
)
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, InvalidArg, XmlError
from remotevirt.xml.addresses import format_address, parse_address
from remotevirt.xml.domain.address import RomInfo
from remotevirt.xml.domain.disk import VirtioOptions
from remotevirt.xml.domain.hostdev import read_interface_hostdev
from remotevirt.xml.domain.interface_source import (
    PLACES,
    WITH_SOURCE,
    SocketPlace,
)
from remotevirt.xml.domain.ip import IpAddress, Route
from remotevirt.xml.domain.switch import (
    Bandwidth,
    VirtualPort,
    Vlan,
)
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hook,
    inline,
    leaf,
    nested_attribute,
    variant,
)
from remotevirt.xml.parse import child_elements
from remotevirt.xml.values import (
    Choice,
    Integer,
    Mac,
    Text,
    detail,
    missing_attribute,
    on_off,
    unsupported,
    xml_error,
    yes_no,
)
from remotevirt.xml.write import Tag

__all__ = ["Bandwidth", "FilterRef", "Interface", "IpAddress", "Route", "VirtualPort", "Vlan"]

TYPES = "user ethernet vhostuser server client mcast network bridge internal direct hostdev udp vdpa null vds"
GENERATED = ("vnet", "macvtap", "macvlan")
"""Names that a hypervisor makes up; a document that asks for one is not obeyed."""


@attrs.define
class MacAddress(Model):
    TAG: ClassVar[str] = "mac"
    address: str | None = attribute("address", Mac())
    type: str | None = attribute("type", Choice("generated static"))
    check: bool | None = attribute("check", yes_no())

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is not None and int(self.address[:2], 16) & 1:
            raise XmlError(
                f"expected unicast mac address, found multicast '{self.address}'", domain=VIR_FROM_DOMAIN
            )


@attrs.define
class PortRange(Model):
    TAG: ClassVar[str] = "range"
    start: int | None = attribute("start", Integer(zero="refused"))
    end: int | None = attribute("end", Integer(zero="refused"))
    to: int | None = attribute("to", Integer(zero="refused"))
    exclude: bool | None = attribute("exclude", yes_no())


@attrs.define
class PortForward(Model):
    TAG: ClassVar[str] = "portForward"
    KEEP: ClassVar[bool] = True
    proto: str = attribute("proto", Choice("tcp udp"), required=True)
    address: str | None = attribute("address")
    dev: str | None = attribute("dev")
    ranges: list[PortRange] = children(PortRange)

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is not None:
            found = parse_address(self.address)
            if found is None:
                text = f"Invalid address '{self.address}' in <portForward>"
                raise XmlError(text, domain=VIR_FROM_DOMAIN)
            self.address = format_address(found)


@attrs.define
class InterfaceTarget(Model):
    """The card's name on the host."""

    TAG: ClassVar[str] = "target"
    dev: str | None = attribute("dev", Text(empty=True))
    managed: bool | None = attribute("managed", yes_no())


@attrs.define
class GuestSide(Model):
    TAG: ClassVar[str] = "guest"
    dev: str | None = attribute("dev")
    actual: str | None = attribute("actual")


@attrs.define
class HostOffloads(Model):
    TAG: ClassVar[str] = "host"
    csum: bool | None = attribute("csum", on_off())
    gso: bool | None = attribute("gso", on_off())
    tso4: bool | None = attribute("tso4", on_off())
    tso6: bool | None = attribute("tso6", on_off())
    ecn: bool | None = attribute("ecn", on_off())
    ufo: bool | None = attribute("ufo", on_off())
    mrg_rxbuf: bool | None = attribute("mrg_rxbuf", on_off())


@attrs.define
class GuestOffloads(Model):
    TAG: ClassVar[str] = "guest"
    csum: bool | None = attribute("csum", on_off())
    tso4: bool | None = attribute("tso4", on_off())
    tso6: bool | None = attribute("tso6", on_off())
    ecn: bool | None = attribute("ecn", on_off())
    ufo: bool | None = attribute("ufo", on_off())


@attrs.define
class InterfaceDriver(Model):
    TAG: ClassVar[str] = "driver"
    name: str | None = attribute("name", Choice("qemu vhost kvm vfio xen"))
    txmode: str | None = attribute("txmode", Choice("iothread timer"))
    ioeventfd: bool | None = attribute("ioeventfd", on_off())
    event_idx: bool | None = attribute("event_idx", on_off())
    queues: int | None = attribute("queues", Integer(zero="silent"))
    rx_queue_size: int | None = attribute("rx_queue_size", Integer(zero="silent"))
    tx_queue_size: int | None = attribute("tx_queue_size", Integer(zero="silent"))
    rss: bool | None = attribute("rss", on_off())
    rss_hash_report: bool | None = attribute("rss_hash_report", on_off())
    virtio: VirtioOptions = inline(VirtioOptions)
    host: HostOffloads | None = child(HostOffloads)
    guest: GuestOffloads | None = child(GuestOffloads)

    def complete(self, source: Source, how: Reading) -> None:
        if self.queues == 1:
            self.queues = None


@attrs.define
class InterfaceBackend(Model):
    TAG: ClassVar[str] = "backend"
    type: str | None = attribute("type", Choice("passt", silent="default"))
    tap: str | None = attribute("tap", Text(empty=True))
    vhost: str | None = attribute("vhost")
    log: str | None = attribute("logFile")

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "passt":
            # known to libvirt 9.0.0, and refused for want of a driver that has it
            text = "Invalid value for attribute 'type' in element 'backend': 'passt'."
            raise XmlError(text, domain=VIR_FROM_DOMAIN)


_VARIABLE = re.compile(r"[A-Za-z0-9_]+\Z")
_VARIABLE_VALUE = re.compile(r"[A-Za-z0-9_.:]+\Z")


@attrs.define
class FilterParameter(Model):
    TAG: ClassVar[str] = "parameter"
    name: str | None = attribute("name")
    value: str | None = attribute("value")

    def is_valid(self) -> bool:
        """Whether a filter can use it; libvirt drops others."""
        return bool(_VARIABLE.match(self.name or "") and _VARIABLE_VALUE.match(self.value or ""))


@attrs.define
class FilterRef(Model):
    """The network filter of an interface, and what it is told."""

    TAG: ClassVar[str] = "filterref"
    filter: str | None = attribute("filter", Text(empty=True))
    parameters: list[FilterParameter] = children(FilterParameter)

    def complete(self, source: Source, how: Reading) -> None:
        self.parameters = [one for one in self.parameters if one.is_valid()]
        self.parameters.sort(key=lambda one: one.name or "")


@attrs.define
class CoalesceFrames(Model):
    TAG: ClassVar[str] = "frames"
    max: int | None = attribute(
        "max",
        Integer(zero="silent", refusal=detail("cannot parse value '{}' for coalesce parameter")),
    )


@attrs.define
class CoalesceRx(Model):
    TAG: ClassVar[str] = "rx"
    frames: CoalesceFrames | None = child(CoalesceFrames)


@attrs.define
class Coalesce(Model):
    TAG: ClassVar[str] = "coalesce"
    rx: CoalesceRx | None = child(CoalesceRx)


@attrs.define
class Teaming(Model):
    TAG: ClassVar[str] = "teaming"
    type: str | None = attribute(
        "type",
        Choice("persistent transient", silent="none", refusal=unsupported("unknown teaming type '{}'")),
    )
    persistent: str | None = attribute("persistent")

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "transient" and self.persistent is None:
            raise ConfigUnsupported(
                "teaming persistent attribute must be set if teaming type is 'transient'",
                domain=VIR_FROM_DOMAIN,
            )
        if self.type == "persistent" and self.persistent is not None:
            raise ConfigUnsupported(
                "teaming persistent attribute not allowed if teaming type is 'persistent'",
                domain=VIR_FROM_DOMAIN,
            )


@attrs.define
class Tune(Model):
    TAG: ClassVar[str] = "tune"
    sndbuf: int | None = leaf(
        "sndbuf", Integer(bits=64, refusal=xml_error("sndbuf must be a positive integer"))
    )


_MODEL = re.compile(r"[a-zA-Z0-9._-]+\Z")


def _read_place(source: Source, how: Reading, model: Any) -> Model | None:
    if model.type == "hostdev":
        return read_interface_hostdev(source, how)
    cls = PLACES.get(model.type)
    element = source.first("source")
    if element is not None and model.type != "ethernet" and {"ip", "route"} & set(child_elements(element)):
        raise ConfigUnsupported(
            "Invalid attempt to set network interface host-side IP route and/or address info on interface"
            f" of type '{model.type}'. This is only supported on interfaces of type 'ethernet'",
            domain=VIR_FROM_DOMAIN,
        )
    return cls.read(element, how) if cls and element is not None else None


def _write_place(value: Model, how: Printing, model: Any) -> Tag | None:
    tag = value.element(how)
    return None if tag.is_bare() else tag


@attrs.define
class Interface(Model):
    """A network card of the guest."""

    TAG: ClassVar[str] = "interface"
    type: str = attribute("type", Choice(TYPES), default="user")
    managed: bool | None = attribute("managed", yes_no())
    trust_guest_rx_filters: bool | None = attribute("trustGuestRxFilters", yes_no())
    mac: MacAddress | None = child(MacAddress)
    host_driver: Any = attrs.field(default=None)
    place: Model | None = hook(_read_place, _write_place)
    vlan: Vlan | None = child(Vlan)
    virtualport: VirtualPort | None = child(VirtualPort)
    bandwidth: Bandwidth | None = child(Bandwidth)
    ips: list[IpAddress] = children(IpAddress)
    routes: list[Route] = children(Route)
    port_forwards: list[PortForward] = children(PortForward)
    script: str | None = nested_attribute("script/path")
    downscript: str | None = nested_attribute("downscript/path")
    backenddomain: str | None = nested_attribute("backenddomain/name")
    isolated: bool | None = nested_attribute("port/isolated", yes_no())
    target: InterfaceTarget | None = child(InterfaceTarget)
    guest: GuestSide | None = child(GuestSide)
    model: str | None = nested_attribute("model/type")
    driver: InterfaceDriver | None = child(InterfaceDriver)
    backend: InterfaceBackend | None = child(InterfaceBackend)
    filterref: FilterRef | None = variant(
        "filterref", lambda element: FilterRef if element.get("filter") is not None else None
    )
    tune: Tune | None = child(Tune)
    teaming: Teaming | None = child(Teaming)
    link: str | None = nested_attribute(
        "link/state",
        Choice("up down", silent="default", refusal=unsupported("unknown interface link state '{}'")),
    )
    mtu: int | None = nested_attribute(
        "mtu/size", Integer(zero="silent", refusal=xml_error("malformed mtu size"))
    )
    coalesce: Coalesce | None = child(Coalesce)
    info: RomInfo = inline(RomInfo)

    def complete(self, source: Source, how: Reading) -> None:
        self._check_place()
        if self.backend is not None and not (self.model or "").startswith("virtio"):
            self.backend.vhost = None
        if self.virtualport is not None and self.type not in {"network", "bridge", "direct", "hostdev"}:
            raise ConfigUnsupported(
                f"<virtualport> element unsupported for <interface type='{self.type}'>",
                domain=VIR_FROM_DOMAIN,
            )
        port = source.first("virtualport")
        if port is not None and port.get("type") is None and self.type in {"bridge", "direct", "hostdev"}:
            raise XmlError("missing required virtualport type", domain=VIR_FROM_NONE)
        if self.model is not None and not _MODEL.match(self.model):
            raise InvalidArg("Model name contains invalid characters", domain=VIR_FROM_DOMAIN)
        if self.type != "hostdev":
            self.managed = None
        if (
            self.target is not None
            and self.target.dev
            and not how.live
            and self.target.dev.startswith(GENERATED)
        ):
            self.target.dev = None
        if self.type not in {"network", "bridge", "ethernet"}:
            self.filterref = None
        if self.type == "vhostuser" and not self.is_virtio():
            raise InternalError(
                "Wrong or no <model> 'type' attribute specified with <interface type='vhostuser'/>."
                " vhostuser requires the virtio-net* frontend",
                domain=VIR_FROM_DOMAIN,
            )

    def is_virtio(self) -> bool:
        """Whether the guest sees a paravirtual card."""
        return self.model in {"virtio", "virtio-transitional", "virtio-non-transitional"}

    def _check_place(self) -> None:
        if self.type in WITH_SOURCE and self.place is None:
            raise XmlError(
                f"interface type='{self.type}' requires a 'source' element", domain=VIR_FROM_DOMAIN
            )
        place = self.place
        if (
            self.type in {"client", "mcast", "udp"}
            and isinstance(place, SocketPlace)
            and place.address is None
        ):
            raise missing_attribute("source", "address")
        if self.type == "udp" and isinstance(place, SocketPlace) and place.local is None:
            raise XmlError("'<local>' element missing for 'udp' socket interface", domain=VIR_FROM_DOMAIN)
        if self.type != "udp" and isinstance(place, SocketPlace):
            place.local = None

    def fill(self, tag: Tag, how: Printing) -> None:
        # A network card that is a host device says its driver before its source.
        driver = self.driver
        if self.type == "hostdev" and driver is not None:
            self.driver = None
            try:
                self._fill(tag, how)
            finally:
                self.driver = driver
            made = driver.element(how)
            if not made.is_bare():
                tag.children.insert(1 if self.mac else 0, made)
            return
        if driver is not None and not self.is_virtio():
            self.driver = None
        try:
            self._fill(tag, how)
        finally:
            self.driver = driver

    def _fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
