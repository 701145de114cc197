"""``<interface>``: network cards."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import RomInfo, choose_address
from remotevirt.xml.domain.disk import VirtioOptions
from remotevirt.xml.domain.hostdev import read_interface_hostdev
from remotevirt.xml.domain.storage import Reconnect
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hidden,
    hook,
    inline,
    leaf,
    nested_attribute,
    variant,
)
from remotevirt.xml.values import Choice, Integer, Mac, Refusal, Text, Uuid, internal, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import Tag

__all__ = ["Bandwidth", "FilterRef", "Interface", "IpAddress", "Route", "VirtualPort", "Vlan"]

TYPES = "user ethernet vhostuser server client mcast network bridge internal direct hostdev udp vdpa null vds"
GENERATED = ("vnet", "macvtap", "macvlan", "vif")
"""Names that a hypervisor makes up; a document that asks for one is not obeyed."""


@attrs.define
class MacAddress(Model):
    TAG: ClassVar[str] = "mac"
    address: str = attribute("address", Mac())
    type: str | None = attribute("type", Choice("generated static", silent="", refusal=xml_error("invalid mac address type value: '{}'. Valid values are \"generated\" and \"static\".")))
    check: bool | None = attribute("check", yes_no())


@attrs.define
class NetworkPlace(Model):
    TAG: ClassVar[str] = "source"
    network: str | None = attribute("network")
    portgroup: str | None = attribute("portgroup")
    portid: bytes | None = attribute("portid", Uuid(), live=True)


@attrs.define
class BridgePlace(Model):
    TAG: ClassVar[str] = "source"
    bridge: str | None = attribute("bridge")


@attrs.define
class DirectPlace(Model):
    TAG: ClassVar[str] = "source"
    dev: str | None = attribute("dev")
    mode: str = attribute("mode", Choice("vepa bridge private passthrough"), default="vepa")


@attrs.define
class DevicePlace(Model):
    TAG: ClassVar[str] = "source"
    dev: str | None = attribute("dev")


@attrs.define
class InternalPlace(Model):
    TAG: ClassVar[str] = "source"
    name: str | None = attribute("name")


@attrs.define
class LocalPlace(Model):
    TAG: ClassVar[str] = "local"
    address: str | None = attribute("address")
    port: int | None = attribute("port", Integer(signed=True))


@attrs.define
class SocketPlace(Model):
    TAG: ClassVar[str] = "source"
    address: str | None = attribute("address")
    port: int | None = attribute("port", Integer(signed=True, refusal=xml_error("Cannot parse <source> 'port' attribute with socket interface")))
    local: LocalPlace | None = child(LocalPlace)


@attrs.define
class VhostUserPlace(Model):
    TAG: ClassVar[str] = "source"
    type: str | None = attribute("type")
    path: str | None = attribute("path")
    mode: str | None = attribute("mode")
    reconnect: Reconnect | None = child(Reconnect)


@attrs.define
class SwitchPlace(Model):
    TAG: ClassVar[str] = "source"
    switchid: bytes | None = attribute("switchid", Uuid(refusal=xml_error("Unable to parse switchid parameter '{}'")))
    portid: int | None = attribute("portid", Integer(bits=64, signed=True))
    portgroupid: str | None = attribute("portgroupid")
    connectionid: int | None = attribute("connectionid", Integer(bits=64, signed=True))


@attrs.define
class IpAddress(Model):
    TAG: ClassVar[str] = "ip"
    address: str | None = attribute("address", required=xml_error("Missing network address"))
    family: str | None = attribute("family", Choice("ipv4 ipv6", refusal=xml_error("Unknown IP address family: '{}'")))
    prefix: int | None = attribute("prefix", Integer(zero="silent"))
    peer: str | None = attribute("peer")

    def complete(self, source: Source, how: Reading) -> None:
        if self.family is None:
            self.family = "ipv6" if ":" in (self.address or "") else "ipv4"


@attrs.define
class Route(Model):
    TAG: ClassVar[str] = "route"
    family: str | None = attribute("family")
    address: str | None = attribute("address")
    netmask: str | None = attribute("netmask")
    prefix: int | None = attribute("prefix", Integer())
    gateway: str | None = attribute("gateway")
    metric: int | None = attribute("metric", Integer(zero="silent"))


@attrs.define
class AddressedPlace(Model):
    """A source that has nothing but addresses on the host's side."""

    TAG: ClassVar[str] = "source"
    ips: list[IpAddress] = children(IpAddress)
    routes: list[Route] = children(Route)


