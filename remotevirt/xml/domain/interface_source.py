"""Where a network card is plugged in on the host: ``<source>``, which each type has its own of."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.xml.domain.ip import IpAddress, Route
from remotevirt.xml.domain.storage import Reconnect
from remotevirt.xml.fields import (
    Model,
    attribute,
    child,
    children,
)
from remotevirt.xml.values import (
    Choice,
    Integer,
    Uuid,
)

__all__ = [
    "PLACES",
    "WITH_SOURCE",
    "AddressedPlace",
    "BridgePlace",
    "DevicePlace",
    "DirectPlace",
    "InternalPlace",
    "NetworkPlace",
    "SocketPlace",
    "SwitchPlace",
    "VhostUserPlace",
]


@attrs.define
class NetworkPlace(Model):
    """A virtual network, and which of its groups of ports."""

    TAG: ClassVar[str] = "source"
    network: str = attribute("network", required=True)
    portgroup: str | None = attribute("portgroup")
    portid: bytes | None = attribute("portid", Uuid(), live=True)


@attrs.define
class BridgePlace(Model):
    """A bridge of the host."""

    TAG: ClassVar[str] = "source"
    bridge: str = attribute("bridge", required=True)


@attrs.define
class DirectPlace(Model):
    """A device of the host that the guest's is put onto (macvtap)."""

    TAG: ClassVar[str] = "source"
    dev: str = attribute("dev", required=True)
    mode: str = attribute("mode", Choice("vepa bridge private passthrough"), default="vepa")


@attrs.define
class DevicePlace(Model):
    """A device of the host."""

    TAG: ClassVar[str] = "source"
    dev: str = attribute("dev", required=True)


@attrs.define
class InternalPlace(Model):
    """A network inside of the hypervisor, by name."""

    TAG: ClassVar[str] = "source"
    name: str = attribute("name", required=True)


@attrs.define
class LocalPlace(Model):
    TAG: ClassVar[str] = "local"
    address: str = attribute("address", required=True)
    port: int = attribute("port", Integer(signed=True), required=True)


@attrs.define
class SocketPlace(Model):
    """Where a socket is that carries the frames, and for UDP the other end."""

    TAG: ClassVar[str] = "source"
    address: str | None = attribute("address")
    port: int = attribute("port", Integer(signed=True), required=True)
    local: LocalPlace | None = child(LocalPlace)


@attrs.define
class VhostUserPlace(Model):
    """The UNIX socket of a switch that the guest shares memory with."""

    TAG: ClassVar[str] = "source"
    type: str = attribute("type", Choice("unix"), required=True)
    path: str = attribute("path", required=True)
    mode: str = attribute("mode", Choice("server client"), required=True)
    reconnect: Reconnect | None = child(Reconnect)


@attrs.define
class SwitchPlace(Model):
    """A port of a switch that the hypervisor has (VMware's)."""

    TAG: ClassVar[str] = "source"
    switchid: bytes = attribute("switchid", Uuid(), required=True)
    portid: int = attribute("portid", Integer(bits=64, signed=True), required=True)
    portgroupid: str = attribute("portgroupid", required=True)
    connectionid: int = attribute("connectionid", Integer(bits=64, signed=True), required=True)


@attrs.define
class AddressedPlace(Model):
    """A source that has nothing but addresses on the host's side."""

    TAG: ClassVar[str] = "source"
    ips: list[IpAddress] = children(IpAddress)
    routes: list[Route] = children(Route)


WITH_SOURCE = frozenset(
    [
        "network",
        "bridge",
        "direct",
        "vdpa",
        "internal",
        "server",
        "client",
        "mcast",
        "udp",
        "vhostuser",
        "vds",
    ]
)


PLACES: dict[str, type[Model]] = {
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
