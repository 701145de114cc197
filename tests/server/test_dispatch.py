"""How a call ends: answered, at once or later, or refused; each on its serial, and the link lives on."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from remotevirt.errors import VirError, XDRError
from remotevirt.rpc.message import Kind, pack_call, vir_error
from remotevirt.stubs import constants as vir
from remotevirt.stubs import qemu
from remotevirt.stubs.errors import NoDomain
from remotevirt.stubs.remote import (
    ConnectListAllDomainsRet,
    DomainGetInfoArgs,
    DomainGetInfoRet,
)
from tests.server.dispatching import GET_VERSION, NUMBER, RPC, Boom, DispatchCase
from tests.server.fakes import DOMAIN, OTHER

INFO = DomainGetInfoRet(1, 2048, 1024, 2, 5)
INTERNAL = (1, vir.VIR_FROM_RPC)


class AnsweredTests(DispatchCase):
    """Calls that go well."""

    def test_arguments_and_result(self) -> None:
        """The method gets the decoded fields in order; its bare value is the result."""
        calls: list[Any] = []

        def domain_migrate_get_max_speed(*args: Any) -> int:
            calls.append(args)
            return 9

        self.hypervisor.domain_migrate_get_max_speed = domain_migrate_get_max_speed
        self.assertEqual(9, self.client.result("domain_migrate_get_max_speed", DOMAIN, 5))
        self.assertEqual([(DOMAIN, 5)], calls)

    def test_struct_result(self) -> None:
        """A result of several fields is returned as its struct."""
        self.hypervisor.domain_get_info = lambda dom: INFO
        self.assertEqual(INFO, self.client.result("domain_get_info", DOMAIN))

    def test_list_result(self) -> None:
        """Arrays may be any sequence."""
        self.hypervisor.connect_list_all_domains = lambda need, flags: ConnectListAllDomainsRet(
            (DOMAIN, OTHER), 2
        )
        result = self.client.result("connect_list_all_domains", 1, 0)
        self.assertEqual(([DOMAIN, OTHER], 2), (result.domains, result.ret))

    def test_void(self) -> None:
        """Without a result the reply is empty, whatever the method returns."""
        for value in (None, 5, object()):
            self.hypervisor.domain_suspend = lambda dom, value=value: value
            self.assertIsNone(self.client.result("domain_suspend", DOMAIN))

    def test_serial_and_header_are_repeated(self) -> None:
        """Any serial comes back, with the call's program, version and procedure."""
        for serial in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            self.client.send(pack_call(NUMBER, 1, GET_VERSION, serial))
            (reply,) = self.client.take()
            self.assertEqual(
                (NUMBER, 1, GET_VERSION, serial, Kind.REPLY),
                (reply.program, reply.version, reply.procedure, reply.serial, reply.kind),
            )

    def test_one_write_for_one_read(self) -> None:
        """The replies to what came in one read leave in one write, in order."""
        calls = [self.client.pack("connect_get_version") for _ in range(50)]
        before = self.client.wire.writes
        self.client.send(b"".join(data for _, data in calls))
        self.assertEqual(before + 1, self.client.wire.writes)
        self.assertEqual([serial for serial, _ in calls], self.client.serials())

    def test_bytes_behind_the_arguments(self) -> None:
        """They are ignored, as libvirtd ignores them."""
        self.hypervisor.domain_get_info = lambda dom: INFO
        payload = DomainGetInfoArgs(DOMAIN).pack() + b"more of it"
        self.client.send(pack_call(NUMBER, 1, 16, 5, payload))
        self.assertIs(Kind.REPLY, self.client.answer(5).kind)
        self.client.send(pack_call(NUMBER, 1, GET_VERSION, 6, b"unasked for"))
        self.assertIs(Kind.REPLY, self.client.answer(6).kind)

    def test_other_programs(self) -> None:
        """A procedure of the qemu program is answered by a method with its prefix."""
        self.hypervisor.qemu_domain_agent_command = lambda dom, cmd, timeout, flags: cmd.upper()
        reply = self.client.ask("domain_agent_command", DOMAIN, "ping", 1, 0, program=qemu.PROGRAM)
        self.assertEqual("PING", qemu.DomainAgentCommandRet.unpack(reply.payload, 0)[0].result)


