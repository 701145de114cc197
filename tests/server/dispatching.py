"""A client whose calls end in every way, for the tests of the dispatcher."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.rpc.message import Kind, vir_error
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from tests.server.fakes import Client, World

NUMBER = remote.PROGRAM.number
GET_VERSION = 4
RPC = (39, vir.VIR_FROM_RPC)


class Boom(Exception):
    """A driver's bug, with a text that no client may see."""


class DispatchCase(SynchronousTestCase):
    """An opened client of a fake driver that knows its version."""

    def setUp(self) -> None:
        self.world = World()
        self.hypervisor = self.world.hypervisor
        self.hypervisor.connect_get_version = lambda: 7
        self.client = self.world.opened()

    def assert_lives(self, client: Client | None = None) -> None:
        """The connection answers."""
        client = client or self.client
        self.assertEqual(7, client.result("connect_get_version"))
        self.assertTrue(client.lives)

    def refused(self, data: bytes, serial: int) -> VirError:
        """Send a message; return the error that comes back with this serial."""
        self.client.send(data)
        (message,) = self.client.take()
        self.assertEqual((Kind.ERROR, serial), (message.kind, message.serial))
        return vir_error(message.payload)

    def assert_unfit(self, error: VirError) -> None:
        """It says that a result did not fit, and nothing more."""
        self.assertEqual(
            (*RPC, "Unable to encode message payload"), (error.code, error.domain, error.message)
        )

    def assert_refused(self, data: bytes, serial: int, key: tuple[int, int], detail: str) -> None:
        """It is refused with this code, domain and text, and the connection lives on."""
        error = self.refused(data, serial)
        self.assertEqual((*key, detail), (error.code, error.domain, error.str2))
        self.assertEqual((-1, -1, 2), (error.int1, error.int2, error.level))
        self.assert_lives()
