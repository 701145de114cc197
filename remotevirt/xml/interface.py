"""The document of a host's interface: an ethernet card, a bridge, a bond or a VLAN.

Interfaces nest (a bridge holds others); the ones inside have less to say than the one outside.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.parse import Element, parse_document
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import Choice, Integer, Where, missing_attribute, parse_integer, yes_no
from remotevirt.xml.write import Tag, render

__all__ = ["InterfaceModel", "format_interface", "parse_interface", "read_interface"]

TYPES: Final = Choice("ethernet bridge bond vlan")
PARTS: Final = {"bridge": {"ethernet", "bond", "vlan"}, "bond": {"ethernet"}}
"""What may stand inside which."""

START_MODES: Final = {"onboot", "none", "hotplug"}
LINK_STATES: Final = Choice("unknown notpresent down lowerlayerdown testing dormant up")
BOND_MODES: Final = {
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
}
CARRIERS: Final = {"ioctl", "netif"}
INT_BITS: Final = 32
"""Of libvirt's numbers of milliseconds, the sign included."""

VALIDATIONS: Final = {"active", "backup", "all"}

_NUMBER = re.compile(r"\s*-?[0-9]{1,10}")


def refused(text: str) -> VirError:
    """Return the error for a document that is wrong."""
    return XmlError(text, domain=c.VIR_FROM_INTERFACE)


def _word(element: Element, name: str, known: set[str], what: str) -> str | None:
    """Return an attribute that is one of some words; None if it is empty."""
    text = element.get(name) or None
    if text is not None and text not in known:
        raise refused(f"unknown {what} {text}")
    return text


@attrs.define
class Protocol:
    """How an interface gets its addresses; addresses are kept as texts, with their prefix lengths."""

    family: str
    autoconf: bool = False
    dhcp: bool = False
    peer_dns: bool | None = None
    addresses: list[tuple[str, int]] = attrs.field(factory=list)
    gateway: str | None = None

    @classmethod
    def read(cls, element: Element) -> Protocol:
        """Read; raises VirError."""
        family = element.get("family")
        if family is None:
            raise refused("protocol misses the family attribute")
        if family not in {"ipv4", "ipv6"}:
            raise refused(f"unsupported protocol family '{family}'")
        protocol = cls(family, family == "ipv6" and element.find("autoconf") is not None)
        found = element.find("dhcp")
        if found is not None:
            protocol.dhcp = True
            text = found.get("peerdns")
            protocol.peer_dns = None if text is None else yes_no().read(text, Where("dhcp", "peerdns"))
        for found in element.findall("ip"):
            address, text = found.get("address"), found.get("prefix")
            if address is not None:
                prefix = None if text is None else Integer(signed=True).read(text, Where("ip", "prefix"))
                protocol.addresses.append((address, prefix or 0))
        found = element.find("route")
        protocol.gateway = None if found is None else found.get("gateway") or None
        return protocol

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("protocol", hold=True).set("family", self.family)
        if self.autoconf:
            made.add(Tag("autoconf"))
        if self.dhcp:
            dhcp = Tag("dhcp")
            if self.peer_dns is not None:
                dhcp.set("peerdns", "yes" if self.peer_dns else "no")
            made.add(dhcp)
        for address, prefix in self.addresses:
            made.add(Tag("ip").set("address", address).set("prefix", prefix or None))
        if self.gateway is not None:
            made.add(Tag("route").set("gateway", self.gateway))
        return made


@attrs.define
class Bond:
    """How a bond watches its parts; ``monitor`` is the element that says so."""

    mode: str | None
    monitor: Tag | None

    @classmethod
    def read(cls, element: Element) -> Bond:
        """Read the mode; :meth:`read_monitor` reads the rest, after the parts. Raises VirError."""
        return cls(_word(element, "mode", BOND_MODES, "bonding mode"), None)

    def read_monitor(self, element: Element) -> None:
        """Read how parts are watched; raises VirError."""
        found = element.find("miimon")
        if found is not None:
            self.monitor = self._read_link_watch(found)
            return
        found = element.find("arpmon")
        self.monitor = None if found is None else self._read_address_watch(found)

    @staticmethod
    def _read_link_watch(element: Element) -> Tag:
        made = Tag("miimon")
        frequency = _number(element, "freq")
        if frequency is None:
            raise refused("bond interface miimon freq missing or invalid")
        made.set("freq", frequency)
        for name in ("downdelay", "updelay"):
            delay = _number(element, name)
            if delay is None and element.get(name) is not None:
                raise refused(f"bond interface miimon {name} invalid")
            made.set(name, delay if delay and delay > 0 else None)
        return made.set("carrier", _word(element, "carrier", CARRIERS, "mii bonding carrier"))

    @staticmethod
    def _read_address_watch(element: Element) -> Tag:
        interval = _number(element, "interval")
        if interval is None:
            raise refused("bond interface arpmon interval missing or invalid")
        target = element.get("target") or None
        if target is None:
            raise refused("bond interface arpmon target missing")
        made = Tag("arpmon").set("interval", interval).set("target", target)
        return made.set("validate", _word(element, "validate", VALIDATIONS, "arp bonding validate"))


