"""Framing: cut the byte stream into messages.

Every message is a length word, which counts itself, and then a header of 24 bytes and a payload:

    0        4                       28
    | length | prog vers proc type serial status | payload ...

A message that carries descriptors (types 4 and 5) has their number in a word before its payload and is
followed, outside its length, by one dummy byte for each: that is what the descriptors travel with on the
UNIX socket. The reader takes these bytes off the stream and leaves the descriptors to the transport.

A frame is what lies behind the length word: header and payload, as one ``bytes``. Memory is taken for
bytes that have arrived, never for a length that was only claimed.
"""

from __future__ import annotations

from remotevirt.errors import RemoteProtocolError
from remotevirt.strangers import describe_known
from remotevirt.stubs.message import (
    VIR_NET_MESSAGE_HEADER_MAX,
    VIR_NET_MESSAGE_LEN_MAX,
    VIR_NET_MESSAGE_MAX,
    VIR_NET_MESSAGE_NUM_FDS_MAX,
    MessageType,
)
from remotevirt.xdr import UINT

__all__ = ["LENGTH_MAXIMUM", "LENGTH_MINIMUM", "FrameReader", "describe"]

LENGTH_MAXIMUM = VIR_NET_MESSAGE_MAX + VIR_NET_MESSAGE_LEN_MAX
"""Largest length word: 32 MiB, and the word itself (as libvirt has it)."""

LENGTH_MINIMUM = VIR_NET_MESSAGE_LEN_MAX + VIR_NET_MESSAGE_HEADER_MAX
"""Smallest length word that leaves room for a header. libvirt reads on below it and then fails to decode
the header: for both the connection is over."""

_TYPE_BYTE = 15
"""Where the low byte of the header's type is in a frame."""

_CALL_WITH_FDS = int(MessageType.VIR_NET_CALL_WITH_FDS)
_REPLY_WITH_FDS = int(MessageType.VIR_NET_REPLY_WITH_FDS)

_unpack_uint = UINT.unpack_from


def describe(data: bytes) -> str:
    """Say what bytes that are no libvirt message look like, for the log."""
    if data[:3] in (b"\x16\x03\x00", b"\x16\x03\x01", b"\x16\x03\x02", b"\x16\x03\x03"):
        return "a TLS hello on a port without TLS"
    return describe_known(data) or f"bytes that start with {data[:8].hex(' ')}"


class FrameReader:
    """Cuts bytes into frames.

    After a bad length the frames before it are still returned, :attr:`failure` says what was wrong, and
    nothing more is read.

    Args:
        maximum: the largest length word that is accepted.
        descriptors: whether the transport can pass descriptors; if not, a message that claims to carry
            some is a failure.

    Attributes:
        failure: what was wrong with a length; None while all is well.
        held: the bytes of an unfinished message.
    """

    __slots__ = ("_need", "descriptors", "failure", "held", "maximum")

    def __init__(self, maximum: int = LENGTH_MAXIMUM, descriptors: bool = False) -> None:
        self.maximum = maximum
        self.descriptors = descriptors
        self.failure: RemoteProtocolError | None = None
        self.held = bytearray()
        self._need = 4

    @property
    def buffered(self) -> int:
        """How many bytes of an unfinished message are held."""
        return len(self.held)

    @property
    def missing(self) -> int:
        """How many bytes must still arrive before the next step: the rest of a length word or message.

        0 after a failure: nothing more is read.
        """
        return 0 if self.failure else self._need - len(self.held)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the transport and return the frames that they complete, in order."""
        if self.failure:
            return []
        if self.held:
            self.held += data
            if len(self.held) < self._need:
                return []
            data = bytes(self.held)
            self.held = bytearray()
        frames: list[bytes] = []
        pos = 0
        size = len(data)
        need = 4
        maximum = self.maximum
        while size - pos >= 4:
            (length,) = _unpack_uint(data, pos)
            if length > maximum or length < LENGTH_MINIMUM:
                self._fail(data, pos, length)
                return frames
            end = pos + length
            if end > size:
                need = length
                break
            frame = data[pos + 4 : end]
            if _CALL_WITH_FDS <= frame[_TYPE_BYTE] <= _REPLY_WITH_FDS:
                extra = self._count_descriptors(frame)
                if self.failure:
                    return frames
                end += extra
                if end > size:
                    need = length + extra
                    break
            frames.append(frame)
            pos = end
        if pos < size:
            self.held = bytearray(data[pos:])
        self._need = need
        return frames

    def _fail(self, data: bytes, pos: int, length: int) -> None:
        what = f"length {length} is outside {LENGTH_MINIMUM}..{self.maximum}"
        self.failure = RemoteProtocolError(f"{what}: {describe(data[pos : pos + 16])}")

    def _count_descriptors(self, frame: bytes) -> int:
        """Return how many dummy bytes follow a frame whose type says that it carries descriptors."""
        if frame[12:15] != b"\0\0\0":
            return 0
        if not self.descriptors:
            self.failure = RemoteProtocolError("descriptors on a transport that cannot pass them")
            return 0
        if len(frame) < VIR_NET_MESSAGE_HEADER_MAX + 4:
            self.failure = RemoteProtocolError("message with descriptors does not say how many")
            return 0
        (count,) = _unpack_uint(frame, VIR_NET_MESSAGE_HEADER_MAX)
        if count > VIR_NET_MESSAGE_NUM_FDS_MAX:
            self.failure = RemoteProtocolError(
                f"{count} descriptors, more than {VIR_NET_MESSAGE_NUM_FDS_MAX}"
            )
            return 0
        return int(count)
