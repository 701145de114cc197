"""Bytes of any kind, at any time: nothing escapes, and at most their own connection ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.rpc.keepalive import PING, PONG
from remotevirt.rpc.message import Kind, pack_call, pack_message
from remotevirt.server.daemon import PROGRAMS
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain
from remotevirt.stubs.remote import ConnectListAllDomainsRet, ConnectOpenArgs, DomainGetInfoRet
from tests.server.fakes import DOMAIN, Client, World, lifecycle
from tests.strategies import Stubs, bounded, bytes_with_splits, mutated

NUMBER = remote.PROGRAM.number
STUBS = {program.name: Stubs(program.name) for program in PROGRAMS}
CALLS = [
    (program, procedure)
    for program in PROGRAMS
    for procedure in program.procedures.values()
    if procedure.name not in ("connect_open", "connect_close")
]
BY_ARGS = {(name, cls): struct.name for name, stubs in STUBS.items() for struct, cls in stubs.structs()}
OPEN = pack_call(NUMBER, 1, 1, 0, ConnectOpenArgs(None, 0).pack())
CONNECT_CLOSE = 2
CLOSE = pack_call(NUMBER, 1, CONNECT_CLOSE, 0)
PROBE = 0xFEEDBEEF


STEPS = ["publish", "read", "turn", "interval", "result", "failure", "register", CLOSE]
"""What else can happen."""


@st.composite
def calls(draw: Any) -> bytes:
    """A call of any procedure with arguments that fit, or with zeros."""
    program, procedure = draw(st.sampled_from(CALLS))
    payload = b""
    if procedure.args is not None:
        stubs = STUBS[program.name]
        name = BY_ARGS[program.name, procedure.args]
        declared = draw(st.one_of(st.none(), stubs.values(name)))
        if declared is None:
            payload = bytes(draw(st.integers(0, 200)))
        else:
            definition = stubs.contract[name]
            fields = [stubs.to_stub(field, declared[field.name]) for field in definition.fields]
            payload = procedure.args(*fields).pack()
    serial = draw(st.integers(0, 0xFFFFFFFF).filter(lambda number: number != PROBE))
    return pack_call(program.number, program.version, procedure.number, serial, payload)


messages = st.one_of(
    calls(),
    st.sampled_from([PING, PONG, OPEN, pack_call(NUMBER, 1, 4, 7)]),
    st.builds(
        pack_message,
        st.sampled_from([NUMBER, 0x20008087, 0x6B656570, 1]),
        st.integers(0, 3),
        st.integers(-2, 460).filter(lambda procedure: procedure != CONNECT_CLOSE),
        st.integers(-1, 9),
        st.integers(0, 9),
        st.integers(-1, 4),
        st.binary(max_size=20),
    ),
)
"""What is at least a message, and does not say goodbye."""


class AdversityCase(SynchronousTestCase):
    """A daemon whose driver answers some calls: at once, later, never, with errors."""

    def setUp(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with a new daemon; properties do so for each example."""
        self.world = World(max_client_requests=3)
        hypervisor = self.world.hypervisor
        self.pending: list[Deferred[Any]] = []
        hypervisor.connect_get_version = lambda: 7
        hypervisor.connect_get_type = lambda: succeed("FAKE")
        hypervisor.connect_get_hostname = lambda: "x" * 70_000
        hypervisor.connect_list_all_domains = lambda need, flags: ConnectListAllDomainsRet([DOMAIN], 1)
        hypervisor.domain_get_info = lambda dom: DomainGetInfoRet(1, 2, 3, 4, 5)
        hypervisor.domain_get_autostart = self._later
        hypervisor.connect_num_of_domains = self._later
        hypervisor.domain_lookup_by_name = self._missing

    def _later(self, *_: object) -> Deferred[Any]:
        self.pending.append(Deferred())
        return self.pending[-1]

    def _missing(self, name: str) -> None:
        raise NoDomain(name)

    def assert_others_are_served(self) -> None:
        """A client that comes gets its answer, and nothing was logged as an error."""
        client = self.world.opened()
        self.assertEqual(7, client.result("connect_get_version"))
        self.assertEqual([], self.flushLoggedErrors())
        client.vanish()
        self.assertEqual([], self.world.daemon.clients)

    def settle(self, client: Client) -> None:
        """End a client's life and check that it leaves nothing."""
        client.vanish()
        while self.pending:
            self.pending.pop().callback(1)
        self.assertNotIn(client.protocol, self.world.daemon.clients)
        self.assertEqual(set(), client.protocol.dispatcher.in_flight)


