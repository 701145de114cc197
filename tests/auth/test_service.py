"""The service and its exchanges: what is offered, the order of calls, the portal, the end."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from twisted.cred.credentials import IAnonymous
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from remotevirt.auth import MECHANISM_NAMES, AuthRefused, PrincipalChecker, SaslService, User, UserRealm
from remotevirt.auth.interfaces import IUser
from remotevirt.auth.service import PASSWORDS_AT_ONCE
from tests.auth.fakes import AuthTestCase, MemoryChecker, World, peer
from tests.daemons import ROOT

FIRST = b"n,,n=alice,r=abcdef"


class OfferTests(AuthTestCase):
    """Which mechanisms a client may choose from."""

    def test_protected_transports(self) -> None:
        service = World(["SCRAM-SHA-256", "PLAIN"]).service
        for transport in ("tls", "unix"):
            self.assertEqual("SCRAM-SHA-256,PLAIN", service.offered(transport))

    def test_plain_tcp(self) -> None:
        """Only what encrypts, unless that is not wanted; a password never."""
        context: Any = None
        every = {"mechanisms": MECHANISM_NAMES, "kerberos": lambda: context}
        self.assertEqual("GSSAPI", World(**every).service.offered("tcp"))
        self.assertEqual("", World(tcp_min_ssf=1).service.offered("tcp"))
        open_ = World(**every, tcp_min_ssf=0).service.offered("tcp")
        self.assertEqual("SCRAM-SHA-512,SCRAM-SHA-256,SCRAM-SHA-1,GSSAPI", open_)
        self.assertEqual("", World(**every, tcp_min_ssf=257).service.offered("tcp"))

    def test_order_and_case(self) -> None:
        self.assertEqual("PLAIN,SCRAM-SHA-1", World(["plain", "scram-sha-1"]).service.offered("tls"))

    def test_bad_configuration(self) -> None:
        for mechanisms, text in {
            ("CRAM-MD5",): "unknown SASL mechanism 'CRAM-MD5'",
            ("SCRAM-SHA-256-PLUS",): "unknown",
            (): "no SASL mechanism",
        }.items():
            error = self.assertRaises(ValueError, World, mechanisms)
            self.assertIn(text, str(error))

    def test_portal_without_a_checker(self) -> None:
        portal = Portal(UserRealm(), [PrincipalChecker()])
        error = self.assertRaises(ValueError, SaslService, portal, Clock(), ["PLAIN"])
        self.assertEqual("nobody checks users of SASL mechanism PLAIN", str(error))

    def test_not_offered(self) -> None:
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256-PLUS", "scram-sha-256", "", "X" * 70000, "GSSAPI"):
            reason = self.refused(World().begin().start(mechanism, FIRST))
            self.assertIn("is not offered over tls", reason)
            self.assertLess(len(reason), 200)

    def test_not_offered_over_tcp(self) -> None:
        world = World()
        reason = self.refused(world.begin(peer(transport="tcp")).start("SCRAM-SHA-256", FIRST))
        self.assertIn("is not offered over tcp", reason)


class OrderTests(AuthTestCase):
    """Whatever comes out of turn is refused, and nothing after it is taken."""

    def test_step_before_start(self) -> None:
        exchange = World().begin()
        self.refused(exchange.step(b""))
        self.refused(exchange.start("SCRAM-SHA-256", FIRST))

    def test_second_start(self) -> None:
        exchange = World().begin()
        self.successResultOf(exchange.start("SCRAM-SHA-256", FIRST))
        self.refused(exchange.start("SCRAM-SHA-256", FIRST))
        self.refused(exchange.step(b""))

    def test_after_completion(self) -> None:
        for again in ("step", "start"):
            exchange = World().begin()
            self.successResultOf(self.plain(exchange, "alice", "secret"))
            self.refused(exchange.step(b"") if again == "step" else exchange.start("PLAIN", b""))

    def test_after_refusal(self) -> None:
        exchange = World().begin()
        self.refused(self.plain(exchange, "alice", "wrong"))
        self.refused(self.plain(exchange, "alice", "secret"))

    def test_step_while_one_is_under_way(self) -> None:
        """The one that waits is refused as well."""
        world = World()
        world.checker.later = Deferred()
        exchange = world.begin()
        start = exchange.start("SCRAM-SHA-256", FIRST)
        self.assertNoResult(start)
        self.refused(exchange.step(b""))
        self.refused(start)

    def test_step_from_a_callback(self) -> None:
        """Who hears a reply may answer at once."""
        exchange = World().begin()
        steps = exchange.start("SCRAM-SHA-256", None).addCallback(lambda _: exchange.step(FIRST))
        self.assertFalse(self.successResultOf(steps)[0])


class PortalTests(AuthTestCase):
    """What the portal says, and what it is asked."""

    def test_a_checker_like_any(self) -> None:
        """Names and passwords reach a checker as Twisted's own are used to: bytes."""
        world = World()
        self.successResultOf(self.plain(world.begin(), "alice", "secret"))
        (credentials,) = world.checker.asked
        self.assertEqual((b"alice", b"secret"), (credentials.username, credentials.password))

    def test_realm_names_the_user(self) -> None:
        world = World()
        left: list[str] = []
        realm: Any = world.realm
        realm.requestAvatar = lambda name, mind, *_: (IUser, User(f"{name}@here"), lambda: left.append(name))
        exchange = world.begin()
        self.successResultOf(self.scram(exchange, "alice", "secret"))
        self.assertEqual("alice@here", exchange.username)
        self.assertEqual([], left)
        exchange.close()
        exchange.close()
        self.assertEqual(["alice"], left)

    def test_realm_without_users(self) -> None:
        with self.assertRaises(NotImplementedError):
            UserRealm().requestAvatar("x", None, IAnonymous)

    def test_checker_with_a_bug(self) -> None:
        """The client is refused, the log has the traceback."""
        world = World()
        world.checker.answer = lambda credentials: 1 / 0
        self.assertIn("an error of ours", self.refused(self.plain(world.begin(), "alice", "secret")))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_realm_that_cannot_log_out(self) -> None:
        world = World()
        realm: Any = world.realm
        realm.requestAvatar = lambda name, mind, *_: (IUser, User(name), lambda: 1 / 0)
        exchange = world.begin()
        self.successResultOf(self.scram(exchange, "alice", "secret"))
        exchange.close()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class AllowedTests(AuthTestCase):
    """``sasl_allowed_username_list``."""

    def logs_in(self, patterns: Any) -> bool:
        world = World(allowed_usernames=patterns)
        reply = self.plain(world.begin(), "alice", "secret")
        if patterns is None:
            return self.successResultOf(reply)[0]
        results: list[Any] = []
        reply.addCallbacks(results.append, results.append)
        (result,) = results
        if isinstance(result, tuple):
            return bool(result[0])
        result.trap(AuthRefused)
        self.assertEqual("user 'alice' is not among the allowed names", result.getErrorMessage())
        return False

    def test_patterns(self) -> None:
        for patterns in (None, ["alice"], ["bob", "al*"], ["?????"], ["*"], ["a*c*"]):
            self.assertTrue(self.logs_in(patterns), patterns)
        for patterns in (
            [],
            ["bob"],
            ["alic"],
            ["lice"],
            ["Alice"],
            ["????"],
            ["[a]lice"],
            ["alice.*"],
            [""],
        ):
            self.assertFalse(self.logs_in(patterns), patterns)

    def test_refused_user_is_logged_out(self) -> None:
        world = World(allowed_usernames=[])
        left: list[str] = []
        realm: Any = world.realm
        realm.requestAvatar = lambda name, mind, *_: (IUser, User(name), lambda: left.append(name))
        self.refused(self.plain(world.begin(), "alice", "secret"))
        self.assertEqual([b"alice"], left)


