"""The network document as a whole."""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import uuid4

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, NoName, XmlDetail, XmlError
from remotevirt.xml.addresses import parse_mac
from remotevirt.xml.domain.metadata import Metadata
from remotevirt.xml.domain.switch import Bandwidth, SharedBandwidth, VirtualPort, Vlan
from remotevirt.xml.fields import Model, Printing, Reading
from remotevirt.xml.network.dns import Dns
from remotevirt.xml.network.forward import Forward
from remotevirt.xml.network.ip import IpSubnet, attribute, refused, unsupported
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.route import Route
from remotevirt.xml.values import Where, format_uuid, parse_integer, parse_uuid, yes_no
from remotevirt.xml.write import Tag, leaf

__all__ = ["Bridge", "NetworkModel", "PortGroup", "Settings"]

ROUTED: Final = {"none", "nat", "route", "open"}
"""Modes in which libvirt makes the bridge itself."""

HOW: Final = Printing()


@attrs.define
class Settings:
    """What networks and port groups have in common."""

    TYPED: ClassVar[bool] = True
    """Whether a virtual port has to have a type."""

    trust_guest_rx_filters: bool | None = None
    vlan: Vlan | None = None
    bandwidth: Bandwidth | None = None
    virtualport: VirtualPort | None = None

    def read_trust(self, element: Element) -> None:
        """Read who may choose what a network card receives; raises VirError."""
        self.trust_guest_rx_filters = _switch(element, "trustGuestRxFilters")

    def read_limits(self, element: Element) -> None:
        """Read bandwidth and VLANs; raises VirError."""
        how = Reading()
        found = element.find("bandwidth")
        if found is not None:
            self.bandwidth = SharedBandwidth.read(found, how)
        found = element.find("vlan")
        if found is not None:
            self.vlan = Vlan.read(found, how)

    def read_virtualport(self, element: Element) -> None:
        """Read what the switch wants to know; raises VirError."""
        found = element.find("virtualport")
        if found is None:
            return
        if found.get("type") is None and self.TYPED:
            raise XmlError("missing required virtualport type", domain=0)
        self.virtualport = VirtualPort.read(found, Reading())


@attrs.define
class PortGroup(Settings):
    """Settings that guests choose by a name."""

    TYPED: ClassVar[bool] = False
    name: str = ""
    default: bool = False

    @classmethod
    def read(cls, element: Element) -> PortGroup:
        """Read; raises VirError."""
        name = element.get("name")
        if name is None:
            raise refused("Missing required name attribute in portgroup")
        group = cls(name=name, default=(element.get("default") or "").lower() == "yes")
        group.read_trust(element)
        group.read_virtualport(element)
        group.read_limits(element)
        return group

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("portgroup", hold=True).set("name", self.name)
        if self.default:
            made.set("default", "yes")
        _set_switch(made, "trustGuestRxFilters", self.trust_guest_rx_filters)
        for part in (self.vlan, self.virtualport, self.bandwidth):
            _print(part, made)
        return made


