"""Serial ports, consoles, channels and all else that is a stream of characters.

Their ``<source>`` depends on the ``type`` of the element around it; datagram sockets have two of them. A
:class:`Backend` holds what all such elements share, and is a part of each of them.
"""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import copy
from typing import ClassVar, Self

import attrs
from lxml import etree

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.addresses import format_address, require_address
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.domain.security import DeviceSecLabel
from remotevirt.xml.domain.storage import Reconnect
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    hook,
    inline,
    nested_attribute,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import (
    Choice,
    Integer,
    Where,
    missing_attribute,
    on_off,
    unsupported,
    xml_error,
    yes_no,
)
from remotevirt.xml.write import Tag

__all__ = ["Backend", "Channel", "CharSource", "Console", "Parallel", "Serial"]

TYPES = "null vc pty dev file pipe stdio udp tcp unix spicevmc spiceport nmdm qemu-vdagent dbus"


@attrs.define
class CharSource(Model):
    """One end of the stream on the host."""

    TAG: ClassVar[str] = "source"
    mode: str | None = attribute("mode", Choice("connect bind"))
    host: str | None = attribute("host")
    service: str | None = attribute("service")
    channel: str | None = attribute("channel")
    master: str | None = attribute("master")
    slave: str | None = attribute("slave")
    path: str | None = attribute("path")
    append: bool | None = attribute("append", on_off())
    tls: bool | None = attribute("tls", yes_no())
    reconnect: Reconnect | None = child(Reconnect)
    clipboard: bool | None = nested_attribute("clipboard/copypaste", yes_no(), required=True)
    mouse: str | None = nested_attribute("mouse/mode", Choice("server client"), required=True)
    seclabels: list[DeviceSecLabel] = children(DeviceSecLabel)


@attrs.define
class Log(Model):
    TAG: ClassVar[str] = "log"
    file: str | None = attribute("file")
    append: bool | None = attribute("append", on_off())

    def complete(self, source: Source, how: Reading) -> None:
        if self.file is None:
            self.append = None


_FIELDS: dict[str, tuple[str, ...]] = {
    "pty": ("path",),
    "dev": ("path", "seclabel"),
    "file": ("path", "append", "seclabel"),
    "pipe": ("path", "seclabel"),
    "udp": ("mode", "host", "service", "seclabel"),
    "tcp": ("mode", "host", "service", "tls", "reconnect", "seclabel"),
    "unix": ("mode", "path", "reconnect", "seclabel"),
    "spiceport": ("channel", "seclabel"),
    "nmdm": ("master", "slave", "seclabel"),
    "qemu-vdagent": ("clipboard", "mouse", "seclabel"),
    "dbus": ("channel", "seclabel"),
}
"""The attributes and elements that the source of a kind has."""


def _relevant(element: Element, kind: str) -> Element:
    """Return a source with only what a device of its kind has: nothing else in it is looked at."""
    names = _FIELDS.get(kind, ())
    kept = etree.Element("source", {name: text for name, text in element.attrib.items() if name in names})
    kept.extend(copy.deepcopy(child) for child in element if child.tag in names)
    return kept


CHARDEV_TYPE = Choice(TYPES, refusal=unsupported("unknown type presented to host for character device: {}"))


@attrs.define
class Backend(Model):
    """The host's side of a character device: type, sources, protocol and log."""

    type: str = attribute("type", CHARDEV_TYPE, default="pty")
    tty: str | None = attribute("tty", live=True)
    sources: list[CharSource] = children(CharSource)
    protocol: str | None = nested_attribute(
        "protocol/type", Choice("raw telnet telnets tls", refusal=unsupported("Unknown protocol '{}'"))
    )
    log: Log | None = child(Log)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        kind = source.get("type") or "pty"
        children = source.children
        found = children.get("source", [])
        if len(found) > (2 if kind == "udp" else 1):
            allowed = "two source elements are" if kind == "udp" else "one source element is"
            raise XmlError(f"only {allowed} allowed for character device", domain=VIR_FROM_DOMAIN)
        for name in ("log", "protocol"):
            if len(children.get(name, ())) > 1:
                text = f"only one {name} element is allowed for character device"
                raise XmlError(text, domain=VIR_FROM_DOMAIN)
        children["source"] = [_relevant(one, kind) for one in found]
        if kind != "tcp":
            children.pop("protocol", None)
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        kind = self.type
        if kind == "tcp":
            self.protocol = self.protocol or "raw"
        if kind == "udp":
            self.sources = self._datagram(self.sources)
            return
        first = self.sources[0] if self.sources else CharSource()
        self.sources = [first]
        if kind == "pty" and not how.live:
            first.path = None
        elif kind == "tcp":
            first.mode = first.mode or "connect"
        elif kind == "unix":
            first.mode = (first.mode or "connect") if first.path is not None else None
        if kind == "spicevmc" and source.tag in {"serial", "parallel", "console", "channel"}:
            target = source.first("target")
            if source.tag != "channel" or (target is not None and target.get("type") != "virtio"):
                raise ConfigUnsupported("spicevmc device type only supports virtio", domain=VIR_FROM_DOMAIN)

    def _datagram(self, sources: list[CharSource]) -> list[CharSource]:
        bind = connect = None
        for one in sources:
            if one.mode == "bind":
                bind = bind or one
                bind.mode = "bind"
            else:
                connect = connect or one
                connect.mode = "connect"
        return [one for one in (bind, connect) if one is not None]