def _number(element: Element, name: str) -> int | None:
    text = element.get(name)
    number = int(text) if text is not None and _NUMBER.fullmatch(text) else None
    return number if number is not None and number.bit_length() < INT_BITS else None


@attrs.define
class InterfaceModel:
    """An interface of the host."""

    type: str
    name: str
    start: str | None = None
    mtu: int = 0
    protocols: list[Protocol] = attrs.field(factory=list)
    link_speed: int = 0
    link_state: str | None = None
    mac: str | None = None
    stp: str | None = None
    delay: str | None = None
    bond: Bond | None = None
    parts: list[InterfaceModel] = attrs.field(factory=list)
    vlan: tuple[str, str] | None = None

    @classmethod
    def read(cls, element: Element, parent: str | None = None) -> InterfaceModel:
        """Read an interface, which may stand in another one of a type; raises VirError."""
        kind = element.get("type")
        if kind is None:
            raise missing_attribute("interface", "type")
        TYPES.read(kind, Where("interface", "type"))
        if parent is not None and kind not in PARTS[parent]:
            raise refused(f"interface has unsupported type '{kind}'")
        name = element.get("name")
        if name is None:
            raise refused("interface has no name")
        model = cls(kind, name)
        if parent is None:
            model._read_settings(element)
        if kind != "bridge":
            model._read_link(element)
        if kind == "ethernet":
            found = element.find("mac")
            model.mac = None if found is None else found.get("address") or None
            return model
        found = element.find(kind)
        if found is None:
            raise refused(f"{kind} interface misses the {kind} element")
        if kind == "vlan":
            model._read_vlan(found)
            return model
        if kind == "bridge":
            stp = found.get("stp")
            if stp not in {None, "on", "off"}:
                return model  # libvirt reads no further
            model.stp, model.delay = stp, found.get("delay")
        else:
            model.bond = Bond.read(found)
        model.parts = [cls.read(part, kind) for part in found.findall("interface")]
        if model.bond is not None:
            model.bond.read_monitor(found)
        return model

    def _read_link(self, element: Element) -> None:
        found = element.find("link")
        if found is None:
            return
        speed, state = found.get("speed"), found.get("state")
        if speed is not None:
            self.link_speed = Integer().read(speed, Where("link", "speed")) or 0
        self.link_state = None if not state else LINK_STATES.read(state, Where("link", "state"))

    def _read_settings(self, element: Element) -> None:
        found = element.find("start")
        if found is not None:
            self.start = _word(found, "mode", START_MODES, "interface startmode")
        found = element.find("mtu")
        text = None if found is None else found.get("size") or None
        if text is not None:
            size = parse_integer(text)
            if size is None:
                raise refused(f"interface has an invalid mtu '{text}'")
            self.mtu = size
        self.protocols = [Protocol.read(protocol) for protocol in element.findall("protocol")]

    def _read_vlan(self, element: Element) -> None:
        tag = element.get("tag") or None
        if tag is None:
            raise refused("vlan interface misses the tag attribute")
        found = element.find("interface")
        name = None if found is None else found.get("name") or None
        if name is None:
            raise refused("vlan interface misses name attribute")
        self.vlan = (tag, name)

    def element(self) -> Tag:
        """Return the element."""
        made = Tag("interface", hold=True).set("type", self.type).set("name", self.name)
        if self.start is not None:
            made.add(Tag("start").set("mode", self.start))
        if self.mtu:
            made.add(Tag("mtu").set("size", self.mtu))
        made.children.extend(protocol.tag() for protocol in self.protocols)
        if self.link_speed or self.link_state is not None:
            made.add(Tag("link").set("speed", self.link_speed or None).set("state", self.link_state))
        if self.mac is not None:
            made.add(Tag("mac").set("address", self.mac))
        inside = self._inside()
        if inside is not None:
            made.add(inside)
        return made

    def _inside(self) -> Tag | None:
        """Return the element of the type."""
        if self.vlan is not None:
            tag, name = self.vlan
            made = Tag("vlan").set("tag", tag)
            made.add(Tag("interface").set("name", name))
            return made
        if self.type == "bridge":
            made = Tag("bridge", hold=True).set("stp", self.stp).set("delay", self.delay)
        elif self.bond is not None:
            made = Tag("bond", hold=True).set("mode", self.bond.mode)
            if self.bond.monitor is not None:
                made.add(self.bond.monitor)
        else:
            return None
        made.children.extend(part.element() for part in self.parts)
        return made


def parse_interface(text: str, *, validate: bool = False) -> InterfaceModel:
    """Read an interface document.

    Args:
        text: the document.
        validate: refuse what libvirt's schema does not know.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    place = "(interface_definition)"
    root = parse_document(text, root="interface", source=place, domain=c.VIR_FROM_INTERFACE)
    if validate:
        validate_document(root, SCHEMAS / "interface.rng")
    return read_interface(root)


def read_interface(element: Element) -> InterfaceModel:
    """Read an interface that stands inside another document; raises VirError."""
    return InterfaceModel.read(element)


def format_interface(model: InterfaceModel) -> str:
    """Print an interface, with a line end after it."""
    return render(model.element())
