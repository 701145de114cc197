"""One connection's state in both roles: the two ends of a wire talking to each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import LocalProtocolError, RemoteProtocolError, VirError
from remotevirt.rpc import connection as connection_module
from remotevirt.rpc.connection import Connection, Role
from remotevirt.rpc.keepalive import PING, PONG
from remotevirt.rpc.message import (
    Kind,
    Message,
    error_payload,
    pack_abort,
    pack_call,
    pack_error,
    pack_event,
    pack_hole,
    pack_reply,
    pack_stream,
    vir_error,
)
from remotevirt.rpc.stream import Stream, StreamState
from remotevirt.stubs.errors import NoDomain
from tests.strategies import bounded, bytes_with_splits

KEY = (0x20008086, 1, 4)
OTHER = (0x20008086, 1, 5)
UINT_MAX = (1 << 32) - 1


def reply_to(call: Message, payload: bytes = b"") -> bytes:
    """The reply to a call, as a server makes it."""
    return pack_reply(call.program, call.version, call.procedure, call.serial, payload)


class Pair:
    """A client and a server, and the wire between them."""

    def __init__(self, serial: int = 0) -> None:
        self.client = Connection(Role.CLIENT, serial=serial)
        self.server = Connection(Role.SERVER)

    def stream(self, sparse: bool = False) -> tuple[Stream, Stream]:
        """A stream that has been opened on both ends: the client's and the server's."""
        serial, data = self.client.call(*KEY)
        ours = self.client.open_stream(*KEY, serial, sparse)
        (call,) = self.server.receive(data)
        theirs = self.server.open_stream(*KEY, serial, sparse)
        self.client.receive(reply_to(call))
        return ours, theirs


class ConversationTests(SynchronousTestCase):
    """Calls and replies."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.client, self.server = self.pair.client, self.pair.server

    def test_call_and_reply(self) -> None:
        """The call arrives as it was made; its reply, and nothing else, settles it."""
        serial, data = self.client.call(*KEY, b"args")
        self.assertEqual(1, self.client.pending)
        (call,) = self.server.receive(data)
        self.assertEqual(Message(*KEY, serial, Kind.CALL, b"args"), call)
        (reply,) = self.client.receive(reply_to(call, b"result"))
        self.assertEqual(Message(*KEY, serial, Kind.REPLY, b"result"), reply)
        self.assertEqual(0, self.client.pending)

    def test_error(self) -> None:
        """An error settles a call too."""
        serial, data = self.client.call(*KEY)
        self.server.receive(data)
        (reply,) = self.client.receive(pack_error(*KEY, serial, NoDomain("x")))
        self.assertIs(Kind.ERROR, reply.kind)
        self.assertIsInstance(vir_error(reply.payload), NoDomain)
        self.assertEqual(0, self.client.pending)

    def test_descriptors(self) -> None:
        """A call may say that descriptors come with it, where the transport can pass them."""
        server = Connection(Role.SERVER, descriptors=True)
        _, data = self.client.call(*KEY, b"args", descriptors=2)
        (call,) = server.receive(data + b"\0\0")
        self.assertEqual((2, b"args"), (call.descriptors, call.payload))
        self.assertRaises(RemoteProtocolError, self.server.receive, data)

    def test_serials(self) -> None:
        """They count up from where they are told to, and go round."""
        self.assertEqual([0, 1, 2], [self.client.call(*KEY)[0] for _ in range(3)])
        self.assertEqual(1, Connection(Role.CLIENT, serial=1).call(*KEY)[0])
        last = Connection(Role.CLIENT, serial=UINT_MAX)
        self.assertEqual([UINT_MAX, 0], [last.call(*KEY)[0] for _ in range(2)])

    def test_serials_in_use_at_the_end(self) -> None:
        """After the last serial comes 0, also when the last one is in use."""
        client = Connection(Role.CLIENT, serial=UINT_MAX)
        client.call(*KEY)
        client._serial = UINT_MAX
        self.assertEqual(0, client.call(*KEY)[0])

    def test_serials_in_use_are_left_out(self) -> None:
        """Those of calls without a reply, and of open streams."""
        serial, _ = self.client.call(*KEY)
        self.client.open_stream(*KEY, 1)
        self.client._serial = 0
        self.assertEqual((0, 2), (serial, self.client.call(*KEY)[0]))

    def test_replies_overtake(self) -> None:
        """In any order."""
        serials = [self.client.call(*KEY)[0] for _ in range(3)]
        for serial in reversed(serials):
            (reply,) = self.client.receive(pack_reply(*KEY, serial))
            self.assertEqual(serial, reply.serial)
        self.assertEqual(0, self.client.pending)

    def test_unmatched_replies(self) -> None:
        """A reply to nothing, a second reply, a reply of another procedure: the peer is wrong."""
        self.assertRaises(RemoteProtocolError, self.client.receive, pack_reply(*KEY, 5))
        pair = Pair()
        serial, _ = pair.client.call(*KEY)
        pair.client.receive(pack_reply(*KEY, serial))
        self.assertRaises(RemoteProtocolError, pair.client.receive, pack_reply(*KEY, serial))
        for number, key in enumerate((OTHER, (1, 1, 4), (KEY[0], 2, 4))):
            pair = Pair()
            serial, _ = pair.client.call(*KEY)
            with self.assertRaises(RemoteProtocolError, msg=str(number)):
                pair.client.receive(pack_error(*key, serial, NoDomain("x")))

    def test_too_many_calls(self) -> None:
        """What is remembered of calls is bounded."""
        self.patch(connection_module, "CALLS_MAXIMUM", 3)
        serials = [self.client.call(*KEY)[0] for _ in range(3)]
        self.assertRaises(LocalProtocolError, self.client.call, *KEY)
        self.client.receive(pack_reply(*KEY, serials[1]))
        self.client.call(*KEY)

    def test_a_server_does_not_call(self) -> None:
        """It is our mistake if it tries."""
        self.assertRaises(LocalProtocolError, self.server.call, *KEY)

    def test_wrong_role(self) -> None:
        """Neither end is sent what only it may send."""
        for message in (pack_call(*KEY, 1), pack_call(*KEY, 1, descriptors=0)):
            client = Connection(Role.CLIENT, descriptors=True)
            self.assertRaises(RemoteProtocolError, client.receive, message)
        for message in (pack_reply(*KEY, 1), pack_error(*KEY, 1, NoDomain("x")), pack_event(*KEY, b"")):
            self.assertRaises(RemoteProtocolError, Connection(Role.SERVER).receive, message)

    def test_keepalive_in_both_directions(self) -> None:
        """Either end may ping and answer; an event of another program only comes from a server."""
        for end in (self.client, self.server):
            self.assertEqual([1, 2], [message.procedure for message in end.receive(PING + PONG)])

    def test_events(self) -> None:
        """A client gets them at any time."""
        self.client.call(*KEY)
        (event,) = self.client.receive(pack_event(*OTHER, b"what"))
        self.assertEqual((Kind.EVENT, b"what"), (event.kind, event.payload))
        self.assertEqual(1, self.client.pending)

    def test_after_a_failure(self) -> None:
        """The connection is over, and says why again whenever it is fed."""
        for bad in (b"GET / HTTP/1.1", pack_reply(*KEY, 5), pack_stream(*KEY, 1)[:16] + b"\0\0\0\x09" * 4):
            server = Connection(Role.SERVER)
            first = self.assertRaises(RemoteProtocolError, server.receive, bad)
            again = self.assertRaises(RemoteProtocolError, server.receive, pack_call(*KEY, 1))
            self.assertEqual(str(first), str(again))

    def test_any_split(self) -> None:
        """A conversation's messages are the same however the bytes are cut."""
        calls = b"".join(self.client.call(*KEY, bytes(n))[1] for n in range(5)) + PING

        @bounded(50)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            server = Connection(Role.SERVER)
            pieces = data.draw(bytes_with_splits(calls))
            messages = [message for piece in pieces for message in server.receive(piece)]
            self.assertEqual(Connection(Role.SERVER).receive(calls), messages)

        check()


