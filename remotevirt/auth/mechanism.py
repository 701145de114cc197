"""What a SASL mechanism is here: a coroutine that reads like its RFC.

It asks its :class:`Talk` for what the client says, has it log the user in, and returns the :class:`Outcome`.
When something is wrong it raises :class:`~remotevirt.auth.interfaces.AuthRefused`. Order, the limit on
guessing and the allowed names are the business of whoever runs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import attrs
from twisted.cred.credentials import ICredentials

from remotevirt.auth.interfaces import IScramKeys, SecurityLayer

__all__ = ["Mechanism", "Outcome", "Talk"]


class Talk(Protocol):
    """One exchange, as its mechanism sees it.

    Attributes:
        min_ssf, max_ssf: the security layer that is wanted: at least, at most. Both 0: none, because the
            transport is protected.
    """

    @property
    def min_ssf(self) -> int: ...

    @property
    def max_ssf(self) -> int: ...

    async def first(self) -> bytes:
        """Return what the client begins with; asks for it where it was not sent along."""

    def ask(self, challenge: bytes) -> Awaitable[bytes]:
        """Send a challenge; return the answer, nothing at all counting as empty."""

    def scram_keys(self) -> IScramKeys:
        """Return the checker that knows the keys of SCRAM."""

    def in_thread(self, function: Callable[[], Any]) -> Awaitable[Any]:
        """Call what takes long, or may wait for a file, off the reactor's thread."""

    async def login(self, username: str, prove: Callable[[], ICredentials]) -> str:
        """Log a user in, unless too many guesses have failed.

        Args:
            username: who the client says it is.
            prove: checks what can be checked here, and returns what the portal shall check.

        Returns:
            the name of the user that the portal gave.

        Raises:
            AuthRefused: ``prove`` raised it, the portal refuses, or it is not the time for guesses.
        """


@attrs.frozen
class Outcome:
    """How an exchange ended well.

    Attributes:
        username: who it is.
        data: the last message to the client; None: nothing is left to say.
        layer: what protects everything after the reply that carries ``data``.
    """

    username: str
    data: bytes | None = None
    layer: SecurityLayer | None = None


@attrs.frozen
class Mechanism:
    """A mechanism.

    Attributes:
        name: as IANA has registered it.
        wants: the kind of credentials that the portal has to take.
        run: the exchange.
        password: the client sends its password: such exchanges are checked a few at a time.
        ssf: the strongest layer that it may bring; 0: none.
    """

    name: str
    wants: type[ICredentials]
    run: Callable[[Talk], Coroutine[Any, Any, Outcome]]
    password: bool = False
    ssf: int = 0
