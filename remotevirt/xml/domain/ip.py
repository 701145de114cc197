"""IP addresses and routes that a guest's network card is given."""

from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NETWORK
from remotevirt.stubs.errors import InvalidArg, XmlError
from remotevirt.xml.fields import Model, Reading, Source, attribute
from remotevirt.xml.values import Integer, address_version, xml_error

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
    TAG: ClassVar[str] = "route"
    family: str | None = attribute("family")
    address: str | None = attribute("address")
    netmask: str | None = attribute("netmask")
    prefix: int | None = attribute("prefix", Integer())
    gateway: str | None = attribute("gateway")
    metric: int | None = attribute("metric", Integer(zero="silent"))

    def complete(self, source: Source, how: Reading) -> None:
        for name, words in (("address", "network"), ("gateway", "gateway")):
            text = getattr(self, name)
            if text is None:
                raise XmlError(
                    f"guest interface: Missing required {name} attribute in route definition",
                    domain=VIR_FROM_NETWORK,
                )
            if address_version(text, None) is None:
                raise XmlError(
                    f"guest interface: Bad {words} address '{text}' in route definition",
                    domain=VIR_FROM_NETWORK,
                )
