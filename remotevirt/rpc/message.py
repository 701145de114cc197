"""Messages: the header, what kind of message it makes, and how each kind is written.

    prog vers proc   which procedure (or event, or the procedure that a stream belongs to)
    type             call, reply, event, stream data, stream hole, call or reply with descriptors
    serial           chosen by the caller; replies and stream packets repeat it
    status           ok, error, or continue (more stream data follows)

The combinations of type and status that mean something are :class:`Kind`.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from remotevirt.errors import RemoteProtocolError, VirError, XDRError
from remotevirt.stubs.errors import error_class
from remotevirt.stubs.message import (
    VIR_NET_MESSAGE_HEADER_MAX,
    VIR_NET_MESSAGE_MAX,
    MessageError,
    MessageStatus,
    MessageType,
    StreamHole,
)
from remotevirt.xdr import UINT

__all__ = [
    "ERROR_TEXT_MAXIMUM",
    "HEADER_SIZE",
    "Kind",
    "Message",
    "error_payload",
    "pack_abort",
    "pack_call",
    "pack_error",
    "pack_event",
    "pack_hole",
    "pack_message",
    "pack_reply",
    "pack_stream",
    "parse_message",
    "vir_error",
]

HEADER_SIZE = VIR_NET_MESSAGE_HEADER_MAX
"""Bytes of a header, and so where a frame's payload begins."""

ERROR_TEXT_MAXIMUM = 1024
"""Longest text of an error that we send, in bytes. libvirt's own buffers hold 1024 (VIR_ERROR_MAX_LENGTH)."""

EVENT_SERIAL = 1
"""libvirtd sends every event with this serial."""

_HEADER = struct.Struct(">IIiiIi")
_FRAME = struct.Struct(">IIIiiIi")

_CALL = int(MessageType.VIR_NET_CALL)
_REPLY = int(MessageType.VIR_NET_REPLY)
_EVENT = int(MessageType.VIR_NET_MESSAGE)
_STREAM = int(MessageType.VIR_NET_STREAM)
_CALL_WITH_FDS = int(MessageType.VIR_NET_CALL_WITH_FDS)
_REPLY_WITH_FDS = int(MessageType.VIR_NET_REPLY_WITH_FDS)
_HOLE = int(MessageType.VIR_NET_STREAM_HOLE)
_OK = int(MessageStatus.VIR_NET_OK)
_ERROR = int(MessageStatus.VIR_NET_ERROR)
_CONTINUE = int(MessageStatus.VIR_NET_CONTINUE)


class Kind(enum.Enum):
    """What a message is, from its type and status."""

    CALL = "call"
    REPLY = "reply"
    ERROR = "error reply"
    EVENT = "event"
    STREAM_DATA = "stream data"
    STREAM_HOLE = "stream hole"
    STREAM_FINISH = "stream finish"
    STREAM_ABORT = "stream abort"


_KINDS = {
    (_CALL, _OK): Kind.CALL,
    (_CALL_WITH_FDS, _OK): Kind.CALL,
    (_REPLY, _OK): Kind.REPLY,
    (_REPLY_WITH_FDS, _OK): Kind.REPLY,
    (_REPLY, _ERROR): Kind.ERROR,
    (_REPLY_WITH_FDS, _ERROR): Kind.ERROR,
    (_EVENT, _OK): Kind.EVENT,
    (_STREAM, _CONTINUE): Kind.STREAM_DATA,
    (_STREAM, _OK): Kind.STREAM_FINISH,
    (_STREAM, _ERROR): Kind.STREAM_ABORT,
    (_HOLE, _CONTINUE): Kind.STREAM_HOLE,
}
"""(type, status) -> kind; every other pair means nothing."""


class Message(NamedTuple):
    """A message as it came: header, and payload not yet decoded.

    Attributes:
        program, version, procedure, serial: the header's words.
        kind: what type and status make of it.
        payload: the bytes behind the header (and behind the number of descriptors, if there is one).
        descriptors: how many descriptors travel with it.
    """

    program: int
    version: int
    procedure: int
    serial: int
    kind: Kind
    payload: bytes = b""
    descriptors: int = 0


def parse_message(frame: bytes) -> Message:
    """Take a frame apart.

    Raises:
        RemoteProtocolError: its header is short, or type and status make no sense.
    """
    if len(frame) < HEADER_SIZE:
        raise RemoteProtocolError(f"message of {len(frame)} bytes has no room for a header")
    program, version, procedure, type_, serial, status = _HEADER.unpack_from(frame)
    kind = _KINDS.get((type_, status))
    if kind is None:
        raise RemoteProtocolError(f"message of type {type_} with status {status}")
    if type_ in (_CALL_WITH_FDS, _REPLY_WITH_FDS):
        if len(frame) < HEADER_SIZE + 4:
            raise RemoteProtocolError("message with descriptors does not say how many")
        (count,) = UINT.unpack_from(frame, HEADER_SIZE)
        return Message(program, version, procedure, serial, kind, frame[HEADER_SIZE + 4 :], count)
    return Message(program, version, procedure, serial, kind, frame[HEADER_SIZE:])


