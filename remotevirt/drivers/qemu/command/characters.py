"""Serial and parallel ports, consoles and channels, as the guest sees them."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.command.chardev import chardev_part
from remotevirt.drivers.qemu.command.parts import Part, option
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported
from remotevirt.xml.domain.chardev import Channel, Console, Parallel, Serial

__all__ = ["parts_of_channel", "parts_of_console", "parts_of_parallel", "parts_of_serial"]

_SERIAL_MODELS = {
    "isa-serial": "isa-serial",
    "usb-serial": "usb-serial",
    "pci-serial": "pci-serial",
    "isa-debug": "isa-debugcon",
    "system-serial": "pl011",
}
"""The model of a serial port that only says what kind it is."""


def parts_of_serial(setting: Setting, serial: Serial) -> list[Part]:
    """Return a serial port: its character device, then the port. Raises VirError."""
    alias = alias_of(serial.info, "serial")
    parts = [chardev_part(setting, serial.backend, alias)]
    target = serial.target
    kind = target.type if target is not None and target.type is not None else None
    if kind is None:
        kind = "isa-serial" if setting.is_x86 else "system-serial"
    asked = target.model.name if target is not None and target.model is not None else None
    model = asked or _SERIAL_MODELS.get(kind)
    if model == "pl011":
        if not setting.is_virt:
            raise unsupported(
                "Serial device with target type 'system-serial' and target model 'pl011' not compatible with"
                " guest architecture or machine type"
            )
        return [*parts, option("-serial", f"chardev:char{alias}")]
    if model not in {"isa-serial", "usb-serial", "pci-serial", "isa-debugcon"}:
        raise unsupported(f"Serial target model '{model}' is not supported in this QEMU binary")
    values: dict[str, Any] = {"driver": model, "chardev": f"char{alias}", "id": alias}
    if model == "isa-serial" and target is not None and target.port is not None:
        values["index"] = target.port
    return [*parts, Part("device", {**values, **setting.place(serial.info.address)})]


def parts_of_parallel(setting: Setting, parallel: Parallel) -> list[Part]:
    """Return a parallel port. Raises VirError."""
    alias = alias_of(parallel.info, "parallel")
    values = {"driver": "isa-parallel", "chardev": f"char{alias}", "id": alias}
    return [
        chardev_part(setting, parallel.backend, alias),
        Part("device", {**values, **setting.place(parallel.info.address)}),
    ]


def parts_of_console(setting: Setting, console: Console) -> list[Part]:
    """Return a console; nothing for one that only is the first serial port again. Raises VirError."""
    kind = console.target.type if console.target is not None else None
    if kind in {None, "serial"}:
        if not setting.model.devices.serials:
            raise unsupported("a console of type 'serial' needs a serial port")
        return []
    if kind != "virtio":
        raise unsupported(f"unsupported console target type {kind}")
    alias = alias_of(console.info, "console")
    values = {"driver": "virtconsole", **setting.place(console.info.address)}
    return [
        chardev_part(setting, console.backend, alias),
        Part("device", {**values, "chardev": f"char{alias}", "id": alias}),
    ]


def parts_of_channel(setting: Setting, channel: Channel) -> list[Part]:
    """Return a channel between the guest and the host. Raises VirError."""
    alias = alias_of(channel.info, "channel")
    target = channel.target
    if target is None or target.type not in {"virtio", "guestfwd"}:
        raise unsupported("unsupported channel target type")
    if target.type == "guestfwd":
        forward = {"str": f"tcp:{target.address}:{target.port}-chardev:char{alias}"}
        return [
            chardev_part(setting, channel.backend, alias),
            Part("netdev", {"type": "user", "guestfwd": [forward], "id": alias}),
        ]
    values: dict[str, Any] = {"driver": "virtserialport", **setting.place(channel.info.address)}
    values |= {"chardev": f"char{alias}", "id": alias}
    if target.name is not None:
        values["name"] = target.name
    return [
        chardev_part(setting, channel.backend, alias, channel=target.name or alias),
        Part("device", values),
    ]
