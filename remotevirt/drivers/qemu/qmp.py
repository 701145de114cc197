"""QMP without input and output: bytes in, messages out.

QEMU's monitor speaks JSON, one object a line. It greets, is asked for its capabilities, and then answers
commands and tells events::

    QEMU     {"QMP": {"version": {...}, "capabilities": ["oob"]}}
    daemon   {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}
    QEMU     {"return": {}, "id": 1}
    QEMU     {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP", "data": {}}
    QEMU     {"error": {"class": "GenericError", "desc": "..."}, "id": 2}

A guest may have broken out into its QEMU, so what QEMU says is as hostile as what a client says: a line has a
greatest length and depth, and what is not one of these messages is the end of the link.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from remotevirt.errors import RemoteProtocolError, RemotevirtError

__all__ = [
    "DEPTH_MAXIMUM",
    "EVENT_MAXIMUM",
    "LINE_MAXIMUM",
    "Event",
    "Greeting",
    "LineReader",
    "Message",
    "QmpError",
    "Reply",
    "encode_command",
    "objects_of",
]

LINE_MAXIMUM: Final = 4 << 20
"""Bytes of a line. QEMU's longest answer (``query-qmp-schema``) has some 200 KiB, a block device with a
long chain of images 2 KiB for each image. libvirt reads up to 10 MiB; 4 MiB of the costliest JSON take 0.2
s and 100 MB to decode."""

EVENT_MAXIMUM: Final = 64 << 10
"""Bytes of an event, which QEMU can send unasked and without end. Real ones have some hundred."""

DEPTH_MAXIMUM: Final = 256
"""Objects and lists in one another. A chain of images shows as one object in the next, and has at most 200
in libvirt; QEMU's own parser stops at 1024."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_EVENT: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""Names of events; clients get them as they are, and what cannot be sent would fill the log."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class QmpError(RemotevirtError):
    """A command that QEMU refused.

    Args:
        klass: QEMU's class of errors: ``GenericError``, ``CommandNotFound``, ``DeviceNotFound``, ...; empty
            if it did
            not say.
        description: QEMU's words; empty if it had none.
    """

    def __init__(self, klass: str, description: str) -> None:
        super().__init__(description or klass or "unknown QEMU command error")
        self.klass = klass
        self.description = description


class Greeting(NamedTuple):
    """What QEMU says first: the capabilities that can be asked for."""

    capabilities: tuple[str, ...]


class Reply(NamedTuple):
    """The end of a command; ``id`` is None where QEMU could not read the command that it complains about."""

    id: int | None
    value: Any
    error: QmpError | None


class Event(NamedTuple):
    """Something that happened in QEMU, at a time since 1970 by the host's clock."""

    name: str
    data: Mapping[str, Any]
    seconds: int
    microseconds: int


Message: TypeAlias = Greeting | Reply | Event


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


_decode: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant).decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode_command(
    command: str, arguments: Mapping[str, Any] | None, serial: int, oob: bool = False
) -> bytes:
    """Return a command's line.

    Args:
        command: its name.
        arguments: None for none.
        serial: the id by which the reply says what it answers.
        oob: QEMU shall run it at once, whatever else it does.

    Raises:
        ValueError: the arguments hold what JSON cannot: half a surrogate pair, a number that is none.
    """
    message: dict[str, Any] = {"exec-oob" if oob else "execute": command}
    if arguments:
        message["arguments"] = arguments
    message["id"] = serial
    return _encode(message).encode() + b"\n"


class LineReader:
    """Cuts what QEMU sends into messages.

    After something that is no message those before it are still returned, :attr:`failure` says what was
    wrong, and nothing more is read.

    Attributes:
        failure: what was wrong; None while all is well.
    """

    __slots__ = ("_held", "failure")

    def __init__(self) -> None:
        self.failure: RemoteProtocolError | None = None
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes and return the messages that they complete, in order."""
        messages: list[Message] = []
        if self.failure:
            return messages
        *lines, rest = data.split(b"\n")
        if lines and self._held:
            lines[0] = bytes(self._held) + lines[0]
            self._held.clear()
        try:
            for line in lines:
                messages.append(read_message(line))
            self._held += rest
            if len(self._held) > LINE_MAXIMUM:
                raise RemoteProtocolError(f"a line of more than {LINE_MAXIMUM} bytes")
        except RemoteProtocolError as error:
            self.failure = error
            self._held.clear()
        return messages


def read_message(line: bytes) -> Message:
    """Read a line, without its line feed.

    Raises:
        RemoteProtocolError: it is too long, too deep, no JSON, or none of QMP's messages.
    """
    if len(line) > LINE_MAXIMUM:
        raise RemoteProtocolError(f"a line of more than {LINE_MAXIMUM} bytes")
    try:
        value = _decode(line.decode())
        if _SURROGATE.search(line):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not JSON: {str(error)[:100]}") from None
    if line.count(b"{") + line.count(b"[") > DEPTH_MAXIMUM and is_too_deep(line):
        raise RemoteProtocolError(f"more than {DEPTH_MAXIMUM} objects in one another")
    if not isinstance(value, dict):
        raise RemoteProtocolError("not an object")
    if "return" in value or "error" in value:
        return _reply(value)
    if "event" in value:
        if len(line) > EVENT_MAXIMUM:
            raise RemoteProtocolError(f"an event of more than {EVENT_MAXIMUM} bytes")
        return _event(value)
    if "QMP" in value:
        return _greeting(value["QMP"])
    raise RemoteProtocolError("neither a reply, nor an event, nor a greeting")


def is_too_deep(line: bytes) -> bool:
    """Whether valid JSON has more than :data:`DEPTH_MAXIMUM` objects and lists in one another.

    Each round takes away the innermost pairs of brackets, at the speed of C.
    """
    brackets = _STRINGS.sub(b"", line).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(DEPTH_MAXIMUM):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _reply(value: dict[str, Any]) -> Reply:
    serial = value.get("id")
    if serial is not None and type(serial) is not int:
        raise RemoteProtocolError("a reply whose id is not a number")
    if "error" not in value:
        return Reply(serial, value["return"], None)
    error = value["error"]
    if not isinstance(error, dict):
        raise RemoteProtocolError("an error that is not an object")
    klass, description = error.get("class", ""), error.get("desc", "")
    if not isinstance(klass, str) or not isinstance(description, str):
        raise RemoteProtocolError("an error whose words are not text")
    return Reply(serial, None, QmpError(klass, description))


def _event(value: dict[str, Any]) -> Event:
    name, data, stamp = value["event"], value.get("data", {}), value.get("timestamp")
    if not isinstance(name, str) or not isinstance(data, dict) or not isinstance(stamp, dict):
        raise RemoteProtocolError("an event without its parts")
    if not _EVENT.fullmatch(name):
        raise RemoteProtocolError("an event whose name is none")
    seconds, microseconds = stamp.get("seconds"), stamp.get("microseconds")
    if type(seconds) is not int or type(microseconds) is not int:
        raise RemoteProtocolError("an event without a time")
    # -1 says that the host's clock could not be read.
    if not (-1 <= seconds < 2**63 and -1 <= microseconds < 1_000_000):
        raise RemoteProtocolError("an event at an impossible time")
    return Event(name, data, seconds, microseconds)


def _greeting(value: Any) -> Greeting:
    names = value.get("capabilities") if isinstance(value, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RemoteProtocolError("a greeting without capabilities")
    return Greeting(tuple(names))


def objects_of(answer: Any) -> list[dict[str, Any]]:
    """Return the objects of an answer that should be a list of them; what else is in it is left out."""
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
