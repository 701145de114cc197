"""Network cards of the host for guests: tap devices, and their places on bridges.

A tap device gets its address and its MTU before it is put on its bridge, which takes the lowest address of
its ports for its own, and the smallest MTU.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from remotevirt.drivers.qemu.command import Descriptor, Tap
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationInvalid, VirSystemError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.interface import InterfaceTarget

__all__ = ["open_tap", "place_taps", "tap_names"]

TUNSETIFF: Final = 0x400454CA
TUNGETIFF: Final = 0x800454D2
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
IFF_TUN_EXCL: Final = 0x8000
SIOCBRADDIF: Final = 0x89A2
SIOCSIFFLAGS: Final = 0x8914
SIOCGIFFLAGS: Final = 0x8913
SIOCGIFMTU: Final = 0x8921
SIOCSIFMTU: Final = 0x8922
SIOCSIFHWADDR: Final = 0x8924
IFF_UP: Final = 0x1
ARPHRD_ETHER: Final = 1
"""Numbers of the kernel's headers ``if_tun.h``, ``sockios.h``, ``if.h`` and ``if_arp.h``."""

NAME_SIZE: Final = 16
"""Bytes of a network card's name with the zero at its end (IFNAMSIZ)."""

RESERVED: Final = 0xFE
"""What the addresses of tap devices begin with, so that no bridge prefers one to that of a real card."""

OTHER: Final = 0xFA
"""What it begins with where the guest's own begins with that: two cards of one network need two addresses."""


def open_tap(tap: Tap) -> int:
    """Make a tap device, put it on its bridge, and bring it up; or open one that somebody has made.

    Args:
        tap: what it is.

    Returns:
        The descriptor; a device that was made here goes when the last of it is closed.

    Raises:
        VirError: the process may not, its name is taken, or the bridge is not there; in libvirt's words.
    """
    name = _padded(tap.name or "vnet%d")
    if not tap.made and not os.path.exists(f"/sys/class/net/{tap.name}"):
        text = "target managed='no' but specified dev doesn't exist"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _failed("Unable to open /dev/net/tun, is tun module loaded?", error) from error
    try:
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_TUN_EXCL if tap.made else 0)
        try:
            given = fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name, flags))[:NAME_SIZE]
        except OSError as error:
            if tap.made and error.errno == errno.EBUSY:
                text = f"The {tap.name} interface already exists"
                raise OperationInvalid(text, domain=c.VIR_FROM_NONE) from error
            raise _failed(f"Unable to create tap device {tap.name or 'vnet%d'}", error) from error
        if tap.made:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                _set_up(control, given, tap)
    except BaseException:
        os.close(device)
        raise
    return device


def _set_up(control: socket.socket, name: bytes, tap: Tap) -> None:
    """Give a new tap device what it needs, and bring it up."""
    shown = os.fsdecode(name.rstrip(b"\0"))

    def order(text: str, number: int, asked: bytes) -> bytes:
        try:
            return fcntl.ioctl(control, number, asked)
        except OSError as error:
            raise _failed(text, error) from error

    address = bytes.fromhex(tap.mac.replace(":", ""))
    address = bytes([OTHER if address[0] == RESERVED else RESERVED]) + address[1:]
    text = f"Cannot set interface MAC to {address.hex(':')} on '{shown}'"
    order(text, SIOCSIFHWADDR, struct.pack("16sH6s16x", name, ARPHRD_ETHER, address))
    mtu = tap.mtu
    if tap.bridge is not None:
        bridge, text = _padded(tap.bridge), f"Cannot get interface MTU on '{tap.bridge}'"
        found = struct.unpack("16si20x", order(text, SIOCGIFMTU, struct.pack("16s24x", bridge)))[1]
        mtu = found if mtu is None else mtu
    if mtu is not None:
        order(f"Cannot set interface MTU on '{shown}'", SIOCSIFMTU, struct.pack("16si20x", name, mtu))
    if tap.bridge is not None:
        text = f"Unable to add bridge {tap.bridge} port {shown}"
        order(text, SIOCBRADDIF, struct.pack("16si20x", bridge, socket.if_nametoindex(shown)))
    text = f"Cannot bring up '{shown}'"
    flags = struct.unpack("16sH22x", order(text, SIOCGIFFLAGS, struct.pack("16s24x", name)))[1]
    order(text, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))


def _padded(name: str) -> bytes:
    """Return a name as the kernel takes it. Raises VirSystemError where it is too long."""
    raw = os.fsencode(name)
    if len(raw) >= NAME_SIZE:
        error = OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        raise _failed(f"Network interface name '{name}' is too long", error)
    return raw.ljust(NAME_SIZE, b"\0")


def _failed(text: str, error: OSError) -> VirSystemError:
    return VirSystemError(f"{text}: {error.strerror}", domain=c.VIR_FROM_NONE, int1=error.errno or 0)


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
