"""The admin server: who may come in, and its place beside the other one."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.identity import Identity
from remotevirt.rpc.message import vir_error
from remotevirt.server import Limits, ServerFactory, Tracer
from remotevirt.stubs import remote
from tests.admin.fakes import ADMIN, LIBVIRTD, ROOT, AdminClient, AdminWorld


class Refusals(Tracer):
    """Keeps why clients were refused."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def client_refused(self, where: str, reason: str) -> None:
        """One was."""
        self.reasons.append(reason)


class AdmissionTests(SynchronousTestCase):
    """Who may come in."""

    def connect(self, identity: Identity) -> AdminClient:
        """A client, and why it was refused in ``self.reasons``."""
        tracer = Refusals()
        world = AdminWorld(tracers=[tracer])
        world.identity = identity
        client = world.admin()
        self.reasons = tracer.reasons
        return client

    def test_root(self) -> None:
        self.patch(os, "geteuid", lambda: 1000)
        client = self.connect(ROOT)
        self.assertTrue(client.lives)
        self.assertEqual([], self.reasons)

    def test_own_user(self) -> None:
        """Who runs the daemon may administrate it."""
        self.patch(os, "geteuid", lambda: 1000)
        self.assertTrue(self.connect(Identity(uid=1000, gid=1000, pid=1)).lives)

    def test_others(self) -> None:
        """They are cut off at once, take no place, and the trace hears of it."""
        self.patch(os, "geteuid", lambda: 0)
        client = self.connect(Identity(uid=1000, gid=0, pid=1))
        self.assertFalse(client.lives)
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual({}, client.world.daemon.servers["admin"].clients)
        self.assertEqual(1, len(self.reasons))
        self.assertIn("may not administrate the daemon", self.reasons[0])
        client.begin("connect_get_lib_version")
        self.assertEqual([], client.take())

    def test_network(self) -> None:
        """Nobody comes in from there, whoever they say they are."""
        for identity in (
            Identity("tcp", "127.0.0.1;99"),
            Identity("tls", "127.0.0.1;99", dn="CN=root", sasl="root"),
        ):
            self.assertFalse(self.connect(identity).lives, identity)

    def test_unidentified(self) -> None:
        """A listener that does not ask the kernel lets nobody in."""
        world = AdminWorld()
        world.listener = ServerFactory(world.server)
        self.assertFalse(world.admin().lives)


class PlaceTests(SynchronousTestCase):
    """Beside the other server."""

    def test_programs_are_apart(self) -> None:
        """Each server answers its own."""
        world = AdminWorld()
        opening = world.admin().ask("auth_list", program=remote.PROGRAM)
        self.assertEqual("Cannot find program 536903814 version 1", vir_error(opening.payload).message)
        answer = world.client(transport="unix").ask("auth_list")
        self.assertNotIn(b"Cannot find", answer.payload)

    def test_numbers_are_apart(self) -> None:
        """Each server counts its clients from 1."""
        world = AdminWorld()
        world.client(), world.client()
        client = world.admin()
        self.assertEqual(1, client.protocol.id)
        self.assertEqual(2, client.call("server_list_clients", LIBVIRTD, 0, 0).ret)
        self.assertEqual(1, client.call("server_list_clients", ADMIN, 0, 0).ret)

    def test_limits_are_its_own(self) -> None:
        """Those of the other server say nothing here."""
        world = AdminWorld(admin_limits=Limits(max_clients=2), max_clients=1)
        self.assertTrue(all([world.admin().lives, world.admin().lives]))
        self.assertIsNone(world.listener.buildProtocol(None))

    def test_drain(self) -> None:
        """When the daemon ends, its administrators are disconnected too."""
        world = AdminWorld()
        client = world.admin()
        drained = world.daemon.drain(10.0)
        self.assertFalse(client.lives)
        client.vanish()
        self.successResultOf(drained)
