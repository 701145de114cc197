"""A daemon with a driver of its own, a clock, and clients without sockets.

:class:`World` is the daemon, :class:`Client` one connection to it, :class:`Wire` its transport: it asks for a
pause as a socket's would, when more than 64 KiB are unread, and is strict where Twisted's own double is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.drivers import ClientInfo, DriverConnection, DriverURI, Event, EventHub, IDriver
from remotevirt.errors import VirError
from remotevirt.procedures import Program
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.message import Kind, Message, pack_call, parse_message, vir_error
from remotevirt.server import Daemon, Limits, ServerFactory, Tracer
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import (
    HypervisorDriver,
    NetworkDriver,
    NodeDeviceDriver,
    SecretDriver,
    StorageDriver,
)
from remotevirt.stubs.errors import NoSupport
from remotevirt.stubs.keepalive import KEEPALIVE_PROGRAM
from remotevirt.stubs.remote import DomainEventLifecycleMsg, NonnullDomain

__all__ = [
    "DOMAIN",
    "OTHER",
    "Client",
    "Descriptor",
    "FakeDriver",
    "FakeHypervisor",
    "Wire",
    "World",
    "lifecycle",
]

DOMAIN = NonnullDomain("one", b"1" * 16, 1)
OTHER = NonnullDomain("two", b"2" * 16, 2)

MOMENT = 0.01
"""Enough for what the server puts off to the reactor's next turn."""


def lifecycle(domain: NonnullDomain = DOMAIN, event: int = 2, detail: int = 0) -> Event:
    """A lifecycle event of a domain."""
    msg = DomainEventLifecycleMsg(domain, event, detail)
    return Event("domain", vir.VIR_DOMAIN_EVENT_ID_LIFECYCLE, domain.uuid, msg)


class _Assigned:
    """A test assigns the methods that it wants answered: ``hypervisor.connect_get_version = lambda: 7``.

    They may be assigned anew: the server, which keeps a method once it has found it, is given one that looks.
    """

    def __init__(self) -> None:
        self.__dict__["answers"] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        answers = self.__dict__["answers"]

        def look(*args: Any) -> Any:
            return answers[name](*args)

        self.__dict__.setdefault(name, look)
        answers[name] = value


class FakeHypervisor(_Assigned, HypervisorDriver):
    """The sub-driver for host and domains."""


class FakeStorage(_Assigned, StorageDriver):
    """The sub-driver for storage."""

    def connect_list_all_storage_pools(self, need_results: int, flags: int) -> Any:
        """There are none; that it is here says that there may be."""
        raise NoSupport("fake")


class FakeNetwork(_Assigned, NetworkDriver):
    """The sub-driver for networks."""

    def connect_list_all_networks(self, need_results: int, flags: int) -> Any:
        """There are none; that it is here says that there may be."""
        raise NoSupport("fake")


class FakeDevices(_Assigned, NodeDeviceDriver):
    """The sub-driver for node devices."""

    def connect_list_all_node_devices(self, need_results: int, flags: int) -> Any:
        """There are none; that it is here says that there may be."""
        raise NoSupport("fake")


class FakeSecrets(_Assigned, SecretDriver):
    """The sub-driver for secrets."""

    def connect_list_all_secrets(self, need_results: int, flags: int) -> Any:
        """There are none; that it is here says that there may be."""
        raise NoSupport("fake")


@implementer(IDriver)
class FakeDriver:
    """Answers ``fake:`` URIs with connections to one hypervisor.

    Attributes:
        opened: what :meth:`open` was called with.
        closed: how many connections were closed.
        result: what :meth:`open` returns (or raises) instead of a connection.
    """

    name = "fake"
    schemes = ("fake",)
    default_uri = "fake:///default"

    def __init__(self) -> None:
        self.hypervisor = FakeHypervisor()
        self.storage = FakeStorage()
        self.events = EventHub()
        self.opened: list[tuple[DriverURI, ClientInfo]] = []
        self.closed = 0
        self.result: Any = None

    def open(self, uri: DriverURI, client: ClientInfo) -> Any:
        """Open."""
        self.opened.append((uri, client))
        if isinstance(self.result, Exception):
            raise self.result
        return self.connection() if self.result is None else self.result

    def connection(self) -> DriverConnection:
        """A connection, as a test gives it to a Deferred that :meth:`open` has returned."""
        return DriverConnection(
            "fake:///here",
            hypervisor=self.hypervisor,
            storage=self.storage,
            network=FakeNetwork(),
            nodedev=FakeDevices(),
            secret=FakeSecrets(),
            events=self.events,
            on_close=self._on_close,
        )

    def _on_close(self) -> None:
        self.closed += 1


