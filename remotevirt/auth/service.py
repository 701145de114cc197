"""SASL for a daemon's sessions: which mechanisms a client may choose from, and the exchange itself.

::

    auth_sasl_init    service.offered(transport)            the mechanisms, in libvirt's form
                      service.begin(identity, transport)    ──> exchange
    auth_sasl_start   exchange.start(mechanism, data)       ──> (complete, data), later
    auth_sasl_step    exchange.step(data)                   ──> (complete, data), later

A mechanism is a coroutine (:mod:`remotevirt.auth.mechanism`) that waits for the client's next message. So an
exchange has two halves that take turns: the session waits for a reply, or the mechanism waits for a message.
Whatever does not fit ends it, and it stays ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginFailed, Unauthorized
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, fail, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.auth.interfaces import AuthRefused, IScramKeys, IScramProof, IUser, SecurityLayer
from remotevirt.auth.kerberos import Context, Kerberos, gssapi_mechanism
from remotevirt.auth.limiter import GuessLimiter
from remotevirt.auth.mechanism import Mechanism, Outcome
from remotevirt.auth.plain import PLAIN
from remotevirt.auth.scram import SCRAM
from remotevirt.auth.text import name_filter
from remotevirt.identity import Identity

__all__ = ["DEFAULT_MECHANISMS", "MECHANISM_NAMES", "TCP_MIN_SSF", "Reply", "SaslExchange", "SaslService"]

DEFAULT_MECHANISMS = ("SCRAM-SHA-256",)
"""What is offered where nothing is configured; libvirt's packages offer GSSAPI, which wants a Kerberos."""

MECHANISM_NAMES = (*(mechanism.name for mechanism in SCRAM), PLAIN.name, "GSSAPI")
"""The mechanisms that can be configured."""

TCP_MIN_SSF = 112
"""The strength that a security layer must have over plain TCP, by default; libvirt's name and value."""

SSF_ANY = 100_000
"""The strongest layer that is asked for over plain TCP; libvirt's value, meaning any."""

PASSWORDS_AT_ONCE = 2
"""Passwords that are checked at a time; more wait. Each takes a thread and 20 ms of a processor, and as many
guesses at most are under way when the first is found to be wrong. libvirtd checks one for each worker."""

PROTECTED = frozenset({"tls", "unix"})
"""Transports that nobody listens to, where no security layer is wanted (libvirt's rule)."""

_T = TypeVar("_T")

Reply = tuple[bool, bytes | None]
"""Whether the exchange is complete, and what to send: None is libvirt's ``nil``."""


