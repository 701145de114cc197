"""``<forward>``: how a network reaches the world, and by which devices of the host."""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlDetail
from remotevirt.xml.addresses import Address, format_address, parse_address
from remotevirt.xml.domain.address import PciPlace
from remotevirt.xml.fields import Printing, Reading
from remotevirt.xml.network.ip import check_order, refused, unsupported
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Where, parse_integer, yes_no
from remotevirt.xml.write import Tag

__all__ = ["Forward", "Nat"]

MODES: Final = {"none", "nat", "route", "open", "bridge", "private", "vepa", "passthrough", "hostdev"}
DRIVERS: Final = {"kvm", "vfio"}
PORT_MAXIMUM: Final = 65535


@attrs.frozen
class Nat:
    """What addresses and ports outgoing packets get."""

    ipv6: bool | None = None
    addresses: tuple[Address, Address] | None = None
    ports: tuple[int, int] | None = None

    @classmethod
    def read(cls, element: Element, network: str) -> Nat:
        """Read; raises VirError."""
        text = element.get("ipv6")
        ipv6 = None if text is None else yes_no().read(text, Where("nat", "ipv6"))
        addresses = cls._one(element, "address", network)
        ports = cls._one(element, "port", network)
        return cls(
            ipv6,
            None if addresses is None else cls._read_addresses(addresses, network),
            None if ports is None else cls._read_ports(ports, network),
        )

    @staticmethod
    def _one(element: Element, tag: str, network: str) -> Element | None:
        found = element.findall(tag)
        if len(found) > 1:
            raise refused(f"Only one <{tag}> element is allowed in <nat> in <forward> in network {network}")
        return found[0] if found else None

    @staticmethod
    def _read_addresses(element: Element, network: str) -> tuple[Address, Address]:
        ends = []
        for name in ("start", "end"):
            text = element.get(name)
            if text is None:
                raise refused(
                    f"missing '{name}' attribute in <address> element in <nat> in <forward> "
                    f"in network {network}"
                )
            ends.append(text)
        found = []
        for name, text in zip(("start", "end"), ends, strict=True):
            address = parse_address(text)
            if address is None or address.version != 4:
                raise refused(
                    f"Bad ipv4 {name} address '{text}' in <nat> in <forward> in network '{network}'"
                )
            found.append(address)
        check_order(found[0], found[1])
        return found[0], found[1]

    @staticmethod
    def _read_ports(element: Element, network: str) -> tuple[int, int]:
        start = parse_integer(element.get("start", ""), high=PORT_MAXIMUM)
        end = parse_integer(element.get("end", ""), high=PORT_MAXIMUM)
        wrong = "start" if start is None else "end" if end is None or end < start else None
        if wrong or start is None or end is None:
            raise XmlDetail(
                f"Missing or invalid '{wrong}' attribute in <port> in <nat> in <forward> "
                f"in network {network}",
                domain=c.VIR_FROM_NETWORK,
            )
        return start, end

    def tag(self) -> Tag | None:
        """Return the element, None if there is nothing to say."""
        made = Tag("nat")
        if self.ipv6 is not None:
            made.set("ipv6", "yes" if self.ipv6 else "no")
        if self.addresses:
            start, end = (format_address(address) for address in self.addresses)
            made.add(Tag("address").set("start", start).set("end", end))
        if self.ports and self.ports != (0, 0):
            made.add(Tag("port").set("start", self.ports[0]).set("end", self.ports[1]))
        return None if made.is_bare() else made


