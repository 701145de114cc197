"""Messages: kinds, headers, errors."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import RemoteProtocolError, VirError, XDRError
from remotevirt.rpc import message as m
from remotevirt.rpc.message import Kind, error_payload, parse_message, vir_error
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import InvalidArg, NoDomain, error_class
from remotevirt.stubs.message import MessageError, MessageHeader, MessageNonnullDomain, StreamHole
from remotevirt.xdr import DECODE_ERRORS
from tests.strategies import bounded, words

MEANINGS = {
    (0, 0): Kind.CALL,
    (1, 0): Kind.REPLY,
    (1, 1): Kind.ERROR,
    (2, 0): Kind.EVENT,
    (3, 0): Kind.STREAM_FINISH,
    (3, 1): Kind.STREAM_ABORT,
    (3, 2): Kind.STREAM_DATA,
    (4, 0): Kind.CALL,
    (5, 0): Kind.REPLY,
    (5, 1): Kind.ERROR,
    (6, 2): Kind.STREAM_HOLE,
}
"""What (type, status) means, from the protocol's description."""


class ParseTests(SynchronousTestCase):
    """From frames to messages."""

    def test_every_type_and_status(self) -> None:
        """Each pair has its kind or is refused, those out of range too."""
        for type_ in (*range(-2, 9), 99, 1 << 20, -(1 << 31)):
            for status in (*range(-2, 6), 1 << 20, -(1 << 31)):
                frame = struct.pack(">IIiiIiI", 1, 2, 3, type_, 5, status, 0)
                if (type_, status) in MEANINGS:
                    self.assertIs(MEANINGS[type_, status], parse_message(frame).kind, (type_, status))
                else:
                    self.assertRaises(RemoteProtocolError, parse_message, frame)

    def test_short(self) -> None:
        """Less than a header, or than the number of descriptors, is refused."""
        frame = m.pack_call(1, 1, 1, 1)[4:]
        for size in range(len(frame)):
            self.assertRaises(RemoteProtocolError, parse_message, frame[:size])
        counted = m.pack_call(1, 1, 1, 1, descriptors=3)[4:]
        for size in range(24, 28):
            self.assertRaises(RemoteProtocolError, parse_message, counted[:size])
        self.assertEqual((3, b""), (parse_message(counted).descriptors, parse_message(counted).payload))

    @bounded(100)
    @given(words, words, st.integers(-(1 << 31), (1 << 31) - 1), words, st.binary(max_size=30))
    def test_round_trips(self, program: int, version: int, procedure: int, serial: int, data: bytes) -> None:
        """What is packed parses to the same, with a length that counts everything."""
        key = (program, version, procedure)
        for packed, kind, payload, descriptors in (
            (m.pack_call(*key, serial, data), Kind.CALL, data, 0),
            (m.pack_call(*key, serial, data, descriptors=7), Kind.CALL, data, 7),
            (m.pack_reply(*key, serial, data), Kind.REPLY, data, 0),
            (m.pack_reply(*key, serial, data, descriptors=0), Kind.REPLY, data, 0),
            (m.pack_event(*key, data, serial), Kind.EVENT, data, 0),
            (m.pack_stream(*key, serial, data), Kind.STREAM_DATA, data, 0),
            (m.pack_stream(*key, serial, finish=True), Kind.STREAM_FINISH, b"", 0),
            (m.pack_abort(*key, serial), Kind.STREAM_ABORT, b"", 0),
        ):
            self.assertEqual(len(packed), int.from_bytes(packed[:4]))
            expected = m.Message(*key, serial, kind, payload, descriptors)
            self.assertEqual(expected, parse_message(packed[4:]))

    def test_header_is_the_contracts(self) -> None:
        """The header that is written by hand is the one of the contract."""
        packed = m.pack_reply(0x20008086, 1, 4, 9)
        header, end = MessageHeader.unpack(packed, 4)
        self.assertEqual((0x20008086, 1, 4, 1, 9, 0), tuple(map(int, header)))
        self.assertEqual(len(packed), end)

    def test_hole(self) -> None:
        """A hole says how long it is."""
        message = parse_message(m.pack_hole(1, 1, 1, 1, 1 << 40)[4:])
        self.assertIs(Kind.STREAM_HOLE, message.kind)
        self.assertEqual(StreamHole(1 << 40, 0), StreamHole.unpack(message.payload, 0)[0])

    def test_events_have_serial_1(self) -> None:
        """As libvirtd's have."""
        self.assertEqual(1, parse_message(m.pack_event(1, 1, 1, b"")[4:]).serial)

    def test_largest(self) -> None:
        """32 MiB with the header, not a byte more."""
        room = (32 << 20) - 24
        self.assertEqual(room + 28, len(m.pack_reply(1, 1, 1, 1, bytes(room))))
        self.assertRaises(XDRError, m.pack_reply, 1, 1, 1, 1, bytes(room + 1))
        self.assertRaises(XDRError, m.pack_reply, 1, 1, 1, 1, bytes(room - 3), descriptors=0)