_PLACES: dict[str, type[Model]] = {
    "network": NetworkPlace,
    "bridge": BridgePlace,
    "direct": DirectPlace,
    "vdpa": DevicePlace,
    "internal": InternalPlace,
    "server": SocketPlace,
    "client": SocketPlace,
    "mcast": SocketPlace,
    "udp": SocketPlace,
    "vhostuser": VhostUserPlace,
    "vds": SwitchPlace,
    "ethernet": AddressedPlace,
}


@attrs.define
class PortParameters(Model):
    TAG: ClassVar[str] = "parameters"
    managerid: int | None = attribute("managerid", Integer(base=0, high=255, refusal=xml_error("value of managerid out of range", 0)))
    typeid: int | None = attribute("typeid", Integer(base=0, high=0xFFFFFF, refusal=xml_error("value for typeid out of range", 0)))
    typeidversion: int | None = attribute("typeidversion", Integer(base=0, high=255, refusal=xml_error("value of typeidversion out of range", 0)))
    instanceid: bytes | None = attribute("instanceid", Uuid(refusal=xml_error("cannot parse instanceid parameter as a uuid", 0)))
    interfaceid: bytes | None = attribute("interfaceid", Uuid(refusal=xml_error("cannot parse interfaceid parameter as a uuid", 0)))
    profileid: str | None = attribute("profileid")


@attrs.define
class VirtualPort(Model):
    """What an intelligent switch wants to know."""

    TAG: ClassVar[str] = "virtualport"
    type: str | None = attribute("type", Choice("802.1Qbg 802.1Qbh openvswitch midonet", silent="none", refusal=xml_error("unknown virtualport type '{}'", 0)))
    parameters: PortParameters | None = child(PortParameters)


_RATE = Integer(bits=64, zero="silent", refusal=unsupported("could not convert bandwidth value '{}'", 0))


@attrs.define
class Rate(Model):
    average: int | None = attribute("average", _RATE)
    peak: int | None = attribute("peak", _RATE)
    floor: int | None = attribute("floor", _RATE)
    burst: int | None = attribute("burst", _RATE)

    def complete(self, source: Source, how: Reading) -> None:
        if self.average is None and self.floor is None:
            raise XmlError("Missing mandatory average or floor attributes", domain=0)
        if (self.peak or self.burst) and self.average is None:
            raise XmlError("'peak' and 'burst' require 'average' attribute", domain=0)


@attrs.define
class Inbound(Rate):
    TAG: ClassVar[str] = "inbound"


@attrs.define
class Outbound(Rate):
    TAG: ClassVar[str] = "outbound"

    def complete(self, source: Source, how: Reading) -> None:
        if self.floor:
            raise XmlError("'floor' attribute allowed only in <inbound> element", domain=0)
        super().complete(source, how)


@attrs.define
class Bandwidth(Model):
    """Limits of a network card, in KiB per second and KiB."""

    TAG: ClassVar[str] = "bandwidth"
    inbound: Inbound | None = child(Inbound)
    outbound: Outbound | None = child(Outbound)


@attrs.define
class VlanTag(Model):
    TAG: ClassVar[str] = "tag"
    id: int = attribute("id", Integer(refusal=xml_error("invalid vlan tag id '{}'", 0)), required=xml_error("missing vlan tag id attribute", 0))
    native: str | None = attribute("nativeMode", Choice("tagged untagged", silent="default"))

    def complete(self, source: Source, how: Reading) -> None:
        if self.id > 4095:
            raise XmlError(f"vlan tag id {self.id} too large (maximum 4095)", domain=0)


@attrs.define
class Vlan(Model):
    TAG: ClassVar[str] = "vlan"
    trunk: bool | None = attribute("trunk", yes_no())
    tags: list[VlanTag] = children(VlanTag)

    def complete(self, source: Source, how: Reading) -> None:
        if not self.tags:
            raise XmlError("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement", domain=0)
        if len(self.tags) > 1 or any(tag.native for tag in self.tags):
            if self.trunk is False:
                raise XmlError(
                    "invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than one vlan tag", domain=0
                )
            self.trunk = True
        self.trunk = self.trunk or None


@attrs.define
class PortRange(Model):
    TAG: ClassVar[str] = "range"
    start: int = attribute("start", Integer(zero="refused"), required=True)
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


