"""``<route>``: static routes, of the host into a network and of guests."""

from __future__ import annotations

import attrs

from remotevirt.stubs.constants import VIR_FROM_NETWORK
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.addresses import Address, format_address, mask_of, parse_address
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Integer, Where
from remotevirt.xml.write import Tag

__all__ = ["Route"]


@attrs.frozen
class Route:
    """A route to a subnet."""

    address: Address
    gateway: Address
    family: str | None = None
    netmask: Address | None = None
    prefix: int | None = None
    metric: int | None = None

    @classmethod
    def read(cls, element: Element, network: str) -> Route:
        """Read; ``network`` is what errors call the owner. Raises VirError."""
        family, texts = element.get("family") or None, {}
        for name in ("address", "netmask", "gateway"):
            texts[name] = element.get(name) or None
        prefix = element.get("prefix")
        length = None if prefix is None else Integer().read(prefix, Where("route", "prefix"))
        text = element.get("metric")
        metric = None if text is None else Integer(zero="refused").read(text, Where("route", "metric"))
        found: dict[str, Address | None] = {}
        for name, what in (("address", "network"), ("netmask", "netmask"), ("gateway", "gateway")):
            value = texts[name]
            if value is None and name != "netmask":
                raise refused(f"{network}: Missing required {name} attribute in route definition")
            found[name] = None if value is None else parse_address(value)
            if value is not None and found[name] is None:
                raise refused(f"{network}: Bad {what} address '{value}' in route definition")
        address, netmask, gateway = found["address"], found["netmask"], found["gateway"]
        assert address is not None and gateway is not None
        _check_family(network, family, texts, address, netmask, gateway)
        if netmask is not None and length is not None:
            raise refused(f"{network}: Route definition cannot have both a prefix and a netmask")
        width = address.max_prefixlen
        if length is not None and length > width:
            raise refused(
                f"{network}: Invalid prefix {length} specified in route definition, must be 0 - {width}"
            )
        # An address that comes with neither is taken for that of everything.
        mask = int(netmask) if netmask is not None else mask_of(address, length or 0)
        if int(address) & ~mask:
            text = f"{network}: Address '{texts['address']}' in route definition is not a network address"
            raise refused(text)
        return cls(address, gateway, family, netmask, length, metric)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("route").set("family", self.family).set("address", format_address(self.address))
        if self.netmask is not None:
            made.set("netmask", format_address(self.netmask))
        made.set("prefix", self.prefix).set("gateway", format_address(self.gateway))
        return made.set("metric", self.metric)


def refused(text: str) -> XmlError:
    """Return the error for a route that is wrong."""
    return XmlError(text, domain=VIR_FROM_NETWORK)


def _check_family(
    network: str,
    family: str | None,
    texts: dict[str, str | None],
    address: Address,
    netmask: Address | None,
    gateway: Address,
) -> None:
    text = texts["address"]
    if family in (None, "ipv4"):
        said = "No family" if family is None else "IPv4 family"
        if address.version != 4:
            raise refused(f"{network}: {said} specified for non-IPv4 address '{text}' in route definition")
        if gateway.version != 4:
            raise refused(f"{network}: {said} specified for non-IPv4 gateway '{text}' in route definition")
        if netmask is not None and netmask.version != 4:
            raise refused(
                f"{network}: Invalid netmask '{texts['netmask']}' for address '{text}' (both must be IPv4)"
            )
    elif family == "ipv6":
        if address.version != 6:
            raise refused(
                f"{network}: ipv6 family specified for non-IPv6 address '{text}' in route definition"
            )
        if netmask is not None:
            text = f"{network}: Specifying netmask invalid for IPv6 address '{text}' in route definition"
            raise refused(text)
        if gateway.version != 6:
            raise refused(
                f"{network}: ipv6 specified for non-IPv6 gateway address '{texts['gateway']}' "
                "in route definition"
            )
    else:
        raise refused(f"{network}: Unrecognized family '{family}' in route definition")
