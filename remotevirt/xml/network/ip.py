"""``<ip>``: the subnets of a network, and what its DHCP server hands out.

Readers take the network's name, because the errors show it.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.addresses import (
    Address,
    format_address,
    mask_of,
    parse_address,
    parse_mac,
    require_address,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Integer, Where, yes_no
from remotevirt.xml.write import Tag

__all__ = [
    "BootFile",
    "DhcpHost",
    "DhcpRange",
    "IpSubnet",
    "Lease",
    "attribute",
    "check_order",
    "refused",
]

NET: Final = c.VIR_FROM_NETWORK

UNITS: Final = Choice("seconds minutes hours")
SECONDS: Final = {"seconds": 1, "minutes": 60, "hours": 3600}
LEASE_MINIMUM: Final = 120
"""Seconds; dnsmasq allows no less."""

_IDENTIFIER = re.compile(r"[0-9a-fA-F:]")
_HOST_NAME = re.compile(r"[A-Za-z0-9]")


def refused(text: str) -> VirError:
    """Return the error for a document that is wrong."""
    return XmlError(text, domain=NET)


def unsupported(text: str) -> VirError:
    """Return the error for a document that asks for what cannot be had."""
    return ConfigUnsupported(text, domain=NET)


def attribute(element: Element, name: str) -> str | None:
    """Return an attribute, None for an empty one."""
    return element.get(name) or None


@attrs.frozen
class Lease:
    """How long an address is lent; ``expiry`` 0 is for ever."""

    expiry: int
    unit: str

    @classmethod
    def read(cls, element: Element) -> Lease | None:
        """Read the lease of a range or host, None if there is none; of several the last counts."""
        lease = None
        for found in element.iterchildren("lease"):
            lease = cls._read(found) or lease
        return lease

    @classmethod
    def _read(cls, found: Element) -> Lease | None:
        text = found.get("expiry")
        if text is None:
            return None
        expiry = Integer(base=0, bits=64).read(text, Where("lease", "expiry"))
        unit = found.get("unit")
        unit = "minutes" if unit is None else UNITS.read(unit, Where("lease", "unit"))
        assert expiry is not None and unit is not None
        if expiry and expiry * SECONDS[unit] < LEASE_MINIMUM:
            raise unsupported("The minimum lease time should be greater than 2 minutes")
        return cls(expiry, unit)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("lease").set("expiry", self.expiry)
        return made.set("unit", self.unit) if self.expiry else made


@attrs.frozen
class DhcpRange:
    """Addresses that anyone may get."""

    start: Address
    end: Address
    lease: Lease | None = None

    @classmethod
    def read(cls, element: Element, network: str, subnet: IpSubnet) -> DhcpRange:
        """Read and check against the subnet; raises VirError."""
        ends = []
        for name in ("start", "end"):
            text = element.get(name)
            if text is None:
                raise refused(f"Missing '{name}' attribute in dhcp range for network '{network}'")
            ends.append(require_address(text))
        _check_range(ends[0], ends[1], subnet)
        return cls(ends[0], ends[1], Lease.read(element))

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("range").set("start", format_address(self.start)).set("end", format_address(self.end))
        if self.lease:
            made.add(self.lease.tag())
        return made


def _check_range(start: Address, end: Address, subnet: IpSubnet) -> None:
    network, prefix = subnet.address, subnet.prefix_length
    ends = f"{format_address(start)} - {format_address(end)}"
    where = f"{format_address(network)}/{prefix}"
    if not start.version == end.version == network.version:
        text = f"mismatch of address family in range {ends}"
        if start.version == end.version:
            text += f" for network {format_address(network)}"
        raise InternalError(text, domain=0)
    mask = mask_of(network, prefix)
    if subnet.netmask is not None and int(subnet.netmask) != mask:
        text = f"bad prefix -1 for network {format_address(network)} when  checking range {ends}"
        raise InternalError(text, domain=0)
    first, last = int(network) & mask, int(network) | (mask ^ ((1 << network.max_prefixlen) - 1))
    if not first <= int(start) <= last or not first <= int(end) <= last:
        raise InternalError(f"range {ends} is not entirely within network {where}", domain=0)
    if network.version == 4:
        if first in (int(start), int(end)):
            raise InternalError(f"start of range {ends} in network {where} is the network address", domain=0)
        if last in (int(start), int(end)):
            raise InternalError(f"end of range {ends} in network {where} is the broadcast address", domain=0)
    check_order(start, end)


def check_order(start: Address, end: Address) -> None:
    """Check that a range, of one family, goes upwards and is not too long; raises InternalError."""
    ends = f"{format_address(start)} - {format_address(end)}"
    if int(start) >> 16 != int(end) >> 16:
        raise InternalError(f"range {ends} is too large (> 65535)", domain=0)
    if int(start) > int(end):
        raise InternalError(f"range {ends} is reversed ", domain=0)


@attrs.frozen
class DhcpHost:
    """An address for one machine; ``ip`` is None only in a partial description."""

    mac: str | None = None
    id: str | None = None
    name: str | None = None
    ip: Address | None = None
    lease: Lease | None = None

    @classmethod
    def read(cls, element: Element, network: str, subnet: IpSubnet, *, partial: bool = False) -> DhcpHost:
        """Read; raises VirError.

        Args:
            element: the ``<host>``.
            network: its name.
            subnet: in which the host is.
            partial: one of name, MAC and IP address is enough, to find a host by.
        """
        six = subnet.address.version == 6
        mac = element.get("mac")
        if mac is not None:
            _check_mac(mac, network, six=six)
        ident = element.get("id")
        if ident is not None and six:
            for character in ident:
                if not _IDENTIFIER.match(character):
                    text = f"Invalid character '{character}' in id '{ident}' of network '{network}'"
                    raise refused(text)
        name = element.get("name")
        if name is not None and not _HOST_NAME.match(name):
            raise refused(f"Cannot use host name '{name}' in network '{network}'")
        text = element.get("ip")
        address = None
        if text is not None:
            address = parse_address(text)
            if address is None:
                raise refused(f"Invalid IP address in static host definition for network '{network}'")
        if partial:
            if mac is None and name is None and address is None:
                raise refused(
                    "At least one of name, mac, or ip attribute must be specified for static host "
                    f"definition in network '{network}' "
                )
            return cls(mac, ident, name, address, None)
        if six:
            if ident is None and name is None:
                raise refused(
                    f"Static host definition in IPv6 network '{network}' must have id or name attribute"
                )
        elif mac is None and name is None:
            raise refused(
                f"Static host definition in IPv4 network '{network}' must have mac or name attribute"
            )
        if address is None:
            raise refused(f"Missing IP address in static host definition for network '{network}'")
        return cls(mac, ident, name, address, Lease.read(element))

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("host").set("mac", self.mac).set("id", self.id).set("name", self.name)
        if self.ip is not None:
            made.set("ip", format_address(self.ip))
        if self.lease:
            made.add(self.lease.tag())
        return made


def _check_mac(text: str, network: str, *, six: bool) -> None:
    if six:
        raise refused(
            f"Invalid to specify MAC address '{text}' in network '{network}' IPv6 static host definition"
        )
    mac = parse_mac(text)
    if mac is None:
        raise refused(f"Cannot parse MAC address '{text}' in network '{network}'")
    if int(mac[:2], 16) & 1:
        raise refused(f"expected unicast mac address, found multicast '{text}' in network '{network}'")


@attrs.frozen
class BootFile:
    """What machines that boot from the network are told."""

    file: str
    server: Address | None

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("bootp").set("file", self.file)
        return made if self.server is None else made.set("server", format_address(self.server))


def _natural_prefix(address: Address) -> int:
    """Return the prefix length of an address that comes without one."""
    if address.version == 6:
        return 64
    first = int(address) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 0


@attrs.define
class IpSubnet:
    """One address of the network's bridge, and the subnet around it."""

    address: Address
    family: str | None = None
    netmask: Address | None = None
    prefix: int = 0
    local_ptr: bool | None = None
    tftp_root: str | None = None
    ranges: list[DhcpRange] = attrs.field(factory=list)
    hosts: list[DhcpHost] = attrs.field(factory=list)
    boot: BootFile | None = None

    @property
    def prefix_length(self) -> int:
        """The length of the network's prefix, however it was said."""
        if self.prefix:
            return self.prefix
        if self.netmask is not None:
            bits = f"{int(self.netmask):0{self.netmask.max_prefixlen}b}"
            return len(bits) - len(bits.lstrip("1"))
        return _natural_prefix(self.address)

    def holds(self, address: Address) -> bool:
        """Return whether an address lies in the subnet."""
        if address.version != self.address.version:
            return False
        mask = mask_of(self.address, self.prefix_length)
        return (int(address) ^ int(self.address)) & mask == 0

    @classmethod
    def read(cls, element: Element, network: str) -> IpSubnet:
        """Read; raises VirError."""
        text = attribute(element, "address")
        if text is None:
            raise refused(f"Missing required address attribute in network '{network}'")
        address = parse_address(text)
        if address is None:
            raise refused(f"Invalid address '{text}' in network '{network}'")
        mask_text = attribute(element, "netmask")
        netmask = None if mask_text is None else parse_address(mask_text)
        if mask_text is not None and netmask is None:
            raise refused(f"Invalid netmask '{mask_text}' in network '{network}'")
        prefix = element.get("prefix")
        length = 0 if prefix is None else Integer().read(prefix, Where("ip", "prefix")) or 0
        local = element.get("localPtr")
        local_ptr = None if local is None else yes_no().read(local, Where("ip", "localPtr"))
        family = attribute(element, "family")
        _check_family(family, address, text, network)
        if netmask is not None:
            _check_netmask(netmask, address, length, network, (mask_text, text))
        if length > address.max_prefixlen:
            raise unsupported(f"Invalid IPv{address.version} prefix '{length}' in network '{network}'")
        subnet = cls(address, family, netmask, length, local_ptr)
        subnet._read_services(element, network)
        return subnet

    def _read_services(self, element: Element, network: str) -> None:
        dhcp = element.find("dhcp")
        if dhcp is not None:
            for found in dhcp:
                if found.tag == "range":
                    self.ranges.append(DhcpRange.read(found, network, self))
                elif found.tag == "host":
                    self.hosts.append(DhcpHost.read(found, network, self))
                elif found.tag == "bootp" and self.address.version == 4:
                    self._read_boot(found)
        tftp = element.find("tftp")
        if tftp is not None:
            if self.address.version == 6:
                raise unsupported(f"Unsupported <tftp> element in an IPv6 element in network '{network}'")
            self.tftp_root = tftp.get("root")

    def _read_boot(self, element: Element) -> None:
        server = element.get("server")
        at = None if server is None else require_address(server)
        if attribute(element, "file"):
            self.boot = BootFile(element.get("file"), at)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("ip", hold=True).set("family", self.family).set("address", format_address(self.address))
        if self.netmask is not None:
            made.set("netmask", format_address(self.netmask))
        made.set("prefix", self.prefix or None)
        if self.local_ptr is not None:
            made.set("localPtr", "yes" if self.local_ptr else "no")
        if self.tftp_root is not None:
            made.add(Tag("tftp").set("root", self.tftp_root))
        if self.ranges or self.hosts:
            dhcp = Tag("dhcp")
            dhcp.children.extend(found.tag() for found in self.ranges)
            dhcp.children.extend(host.tag() for host in self.hosts)
            if self.boot:
                dhcp.add(self.boot.tag())
            made.add(dhcp)
        return made


def _check_netmask(
    netmask: Address, address: Address, prefix: int, network: str, shown: tuple[str | None, str]
) -> None:
    """Check that a netmask may be said, and is one; ``shown`` are it and the address as they were written."""
    if address.version == 6:
        raise unsupported(f"netmask not allowed for IPv6 address '{shown[1]}' in network '{network}'")
    if prefix:
        raise unsupported(f"Network '{network}' IP address cannot have both a prefix and a netmask")
    if netmask.version != 4:
        both = f"netmask '{shown[0]}' for address '{shown[1]}'"
        raise unsupported(f"Invalid {both} in network '{network}' (both must be IPv4)")


def _check_family(family: str | None, address: Address, text: str, network: str) -> None:
    if family is None:
        if address.version != 4:
            raise unsupported(f"no family specified for non-IPv4 address '{text}' in network '{network}'")
    elif family == "ipv4":
        if address.version != 4:
            raise unsupported(f"ipv4 family specified for non-IPv4 address '{text}' in network '{network}'")
    elif family == "ipv6":
        if address.version != 6:
            raise unsupported(f"Family 'ipv6' specified for non-IPv6 address '{text}' in network '{network}'")
    else:
        raise refused(f"Unrecognized family '{family}' in network '{network}'")
