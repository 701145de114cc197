"""``<graphics>``: how a viewer reaches the guest's screen.

What is printed of ports depends on whether the guest runs: an automatic port is -1 until it is chosen.
"""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import (
    Any,
    ClassVar,
    Final,
)

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    children,
    nested_attribute,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Boolean, Choice, Integer, Text, internal, on_off, yes_no
from remotevirt.xml.write import Tag

__all__ = ["Graphics", "Listen", "Spice", "Vnc", "choose_graphics"]


@attrs.define
class Listen(Model):
    """Where a screen is served."""

    TAG: ClassVar[str] = "listen"
    KEEP: ClassVar[bool] = True
    type: str = attribute("type", Choice("none address network socket"), required=True)
    address: str | None = attribute("address")
    network: str | None = attribute("network")
    socket: str | None = attribute("socket")

    def complete(self, source: Source, how: Reading) -> None:
        if self.type != "address" and not (self.type == "network" and how.live):
            self.address = None
        if self.type == "network":
            if self.network is None:
                raise XmlError(
                    "'network' attribute is required for listen type 'network'", domain=VIR_FROM_DOMAIN
                )
        elif self.network is not None:
            raise XmlError(
                "'network' attribute is valid only for listen type 'network'", domain=VIR_FROM_DOMAIN
            )
        if self.type != "socket" and self.socket is not None:
            raise XmlError(
                "'socket' attribute is valid only for listen type 'socket'", domain=VIR_FROM_DOMAIN
            )


@attrs.define
class Gl(Model):
    TAG: ClassVar[str] = "gl"
    KEEP: ClassVar[bool] = True
    enable: bool | None = attribute("enable", yes_no(), required=True)
    rendernode: str | None = attribute("rendernode")


@attrs.define
class HeadlessGl(Model):
    TAG: ClassVar[str] = "gl"
    rendernode: str | None = attribute("rendernode")


@attrs.define
class AudioRef(Model):
    """Which ``<audio>`` plays the sound."""

    TAG: ClassVar[str] = "audio"
    id: int | None = attribute("id", Integer(zero="refused"), required=True)


@attrs.define
class Graphics(Model):
    """The base of all kinds."""

    TAG: ClassVar[str] = "graphics"
    type: str = attribute("type")


def _port(words: str) -> Integer:
    return Integer(signed=True, refusal=internal(words))


def _spice_port() -> Integer:
    return Integer(signed=True)


def _check_password(graphics: Any) -> None:
    """A password may end; without one nothing of it counts."""
    if graphics.passwd is None:
        graphics.passwd_valid_to = graphics.connected = None
        return
    until = graphics.passwd_valid_to
    if until is not None and not _UNTIL.match(until):
        raise InternalError(
            f"cannot parse password validity time '{until}', expect YYYY-MM-DDTHH:MM:SS",
            domain=VIR_FROM_DOMAIN,
        )
    if graphics.connected not in {None, "fail", "disconnect", "keep"}:
        raise ConfigUnsupported(f"unknown connected value {graphics.connected}", domain=VIR_FROM_DOMAIN)
    if graphics.type == "vnc" and graphics.connected not in {None, "keep"}:
        raise ConfigUnsupported("VNC supports connected='keep' only", domain=VIR_FROM_DOMAIN)


_UNTIL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\Z")


@attrs.define
class ListeningGraphics(Graphics):
    """What VNC, SPICE and RDP share: listens, and the first of them repeated as attributes."""

    listens: list[Listen] = children(Listen)

    def complete_listens(self, source: Source, how: Reading, *, sockets: bool) -> None:
        """Put the old ``listen`` and ``socket`` attributes and the ``<listen>`` elements together."""
        address = source.get("listen") or None
        socket = source.get("socket") or None
        if sockets and socket is not None:
            first = self.listens[0] if self.listens else None
            if first is not None and first.type == "socket" and first.socket not in {None, socket}:
                raise ConfigUnsupported(
                    f"graphics 'socket' attribute '{socket}' must match 'socket' attribute of first"
                    f" listen element (found '{first.socket or 'none'}')",
                    domain=VIR_FROM_DOMAIN,
                )
            if first is None or first.type != "socket":
                self.listens = [_listen("socket", socket=socket)]
            else:
                first.socket = socket
        elif not self.listens:
            self.listens = [_listen("address", address=address)]
        else:
            first = self.listens[0]
            if address is not None:
                if first.type == "address" and first.address is None:
                    first.address = address
                elif first.type == "address" and first.address != address:
                    raise ConfigUnsupported(
                        f"graphics 'listen' attribute '{address}' must match 'address' attribute of first"
                        f" listen element (found '{first.address}')",
                        domain=VIR_FROM_DOMAIN,
                    )

    @property
    def listen(self) -> str | None:
        """The address of the first listen."""
        return self.listens[0].address if self.listens else None


