"""VNC displays of guests: where one is served that leaves it to the driver, and its password.

A password is told to QEMU over its monitor, never on its command line. An empty one lets nobody in, and so
does one whose time is over.
"""

from __future__ import annotations

import socket
import time
from calendar import timegm
from contextlib import closing
from itertools import islice
from typing import Final

from remotevirt.drivers.qemu.command import Order
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain.graphics import Vnc

__all__ = ["FIRST_PORT", "password_orders", "place_display"]

FIRST_PORT: Final = 5900
"""The port of the first display; libvirt's ``remote_display_port_min``."""

FIRST_WEBSOCKET: Final = 5700
"""The port of the first one for browsers; libvirt's ``remote_websocket_port_min``."""

LAST_PORT: Final = 65535
"""libvirt's ``remote_display_port_max`` and ``remote_websocket_port_max``."""

PROBES: Final = 32
"""Ports of which it is tried whether they are free, at some 25 us each; libvirt tries all of them."""

ADDRESS: Final = "127.0.0.1"
"""Where displays are served that do not say it; libvirt's ``vnc_listen``."""


def place_display(guest: Guest, display: Vnc) -> None:
    """Say in the live definition where a display is served that leaves it to the driver; inside of a commit.

    Raises:
        InternalError: no port is free.
    """
    listen = display.listens[0]
    if listen.type == "none":
        return
    if listen.type == "socket":
        listen.socket = listen.socket or f"{guest.folder}/vnc.sock"
        return
    if listen.type == "address":
        listen.address = listen.address or ADDRESS
    ports = guest.details.ports
    if not display.autoport and (display.port or 0) > 0:
        ports.append(display.port or 0)
    else:
        display.port = _choose(guest, FIRST_PORT, "vnc")
    if display.websocket == -1:
        display.websocket = _choose(guest, FIRST_WEBSOCKET, "vnc-websocket")
    elif display.websocket:
        ports.append(display.websocket)


def _choose(guest: Guest, first: int, what: str) -> int:
    """Return a port that is free, and the guest's from now on."""
    taken = {port for other in guest.world.guests() for port in other.details.ports}
    untaken = (port for port in range(first, LAST_PORT + 1) if port not in taken)
    # where others have that many in a row, QEMU looks from the next on
    port = next(filter(_is_free, islice(untaken, PROBES)), None) or next(untaken, None)
    if port is None:
        text = f"Unable to find an unused port in range '{what}' ({first}-{LAST_PORT})"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    guest.details.ports.append(port)
    return port


def _is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this host."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def password_orders(display: Vnc) -> list[Order]:
    """Return what makes QEMU ask for a display's password, and until when it takes it.

    Raises:
        InternalError: the time is none.
    """
    if display.passwd is None:
        return []
    password = {"protocol": "vnc", "password": display.passwd}
    if display.connected is not None:
        password["connected"] = display.connected
    expiry = {"protocol": "vnc", "time": _expiry(display)}
    return [Order("set_password", password), Order("expire_password", expiry)]


def _expiry(display: Vnc) -> str:
    """Return when a password ends, in QEMU's words."""
    if display.passwd == "":
        return "now"
    until = display.passwd_valid_to
    if until is None:
        return "never"
    try:
        # UTC, as in libvirt; a day that a month does not have is one of the next month
        date, _, clock = until.partition("T")
        end = timegm((*map(int, date.split("-")), *map(int, clock.split(":"))))
    except (ValueError, OverflowError) as error:
        text = f"cannot parse password validity time '{until}', expect YYYY-MM-DDTHH:MM:SS"
        raise InternalError(text, domain=c.VIR_FROM_DOMAIN) from error
    return str(end) if end > time.time() else "now"