class StreamTests(SynchronousTestCase):
    """Streams between the two ends."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.client, self.server = self.pair.client, self.pair.server

    def test_download(self) -> None:
        """Data, an empty packet, then finish and finish; afterwards neither end knows the stream."""
        ours, theirs = self.pair.stream()
        for data in (b"one", b"two", b""):
            (packet,) = self.client.receive(self.server.send_data(theirs, data))
            self.assertEqual(
                (Kind.STREAM_DATA, ours.serial, data), (packet.kind, packet.serial, packet.payload)
            )
        self.server.receive(self.client.send_finish(ours))
        self.assertEqual((StreamState.FINISHING, StreamState.FINISHING), (ours.state, theirs.state))
        self.client.receive(self.server.send_finish(theirs))
        self.assertEqual((StreamState.CLOSED, StreamState.CLOSED), (ours.state, theirs.state))
        self.assertEqual(({}, {}), (self.client.streams, self.server.streams))

    def test_holes(self) -> None:
        """In sparse streams only."""
        ours, theirs = self.pair.stream(sparse=True)
        (packet,) = self.server.receive(self.client.send_hole(ours, 1 << 33))
        self.assertIs(Kind.STREAM_HOLE, packet.kind)
        dense, _ = self.pair.stream()
        self.assertRaises(LocalProtocolError, self.client.send_hole, dense, 1)
        hole = pack_hole(*dense.key, dense.serial, 1)
        self.assertRaises(RemoteProtocolError, self.server.receive, hole)
        self.assertIs(StreamState.OPEN, theirs.state)

    def test_client_aborts(self) -> None:
        """Without a reason. What was under way belongs to no stream, and harms nobody."""
        ours, theirs = self.pair.stream()
        late = self.server.send_data(theirs, b"late")
        (packet,) = self.server.receive(self.client.send_abort(ours))
        self.assertEqual((Kind.STREAM_ABORT, b""), (packet.kind, packet.payload))
        self.assertEqual((StreamState.ABORTED, StreamState.ABORTED), (ours.state, theirs.state))
        self.assertEqual(({}, {}), (self.client.streams, self.server.streams))
        self.client.receive(late)
        self.assertFalse(ours.received(Kind.STREAM_DATA))
        self.assertRaises(LocalProtocolError, self.client.send_data, ours, b"more")

    def test_server_aborts(self) -> None:
        """With a reason."""
        ours, theirs = self.pair.stream()
        (packet,) = self.client.receive(self.server.send_abort(theirs, VirError("disk is gone", code=38)))
        self.assertEqual("disk is gone", vir_error(packet.payload).str2)
        self.assertEqual(({}, {}), (self.client.streams, self.server.streams))
        self.assertIs(StreamState.ABORTED, ours.state)

    def test_who_gives_reasons(self) -> None:
        """A server must, a client must not."""
        ours, theirs = self.pair.stream()
        self.assertRaises(LocalProtocolError, self.server.send_abort, theirs)
        self.assertRaises(LocalProtocolError, self.client.send_abort, ours, VirError("x", code=1))
        self.assertIs(StreamState.OPEN, ours.state)

    def test_aborted_serials_are_free_again(self) -> None:
        """Aborting again and again leaves nothing behind."""
        for _ in range(10):
            ours, _ = self.pair.stream()
            self.server.receive(self.client.send_abort(ours))
        self.assertEqual((0, 0), (len(self.client.streams), len(self.server.streams)))

    def test_error_reply_ends_the_stream(self) -> None:
        """If the call that was to open it fails there is none."""
        serial, _ = self.client.call(*KEY)
        self.client.open_stream(*KEY, serial)
        self.client.receive(pack_error(*KEY, serial, NoDomain("x")))
        self.assertEqual({}, self.client.streams)

    def test_packets_that_belong_nowhere(self) -> None:
        """Of no stream: passed on for whoever wants them. Of another procedure: the peer is wrong."""
        (packet,) = self.server.receive(pack_stream(*KEY, 77, b"data"))
        self.assertEqual(77, packet.serial)
        ours, _ = self.pair.stream()
        self.assertRaises(RemoteProtocolError, self.server.receive, pack_stream(*OTHER, ours.serial, b"data"))

    def test_after_finish(self) -> None:
        """Nothing may follow a side's finish but an abort."""
        ours, theirs = self.pair.stream()
        self.client.send_finish(ours)
        self.assertRaises(LocalProtocolError, self.client.send_data, ours, b"more")
        self.client.receive(self.server.send_finish(theirs))
        ours, _ = self.pair.stream()
        self.server.receive(self.client.send_finish(ours))
        self.assertRaises(RemoteProtocolError, self.server.receive, pack_stream(*KEY, ours.serial, b"more"))

    def test_one_serial_one_stream(self) -> None:
        """A second stream with the serial of an open one is our mistake."""
        ours, _ = self.pair.stream()
        self.assertRaises(LocalProtocolError, self.server.open_stream, *KEY, ours.serial)


