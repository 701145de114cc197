"""Whatever a client sends, the answer is a reply or AuthRefused, and nobody gets in who should not."""

from __future__ import annotations

from typing import Any

import scramp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from remotevirt.auth import AuthRefused, SaslExchange
from remotevirt.auth.service import Reply
from tests.auth.fakes import AuthTestCase, World, peer
from tests.auth.test_kerberos import SEALED, SIGNED, FakeContext
from tests.strategies import bounded, mutated

MECHANISMS = ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "GSSAPI")

DATA = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")),
    mutated(b"n,,n=alice,r=abcdef"),
    mutated(b"n,a=alice,n=ali=2Cce,r=abcdef,x=y"),
    mutated(b"c=biws,r=abcdef0123456789,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
    mutated(b"\0alice\0Secret"),
    mutated(b"token"),
    mutated(SIGNED + b"\4\0\xff\xff"),
    mutated(SEALED + b"\1\0\0\0joe"),
)
"""Messages, most of them nearly right."""


def world() -> World:
    """A world in which everything is offered."""
    return World(MECHANISMS, kerberos=FakeContext)


def ends(reply: Deferred[Reply]) -> Reply | None:
    """What a reply is; None: refused. Anything else fails the test."""
    results: list[Any] = []
    reply.addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.trap(AuthRefused)
        return None
    complete, data = result
    assert isinstance(complete, bool)
    assert data is None or isinstance(data, bytes)
    return complete, data


class Exchange(RuleBasedStateMachine):
    """Calls in any order, with any data."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange: SaslExchange = world().begin(peer(transport="unix"))
        self.refused = False

    def look(self, reply: Deferred[Reply]) -> None:
        """A refusal is for ever; to be in is to be somebody."""
        result = ends(reply)
        assert not (self.refused and result)
        self.refused = self.refused or result is None
        if result is not None and result[0]:
            assert self.exchange.mechanism == "GSSAPI"
            assert self.exchange.username == "joe@EXAMPLE.COM"
        else:
            assert result is None or self.exchange.username == ""

    @rule(mechanism=st.sampled_from((*MECHANISMS, "", "X")), data=DATA)
    def start(self, mechanism: str, data: bytes | None) -> None:
        """Start."""
        self.look(self.exchange.start(mechanism, data))

    @rule(data=DATA)
    def step(self, data: bytes | None) -> None:
        """Step."""
        self.look(self.exchange.step(data))

    @rule(
        data=st.sampled_from([b"n,,n=alice,r=abcdef", b"token", None]), mechanism=st.sampled_from(MECHANISMS)
    )
    def start_well(self, data: bytes | None, mechanism: str) -> None:
        """Start with something that makes sense for some mechanism."""
        self.look(self.exchange.start(mechanism, data))


class AdversityTests(AuthTestCase):
    """Random and mutated input."""

    def test_any_order_any_data(self) -> None:
        run_state_machine_as_test(Exchange, settings=bounded(200))

    @bounded(300)
    @given(st.data())
    def test_mutated_login(self, data: Any) -> None:
        """A login with the right password in which bytes change: in as who one is, or refused."""
        exchange = world().begin()
        mechanism = data.draw(st.sampled_from(MECHANISMS[:3]))
        client = scramp.ScramClient([mechanism], "alice", "secret", c_nonce="abcdef")
        first = client.get_client_first().encode()
        result = ends(exchange.start(mechanism, data.draw(st.one_of(st.just(first), mutated(first)))))
        if result is None:
            return
        assert result[1] is not None
        try:
            client.set_server_first(result[1].decode())
            final = client.get_client_final().encode()
        except scramp.ScramException:
            return
        result = ends(exchange.step(data.draw(mutated(final))))
        self.assertIn((result is not None, exchange.username), [(False, ""), (True, "alice")])

    @bounded(300)
    @given(mutated(b"\0alice\0secret"))
    def test_mutated_plain(self, message: bytes) -> None:
        """In as somebody who exists, or refused."""
        exchange = world().begin()
        result = ends(exchange.start("PLAIN", message))
        self.assertIn((result is not None, exchange.username), [(False, ""), (True, "alice")])

    def test_largest_message(self) -> None:
        """As much as libvirt's message holds is refused before anything is done with it."""
        for mechanism in MECHANISMS:
            exchange = world().begin()
            self.refused(exchange.start(mechanism, b"n,,n=" + "\u0130".encode() * 32000))
