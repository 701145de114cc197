"""IP addresses and routes that a guest's network card is given."""

from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import InvalidArg, XmlError
from remotevirt.xml.addresses import Address, format_address, parse_address
from remotevirt.xml.fields import Model, Printing, Reading, Source, attribute
from remotevirt.xml.route import Route as StaticRoute
from remotevirt.xml.values import Integer, xml_error
from remotevirt.xml.write import Tag

__all__ = ["IpAddress", "Route"]


@attrs.define
class IpAddress(Model):
    """An address of the guest's end of an interface, or of the host's."""

    TAG: ClassVar[str] = "ip"
    address: str = attribute("address", required=xml_error("Missing required address in <ip>"))
    family: str | None = attribute("family")
    prefix: int | None = attribute(
        "prefix", Integer(zero="silent", refusal=xml_error("Invalid prefix value '{}' in <ip>"))
    )
    peer: str | None = attribute("peer")

    def complete(self, source: Source, how: Reading) -> None:
        found = _address(self.address, self.family)
        if found is None:
            raise XmlError(f"Invalid address '{self.address}' in <ip>", domain=VIR_FROM_DOMAIN)
        if (self.prefix or 0) > found.max_prefixlen:
            raise XmlError(f"Invalid prefix value '{self.prefix}' in <ip>", domain=VIR_FROM_DOMAIN)
        self.address = format_address(found)
        self.family = f"ipv{found.version}"
        if self.peer is not None:
            peer = _address(self.peer, self.family)
            if peer is None:
                raise InvalidArg(f"Invalid peer '{self.peer}' in <ip>", domain=VIR_FROM_DOMAIN)
            self.peer = format_address(peer)


def _address(text: str, family: str | None) -> Address | None:
    """Return an address, of a family where one is named."""
    found = parse_address(text)
    return found if found is not None and family in {None, f"ipv{found.version}"} else None


@attrs.define
class Route(Model):
    """A route that the guest shall have; interfaces and host devices have them."""

    TAG: ClassVar[str] = "route"
    route: StaticRoute | None = attrs.field(default=None)

    def complete(self, source: Source, how: Reading) -> None:
        parent = source.element.getparent()
        of_host = parent is not None and parent.tag == "hostdev"
        self.route = StaticRoute.read(
            source.element, "Domain hostdev device" if of_host else "guest interface"
        )

    def element(self, how: Printing) -> Tag:
        assert self.route is not None
        return self.route.tag()
