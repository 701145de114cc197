"""Small devices: input, hubs, watchdogs, balloon, random numbers, panic, and those without an element."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from remotevirt.drivers.qemu.command.parts import GuestFile, Part, option
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported, virtio_options
from remotevirt.xml.domain.address import IsaAddress
from remotevirt.xml.domain.disk import VirtioDriver
from remotevirt.xml.domain.media import Hub, Input
from remotevirt.xml.domain.small import (
    MemoryBalloon,
    Panic,
    RandomBuiltin,
    RandomDevice,
    RandomSource,
    Watchdog,
)

__all__ = [
    "generation_parts",
    "nameless_parts",
    "panic_feature",
    "parts_of_balloon",
    "parts_of_hub",
    "parts_of_input",
    "parts_of_panic",
    "parts_of_random",
    "parts_of_watchdog",
    "uuid_text",
    "watchdog_options",
]

_USB_INPUTS: Final = {"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}
_ACTIONS: Final = {"dump": "pause"}
"""What a watchdog does in QEMU where the rest is the daemon's work."""


def _switches(driver: VirtioDriver | None) -> dict[str, Any]:
    return virtio_options(driver.options) if driver is not None else {}


def parts_of_input(setting: Setting, device: Input) -> list[Part]:
    """Return a mouse, tablet or keyboard; nothing for those that a PC has anyway. Raises VirError."""
    bus = device.bus
    if bus == "ps2":
        if not setting.is_x86:
            raise unsupported("ps2 is not supported by this QEMU binary")
        return []
    if device.type not in _USB_INPUTS:
        raise unsupported(f"input devices of type '{device.type}' are not supported by this driver")
    alias = alias_of(device.info, "input")
    place = setting.place(device.info.address)
    if bus == "usb":
        return [Part("device", {"driver": _USB_INPUTS[device.type], "id": alias, **place})]
    if bus != "virtio":
        raise unsupported(f"unsupported input bus '{bus}'")
    model = None if device.model == "virtio" else device.model
    if model is not None:
        raise unsupported(f"unsupported input model '{model}'")
    driver = setting.virtio(device.type, None, device.info.address)
    return [Part("device", {"driver": driver, **_switches(device.driver), "id": alias, **place})]


def parts_of_hub(setting: Setting, hub: Hub) -> list[Part]:
    """Return a USB hub. Raises VirError."""
    return [
        Part(
            "device",
            {"driver": "usb-hub", "id": alias_of(hub.info, "hub"), **setting.place(hub.info.address)},
        )
    ]


def parts_of_watchdog(setting: Setting, watchdog: Watchdog) -> list[Part]:
    """Return a watchdog. Raises VirError for one that the emulator lacks."""
    if watchdog.model == "itco":
        if not setting.is_q35:
            raise unsupported("iTCO watchdog is not supported with this machine type")
        return [option("-global", "ICH9-LPC.noreboot=off")]
    driver = setting.need(
        watchdog.model, f"watchdog model '{watchdog.model}' is not supported in this QEMU binary"
    )
    values = {"driver": driver, "id": alias_of(watchdog.info, "watchdog")}
    return [Part("device", {**values, **setting.place(watchdog.info.address)})]


def watchdog_options(setting: Setting) -> list[Part]:
    """Return what happens when a watchdog barks: one action, for all of them. Raises VirError."""
    watchdogs = setting.model.devices.watchdogs
    actions = {watchdog.action for watchdog in watchdogs}
    if len(actions) > 1:
        raise unsupported("all watchdog devices must have the same action")
    return [option("-watchdog-action", _ACTIONS.get(action, action)) for action in actions]


def parts_of_balloon(setting: Setting, balloon: MemoryBalloon) -> list[Part]:
    """Return the memory balloon; nothing for ``none``. Raises VirError."""
    if balloon.model == "none":
        return []
    if not balloon.model.startswith("virtio"):
        raise unsupported(
            f"Memory balloon device type '{balloon.model}' is not supported by this version of qemu"
        )
    model = None if balloon.model == "virtio" else balloon.model
    values: dict[str, Any] = {"driver": setting.virtio("balloon", model, balloon.info.address)}
    values |= {**_switches(balloon.driver), "id": alias_of(balloon.info, "memballoon")}
    if balloon.autodeflate is not None:
        values["deflate-on-oom"] = balloon.autodeflate
    if balloon.free_page_reporting is not None:
        values["free-page-reporting"] = balloon.free_page_reporting
    return [Part("device", {**values, **setting.place(balloon.info.address)})]


def parts_of_random(setting: Setting, source: RandomSource) -> list[Part]:
    """Return a source of random numbers: where they come from, then the device. Raises VirError."""
    alias = alias_of(source.info, "rng")
    name = f"obj{alias}"
    files: tuple[GuestFile, ...] = ()
    if isinstance(source.backend, RandomDevice):
        backend = {"qom-type": "rng-random", "id": name, "filename": source.backend.path}
        files = (GuestFile(source.backend.path, shared=True),)
    elif isinstance(source.backend, RandomBuiltin):
        backend = {"qom-type": "rng-builtin", "id": name}
    else:
        raise unsupported("this QEMU doesn't support the rng-egd backend")
    model = None if source.model == "virtio" else source.model
    values: dict[str, Any] = {"driver": setting.virtio("rng", model, source.info.address)}
    values |= {**_switches(source.driver), "rng": name, "id": alias}
    if source.rate is not None and source.rate.bytes is not None:
        values |= {"max-bytes": source.rate.bytes, "period": source.rate.period or 1000}
    return [
        Part("object", backend, files=files),
        Part("device", {**values, **setting.place(source.info.address)}),
    ]


def parts_of_panic(setting: Setting, panic: Panic) -> list[Part]:
    """Return the device over which a guest tells that it crashed. Raises VirError."""
    model = panic.model or "isa"
    if model == "hyperv":
        return []
    if model != "isa" or not setting.is_x86:
        raise unsupported(
            f"the QEMU binary does not support the {'ISA ' if model == 'isa' else ''}panic device"
        )
    values: dict[str, Any] = {"driver": "pvpanic"}
    address = panic.info.address
    if isinstance(address, IsaAddress) and address.iobase is not None:
        values["ioport"] = address.iobase
    return [Part("device", values)]


def panic_feature(setting: Setting) -> list[str]:
    """Return the word of ``-cpu`` that stands for Hyper-V's panic device."""
    return ["hv-crash"] if any(one.model == "hyperv" for one in setting.model.devices.panics) else []


def nameless_parts(setting: Setting) -> list[Part]:
    """Return the device that takes notes of the guest's kernel for whoever looks at a crash."""
    features = setting.model.features
    if features is None or not features.vmcoreinfo:
        return []
    return [Part("device", {"driver": "vmcoreinfo"})]


def generation_parts(setting: Setting) -> list[Part]:
    """Return the device that tells a guest when it is another one's copy."""
    genid = setting.model.genid
    if genid is None:
        return []
    return [Part("device", {"driver": "vmgenid", "guid": uuid_text(genid), "id": "vmgenid0"})]


def uuid_text(raw: bytes) -> str:
    """Return a UUID as text."""
    return str(UUID(bytes=raw))