class AsynchronousTests(DispatchCase):
    """Methods that answer later."""

    def answers(self, value: Any) -> None:
        """Let the driver answer with this."""
        self.hypervisor.domain_get_info = lambda dom: value() if callable(value) else value

    def test_fired_deferred(self) -> None:
        """A Deferred that has fired is a value."""
        self.answers(lambda: succeed(INFO))
        self.assertEqual(INFO, self.client.result("domain_get_info", DOMAIN))
        self.assertEqual(set(), self.client.protocol.dispatcher.in_flight)

    def test_later(self) -> None:
        """The reply goes out when the Deferred fires, by itself."""
        result: Deferred[DomainGetInfoRet] = Deferred()
        self.answers(result)
        serial = self.client.begin("domain_get_info", DOMAIN)
        self.assertEqual([], self.client.take())
        self.assertEqual({result}, self.client.protocol.dispatcher.in_flight)
        result.callback(INFO)
        reply = self.client.answer(serial)
        self.assertEqual(INFO, DomainGetInfoRet.unpack(reply.payload, 0)[0])
        self.assertEqual(set(), self.client.protocol.dispatcher.in_flight)

    def test_coroutine(self) -> None:
        """A coroutine is awaited."""
        inner: Deferred[int] = Deferred()

        async def answer() -> DomainGetInfoRet:
            return INFO._replace(cpuTime=await inner)

        self.answers(answer)
        serial = self.client.begin("domain_get_info", DOMAIN)
        inner.callback(99)
        reply = self.client.answer(serial)
        self.assertEqual(99, DomainGetInfoRet.unpack(reply.payload, 0)[0].cpuTime)

    def test_void_later(self) -> None:
        """A Deferred of whatever, for a procedure without a result."""
        self.hypervisor.domain_suspend = lambda dom: succeed("whatever")
        self.assertIsNone(self.client.result("domain_suspend", DOMAIN))

    def test_vir_errors(self) -> None:
        """They are sent, whether the Deferred has failed, fails later, or a coroutine raises."""
        later: Deferred[Any] = Deferred()

        async def answer() -> None:
            raise NoDomain("coroutine")

        for value, text in ((lambda: fail(NoDomain("fired")), "fired"), (answer, "coroutine")):
            self.answers(value)
            error = self.client.error("domain_get_info", DOMAIN)
            self.assertEqual((42, text), (error.code, error.str2))
        self.answers(later)
        serial = self.client.begin("domain_get_info", DOMAIN)
        later.errback(NoDomain("later"))
        self.assertEqual("later", vir_error(self.client.answer(serial).payload).str2)
        self.assertEqual([], self.flushLoggedErrors())
        self.assert_lives()

    def test_other_exceptions(self) -> None:
        """One internal error, without what was raised; one log record with it."""

        async def answer() -> None:
            raise Boom("secret")

        for value in (lambda: fail(Boom("secret")), answer):
            self.answers(value)
            error = self.client.error("domain_get_info", DOMAIN)
            self.assertEqual(INTERNAL, (error.code, error.domain))
            self.assertNotIn("secret", error.message)
            self.assertEqual(1, len(self.flushLoggedErrors(Boom)))
        self.assert_lives()

    def test_result_that_does_not_encode(self) -> None:
        """The same as for a value that comes at once."""
        self.answers(lambda: succeed("no struct"))
        self.assert_unfit(self.client.error("domain_get_info", DOMAIN))
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))
        self.assert_lives()