class RandomBytesTests(AdversityCase):
    """Bytes without sense."""

    @bounded(150)
    @given(st.lists(st.binary(max_size=80), max_size=6), st.booleans(), st.sampled_from(["unix", "tcp"]))
    def test_any_bytes(self, pieces: list[bytes], opened: bool, transport: str) -> None:
        """The connection lives on or ends; nobody else notices."""
        self.renew()
        client = (self.world.opened if opened else self.world.client)(transport=transport)
        for piece in pieces:
            client.send(piece)
        self.assertEqual(client.protocol.reader.failure is not None, client.wire.disconnecting)
        self.settle(client)
        self.assert_others_are_served()

    @bounded(150)
    @given(st.binary(max_size=120), st.integers(0, 460))
    def test_any_payload(self, payload: bytes, procedure: int) -> None:
        """A call with a payload of any bytes gets one answer, and the connection lives on."""
        self.renew()
        client = self.world.opened()
        client.send(pack_call(NUMBER, 1, procedure, 5, payload))
        while self.pending:
            self.pending.pop().callback(1)
        if procedure != CONNECT_CLOSE:
            self.assertIn(client.answer(5).kind, (Kind.REPLY, Kind.ERROR))
            client.send(pack_call(NUMBER, 1, 4, PROBE))
            client.answer(PROBE)
            self.assertTrue(client.lives)
        self.settle(client)


class ConversationTests(AdversityCase):
    """Conversations that could be real, in any pieces, and slightly wrong."""

    @bounded(100)
    @given(st.lists(messages, max_size=8), st.data())
    def test_whole_messages(self, parts: list[bytes], data: st.DataObject) -> None:
        """Messages whose frames are right never end the connection; each call is answered once."""
        self.renew()
        client = self.world.opened(transport="tcp")
        stream = b"".join(part for part in parts if part[19] not in (4, 5))
        for piece in data.draw(bytes_with_splits(stream)):
            client.send(piece)
        client.send(pack_call(NUMBER, 1, 4, PROBE))
        while self.pending:
            self.pending.pop(0).callback(1)
        self.assertTrue(client.lives)
        client.answer(PROBE)
        self.settle(client)
        self.assert_others_are_served()

    @bounded(150)
    @given(st.lists(messages, min_size=1, max_size=6).map(b"".join).flatmap(mutated), st.data())
    def test_mutated(self, stream: bytes, data: st.DataObject) -> None:
        """Changed bytes in whole conversations."""
        self.renew()
        client = self.world.opened(transport=data.draw(st.sampled_from(("unix", "tcp"))))
        for piece in data.draw(bytes_with_splits(stream)):
            client.send(piece)
        self.assertEqual(client.protocol.reader.failure is not None, client.wire.disconnecting)
        self.settle(client)
        self.assert_others_are_served()

    @bounded(150)
    @given(
        st.lists(
            st.one_of(
                messages,
                st.sampled_from(
                    ["publish", "read", "turn", "interval", "result", "failure", "register", CLOSE]
                ),
            ),
            max_size=25,
        ),
        st.booleans(),
    )
    def test_anything_in_any_order(self, steps: list[Any], reads: bool) -> None:
        """Calls, events, results, time, and a client that reads or does not, until it vanishes."""
        self.renew()
        client = self.world.opened(reads=reads)
        client.begin("connect_supports_feature", 10)
        register = client.pack("connect_domain_event_callback_register_any", 0, None)[1]
        for step in steps:
            if isinstance(step, bytes):
                if client.wire.reading:
                    client.send(step)
            elif step == "register":
                if client.wire.reading:
                    client.send(register)
            elif step == "publish":
                self.world.driver.events.publish(lifecycle(DOMAIN._replace(name="n" * 30_000)))
            elif step == "read":
                client.wire.read()
            elif step == "turn":
                self.world.turn()
            elif step == "interval":
                self.world.clock.advance(5)
            elif self.pending:
                deferred = self.pending.pop(0)
                deferred.callback(1) if step == "result" else deferred.errback(NoDomain("x"))
        self.assertLess(len(client.wire.unread), 16 << 20)
        self.settle(client)
        self.assert_others_are_served()


class EveryCallTests(AdversityCase):
    """Each procedure on its own."""

    def test_short_long_and_zero(self) -> None:
        """Without arguments, with zeros, with ones, with too much: always one answer."""
        client = self.world.opened()
        for program, procedure in CALLS:
            for payload in (b"", bytes(4), bytes(4096), b"\xff" * 64, b"\0\0\0\1" * 64, bytes(100_000)):
                client.send(pack_call(program.number, program.version, procedure.number, 5, payload))
                while self.pending:
                    self.pending.pop().callback(1)
                client.answer(5)
                self.assertTrue(client.lives, procedure)
        self.assertEqual([], self.flushLoggedErrors())

    def test_many_clients_that_only_connect(self) -> None:
        """They leave nothing, whatever they leave with."""
        for number in range(500):
            client = self.world.opened() if number % 2 else self.world.client()
            client.send(OPEN[: number % len(OPEN)])
            client.vanish()
        self.assertEqual([], self.world.daemon.clients)
        self.assertEqual(self.world.driver.closed, 250)
        self.assert_others_are_served()
