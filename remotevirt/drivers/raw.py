"""A reply that a driver makes itself, byte for byte.

For drivers that play a daemon which is broken: whatever they put on the wire instead of a reply, the client
gets. An exception rather than a value, since no procedure's result type allows for it.
"""

from __future__ import annotations

from collections.abc import Callable

from remotevirt.errors import VirError

__all__ = ["RawReply"]


class RawReply(VirError):
    """Raised by a driver method in place of an answer.

    Args:
        reason: what the log and tracers are told.
        make: returns what is sent, length word and all, from the reply's first four words (program, version,
            procedure, type) and its serial.
    """

    def __init__(self, reason: str, make: Callable[[bytes, bytes], bytes]) -> None:
        super().__init__(reason)
        self.make = make
