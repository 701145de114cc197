"""The daemon's limits: libvirtd's names and, where nothing speaks against them, its defaults."""

from __future__ import annotations

import attrs

__all__ = [
    "ANONYMOUS_FRAME_MAXIMUM",
    "AUTH_FAILURES_MAXIMUM",
    "CALLBACKS_MAXIMUM",
    "CLOSING_TIMEOUT",
    "DESCRIPTORS_MAXIMUM",
    "OUTPUT_HIGH_WATER",
    "STREAMS_MAXIMUM",
    "STREAM_BURST",
    "STREAM_CHUNK",
    "STREAM_PACKET_COST",
    "STREAM_QUEUE_MAXIMUM",
    "TURN_CALLS",
    "TURN_SECONDS",
    "UNFINISHED_MAXIMUM",
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
"""Bytes of events that may wait for a client that does not read, by default (``max_unsent_bytes``); beyond,
it is disconnected. libvirtd queues without a limit."""

CLOSING_TIMEOUT = 30
"""Seconds that a client which is being disconnected has for reading what it was sent, and for TLS's goodbye;
then it is cut off. libvirtd closes at once."""

CALLBACKS_MAXIMUM = 1024
"""Event callbacks that one client may have registered. libvirtd has no limit."""


ANONYMOUS_FRAME_MAXIMUM = 256 * 1024
"""Longest message of a client that has not shown yet who it is; what it may call fits well. libvirtd admits
32 MiB at once."""

AUTH_FAILURES_MAXIMUM = 3
"""Failed authentications of one connection; then it is closed. libvirtd has no such bound."""

UNFINISHED_MAXIMUM = 256 * 1024 * 1024
"""Bytes of unfinished messages that all clients together may have sent; beyond, whoever holds most is
disconnected. libvirtd takes each message's whole length at once, and has no bound on their sum."""

DESCRIPTORS_MAXIMUM = 64
"""Descriptors of one client that wait for the message they belong to; a message carries at most 32
(VIR_NET_MESSAGE_NUM_FDS_MAX). Beyond, the client is disconnected."""

STREAMS_MAXIMUM = 128
"""Streams that one client may have open. libvirtd has no limit."""

STREAM_CHUNK = 262_120
"""Bytes of a stream in one packet: what libvirtd sends (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX), so that the
oldest clients take it."""

STREAM_BURST = 4 * STREAM_CHUNK
"""Bytes of one stream that are sent before others have a turn."""

STREAM_QUEUE_MAXIMUM = 1024 * 1024
"""Bytes of one client's streams that may wait for drivers; while there are more, it is not read from."""

STREAM_PACKET_COST = 128
"""What each waiting packet counts for on top of its bytes: empty ones cost memory too."""

TURN_CALLS = 32
"""Calls after which it is looked at how long a client's turn has taken."""

TURN_SECONDS = 0.010
"""Seconds of one client's turn; then other clients have theirs, and its next calls wait for the reactor to
come round. libvirtd's workers take turns by call."""


@attrs.frozen
class Limits:
    """What an operator can set.

    Attributes:
        max_clients: clients of one listener at once; when there are more, the one that has waited longest
            without showing who it is goes, or else the new one is refused (libvirtd: 5000 in all).
        max_peer_clients: the same for one peer, a host or a local user; 0: no bound but ``max_clients``
            (libvirtd has none).
        max_anonymous_clients: clients of one listener that have not shown yet who they are; beyond, the one
            that has waited longest goes; 0: no bound but ``max_clients`` (libvirtd: 20, and new ones wait).
        max_client_requests: calls of one client that are worked on at once; more wait in order
            (libvirtd: 5).
        keepalive_interval: seconds of silence after which a client that asked for keepalive is pinged;
            0 or less: never (libvirtd: 5).
        keepalive_count: pings without an answer before it counts as gone (libvirtd: 5).
        auth_timeout: seconds a client has for showing who it is; 0: no bound (libvirtd has none).
        max_unsent_bytes: bytes of events that may wait for a client that does not read; beyond, it is
            disconnected (libvirtd queues without a bound).
        frame_timeout: seconds a message may take from its first byte to its last; 0: no bound (libvirtd
            has none).
    """

    max_clients: int = 5000
    max_peer_clients: int = 0
    max_anonymous_clients: int = 20
    max_client_requests: int = 5
    keepalive_interval: int = 5
    keepalive_count: int = 5
    max_unsent_bytes: int = UNSENT_MAXIMUM
    auth_timeout: float = 30.0
    frame_timeout: float = 30.0