class SaslService:
    """What all clients of a daemon share.

    Args:
        portal: logs users in; its realm gives :class:`IUser`.
        clock: an IReactorTime.
        mechanisms: names, in any case, in the order in which they are offered.
        allowed_usernames: globs (``sasl_allowed_username_list``); None: whoever the portal knows.
        tcp_min_ssf: what a mechanism's security layer must have over plain TCP.
        kerberos: makes the daemon's security contexts, for GSSAPI; None: :class:`Kerberos` with the system's
            keytab.
        limiter: limits guesses; None: a new one.
        in_thread: calls a function off the reactor's thread and returns a Deferred.

    Raises:
        ValueError: a mechanism is not known, not installed, or the portal has no checker for it.
    """

    def __init__(
        self,
        portal: Portal,
        clock: Any,
        mechanisms: Iterable[str] = DEFAULT_MECHANISMS,
        allowed_usernames: Iterable[str] | None = None,
        tcp_min_ssf: int = TCP_MIN_SSF,
        kerberos: Callable[[], Context] | None = None,
        limiter: GuessLimiter | None = None,
        in_thread: Callable[..., Deferred[Any]] = deferToThread,
    ) -> None:
        self.portal = portal
        self.allows = name_filter(allowed_usernames)
        self.tcp_min_ssf = tcp_min_ssf
        self.limiter = GuessLimiter(clock) if limiter is None else limiter
        self.in_thread = in_thread
        self.passwords = DeferredSemaphore(PASSWORDS_AT_ONCE)
        self.mechanisms = {
            mechanism.name: mechanism for mechanism in (_find(name, kerberos) for name in mechanisms)
        }
        if not self.mechanisms:
            raise ValueError("no SASL mechanism is configured")
        taken = portal.listCredentialsInterfaces()
        for name, mechanism in self.mechanisms.items():
            if mechanism.wants not in taken:
                raise ValueError(f"nobody checks users of SASL mechanism {name}")

    def available(self, transport: str) -> tuple[str, ...]:
        """Return the names of the mechanisms that a client of a transport may use."""
        return tuple(
            name for name, mechanism in self.mechanisms.items() if self._is_available(mechanism, transport)
        )

    def _is_available(self, mechanism: Mechanism, transport: str) -> bool:
        if transport in PROTECTED:
            return True
        # A password never travels as it is, whatever is configured (libvirt's SASL_SEC_NOPLAINTEXT).
        return not mechanism.password and mechanism.ssf >= self.tcp_min_ssf

    def offered(self, transport: str) -> str:
        """Return the mechanisms as ``auth_sasl_init`` names them; empty: none is good enough here."""
        return ",".join(self.available(transport))

    def begin(self, identity: Identity, transport: str) -> SaslExchange:
        """Begin an exchange.

        Args:
            identity: the client.
            transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
        """
        return SaslExchange(self, identity.peer, transport)


def _find(name: str, kerberos: Callable[[], Context] | None) -> Mechanism:
    name = name.upper()
    if name == "GSSAPI":
        return gssapi_mechanism(Kerberos().context if kerberos is None else kerberos)
    for mechanism in (*SCRAM, PLAIN):
        if mechanism.name == name:
            return mechanism
    raise ValueError(f"unknown SASL mechanism {name!r}; known are {', '.join(MECHANISM_NAMES)}")


def _release(result: _T, passwords: DeferredSemaphore) -> _T:
    passwords.release()
    return result