class BothEnds(RuleBasedStateMachine):
    """A client and a server that do what they may, over a wire that delivers late and in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Connection(Role.CLIENT, serial=UINT_MAX - 3)
        self.server = Connection(Role.SERVER)
        self.to_server = bytearray()
        self.to_client = bytearray()
        self.unanswered: set[int] = set()
        self.arrived: dict[int, Message] = {}
        self.ours: dict[int, Stream] = {}
        self.theirs: dict[int, Stream] = {}

    # -- the client

    @rule(payload=st.binary(max_size=8), streams=st.booleans())
    def call(self, payload: bytes, streams: bool) -> None:
        """Call, some with a stream."""
        serial, data = self.client.call(*KEY, payload)
        assert serial not in self.unanswered and serial not in self.client.streams
        self.unanswered.add(serial)
        if streams:
            self.ours[serial] = self.client.open_stream(*KEY, serial, sparse=True)
        self.to_server += data

    @rule()
    def client_pings(self) -> None:
        """Ping."""
        self.to_server += PING

    @precondition(lambda self: self.ours)
    @rule(data=st.data(), kind=st.sampled_from(("data", "hole", "finish", "abort")))
    def client_streams(self, data: st.DataObject, kind: str) -> None:
        """Use one of the streams, allowed or not."""
        stream = self.ours[data.draw(st.sampled_from(sorted(self.ours)))]
        if stream.serial not in self.unanswered:
            self.to_server += self._stream(self.client, stream, kind, None)

    # -- the server

    @precondition(lambda self: self.arrived)
    @rule(data=st.data(), well=st.booleans())
    def answer(self, data: st.DataObject, well: bool) -> None:
        """Answer a call that has arrived, in any order."""
        serial = data.draw(st.sampled_from(sorted(self.arrived)))
        call = self.arrived.pop(serial)
        if well:
            self.to_client += reply_to(call, call.payload)
            if serial in self.ours:
                self.theirs[serial] = self.server.open_stream(*KEY, serial, sparse=True)
        else:
            self.to_client += pack_error(*KEY, serial, NoDomain("x"))

    @rule()
    def event(self) -> None:
        """Send an event."""
        self.to_client += pack_event(*OTHER, b"happened")

    @precondition(lambda self: self.theirs)
    @rule(data=st.data(), kind=st.sampled_from(("data", "hole", "finish", "abort")))
    def server_streams(self, data: st.DataObject, kind: str) -> None:
        """Use one of the streams, allowed or not."""
        stream = self.theirs[data.draw(st.sampled_from(sorted(self.theirs)))]
        self.to_client += self._stream(self.server, stream, kind, VirError("gone", code=38))

    @staticmethod
    def _stream(end: Connection, stream: Stream, kind: str, reason: VirError | None) -> bytes:
        before = stream.state
        try:
            if kind == "data":
                return end.send_data(stream, b"data")
            if kind == "hole":
                return end.send_hole(stream, 512)
            if kind == "finish":
                return end.send_finish(stream)
            return end.send_abort(stream, reason)
        except LocalProtocolError:
            assert stream.state is before
            return b""

    # -- the wire

    @rule(size=st.integers(1, 200))
    def deliver_to_server(self, size: int) -> None:
        """Some bytes arrive."""
        data = bytes(self.to_server[:size])
        del self.to_server[:size]
        for message in self.server.receive(data):
            if message.kind is Kind.CALL:
                self.arrived[message.serial] = message

    @rule(size=st.integers(1, 200))
    def deliver_to_client(self, size: int) -> None:
        """Some bytes arrive."""
        data = bytes(self.to_client[:size])
        del self.to_client[:size]
        for message in self.client.receive(data):
            if message.kind in (Kind.REPLY, Kind.ERROR):
                self.unanswered.remove(message.serial)
                if message.kind is Kind.ERROR:
                    self.ours.pop(message.serial, None)

    @invariant()
    def settled(self) -> None:
        """Each call is without a reply until its reply has come; no stream that has ended is kept."""
        assert self.client.pending == len(self.unanswered)
        for end in (self.client, self.server):
            for stream in end.streams.values():
                assert stream.state in (StreamState.OPEN, StreamState.FINISHING)
            assert end.reader.failure is None


class MachineTests(SynchronousTestCase):
    """The machine above, run."""

    def test_both_ends(self) -> None:
        """Two ends that keep to the protocol never complain of each other."""
        run_state_machine_as_test(BothEnds, settings=bounded(80))


class WrongPeerTests(SynchronousTestCase):
    """What a peer sends that does not keep to the protocol."""

    @bounded(200)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(
                    [
                        PING,
                        pack_call(*KEY, 1),
                        pack_reply(*KEY, 1),
                        pack_reply(*OTHER, 1),
                        pack_error(*KEY, 2, VirError("x", code=1)),
                        pack_event(*KEY, b""),
                        pack_stream(*KEY, 3, b"data"),
                        pack_stream(*KEY, 3, finish=True),
                        pack_hole(*KEY, 3, 5),
                        pack_abort(*KEY, 3),
                        pack_stream(*OTHER, 3, b"data"),
                    ]
                ),
                st.binary(max_size=40),
            ),
            max_size=8,
        ),
        st.sampled_from(Role),
    )
    def test_any_order(self, messages: list[bytes], role: Role) -> None:
        """Messages in any order, and bytes that are none: at most RemoteProtocolError, for good."""
        end = Connection(role)
        if role is Role.CLIENT:
            for _ in range(3):
                end.call(*KEY)
        end.open_stream(*KEY, 3)
        failed = False
        for data in messages:
            try:
                end.receive(data)
            except RemoteProtocolError:
                failed = True
            else:
                self.assertFalse(failed, "it went on after a failure")

    def test_error_payload_is_not_looked_at(self) -> None:
        """What an error says is the caller's to decode, and does not end the connection."""
        client = Connection(Role.CLIENT)
        serial, _ = client.call(*KEY)
        message = pack_error(*KEY, serial, VirError("x", code=1))
        cut = (len(message) - 8).to_bytes(4) + message[4:-8]
        (reply,) = client.receive(cut)
        self.assertEqual(error_payload(VirError("x", code=1))[:-8], reply.payload)