class PlainTests(AuthTestCase):
    """PLAIN's message."""

    def test_login(self) -> None:
        for message in (b"\0alice\0secret", b"alice\0alice\0secret", "\0\uff41lice\0secret".encode()):
            exchange = World().begin()
            self.assertEqual((True, None), self.successResultOf(exchange.start("PLAIN", message)))
            self.assertEqual("alice", exchange.username)

    def test_message_that_was_not_sent_along(self) -> None:
        exchange = World().begin()
        self.assertEqual((False, b""), self.successResultOf(exchange.start("PLAIN", None)))
        self.assertEqual((True, None), self.successResultOf(exchange.step(b"\0alice\0secret")))

    def test_refused(self) -> None:
        for message in (
            b"",
            b"\0",
            b"\0\0",
            b"alice\0secret",
            b"\0alice\0",
            b"\0\0secret",
            b"\0alice\0secret\0",
            b"\0alice\0se\0cret",
            b"bob\0alice\0secret",
            b"\0\xff\0secret",
            b"\0alice\0\xff",
            b"\0ali\x07ce\0secret",
            b"\0alice\0" + b"a" * 1025,
            b"\0" + b"a" * 257 + b"\0secret",
            b"\0alice\0" + b"a" * 65536,
        ):
            world = World()
            self.refused(world.begin().start("PLAIN", message))
            self.assertEqual([], world.checker.asked, message)
        self.refused(World().begin().start("PLAIN", b"\0alice\0Secret"))
        self.refused(World().begin().start("PLAIN", b"\0mallory\0secret"))

    def test_few_passwords_at_once(self) -> None:
        """The rest waits; the limit on guessing is asked when their turn has come."""
        world = World()
        waiting: list[Deferred[Any]] = []

        def answer(credentials: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        world.checker.answer = answer
        exchanges = [world.begin() for _ in range(10)]
        replies = [self.plain(exchange, "alice", "wrong") for exchange in exchanges]
        self.assertEqual(PASSWORDS_AT_ONCE, len(waiting))
        exchanges[-1].close()
        while waiting:
            world.checker.answer = answer
            waiting.pop(0).errback(_unauthorized())
        refused = [self.refused(reply) for reply in replies]
        self.assertIn("has failed 6 times", " ".join(refused))
        self.assertIn("given up", refused[-1])
        world.clock.advance(60)
        world.checker.answer = None
        self.successResultOf(self.plain(world.begin(), "alice", "secret"))


def _unauthorized() -> Exception:
    from twisted.cred.error import UnauthorizedLogin

    return UnauthorizedLogin("wrong password")


class CloseTests(AuthTestCase):
    """A client that goes away in the middle."""

    def test_before_and_after(self) -> None:
        exchange = World().begin()
        exchange.close()
        self.refused(exchange.start("SCRAM-SHA-256", FIRST))

    def test_between_messages(self) -> None:
        exchange = World().begin()
        self.successResultOf(exchange.start("SCRAM-SHA-256", FIRST))
        exchange.close()
        self.refused(exchange.step(b""))

    def test_while_the_portal_thinks(self) -> None:
        """A proof of SCRAM's is dropped."""
        world = World()
        cancelled: list[Any] = []
        world.checker.answer = lambda credentials: Deferred(cancelled.append)
        exchange = world.begin()
        reply = self.scram(exchange, "alice", "secret")
        self.assertNoResult(reply)
        exchange.close()
        self.assertEqual(1, len(cancelled))
        self.refused(reply)

    def test_portal_that_will_not_be_stopped(self) -> None:
        """A checker that answers when it is cancelled lets nobody in."""
        world = World()
        world.checker.answer = lambda credentials: Deferred(lambda deferred: deferred.callback(b"alice"))
        exchange = world.begin()
        reply = self.scram(exchange, "alice", "secret")
        self.refused(exchange.step(b""))
        self.refused(reply)
        self.assertEqual("", exchange.username)

    def test_while_passwords_are_hashed(self) -> None:
        """They keep their places until they are done, and count as guesses."""
        world = World()
        waiting: list[Deferred[Any]] = []
        world.checker.answer = lambda credentials: waiting.append(Deferred()) or waiting[-1]
        for _ in range(7):
            exchange = world.begin()
            reply = self.plain(exchange, "alice", "wrong")
            exchange.close()
            self.refused(reply)
        self.assertEqual(PASSWORDS_AT_ONCE, len(waiting))
        for deferred in waiting:
            deferred.errback(_unauthorized())
        self.assertEqual(PASSWORDS_AT_ONCE, len(waiting))
        for _ in range(4):
            reply = self.plain(world.begin(), "alice", "wrong")
            waiting[-1].errback(_unauthorized())
            self.refused(reply)
        self.assertIn("has failed 6 times", self.refused(self.plain(world.begin(), "alice", "secret")))

    def test_right_password_of_who_has_gone(self) -> None:
        """The user is logged out again."""
        world = World()
        later: Deferred[bytes] = Deferred()
        world.checker.answer = lambda credentials: later
        left: list[Any] = []
        realm: Any = world.realm
        realm.requestAvatar = lambda name, mind, *_: (IUser, User("alice"), lambda: left.append(name))
        exchange = world.begin()
        reply = self.plain(exchange, "alice", "secret")
        exchange.close()
        self.refused(reply)
        later.callback(b"alice")
        self.assertEqual(([b"alice"], ""), (left, exchange.username))

    def test_reply_that_nobody_wants(self) -> None:
        """The session cancels what is in flight for a client that has gone."""
        world = World()
        world.checker.later = Deferred()
        exchange = world.begin()
        reply = exchange.start("SCRAM-SHA-256", FIRST)
        reply.addErrback(lambda _: None)
        reply.cancel()
        exchange.close()
        self.assertEqual("", exchange.username)


class ExampleTests(AuthTestCase):
    """``docs/examples/own_users.py``: a checker of Twisted's serves PLAIN."""

    def test_own_users(self) -> None:
        path = Path(self.mktemp())
        path.write_text("alice:secret\n")
        make_service = runpy.run_path(str(ROOT / "docs" / "examples" / "own_users.py"))["make_service"]
        for password, right in (("secret", True), ("wrong", False)):
            exchange = make_service(str(path)).begin(peer(), "tls")
            reply = self.plain(exchange, "alice", password)
            if right:
                self.successResultOf(reply)
                self.assertEqual("alice", exchange.username)
            else:
                self.refused(reply)


class TypesTests(AuthTestCase):
    """Deferreds and values are the same to us."""

    def test_checker_with_deferreds(self) -> None:
        class Later(MemoryChecker):
            def requestAvatarId(self, credentials: Any) -> Any:
                return succeed(super().requestAvatarId(credentials))

        world = World()
        world.portal.registerChecker(Later())
        exchange = world.begin()
        self.successResultOf(self.plain(exchange, "bob", "pencil"))
        self.assertEqual("bob", exchange.username)