class Wire(StringTransport):
    """What is written is read at once, or, with ``reads`` False, when :meth:`read` is called.

    Attributes:
        received: what the client has read and nobody has looked at.
        unread: what it has not read.
        writes: how often something was written.
    """

    HIGH_WATER = 64 * 1024

    def __init__(self, reads: bool = True) -> None:
        super().__init__()
        self.reads = reads
        self.received = bytearray()
        self.unread = bytearray()
        self.writes = 0
        self._asked = False

    def write(self, data: bytes) -> None:
        """Take data; ask for a pause if it is too much."""
        assert isinstance(data, bytes)
        self.writes += 1
        self.unread += data
        if self.producer is not None and len(self.unread) > self.HIGH_WATER:
            self._asked = True
            self.producer.pauseProducing()
        if self.reads:
            self.read()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Tests that want to know replace it."""

    def read(self, size: int | None = None) -> None:
        """Let the client read; when it has read all, production goes on."""
        self.received += self.unread[:size]
        del self.unread[:size]
        if not self.unread and self._asked and self.producer is not None:
            self._asked = False
            self.producer.resumeProducing()

    @property
    def reading(self) -> bool:
        """Whether the server reads what the client sends."""
        return self.producerState == "producing" and not self.disconnecting

    @property
    def closing(self) -> bool:
        """Whether the server has closed after what is written, not at once."""
        return self.disconnecting and not self.disconnected


class World:
    """A daemon that serves the fake driver."""

    def __init__(self, tracers: Sequence[Tracer] = (), **limits: Any) -> None:
        self.clock = Clock()
        self.driver = FakeDriver()
        self.hypervisor = self.driver.hypervisor
        self.storage = self.driver.storage
        self.daemon = Daemon([self.driver], Limits(**limits), self.clock, tracers=tracers)
        self._factories: dict[tuple[Any, ...], ServerFactory] = {}

    def factory(self, readonly: bool = False, transport: str = "tcp", auth: str = "none") -> ServerFactory:
        """The listener of such clients."""
        key = (readonly, transport, auth)
        if key not in self._factories:
            self._factories[key] = ServerFactory(self.daemon.server, readonly, transport, auth=auth)
        return self._factories[key]

    def client(self, **options: Any) -> Client:
        """A client that has connected."""
        return Client(self, **options)

    def opened(self, flags: int = 0, **options: Any) -> Client:
        """A client that has opened."""
        reads = options.pop("reads", True)
        client = self.client(**options)
        reply = client.ask("connect_open", None, flags)
        assert reply.kind is Kind.REPLY, vir_error(reply.payload)
        client.wire.reads = reads
        return client

    def turn(self) -> None:
        """Let the reactor come round."""
        self.clock.advance(MOMENT)


class Client:
    """One client, which knows the wire and nothing else."""

    def __init__(
        self,
        world: World,
        readonly: bool = False,
        transport: str = "tcp",
        reads: bool = True,
        wire: Any = None,
        auth: str = "none",
    ) -> None:
        self.world = world
        self.wire = wire or Wire(reads)
        self.protocol: Any = self.listener(world, readonly, transport, auth).buildProtocol(None)
        self.protocol.makeConnection(self.wire)
        self._frames = FrameReader(descriptors=True)
        self._serial = 100
        self.kept: list[Message] = []

    def listener(self, world: Any, readonly: bool, transport: str, auth: str) -> ServerFactory:
        """Where it connects."""
        factory: ServerFactory = world.factory(readonly, transport, auth)
        return factory

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.protocol.dataReceived(data)

    def pack(self, name: str, *fields: Any, program: Program = remote.PROGRAM) -> tuple[int, bytes]:
        """Return the serial and the bytes of a call."""
        procedure = program.by_name[name]
        payload = procedure.args(*fields).pack() if procedure.args else b""
        self._serial += 1
        return self._serial, pack_call(
            program.number, program.version, procedure.number, self._serial, payload
        )

    def begin(self, name: str, *fields: Any, program: Program = remote.PROGRAM) -> int:
        """Call; return the serial."""
        serial, data = self.pack(name, *fields, program=program)
        self.send(data)
        return serial

    def ask(self, name: str, *fields: Any, program: Program = remote.PROGRAM) -> Message:
        """Call and return the answer; other messages stay for :meth:`take`."""
        return self.answer(self.begin(name, *fields, program=program))

    def answer(self, serial: int) -> Message:
        """The one answer to a call that has come."""
        self.kept += self._arrived()
        found = [m for m in self.kept if m.serial == serial and m.kind in (Kind.REPLY, Kind.ERROR)]
        assert len(found) == 1, f"{len(found)} answers to {serial}"
        self.kept.remove(found[0])
        return found[0]

    def result(self, name: str, *fields: Any, program: Program = remote.PROGRAM) -> Any:
        """Call and return the decoded result: the bare value of one field, else the struct."""
        reply = self.ask(name, *fields, program=program)
        if reply.kind is Kind.ERROR:
            raise vir_error(reply.payload)
        ret = program.by_name[name].ret
        if ret is None:
            assert reply.payload == b""
            return None
        value, end = ret.unpack(reply.payload, 0)
        assert end == len(reply.payload)
        return value[0] if len(value) == 1 else value

    def error(self, name: str, *fields: Any, program: Program = remote.PROGRAM) -> VirError:
        """Call and return the error."""
        reply = self.ask(name, *fields, program=program)
        assert reply.kind is Kind.ERROR, f"{name} was answered"
        return vir_error(reply.payload)

    def take(self) -> list[Message]:
        """All messages that have come and were not taken."""
        taken, self.kept = self.kept + self._arrived(), []
        return taken

    def events(self) -> list[tuple[str, Any]]:
        """The events among them: procedure's name and decoded message."""
        found = []
        for message in self.take():
            if message.kind is Kind.EVENT and message.program != KEEPALIVE_PROGRAM:
                procedure = remote.PROGRAM.procedures[message.procedure]
                assert message.serial == 1
                msg, end = procedure.args.unpack(message.payload, 0)
                assert end == len(message.payload)
                found.append((procedure.name, msg))
        return found

    def serials(self) -> list[int]:
        """The serials of what has come, in order."""
        return [message.serial for message in self.take()]

    def vanish(self) -> None:
        """The connection is lost."""
        self.wire.connected = False
        self.wire.producer = None
        self.protocol.connectionLost(Failure(ConnectionLost()))

    @property
    def lives(self) -> bool:
        """Whether the server still serves this client."""
        return not self.wire.disconnecting and self.protocol in self.world.daemon.clients

    def _arrived(self) -> list[Message]:
        data = bytes(self.wire.received)
        self.wire.received.clear()
        messages = [parse_message(frame) for frame in self._frames.feed(data)]
        assert self._frames.failure is None, self._frames.failure
        return messages


class Descriptor(FileDescriptor):
    """A transport that is a descriptor, as sockets are: Twisted's own buffering, and room for so many bytes.

    Attributes:
        room: how many bytes the system takes.
        sent: what it has taken.
        interest: what the reactor was asked to watch for.
    """

    def __init__(self) -> None:
        super().__init__(self)  # its own reactor: see below
        self.connected = 1
        self.room = 1 << 30
        self.sent = bytearray()
        self.interest: set[str] = set()
        self.aborted = False

    def writeSomeData(self, data: bytes) -> int:
        """Take as much as there is room for."""
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def writable(self) -> None:
        """Do what the reactor does when the descriptor can be written to."""
        assert "write" in self.interest
        self.doWrite()

    def abortConnection(self) -> None:
        """Cut off."""
        self.aborted = True
        self.disconnecting = True

    def addReader(self, reader: object) -> None:
        """As a reactor."""
        self.interest.add("read")

    def removeReader(self, reader: object) -> None:
        """As a reactor."""
        self.interest.discard("read")

    def addWriter(self, writer: object) -> None:
        """As a reactor."""
        self.interest.add("write")

    def removeWriter(self, writer: object) -> None:
        """As a reactor."""
        self.interest.discard("write")