class ErrorTests(SynchronousTestCase):
    """Errors on the wire."""

    def test_as_the_contract_has_it(self) -> None:
        """All fields where virNetMessageError has them."""
        error = InvalidArg("why", domain=vir.VIR_FROM_TEST, str3="x", int1=5, int2=6)
        wire, _ = MessageError.unpack(error_payload(error), 0)
        self.assertEqual(
            (8, vir.VIR_FROM_TEST, error.message, 2, None, error.str1, "why", "x", 5, 6, None), tuple(wire)
        )

    def test_round_trip(self) -> None:
        """The same class, code, texts and numbers come out, for every field."""
        for error in (
            NoDomain("no domain with matching name 'x'", domain=vir.VIR_FROM_TEST),
            NoDomain(),
            VirError("some detail", code=4711, domain=99, level=1, str3="3", int1=1, int2=2),
            VirError(code=1, message="caf\u00e9 \U0001f600"),
        ):
            again = vir_error(error_payload(error))
            self.assertIs(error_class(error.code), type(again))
            for name in ("code", "domain", "level", "message", "str1", "str2", "str3", "int1", "int2"):
                self.assertEqual(getattr(error, name), getattr(again, name), name)

    def test_long_texts_are_cut(self) -> None:
        """At most 1 KiB, cut between characters, for each of the four texts."""
        for character in ("x", "\u00e9", "\u20ac", "\U0001f600"):
            for lead in range(4):
                long = "a" * lead + character * 2000
                error = VirError(code=1, message=long, str1=long, str2=long, str3=long)
                again = vir_error(error_payload(error))
                for text in (again.message, again.str1, again.str2, again.str3):
                    assert text is not None
                    size = len(text.encode())
                    self.assertLessEqual(size, 1024)
                    self.assertGreater(size, 1024 - len(character.encode()))
                    self.assertTrue(long.startswith(text))

    def test_exactly_1_kib(self) -> None:
        """What fits is not cut."""
        for text in ("x" * 1024, "\u00e9" * 512):
            self.assertEqual(text, vir_error(error_payload(VirError(code=1, message=text))).message)

    def test_texts_are_made_valid(self) -> None:
        """NUL and lone surrogates are replaced, not sent."""
        again = vir_error(error_payload(VirError(code=1, message="a\0b\ud800c", str1="\0")))
        self.assertEqual(("a?b?c", "?"), (again.message, again.str1))

    @bounded(100)
    @given(st.text(max_size=3000))
    def test_any_text(self, text: str) -> None:
        """Whatever an error says, it can be sent and read again."""
        again = vir_error(error_payload(VirError(text, code=1)))
        self.assertLessEqual(len(again.message.encode()), 1024)

    def test_truncated(self) -> None:
        """An error's payload that is cut short does not decode."""
        payload = error_payload(NoDomain("x", domain=1))
        for size in range(len(payload)):
            self.assertRaises(DECODE_ERRORS, vir_error, payload[:size])

    def test_unknown_code_and_missing_text(self) -> None:
        """A code from the future is kept; an error without text has an empty one."""
        wire = MessageError(
            9999, 1, None, 2, MessageNonnullDomain("d", bytes(16), 1), None, None, None, 0, 0, None
        )
        error = vir_error(wire.pack())
        self.assertEqual((VirError, 9999, ""), (type(error), error.code, error.message))
