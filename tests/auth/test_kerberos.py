"""GSSAPI over a context that is made up. With a real Kerberos: tests/interop/test_sasl.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from remotevirt.auth import AuthRefused, Kerberos, LayerError, SaslExchange
from remotevirt.auth import kerberos as module
from remotevirt.auth.kerberos import RECEIVE_MAXIMUM, ROUNDS_MAXIMUM, GssapiLayer
from remotevirt.auth.service import Reply
from tests.auth.fakes import AuthTestCase, World, peer
from tests.strategies import bounded, bytes_with_splits

SEALED, SIGNED = b"sealed:", b"signed:"


class FakeContext:
    """A context whose tokens are readable: ``token`` leads to completion, wrapping puts a word before."""

    def __init__(self, rounds: int = 1, last: bytes = b"", ssf: int = 256) -> None:
        self.rounds = rounds
        self.last = last
        self.complete = False
        self.initiator = "joe@EXAMPLE.COM"
        self.ssf = ssf

    def step(self, token: bytes) -> bytes:
        """Take a token."""
        if token != b"token":
            raise AuthRefused("GSSAPI: a bad token")
        self.rounds -= 1
        self.complete = self.rounds == 0
        return self.last if self.complete else b"more"

    def wrap(self, data: bytes, encrypt: bool) -> bytes:
        """Protect."""
        return (SEALED if encrypt else SIGNED) + data

    def unwrap(self, data: bytes) -> tuple[bytes, bool]:
        """Take apart."""
        for prefix in (SEALED, SIGNED):
            if data.startswith(prefix):
                return data.removeprefix(prefix), prefix is SEALED
        raise AuthRefused("GSSAPI: a bad message")

    def size_limit(self, wrapped: int, encrypt: bool) -> int:
        """Room for data."""
        return wrapped - len(SEALED)


def framed(data: bytes) -> bytes:
    """Data behind its length."""
    return len(data).to_bytes(4, "big") + data


class GssapiTestCase(AuthTestCase):
    """Exchanges over a context."""

    def begin(self, context: FakeContext, transport: str = "tcp", **options: Any) -> SaslExchange:
        world = World(["GSSAPI"], kerberos=lambda: context, **options)
        return world.begin(peer(transport=transport))

    def offer(self, exchange: SaslExchange) -> bytes:
        """What is offered after one token."""
        complete, data = self.successResultOf(exchange.start("GSSAPI", b"token"))
        self.assertFalse(complete)
        assert data is not None
        self.assertTrue(data.startswith(SIGNED))
        return data.removeprefix(SIGNED)

    def answer(
        self, exchange: SaslExchange, layer: int, maximum: int = 4096, name: bytes = b""
    ) -> Deferred[Reply]:
        """Choose a layer."""
        return exchange.step(SIGNED + bytes([layer]) + maximum.to_bytes(3, "big") + name)


class ExchangeTests(GssapiTestCase):
    """The exchange."""

    def test_plain_tcp(self) -> None:
        """Encryption, and nothing else, is offered."""
        exchange = self.begin(FakeContext())
        self.assertEqual(b"\4" + RECEIVE_MAXIMUM.to_bytes(3, "big"), self.offer(exchange))
        self.assertEqual((True, None), self.successResultOf(self.answer(exchange, 4)))
        self.assertEqual("joe@EXAMPLE.COM", exchange.username)
        assert exchange.layer is not None
        self.assertEqual(256, exchange.layer.ssf)

    def test_protected_transports(self) -> None:
        """No layer is offered."""
        for transport in ("tls", "unix"):
            exchange = self.begin(FakeContext(), transport)
            self.assertEqual(b"\1\0\0\0", self.offer(exchange))
            self.assertEqual((True, None), self.successResultOf(self.answer(exchange, 1, 0)))
            self.assertIs(None, exchange.layer)

    def test_what_is_offered_depends_on_what_is_wanted(self) -> None:
        for min_ssf, ssf, layers in ((0, 256, 7), (0, 0, 3), (1, 256, 6), (1, 0, 2), (2, 56, 4)):
            self.assertEqual(layers, self.offer(self.begin(FakeContext(ssf=ssf), tcp_min_ssf=min_ssf))[0])

    def test_context_that_is_too_weak(self) -> None:
        exchange = self.begin(FakeContext(ssf=56))
        self.assertIn("strength 56, where 112", self.refused(exchange.start("GSSAPI", b"token")))

    def test_integrity(self) -> None:
        exchange = self.begin(FakeContext(), tcp_min_ssf=1)
        self.offer(exchange)
        self.successResultOf(self.answer(exchange, 2))
        assert exchange.layer is not None
        self.assertEqual(1, exchange.layer.ssf)
        self.assertEqual(framed(b"signed:data"), exchange.layer.wrap(b"data"))
        self.assertEqual(b"data", exchange.layer.unwrap(framed(b"signed:data")))

    def test_several_tokens(self) -> None:
        exchange = self.begin(FakeContext(rounds=3))
        self.assertEqual((False, b"more"), self.successResultOf(exchange.start("GSSAPI", b"token")))
        self.assertEqual((False, b"more"), self.successResultOf(exchange.step(b"token")))
        self.assertTrue((self.successResultOf(exchange.step(b"token"))[1] or b"").startswith(SIGNED))

    def test_token_of_ours_at_the_end(self) -> None:
        """The client answers with nothing, which libvirt may send as nil or as empty."""
        for nothing in (None, b""):
            exchange = self.begin(FakeContext(last=b"last"))
            self.assertEqual((False, b"last"), self.successResultOf(exchange.start("GSSAPI", b"token")))
            self.assertTrue((self.successResultOf(exchange.step(nothing))[1] or b"").startswith(SIGNED))

    def test_no_initial_token(self) -> None:
        exchange = self.begin(FakeContext())
        self.assertEqual((False, b""), self.successResultOf(exchange.start("GSSAPI", None)))
        self.assertFalse(self.successResultOf(exchange.step(b"token"))[0])

    def test_refused(self) -> None:
        self.refused(self.begin(FakeContext()).start("GSSAPI", b"nonsense"))
        endless = self.begin(FakeContext(rounds=1000))
        self.successResultOf(endless.start("GSSAPI", b"token"))
        for _ in range(ROUNDS_MAXIMUM - 1):
            self.successResultOf(endless.step(b"token"))
        self.assertIn("no end", self.refused(endless.step(b"token")))
        after = self.begin(FakeContext(last=b"last"))
        self.successResultOf(after.start("GSSAPI", b"token"))
        self.refused(after.step(b"token"))

    def test_choices_that_are_refused(self) -> None:
        choose: list[Callable[[SaslExchange], Deferred[Reply]]] = [
            lambda exchange: self.answer(exchange, 1),
            lambda exchange: self.answer(exchange, 2),
            lambda exchange: self.answer(exchange, 0),
            lambda exchange: self.answer(exchange, 6),
            lambda exchange: self.answer(exchange, 8),
            lambda exchange: self.answer(exchange, 4, maximum=0),
            lambda exchange: self.answer(exchange, 4, maximum=1023),
            lambda exchange: self.answer(exchange, 4, name=b"root"),
            lambda exchange: self.answer(exchange, 4, name=b"joe@EXAMPLE.COM\0"),
            lambda exchange: exchange.step(SIGNED + b"\4\0\0"),
            lambda exchange: exchange.step(b"\4\0\x10\0"),
            lambda exchange: exchange.step(None),
        ]
        for number, send in enumerate(choose):
            exchange = self.begin(FakeContext())
            self.offer(exchange)
            self.assertTrue(self.refused(send(exchange)), number)
            self.assertIs(None, exchange.layer)

    def test_own_name(self) -> None:
        exchange = self.begin(FakeContext())
        self.offer(exchange)
        self.successResultOf(self.answer(exchange, 4, name=b"joe@EXAMPLE.COM"))

    def test_allowed_names(self) -> None:
        exchange = self.begin(FakeContext(), allowed_usernames=["*@EXAMPLE.ORG"])
        self.offer(exchange)
        self.assertIn("not among the allowed", self.refused(self.answer(exchange, 4)))

    def test_long_name(self) -> None:
        context = FakeContext()
        context.initiator = "x" * 257
        exchange = self.begin(context)
        self.offer(exchange)
        self.assertIn("a name of 257", self.refused(self.answer(exchange, 4)))


class LayerTests(GssapiTestCase):
    """The security layer."""

    def layer(self, maximum: int = 1024) -> GssapiLayer:
        return GssapiLayer(FakeContext(), True, maximum)

    def test_pieces(self) -> None:
        """No message is larger than the client takes."""
        layer = self.layer()
        sent = layer.wrap(b"x" * 5000)
        sizes = []
        while sent:
            size = int.from_bytes(sent[:4], "big")
            sizes.append(size)
            sent = sent[4 + size :]
        self.assertEqual([1024] * 4 + [5000 - 4 * 1017 + 7], sizes)
        self.assertEqual(b"", layer.wrap(b""))

    @bounded(100)
    @given(st.data())
    def test_any_cut(self, data: Any) -> None:
        """However the bytes arrive, what comes out is the same."""
        plain = data.draw(st.binary(max_size=4000))
        layer = self.layer()
        pieces = data.draw(bytes_with_splits(layer.wrap(plain)))
        self.assertEqual(plain, b"".join(layer.unwrap(piece) for piece in pieces))

    def test_damage(self) -> None:
        for data in (
            framed(b""),
            (RECEIVE_MAXIMUM + 1).to_bytes(4, "big"),
            b"\xff\xff\xff\xff",
            framed(b"nonsense"),
            framed(b"signed:data"),
            b"\0\0\0\x1c\x20\0\x80\x86\0\0\0\1" + bytes(24),  # a call of libvirt's without a layer
        ):
            self.assertRaises(LayerError, self.layer().unwrap, data)

    def test_largest(self) -> None:
        layer = self.layer()
        token = SEALED + b"x" * (RECEIVE_MAXIMUM - len(SEALED))
        self.assertEqual(RECEIVE_MAXIMUM - len(SEALED), len(layer.unwrap(framed(token))))


class LibraryTests(AuthTestCase):
    """The package gssapi, which is an extra."""

    def test_not_installed(self) -> None:
        def fail() -> Any:
            raise ImportError

        self.patch(module, "_load", fail)
        error = self.assertRaises(ValueError, World, ["GSSAPI"])
        self.assertEqual("SASL mechanism GSSAPI needs the package gssapi", str(error))

    def test_no_keytab(self) -> None:
        """An error of the library is a refusal with its text."""
        self.patch(module, "_load", lambda: FakeLibrary)
        error = self.assertRaises(AuthRefused, Kerberos("/nonexistent").context)
        self.assertIn("no key of ours", str(error))
        if importlib.util.find_spec("gssapi") is not None:
            self.patch(module, "_load", lambda: __import__("gssapi"))
            self.assertRaises(AuthRefused, Kerberos("/nonexistent").context)


class FakeLibrary:
    """As much of the package as a missing keytab needs."""

    class exceptions:
        class GSSError(Exception):
            """An error."""

    class NameType:
        hostbased_service = 1

    @staticmethod
    def Name(*_: object) -> str:
        """A name."""
        return "name"

    @classmethod
    def Credentials(cls, **_: object) -> Any:
        """None."""
        raise cls.exceptions.GSSError("no keytab")
