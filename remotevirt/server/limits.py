"""The daemon's limits: libvirtd's names and, where nothing speaks against them, its defaults."""

from __future__ import annotations

import attrs

__all__ = [
    "CALLBACKS_MAXIMUM",
    "CLOSING_TIMEOUT",
    "OUTPUT_HIGH_WATER",
    "UNSENT_MAXIMUM",
    "WAITING_BYTES_MAXIMUM",
    "WAITING_MAXIMUM",
    "Limits",
]

WAITING_MAXIMUM = 256
"""Calls of one client that may wait for their turn before it is no longer read from. Until then reading
goes on, so that a keepalive ping behind waiting calls is still answered. libvirtd has no such queue: it
stops reading at ``max_client_requests``, pings included."""

WAITING_BYTES_MAXIMUM = 8 * 1024 * 1024
"""Bytes of calls of one client that may wait for their turn; reading stops beyond, as it does beyond
:data:`WAITING_MAXIMUM`. One call of the largest size fits on top."""

OUTPUT_HIGH_WATER = 256 * 1024
"""Bytes of replies that one read may produce before they are handed to the transport, which then may ask
for a pause. libvirtd sends reply by reply."""

UNSENT_MAXIMUM = 8 * 1024 * 1024
"""Bytes of events that may wait for a client that does not read; beyond, it is disconnected. libvirtd
queues without a limit."""

CLOSING_TIMEOUT = 30
"""Seconds that a client which is being disconnected has for reading what it was sent, and for TLS's goodbye;
then it is cut off. libvirtd closes at once."""

CALLBACKS_MAXIMUM = 1024
"""Event callbacks that one client may have registered. libvirtd has no limit."""


@attrs.frozen
class Limits:
    """What an operator can set.

    Attributes:
        max_clients: clients at once; more are refused (libvirtd: 5000).
        max_client_requests: calls of one client that are worked on at once; more wait in order
            (libvirtd: 5).
        keepalive_interval: seconds of silence after which a client that asked for keepalive is pinged;
            0 or less: never (libvirtd: 5).
        keepalive_count: pings without an answer before it counts as gone (libvirtd: 5).
    """

    max_clients: int = 5000
    max_client_requests: int = 5
    keepalive_interval: int = 5
    keepalive_count: int = 5
