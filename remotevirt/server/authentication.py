"""The authentication calls of one client: which kind its listener wants, and SASL's exchange.

::

    auth_list ──► auth_sasl_init ──► auth_sasl_start ──► auth_sasl_step ... ──► complete
                  which mechanisms    the client's choice

The mechanisms are :mod:`remotevirt.auth`'s. Here is their order, their bounds, and what the client is told
when it fails: that, and nothing more. The reason is for the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.errors import VirError
from remotevirt.server.faults import auth_failed
from remotevirt.server.limits import AUTH_FAILURES_MAXIMUM
from remotevirt.stubs import remote

if TYPE_CHECKING:
    from remotevirt.server.session import Client

__all__ = ["Authentication"]


class Authentication:
    """How one client shows who it is.

    Args:
        client: the protocol.
    """

    log = Logger()

    def __init__(self, client: Client) -> None:
        self._client = client
        self._exchange: Any = None
        self._busy = False
        self._failures = 0

    def list(self) -> Sequence[remote.AuthType]:
        """Say which authentication is wanted; none of a client that has authenticated."""
        if self._client.authenticated:
            return [remote.AuthType.REMOTE_AUTH_NONE]
        return [remote.AuthType.REMOTE_AUTH_SASL]

    def sasl_init(self) -> str:
        """Begin; return the mechanisms that are offered, separated by commas.

        Raises:
            VirError: SASL is not wanted of this client, or it has begun already.
        """
        client = self._client
        service = client.daemon.sasl
        if client.authenticated or self._exchange is not None or service is None:
            raise self._refuse("SASL begun where it is not wanted")
        mechanisms: str = service.offered(client.identity.transport)
        if not mechanisms:
            raise self._refuse("no mechanism can be offered over this transport")
        self._exchange = service.begin(client.identity, client.identity.transport)
        return mechanisms

    def sasl_start(self, mechanism: str, nil: int, data: bytes) -> Any:
        """Take the client's choice, with its first message."""
        exchange = self._ready()
        return self._answer(remote.AuthSaslStartRet, exchange.start, mechanism, None if nil else data)

    def sasl_step(self, nil: int, data: bytes) -> Any:
        """Take the client's next message."""
        exchange = self._ready()
        return self._answer(remote.AuthSaslStepRet, exchange.step, None if nil else data)

    def _ready(self) -> Any:
        if self._client.authenticated or self._exchange is None or self._busy:
            raise self._refuse("a SASL message out of turn")
        return self._exchange

    def _answer(self, ret: Any, step: Any, *args: Any) -> Any:
        """Make a step of the exchange, and its reply."""
        try:
            result = step(*args)
        except Exception:
            raise self._failed(Failure()) from None
        if not isinstance(result, Deferred):
            return self._went_on(result, ret)
        self._busy = True
        return result.addBoth(self._came, ret)

    def _came(self, result: Any, ret: Any) -> Any:
        self._busy = False
        if isinstance(result, Failure):
            raise self._failed(result)
        return self._went_on(result, ret)

    def _went_on(self, result: tuple[bool, bytes | None], ret: Any) -> Any:
        complete, data = result
        if complete:
            exchange = self._exchange
            identity = attrs.evolve(self._client.identity, sasl=exchange.username)
            self._client.authenticate(identity, exchange.layer)
        return ret(int(complete), int(data is None), data or b"")

    def _failed(self, failure: Failure) -> VirError:
        """Turn what ended an exchange into what the client is told."""
        self.close()
        reason = getattr(failure.value, "reason", None)
        if reason is None:
            self.log.failure("an authentication ended with an exception", failure)
            reason = "unexpected failure"
        return self._refuse(str(reason))

    def close(self) -> None:
        """End: the client has gone. Whoever has logged in is logged out. May be called again."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def _refuse(self, reason: str) -> VirError:
        client = self._client
        self._failures += 1
        where = client.identity.address
        text = "authentication of {where} failed: {reason}"
        client.daemon.damper.write("authentication", self.log.info, text, where=where, reason=reason)
        client.daemon.tell("client_refused", where, f"authentication: {reason}")
        if self._failures >= AUTH_FAILURES_MAXIMUM:
            client.later(lambda: client.drop("too many failed authentications"))
        return auth_failed()
