"""``<dns>``: what a network's name server knows besides the hosts that it lends addresses to."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlDetail
from remotevirt.xml.addresses import Address, format_address, parse_address
from remotevirt.xml.network.ip import refused
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import Where, parse_integer, yes_no
from remotevirt.xml.write import Tag, leaf

__all__ = ["Dns", "DnsHost", "DnsService", "DnsText", "Forwarder"]

PORT_MAXIMUM: Final = 65535


_SERVICE = re.compile(r"[A-Za-z0-9_+/*-]*\Z")
_PROTOCOL = re.compile(r"[A-Za-z0-9+/-]*\Z")


def _wrong(text: str) -> VirError:
    return XmlDetail(text, domain=c.VIR_FROM_NETWORK)


def _check_word(name: str, text: str | None, allowed: re.Pattern[str], network: str) -> None:
    if text is not None and not allowed.match(text):
        shown = f"invalid character in {name} attribute '{text}' in DNS SRV record of network '{network}'"
        raise _wrong(shown)


@attrs.frozen
class Forwarder:
    """Another name server, for all names or those of a domain."""

    address: Address | None
    domain: str | None

    @classmethod
    def read(cls, element: Element, network: str) -> Forwarder:
        """Read; raises VirError."""
        text, domain = element.get("addr"), element.get("domain")
        address = None if text is None else parse_address(text)
        if text is not None and address is None:
            raise refused(f"Invalid forwarder IP address '{text}' in network '{network}'")
        if text is None and domain is None:
            raise refused("Invalid forwarder element, must contain at least one of addr or domain")
        return cls(address, domain)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("forwarder").set("domain", self.domain)
        return made if self.address is None else made.set("addr", format_address(self.address))


@attrs.frozen
class DnsText:
    """A TXT record; ``value`` is None only in a partial description."""

    name: str
    value: str | None

    @classmethod
    def read(cls, element: Element, network: str, *, partial: bool = False) -> DnsText:
        """Read; raises VirError."""
        name, value = element.get("name"), element.get("value")
        if name is None:
            raise _wrong(f"missing required name attribute in DNS TXT record of network {network}")
        if " " in name:
            raise _wrong(f"prohibited character in DNS TXT record name '{name}' of network {network}")
        if value is None and not partial:
            text = f"missing required value attribute in DNS TXT record named '{name}' of network {network}"
            raise _wrong(text)
        return cls(name, value)

    def tag(self) -> Tag:
        """Return the element."""
        return Tag("txt").set("name", self.name).set("value", self.value)


@attrs.frozen
class DnsHost:
    """Names of an address; ``address`` is None only in a partial description."""

    address: Address | None
    names: tuple[str, ...]

    @classmethod
    def read(cls, element: Element, network: str, *, partial: bool = False) -> DnsHost:
        """Read; raises VirError."""
        text = element.get("ip")
        if text is None and not partial:
            raise _wrong(f"Missing IP address in network '{network}' DNS HOST record")
        address = None if text is None else parse_address(text)
        if text is not None and address is None:
            raise _wrong(f"Invalid IP address in network '{network}' DNS HOST record")
        names = []
        for found in element.findall("hostname"):
            name = text_of(found)
            if not name:
                raise _wrong(f"Missing hostname in network '{network}' DNS HOST record")
            names.append(name)
        if not names and not partial:
            raise _wrong(f"Missing hostname in network '{network}' DNS HOST record")
        if not names and address is None:
            raise _wrong(f"Missing ip and hostname in network '{network}' DNS HOST record")
        return cls(address, tuple(names))

    def tag(self) -> Tag:
        """Return the element."""
        assert self.address is not None
        made = Tag("host").set("ip", format_address(self.address))
        made.children.extend(leaf("hostname", name) for name in self.names)
        return made


@attrs.frozen
class DnsService:
    """A SRV record; 0 and None are "not said"."""

    service: str | None
    protocol: str | None
    domain: str | None = None
    target: str | None = None
    port: int = 0
    priority: int = 0
    weight: int = 0

    @classmethod
    def read(cls, element: Element, network: str, *, partial: bool = False) -> DnsService:
        """Read; raises VirError."""
        service, protocol = element.get("service"), element.get("protocol")
        if service is None and not partial:
            raise _wrong(f"missing required service attribute in DNS SRV record of network '{network}'")
        _check_word("service", service, _SERVICE, network)
        if protocol is None and not partial:
            text = f"missing required protocol attribute in DNS SRV record '{service}' of network '{network}'"
            raise _wrong(text)
        _check_word("protocol", protocol, _PROTOCOL, network)
        target = element.get("target")
        where = f"for service '{service}' in network '{network}'"
        numbers: dict[str, int] = {}
        for name, word, low in (("port", "invalid", 1), ("priority", "Invalid", 0), ("weight", "invalid", 0)):
            text = element.get(name)
            if text is None:
                numbers[name] = 0
                continue
            number = parse_integer(text)
            if number is not None and target is None and not partial:
                raise _wrong(f"DNS SRV {name} attribute not permitted without target {where}")
            if number is None or not low <= number <= PORT_MAXIMUM:
                raise _wrong(f"{word} DNS SRV {name} attribute {where}")
            numbers[name] = number
        return cls(service, protocol, element.get("domain"), target, **numbers)

    def matches(self, other: DnsService) -> bool:
        """Return whether another record answers the same question with the same target; None fits all."""
        wanted = ("service", "protocol", "domain", "target")
        return all(not getattr(self, name) or getattr(self, name) == getattr(other, name) for name in wanted)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("srv").set("service", self.service).set("protocol", self.protocol)
        made.set("domain", self.domain).set("target", self.target)
        for name in ("port", "priority", "weight"):
            made.set(name, getattr(self, name) or None)
        return made


@attrs.define
class Dns:
    """A network's name server."""

    enable: bool | None = None
    forward_plain_names: bool | None = None
    forwarders: list[Forwarder] = attrs.field(factory=list)
    texts: list[DnsText] = attrs.field(factory=list)
    services: list[DnsService] = attrs.field(factory=list)
    hosts: list[DnsHost] = attrs.field(factory=list)

    @classmethod
    def read(cls, element: Element, network: str) -> Dns:
        """Read; raises VirError."""
        enable = _switch(element, "enable")
        plain = _switch(element, "forwardPlainNames")
        parts: list[list[Any]] = [
            [kind.read(found, network) for found in element.findall(tag)]
            for kind, tag in (
                (Forwarder, "forwarder"),
                (DnsHost, "host"),
                (DnsService, "srv"),
                (DnsText, "txt"),
            )
        ]
        forwarders, hosts, services, texts = parts
        if enable is False and any(parts):
            raise refused(f"Extra data in disabled network '{network}'")
        return cls(enable, plain, forwarders, texts, services, hosts)

    def tag(self) -> Tag | None:
        """Return the element, None if there is nothing to say."""
        made = Tag("dns")
        for name, value in (("enable", self.enable), ("forwardPlainNames", self.forward_plain_names)):
            if value is not None:
                made.set(name, "yes" if value else "no")
        parts: tuple[Forwarder | DnsText | DnsService | DnsHost, ...]
        parts = (*self.forwarders, *self.texts, *self.services, *self.hosts)
        made.children.extend(part.tag() for part in parts)
        return None if made.is_bare() else made


def _switch(element: Element, name: str) -> bool | None:
    text = element.get(name)
    return None if text is None else yes_no().read(text, Where("dns", name))
