"""What the admin program answers about servers and clients. The errors are libvirtd 9.0.0's, measured."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.admin import AdminSession, Controls
from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.rpc.message import Kind, pack_call
from remotevirt.server import ServerFactory
from remotevirt.server.session import LIBVIRT_VERSION
from remotevirt.stubs import admin
from remotevirt.stubs import constants as vir
from tests.admin.fakes import ADMIN, LIBVIRTD, NOBODY, AdminWorld, FakeLogs, uint
from tests.server.fakes import Client

UNKNOWN_SERVER = (vir.VIR_ERR_NO_SERVER, vir.VIR_FROM_RPC, "Server not found: No server named 'nobody'")
UNKNOWN_CLIENT = (
    vir.VIR_ERR_NO_CLIENT,
    vir.VIR_FROM_RPC,
    "Client not found: No client with matching ID '77'",
)
GONE = admin.NonnullClient(LIBVIRTD, 77, 0, 0)
SOMETHING = Controls(FakeLogs(), lambda: None, lambda seconds: None, lambda: None)


def facts(error: VirError) -> tuple[int, int, str]:
    """Code, domain, text."""
    return error.code, error.domain, error.message


def arguments(procedure: Any, flags: int) -> list[Any]:
    """Arguments that mean something, for any procedure."""
    values = {
        "srv": LIBVIRTD,
        "clnt": GONE,
        "id": 77,
        "name": "libvirtd",
        "params": [],
        "filters": None,
        "outputs": None,
        "timeout": 0,
        "need_results": 1,
        "flags": flags,
    }
    return [values[name] for name in procedure.args._fields]


class AdminCase(SynchronousTestCase):
    """A daemon, and an administrator."""

    def setUp(self) -> None:
        self.world = AdminWorld(SOMETHING)
        self.admin = self.world.admin()

    def identified(self, identity: Identity, **options: Any) -> Client:
        """A client of the other server, of whom this is known."""
        transport = identity.transport
        self.world._factories[False, transport, "none"] = ServerFactory(
            self.world.daemon.server, transport=transport, identify=lambda *_: identity
        )
        return self.world.client(transport=transport, **options)


class ProgramTests(AdminCase):
    """All procedures."""

    def test_every_procedure_is_answered(self) -> None:
        for procedure in admin.PROGRAM.procedures.values():
            self.assertTrue(hasattr(AdminSession, procedure.name), procedure)

    def test_no_flag_is_known(self) -> None:
        """Each call refuses them, with libvirt's name for itself."""
        tried = 0
        for procedure in admin.PROGRAM.procedures.values():
            if procedure.args is not None:
                error = self.admin.refused(procedure.name, *arguments(procedure, 4))
                function = f"admin{str(procedure.api).removeprefix('virAdm')}"
                text = f"unsupported flags (0x4) in function {function}"
                self.assertEqual((vir.VIR_ERR_INVALID_ARG, vir.VIR_FROM_ADMIN, text), facts(error))
                self.assertEqual((function, "flags", 0, 0), (error.str1, error.str2, error.int1, error.int2))
                tried += 1
        self.assertEqual(18, tried)

    def test_unknown_server(self) -> None:
        """Each call that names one says so."""
        found = [p for p in admin.PROGRAM.procedures.values() if p.args and "srv" in p.args._fields]
        self.assertEqual(7, len(found))
        for procedure in found:
            fields = [NOBODY if value is LIBVIRTD else value for value in arguments(procedure, 0)]
            self.assertEqual(UNKNOWN_SERVER, facts(self.admin.refused(procedure.name, *fields)))
        self.assertEqual(UNKNOWN_SERVER, facts(self.admin.refused("connect_lookup_server", "nobody", 0)))

    def test_not_plugged_in(self) -> None:
        """What the daemon has no control for is not supported."""
        client = AdminWorld().admin()
        names = [
            "connect_get_logging_filters",
            "connect_set_logging_filters",
            "connect_get_logging_outputs",
            "connect_set_logging_outputs",
            "connect_set_daemon_timeout",
            "connect_daemon_shutdown",
        ]
        for name in names:
            procedure = admin.PROGRAM.by_name[name]
            error = client.refused(name, *arguments(procedure, 0))
            self.assertEqual((vir.VIR_ERR_NO_SUPPORT, procedure.api), (error.code, error.str2))


