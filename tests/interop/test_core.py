"""The wire core in the client's role against a real libvirtd, and fed with the golden corpus."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc import Connection, FrameReader, Kind, Message, Role, parse_message
from remotevirt.stubs import remote
from remotevirt.stubs.message import MessageError
from remotevirt.stubs.remote import NonnullDomain
from tests.interop import golden
from tests.interop.daemons import Libvirtd
from tests.interop.pair import arguments, start
from tests.interop.peers import require

TEST = NonnullDomain("test", bytes.fromhex("6695eb01f6a4830479aa97f2502e193f"), 1)
PROGRAM = remote.PROGRAM


class CoreClient:
    """A blocking client made of the core and a socket."""

    def __init__(self, path: str) -> None:
        self.core = Connection(Role.CLIENT)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(15)
        self.socket.connect(path)
        self.unread: list[Message] = []

    def await_message(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message of this description; the others stay unread."""
        while True:
            for message in self.unread:
                if wanted(message):
                    self.unread.remove(message)
                    return message
            data = self.socket.recv(65536)
            assert data, "libvirtd closed the connection"
            self.unread += self.core.receive(data)

    def call(self, name: str, *fields: Any) -> tuple[int, Any]:
        """Serial and decoded result of a call; an error reply gives its MessageError."""
        procedure = PROGRAM.by_name[name]
        payload = arguments(name, *fields)
        serial, data = self.core.call(PROGRAM.number, PROGRAM.version, procedure.number, payload)
        self.socket.sendall(data)
        reply = self.await_message(
            lambda message: message.kind in (Kind.REPLY, Kind.ERROR) and message.serial == serial
        )
        if reply.kind is Kind.ERROR:
            return serial, MessageError.unpack(reply.payload, 0)[0]
        return serial, procedure.ret.unpack(reply.payload, 0)[0] if procedure.ret else None


class ClientTests(SynchronousTestCase):
    """Our client's end, libvirtd's server's end."""

    def setUp(self) -> None:
        require("libvirtd")
        daemon = Libvirtd()
        start(self, daemon)
        self.client = CoreClient(str(daemon.unix))
        self.addCleanup(self.client.socket.close)
        self.client.call("auth_list")
        self.client.call("connect_open", "test:///default", 0)

    def test_calls_and_errors(self) -> None:
        """Results and errors of a real daemon are what they should be."""
        self.assertEqual(self.client.call("connect_get_type")[1].type, "TEST")
        self.assertEqual(self.client.call("domain_lookup_by_name", "test")[1].dom, TEST)
        error = self.client.call("domain_lookup_by_name", "nothing")[1]
        self.assertEqual((error.code, error.message), (42, "Domain not found"))
        self.assertEqual(self.client.core.pending, 0)

    def test_replies_may_overtake(self) -> None:
        """A hundred calls in flight, answered in whatever order, find their serials."""
        procedure = PROGRAM.by_name["connect_get_version"]
        calls = [self.client.core.call(PROGRAM.number, 1, procedure.number) for _ in range(100)]
        self.client.socket.sendall(b"".join(data for _, data in calls))
        for serial, _ in calls:
            self.client.await_message(lambda message, serial=serial: message.serial == serial)
        self.assertEqual(self.client.core.pending, 0)

    def test_events(self) -> None:
        """Events come between replies and are told from them."""
        self.client.call("connect_domain_event_register")
        self.client.call("domain_suspend", TEST)
        event = self.client.await_message(lambda message: message.kind is Kind.EVENT)
        procedure = PROGRAM.procedures[event.procedure]
        self.assertEqual(procedure.name, "domain_event_lifecycle")
        message, _ = procedure.args.unpack(event.payload, 0)
        self.assertEqual(message.dom, TEST)

    def test_stream(self) -> None:
        """A screenshot is streamed to its end, and finished by both sides."""
        procedure = PROGRAM.by_name["domain_screenshot"]
        serial, result = self.client.call("domain_screenshot", TEST, 0, 0)
        self.assertEqual(result.mime, "image/png")
        stream = self.client.core.open_stream(PROGRAM.number, 1, procedure.number, serial)
        image = b""
        while data := self.client.await_message(lambda message: message.kind is Kind.STREAM_DATA).payload:
            image += data
        self.assertTrue(image.startswith(b"\x89PNG"))
        self.client.socket.sendall(self.client.core.send_finish(stream))
        self.client.await_message(lambda message: message.kind is Kind.STREAM_FINISH)
        self.assertEqual(self.client.core.streams, {})
        self.assertEqual(self.client.call("connect_get_type")[1].type, "TEST")


class CorpusTests(SynchronousTestCase):
    """Captured bytes through the core."""

    def test_any_split_gives_the_same_frames(self) -> None:
        """However the captured stream is cut, the frames are the captured messages."""
        messages = [message.data for message in golden.load()]
        stream = b"".join(data + bytes(golden.dummy_bytes(data)) for data in messages)
        expected = [data[4:] for data in messages]
        for seed in range(20):
            chance = random.Random(seed)
            reader, frames, position = FrameReader(descriptors=True), [], 0
            while position < len(stream):
                size = chance.choice((1, 3, 4, 27, 28, 100, 4096, 65536))
                frames += reader.feed(stream[position : position + size])
                position += size
            self.assertEqual(frames, expected, f"seed {seed}")
            self.assertEqual(reader.buffered, 0)
            self.assertIsNone(reader.failure)

    def test_headers(self) -> None:
        """Every captured header is of a kind that its sender may send."""
        admitted = {
            "client": {Kind.CALL, Kind.EVENT, Kind.STREAM_DATA, Kind.STREAM_FINISH, Kind.STREAM_ABORT},
            "daemon": set(Kind) - {Kind.CALL},
        }
        for captured in golden.load():
            frame, message = golden.parse(captured.data), parse_message(captured.data[4:])
            self.assertEqual(message[:4], (frame.program, frame.version, frame.procedure, frame.serial))
            size = len(golden.decode(frame).prefix)
            self.assertEqual(message.payload, frame.payload[size:], str(captured))
            self.assertEqual(message.descriptors, golden.dummy_bytes(captured.data))
            self.assertIn(message.kind, admitted[captured.sender], str(captured))
