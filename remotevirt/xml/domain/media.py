"""Screens, sound, keyboards and mice: ``<video>``, ``<sound>``, ``<audio>``, ``<input>``, ``<hub>``."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.domain.disk import VirtioDriver, VirtioOptions
from remotevirt.xml.domain.graphics import AudioRef
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    child,
    children,
    hook,
    inline,
)
from remotevirt.xml.values import (
    Boolean,
    Choice,
    Integer,
    Where,
    internal,
    missing_attribute,
    on_off,
    unsupported,
    xml_error,
    yes_no,
)

__all__ = ["Audio", "Hub", "Input", "Sound", "Video"]


@attrs.define
class VideoDriver(Model):
    TAG: ClassVar[str] = "driver"
    name: str | None = attribute("name", Choice("qemu vhostuser", silent="default"))
    vgaconf: str | None = attribute("vgaconf", Choice("io on off", silent="io", lenient=True))
    virtio: VirtioOptions = inline(VirtioOptions)


@attrs.define
class Acceleration(Model):
    TAG: ClassVar[str] = "acceleration"
    accel3d: bool | None = attribute("accel3d", yes_no())
    accel2d: bool | None = attribute("accel2d", yes_no())
    rendernode: str | None = attribute("rendernode")

    def complete(self, source: Source, how: Reading) -> None:
        if self.accel3d is None and self.accel2d is None and self.rendernode is None:
            raise ConfigUnsupported("missing values for acceleration", domain=VIR_FROM_DOMAIN)


@attrs.define
class Resolution(Model):
    TAG: ClassVar[str] = "resolution"
    x: int = attribute("x", Integer(), required=True)
    y: int = attribute("y", Integer(), required=True)

    def complete(self, source: Source, how: Reading) -> None:
        if not self.x or not self.y:
            raise ConfigUnsupported("video resolution values must be greater than 0", domain=VIR_FROM_DOMAIN)


def _video_memory(name: str) -> Any:
    return attribute(name, Integer(zero="silent", refusal=xml_error(f"cannot parse video {name} '{{}}'")))


@attrs.define
class VideoModel(Model):
    """The graphics card; memory in KiB."""

    TAG: ClassVar[str] = "model"
    type: str | None = attribute(
        "type",
        Choice(
            "vga cirrus vmvga xen vbox qxl parallels virtio gop none bochs ramfb",
            silent="default",
            refusal=unsupported("unknown video model '{}'"),
        ),
    )
    ram: int | None = _video_memory("ram")
    vram: int | None = _video_memory("vram")
    vram64: int | None = _video_memory("vram64")
    vgamem: int | None = _video_memory("vgamem")
    heads: int | None = attribute("heads", Integer(refusal=internal("cannot parse video heads '{}'")))
    primary: bool | None = attribute("primary", Boolean("yes", "no", lenient=True))
    acceleration: Acceleration | None = child(Acceleration)
    resolution: Resolution | None = child(Resolution)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "none":
            self.heads = self.primary = self.acceleration = self.resolution = None
        self.primary = self.primary or None
        if self.type != "qxl":
            for name in ("ram", "vram64", "vgamem"):
                if getattr(self, name) is not None:
                    raise ConfigUnsupported(
                        f"{name} attribute only supported for video type qxl", domain=VIR_FROM_DOMAIN
                    )


@attrs.define
class Video(Model):
    """A graphics card."""

    TAG: ClassVar[str] = "video"
    driver: VideoDriver | None = child(VideoDriver)
    model: VideoModel | None = child(VideoModel)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        self.model = self.model or VideoModel()


@attrs.define
class Codec(Model):
    TAG: ClassVar[str] = "codec"
    type: str = attribute(
        "type",
        Choice("duplex micro output", refusal=unsupported("unknown codec type '{}'")),
        required=unsupported("unknown codec type '(null)'"),
    )


@attrs.define
class Sound(Model):
    """A sound card."""

    TAG: ClassVar[str] = "sound"
    model: str = attribute("model", Choice("sb16 es1370 pcspk ac97 ich6 ich9 usb ich7"), required=True)
    codecs: list[Codec] = children(Codec)
    audio: AudioRef | None = child(AudioRef)
    info: DeviceInfo = inline(DeviceInfo)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("model") not in {"ich6", "ich9"}:  # others have none, and they are not looked at
            source.children.pop("codec", None)
        return super().read_source(source, how)


@attrs.define
class AudioSettings(Model):
    TAG: ClassVar[str] = "settings"
    KEEP: ClassVar[bool] = True
    frequency: int | None = attribute("frequency", Integer(zero="refused"))
    channels: int | None = attribute("channels", Integer(zero="refused"))
    format: str | None = attribute("format", Choice("s8 u8 s16 u16 s32 u32 f32"))


def _read_settings(source: Source, how: Reading, model: AudioPath) -> AudioSettings | None:
    element = source.first("settings")
    if element is None:
        return None
    if not model.fixed_settings:
        raise ConfigUnsupported(
            "audio settings specified without fixed settings flag", domain=VIR_FROM_DOMAIN
        )
    return AudioSettings.read(element, how)


@attrs.define
class AudioPath(Model):
    """One direction of sound; which attributes it has depends on the kind of audio."""

    mixing_engine: bool | None = attribute("mixingEngine", yes_no())
    fixed_settings: bool | None = attribute("fixedSettings", yes_no())
    voices: int | None = attribute("voices", Integer(zero="refused"))
    buffer_length: int | None = attribute("bufferLength", Integer(zero="refused"))
    server_name: str | None = attribute("serverName")
    client_name: str | None = attribute("clientName")
    connect_ports: str | None = attribute("connectPorts")
    exact_name: bool | None = attribute("exactName", yes_no())
    dev: str | None = attribute("dev")
    name: str | None = attribute("name")
    stream_name: str | None = attribute("streamName")
    latency: int | None = attribute("latency", Integer(zero="refused"))
    buffer_count: int | None = attribute("bufferCount", Integer(zero="refused"))
    try_poll: bool | None = attribute("tryPoll", yes_no())
    settings: AudioSettings | None = hook(
        _read_settings,
        lambda value, how, model: value.element(how),
    )

    def complete(self, source: Source, how: Reading) -> None:
        if self.fixed_settings and not self.mixing_engine:
            raise ConfigUnsupported("fixed audio settings requires mixing engine", domain=VIR_FROM_DOMAIN)


@attrs.define
class AudioInput(AudioPath):
    TAG: ClassVar[str] = "input"


@attrs.define
class AudioOutput(AudioPath):
    TAG: ClassVar[str] = "output"


_OF_ALL = ("mixing_engine", "fixed_settings", "voices", "buffer_length", "settings")
_PATH_FIELDS = {
    "alsa": ("dev",),
    "coreaudio": ("buffer_count",),
    "jack": ("server_name", "client_name", "connect_ports", "exact_name"),
    "oss": ("dev", "buffer_count", "try_poll"),
    "pulseaudio": ("name", "stream_name", "latency"),
    "sdl": ("buffer_count",),
}


AUDIO_TYPES = Choice("none alsa coreaudio jack oss pulseaudio sdl spice file dbus")


@attrs.define
class Audio(Model):
    """Where the host plays and records the guest's sound."""

    TAG: ClassVar[str] = "audio"
    id: int = attribute("id", Integer(zero="refused"), required=True)
    type: str = attribute("type", AUDIO_TYPES, required=True)
    timer_period: int | None = attribute("timerPeriod", Integer(zero="refused"))
    server_name: str | None = attribute("serverName")
    driver: str | None = attribute("driver", Choice("alsa arts esd pulseaudio", silent=""))
    path: str | None = attribute("path")
    try_mmap: bool | None = attribute("tryMMap", yes_no())
    exclusive: bool | None = attribute("exclusive", yes_no())
    dsp_policy: int | None = attribute("dspPolicy", Integer(signed=True))
    input: AudioInput | None = child(AudioInput)
    output: AudioOutput | None = child(AudioOutput)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("type") is None:
            raise missing_attribute("audio", "type")
        AUDIO_TYPES.read(source.get("type") or "", Where("audio", "type"))  # before the number
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        kind = self.type
        if kind != "pulseaudio":
            self.server_name = None
        if kind != "sdl":
            self.driver = None
        if kind != "file":
            self.path = None
        if kind != "oss":
            self.try_mmap = self.exclusive = self.dsp_policy = None
        kept = {*_OF_ALL, *_PATH_FIELDS.get(kind, ())}
        for path in (self.input, self.output):
            if path is not None:
                for field in attrs.fields(type(path)):
                    if field.name not in kept:
                        setattr(path, field.name, None)