class ConnectionTests(AdminCase):
    """Opening and closing."""

    def test_nothing_has_to_be_opened(self) -> None:
        """Calls before "open" and after a second one are answered."""
        self.assertEqual(LIBVIRT_VERSION, self.admin.call("connect_get_lib_version"))
        self.admin.call("connect_open", 0)
        self.admin.call("connect_open", 0)
        self.assertEqual(LIBVIRT_VERSION, self.admin.call("connect_get_lib_version"))

    def test_close(self) -> None:
        """The daemon disconnects, after the reply."""
        self.admin.call("connect_close")
        self.world.turn()
        self.assertTrue(self.admin.wire.closing)

    def test_keepalive_is_nothing_to_ask_for(self) -> None:
        """No client of the program can; nobody is pinged."""
        self.world.clock.advance(1000.0)
        self.assertEqual([], self.admin.take())
        self.assertTrue(self.admin.lives)


class ServerTests(AdminCase):
    """Servers."""

    def test_list(self) -> None:
        """By name; or only how many."""
        self.assertEqual(([ADMIN, LIBVIRTD], 2), self.admin.call("connect_list_servers", 1, 0))
        self.assertEqual(([], 2), self.admin.call("connect_list_servers", 0, 0))

    def test_lookup(self) -> None:
        self.assertEqual(LIBVIRTD, self.admin.call("connect_lookup_server", "libvirtd", 0))

    def test_long_name(self) -> None:
        """What is not there is not repeated in full."""
        error = self.admin.refused("connect_lookup_server", "x" * 1_000_000, 0)
        self.assertEqual(f"Server not found: No server named '{'x' * 100}'", error.message)


class ListTests(AdminCase):
    """Clients in lists."""

    def test_list(self) -> None:
        """With number, time and transport, in the order in which they came."""
        for transport in ("unix", "tcp", "tls"):
            self.world.client(transport=transport).protocol.connected_at = 1234.5
        clients, count = self.admin.call("server_list_clients", LIBVIRTD, 1, 0)
        wanted = [admin.NonnullClient(LIBVIRTD, n + 1, 1234, n) for n in range(3)]
        self.assertEqual((wanted, 3), (clients, count))
        self.assertEqual(([], 3), self.admin.call("server_list_clients", LIBVIRTD, 0, 0))
        self.assertEqual(wanted[1], self.admin.call("server_lookup_client", LIBVIRTD, 2, 0))

    def test_gone(self) -> None:
        """A client that has gone is not found any more."""
        client = self.world.client()
        client.vanish()
        self.assertEqual(([], 0), self.admin.call("server_list_clients", LIBVIRTD, 1, 0))
        self.assertEqual(
            vir.VIR_ERR_NO_CLIENT, self.admin.refused("server_lookup_client", LIBVIRTD, 1, 0).code
        )

    def test_too_many(self) -> None:
        """More than the contract's bound are counted, but not listed."""
        clients: Any = self.world.daemon.server.clients
        clients.update(dict.fromkeys(range(1, admin.ADMIN_CLIENT_LIST_MAX + 2)))
        self.assertEqual(([], 16385), self.admin.call("server_list_clients", LIBVIRTD, 0, 0))
        error = self.admin.refused("server_list_clients", LIBVIRTD, 1, 0)
        self.assertEqual("Too many clients '16385' for limit '16384'", error.message)
        clients.clear()

    def test_unknown(self) -> None:
        for name, fields in (
            ("server_lookup_client", (LIBVIRTD, 77, 0)),
            ("client_get_info", (GONE, 0)),
            ("client_close", (GONE, 0)),
        ):
            self.assertEqual(UNKNOWN_CLIENT, facts(self.admin.refused(name, *fields)), name)


