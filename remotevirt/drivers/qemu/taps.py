"""Network cards of the host for guests: tap devices, and their places on bridges."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from remotevirt.drivers.qemu.command import Descriptor
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.interface import InterfaceTarget

__all__ = ["open_tap", "place_taps", "tap_names"]

TUNSETIFF: Final = 0x400454CA
TUNGETIFF: Final = 0x800454D2
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
SIOCBRADDIF: Final = 0x89A2
SIOCSIFFLAGS: Final = 0x8914
SIOCGIFFLAGS: Final = 0x8913
IFF_UP: Final = 0x1
"""Numbers of the kernel's headers: ``linux/if_tun.h``, ``linux/sockios.h``, ``linux/if.h``."""

NAME_MAXIMUM: Final = 15
"""Bytes of a network card's name (IFNAMSIZ without the zero at its end)."""


def open_tap(one: Descriptor) -> int:
    """Make a tap device, bring it up, and put it on its bridge.

    Args:
        one: its ``path`` is the device's name, None for one that the kernel chooses.

    Returns:
        The descriptor; the device goes when the last of it is closed.

    Raises:
        OSError: the process may not, or the bridge is not there.
    """
    name = os.fsencode(one.path or "vnet%d")[:NAME_MAXIMUM]
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        asked = struct.pack("16sH22x", name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        given = struct.unpack("16sH22x", fcntl.ioctl(tap, TUNSETIFF, asked))[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            if one.bridge is not None:
                index = socket.if_nametoindex(given.rstrip(b"\0"))
                bridge = os.fsencode(one.bridge)[:NAME_MAXIMUM]
                fcntl.ioctl(control, SIOCBRADDIF, struct.pack("16si20x", bridge, index))
            flags = struct.unpack(
                "16sH22x", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16s24x", given))
            )[1]
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", given, flags | IFF_UP))
    except BaseException:
        os.close(tap)
        raise
    return tap


def tap_names(descriptors: Iterable[Descriptor], numbers: Mapping[str, int]) -> dict[str, str]:
    """Return the names that tap devices got, by the alias of the card that each is for.

    Args:
        descriptors: of a guest, or of a device that it gets.
        numbers: what they are, by their names.
    """
    found: dict[str, str] = {}
    for one in descriptors:
        if one.kind == "tap" and one.device is not None:
            given = fcntl.ioctl(numbers[one.name], TUNGETIFF, bytes(40))
            found[one.device] = os.fsdecode(given[:16].rstrip(b"\0"))
    return found


def place_taps(model: DomainModel, names: Mapping[str, str]) -> None:
    """Say in a live definition what the tap devices of the cards are called."""
    for card in model.devices.interfaces:
        name = names.get(card.info.alias or "")
        if name is not None:
            card.target = card.target or InterfaceTarget()
            card.target.dev = name