def _listen(kind: str, *, address: str | None = None, socket: str | None = None) -> Listen:
    made = Listen()
    made.type, made.address, made.socket = kind, address, socket
    return made


@attrs.define
class Vnc(ListeningGraphics):
    """A VNC server that shows the guest's screen."""

    port: int | None = attribute("port", _port("cannot parse vnc port {}"))
    autoport: bool = attribute("autoport", Boolean("yes", "no", lenient=True), default=False)
    websocket: int | None = attribute("websocket", Integer(signed=True))
    keymap: str | None = attribute("keymap")
    share_policy: str | None = attribute("sharePolicy", Choice("allow-exclusive force-shared ignore"))
    power_control: bool | None = attribute("powerControl", yes_no())
    passwd: str | None = attribute("passwd", Text(empty=True), secure=True)
    passwd_valid_to: str | None = attribute("passwdValidTo")
    connected: str | None = attribute("connected")
    audio: AudioRef | None = child(AudioRef)

    def complete(self, source: Source, how: Reading) -> None:
        self.complete_listens(source, how, sockets=True)
        _check_password(self)
        if self.port in {None, -1}:
            self.port = None
            if source.get("autoport") not in {"yes", "no"}:
                self.autoport = True
        if self.autoport and not how.live:
            self.port = None

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("type", self.type)
        first = self.listens[0]
        if first.type == "socket":
            tag.set("socket", first.socket)
        elif first.type in {"address", "network"}:
            if self.port and not (self.autoport and how.inactive):
                tag.set("port", self.port)
            elif self.autoport:
                tag.set("port", -1)
            tag.set("autoport", "yes" if self.autoport else "no")
            tag.set("websocket", self.websocket or None)
            tag.set("listen", first.address)
        tag.set("keymap", self.keymap).set("sharePolicy", self.share_policy)
        if self.power_control is not None:
            tag.set("powerControl", "yes" if self.power_control else "no")
        _password(self, tag, how)
        # An old libvirt knows the attribute, and would not take the element.
        _print_children(
            self.listens[1:] if how.migratable and first.type == "socket" else self.listens, tag, how
        )
        if self.audio is not None:
            self.audio.print_into(tag, how)


def _password(graphics: Any, tag: Tag, how: Printing) -> None:
    if graphics.passwd is not None and how.secure:
        tag.set("passwd", graphics.passwd)
    tag.set("passwdValidTo", graphics.passwd_valid_to)
    tag.set("connected", graphics.connected)


def _print_children(models: list[Any], tag: Tag, how: Printing) -> None:
    for model in models:
        model.print_into(tag, how)


CHANNELS: Final = ("main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir")
"""Of several settings of a channel the last counts; they are printed in this order."""


@attrs.define
class SpiceChannel(Model):
    TAG: ClassVar[str] = "channel"
    name: str = attribute("name", Choice(" ".join(CHANNELS)), required=True)
    mode: str = attribute("mode", Choice("any secure insecure"), required=True)


_WAN = Choice("auto never always")


@attrs.define
class Spice(ListeningGraphics):
    """A SPICE server that shows the guest's screen."""

    port: int | None = attribute("port", _spice_port())
    tls_port: int | None = attribute("tlsPort", _spice_port())
    autoport: bool = attribute("autoport", yes_no(), default=False)
    keymap: str | None = attribute("keymap")
    default_mode: str | None = attribute("defaultMode", Choice("any secure insecure"))
    passwd: str | None = attribute("passwd", Text(empty=True), secure=True)
    passwd_valid_to: str | None = attribute("passwdValidTo")
    connected: str | None = attribute("connected")
    channels: list[SpiceChannel] = children(SpiceChannel)
    image: str | None = nested_attribute(
        "image/compression", Choice("auto_glz auto_lz quic glz lz off"), required=True
    )
    jpeg: str | None = nested_attribute("jpeg/compression", _WAN, required=True)
    zlib: str | None = nested_attribute("zlib/compression", _WAN, required=True)
    playback: bool | None = nested_attribute("playback/compression", on_off(), required=True)
    streaming: str | None = nested_attribute("streaming/mode", Choice("filter all off"), required=True)
    mouse: str | None = nested_attribute("mouse/mode", Choice("server client"), required=True)
    clipboard: bool | None = nested_attribute("clipboard/copypaste", yes_no(), required=True)
    filetransfer: bool | None = nested_attribute("filetransfer/enable", yes_no(), required=True)
    gl: Gl | None = child(Gl)

    def complete(self, source: Source, how: Reading) -> None:
        self.complete_listens(source, how, sockets=False)
        _check_password(self)
        last = {channel.name: channel for channel in self.channels}
        self.channels = [last[name] for name in CHANNELS if name in last and last[name].mode != "any"]
        if self.port == -1 and self.tls_port == -1:
            self.autoport = True
        if self.autoport and not how.live:
            self.port = self.tls_port = None
        first = self.listens[0]
        if not self.autoport and not self.port and not self.tls_port and first.type == "address":
            self.listens[0] = _listen("none")

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("type", self.type)
        if self.listens[0].type in {"address", "network"}:
            if self.port and not (self.autoport and how.inactive):
                tag.set("port", self.port)
            if self.tls_port and not (self.autoport and how.inactive):
                tag.set("tlsPort", self.tls_port)
            tag.set("autoport", "yes" if self.autoport else "no")
            tag.set("listen", self.listens[0].address)
        tag.set("keymap", self.keymap)
        tag.set("defaultMode", self.default_mode if self.default_mode != "any" else None)
        _password(self, tag, how)
        _print_children(self.listens, tag, how)
        _print_children(self.channels, tag, how)
        for name, key, value in (
            ("image", "compression", self.image),
            ("jpeg", "compression", self.jpeg),
            ("zlib", "compression", self.zlib),
            ("playback", "compression", _word(self.playback, "on", "off")),
            ("streaming", "mode", self.streaming),
            ("mouse", "mode", self.mouse),
            ("clipboard", "copypaste", _word(self.clipboard, "yes", "no")),
            ("filetransfer", "enable", _word(self.filetransfer, "yes", "no")),
        ):
            if value is not None:
                tag.add(Tag(name).set(key, value))
        if self.gl is not None:
            self.gl.print_into(tag, how)


