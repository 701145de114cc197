"""Sound cards, and where their sound goes: nowhere, as a daemon has no loudspeaker."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Part
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported
from remotevirt.xml.domain.graphics import Vnc
from remotevirt.xml.domain.media import Sound

__all__ = ["audio_parts", "default_audio", "parts_of_sound"]

_HDA: Final = {"ich6": "intel-hda", "ich9": "ich9-intel-hda"}
"""Cards that are only a bus for codecs."""

_PLAIN: Final = {"ac97": "AC97", "es1370": "ES1370", "sb16": "sb16", "usb": "usb-audio"}


def default_audio(setting: Setting) -> str | None:
    """Return the id of the audio device of those that name none; None if nothing needs one."""
    devices = setting.model.devices
    if devices.audios:
        return f"audio{devices.audios[0].id}"
    if devices.sounds or any(isinstance(one, Vnc) for one in devices.graphics):
        return "audio1"
    return None


def audio_parts(setting: Setting) -> list[Part]:
    """Return the audio devices. Raises VirError for those that make noise on the host."""
    audios = setting.model.devices.audios
    for audio in audios:
        if audio.type != "none":
            raise unsupported(f"audio backend '{audio.type}' is not supported by this driver")
        if audio.timer_period is not None or audio.input is not None or audio.output is not None:
            raise unsupported("settings of audio backend 'none' are not supported by this driver")
    names = [f"audio{audio.id}" for audio in audios]
    if not names:
        implied = default_audio(setting)
        names = [] if implied is None else [implied]
    return [Part("audiodev", {"id": name, "driver": "none"}) for name in names]


def parts_of_sound(setting: Setting, sound: Sound) -> list[Part]:
    """Return a sound card, with its codecs. Raises VirError."""
    alias = alias_of(sound.info, "sound")
    audio = default_audio(setting)
    if sound.audio is not None and sound.audio.id is not None:
        audio = f"audio{sound.audio.id}"
    place = setting.place(sound.info.address)
    if sound.model in _HDA:
        driver = setting.need(_HDA[sound.model], f"this QEMU binary lacks sound model '{sound.model}'")
        parts = [Part("device", {"driver": driver, "id": alias, **place})]
        kinds = [codec.type for codec in sound.codecs] or ["duplex"]
        for number, kind in enumerate(kinds):
            codec: dict[str, Any] = {"driver": f"hda-{kind}", "id": f"{alias}-codec{number}"}
            codec |= {"bus": f"{alias}.0", "cad": number, "audiodev": audio}
            parts.append(Part("device", codec))
        return parts
    if sound.codecs:
        raise unsupported(f"codecs are not supported by sound model '{sound.model}'")
    if sound.model not in _PLAIN:
        raise unsupported(f"sound card model '{sound.model}' is not supported by qemu")
    driver = setting.need(_PLAIN[sound.model], f"this QEMU binary lacks sound model '{sound.model}'")
    return [Part("device", {"driver": driver, "id": alias, "audiodev": audio, **place})]