@attrs.define
class TargetModel(Model):
    TAG: ClassVar[str] = "model"
    name: str | None = attribute(
        "name",
        Choice(
            "isa-serial usb-serial pci-serial spapr-vty pl011 16550a sclpconsole sclplmconsole isa-debugcon",
            refusal=unsupported("unknown target model '{}' specified for character device"),
        ),
    )


@attrs.frozen
class Port(Integer):
    """A port number; -1 leaves the choice to the hypervisor."""

    def read(self, text: str, where: Where) -> int | None:
        number = super().read(text, where)
        return None if number == -1 else number


_PORT = Port(signed=True, low=-1, refusal=xml_error("Invalid port number: {}"))


@attrs.define
class SerialTarget(Model):
    TAG: ClassVar[str] = "target"
    type: str | None = attribute(
        "type",
        Choice(
            "isa-serial usb-serial pci-serial spapr-vio-serial system-serial sclp-serial isa-debug",
            refusal=unsupported("unknown target type '{}' specified for character device"),
        ),
    )
    port: int | None = attribute("port", _PORT)
    model: TargetModel | None = child(TargetModel)


@attrs.define
class ParallelTarget(Model):
    TAG: ClassVar[str] = "target"
    port: int | None = attribute("port", _PORT)


def _read_console_port(source: Source, how: Reading, model: ConsoleTarget) -> None:
    # It must be a number, though consoles are numbered anew.
    text = source.get("port")
    if text is not None:
        _PORT.read(text, Where("target", "port"))


@attrs.define
class ConsoleTarget(Model):
    TAG: ClassVar[str] = "target"
    type: str | None = attribute(
        "type",
        Choice(
            "serial xen uml virtio lxc openvz sclp sclplm",
            silent="none",
            refusal=unsupported("unknown target type '{}' specified for character device"),
        ),
    )
    port: int | None = hook(_read_console_port, lambda value, how, model: None)

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("type", self.type or "none").set("port", self.port)


@attrs.define
class Serial(Model):
    """A serial port."""

    TAG: ClassVar[str] = "serial"
    backend: Backend = inline(Backend)
    target: SerialTarget | None = child(SerialTarget)
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class Parallel(Model):
    """A parallel port."""

    TAG: ClassVar[str] = "parallel"
    backend: Backend = inline(Backend)
    target: ParallelTarget | None = child(ParallelTarget)
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class Console(Model):
    """A text console; the first one often is the first serial port again."""

    TAG: ClassVar[str] = "console"
    backend: Backend = inline(Backend)
    target: ConsoleTarget | None = child(ConsoleTarget)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        self.target = self.target or ConsoleTarget()


def _read_forwarded_port(source: Source, how: Reading, model: ChannelTarget) -> int | None:
    # Only forwarded connections have a port, and libvirt looks at their address first.
    if model.type != "guestfwd":
        return None
    if model.address is None:
        raise XmlError("guestfwd channel does not define a target address", domain=VIR_FROM_DOMAIN)
    address = require_address(model.address)
    if address.version != 4:
        raise ConfigUnsupported("guestfwd channel only supports IPv4 addresses", domain=VIR_FROM_DOMAIN)
    model.address = format_address(address)
    text = source.get("port")
    if text is None:
        raise missing_attribute("target", "port")
    return Integer().read(text, Where("target", "port"))


@attrs.define
class ChannelTarget(Model):
    TAG: ClassVar[str] = "target"
    type: str = attribute(
        "type",
        Choice(
            "guestfwd virtio xen",
            refusal=unsupported("unknown target type '{}' specified for character device"),
        ),
        required=unsupported("unknown target type '(null)' specified for character device"),
    )
    address: str | None = attribute("address")
    port: int | None = hook(_read_forwarded_port, lambda value, how, model: None)
    name: str | None = attribute("name")
    state: str | None = attribute("state", Choice("connected disconnected", silent="default"), live=True)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "guestfwd":
            self.name = None
        else:
            self.address = None
        if self.type != "virtio":
            self.state = None

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.set("port", self.port)


@attrs.define
class Channel(Model):
    """A channel between guest and host."""

    TAG: ClassVar[str] = "channel"
    backend: Backend = inline(Backend)
    target: ChannelTarget | None = child(ChannelTarget)
    info: DeviceInfo = inline(DeviceInfo)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        # libvirt looks at the type and the target first.
        kind = source.get("type")
        if kind is not None:
            CHARDEV_TYPE.read(kind, Where("channel", "type"))
        target = source.first("target")
        if target is None:
            raise XmlError("target type must be specified for channel device", domain=VIR_FROM_DOMAIN)
        ChannelTarget.read(target, how)
        return super().read_source(source, how)
