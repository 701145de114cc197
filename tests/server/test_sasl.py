"""SASL in a session: what a client may do before and after, and the security layer on the wire."""

from __future__ import annotations

from typing import Any

import scramp
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import AuthRefused, IUser, User
from remotevirt.errors import VirError
from remotevirt.rpc.message import Kind
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from tests.auth.fakes import World as Users
from tests.auth.test_kerberos import SEALED, SIGNED, FakeContext, framed
from tests.server.fakes import Client, World

NONE, SASL = remote.AuthType.REMOTE_AUTH_NONE, remote.AuthType.REMOTE_AUTH_SASL


class SaslTestCase(SynchronousTestCase):
    """Clients of a daemon that wants SASL."""

    def setUp(self) -> None:
        self.world = World()
        self.users = Users(["SCRAM-SHA-256", "PLAIN", "GSSAPI"], kerberos=FakeContext)

    def client(self, transport: str = "tls") -> Client:
        """A client that has connected."""
        self.world.daemon.sasl = self.users.service
        return self.world.client(transport=transport, auth="sasl")

    def start(self, client: Client, mechanism: str, data: bytes | None) -> Any:
        """auth_sasl_init and auth_sasl_start."""
        client.result("auth_sasl_init")
        return client.result("auth_sasl_start", mechanism, int(data is None), data or b"")

    def assert_refused(self, client: Client, name: str, *fields: Any) -> None:
        """A call is refused with no more than that, and the client is no further."""
        error = client.error(name, *fields)
        self.assertEqual(vir.VIR_ERR_AUTH_FAILED, error.code)
        self.assertEqual("authentication failed: authentication failed", error.message)
        self.assertEqual([SASL], client.result("auth_list"))
        self.assertIn("authentication required", client.error("connect_open", None, 0).message)


class SessionTests(SaslTestCase):
    """The calls."""

    def test_nothing_before(self) -> None:
        client = self.client()
        self.assertEqual([SASL], client.result("auth_list"))
        for name, fields in {
            "connect_open": (None, 0),
            "connect_get_hostname": (),
            "connect_close": (),
        }.items():
            self.assertIn("authentication required", client.error(name, *fields).message)
        self.assertEqual([], self.world.driver.opened)
        self.assertTrue(client.lives)

    def test_scram(self) -> None:
        client = self.client()
        self.assertEqual("SCRAM-SHA-256,PLAIN,GSSAPI", client.result("auth_sasl_init"))
        scram = scramp.ScramClient(["SCRAM-SHA-256"], "alice", "secret")
        first = scram.get_client_first().encode()
        complete, nil, data = client.result("auth_sasl_start", "SCRAM-SHA-256", 0, first)
        self.assertEqual((0, 0), (complete, nil))
        scram.set_server_first(data.decode())
        complete, nil, data = client.result("auth_sasl_step", 0, scram.get_client_final().encode())
        self.assertEqual((1, 0), (complete, nil))
        scram.set_server_final(data.decode())
        self.assertEqual([NONE], client.result("auth_list"))
        self.assertIs(None, client.result("connect_open", None, 0))

    def test_nil_is_not_empty(self) -> None:
        """A first message that was not sent along is asked for; an empty one is wrong."""
        client = self.client()
        self.assertEqual((0, 0, b""), self.start(client, "PLAIN", None))
        self.assertEqual((1, 1, b""), client.result("auth_sasl_step", 0, b"\0alice\0secret"))
        client = self.client()
        client.result("auth_sasl_init")
        self.assert_refused(client, "auth_sasl_start", "PLAIN", 0, b"")

    def test_refused(self) -> None:
        client = self.client()
        client.result("auth_sasl_init")
        self.assert_refused(client, "auth_sasl_start", "PLAIN", 0, b"\0alice\0wrong")
        client = self.client()
        client.result("auth_sasl_init")
        self.assert_refused(client, "auth_sasl_start", "CRAM-MD5", 0, b"")
        client = self.client()
        client.result("auth_sasl_init")
        self.assert_refused(client, "auth_sasl_step", 0, b"")

    def test_out_of_order(self) -> None:
        """Without beginning, or beginning twice."""
        client = self.client()
        self.assertRaises(VirError, client.result, "auth_sasl_step", 0, b"")
        self.assertRaises(VirError, client.result, "auth_sasl_start", "PLAIN", 0, b"\0alice\0secret")
        client.result("auth_sasl_init")
        self.assertRaises(VirError, client.result, "auth_sasl_init")
        self.assertIn("authentication required", client.error("connect_open", None, 0).message)

    def test_nothing_to_offer(self) -> None:
        """As in libvirtd."""
        self.users = Users(["SCRAM-SHA-256"])
        error = self.client("tcp").error("auth_sasl_init")
        self.assertEqual("authentication failed: authentication failed", error.message)

    def test_client_that_vanishes(self) -> None:
        """Its exchange ends: even the right answer comes too late."""
        client = self.client()
        scram = scramp.ScramClient(["SCRAM-SHA-256"], "alice", "secret")
        _, _, data = self.start(client, "SCRAM-SHA-256", scram.get_client_first().encode())
        scram.set_server_first(data.decode())
        exchange = client.protocol.session._authentication._exchange
        client.vanish()
        self.failureResultOf(exchange.step(scram.get_client_final().encode()), AuthRefused)

    def test_user_is_logged_out(self) -> None:
        """The realm hears when the client goes."""
        left: list[str] = []
        realm: Any = self.users.realm
        realm.requestAvatar = lambda name, mind, *_: (IUser, User("alice"), lambda: left.append("alice"))
        client = self.client()
        self.start(client, "PLAIN", b"\0alice\0secret")
        self.assertEqual("alice", client.protocol.identity.sasl)
        self.assertEqual([], left)
        client.vanish()
        self.assertEqual(["alice"], left)