class InfoTests(AdminCase):
    """Who a client is."""

    def info(self, client: Client) -> dict[str, Any]:
        """What is said of it, in order."""
        return self.admin.params("client_get_info", GONE._replace(id=client.protocol.id), 0)

    def test_unix(self) -> None:
        client = self.identified(Identity(uid=0, gid=0, pid=4711))
        wanted = {
            "readonly": 0,
            "unix_user_id": 0,
            "unix_user_name": "root",
            "unix_group_id": 0,
            "unix_group_name": "root",
            "unix_process_id": 4711,
        }
        self.assertEqual(list(wanted.items()), list(self.info(client).items()))

    def test_types(self) -> None:
        """libvirtd's."""
        client = self.identified(Identity(uid=0, gid=0, pid=4711))
        params = self.admin.call("client_get_info", GONE._replace(id=client.protocol.id), 0)
        self.assertEqual([6, 1, 7, 1, 7, 1], [param.value.type for param in params])

    def test_user_without_name(self) -> None:
        """What the system does not know is left out."""
        info = self.info(self.identified(Identity(uid=2**30 + 7, gid=2**30 + 7, pid=1)))
        self.assertEqual(["readonly", "unix_user_id", "unix_group_id", "unix_process_id"], list(info))

    def test_addresses(self) -> None:
        """As URIs write them."""
        for address, wanted in (("10.0.0.1;4711", "10.0.0.1:4711"), ("fe80::1;4711", "[fe80::1]:4711")):
            info = self.info(self.identified(Identity("tcp", address)))
            self.assertEqual({"readonly": 0, "sock_addr": wanted}, info)

    def test_names(self) -> None:
        """Those of SASL and of the certificate."""
        identity = Identity("tls", "10.0.0.1;4711", dn="C=GB,CN=client", sasl="fred")
        self.assertEqual(
            {
                "readonly": 0,
                "sasl_user_name": "fred",
                "sock_addr": "10.0.0.1:4711",
                "tls_x509_dname": "C=GB,CN=client",
            },
            self.info(self.identified(identity)),
        )

    def test_readonly(self) -> None:
        """By its listener, or because it has asked for it."""
        self.assertEqual(1, self.info(self.world.client(readonly=True))["readonly"])
        asking = self.world.client()
        self.assertEqual(0, self.info(asking)["readonly"])
        asking.ask("connect_open", None, 1)
        self.assertEqual(1, self.info(asking)["readonly"])

    def test_administrator(self) -> None:
        """One is a client too."""
        own = admin.NonnullClient(ADMIN, self.admin.protocol.id, 0, 0)
        self.assertEqual(4711, self.admin.params("client_get_info", own, 0)["unix_process_id"])


class CloseTests(AdminCase):
    """Disconnecting."""

    def test_other(self) -> None:
        """It is cut off at once, whatever it has not read, and others stay."""
        victim, other = self.world.opened(reads=False), self.world.opened()
        self.admin.call("client_close", GONE._replace(id=victim.protocol.id), 0)
        self.assertTrue(victim.wire.disconnected)
        self.assertTrue(other.lives)
        self.assertTrue(self.admin.lives)

    def test_with_call_in_flight(self) -> None:
        """Its call is cancelled."""
        cancelled: list[Any] = []
        pending: Deferred[int] = Deferred(cancelled.append)
        self.world.hypervisor.connect_get_version = lambda: pending
        victim = self.world.opened()
        victim.begin("connect_get_version")
        self.admin.call("client_close", GONE._replace(id=victim.protocol.id), 0)
        victim.vanish()
        self.assertEqual([pending], cancelled)

    def test_itself(self) -> None:
        """There is no reply, as from libvirtd."""
        own = admin.NonnullClient(ADMIN, self.admin.protocol.id, 0, 0)
        self.admin.begin("client_close", own, 0, program=admin.PROGRAM)
        self.assertTrue(self.admin.wire.disconnected)
        self.admin.vanish()
        self.world.turn()
        self.assertEqual([], self.admin.take())


