"""IP addresses and routes that a guest's network card is given."""

from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import InvalidArg, XmlError
from remotevirt.xml.fields import Model, Printing, Reading, Source, attribute
from remotevirt.xml.route import Route as StaticRoute
from remotevirt.xml.values import Integer, address_version, xml_error
from remotevirt.xml.write import Tag

__all__ = ["IpAddress", "Route"]


@attrs.define
class IpAddress(Model):
    TAG: ClassVar[str] = "ip"
    address: str = attribute("address", required=xml_error("Missing required address in <ip>"))
    family: str | None = attribute("family")
    prefix: int | None = attribute(
        "prefix", Integer(zero="silent", refusal=xml_error("Invalid prefix value '{}' in <ip>"))
    )
    peer: str | None = attribute("peer")

    def complete(self, source: Source, how: Reading) -> None:
        version = address_version(self.address, self.family)
        if version is None:
            raise XmlError(f"Invalid address '{self.address}' in <ip>", domain=VIR_FROM_DOMAIN)
        if (self.prefix or 0) > (32 if version == 4 else 128):
            raise XmlError(f"Invalid prefix value '{self.prefix}' in <ip>", domain=VIR_FROM_DOMAIN)
        self.family = f"ipv{version}"
        if self.peer is not None and address_version(self.peer, self.family) is None:
            raise InvalidArg(f"Invalid peer '{self.peer}' in <ip>", domain=VIR_FROM_DOMAIN)


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
