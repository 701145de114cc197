"""Framing: any split of a byte stream gives the same frames, and bad lengths end it."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import RemoteProtocolError
from remotevirt.rpc.framing import LENGTH_MAXIMUM, LENGTH_MINIMUM, FrameReader, describe
from remotevirt.rpc.message import pack_call, pack_event, pack_reply
from tests.strategies import bounded, bytes_with_splits, messages_with_descriptors, plain_messages

MIB = 1 << 20
CALL = pack_call(0x20008086, 1, 4, 5, b"payload!")
EMPTY = pack_call(0x20008086, 1, 4, 6)
WITH_TWO = pack_call(0x20008086, 1, 4, 7, b"data", descriptors=2) + b"\0\0"


def feed_all(reader: FrameReader, pieces: list[bytes]) -> list[bytes]:
    """Every frame of these pieces."""
    return [frame for piece in pieces for frame in reader.feed(piece)]


class FramingTests(SynchronousTestCase):
    """Good bytes."""

    def test_frames(self) -> None:
        """A frame is what lies behind the length word."""
        reader = FrameReader()
        self.assertEqual([CALL[4:], EMPTY[4:]], reader.feed(CALL + EMPTY))
        self.assertEqual((0, 4), (reader.buffered, reader.missing))
        self.assertIsNone(reader.failure)

    def test_nothing(self) -> None:
        """No bytes make no frames, before, within and between frames."""
        reader = FrameReader()
        self.assertEqual([], reader.feed(b""))
        self.assertEqual([], reader.feed(CALL[:10]))
        self.assertEqual([], reader.feed(b""))
        self.assertEqual([CALL[4:]], reader.feed(CALL[10:]))

    def test_one_byte_at_a_time(self) -> None:
        """``missing`` says at each byte how many it takes at least to get on."""
        reader = FrameReader()
        for place in range(len(CALL)):
            self.assertEqual((4 if place < 4 else len(CALL)) - place, reader.missing, place)
            self.assertEqual(place, reader.buffered)
            frames = reader.feed(CALL[place : place + 1])
            self.assertEqual([CALL[4:]] if place == len(CALL) - 1 else [], frames)
        self.assertEqual((0, 4), (reader.buffered, reader.missing))

    def test_missing_is_enough(self) -> None:
        """Feeding just what is missing always gets to the end."""
        reader = FrameReader(descriptors=True)
        stream = CALL + WITH_TWO + EMPTY
        frames: list[bytes] = []
        place = 0
        while place < len(stream):
            step = reader.missing
            self.assertGreater(step, 0)
            frames += reader.feed(stream[place : place + step])
            place += step
        self.assertEqual([CALL[4:], WITH_TWO[4:-2], EMPTY[4:]], frames)

    def test_any_split(self) -> None:
        """The same bytes in any pieces give the same frames, and nothing is left over."""
        messages = st.lists(st.one_of(plain_messages(), messages_with_descriptors()), max_size=6)

        @bounded(150)
        @given(messages, st.data())
        def check(parts: list[bytes], data: st.DataObject) -> None:
            stream = b"".join(parts)
            reader = FrameReader(descriptors=True)
            frames = feed_all(reader, data.draw(bytes_with_splits(stream)))
            lengths = [int.from_bytes(part[:4]) for part in parts]
            expected = [part[4:length] for part, length in zip(parts, lengths, strict=True)]
            self.assertEqual(expected, frames)
            self.assertEqual((0, 4, None), (reader.buffered, reader.missing, reader.failure))

        check()

    def test_any_bytes_any_split(self) -> None:
        """Whatever the bytes are, their split changes neither the frames nor the failure."""
        streams = st.lists(
            st.one_of(plain_messages(), messages_with_descriptors(), st.binary(max_size=30)), max_size=4
        )

        @bounded(200)
        @given(streams, st.booleans(), st.data())
        def check(parts: list[bytes], descriptors: bool, data: st.DataObject) -> None:
            stream = b"".join(parts)
            whole, split = FrameReader(4096, descriptors), FrameReader(4096, descriptors)
            frames = whole.feed(stream)
            self.assertEqual(frames, feed_all(split, data.draw(bytes_with_splits(stream))))
            self.assertEqual(whole.failure is None, split.failure is None)
            self.assertEqual(whole.missing, split.missing)
            self.assertEqual(whole.buffered, split.buffered)

        check()


class LengthTests(SynchronousTestCase):
    """Lengths at and over the edges."""

    def test_too_short(self) -> None:
        """A length that leaves no room for a header ends the stream at once, without waiting for more."""
        for length in range(LENGTH_MINIMUM):
            reader = FrameReader()
            self.assertEqual([], reader.feed(length.to_bytes(4)))
            self.assertIsInstance(reader.failure, RemoteProtocolError)
            self.assertIn(f"length {length} is outside", str(reader.failure))

    def test_shortest(self) -> None:
        """A header alone is a message."""
        reader = FrameReader()
        self.assertEqual(28, LENGTH_MINIMUM)
        self.assertEqual([bytes(24)], reader.feed((28).to_bytes(4) + bytes(24)))

    def test_longest(self) -> None:
        """32 MiB and the length word are read; one more ends the stream."""
        self.assertEqual(32 * MIB + 4, LENGTH_MAXIMUM)
        reader = FrameReader()
        piece = bytes(MIB)
        frames = reader.feed(LENGTH_MAXIMUM.to_bytes(4) + piece)
        for _ in range(31):
            self.assertEqual([], frames)
            frames = reader.feed(piece)
        self.assertEqual([32 * MIB], [len(frame) for frame in frames])
        for length in (LENGTH_MAXIMUM + 1, 1 << 31, (1 << 32) - 1):
            reader = FrameReader()
            self.assertEqual([], reader.feed(length.to_bytes(4)))
            self.assertIsInstance(reader.failure, RemoteProtocolError)

    def test_own_maximum(self) -> None:
        """A smaller maximum can be given, and raised later."""
        reader = FrameReader(maximum=len(CALL))
        self.assertEqual([CALL[4:]], reader.feed(CALL))
        longer = pack_call(1, 1, 1, 1, b"payload and 8")
        reader.maximum = len(longer)
        self.assertEqual([longer[4:]], reader.feed(longer))
        self.assertEqual([], reader.feed((len(longer) + 1).to_bytes(4)))
        self.assertIsNotNone(reader.failure)

    def test_failure_behind_good_frames(self) -> None:
        """What came before the bad length is returned; nothing is read behind it, now or later."""
        reader = FrameReader()
        self.assertEqual([CALL[4:], EMPTY[4:]], reader.feed(CALL + EMPTY + b"GET / HTTP/1.1\r\n" + CALL))
        failure = reader.failure
        self.assertIn("an HTTP request", str(failure))
        self.assertEqual([], reader.feed(CALL))
        self.assertIs(failure, reader.failure)
        self.assertEqual((0, 0), (reader.buffered, reader.missing))

    def test_memory_of_an_unfinished_frame(self) -> None:
        """Memory is taken for what has arrived, not for what was claimed."""
        tracemalloc.start()
        readers = [FrameReader() for _ in range(50)]
        for reader in readers:
            reader.feed(LENGTH_MAXIMUM.to_bytes(4))
            for _ in range(100):
                reader.feed(b"x")
        self.assertEqual(104, readers[0].buffered)
        current, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(current, 50 * 2048)
        self.assertLess(peak, MIB)

    def test_long_frames_are_not_copied_over_and_over(self) -> None:
        """Each piece of an unfinished frame is added to what is held, without a copy of it."""
        reader = FrameReader()
        reader.feed(LENGTH_MAXIMUM.to_bytes(4))
        piece = bytes(64 * 1024)
        for _ in range(63):
            reader.feed(piece)
        tracemalloc.start()
        reader.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(peak, 6 * MIB, "at most what is held, once")

    def test_nothing_is_kept_of_finished_frames(self) -> None:
        """A large frame that has been returned is not held any longer."""
        reader = FrameReader()
        large = pack_call(1, 1, 1, 1, bytes(4 * MIB))
        tracemalloc.start()
        for _ in range(3):
            feed_all(reader, [large[:MIB], large[MIB:]])
        current, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(current, MIB)
        self.assertEqual(0, reader.buffered)


class DescriptorTests(SynchronousTestCase):
    """Messages that carry descriptors: a dummy byte for each stands behind the message."""

    def test_dummy_bytes_are_taken_off(self) -> None:
        """They belong to no frame, and the frame waits for them."""
        reader = FrameReader(descriptors=True)
        self.assertEqual([WITH_TWO[4:-2], CALL[4:]], reader.feed(WITH_TWO + CALL))
        self.assertEqual([], reader.feed(WITH_TWO[:-2]))
        self.assertEqual(2, reader.missing)
        self.assertEqual([], reader.feed(WITH_TWO[-2:-1]))
        self.assertEqual(1, reader.missing)
        self.assertEqual([WITH_TWO[4:-2]], reader.feed(WITH_TWO[-1:]))

    def test_replies(self) -> None:
        """Replies may carry some too."""
        reader = FrameReader(descriptors=True)
        message = pack_reply(1, 1, 1, 1, b"", descriptors=1)
        self.assertEqual([message[4:], EMPTY[4:]], reader.feed(message + b"\0" + EMPTY))

    def test_how_many(self) -> None:
        """None and 32 are fine, 33 and 2**32 - 1 are not."""
        for count in (0, 1, 32):
            reader = FrameReader(descriptors=True)
            message = pack_call(1, 1, 1, 1, b"", descriptors=count)
            self.assertEqual([message[4:]], reader.feed(message + bytes(count)), count)
        for count in (33, 1 << 31, (1 << 32) - 1):
            reader = FrameReader(descriptors=True)
            self.assertEqual([], reader.feed(pack_call(1, 1, 1, 1, b"", descriptors=count)))
            self.assertIn("more than 32", str(reader.failure))

    def test_no_count(self) -> None:
        """A message that says it carries some, but has no room to say how many, ends the stream."""
        reader = FrameReader(descriptors=True)
        message = bytearray(EMPTY)
        message[4 + 15] = 4
        self.assertEqual([], reader.feed(bytes(message)))
        self.assertIn("does not say how many", str(reader.failure))

    def test_on_a_transport_without(self) -> None:
        """Where none can be passed, the claim ends the stream; frames before it are returned."""
        reader = FrameReader(descriptors=False)
        self.assertEqual([CALL[4:]], reader.feed(CALL + WITH_TWO + CALL))
        self.assertIn("cannot pass them", str(reader.failure))

    def test_only_types_4_and_5(self) -> None:
        """A type whose low byte is 4 or 5 is another type if it has more bits."""
        message = bytearray(pack_event(1, 1, 1, b"\0\0\0\x09"))
        for upper in (0x100, 0x10000, 0x80000000):
            for low in (4, 5):
                message[16:20] = (upper | low).to_bytes(4)
                reader = FrameReader(descriptors=False)
                self.assertEqual([bytes(message[4:])], reader.feed(bytes(message)))
                self.assertIsNone(reader.failure)


class DescribeTests(SynchronousTestCase):
    """What hit the port is named."""

    def test_strangers(self) -> None:
        """Other protocols by name, anything else by its bytes."""
        for data, words in (
            (b"GET / HTTP/1.1\r\n", "HTTP"),
            (b"POST /x HTTP/1.1", "HTTP"),
            (b"PRI * HTTP/2.0\r\n", "HTTP"),
            (b"\x16\x03\x01\x02\x00\x01", "TLS"),
            (b"SSH-2.0-OpenSSH_9.2", "SSH"),
            (b"\xff\xff\xff\xff", "ff ff ff ff"),
        ):
            reader = FrameReader()
            reader.feed(data)
            self.assertIn(words, str(reader.failure))
            self.assertIn(words, describe(data))

    def test_strangers_in_pieces(self) -> None:
        """Four bytes are enough: those of the length that was refused."""
        for data in (b"GET ", b"POST", b"OPTI", b"PRI ", b"POST /ind"):
            self.assertEqual(describe(data), "an HTTP request")
        self.assertIn("bytes that start with", describe(b"POSX"))

    def test_no_control_characters(self) -> None:
        """A log line stays one line whatever is sent."""
        self.assertTrue(describe(b"\x1b[2J\n\r\0\x07").isprintable())