def pack_message(
    program: int, version: int, procedure: int, type: int, serial: int, status: int, payload: bytes = b""
) -> bytes:
    """Return a whole message, length word included.

    Args:
        program, version, procedure, type, serial, status: the words of the header, in its order (libvirt's
            virNetMessageHeader); each fits 32 bits.
        payload: what stands behind the header, already encoded.

    Raises:
        XDRError: it would be longer than 32 MiB.
    """
    length = 4 + HEADER_SIZE + len(payload)
    if length > VIR_NET_MESSAGE_MAX + 4:
        raise XDRError(f"message of {length} bytes is over its maximum of {VIR_NET_MESSAGE_MAX}")
    return _FRAME.pack(length, program, version, procedure, type, serial, status) + payload


def pack_call(
    program: int,
    version: int,
    procedure: int,
    serial: int,
    payload: bytes = b"",
    descriptors: int | None = None,
) -> bytes:
    """Return a call.

    Args:
        program, version, procedure: what is called.
        serial: tells the reply to this call from others.
        payload: the encoded arguments.
        descriptors: how many file descriptors the transport sends along; None for a call that takes none.

    Raises:
        XDRError: it would be longer than 32 MiB. So do all that follow.
    """
    type_, payload = _counted(_CALL, _CALL_WITH_FDS, payload, descriptors)
    return pack_message(program, version, procedure, type_, serial, _OK, payload)


def pack_reply(
    program: int,
    version: int,
    procedure: int,
    serial: int,
    payload: bytes = b"",
    descriptors: int | None = None,
) -> bytes:
    """Return the reply to a call that went well; ``payload`` is the encoded result, the rest the call's."""
    type_, payload = _counted(_REPLY, _REPLY_WITH_FDS, payload, descriptors)
    return pack_message(program, version, procedure, type_, serial, _OK, payload)


def _counted(plain: int, with_fds: int, payload: bytes, descriptors: int | None) -> tuple[int, bytes]:
    """Return the type of a message, and its payload, behind the number of descriptors if it has one."""
    return (plain, payload) if descriptors is None else (with_fds, UINT.pack(descriptors) + payload)


def pack_error(program: int, version: int, procedure: int, serial: int, error: VirError) -> bytes:
    """Return the reply to a call that did not go well; the numbers are the call's."""
    return pack_message(program, version, procedure, _REPLY, serial, _ERROR, error_payload(error))


def pack_event(
    program: int, version: int, procedure: int, payload: bytes, serial: int = EVENT_SERIAL
) -> bytes:
    """Return an event, or with the keepalive program a ping or pong; neither is a reply to anything.

    Args:
        program, version, procedure: which event.
        payload: what it says, encoded.
        serial: means nothing.
    """
    return pack_message(program, version, procedure, _EVENT, serial, _OK, payload)


def pack_stream(
    program: int, version: int, procedure: int, serial: int, data: bytes = b"", finish: bool = False
) -> bytes:
    """Return a packet of a stream.

    Args:
        program, version, procedure, serial: those of the call that opened the stream.
        data: raw bytes; empty data from a server say that it has no more.
        finish: this is the packet that ends the sender's side in good order.
    """
    status = _OK if finish else _CONTINUE
    return pack_message(program, version, procedure, _STREAM, serial, status, data)


def pack_abort(
    program: int, version: int, procedure: int, serial: int, error: VirError | None = None
) -> bytes:
    """Return what aborts a stream: with the reason from a server, without one from a client."""
    payload = b"" if error is None else error_payload(error)
    return pack_message(program, version, procedure, _STREAM, serial, _ERROR, payload)


def pack_hole(program: int, version: int, procedure: int, serial: int, length: int, flags: int = 0) -> bytes:
    """Return a hole of ``length`` bytes in a sparse stream."""
    payload = StreamHole(length, flags).pack()
    return pack_message(program, version, procedure, _HOLE, serial, _CONTINUE, payload)


def error_payload(error: VirError) -> bytes:
    """Encode an error (virNetMessageError). Texts are cut to 1 KiB and made valid."""
    return MessageError(
        code=error.code,
        domain=error.domain,
        message=_text(error.message),
        level=error.level,
        dom=None,
        str1=_text(error.str1),
        str2=_text(error.str2),
        str3=_text(error.str3),
        int1=error.int1,
        int2=error.int2,
        net=None,
    ).pack()


def _text(text: str | None) -> str | None:
    if text is None:
        return None
    data = text.replace("\0", "?").encode("utf-8", "replace")
    if len(data) > ERROR_TEXT_MAXIMUM:
        return data[:ERROR_TEXT_MAXIMUM].decode("utf-8", "ignore")
    return data.decode()


def vir_error(payload: bytes) -> VirError:
    """Decode the payload of an error reply.

    Raises:
        XDRError, struct.error: it does not decode.
    """
    wire, _ = MessageError.unpack(payload, 0)
    return error_class(wire.code)(
        wire.str2,
        code=wire.code,
        domain=wire.domain,
        message=wire.message or "",
        str1=wire.str1,
        str2=wire.str2,
        str3=wire.str3,
        int1=wire.int1,
        int2=wire.int2,
        level=wire.level,
    )