@attrs.define
class Forward:
    """The way out; a network without one has the mode ``none``."""

    mode: str = "none"
    managed: bool = False
    driver: str | None = None
    nat: Nat | None = None
    pf: str | None = None
    interfaces: list[str] = attrs.field(factory=list)
    addresses: list[PciPlace] = attrs.field(factory=list)

    @property
    def devices(self) -> int:
        """How many of the host's interfaces are named."""
        return len(self.interfaces) + len(self.addresses)

    @classmethod
    def read(cls, element: Element, network: str) -> Forward:
        """Read; raises VirError."""
        mode = element.get("mode") or "nat"
        if mode not in MODES:
            raise unsupported(f"unknown forwarding type '{mode}'")
        forward = cls(mode, (element.get("managed") or "").lower() == "yes")
        driver = element.find("driver")
        name = None if driver is None else driver.get("name")
        if name:
            if name not in DRIVERS:
                raise unsupported(f"Unknown forward <driver name='{name}'/> in network {network}")
            forward.driver = name
        device = element.get("dev")
        found = {tag: element.findall(tag) for tag in ("interface", "address", "pf", "nat")}
        for tag in ("pf", "nat"):
            if len(found[tag]) > 1:
                text = f"Only one <{tag}> element is allowed in <forward> of network {network}"
                raise refused(text)
        if found["nat"]:
            if mode != "nat":
                raise refused(
                    f"The <nat> element can only be used when <forward> 'mode' is 'nat' in network {network}"
                )
            forward.nat = Nat.read(found["nat"][0], network)
        if device and (found["address"] or found["pf"]):
            raise refused(
                "the <forward> 'dev' attribute cannot be used when <address> or <pf> sub-elements are"
                " present in network %s"  # libvirt forgets the name
            )
        if found["interface"] or device is not None:
            forward._read_interfaces(found["interface"], device, network)
        elif found["address"]:
            forward._read_addresses(found["address"], network)
        if found["pf"]:
            forward.pf = found["pf"][0].get("dev")
            if forward.pf is None and not forward.devices:
                text = f"Missing required dev attribute in <pf> element of network '{network}'"
                raise refused(text)
        return forward

    def _read_interfaces(self, elements: list[Element], device: str | None, network: str) -> None:
        seen: set[str] = set()
        for element in elements:
            name = element.get("dev")
            if name is None:
                text = f"Missing required dev attribute in <forward> <interface> element of network {network}"
                raise refused(text)
            if not self.interfaces and device is not None and name != device:
                raise refused(
                    f"<forward dev='{device}'> must match first <interface dev='{name}'/> "
                    f"in network {network}"
                )
            if name in seen:
                raise refused(f"interface '{name}' can only be listed once in network {network}")
            seen.add(name)
            self.interfaces.append(name)
        if not self.interfaces and device is not None:
            self.interfaces.append(device)

    def _read_addresses(self, elements: list[Element], network: str) -> None:
        for element in elements:
            kind = element.get("type")
            if kind is None:
                raise refused(f"missing address type in network {network}")
            if kind != "pci":
                raise unsupported(f"unknown address type '{kind}' in network {network}")
            place = PciPlace.read(element, Reading())
            if place in self.addresses:
                shown = f"{place.domain:04x}:{place.bus:02x}:{place.slot:02x}.{place.function:x}"
                raise refused(f"PCI device '{shown}' can only be listed once in network {network}")
            self.addresses.append(place)

    def check(self, network: str, *, bridge: bool, subnets: bool) -> VirError | None:
        """Return what is wrong with the mode, None if nothing is.

        Args:
            network: its name.
            bridge: it names a bridge.
            subnets: it has addresses.
        """
        mode = self.mode
        if mode in {"nat", "route", "open"}:
            if not subnets:
                return refused(
                    f"{mode} forwarding requested, but no IP address provided for network '{network}'"
                )
            if mode == "open" and self.devices:
                return refused(f"forward dev not allowed for network '{network}' with forward mode='{mode}'")
            if self.devices > 1:
                return refused(
                    f"multiple forwarding interfaces specified for network '{network}', only one is supported"
                )
        elif mode == "bridge":
            if bridge and (self.devices or self.pf):
                return refused(
                    "A network with forward mode='bridge' can specify a bridge name or a forward dev, "
                    f"but not both (network '{network}')"
                )
        elif mode != "none" and bridge:
            return refused(f"bridge name not allowed in {mode} mode (network '{network}')")
        return None

    def tag(self) -> Tag | None:
        """Return the element, None for a network without a way out."""
        if self.mode == "none":
            return None
        made = Tag("forward")
        if self.interfaces:
            made.set("dev", self.interfaces[0])
        made.set("mode", self.mode)
        if self.mode == "hostdev":
            made.set("managed", "yes" if self.managed else "no")
        if self.driver:
            made.add(Tag("driver").set("name", self.driver))
        nat = self.nat.tag() if self.nat and self.mode == "nat" else None
        if nat:
            made.add(nat)
        if self.pf is not None and not self.devices:
            made.add(Tag("pf").set("dev", self.pf))
        made.children.extend(Tag("interface").set("dev", name) for name in self.interfaces)
        for place in self.addresses:
            tag = Tag("address").set("type", "pci")
            place.fill(tag, Printing())
            made.add(tag)
        return made
