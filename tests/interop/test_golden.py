"""The generated codecs against messages that real libvirt programs exchanged.

No peer is needed: the messages were recorded (see :mod:`tests.interop.record`) and are files.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs.message import MessageHeader
from remotevirt.xdr import DECODE_ERRORS
from tests.interop import golden
from tests.wire import REMOTE, pack_frame

LEAST_PROCEDURES = 330
"""Of the remote program, as recorded; a corpus that shrinks is noticed."""


class GoldenTests(SynchronousTestCase):
    """Every message is decoded, encoded, cut short."""

    def setUp(self) -> None:
        self.messages = list(golden.load())

    def test_corpus_is_wide(self) -> None:
        """Most procedures, both directions, errors, streams, events and keepalive are in the corpus."""
        frames = [golden.parse(message.data) for message in self.messages]
        remote = {frame.procedure for frame in frames if frame.program == REMOTE}
        self.assertGreaterEqual(len(remote), LEAST_PROCEDURES)
        self.assertEqual({frame.program for frame in frames}, set(golden.PROGRAMS))
        self.assertEqual({frame.status for frame in frames}, {0, 1, 2})
        self.assertLessEqual({0, 1, 2, 3}, {frame.type for frame in frames})
        self.assertEqual({message.sender for message in self.messages}, {"client", "daemon"})

    def test_notes_are_true(self) -> None:
        """What the file says about a message is what the procedure tables say."""
        for message in self.messages:
            self.assertEqual(golden.note(golden.parse(message.data)), message.note, str(message))

    def test_headers_round_trip(self) -> None:
        """The generated header struct reads and writes the same 24 bytes."""
        for message in self.messages:
            header, end = MessageHeader.unpack(message.data, 4)
            self.assertEqual(end, 28)
            self.assertEqual(header.pack(), message.data[4:28], str(message))
            self.assertEqual(tuple(header), golden.parse(message.data)[:6])

    def test_payloads_round_trip(self) -> None:
        """Decoding and encoding gives the same bytes, with nothing left over."""
        for message in self.messages:
            frame = golden.parse(message.data)
            decoded = golden.decode(frame)
            if frame.type not in golden.STREAM:
                self.assertEqual(decoded.rest, b"", str(message))
            again = frame._replace(payload=decoded.encode())
            self.assertEqual(pack_frame(again).hex(), message.data.hex(), str(message))

    def test_truncated_payloads_are_refused(self) -> None:
        """A payload that ends early, wherever, is a decoding error and nothing else."""
        for message in self.messages:
            frame = golden.parse(message.data)
            if golden.decode(frame).value is None:
                continue
            size = len(frame.payload)
            for end in range(0, size, max(1, size // 64)):
                try:
                    golden.decode(frame._replace(payload=frame.payload[:end]))
                except DECODE_ERRORS:
                    continue
                self.fail(f"{message} was decoded from {end} of its {size} bytes")
