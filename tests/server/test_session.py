"""A client's session: before open, open, after; what the daemon answers itself; read-only clients."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.rpc.message import Kind
from remotevirt.server.session import LIBVIRT_VERSION, Session
from remotevirt.stubs import constants as vir
from remotevirt.stubs import qemu, remote
from remotevirt.stubs.errors import OperationFailed
from remotevirt.stubs.remote import AuthType
from remotevirt.typed_params import string
from tests.server.fakes import DOMAIN, World, lifecycle

NOT_OPEN = (1, vir.VIR_FROM_RPC, "internal error: hypervisor connection not open")
ALREADY_OPEN = "internal error: connection already open"
KEEPALIVE, REMOTE_EVENT_CALLBACK = 10, 14


def facts(error: VirError) -> tuple[int, int, str]:
    """Code, domain, text."""
    return error.code, error.domain, error.message


class SessionCase(SynchronousTestCase):
    """A daemon whose driver knows its version."""

    def setUp(self) -> None:
        self.world = World()
        self.driver = self.world.driver
        self.world.hypervisor.connect_get_version = lambda: 7


class BeforeOpenTests(SessionCase):
    """A client that has not opened."""

    def test_calls(self) -> None:
        """Everything but what opens, closes, authenticates and asks for keepalive is refused."""
        client = self.world.client()
        for name in ("connect_get_version", "connect_get_uri", "connect_get_lib_version"):
            self.assertEqual(NOT_OPEN, facts(client.error(name)), name)
        self.assertEqual(NOT_OPEN, facts(client.error("connect_domain_event_register")))
        self.assertEqual(NOT_OPEN, facts(client.error("connect_supports_feature", 14)))
        self.assertEqual(
            NOT_OPEN, facts(client.error("domain_agent_command", DOMAIN, "x", 0, 0, program=qemu.PROGRAM))
        )
        self.assertTrue(client.lives)

    def test_every_procedure(self) -> None:
        """No other call gets past, whatever its name."""
        session = Session(self.world.client().protocol)
        served = set()
        for program in self.world.daemon.server.programs.values():
            for procedure in program.procedures.values():
                try:
                    session.find(program, procedure)
                except VirError as error:
                    self.assertEqual(NOT_OPEN, facts(error))
                else:
                    served.add(procedure.name)
        self.assertEqual(
            {
                "auth_list",
                "auth_polkit",
                "auth_sasl_init",
                "auth_sasl_start",
                "auth_sasl_step",
                "connect_close",
                "connect_open",
                "connect_supports_feature",
            },
            served,
        )

    def test_authentication(self) -> None:
        """None is wanted, and none is offered."""
        client = self.world.client()
        self.assertEqual([AuthType.REMOTE_AUTH_NONE], client.result("auth_list"))
        for call in (
            ("auth_sasl_init",),
            ("auth_sasl_start", "PLAIN", 0, b"data"),
            ("auth_sasl_step", 0, b"data"),
            ("auth_polkit",),
        ):
            self.assertEqual((45, vir.VIR_FROM_RPC), facts(client.error(*call))[:2])
        self.assertTrue(client.lives)

    def test_keepalive_may_be_asked_for(self) -> None:
        """As clients with an event loop do."""
        self.assertEqual(1, self.world.client().result("connect_supports_feature", KEEPALIVE))


class OpenTests(SessionCase):
    """connect_open."""

    def test_which_driver_is_asked(self) -> None:
        """The one of the scheme, with the URI in parts; without a URI, the first one's default."""
        client = self.world.client()
        self.assertIsNone(client.result("connect_open", "fake+tcp:///p%20q?a=1&b=2", 0))
        uri, info = self.driver.opened[0]
        self.assertEqual(("fake", "/p q", {"a": "1", "b": "2"}), (uri.scheme, uri.path, dict(uri.query)))
        self.assertEqual((False, "tcp"), (info.readonly, info.transport))
        for name in (None, ""):
            self.world.client().result("connect_open", name, 0)
            self.assertEqual("fake:///default", self.driver.opened[-1][0].text)
        self.assertEqual(7, client.result("connect_get_version"))
        self.assertEqual("fake:///here", client.result("connect_get_uri"))

    def test_nobody_answers(self) -> None:
        """Error 5; the client may try again."""
        client = self.world.client()
        for name in ("other:///x", "no scheme", "//", "fake", ":", "fake//x", "x" * 5000, "fake://[::1"):
            error = client.error("connect_open", name, 0)
            self.assertEqual(5, error.code, name)
            self.assertLess(len(error.message), 400)
        self.assertEqual([], self.driver.opened)
        self.assertIsNone(client.result("connect_open", None, 0))

    def test_driver_refuses(self) -> None:
        """At once, later, with something else: the client may try again."""
        client = self.world.client()
        later: Deferred[Any] = Deferred()

        async def refuse() -> None:
            raise OperationFailed("coroutine")

        for result, text in (
            (OperationFailed("raised"), "raised"),
            (fail(OperationFailed("failed")), "failed"),
            (refuse(), "coroutine"),
        ):
            self.driver.result = result
            self.assertEqual((9, text), (client.error("connect_open", None, 0).code, text))
        self.driver.result = later
        serial = client.begin("connect_open", None, 0)
        later.errback(OperationFailed("later"))
        self.assertIs(Kind.ERROR, client.answer(serial).kind)
        self.driver.result = None
        self.assertIsNone(client.result("connect_open", None, 0))

    def test_driver_fails(self) -> None:
        """An exception, or something that is no connection: internal error, and nothing is open."""
        client = self.world.client()
        for result in (
            ValueError("x"),
            fail(ValueError("x")),
            "no connection",
            succeed(None),
            succeed("no connection"),
        ):
            self.driver.result = result
            self.assertEqual(1, client.error("connect_open", None, 0).code)
            self.assertEqual(1, len(self.flushLoggedErrors()), result)
            self.assertEqual(NOT_OPEN, facts(client.error("connect_get_version")))

    def test_later(self) -> None:
        """A Deferred or coroutine of a connection; meanwhile nothing is open, and nobody opens twice."""
        for coroutine in (False, True):
            result: Deferred[Any] = Deferred()

            async def opened(result: Deferred[Any] = result) -> Any:
                return await result

            self.driver.result = opened() if coroutine else result
            client = self.world.client()
            serial = client.begin("connect_open", None, 0)
            self.assertEqual(NOT_OPEN, facts(client.error("connect_get_version")))
            self.assertEqual(ALREADY_OPEN, client.error("connect_open", None, 0).message)
            result.callback(self.driver.connection())
            self.assertIs(Kind.REPLY, client.answer(serial).kind)
            self.assertEqual(7, client.result("connect_get_version"))

    def test_second_open(self) -> None:
        """It is refused, and the driver hears nothing of it."""
        client = self.world.opened()
        self.assertEqual(
            (1, vir.VIR_FROM_RPC, ALREADY_OPEN), facts(client.error("connect_open", "fake:///x", 0))
        )
        self.assertEqual(1, len(self.driver.opened))
        self.assertTrue(client.lives)

    def test_client_vanishes_meanwhile(self) -> None:
        """The connection that the driver makes all the same is closed, whatever form its answer has."""
        for coroutine in (False, True):
            result: Deferred[Any] = Deferred()

            async def opened(result: Deferred[Any] = result) -> Any:
                return await result

            self.driver.closed = 0
            self.driver.result = opened() if coroutine else result
            client = self.world.client()
            client.begin("connect_open", None, 0)
            client.vanish()
            self.assertEqual(0, self.driver.closed)
            result.callback(self.driver.connection())
            self.assertEqual(1, self.driver.closed)
            self.assertEqual([], client.take())
            self.driver.events.publish(lifecycle())

    def test_client_vanishes_and_the_driver_refuses(self) -> None:
        """Nobody is there to be told."""
        for error in (OperationFailed("x"), ValueError("x"), CancelledError()):
            result: Deferred[Any] = Deferred()
            self.driver.result = result
            client = self.world.client()
            client.begin("connect_open", None, 0)
            client.vanish()
            result.errback(error)
            self.assertEqual([], client.take())
        self.assertEqual([], self.flushLoggedErrors())

    def test_client_closes_meanwhile(self) -> None:
        """The same."""
        result: Deferred[Any] = Deferred()
        self.driver.result = result
        client = self.world.client()
        client.begin("connect_open", None, 0)
        client.ask("connect_close")
        result.callback(self.driver.connection())
        self.assertEqual(1, self.driver.closed)


