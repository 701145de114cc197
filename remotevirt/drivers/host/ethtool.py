"""What a network interface does for its packets, asked of the kernel.

The questions are ioctls of the interface's name, with a pointer to a small structure; anybody may ask.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

__all__ = ["offloads"]

SIOCETHTOOL: Final = 0x8946
"""From Linux's <linux/sockios.h>."""

COMMANDS: Final = (
    ("rx", 0x14),
    ("tx", 0x16),
    ("sg", 0x18),
    ("tso", 0x1E),
    ("gso", 0x23),
    ("gro", 0x2B),
)
"""Those with a question of their own (ETHTOOL_GRXCSUM and its like)."""

GET_FLAGS: Final = 0x25
FLAGS: Final = (("lro", 15), ("rxvlan", 8), ("txvlan", 7), ("ntuple", 27), ("rxhash", 28))
"""Those that are bits of ETHTOOL_GFLAGS."""

GET_FEATURES: Final = 0x3A
FEATURE_BLOCKS: Final = 2
TUNNEL_BIT: Final = 25
"""Of ETHTOOL_GFEATURES' first block: checksums of UDP tunnels."""

NAME_MAXIMUM: Final = 15


def offloads(name: str) -> list[str]:
    """Return the features of an interface that are on, by libvirt's names and in its order."""
    if not 0 < len(name.encode()) <= NAME_MAXIMUM:
        return []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        found = [feature for feature, command in COMMANDS if _ask(sock, name, command)[1]]
        flags = _ask(sock, name, GET_FLAGS)[1]
        found += [feature for feature, bit in FLAGS if flags >> bit & 1]
        # Blocks of: available, requested, active, never changed.
        answer = _ask(sock, name, GET_FEATURES, FEATURE_BLOCKS, words=4 * FEATURE_BLOCKS)
        if answer[4] >> TUNNEL_BIT & 1:
            found.append("txudptnl")
    return found


def _ask(sock: socket.socket, name: str, command: int, value: int = 0, *, words: int = 0) -> array.array[int]:
    """Return a structure as the kernel filled it in: the command, a value, and more words."""
    data = array.array("I", [command, value] + [0] * words)
    address, _ = data.buffer_info()
    request = struct.pack("16sP16x", name.encode(), address)
    try:
        fcntl.ioctl(sock.fileno(), SIOCETHTOOL, request)
    except OSError:
        return array.array("I", [command, 0] + [0] * words)
    return data