class LimitTests(AdminCase):
    """How many clients a server takes."""

    SAID = "The overall maximum number of clients waiting for authentication must not be less than"

    def set(self, **values: int) -> None:
        """Set some."""
        params = [uint(name, value) for name, value in values.items()]
        self.admin.call("server_set_client_limits", LIBVIRTD, params, 0)

    def refusal(self, *params: admin.TypedParam) -> tuple[int, int, str]:
        """What is said to some, none of which counts."""
        before = self.world.daemon.server.limits
        error = self.admin.refused("server_set_client_limits", LIBVIRTD, params, 0)
        self.assertEqual(before, self.world.daemon.server.limits)
        return facts(error)

    def test_get(self) -> None:
        self.world.client(), self.world.client(auth="sasl")
        wanted = {"nclients_max": 5000, "nclients": 2, "nclients_unauth_max": 20, "nclients_unauth": 1}
        found = self.admin.params("server_get_client_limits", LIBVIRTD, 0)
        self.assertEqual(list(wanted.items()), list(found.items()))

    def test_own(self) -> None:
        """Nobody waits for authentication there; libvirtd shows 0 too."""
        found = self.admin.params("server_get_client_limits", ADMIN, 0)
        self.assertEqual([5000, 1, 0, 0], list(found.values()))

    def test_set(self) -> None:
        """It counts at once, for those who come; those who are there stay."""
        clients = [self.world.client(), self.world.client()]
        self.set(nclients_max=1, nclients_unauth_max=1)
        self.assertTrue(all(client.lives for client in clients))
        self.assertIsNone(self.world.factory().buildProtocol(None))
        self.set(nclients_max=3)
        self.assertTrue(self.world.client().lives)
        limits = self.world.daemon.server.limits
        self.assertEqual(
            (3, 1, 5), (limits.max_clients, limits.max_anonymous_clients, limits.max_client_requests)
        )

    def test_nothing(self) -> None:
        """No parameters change nothing."""
        before = self.world.daemon.server.limits
        self.set()
        self.assertEqual(before, self.world.daemon.server.limits)

    def test_anonymous_without_bound(self) -> None:
        """0 turns that bound off, as in libvirtd."""
        self.set(nclients_unauth_max=0)
        self.assertTrue(all(self.world.client(auth="sasl").lives for _ in range(30)))

    def test_at_odds(self) -> None:
        """With each other, or with what is set."""
        for params in (
            [uint("nclients_max", 19)],
            [uint("nclients_unauth_max", 5001)],
            [uint("nclients_max", 10), uint("nclients_unauth_max", 11)],
        ):
            code, domain, text = self.refusal(*params)
            self.assertEqual((vir.VIR_ERR_INVALID_ARG, vir.VIR_FROM_RPC), (code, domain))
            self.assertIn(self.SAID, text)

    def test_unknown(self) -> None:
        """What is only shown cannot be set."""
        for name in ("nclients", "nclients_unauth", "nope"):
            text = f"argument unsupported: parameter '{name}' not supported"
            self.assertEqual((vir.VIR_ERR_ARGUMENT_UNSUPPORTED, 0, text), self.refusal(uint(name, 1)))

    def test_type(self) -> None:
        wrong = admin.TypedParam("nclients_max", admin.TypedParamValue(admin.VIR_TYPED_PARAM_INT, 5))
        text = "invalid argument: invalid type 'int' for parameter 'nclients_max', expected 'uint'"
        self.assertEqual((vir.VIR_ERR_INVALID_ARG, 0, text), self.refusal(wrong))

    def test_twice(self) -> None:
        params = [uint("nclients_max", 30), uint("nclients_max", 31)]
        text = "invalid argument: parameter 'nclients_max' occurs multiple times"
        self.assertEqual((vir.VIR_ERR_INVALID_ARG, 0, text), self.refusal(*params))

    def test_too_many_parameters(self) -> None:
        """The contract bounds them; the connection goes on."""
        procedure = admin.PROGRAM.by_name["server_set_client_limits"]
        count = admin.ADMIN_SERVER_CLIENT_LIMITS_MAX + 1
        payload = LIBVIRTD.pack() + count.to_bytes(4, "big") + uint("x", 1).pack() * count + bytes(4)
        self.admin.send(pack_call(admin.ADMIN_PROGRAM, 1, procedure.number, 7, payload))
        self.assertIs(Kind.ERROR, self.admin.answer(7).kind)
        self.assertTrue(self.admin.lives)
