"""A contract that is loaded at run time is served like the compiled ones."""

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from remotevirt.drivers import DriverConnection, IDriver
from remotevirt.rpc import Connection, Kind, Role
from remotevirt.rpc.message import vir_error
from remotevirt.rpcgen.loader import load_files
from remotevirt.rpcgen.reference import ReferenceCodec
from remotevirt.rpcgen.runtime import load_program
from remotevirt.server import Daemon, ServerFactory
from remotevirt.server.daemon import PROGRAMS
from remotevirt.stubs import remote
from remotevirt.stubs.drivers import HypervisorDriver

CONTRACT = """
struct calc_add_args { int numbers<8>; string label<16>; };
struct calc_add_ret { int sum; };
struct calc_divide_args { int dividend; int divisor; };
struct calc_divide_ret { int quotient; int rest; };

program CALC_PROGRAM {
    version CALC_VERSION {
        calc_add_ret CALC_PROC_ADD(calc_add_args) = 1;
        calc_divide_ret CALC_PROC_DIVIDE(calc_divide_args) = 2;
        void CALC_PROC_FORGET(void) = 3;
    } = 4;
} = 0x20009999;
"""


class Calculator(HypervisorDriver):
    """Answers the program of the contract above, all but ``forget``."""

    def __init__(self, program: Any) -> None:
        self.divided = program.by_name["divide"].ret

    def calc_add(self, numbers: list[int], label: str) -> int:
        return sum(numbers) if label == "sum" else 0

    def calc_divide(self, dividend: int, divisor: int) -> Any:
        return self.divided(*divmod(dividend, divisor))


class RuntimeProgramTests(SynchronousTestCase):
    """A daemon with a program of its own beside libvirt's."""

    def setUp(self) -> None:
        path = Path(self.mktemp())
        path.write_text(CONTRACT)
        self.contract = load_files([path]).contract
        program = load_program(self.contract, "calc")

        @implementer(IDriver)
        class Driver:
            name = "calc"
            schemes = ("calc",)
            default_uri = "calc:///"

            def open(self, uri: Any, client: Any) -> DriverConnection:
                return DriverConnection(uri.text, hypervisor=Calculator(program))

        daemon = Daemon([Driver()], reactor=Clock(), programs=(*PROGRAMS, program))
        self.server = ServerFactory(daemon.server).buildProtocol(None)
        self.transport = StringTransport()
        self.server.makeConnection(self.transport)
        self.client = Connection(Role.CLIENT)
        self.codec = ReferenceCodec(self.contract)
        self.call(remote.PROGRAM.number, 1, 1, remote.ConnectOpenArgs(None, 0).pack())

    def call(self, *call: Any) -> Any:
        """Call and return the reply."""
        _, data = self.client.call(*call)
        self.server.dataReceived(data)
        (message,) = self.client.receive(self.transport.value())
        self.transport.clear()
        return message

    def test_bare_result(self) -> None:
        """Arguments come decoded, in order; a result of one field is returned bare."""
        arguments = self.codec.pack("calc_add_args", {"numbers": [1, 2, 39], "label": "sum"})
        reply = self.call(0x20009999, 4, 1, arguments)
        self.assertIs(reply.kind, Kind.REPLY)
        self.assertEqual(self.codec.unpack("calc_add_ret", reply.payload), {"sum": 42})

    def test_struct_result(self) -> None:
        """A result of several fields is returned as its struct."""
        arguments = self.codec.pack("calc_divide_args", {"dividend": 17, "divisor": 5})
        reply = self.call(0x20009999, 4, 2, arguments)
        self.assertEqual(self.codec.unpack("calc_divide_ret", reply.payload), {"quotient": 3, "rest": 2})

    def test_not_decodable(self) -> None:
        """A bound of the contract is enforced: nine numbers where eight may come."""
        reply = self.call(0x20009999, 4, 1, b"\0\0\0\x09" + bytes(64))
        error = vir_error(reply.payload)
        self.assertEqual((error.code, error.message), (39, "Unable to decode message payload"))

    def test_unanswered(self) -> None:
        """What the driver has no method for is not supported."""
        error = vir_error(self.call(0x20009999, 4, 3).payload)
        self.assertEqual((error.code, error.detail), (3, "virForget"))

    def test_unknown_version(self) -> None:
        """Another version of the program is unknown."""
        error = vir_error(self.call(0x20009999, 3, 1).payload)
        self.assertEqual(error.message, f"Cannot find program {0x20009999} version 3")

    def test_unknown_program(self) -> None:
        """A contract has the programs it declares and no others."""
        self.assertRaises(LookupError, load_program, self.contract, "calculus")