class SaslExchange:
    """One client's authentication. Every reply is a Deferred, which fails with :class:`AuthRefused` only.

    Attributes:
        mechanism: what the client chose; empty before it did.
        username: who it is, once complete; empty before.
        layer: what protects all that follows the last reply, in both directions; None: nothing does.
    """

    log = Logger()

    def __init__(self, service: SaslService, peer: str, transport: str) -> None:
        self.mechanism = ""
        self.username = ""
        self.layer: SecurityLayer | None = None
        self.min_ssf, self.max_ssf = (0, 0) if transport in PROTECTED else (service.tcp_min_ssf, SSF_ANY)
        self._service = service
        self._peer = peer
        self._transport = transport
        self._password = False
        self._data: bytes | None = None
        self._running: Deferred[None] | None = None
        self._reply: Deferred[Reply] | None = None  # the session waits
        self._asked: Deferred[bytes] | None = None  # the mechanism waits
        self._over = False
        self._logout: Callable[[], Any] | None = None

    # -- for the session ---------------------------------------------------------------------------------

    def start(self, mechanism: str, data: bytes | None) -> Deferred[Reply]:
        """Begin with a mechanism.

        Args:
            mechanism: its name.
            data: the client's first message; None: it was not sent along.
        """
        if self._over or self.mechanism:
            return self._refuse("a start where none belongs")
        if mechanism not in self._service.available(self._transport):
            return self._refuse(f"mechanism {mechanism[:64]!r} is not offered over {self._transport}")
        chosen = self._service.mechanisms[mechanism]
        self.mechanism = chosen.name
        self._password = chosen.password
        self._data = data
        reply: Deferred[Reply] = Deferred()
        self._reply = reply
        self._running = Deferred.fromCoroutine(chosen.run(self)).addCallbacks(self._completed, self._failed)
        return reply

    def step(self, data: bytes | None) -> Deferred[Reply]:
        """Go on.

        Args:
            data: the client's next message; None: nothing.
        """
        if self._over or self._asked is None:
            return self._refuse("a step where none belongs")
        reply: Deferred[Reply] = Deferred()
        self._reply = reply
        asked, self._asked = self._asked, None
        asked.callback(data or b"")
        return reply

    def close(self) -> None:
        """End it, when the client has gone: what is under way is given up, who is logged in is logged out."""
        self._end()
        logout, self._logout = self._logout, None
        if logout is not None:
            maybeDeferred(logout).addErrback(
                lambda failure: self.log.failure("a realm could not log a user out", failure)
            )

    def _refuse(self, reason: str) -> Deferred[Reply]:
        self._end()
        return fail(AuthRefused(reason))

    def _end(self) -> None:
        """Let nothing more happen."""
        self._over = True
        if self._running is not None:
            self._running.cancel()

    # -- for the mechanism: see Talk ---------------------------------------------------------------------

    async def first(self) -> bytes:
        """Return the client's first message."""
        return await self.ask(b"") if self._data is None else self._data

    def ask(self, challenge: bytes) -> Deferred[bytes]:
        """Send a challenge; return the answer."""
        asked: Deferred[bytes] = Deferred()
        self._asked = asked
        self._answer((False, challenge))
        return asked

    def scram_keys(self) -> IScramKeys:
        """Return the checker that knows the keys of SCRAM."""
        return IScramKeys(self._service.portal.checkers[IScramProof])

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Call a function in a thread."""
        return self._service.in_thread(function)

    async def login(self, username: str, prove: Callable[[], ICredentials]) -> str:
        """Log a user in."""
        if not self._password:
            return await self._login(username, prove)
        passwords = self._service.passwords
        await passwords.acquire()
        # A client that goes away now makes no room for another: its password is being hashed, and counts.
        answer: Deferred[str] = Deferred()
        checking = Deferred.fromCoroutine(self._login(username, prove))
        checking.addBoth(_release, passwords)
        checking.chainDeferred(answer)
        return await answer

    async def _login(self, username: str, prove: Callable[[], ICredentials]) -> str:
        limiter = self._service.limiter
        limiter.check(self._peer, username)
        try:
            login = await self._service.portal.login(prove(), None, IUser)
        except (LoginFailed, Unauthorized) as error:
            limiter.failed(self._peer, username)
            raise AuthRefused(f"user {username!r}: {error or type(error).__name__}") from None
        except AuthRefused:
            limiter.failed(self._peer, username)
            raise
        _, user, self._logout = login
        limiter.succeeded(self._peer, username)
        if self._over:
            self.close()
            raise AuthRefused("the client has gone")
        name: str = IUser(user).name
        if not self._service.allows(name):
            raise AuthRefused(f"user {name!r} is not among the allowed names")
        return name

    # -- the end -----------------------------------------------------------------------------------------

    def _answer(self, result: Reply | AuthRefused) -> None:
        reply, self._reply = self._reply, None
        if reply is None:
            return  # it was refused, or the client has gone
        if isinstance(result, AuthRefused):
            reply.errback(result)
        else:
            reply.callback(result)

    def _completed(self, outcome: Outcome) -> None:
        self._running = None
        if self._over:  # somebody's Deferred would not be cancelled
            self.close()
            self._answer(AuthRefused("the exchange was given up"))
            return
        self._over = True
        self.username = outcome.username
        self.layer = outcome.layer
        self.log.info(
            "{peer} has logged in as {user!r} by {mechanism}",
            peer=self._peer,
            user=self.username,
            mechanism=self.mechanism,
        )
        self._answer((True, outcome.data))

    def _failed(self, failure: Failure) -> None:
        self._running = None
        self._over = True
        error = failure.value
        if failure.check(CancelledError):
            error = AuthRefused("the exchange was given up")
        elif not isinstance(error, AuthRefused):
            self.log.failure("an authentication failed by an error of ours", failure)
            error = AuthRefused(f"an error of ours: {type(error).__name__}")
        self.close()
        self._answer(error)
