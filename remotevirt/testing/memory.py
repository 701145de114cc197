"""A client in memory: calls to a daemon of this process, without a socket.

For tests of what a driver answers on the wire, in microseconds. It speaks the protocol as a real client does
(frames, serials, XDR), through a transport of Twisted's own for tests; what it cannot do is wait: a reply
that has not come when :meth:`MemoryClient.call` returns comes later, by :meth:`MemoryClient.reply`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport

from remotevirt.errors import RemotevirtError
from remotevirt.procedures import Program
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.message import Kind, Message, pack_call, parse_message, vir_error
from remotevirt.server import ServerFactory
from remotevirt.stubs import lxc, qemu, remote

__all__ = ["Disconnected", "MemoryClient", "NoReply"]

PROGRAMS: dict[int, Program] = {
    program.number: program for program in (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM)
}


class NoReply(RemotevirtError):
    """A call has not been answered (yet)."""


class Disconnected(RemotevirtError):
    """The daemon has closed the connection."""


class MemoryClient:
    """One connection.

    Args:
        factory: the daemon's listener.
        uri: what to open; None: nothing yet.

    Attributes:
        events: (procedure's name, struct) of each event that has come.
    """

    def __init__(self, factory: ServerFactory, uri: str | None = "test:///default") -> None:
        protocol = factory.buildProtocol(None)
        assert protocol is not None, "there is no room for a client"
        self.events: list[tuple[str, Any]] = []
        self._protocol = protocol
        self._transport = StringTransport()
        self._transport.abortConnection = self._transport.loseConnection  # type: ignore[method-assign]
        self._reader = FrameReader()
        self._serial = 0
        self._replies: dict[int, Message] = {}
        protocol.makeConnection(self._transport)  # type: ignore[no-untyped-call]
        if uri is not None:
            self.call("auth_list")
            self.call("connect_open", uri, 0)

    @property
    def connected(self) -> bool:
        """Whether the daemon has kept the connection."""
        self._read()
        return not self._transport.disconnecting

    def send(self, procedure: str, *args: Any, program: Program = remote.PROGRAM) -> int:
        """Send a call; return its serial.

        Args:
            procedure: its name, ``domain_lookup_by_name``.
            args: the fields of its arguments, in order.
            program: whose it is.
        """
        known = program.by_name[procedure]
        payload = b"" if known.args is None else known.args(*args).pack()
        self._serial += 1
        frame = pack_call(program.number, program.version, known.number, self._serial, payload)
        self._protocol.dataReceived(frame)
        return self._serial

    def reply(self, serial: int) -> Any:
        """Return the answer to a call: the struct of its result, None where it has none.

        Raises:
            VirError: the daemon refused.
            NoReply: it has not answered yet.
            Disconnected: it never will.
        """
        self._read()
        message = self._replies.pop(serial, None)
        if message is None:
            if self._transport.disconnecting:
                raise Disconnected("the daemon has closed the connection")
            raise NoReply(f"call {serial} has not been answered")
        if message.kind is Kind.ERROR:
            raise vir_error(message.payload)
        ret = PROGRAMS[message.program].procedures[message.procedure].ret
        return None if ret is None else ret.unpack(message.payload, 0)[0]

    def call(self, procedure: str, *args: Any, program: Program = remote.PROGRAM) -> Any:
        """Make a call, and return its result; raises as :meth:`reply` does."""
        return self.reply(self.send(procedure, *args, program=program))

    def close(self) -> None:
        """Vanish."""
        self._transport.loseConnection()
        self._protocol.connectionLost()

    def _read(self) -> None:
        data = self._transport.value()
        self._transport.clear()
        for frame in self._reader.feed(data):
            message = parse_message(frame)
            if message.kind is Kind.EVENT:
                procedure = PROGRAMS[message.program].procedures[message.procedure]
                assert procedure.args is not None
                self.events.append((procedure.name, procedure.args.unpack(message.payload, 0)[0]))
            elif message.kind in (Kind.REPLY, Kind.ERROR):
                self._replies[message.serial] = message

    def raw(self) -> bytes:
        """Return the bytes that have come and were not read as messages, as they are."""
        data = bytes(self._transport.value())
        self._transport.clear()
        return data