class RefusedTests(DispatchCase):
    """Calls that the driver refuses, or on which it fails."""

    def test_vir_error(self) -> None:
        """Every field of it arrives."""
        sent = VirError(
            "why", code=4711, domain=10, message="all of it", str1="1", str3="3", int1=5, int2=6, level=1
        )

        def domain_suspend(dom: object) -> None:
            raise sent

        self.hypervisor.domain_suspend = domain_suspend
        error = self.client.error("domain_suspend", DOMAIN)
        for name in ("code", "domain", "message", "str1", "str2", "str3", "int1", "int2", "level"):
            self.assertEqual(getattr(sent, name), getattr(error, name), name)
        self.assertEqual([], self.flushLoggedErrors())
        self.assert_lives()

    def test_other_exception(self) -> None:
        """One internal error that names the procedure and nothing else; one log record."""

        def domain_suspend(dom: object) -> None:
            raise Boom("secret")

        self.hypervisor.domain_suspend = domain_suspend
        error = self.client.error("domain_suspend", DOMAIN)
        self.assertEqual(
            (*INTERNAL, "internal error: unexpected failure in domain_suspend"),
            (error.code, error.domain, error.message),
        )
        for text in (error.message, error.str1, error.str2, error.str3):
            self.assertNotIn("secret", text or "")
            self.assertNotIn("Traceback", text or "")
        (failure,) = self.flushLoggedErrors(Boom)
        self.assertEqual("secret", str(failure.value))
        self.assert_lives()

    def test_decoding_error_of_the_drivers_own(self) -> None:
        """An XDRError from a method is its bug, not the client's."""

        def domain_suspend(dom: object) -> None:
            raise XDRError("of mine")

        self.hypervisor.domain_suspend = domain_suspend
        self.assertEqual(INTERNAL[0], self.client.error("domain_suspend", DOMAIN).code)
        self.assertEqual(1, len(self.flushLoggedErrors(XDRError)))

    def test_wrong_signature(self) -> None:
        """A method that does not take the arguments is a bug as well."""
        self.hypervisor.domain_suspend = lambda: None
        self.assertEqual(INTERNAL[0], self.client.error("domain_suspend", DOMAIN).code)
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))
        self.assert_lives()

    def test_deep_recursion(self) -> None:
        """Even that."""

        def domain_suspend(dom: object) -> None:
            domain_suspend(dom)

        self.hypervisor.domain_suspend = domain_suspend
        # The whole traceback is logged: a thousand frames would be more than trial's workers can pass on.
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(len(inspect.stack()) + 150)
        self.assertEqual(INTERNAL[0], self.client.error("domain_suspend", DOMAIN).code)
        self.assertEqual(1, len(self.flushLoggedErrors(RecursionError)))
        self.assert_lives()

    def test_unimplemented(self) -> None:
        """Error 3 with libvirt's function, in its domain."""
        error = self.client.error("domain_get_info", DOMAIN)
        self.assertEqual(
            (
                3,
                "this function is not supported by the connection driver: virDomainGetInfo",
                "virDomainGetInfo",
            ),
            (error.code, error.message, error.str2),
        )
        self.assertEqual([], self.flushLoggedErrors())
        self.assert_lives()

    def test_sub_driver_of_another_make(self) -> None:
        """A sub-driver that does not derive from ours and lacks a method does not support it either."""

        class Own:
            def connect_get_version(self) -> int:
                return 7

        self.world.driver.hypervisor = Own()
        client = self.world.opened()
        error = client.error("domain_get_info", DOMAIN)
        self.assertEqual((3, "virDomainGetInfo"), (error.code, error.str2))
        self.assert_lives(client)

    def test_result_that_does_not_encode(self) -> None:
        """Each kind of wrong value: an error and a log record, nothing half-written."""
        wrong: list[Any] = [
            None,
            "text",
            INFO._replace(state=-1),
            INFO._replace(maxMem=1 << 64),
            INFO._replace(memory="1"),
        ]
        for value in wrong:
            self.hypervisor.domain_get_info = lambda dom, value=value: value
            self.assert_unfit(self.client.error("domain_get_info", DOMAIN))
            self.assertEqual(1, len(self.flushLoggedErrors()), value)
        self.assert_lives()

    def test_results_over_their_bound(self) -> None:
        """A list or text that is longer than the contract allows."""
        self.hypervisor.connect_list_all_domains = lambda need, flags: ConnectListAllDomainsRet(
            [DOMAIN] * 16385, 1
        )
        self.hypervisor.connect_get_type = lambda: "x" * ((4 << 20) + 1)
        self.assert_unfit(self.client.error("connect_list_all_domains", 1, 0))
        self.assert_unfit(self.client.error("connect_get_type"))
        self.assertEqual(2, len(self.flushLoggedErrors(XDRError)))
        self.assert_lives()

    def test_too_large(self) -> None:
        """A result that fits its bounds but no message: error 39, at once or later."""
        large = ConnectListAllDomainsRet([DOMAIN._replace(name="x" * (3 << 20))] * 11, 11)
        for value in (large, succeed(large)):
            self.hypervisor.connect_list_all_domains = lambda need, flags, value=value: value
            error = self.client.error("connect_list_all_domains", 1, 0)
            self.assertEqual(RPC, (error.code, error.domain))
            self.assertIn("connect_list_all_domains is 34603", error.message)
        self.assert_lives()

    def test_error_that_does_not_encode(self) -> None:
        """A VirError with a field of a wrong type or range: an internal error in its place, and a record."""
        wrong = [
            VirError("x", code=1 << 40),
            VirError("x", code=1, domain="test"),
            VirError("x", code=1, message=5),
            VirError("x", code=1, int1=1 << 31),
            VirError("x", code=1, str3=b"bytes"),
        ]
        for sent in wrong:

            def refuse(dom: object, sent: VirError = sent) -> None:
                raise sent

            self.hypervisor.domain_suspend = refuse
            self.hypervisor.domain_resume = lambda dom, sent=sent: fail(sent)
            for name in ("domain_suspend", "domain_resume"):
                error = self.client.error(name, DOMAIN)
                self.assertEqual(INTERNAL, (error.code, error.domain))
                self.assertEqual(1, len(self.flushLoggedErrors()))
        self.assert_lives()

    def test_long_texts(self) -> None:
        """An error's texts are cut, and the reply with them is whole."""

        def domain_suspend(dom: object) -> None:
            raise NoDomain("\u20ac" * 100_000)

        self.hypervisor.domain_suspend = domain_suspend
        error = self.client.error("domain_suspend", DOMAIN)
        self.assertLessEqual(len(error.message.encode()), 1024)
        self.assert_lives()