def _word(value: bool | None, true: str, false: str) -> str | None:
    return None if value is None else true if value else false


@attrs.define
class Rdp(ListeningGraphics):
    port: int | None = attribute("port", _port("cannot parse rdp port {}"))
    autoport: bool | None = attribute("autoport", yes_no())
    replace_user: bool | None = attribute("replaceUser", yes_no())
    multi_user: bool | None = attribute("multiUser", yes_no())

    def complete(self, source: Source, how: Reading) -> None:
        self.complete_listens(source, how, sockets=False)
        for listen in self.listens:
            if listen.type in {"socket", "none"}:
                raise ConfigUnsupported(
                    f"listen type '{listen.type}' is not available for graphics type 'rdp'",
                    domain=VIR_FROM_DOMAIN,
                )
        if self.port in {None, -1}:
            self.autoport = True
        if self.autoport and not how.live:
            self.port = 0

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("type", self.type)
        tag.set("port", self.port or 0)
        tag.set("autoport", "yes" if self.autoport else None)
        tag.set("replaceUser", "yes" if self.replace_user else None)
        tag.set("multiUser", "yes" if self.multi_user else None)
        tag.set("listen", self.listens[0].address)
        _print_children(self.listens, tag, how)


@attrs.define
class Sdl(Graphics):
    display: str | None = attribute("display")
    xauth: str | None = attribute("xauth")
    fullscreen: bool | None = attribute("fullscreen", yes_no())
    gl: Gl | None = child(Gl)

    def complete(self, source: Source, how: Reading) -> None:
        self.fullscreen = self.fullscreen or None
        if self.gl is not None:
            self.gl.rendernode = None


@attrs.define
class Desktop(Graphics):
    display: str | None = attribute("display")
    fullscreen: bool | None = attribute("fullscreen", yes_no())

    def complete(self, source: Source, how: Reading) -> None:
        self.fullscreen = self.fullscreen or None


@attrs.define
class EglHeadless(Graphics):
    gl: HeadlessGl | None = child(HeadlessGl)


@attrs.define
class Dbus(Graphics):
    p2p: bool | None = attribute("p2p", yes_no())
    address: str | None = attribute("address")
    gl: Gl | None = child(Gl)
    audio: AudioRef | None = child(AudioRef)

    def complete(self, source: Source, how: Reading) -> None:
        self.p2p = self.p2p or None
        if self.p2p and self.address is not None:
            raise XmlError("D-Bus p2p with an address is not supported", domain=VIR_FROM_DOMAIN)


_KINDS: dict[str, type[Graphics]] = {
    "sdl": Sdl,
    "vnc": Vnc,
    "rdp": Rdp,
    "desktop": Desktop,
    "spice": Spice,
    "egl-headless": EglHeadless,
    "dbus": Dbus,
}


def choose_graphics(element: Element) -> type[Model]:
    """The model for a ``<graphics>``."""
    kind = element.get("type")
    if kind is None:
        raise XmlError("Missing required attribute 'type' in element 'graphics'", domain=VIR_FROM_XML)
    if kind not in _KINDS:
        raise XmlError(
            f"Invalid value for attribute 'type' in element 'graphics': '{kind}'.", domain=VIR_FROM_XML
        )
    return _KINDS[kind]