@attrs.define
class InterfaceTarget(Model):
    """The card's name on the host."""

    TAG: ClassVar[str] = "target"
    dev: str | None = attribute("dev")
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
    queues: int | None = attribute("queues", Integer(zero="refused"))
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
    tap: str | None = attribute("tap")
    vhost: str | None = attribute("vhost")


@attrs.define
class FilterParameter(Model):
    TAG: ClassVar[str] = "parameter"
    name: str | None = attribute("name")
    value: str | None = attribute("value")


@attrs.define
class FilterRef(Model):
    TAG: ClassVar[str] = "filterref"
    filter: str | None = attribute("filter")
    parameters: list[FilterParameter] = children(FilterParameter)


@attrs.define
class CoalesceFrames(Model):
    TAG: ClassVar[str] = "frames"
    max: int | None = attribute("max", Integer(zero="silent"))


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
    type: str = attribute("type", Choice("persistent transient"), required=True)
    persistent: str | None = attribute("persistent")


@attrs.define
class Tune(Model):
    TAG: ClassVar[str] = "tune"
    sndbuf: int | None = leaf("sndbuf", Integer(bits=64, refusal=xml_error("sndbuf must be a positive integer")))


def _read_place(source: Source, how: Reading, model: Any) -> Model | None:
    if model.type == "hostdev":
        return read_interface_hostdev(source, how)
    cls = _PLACES.get(model.type)
    element = source.first("source")
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
    filterref: FilterRef | None = child(FilterRef)
    tune: Tune | None = child(Tune)
    teaming: Teaming | None = child(Teaming)
    link: str | None = nested_attribute("link/state", Choice("up down", silent="default", refusal=unsupported("unknown interface link state '{}'")))
    mtu: int | None = nested_attribute("mtu/size", Integer(zero="silent"))
    coalesce: Coalesce | None = child(Coalesce)
    info: RomInfo = inline(RomInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "bridge" and self.place is None:
            self.place = None
        if self.type not in {"network", "bridge", "ethernet", "direct", "user", "hostdev"} and self.virtualport:
            self.virtualport = None
        self._check_place()
        if self.model is not None and not self.model.isascii():
            pass
        if self.type != "hostdev":
            self.managed = None
        dev = self.target.dev if self.target else None
        if dev is not None and not how.live and dev.startswith(GENERATED):
            assert self.target is not None
            self.target.dev = None
        if self.target is not None and self.target.managed is not False:
            pass
        if self.vlan is not None and self.type in {"user", "internal"}:
            pass

    def _check_place(self) -> None:
        place = self.place
        kind = self.type
        if kind == "network" and (not isinstance(place, NetworkPlace) or place.network is None):
            raise XmlError("No <source> 'network' attribute specified with <interface type='network'/>", domain=VIR_FROM_DOMAIN)
        if kind == "bridge" and (not isinstance(place, BridgePlace) or place.bridge is None):
            raise XmlError("No <source> 'bridge' attribute specified with <interface type='bridge'/>", domain=VIR_FROM_DOMAIN)
        if kind == "direct" and (not isinstance(place, DirectPlace) or place.dev is None):
            raise XmlError("No <source> 'dev' attribute specified with <interface type='direct'/>", domain=VIR_FROM_DOMAIN)
        if kind == "vdpa" and (not isinstance(place, DevicePlace) or place.dev is None):
            raise XmlError("No <source> 'dev' attribute specified with <interface type='vdpa'/>", domain=VIR_FROM_DOMAIN)
        if kind == "internal" and (not isinstance(place, InternalPlace) or place.name is None):
            raise XmlError("No <source> 'name' attribute specified with <interface type='internal'/>", domain=VIR_FROM_DOMAIN)
        if kind in {"server", "client", "mcast", "udp"}:
            if not isinstance(place, SocketPlace) or place.port is None:
                raise XmlError("No <source> 'port' attribute specified with socket interface", domain=VIR_FROM_DOMAIN)
            if place.address is None and kind != "server":
                raise XmlError("No <source> 'address' attribute specified with socket interface", domain=VIR_FROM_DOMAIN)
            if kind != "udp":
                place.local = None

    def fill(self, tag: Tag, how: Printing) -> None:
        # A network card that is a host device says its driver before its source.
        driver = self.driver
        if self.type == "hostdev" and driver is not None:
            self.driver = None
            try:
                super().fill(tag, how)
            finally:
                self.driver = driver
            made = driver.element(how)
            if not made.is_bare():
                tag.children.insert(1 if self.mac else 0, made)
            return
        super().fill(tag, how)
