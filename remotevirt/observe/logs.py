"""The log of calls: those that fail, those that are slow, and on the debug level who comes and goes.

Each record has its parts as fields (``program``, ``procedure``, ``client``, ``code``, ``latency``), for a log
that is written as JSON.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from remotevirt.errors import VirError
from remotevirt.observe.facts import clean, error_name, listener_name, server_name
from remotevirt.observe.masking import show_error
from remotevirt.server.trace import Call, Tracer

__all__ = ["LogTracer"]

SLOW_SECONDS = 1.0
"""Seconds from which a call is slow: a person has begun to wait."""


class LogTracer(Tracer):
    """Logs what is worth a line.

    Args:
        slow: seconds from which a call counts as slow; 0 or less: none does.
    """

    log = Logger()

    def __init__(self, slow: float = SLOW_SECONDS) -> None:
        self._slow = slow

    def client_connected(self, client: Any) -> None:
        """Log it for debugging."""
        self._client("client {client} connected: {identity}", client)

    def client_authenticated(self, client: Any) -> None:
        """Log it for debugging."""
        self._client("client {client} is {identity}", client)

    def client_refused(self, where: str, reason: str) -> None:
        """Log it."""
        self.log.info("refused {where}: {reason}", where=clean(where), reason=clean(reason))

    def client_disconnected(self, client: Any, reason: str) -> None:
        """Log it for debugging."""
        self._client("client {client} left: {reason}", client, reason=clean(reason))

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Log it if it was slow."""
        if 0 < self._slow <= call.latency:
            self.log.info(
                "slow: {procedure} of client {client} took {latency:.3f} s",
                **_fields(call),
            )

    def call_failed(self, call: Call, error: VirError) -> None:
        """Log it."""
        self.log.info(
            "{procedure} of client {client} failed: {reason} ({code_name})",
            **_fields(call),
            code=error.code,
            code_name=error_name(error.code),
            reason=show_error(error),
        )

    def call_cancelled(self, call: Call) -> None:
        """Log it for debugging."""
        self.log.debug("{procedure} of client {client} was cancelled", **_fields(call))

    def _client(self, text: str, client: Any, **fields: Any) -> None:
        self.log.debug(
            text,
            client=client.id,
            identity=clean(str(client.identity)),
            listener=listener_name(client),
            server=server_name(client),
            **fields,
        )


def _fields(call: Call) -> dict[str, Any]:
    return {
        "client": call.client.id,
        "program": None if call.program is None else call.program.name,
        "procedure": call.name,
        "latency": call.latency,
    }
