"""The guest's screen: who may look at it (VNC), and the video cards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Part, comma_list, option
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported, virtio_options
from remotevirt.xml.domain.graphics import Listen, Vnc
from remotevirt.xml.domain.media import Video, VideoModel

__all__ = ["graphics_options", "parts_of_video"]

_KEYMAP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")
"""QEMU takes the name of a keymap for that of a file, wherever it leads."""

FIRST_PORT: Final = 5900
"""VNC's display 0."""


def graphics_options(setting: Setting, *, audio: str | None) -> list[Part]:
    """Return the screens.

    Args:
        setting: the guest.
        audio: the id of the audio device whose sound viewers may hear, None for none.

    Raises:
        VirError: a screen cannot be served like that.
    """
    parts: list[Part] = []
    for position, one in enumerate(setting.model.devices.graphics):
        if not isinstance(one, Vnc):
            raise unsupported(f"unsupported graphics type '{one.type}'")
        if parts:
            raise unsupported("only 1 graphics device of each type (sdl, vnc, spice) is supported")
        parts += _vnc(setting, one, position, audio)
    return parts


def _vnc(setting: Setting, vnc: Vnc, position: int, audio: str | None) -> list[Part]:
    listen = vnc.listens[0] if vnc.listens else None
    if len(vnc.listens) > 1:
        raise unsupported("only one listen element is supported for VNC")
    if listen is not None and listen.type == "socket":
        path = listen.socket or f"{setting.surroundings.folder}/vnc.sock"
        words = [f"vnc=unix:{path}".replace(",", ",,")]
        if vnc.websocket is not None:
            raise unsupported("VNC WebSockets are not supported with a UNIX socket")
    elif listen is not None and listen.type == "none":
        words = ["none"]
    else:
        words = [_address(setting, vnc, listen, position)]
        if vnc.autoport and setting.surroundings.vnc_others:
            # somebody else may take the port before QEMU does
            display = int(words[0].rpartition(":")[2])
            words.append(f"to={display + setting.surroundings.vnc_others}")
        websocket = _port(vnc.websocket, setting.surroundings.websocket_ports, position, "websocket")
        if websocket is not None:
            words.append(f"websocket={websocket}")
    more = comma_list(
        share=vnc.share_policy,
        password=True if vnc.passwd is not None else None,
        power_control=vnc.power_control,
        audiodev=audio if vnc.audio is None or vnc.audio.id is None else f"audio{vnc.audio.id}",
    )
    parts = [option("-vnc", ",".join([*words, *([more] if more else [])]))]
    if vnc.keymap is not None:
        if not _KEYMAP.match(vnc.keymap):
            raise unsupported(f"invalid keymap '{vnc.keymap}'")
        parts.append(option("-k", vnc.keymap))
    return parts


def _address(setting: Setting, vnc: Vnc, listen: Listen | None, position: int) -> str:
    if listen is not None and listen.type == "network" and listen.address is None:
        raise unsupported(f"network-based listen on network '{listen.network}' is not possible")
    host = (listen.address if listen is not None else None) or setting.surroundings.vnc_listen
    port = _port(vnc.port, setting.surroundings.vnc_ports, position, "VNC")
    if port is None or port < FIRST_PORT:
        if port is None and setting.surroundings.preview:
            port = FIRST_PORT
        else:
            raise unsupported("vnc port must be in range [5900,65535]")
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port - FIRST_PORT}".replace(",", ",,")


def _port(wanted: int | None, chosen: Mapping[int, int], position: int, what: str) -> int | None:
    """The port of a screen: the configuration's, or the one that was chosen for it."""
    if wanted is not None and wanted > 0:
        return wanted
    if wanted is None and what == "websocket":
        return None
    return chosen.get(position)


def parts_of_video(setting: Setting, video: Video) -> list[Part]:
    """Return a video card; nothing for ``none``. Raises VirError where the emulator lacks it."""
    model = video.model or VideoModel()
    kind = model.type
    if kind == "none":
        return []
    if video.driver is not None and video.driver.name not in {None, "qemu"}:
        raise unsupported(f"video driver '{video.driver.name}' is not supported by this driver")
    acceleration = model.acceleration
    if acceleration is not None and (acceleration.accel3d or acceleration.rendernode is not None):
        raise unsupported(f"{kind} 3d acceleration is not supported")
    primary = model.primary if model.primary is not None else setting.model.devices.videos[:1] == [video]
    alias = alias_of(video.info, "video")
    driver, values = _card(setting, model, primary=bool(primary), video=video)
    setting.need(driver, f"video type {kind} is not supported with QEMU")
    head: dict[str, Any] = {"driver": driver}
    if video.driver is not None:
        switches = virtio_options(video.driver.virtio)
        if switches and kind != "virtio":
            raise unsupported("driver attributes are only supported for virtio video devices")
        head |= switches
    return [Part("device", {**head, "id": alias, **values, **setting.place(video.info.address)})]


def _card(setting: Setting, model: VideoModel, *, primary: bool, video: Video) -> tuple[str, dict[str, Any]]:
    kind = model.type
    values: dict[str, Any] = {}
    if kind == "virtio":
        if model.heads:
            values["max_outputs"] = model.heads
        values |= _resolution(model)
        full = primary and setting.is_x86
        return ("virtio-vga" if full else setting.virtio("gpu", None, video.info.address)), values
    if kind == "vga":
        if model.vram:
            values["vgamem_mb"] = max(1, model.vram // 1024)
        values |= _resolution(model)
        return ("VGA" if primary else "secondary-vga"), values
    if kind == "bochs":
        if model.vram:
            values["vgamem"] = model.vram * 1024
        values |= _resolution(model)
        return "bochs-display", values
    if kind == "qxl":
        pairs = {"ram_size": model.ram, "vram_size": model.vram}
        values |= {key: size * 1024 for key, size in pairs.items() if size}
        if model.vram64:
            values["vram64_size_mb"] = model.vram64 // 1024
        if model.vgamem:
            values["vgamem_mb"] = model.vgamem // 1024
        if model.heads:
            values["max_outputs"] = model.heads
        values |= _resolution(model)
        return ("qxl-vga" if primary else "qxl"), values
    if model.resolution is not None:
        raise unsupported(f"setting of resolution is not supported for video type {kind}")
    if kind == "cirrus":
        return "cirrus-vga", values
    if kind == "vmvga":
        if model.vram:
            values["vgamem_mb"] = max(1, model.vram // 1024)
        return "vmware-svga", values
    if kind == "ramfb":
        return "ramfb", values
    raise unsupported(f"video type '{kind}' is not supported with QEMU")


def _resolution(model: VideoModel) -> dict[str, Any]:
    return {} if model.resolution is None else {"xres": model.resolution.x, "yres": model.resolution.y}