class FeatureTests(SessionCase):
    """connect_supports_feature."""

    def test_the_daemons_own(self) -> None:
        """Keepalive, event callbacks, close callbacks, strings among typed parameters."""
        client = self.world.opened()
        for feature in (KEEPALIVE, REMOTE_EVENT_CALLBACK, 15, vir.VIR_DRV_FEATURE_TYPED_PARAM_STRING):
            self.assertEqual(1, client.result("connect_supports_feature", feature), feature)

    def test_the_drivers(self) -> None:
        """A driver that says nothing has none; one that does is asked."""
        client = self.world.opened()
        self.assertEqual(0, client.result("connect_supports_feature", 1))

        class Featured(type(self.world.hypervisor)):
            def connect_supports_feature(self, feature: int) -> Any:
                return succeed(feature + 1)

        self.world.driver.hypervisor = Featured()
        client = self.world.opened()
        self.assertEqual(6, client.result("connect_supports_feature", 5))
        self.assertEqual(1, client.result("connect_supports_feature", KEEPALIVE))


class OwnAnswersTests(SessionCase):
    """What else the daemon answers itself."""

    def test_version_of_libvirt(self) -> None:
        """The one whose behaviour is shown."""
        self.assertEqual(LIBVIRT_VERSION, self.world.opened().result("connect_get_lib_version"))

    def test_close_callbacks(self) -> None:
        """May be registered; nothing comes of them."""
        client = self.world.opened()
        self.assertIsNone(client.result("connect_register_close_callback"))
        self.assertIsNone(client.result("connect_unregister_close_callback"))

    def test_identity(self) -> None:
        """Nobody may take another; one that makes no sense is refused in libvirt's words, none is fine."""
        client = self.world.opened()
        self.assertEqual(3, client.error("connect_set_identity", [string("user-name", "x")], 0).code)
        self.assertEqual(74, client.error("connect_set_identity", [string("x", "y")], 0).code)
        self.assertIsNone(client.result("connect_set_identity", [], 0))

    def test_streams(self) -> None:
        """Calls that would open one are not supported."""
        client = self.world.opened()
        error = client.error("domain_open_console", DOMAIN, None, 0)
        self.assertEqual((3, "virDomainOpenConsole"), (error.code, error.str2))

    def test_what_a_procedure_may_find(self) -> None:
        """No name of a procedure means anything else in a session."""
        session = Session(self.world.client().protocol)
        for name in remote.PROGRAM.by_name:
            if hasattr(session, name):
                self.assertTrue(name.startswith(("connect_", "auth_")), name)
                self.assertNotIn(name, ("connection",))

    def test_every_call_of_the_daemons(self) -> None:
        """What no sub-driver answers, the session does."""
        for procedure in remote.PROGRAM.procedures.values():
            if procedure.driver is None and not procedure.event:
                self.assertTrue(callable(getattr(Session, procedure.name, None)), procedure.name)