@attrs.define
class Bridge:
    """The host's bridge behind a network; ``name`` may be None."""

    name: str | None = None
    zone: str | None = None
    stp: str | None = None
    delay: int = 0
    mac_table_manager: str | None = None

    @classmethod
    def read(cls, element: Element | None, network: str) -> Bridge:
        """Read; raises VirError."""
        if element is None:
            return cls()
        text = element.get("delay")
        delay = 0 if text is None else parse_integer(text, base=0, high=2**64 - 1)
        if delay is None:
            raise refused(f"Invalid delay value in network '{network}'")
        manager = element.get("macTableManager")
        if manager not in (None, "kernel", "libvirt"):
            raise refused(f"Invalid macTableManager setting '{manager}' in network '{network}'")
        name, zone, stp = (attribute(element, key) for key in ("name", "zone", "stp"))
        return cls(name, zone, stp, delay, manager)

    def check(self, mode: str, network: str) -> None:
        """Check against the mode of forwarding; raises XmlError."""
        if mode in ROUTED:
            return
        where = f"(network '{network}')"
        if mode != "bridge":
            for value, what in (
                (self.name, "name"),
                (self.zone, "zone"),
                (self.mac_table_manager, "macTableManager setting"),
            ):
                if value is not None:
                    raise refused(f"bridge {what} not allowed in {mode} mode {where}")
        if self.delay or self.stp or self.zone:
            raise refused(
                "bridge delay/stp/zone options only allowed in route, nat, and isolated mode, "
                f"not in {mode} {where}"
            )

    def tag(self, mode: str) -> Tag | None:
        """Return the element, None if there is nothing to say."""
        if mode not in ROUTED and self.name is None and self.mac_table_manager is None:
            return None
        made = Tag("bridge").set("name", self.name).set("zone", self.zone)
        if mode in ROUTED:
            made.set("stp", "off" if self.stp == "off" else "on").set("delay", self.delay)
        return made.set("macTableManager", self.mac_table_manager)


@attrs.define
class NetworkModel(Settings):
    """A network's definition."""

    name: str = ""
    uuid: bytes = bytes(16)
    ipv6: bool = False
    title: str | None = None
    description: str | None = None
    metadata: Metadata | None = None
    forward: Forward = attrs.field(factory=Forward)
    bridge: Bridge = attrs.field(factory=Bridge)
    mtu: int = 0
    mac: str | None = None
    domain: str | None = None
    domain_local: bool | None = None
    dns: Dns = attrs.field(factory=Dns)
    isolated: bool | None = None
    subnets: list[IpSubnet] = attrs.field(factory=list)
    routes: list[Route] = attrs.field(factory=list)
    port_groups: list[PortGroup] = attrs.field(factory=list)

    @classmethod
    def read(cls, element: Element) -> NetworkModel:
        """Read, check and complete; raises VirError."""
        model = cls(name=_read_name(element))
        name = model.name
        model.uuid = _read_uuid(element)
        model.ipv6 = _read_ipv6(element, name)
        model.read_trust(element)
        found = element.find("domain")
        if found is not None:
            model.domain = attribute(found, "name")
            model.domain_local = _switch(found, "localOnly")
        model.read_limits(element)
        found = element.find("port")
        if found is not None:
            model.isolated = _switch(found, "isolated")
        model.bridge = Bridge.read(element.find("bridge"), name)
        model.mac = _read_mac(element, name)
        model.mtu = _read_mtu(element, name)
        found = element.find("dns")
        if found is not None:
            model.dns = Dns.read(found, name)
        model.read_virtualport(element)
        model.port_groups = [PortGroup.read(group) for group in element.findall("portgroup")]
        model.subnets = [IpSubnet.read(subnet, name) for subnet in element.findall("ip")]
        model.routes = [Route.read(route, name) for route in element.findall("route")]
        for route in model.routes:
            if not any(subnet.holds(route.gateway) for subnet in model.subnets):
                raise unsupported(
                    f"unreachable static route gateway '{route.gateway}' specified for network '{name}'"
                )
        found = element.find("forward")
        if found is not None:
            model.forward = Forward.read(found, name)
        found = element.find("metadata")
        if found is not None:
            model.metadata = Metadata.read(found, Reading())
        model._check()
        return model

    def read_title(self, element: Element) -> None:
        """Read title and description too, which libvirt knows from 9.7.0 on; raises VirError."""
        title, description = (element.find(name) for name in ("title", "description"))
        self.title = (None if title is None else text_of(title)) or None
        self.description = (None if description is None else text_of(description)) or None
        if self.title is not None and "\n" in self.title:
            raise refused("network title can't contain newlines")

    def _check(self) -> None:
        forward, name = self.forward, self.name
        if forward.mode not in ROUTED | {"bridge"}:
            self.bridge.check(forward.mode, name)
        wrong = forward.check(name, bridge=self.bridge.name is not None, subnets=bool(self.subnets))
        self.bridge.check(forward.mode, name)
        if wrong:
            raise wrong
        if self.mtu and forward.mode not in ROUTED:
            raise refused(
                "mtu size only allowed in open, route, nat, and isolated mode, "
                f"not in {forward.mode} (network '{name}')"
            )

    def element(self) -> Tag:
        """Return the document's root."""
        made = Tag("network")
        if self.ipv6:
            made.set("ipv6", "yes")
        _set_switch(made, "trustGuestRxFilters", self.trust_guest_rx_filters)
        made.add(leaf("name", self.name))
        made.add(leaf("uuid", format_uuid(self.uuid)))
        for name, text in (("title", self.title), ("description", self.description)):
            if text is not None:
                made.add(leaf(name, text))
        _print(self.metadata, made)
        for tag in (self.forward.tag(), self.bridge.tag(self.forward.mode)):
            if tag:
                made.add(tag)
        if self.mtu:
            made.add(Tag("mtu").set("size", self.mtu))
        if self.mac:
            made.add(Tag("mac").set("address", self.mac))
        if self.domain:
            _set_switch(domain := Tag("domain").set("name", self.domain), "localOnly", self.domain_local)
            made.add(domain)
        dns = self.dns.tag()
        if dns:
            made.add(dns)
        _print(self.vlan, made)
        _print(self.bandwidth, made)
        if self.isolated is not None:
            _set_switch(port := Tag("port"), "isolated", self.isolated)
            made.add(port)
        made.children.extend(subnet.tag() for subnet in self.subnets)
        made.children.extend(route.tag() for route in self.routes)
        _print(self.virtualport, made)
        made.children.extend(group.tag() for group in self.port_groups)
        return made


