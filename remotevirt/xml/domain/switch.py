"""What switches want to know of a port: its kind, its VLANs and its bandwidth."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar, Final, Self

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_NET, VIR_FROM_NONE
from remotevirt.stubs.errors import ConfigUnsupported, XmlDetail, XmlError
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hidden,
)
from remotevirt.xml.model import CheckedModel
from remotevirt.xml.values import (
    Choice,
    Integer,
    Uuid,
    parse_integer,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag

__all__ = [
    "Bandwidth",
    "Inbound",
    "Outbound",
    "PortParameters",
    "SharedBandwidth",
    "VirtualPort",
    "Vlan",
    "VlanTag",
]


def _number(name: str, outside: str, high: int) -> Any:
    """A number of any base: one that is too large is another fault than none at all."""

    def refusal(text: str) -> VirError:
        no_number = parse_integer(text, base=0, low=-(2**32 - 1)) is None
        return XmlError(
            f"cannot parse value of {name} parameter" if no_number else outside, domain=VIR_FROM_NONE
        )

    return attribute(name, Integer(base=0, high=high, refusal=refusal))


@attrs.define
class PortParameters(Model):
    """What a switch of some kind is told of a port."""

    TAG: ClassVar[str] = "parameters"
    managerid: int | None = _number("managerid", "value of managerid out of range", 255)
    typeid: int | None = _number("typeid", "value for typeid out of range", 0xFFFFFF)
    typeidversion: int | None = _number("typeidversion", "value of typeidversion out of range", 255)
    instanceid: bytes | None = attribute(
        "instanceid", Uuid(refusal=xml_error("cannot parse instanceid parameter as a uuid", 0))
    )
    interfaceid: bytes | None = attribute(
        "interfaceid", Uuid(refusal=xml_error("cannot parse interfaceid parameter as a uuid", 0))
    )
    profileid: str | None = attribute("profileid")


_ONLY_FOR: Final = (
    (("managerid", "typeid", "typeidversion", "instanceid"), {"802.1Qbg"}),
    (("profileid",), {"802.1Qbh", "openvswitch"}),
    (("interfaceid",), {"openvswitch", "midonet"}),
)
"""Which parameters only some kinds of switches take."""


@attrs.define
class VirtualPort(Model):
    """What an intelligent switch wants to know."""

    TAG: ClassVar[str] = "virtualport"
    type: str | None = attribute(
        "type",
        Choice(
            "802.1Qbg 802.1Qbh openvswitch midonet",
            silent="none",
            refusal=unsupported("unknown virtualport type {}", VIR_FROM_NONE),
        ),
    )
    parameters: PortParameters | None = child(PortParameters)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type is None or self.parameters is None:
            return
        if self.type == "midonet":
            self.parameters.profileid = None
        for names, types in _ONLY_FOR:
            for name in names:
                if self.type not in types and getattr(self.parameters, name) is not None:
                    text = f"extra {name} unsupported in <virtualport type='{self.type}'>"
                    raise XmlError(text, domain=VIR_FROM_NET)


def _rate(name: str) -> Any:
    refusal = unsupported(f"could not convert bandwidth {name} value '{{}}'", VIR_FROM_NONE)
    return attribute(name, Integer(bits=64, refusal=refusal))


@attrs.define
class Rate(Model):
    average: int | None = _rate("average")
    peak: int | None = _rate("peak")
    floor: int | None = _rate("floor")
    burst: int | None = _rate("burst")

    def complete(self, source: Source, how: Reading) -> None:
        if self.average is None and self.floor is None:
            raise XmlDetail("Missing mandatory average or floor attributes", domain=VIR_FROM_NONE)
        if (self.peak is not None or self.burst is not None) and self.average is None:
            raise ConfigUnsupported("'peak' and 'burst' require 'average' attribute", domain=VIR_FROM_NONE)
        for name in ("average", "peak", "floor", "burst"):
            setattr(self, name, getattr(self, name) or None)


@attrs.define
class Inbound(Rate):
    """How much may come in: average and peak in KiB a second, burst in KiB."""

    TAG: ClassVar[str] = "inbound"


@attrs.define
class Outbound(Rate):
    """How much may go out, as :class:`Inbound`."""

    TAG: ClassVar[str] = "outbound"

    def complete(self, source: Source, how: Reading) -> None:
        super().complete(source, how)
        if self.floor:
            raise ConfigUnsupported(
                "'floor' attribute allowed only in <inbound> element", domain=VIR_FROM_NONE
            )


@attrs.define
class Bandwidth(CheckedModel):
    """Limits of a network card, in KiB per second and KiB; ``empty`` is printed without any."""

    TAG: ClassVar[str] = "bandwidth"
    FLOOR: ClassVar[bool] = True
    """Whether a least bandwidth can be guaranteed."""
    empty: bool = attrs.field(default=False)
    inbound: Inbound | None = child(Inbound)
    outbound: Outbound | None = child(Outbound)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("classID") is not None:
            text = "classID attribute not supported on <bandwidth> in this usage context"
            raise XmlDetail(text, domain=VIR_FROM_NONE)
        for tag in ("inbound", "outbound"):
            if len(source.children.get(tag, ())) > 1:
                raise XmlDetail(f"Only one child <{tag}> element allowed", domain=VIR_FROM_NONE)
        return super().read_source(source, how)

    def check(self, name: str, source: Source, how: Reading) -> None:
        if name == "inbound" and not self.FLOOR and self.inbound is not None and self.inbound.floor:
            text = "floor attribute is not supported for this config"
            raise ConfigUnsupported(text, domain=VIR_FROM_NONE)

    def print_into(self, parent: Tag, how: Printing) -> None:
        if self.empty or self.inbound is not None or self.outbound is not None:
            tag = self.element(how)
            tag.hold = True
            parent.add(tag)


@attrs.define
class SharedBandwidth(Bandwidth):
    """Limits of all that is connected to a network."""

    FLOOR: ClassVar[bool] = False


@attrs.define
class VlanTag(Model):
    """A VLAN of a port."""

    TAG: ClassVar[str] = "tag"
    id: int = attribute("id", Integer(), required=True)
    native: str | None = attribute("nativeMode", Choice("tagged untagged"))

    def complete(self, source: Source, how: Reading) -> None:
        if self.id > 4095:
            raise XmlError(f"vlan tag id {self.id} too large (maximum 4095)", domain=VIR_FROM_NONE)


@attrs.define
class Vlan(Model):
    """The VLANs of a port."""

    TAG: ClassVar[str] = "vlan"
    trunk: bool | None = hidden()
    tags: list[VlanTag] = children(VlanTag)

    def complete(self, source: Source, how: Reading) -> None:
        if not self.tags:
            raise XmlError(
                "missing tag id - each <vlan> must have at least one <tag id='n'/> subelement", domain=0
            )
        if sum(tag.native is not None for tag in self.tags) > 1:
            raise XmlError("duplicate native vlan setting", domain=VIR_FROM_NONE)
        text = source.get("trunk")
        if len(self.tags) > 1:
            if text not in {None, "yes"}:
                raise XmlError(
                    f"invalid \"trunk='{text}'\" in <vlan> - trunk='yes' is required for more than one"
                    " vlan tag",
                    domain=VIR_FROM_NONE,
                )
            self.trunk = True
        elif self.tags[0].native is not None and text not in {None, "yes"}:
            raise XmlError(
                "invalid configuration in <vlan> - \"trunk='no'\" is not allowed with a native vlan id",
                domain=VIR_FROM_NONE,
            )
        elif text not in {None, "yes", "no"}:
            raise XmlError(f"invalid \"trunk='{text}'\" in <vlan> - must be yes or no", domain=VIR_FROM_NONE)
        else:
            self.trunk = True if text == "yes" else None

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("trunk", "yes" if self.trunk else None)
        super().fill(tag, how)
