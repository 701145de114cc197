"""The golden corpus: messages that real libvirt programs exchanged, as files of ``tests/data/golden``.

Each file is one session: ``{"peer": ..., "messages": [...]}``, and each message has where it came ``from``
(client or daemon), a ``note`` for the reader, and its bytes, length word included, in ``hex``. The messages
of a session are samples, not a whole conversation: of many alike only the first few are kept.

This module also knows what is inside a message: :func:`decode` finds the generated struct for its payload.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from remotevirt.procedures import Message, Procedure, Program
from remotevirt.stubs import admin, keepalive, lxc, qemu, remote
from remotevirt.stubs.message import MessageError, MessageStatus, MessageType, StreamHole
from tests.wire import HEADER, Frame

__all__ = [
    "FOLDER",
    "PROGRAMS",
    "Decoded",
    "GoldenMessage",
    "decode",
    "dummy_bytes",
    "find",
    "load",
    "note",
    "parse",
]

FOLDER = Path(__file__).resolve().parents[1] / "data" / "golden"

PROGRAMS: dict[int, Program] = {
    module.PROGRAM.number: module.PROGRAM for module in (remote, qemu, lxc, admin, keepalive)
}
"""Every program there is, by number."""

COUNT = struct.Struct(">I")
WITH_DESCRIPTORS = {MessageType.VIR_NET_CALL_WITH_FDS, MessageType.VIR_NET_REPLY_WITH_FDS}
STREAM = {MessageType.VIR_NET_STREAM, MessageType.VIR_NET_STREAM_HOLE}
REPLIES = {MessageType.VIR_NET_REPLY, MessageType.VIR_NET_REPLY_WITH_FDS}


class GoldenMessage(NamedTuple):
    """One captured message."""

    session: str
    number: int
    sender: str
    note: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.session}[{self.number}] ({self.note})"


class Decoded(NamedTuple):
    """A payload taken apart.

    Attributes:
        prefix: the descriptor count that stands before the payload of messages that carry descriptors.
        value: the generated struct, None where the message has no payload.
        rest: bytes behind it; the data of a stream packet.
    """

    prefix: bytes
    value: Message | None
    rest: bytes

    def encode(self) -> bytes:
        """The payload again."""
        return self.prefix + (b"" if self.value is None else self.value.pack()) + self.rest


def load() -> Iterator[GoldenMessage]:
    """Every message of the corpus."""
    for path in sorted(FOLDER.glob("*.json")):
        session = json.loads(path.read_text())
        for number, message in enumerate(session["messages"]):
            data = bytes.fromhex(message["hex"])
            yield GoldenMessage(path.stem, number, message["from"], message["note"], data)


def parse(data: bytes) -> Frame:
    """Split a whole message, length word included, into header and payload."""
    length, *_ = HEADER.unpack_from(data)
    assert length == len(data), (length, len(data))
    _, program, version, procedure, type_, serial, status = HEADER.unpack_from(data)
    return Frame(program, version, procedure, type_, serial, status, data[HEADER.size :])


def dummy_bytes(data: bytes) -> int:
    """How many bytes follow a message outside its length: one for each descriptor that it carries."""
    frame = parse(data)
    return COUNT.unpack_from(frame.payload)[0] if frame.type in WITH_DESCRIPTORS else 0


def find(frame: Frame) -> Procedure | None:
    """The procedure that a message is about; None if there is none of this number."""
    program = PROGRAMS.get(frame.program)
    return None if program is None else program.procedures.get(frame.procedure)


def _struct_of(frame: Frame) -> type[Message] | None:
    """The struct in a message's payload; None for an empty one."""
    if frame.status == MessageStatus.VIR_NET_ERROR:
        # Who aborts a stream need not say why.
        return None if frame.type in STREAM and not frame.payload else MessageError
    if frame.type == MessageType.VIR_NET_STREAM_HOLE:
        return StreamHole
    if frame.type == MessageType.VIR_NET_STREAM:
        return None
    procedure = find(frame)
    assert procedure is not None, frame
    found: type[Message] | None = procedure.ret if frame.type in REPLIES else procedure.args
    return found


def decode(frame: Frame) -> Decoded:
    """Take a message's payload apart with the generated codecs."""
    prefix = frame.payload[: COUNT.size] if frame.type in WITH_DESCRIPTORS else b""
    kind = _struct_of(frame)
    if kind is None:
        return Decoded(prefix, None, frame.payload[len(prefix) :])
    value, end = kind.unpack(frame.payload, len(prefix))
    return Decoded(prefix, value, frame.payload[end:])


def note(frame: Frame) -> str:
    """A few words that say which message this is."""
    procedure = find(frame)
    program = PROGRAMS.get(frame.program)
    name = f"procedure {frame.procedure}" if procedure is None else procedure.name
    prefix = f"program {frame.program:#x}" if program is None else program.name
    kind = MessageType(frame.type).name.removeprefix("VIR_NET_").lower().replace("_", " ")
    status = MessageStatus(frame.status).name.removeprefix("VIR_NET_").lower()
    return f"{prefix} {name} {kind}" + ("" if status == "ok" else f" {status}")
