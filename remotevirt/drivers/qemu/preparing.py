"""What of a definition is decided when a guest starts: names of devices, where displays are."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.command.chardev import channel_path
from remotevirt.drivers.qemu.complete.aliases import assign_aliases
from remotevirt.drivers.qemu.complete.choice import choose_firmware
from remotevirt.drivers.qemu.displays import place_display
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.live_cpu import add_removed
from remotevirt.xml.domain.chardev import Channel, CharSource
from remotevirt.xml.domain.graphics import Vnc

__all__ = ["prepare_definition"]


def prepare_definition(guest: Guest, emulator: Emulator) -> None:
    """Complete the live definition of a guest that is about to start; inside of a commit.

    Raises:
        VirError: no port is free, or no firmware fits.
    """
    model = guest.record.live.changing()
    choose_firmware(model, guest.world.firmware, str(guest.world.settings.nvram))
    assign_aliases(model)
    if model.cpu is not None and model.cpu.model is not None:
        model.cpu.model.fallback = "forbid"  # it has what it got, and nothing in its stead
    add_removed(model)
    for disk in model.devices.disks:
        if disk.source_is_empty() and disk.driver is not None:
            disk.driver.type = None  # of the medium, and there is none
    for channel in model.devices.channels:
        _place_channel(guest, channel)
    for graphics in model.devices.graphics:
        if isinstance(graphics, Vnc):
            place_display(guest, graphics)
    devices = model.devices
    lines: list[Any] = [*devices.serials, *devices.parallels, *devices.consoles, *devices.channels]
    for line in lines:
        if line.backend.type == "tcp" and line.backend.sources and line.backend.sources[0].tls is None:
            line.backend.sources[0].tls = False


def _place_channel(guest: Guest, channel: Channel) -> None:
    """Say where a channel's socket is that the driver chooses a place for."""
    sources = channel.backend.sources
    if channel.backend.type != "unix" or (sources and sources[0].path is not None):
        return
    folder = guest.world.settings.channel / guest.record.uuid.hex()
    name = channel.target.name if channel.target is not None else None
    path = channel_path(str(folder), name or channel.info.alias or "channel")
    channel.backend.sources = [CharSource(mode="bind", path=path)]
