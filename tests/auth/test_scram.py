"""SCRAM: the RFCs' exchanges, and every way to be refused."""

from __future__ import annotations

import base64
import re
from typing import Any

import scramp.core
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from remotevirt.auth import SaslExchange, ScramKeys, decoy_keys, make_keys
from remotevirt.auth.scram import MESSAGE_MAXIMUM, SALT_SIZE, fits
from remotevirt.auth.service import Reply
from tests.auth.fakes import FEW, AuthTestCase, World, peer

RFC_7677 = (
    "SCRAM-SHA-256",
    "W22ZaJ0SNY7soEsUEjb6gQ==",
    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    (
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
)
"""Mechanism, salt, the server's nonce, the messages."""

RFC_5802 = (
    "SCRAM-SHA-1",
    "QSXCR+Q6sek8bf92",
    "3rfcNHYJY1ZVvWVs7j",
    (
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
)


class Header:
    """What a client sends before its first message proper, and repeats in the last."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def make_cbind_input(self, _: object) -> bytes:
        """What is repeated."""
        return self.text.encode()


class VectorTests(AuthTestCase):
    """The examples of RFC 5802 and RFC 7677, byte for byte."""

    def exchange(self, mechanism: str, salt: str, nonce: str, messages: tuple[str, str, str, str]) -> None:
        self.patch(scramp.core, "token_hex", lambda: nonce)
        world = World(["SCRAM-SHA-1", "SCRAM-SHA-256"])
        keys = make_keys(mechanism, "pencil", FEW, base64.b64decode(salt))
        world.checker.keys["user"] = {mechanism: keys}
        exchange = world.begin()
        first, challenge, final, end = (message.encode() for message in messages)
        self.assertEqual((False, challenge), self.successResultOf(exchange.start(mechanism, first)))
        self.assertEqual((True, end), self.successResultOf(exchange.step(final)))
        self.assertEqual("user", exchange.username)
        self.assertIs(None, exchange.layer)

    def test_rfc_7677(self) -> None:
        self.exchange(*RFC_7677)

    def test_rfc_5802(self) -> None:
        self.exchange(*RFC_5802)


class LoginTests(AuthTestCase):
    """Who gets in."""

    def test_every_mechanism(self) -> None:
        for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            world = World([mechanism])
            exchange = world.begin()
            self.successResultOf(self.scram(exchange, "alice", "secret", mechanism))
            self.assertEqual(("alice", mechanism), (exchange.username, exchange.mechanism))

    def test_client_that_thinks_we_have_no_channel_binding(self) -> None:
        """The flag "y": it could, we cannot."""
        self.patch(scramp.core.Gs2Header, "from_binding", classmethod(lambda cls, *_: cls("y", None)))
        exchange = World().begin()
        self.successResultOf(self.scram(exchange, "alice", "secret"))
        self.assertEqual("alice", exchange.username)

    def test_authorization_name(self) -> None:
        """A client may say whom it acts as, if that is the user; the proof covers it."""
        for text in ("n,a=alice,", "y,a=alice,", "n,a=\uff41li\u00adce,"):
            exchange = World().begin()
            self.successResultOf(self.acting(exchange, Header(text), Header(text)))
            self.assertEqual("alice", exchange.username)

    def acting(self, exchange: SaslExchange, said: Header, proved: Header) -> Deferred[Reply]:
        """Log in with something before the first message, and perhaps something else proved."""
        client = scramp.ScramClient(["SCRAM-SHA-256"], "alice", "secret")
        client.gs2_header = said
        first = client.get_client_first().encode()
        start: list[Any] = []
        exchange.start("SCRAM-SHA-256", first).addBoth(start.append)
        if isinstance(start[0], Failure):
            return fail(start[0])
        client.set_server_first(start[0][1].decode())
        client.gs2_header = proved
        return exchange.step(client.get_client_final().encode())

    def test_authorization_name_that_does_not_fit(self) -> None:
        for said, proved in (
            ("n,a=bob,", None),
            ("n,a=,", None),
            ("n,alice,", None),
            ("n,a=ali=ce,", None),
            ("n,a=ali=2Cce,", None),
            ("n,a=ali\0ce,", None),
            ("n,a=" + "a" * 257 + ",", None),
            ("p=tls-unique,a=alice,", None),
            ("n,a=alice,", "n,,"),
            ("n,,", "n,a=alice,"),
            ("n,a=alice,", "y,a=alice,"),
            ("n,a=alice,", "n,a=bob,"),
        ):
            exchange = World().begin()
            self.refused(self.acting(exchange, Header(said), Header(proved or said)))

    def test_keys_that_take_time(self) -> None:
        world = World()
        world.checker.later = Deferred()
        exchange = world.begin()
        reply = exchange.start("SCRAM-SHA-256", b"n,,n=alice,r=abc")
        self.assertNoResult(reply)
        world.checker.later.callback(None)
        self.assertFalse(self.successResultOf(reply)[0])

    def test_names_are_prepared(self) -> None:
        """A soft hyphen in it is nothing, a wide letter the plain one (SASLprep)."""
        world = World()
        salt = base64.b64encode(world.checker.keys["alice"]["SCRAM-SHA-256"].salt)
        first = "n,,n=\uff41li\u00adce,r=abc".encode()
        _, challenge = self.successResultOf(world.begin().start("SCRAM-SHA-256", first))
        self.assertIn(b",s=" + salt + b",", challenge or b"")

    def test_no_initial_message(self) -> None:
        """A client that does not send its first message along is asked for it."""
        exchange = World().begin()
        self.assertEqual((False, b""), self.successResultOf(exchange.start("SCRAM-SHA-256", None)))
        complete, data = self.successResultOf(exchange.step(b"n,,n=alice,r=abc"))
        self.assertFalse(complete)
        self.assertTrue(data and data.startswith(b"r=abc"))


class RefusalTests(AuthTestCase):
    """Who does not."""

    def first(self, world: World, name: str = "alice") -> tuple[SaslExchange, str]:
        """An exchange after the first message, and the challenge."""
        exchange = world.begin()
        start = exchange.start("SCRAM-SHA-256", f"n,,n={name},r=abcdef".encode())
        complete, data = self.successResultOf(start)
        self.assertFalse(complete)
        assert data is not None
        return exchange, data.decode()

    def test_wrong_password(self) -> None:
        exchange = World().begin()
        self.assertIn("'alice'", self.refused(self.scram(exchange, "alice", "Secret")))
        self.assertEqual("", exchange.username)

    def test_unknown_user(self) -> None:
        reason = self.refused(self.scram(World().begin(), "mallory", "secret"))
        self.assertIn("'mallory': no such user", reason)

    def test_unknown_user_looks_like_a_known_one(self) -> None:
        """Salt and iterations look alike, and a second look shows the same salt, to known and unknown."""
        world = World()
        shape = re.compile(r"r=abcdef[0-9a-f]{64},s=([A-Za-z0-9+/]{22}==),i=4096")
        salts = set()
        for name in ("alice", "mallory", "alice", "mallory", "oscar"):
            found = shape.fullmatch(self.first(world, name)[1])
            assert found is not None
            salts.add((name, found[1]))
        self.assertEqual(3, len(salts))
        self.assertEqual(3, len({salt for _, salt in salts}))

    def test_user_without_keys_for_the_mechanism(self) -> None:
        world = World()
        del world.checker.keys["alice"]["SCRAM-SHA-256"]
        self.assertIn("no keys", self.refused(self.scram(world.begin(), "alice", "secret")))

    def test_messages_that_are_none(self) -> None:
        for first in (
            b"",
            b"n",
            b"n,,",
            b"n,,n=alice",
            b"n,,r=abc,n=alice",
            b"n,,n=alice,r=",
            b"n,,n=,r=abc",
            b"n,,n=alice,r=a b",
            b"n,,n=alice,n=bob,r=abc",
            b"n,,n=alice,r=abc,m=ext",
            b"n,,m=ext,n=alice,r=abc",
            b"n,,n=al=ice,r=abc",
            b"n,,n=al\0ice,r=abc",
            b"n,,n=alice,r=abc\0",
            b"n,,n=\xff\xfe,r=abc",
            "n,,n=\ue000,r=abc".encode(),
            b"x,,n=alice,r=abc",
            b"n,a=bob,n=alice,r=abc",
            b"p=tls-unique,,n=alice,r=abc",
            b"p=tls-exporter,,n=alice,r=abc",
            b"p=,,n=alice,r=abc",
            b"n,,n=" + b"a" * 257 + b",r=abc",
            b"n,,n=alice,r=" + b"a" * MESSAGE_MAXIMUM,
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            exchange = World().begin()
            self.refused(exchange.start("SCRAM-SHA-256", first))
            self.refused(exchange.step(b""))

    def final(self, world: World, change: Any) -> str:
        """Answer a challenge rightly but for a change; return the reason of the refusal."""
        exchange = world.begin()
        client = scramp.ScramClient(["SCRAM-SHA-256"], "alice", "secret", c_nonce="abcdef")
        data = self.successResultOf(exchange.start("SCRAM-SHA-256", client.get_client_first().encode()))[1]
        assert data is not None
        client.set_server_first(data.decode())
        return self.refused(exchange.step(change(client.get_client_final().encode())))

    def test_final_messages_that_are_wrong(self) -> None:
        world = World()
        foreign = b"r=abcdef" + b"0" * 64
        for change in (
            lambda final: b"",
            lambda final: final[:-1],
            lambda final: final + b",x=y",
            lambda final: final + b"\0",
            lambda final: final.replace(b"c=biws", b"c=eSws"),  # another flag than before
            lambda final: final.replace(b"c=biws", b"c=biws,c=biws"),
            lambda final: final.replace(b"c=biws", b"c=!"),
            lambda final: re.sub(rb"r=[^,]*", foreign, final),
            lambda final: re.sub(rb"r=[^,]*", b"r=abcdef", final),
            lambda final: re.sub(rb",p=.*", b"", final),
            lambda final: re.sub(rb",p=.*", b",p=", final),
            lambda final: re.sub(rb",p=.*", b",p=AAAA", final),
            lambda final: re.sub(rb",p=.*", b",p=" + base64.b64encode(b"\0" * 32), final),
            lambda final: re.sub(rb",p=.*", b",p=\xc3\xa9", final),
            lambda final: final + b"A" * MESSAGE_MAXIMUM,
        ):
            self.final(world, change)
            world.clock.advance(3600)

    def test_replay(self) -> None:
        """A final message of an earlier exchange does not fit the nonce of this one."""
        world = World()
        sent: list[bytes] = []
        self.final(world, lambda final: sent.append(final) or b"")
        exchange, _ = self.first(world)
        self.assertIn("nonce", self.refused(exchange.step(sent[0])))

    def test_reflected_nonce(self) -> None:
        """Each exchange has a nonce of its own, whatever the client's is."""
        world = World()
        challenges = {self.first(world)[1] for _ in range(20)}
        self.assertEqual(20, len(challenges))

    def test_password_changed_meanwhile(self) -> None:
        """What the portal says after the proof counts."""
        world = World()

        def fail(credentials: Any) -> Any:
            from twisted.cred.error import UnauthorizedLogin

            raise UnauthorizedLogin("changed")

        world.checker.answer = fail
        self.assertIn("changed", self.refused(self.scram(world.begin(), "alice", "secret")))


class KeysTests(AuthTestCase):
    """Keys of passwords."""

    def test_fits(self) -> None:
        keys = make_keys("SCRAM-SHA-256", "pencil", FEW)
        self.assertTrue(fits("pencil", keys))
        self.assertFalse(fits("Pencil", keys))
        self.assertEqual(SALT_SIZE, len(keys.salt))

    def test_same_password_other_salt(self) -> None:
        first, second = (make_keys("SCRAM-SHA-1", "pencil", FEW) for _ in range(2))
        self.assertNotEqual(first.stored_key, second.stored_key)

    def test_decoys(self) -> None:
        """Stable, of the right shape, and different for each user, mechanism and secret."""
        one = decoy_keys(b"s", "x", "SCRAM-SHA-512", 5000)
        self.assertEqual(one, decoy_keys(b"s", "x", "SCRAM-SHA-512", 5000))
        self.assertEqual((SALT_SIZE, 64, 64, 5000), shape(one))
        self.assertEqual((SALT_SIZE, 20, 20, 5000), shape(decoy_keys(b"s", "x", "SCRAM-SHA-1", 5000)))
        others = [("t", "x", "SCRAM-SHA-512"), ("s", "y", "SCRAM-SHA-512"), ("s", "x", "SCRAM-SHA-256")]
        salts = {decoy_keys(secret.encode(), name, kind, 5000).salt for secret, name, kind in others}
        self.assertEqual(4, len(salts | {one.salt}))

    def test_secrets_are_not_shown(self) -> None:
        keys = make_keys("SCRAM-SHA-256", "pencil", FEW)
        self.assertNotIn(repr(keys.stored_key), repr(keys))
        self.assertNotIn("salt", repr(keys))


def shape(keys: ScramKeys) -> tuple[int, int, int, int]:
    """Sizes and iterations."""
    return len(keys.salt), len(keys.stored_key), len(keys.server_key), keys.iterations


class GuessTests(AuthTestCase):
    """Guessing over SCRAM is limited."""

    def test_right_password_after_too_many_wrong_ones(self) -> None:
        world = World()
        for number in range(6):
            self.refused(self.scram(world.begin(), "alice", f"guess {number}"))
        self.assertIn("refused for 1 s", self.refused(self.scram(world.begin(), "alice", "secret")))
        world.clock.advance(1)
        self.successResultOf(self.scram(world.begin(), "alice", "secret"))

    def test_other_peer(self) -> None:
        """A user who is being guessed from elsewhere is refused from new places, not from known ones."""
        world = World()
        self.successResultOf(self.scram(world.begin(peer("192.0.2.7")), "alice", "secret"))
        for number in range(6):
            self.refused(self.scram(world.begin(peer("192.0.2.66")), "alice", f"guess {number}"))
        self.assertIn(
            "user 'alice'", self.refused(self.scram(world.begin(peer("192.0.2.8")), "alice", "secret"))
        )
        self.successResultOf(self.scram(world.begin(peer("192.0.2.7")), "alice", "secret"))
        self.assertIn("peer", self.refused(self.scram(world.begin(peer("192.0.2.66")), "bob", "pencil")))