@attrs.define
class InputSource(Model):
    TAG: ClassVar[str] = "source"
    evdev: str | None = attribute("evdev")
    dev: str | None = attribute("dev")
    grab: str | None = attribute("grab", Choice("all"))
    grab_toggle: str | None = attribute(
        "grabToggle", Choice("ctrl-ctrl alt-alt shift-shift meta-meta scrolllock ctrl-scrolllock")
    )
    repeat: bool | None = attribute("repeat", on_off())


@attrs.define
class Input(Model):
    """A keyboard, mouse or tablet."""

    TAG: ClassVar[str] = "input"
    type: str = attribute(
        "type",
        Choice(
            "mouse tablet keyboard passthrough evdev", refusal=unsupported("unknown input device type '{}'")
        ),
        required=internal("missing input device type"),
    )
    bus: str | None = attribute(
        "bus",
        Choice(
            "ps2 usb xen parallels virtio none",
            silent="default",
            refusal=unsupported("unknown input bus type '{}'"),
        ),
    )
    model: str | None = attribute(
        "model",
        Choice(
            "virtio virtio-transitional virtio-non-transitional",
            refusal=unsupported("unknown input model '{}'"),
        ),
    )
    driver: VirtioDriver | None = child(VirtioDriver)
    source: InputSource | None = child(InputSource)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type not in {"passthrough", "evdev"}:
            self.source = None
        elif self.source is not None:
            if self.type == "passthrough":
                evdev = self.source.evdev
                if evdev is None:
                    raise XmlError("Missing evdev path for input device", domain=VIR_FROM_DOMAIN)
                self.source = InputSource()
                self.source.evdev = evdev
            else:
                self.source.evdev = None
                if self.source.dev is None:
                    raise XmlError("Missing evdev path for input device", domain=VIR_FROM_DOMAIN)


@attrs.define
class Hub(Model):
    """A USB hub."""

    TAG: ClassVar[str] = "hub"
    type: str = attribute(
        "type",
        Choice("usb", refusal=unsupported("unknown hub device type '{}'")),
        required=internal("missing hub device type"),
    )
    info: DeviceInfo = inline(DeviceInfo)