class LayerTests(SaslTestCase):
    """What is on the wire once a security layer is in place."""

    def chosen(self, client: Client, after: bytes = b"") -> None:
        """Choose encryption; perhaps other bytes arrive with that message."""
        self.start(client, "GSSAPI", b"token")
        _, data = client.pack("auth_sasl_step", 0, SIGNED + b"\4\0\x20\0")
        client.wire.received.clear()
        client.send(data + after)
        self.world.turn()

    def test_from_the_reply_on(self) -> None:
        client = self.client("tcp")
        self.assertEqual("GSSAPI", client.result("auth_sasl_init"))
        client = self.client("tcp")
        self.chosen(client)
        (reply,) = client.take()  # itself as it is
        self.assertEqual((Kind.REPLY, b"\0\0\0\1\0\0\0\1\0\0\0\0"), (reply.kind, reply.payload))
        serial, call = client.pack("connect_open", None, 0)
        client.send(framed(SEALED + call)[:20])
        client.send(framed(SEALED + call)[20:])
        sent = bytes(client.wire.received)
        prefix = framed(SEALED + b"x" * (len(sent) - 4 - len(SEALED)))[: 4 + len(SEALED)]
        self.assertTrue(sent.startswith(prefix), sent)
        client.wire.received[:] = sent[len(prefix) :]
        self.assertEqual(Kind.REPLY, client.answer(serial).kind)

    def test_unprotected_call_afterwards(self) -> None:
        client = self.client("tcp")
        self.chosen(client)
        _, call = client.pack("connect_open", None, 0)
        client.send(call + call)
        self.assertFalse(client.lives)
        self.assertEqual([], self.world.driver.opened)

    def test_unprotected_call_that_came_along(self) -> None:
        """Whoever can write into the connection must not get a call served as the user's."""
        for after in (self.client().pack("connect_open", None, 0)[1], b"\0"):
            client = self.client("tcp")
            self.chosen(client, after)
            self.assertFalse(client.lives)
            self.assertEqual([], self.world.driver.opened)
