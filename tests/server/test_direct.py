"""Sending past the transport's queue, on transports that are descriptors."""

from __future__ import annotations

from typing import Any

from twisted.internet import main
from twisted.internet.abstract import FileDescriptor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from remotevirt.drivers import DriverConnection, IDriver
from remotevirt.rpc import Connection, Role
from remotevirt.server import Daemon, ServerFactory
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.remote import PROGRAM


class Socket(FileDescriptor):
    """A descriptor that takes as many bytes as it is told to, and its own reactor."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()
        self.taken = b""
        self.room: int | None = None
        self.broken = False
        super().__init__(reactor=self)
        self.connected = 1

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def addReader(self, reader: Any) -> None:
        """Nothing is read by itself."""

    removeReader = addReader

    def writeSomeData(self, data: Any) -> Any:
        if self.broken:
            return main.CONNECTION_LOST
        size = len(data) if self.room is None else min(self.room, len(data))
        self.taken += bytes(data[:size])
        return size


@implementer(IDriver)
class Driver:
    """Answers with one long text."""

    name = "long"
    schemes = ("long",)
    default_uri = "long:///"

    def open(self, uri: Any, client: Any) -> DriverConnection:
        class Hypervisor(HypervisorDriver):
            def connect_get_capabilities(self) -> str:
                return "x" * 1000

        return DriverConnection(uri.text, hypervisor=Hypervisor())


class DirectTests(SynchronousTestCase):
    """Replies reach a socket at once, whole and in order."""

    def setUp(self) -> None:
        self.server = ServerFactory(
            Daemon([Driver()], reactor=Clock()).server, transport="tcp"
        ).buildProtocol(None)
        self.socket = Socket()
        self.server.makeConnection(self.socket)
        self.client = Connection(Role.CLIENT)
        self.call("connect_open", remote.ConnectOpenArgs(None, 0).pack())

    def call(self, name: str, payload: bytes = b"") -> None:
        _, data = self.client.call(PROGRAM.number, 1, PROGRAM.by_name[name].number, payload)
        self.server.dataReceived(data)

    def texts(self) -> list[int]:
        """The lengths of the texts that have arrived whole."""
        messages = self.client.receive(self.socket.taken)
        self.socket.taken = b""
        return [len(m.payload) for m in messages]

    def test_at_once(self) -> None:
        """What the socket takes is never queued, and the reactor not asked to write."""
        self.assertEqual([0], self.texts())
        self.call("connect_get_capabilities")
        self.assertEqual([1004], self.texts())
        self.assertEqual((set(), b""), (self.socket.writers, self.socket.dataBuffer))

    def test_some(self) -> None:
        """The rest is queued, later replies behind it, and the reactor sends them in order."""
        self.texts()
        self.socket.room = 100
        self.call("connect_get_capabilities")
        self.call("connect_get_capabilities")
        self.assertEqual({self.socket}, self.socket.writers)
        self.assertEqual([], self.texts())
        self.socket.room = None
        self.socket.doWrite()
        self.assertEqual([1004, 1004], self.texts())
        self.assertEqual(set(), self.socket.writers)
        self.call("connect_get_capabilities")
        self.assertEqual(([1004], set()), (self.texts(), self.socket.writers))

    def test_lost(self) -> None:
        """A connection that turns out to be gone is left to the reactor, which will notice."""
        self.texts()
        self.socket.broken = True
        self.call("connect_get_capabilities")
        self.assertEqual({self.socket}, self.socket.writers)
        self.assertIs(main.CONNECTION_LOST, self.socket.doWrite())
