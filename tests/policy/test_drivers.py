"""Drivers that cannot look things up, fail, or take their time."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverConnection
from remotevirt.errors import VirError
from remotevirt.policy import enforce
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import AccessDenied, NoSupport, OperationTimeout
from remotevirt.stubs.remote import NonnullDomain, NonnullStorageVol
from tests.policy.calling import allow, rights
from tests.policy.fakes import connection, refs


class BlindTests(SynchronousTestCase):
    """Drivers that cannot look things up."""

    def test_no_lookups(self) -> None:
        """What cannot be found out is allowed only to those who may do it to everything."""
        connection = DriverConnection("x:///")
        one = NonnullDomain("web-1", b"1" * 16, -1)
        procedure = remote.PROGRAM.by_name["domain_create"]
        for rule, allowed in ((allow("domain:*", name="*"), False), (allow("domain:*"), True)):
            method = enforce(remote.PROGRAM, procedure, lambda dom: 7, rights(rule), connection)
            if allowed:
                self.assertEqual(7, method(one))
            else:
                error = self.assertRaises(VirError, method, one)
                self.assertEqual(vir.VIR_ERR_ACCESS_DENIED, error.code)

    def test_some_lookups(self) -> None:
        """A driver that finds by UUID only: honest references pass, and nothing that asks for more."""
        made = connection()
        made.hypervisor.domain_lookup_by_name = _unsupported
        procedure = remote.PROGRAM.by_name["domain_create"]
        rule = rights(allow("domain:*", name="one"))
        method = enforce(remote.PROGRAM, procedure, lambda dom: 7, rule, made)
        self.assertEqual(7, method(NonnullDomain("one", b"o" * 16, 0)))
        for dom in (NonnullDomain("old", b"o" * 16, 0), NonnullDomain("one", b"x" * 16, 0)):
            self.assertRaises(AccessDenied, method, dom)
        define = remote.PROGRAM.by_name["domain_define_xml"]
        method = enforce(remote.PROGRAM, define, lambda xml: 7, rule, made)
        self.assertRaises(AccessDenied, method, "<domain><name>one</name></domain>")

    def test_lookups_that_fail(self) -> None:
        """The driver's error is the answer."""
        made = connection(_failing)
        procedure = remote.PROGRAM.by_name["domain_create"]
        method = enforce(remote.PROGRAM, procedure, lambda dom: 7, rights(allow("domain:*", name="*")), made)
        error = self.assertRaises(VirError, method, NonnullDomain("one", b"o" * 16, 0))
        self.assertEqual(vir.VIR_ERR_OPERATION_TIMEOUT, error.code)


def _unsupported(name: str) -> Any:
    raise NoSupport()


def _failing(method: Any) -> Any:
    def fail(*args: Any) -> Any:
        raise OperationTimeout("x")

    return fail


def _coroutine(method: Any) -> Any:
    async def later(*args: Any) -> Any:
        return await method(*args)

    return later


class LaterTests(SynchronousTestCase):
    """Drivers that take their time."""

    def setUp(self) -> None:
        """A connection whose look-ups wait until they are let go."""
        self.waiting: list[tuple[Deferred[Any], Any]] = []
        self.connection = connection(self._slow)

    def _slow(self, method: Any) -> Any:
        def slow(*args: Any) -> Deferred[Any]:
            deferred: Deferred[Any] = Deferred()
            self.waiting.append((deferred, lambda: method(*args)))
            return deferred

        return slow

    def go_on(self) -> None:
        """Let all look-ups end."""
        while self.waiting:
            deferred, answer = self.waiting.pop(0)
            try:
                deferred.callback(answer())
            except VirError as error:
                deferred.errback(error)

    def call(self, name: str, method: Any, rule: str, *args: Any) -> Deferred[Any]:
        """Call what has to wait."""
        procedure = remote.PROGRAM.by_name[name]
        guarded = enforce(
            remote.PROGRAM, procedure, method, rights(rule, allow("connect:*")), self.connection
        )
        return Deferred.fromCoroutine(guarded(*args))

    def test_allowed(self) -> None:
        """The call is made when the object is known; its own Deferred is waited for."""
        called: list[Any] = []
        result: Deferred[int] = Deferred()

        def create(dom: Any) -> Deferred[int]:
            called.append(dom)
            return result

        one = NonnullDomain("one", b"o" * 16, 0)
        outcome = self.call("domain_create", create, allow("domain:*", name="one"), one)
        self.assertEqual([], called)
        self.go_on()
        self.assertEqual([one], called)
        self.assertNoResult(outcome)
        result.callback(7)
        self.assertEqual(7, self.successResultOf(outcome))

    def test_refused(self) -> None:
        """The method is not called, forged or not."""
        for dom in (NonnullDomain("two", b"t" * 16, 1), NonnullDomain("one", b"t" * 16, 1)):
            outcome = self.call("domain_create", self.fail, allow("domain:*", name="one"), dom)
            self.go_on()
            error: Any = self.failureResultOf(outcome, VirError).value
            self.assertEqual(vir.VIR_ERR_ACCESS_DENIED, error.code)

    def test_absent(self) -> None:
        """An error that comes later is the answer."""
        dom = NonnullDomain("no", b"n" * 16, -1)
        outcome = self.call("domain_create", self.fail, allow("domain:*", name="one"), dom)
        self.go_on()
        error: Any = self.failureResultOf(outcome, VirError).value
        self.assertEqual(vir.VIR_ERR_NO_DOMAIN, error.code)

    def test_found_by_its_name(self) -> None:
        """A way that leads nowhere is not the last one."""
        dom = NonnullDomain("one", b"x" * 16, -1)
        outcome = self.call("domain_create", lambda dom: 7, allow("domain:*", name="one"), dom)
        self.go_on()
        self.assertEqual(7, self.successResultOf(outcome))

    def test_lists_and_coroutines(self) -> None:
        """Results are filtered when they come."""

        async def stats(*args: Any) -> list[Any]:
            return [remote.DomainStatsRecord(dom, []) for dom in refs("domain")]

        outcome = self.call("connect_get_all_domain_stats", stats, allow("domain:*", name="two"), [], 0, 0)
        self.go_on()
        self.assertEqual(["two"], [record.dom.name for record in self.successResultOf(outcome)])
        volume = NonnullStorageVol("pool", "one", "key of one")
        outcome = self.call("storage_vol_get_path", lambda vol: "x", allow("*:*", name="one"), volume)
        self.go_on()
        self.assertEqual("x", self.successResultOf(outcome))

    def test_again(self) -> None:
        """The object is looked up at each call."""
        one = NonnullDomain("one", b"o" * 16, 0)
        procedure = remote.PROGRAM.by_name["domain_create"]
        rule = rights(allow("domain:*", name="one"))
        for wrap in (self._slow, lambda method: _coroutine(self._slow(method))):
            self.waiting = []
            made = connection(wrap)
            guarded = enforce(remote.PROGRAM, procedure, lambda dom: 7, rule, made)
            for _ in range(3):
                outcome = Deferred.fromCoroutine(guarded(one))
                self.assertNoResult(outcome)
                self.go_on()
                self.assertEqual(7, self.successResultOf(outcome))

    def test_cancelled(self) -> None:
        """When the client goes, the look-up is cancelled and the method never called."""
        one = NonnullDomain("one", b"o" * 16, 0)
        outcome = self.call("domain_create", self.fail, allow("domain:*", name="one"), one)
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
