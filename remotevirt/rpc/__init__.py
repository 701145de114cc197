"""The wire core: bytes in, messages out. No Twisted, no sockets, no clock, and the same for both ends."""

from remotevirt.rpc.connection import Connection, Role
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.keepalive import Keepalive, KeepaliveAction
from remotevirt.rpc.message import (
    Kind,
    Message,
    pack_abort,
    pack_call,
    pack_error,
    pack_event,
    pack_hole,
    pack_reply,
    pack_stream,
    parse_message,
)
from remotevirt.rpc.stream import Stream, StreamState

__all__ = [
    "Connection",
    "FrameReader",
    "Keepalive",
    "KeepaliveAction",
    "Kind",
    "Message",
    "Role",
    "Stream",
    "StreamState",
    "pack_abort",
    "pack_call",
    "pack_error",
    "pack_event",
    "pack_hole",
    "pack_reply",
    "pack_stream",
    "parse_message",
]