class ReadOnlyTests(SessionCase):
    """Clients that may look only."""

    def setUp(self) -> None:
        super().setUp()
        self.world.hypervisor.domain_suspend = lambda dom: None
        self.world.hypervisor.domain_get_xml_desc = lambda dom, flags: "<domain/>"
        self.world.hypervisor.domain_get_info = lambda dom: remote.DomainGetInfoRet(1, 2, 3, 4, 5)

    def test_by_socket_and_by_flag(self) -> None:
        """Both ways: reading is fine, changing is error 29, and the driver knows."""
        for client in (self.world.opened(readonly=True), self.world.opened(flags=vir.VIR_CONNECT_RO)):
            self.assertTrue(self.driver.opened[-1][1].readonly)
            self.assertEqual(7, client.result("connect_get_version"))
            self.assertEqual(5, client.result("domain_get_info", DOMAIN).cpuTime)
            error = client.error("domain_suspend", DOMAIN)
            self.assertEqual((29, vir.VIR_FROM_DOMAIN), (error.code, error.domain))
            self.assertIn("virDomainSuspend", error.message)
            self.assertTrue(client.lives)

    def test_others(self) -> None:
        """Whoever did not ask for it may change things."""
        client = self.world.opened()
        self.assertFalse(self.driver.opened[-1][1].readonly)
        self.assertIsNone(client.result("domain_suspend", DOMAIN))

    def test_conditional_rights(self) -> None:
        """A flag that asks for more is refused, the same call without it is not."""
        client = self.world.opened(readonly=True)
        self.assertEqual("<domain/>", client.result("domain_get_xml_desc", DOMAIN, 0))
        for flags in (vir.VIR_DOMAIN_XML_SECURE, vir.VIR_DOMAIN_XML_SECURE | vir.VIR_DOMAIN_XML_INACTIVE):
            self.assertEqual(29, client.error("domain_get_xml_desc", DOMAIN, flags).code)
        self.assertEqual(
            "<domain/>", client.result("domain_get_xml_desc", DOMAIN, vir.VIR_DOMAIN_XML_INACTIVE)
        )

    def test_no_way_out(self) -> None:
        """Opening without the flag does not help on a read-only socket."""
        client = self.world.opened(readonly=True, flags=0)
        self.assertEqual(29, client.error("domain_suspend", DOMAIN).code)

    def test_flag_of_an_open_that_failed(self) -> None:
        """It means nothing for the next one."""
        client = self.world.client()
        client.error("connect_open", "other:///", vir.VIR_CONNECT_RO)
        self.driver.result = OperationFailed("x")
        client.error("connect_open", None, vir.VIR_CONNECT_RO)
        self.driver.result = None
        client.result("connect_open", None, 0)
        self.assertIsNone(client.result("domain_suspend", DOMAIN))

    def test_open_later(self) -> None:
        """The flag holds for a connection that opens later."""
        result: Deferred[Any] = Deferred()
        self.driver.result = result
        client = self.world.client()
        client.begin("connect_open", None, vir.VIR_CONNECT_RO)
        result.callback(self.driver.connection())
        self.assertEqual(29, client.error("domain_suspend", DOMAIN).code)

    def test_other_programs(self) -> None:
        """Nothing of the qemu program is for readers."""
        client = self.world.opened(readonly=True)
        error = client.error("domain_agent_command", DOMAIN, "x", 0, 0, program=qemu.PROGRAM)
        self.assertEqual(29, error.code)
