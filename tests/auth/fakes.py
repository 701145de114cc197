"""A service with users in memory, a clock, no threads, and clients that know SCRAM by scramp."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scramp import ScramClient
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from remotevirt.auth import (
    AuthRefused,
    IScramKeys,
    IScramProof,
    PrincipalChecker,
    SaslExchange,
    SaslService,
    ScramKeys,
    UserRealm,
    decoy_keys,
    make_keys,
)
from remotevirt.auth.service import Reply
from remotevirt.identity import Identity

__all__ = ["FEW", "AuthTestCase", "MemoryChecker", "World", "peer"]

FEW = 4096
"""Iterations: the least that there may be."""

KEYS = {
    name: {m: make_keys(m, password, FEW) for m in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")}
    for name, password in {"alice": "secret", "bob": "pencil"}.items()
}
"""The users, made once."""


def peer(host: str = "192.0.2.1", transport: str = "tls") -> Identity:
    """A client at some address."""
    return Identity(transport, f"{host};1234")


@implementer(ICredentialsChecker, IScramKeys)
class MemoryChecker:
    """Knows :data:`KEYS`, and two passwords.

    Attributes:
        later: where set, what SCRAM's keys wait for.
        asked: the credentials that were checked.
    """

    credentialInterfaces = (IScramProof, IUsernamePassword)

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, ScramKeys]] = {name: dict(keys) for name, keys in KEYS.items()}
        self.later: Deferred[None] | None = None
        self.asked: list[Any] = []
        self.answer: Any = None

    def scram_keys(self, username: str, mechanism: str) -> Any:
        """Return keys, perhaps later."""
        keys = self.keys.get(username, {}).get(mechanism)
        return keys if self.later is None else self.later.addCallback(lambda _: keys)

    def scram_decoy(self, username: str, mechanism: str) -> ScramKeys:
        """Return keys of nobody."""
        return decoy_keys(b"a secret", username, mechanism, FEW)

    def requestAvatarId(self, credentials: Any) -> Any:
        """Believe a proof; compare passwords."""
        self.asked.append(credentials)
        if self.answer is not None:
            return self.answer(credentials)
        if IScramProof.providedBy(credentials):
            return credentials.username
        if {b"alice": b"secret", b"bob": b"pencil"}.get(credentials.username) != credentials.password:
            raise UnauthorizedLogin("wrong password")
        return credentials.username


class World:
    """A service and what it is made of."""

    def __init__(self, mechanisms: Iterable[str] = ("SCRAM-SHA-256", "PLAIN"), **options: Any) -> None:
        self.clock = Clock()
        self.checker = MemoryChecker()
        self.realm = UserRealm()
        self.portal = Portal(self.realm, [self.checker, PrincipalChecker()])
        self.service = SaslService(self.portal, self.clock, mechanisms, in_thread=maybeDeferred, **options)

    def begin(self, identity: Identity | None = None) -> SaslExchange:
        """Begin an exchange, over TLS unless told otherwise."""
        identity = peer() if identity is None else identity
        return self.service.begin(identity, identity.transport)


class AuthTestCase(SynchronousTestCase):
    """A test case that logs in."""

    def refused(self, reply: Deferred[Reply]) -> str:
        """The reason of a refusal."""
        return str(self.failureResultOf(reply, AuthRefused).value)

    def scram(
        self, exchange: SaslExchange, username: str, password: str, mechanism: str = "SCRAM-SHA-256"
    ) -> Deferred[Reply]:
        """Go through SCRAM; return the last reply, the server's proof checked if it is one."""
        client = ScramClient([mechanism], username, password)
        first = client.get_client_first().encode()
        complete, data = self.successResultOf(exchange.start(mechanism, first))
        self.assertFalse(complete)
        assert data is not None
        client.set_server_first(data.decode())
        reply = exchange.step(client.get_client_final().encode())

        def check(result: Reply) -> Reply:
            self.assertTrue(result[0])
            assert result[1] is not None
            client.set_server_final(result[1].decode())
            return result

        return reply.addCallback(check)

    def plain(self, exchange: SaslExchange, username: str, password: str) -> Deferred[Reply]:
        """Send PLAIN's one message."""
        return exchange.start("PLAIN", f"\0{username}\0{password}".encode())
