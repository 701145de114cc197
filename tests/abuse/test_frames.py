"""Framing at every boundary, and headers whose words make no sense."""

from __future__ import annotations

import struct
from random import Random

from remotevirt.rpc.framing import LENGTH_MAXIMUM, LENGTH_MINIMUM
from tests.abuse.attack import GET_VERSION, ROUNDS, AbuseTestCase, frame
from tests.seeds import WORDS
from tests.wire import KEEPALIVE, REMOTE, Closed

CALL = frame(GET_VERSION, serial=7)
PING = struct.pack(">7I", 28, KEEPALIVE, 1, 1, 2, 0, 0)


class FrameTests(AbuseTestCase):
    """What the frame reader is given."""

    def test_every_length(self) -> None:
        """A length that leaves no room for a header, or is over the maximum, ends its connection at once."""
        with self.attack("lengths"):
            for length in (*range(LENGTH_MINIMUM), LENGTH_MAXIMUM + 1, 1 << 31, (1 << 32) - 1):
                client = self.client()
                client.send_raw(struct.pack(">I", length) + CALL[4:])
                self.assertTrue(self.is_closed(client), f"length {length}")
                client.close()
        log = self.daemon.log()
        self.assertIn(f"length {LENGTH_MAXIMUM + 1} is outside {LENGTH_MINIMUM}..{LENGTH_MAXIMUM}", log)

    def test_lengths_that_are_fine(self) -> None:
        """Every length with room for a header is a message, whatever its payload; the next one is in step."""
        client = self.client()
        for extra in range(41 - LENGTH_MINIMUM):
            client.send_raw(frame(GET_VERSION, bytes(extra), serial=extra))
            self.assertEqual(client.reply_to(extra).serial, extra)
        client.send_raw(CALL)
        self.assertEqual(client.reply_to(7).status, 0)

    def test_the_longest(self) -> None:
        """A message of the longest length is read to its end, and answered."""
        with self.attack("the longest message"):
            client = self.client()
            client.send_raw(frame(GET_VERSION, bytes(LENGTH_MAXIMUM - LENGTH_MINIMUM), serial=9))
            self.assertEqual(client.reply_to(9).serial, 9)
            client.close()

    def test_memory_is_taken_for_what_has_come(self) -> None:
        """Two hundred clients that claim 32 MiB each, and send a word, cost next to nothing."""
        clients = [self.client() for _ in range(200)]
        before = self.daemon.resident_bytes()
        for client in clients:
            client.send_raw(struct.pack(">I", LENGTH_MAXIMUM) + CALL[4:])
        self.assert_serves("claims")
        self.assertLess(self.daemon.resident_bytes() - before, 16 << 20)

    def test_split_everywhere(self) -> None:
        """Two calls and a ping, cut at every place, are the same three messages."""
        client = self.client()
        data = CALL + PING + frame(GET_VERSION, serial=8)
        for place in range(len(data) + 1):
            client.send_raw(data[:place])
            client.send_raw(data[place:])
            kinds = sorted((reply.type, reply.serial) for reply in (client.receive() for _ in range(3)))
            self.assertEqual(kinds, [(1, 7), (1, 8), (2, 0)], f"cut at {place}")

    def test_every_header(self) -> None:
        """Any words in a header: a call is answered once with its serial; what is none is not answered."""
        random = Random(5)
        with self.attack("headers"):
            client = self.client()
            for number in range(1000 * ROUNDS):
                header = {
                    "program": random.choice((REMOTE, REMOTE, KEEPALIVE, *WORDS)),
                    "version": random.choice((1, 1, 1, 0, 2, 1 << 31)),
                    "type": random.choice((0, 0, 0, 1, 2, 3, 6, 7, 255, 1 << 31)),
                    "status": random.choice((0, 0, 0, 1, 2, 3, 1 << 31)),
                }
                procedure = random.choice((GET_VERSION, 0, *WORDS))
                if header["program"] == KEEPALIVE and header["type"] == 2:
                    continue  # a ping has its own kind of answer
                if procedure in (1, 2):
                    continue
                client.send_raw(frame(procedure, serial=number, **header) + frame(4, serial=1 << 30))
                if header["type"] == 0:
                    reply = client.receive()
                    self.assertEqual(
                        (reply.serial, reply.program, reply.procedure & (1 << 32) - 1, reply.type),
                        (number, header["program"], procedure, 1),
                    )
                self.assertEqual(client.receive().serial, 1 << 30, header)
            client.close()
        self.assert_no_bugs()

    def test_descriptors_that_are_not_there(self) -> None:
        """A message that should carry descriptors, and carries none, or too many, ends its connection."""
        with self.attack("descriptors"):
            for count in (1, 2, 32, 33, 1 << 31, (1 << 32) - 1):
                client = self.client()
                message = frame(350, struct.pack(">I", count) + bytes(40), serial=3, type=4)
                client.send_raw(message + bytes(min(count, 32)))
                self.assertTrue(self.is_closed(client), f"{count} descriptors")
                client.close()
            client = self.client()
            client.send_raw(frame(GET_VERSION, b"", serial=3, type=4))
            self.assertTrue(self.is_closed(client))
            client.close()
        self.assert_no_bugs()

    def test_every_serial(self) -> None:
        """A serial is the client's, whatever it is, and may be used again."""
        client = self.client()
        for serial in (*WORDS, *WORDS):
            client.send_raw(frame(GET_VERSION, serial=serial))
            self.assertEqual(client.reply_to(serial).status, 0)

    def test_garbage(self) -> None:
        """Random bytes, however cut, end in a closed connection or in replies; nothing else."""
        random = Random(11)
        with self.attack("garbage"):
            for _ in range(60 * ROUNDS):
                with self.raw() as client:
                    try:
                        for _ in range(random.randrange(1, 5)):
                            client.send_raw(
                                random.choice((CALL, PING, random.randbytes(random.randrange(64))))
                            )
                    except Closed:
                        pass
        self.assert_no_bugs()
