"""IP and MAC addresses as libvirt reads and prints them.

libvirt hands texts to ``getaddrinfo`` with AI_NUMERICHOST, which takes more than the usual forms: an IPv4
address may have fewer than four parts, and parts in octal or hexadecimal. What is printed is the usual form.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from remotevirt.stubs.constants import VIR_FROM_NONE
from remotevirt.stubs.errors import VirSystemError
from remotevirt.xml.values import parse_integer

__all__ = ["Address", "format_address", "mask_of", "parse_address", "parse_mac", "require_address"]

Address: TypeAlias = IPv4Address | IPv6Address
"""An IP address of either family."""

_MAC = re.compile(r"[ \t]*([0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5})")


def parse_address(text: str) -> Address | None:
    """Return the address that a text means, None if it means none."""
    if ":" in text:
        if "%" in text or len(text) > 64:
            return None
        try:
            return IPv6Address(text)
        except ValueError:
            return None
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or any(not part[:1].isdigit() for part in parts):
        return None
    whole = 0
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        bits = 8 * (4 - number) if last else 8
        value = parse_integer(part, base=0, high=2**bits - 1)
        if value is None:
            return None
        whole = whole << bits | value
    return IPv4Address(whole)


def require_address(text: str) -> Address:
    """Return the address that a text means.

    Raises:
        VirSystemError: it means none; libvirt shows what its resolver said.
    """
    found = parse_address(text)
    if found is None:
        message = f"Cannot parse socket address '{text}': Name or service not known"
        raise VirSystemError(message, domain=VIR_FROM_NONE)
    return found


def format_address(address: Address) -> str:
    """Return an address's usual text; IPv6 addresses that hold one of IPv4 show it."""
    if isinstance(address, IPv6Address):
        number = int(address)
        low = number & 0xFFFFFFFF
        if number >> 32 == 0xFFFF:
            return f"::ffff:{IPv4Address(low)}"
        if number >> 32 == 0 and low >> 16:
            return f"::{IPv4Address(low)}"
    return str(address)


def mask_of(address: Address, prefix: int) -> int:
    """Return the network mask of a prefix length, as a number of the address's width."""
    width = address.max_prefixlen
    return ((1 << width) - 1) ^ ((1 << (width - prefix)) - 1)


def parse_mac(text: str) -> str | None:
    """Return a MAC address in lower case, two digits a byte; None for what is none."""
    match = _MAC.fullmatch(text)
    if match is None:
        return None
    return ":".join(f"{int(byte, 16):02x}" for byte in match[1].split(":"))
