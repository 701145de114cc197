"""What of a definition is decided when a guest starts: names of devices, ports of displays."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any, Final

from remotevirt.drivers.qemu.command.chardev import channel_path
from remotevirt.drivers.qemu.complete.aliases import assign_aliases
from remotevirt.drivers.qemu.complete.choice import choose_firmware
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain.chardev import Channel, CharSource
from remotevirt.xml.domain.graphics import Vnc

__all__ = ["FIRST_PORT", "prepare_definition"]

FIRST_PORT: Final = 5900
"""The port of the first display; libvirt's ``remote_display_port_min``."""

LISTEN: Final = "127.0.0.1"
"""The address of displays that name none; libvirt's ``vnc_listen``."""

LAST_PORT: Final = 65535
"""libvirt's ``remote_display_port_max``."""


def prepare_definition(guest: Guest, emulator: Emulator) -> None:
    """Complete the live definition of a guest that is about to start; inside of a commit.

    Raises:
        VirError: no port is free, or no firmware fits.
    """
    model = guest.record.live.changing()
    choose_firmware(model, guest.world.firmware, str(guest.world.settings.nvram))
    assign_aliases(model)
    for channel in model.devices.channels:
        _place_channel(guest, channel)
    for graphics in model.devices.graphics:
        if isinstance(graphics, Vnc):
            _choose_port(guest, graphics)
            _choose_address(graphics)
    devices = model.devices
    lines: list[Any] = [*devices.serials, *devices.parallels, *devices.consoles, *devices.channels]
    for line in lines:
        if line.backend.type == "tcp" and line.backend.sources and line.backend.sources[0].tls is None:
            line.backend.sources[0].tls = False


def _choose_address(graphics: Vnc) -> None:
    """Say where a display is served that names no address: on the host only."""
    if graphics.listens and graphics.listens[0].type == "address" and graphics.listens[0].address is None:
        graphics.listens[0].address = LISTEN


def _place_channel(guest: Guest, channel: Channel) -> None:
    """Say where a channel's socket is that the driver chooses a place for."""
    sources = channel.backend.sources
    if channel.backend.type != "unix" or (sources and sources[0].path is not None):
        return
    folder = guest.world.settings.channel / guest.record.uuid.hex()
    name = channel.target.name if channel.target is not None else None
    path = channel_path(str(folder), name or channel.info.alias or "channel")
    channel.backend.sources = [CharSource(mode="bind", path=path)]


def _choose_port(guest: Guest, graphics: Vnc) -> None:
    if not graphics.autoport and (graphics.port or 0) > 0:
        guest.details.ports.append(graphics.port or 0)
        return
    taken = {port for other in guest.world.guests() for port in other.details.ports}
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken and _is_free(port):
            graphics.port = port
            guest.details.ports.append(port)
            return
    raise InternalError("Unable to find an unused port in range 'vnc' (5900-65535)", domain=c.VIR_FROM_QEMU)


def _is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this host."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