def _print(part: Model | None, parent: Tag) -> None:
    if part is not None:
        part.print_into(parent, HOW)


def _switch(element: Element, name: str) -> bool | None:
    text = element.get(name)
    return None if text is None else yes_no().read(text, Where(element.tag, name))


def _set_switch(tag: Tag, name: str, value: bool | None) -> None:
    if value is not None:
        tag.set(name, "yes" if value else "no")


def _read_name(element: Element) -> str:
    found = element.find("name")
    name = "" if found is None else text_of(found)
    if not name:
        raise NoName(domain=c.VIR_FROM_NETWORK)
    if "/" in name:
        raise XmlDetail("invalid char in name: /", domain=c.VIR_FROM_XML)
    return name


def _read_uuid(element: Element) -> bytes:
    found = element.find("uuid")
    text = "" if found is None else text_of(found)
    if not text:
        return uuid4().bytes
    uuid = parse_uuid(text)
    if uuid is None:
        raise InternalError("malformed uuid element", domain=c.VIR_FROM_NETWORK)
    return uuid


def _read_ipv6(element: Element, name: str) -> bool:
    text = attribute(element, "ipv6")
    if text not in (None, "yes", "no"):
        raise refused(f"Invalid ipv6 setting '{text}' in network '{name}'")
    return text == "yes"


def _read_mac(element: Element, name: str) -> str | None:
    found = element.find("mac")
    text = None if found is None else attribute(found, "address")
    if text is None:
        return None
    mac = parse_mac(text)
    if mac is None:
        raise refused(f"Invalid bridge mac address '{text}' in network '{name}'")
    if int(mac[:2], 16) & 1:
        raise refused(f"Invalid multicast bridge mac address '{text}' in network '{name}'")
    return mac


def _read_mtu(element: Element, name: str) -> int:
    found = element.find("mtu")
    text = None if found is None else attribute(found, "size")
    if text is None:
        return 0
    size = parse_integer(text, low=-(2**32 - 1))
    if size is None:
        raise refused(f"Invalid mtu size '{text}' in network '{name}'")
    return size % 2**32  # as C reads a negative number where it wants none
