"""The live trace: each call and each answer as a line, while they happen.

::

    09:15:00.250 #7  → domain_lookup_by_name name="web"
    09:15:00.250 #7  ← domain_lookup_by_name 0.2 ms dom=(name="web", uuid=..., id=3)
    09:15:00.251 #7  ✗ domain_destroy 0.1 ms VIR_ERR_OPERATION_DENIED: operation ... forbidden

Secrets are left out (:mod:`~remotevirt.observe.masking`), and nothing that a peer says can move a terminal's
cursor. It is a tool for looking at one daemon for a while: everything is decoded a second time for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from twisted.logger import Logger

from remotevirt.errors import VirError
from remotevirt.observe.facts import clean, error_name, server_name
from remotevirt.observe.masking import show_arguments, show_error, show_result
from remotevirt.procedures import Procedure
from remotevirt.server.trace import Call, Tracer
from remotevirt.xdr import DECODE_ERRORS

__all__ = ["LiveTracer"]

PLAIN = ("", "")
DIM = ("\x1b[2m", "\x1b[0m")
GREEN = ("\x1b[32m", "\x1b[0m")
RED = ("\x1b[31m", "\x1b[0m")
CYAN = ("\x1b[36m", "\x1b[0m")


class LiveTracer(Tracer):
    """Prints what happens.

    Args:
        stream: where to; standard output by default. It ends quietly when nobody reads it any more.
        colour: whether to colour; by default, if the stream is a terminal.
        now: the time of day, in seconds since 1970.
    """

    log = Logger()

    def __init__(
        self,
        stream: TextIO | None = None,
        colour: bool | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._stream: TextIO | None = sys.stdout if stream is None else stream
        self._colour = self._stream.isatty() if colour is None else colour
        self._now = now

    # -- clients -----------------------------------------------------------------------------------------

    def client_connected(self, client: Any) -> None:
        """Print who came."""
        rights = ", read-only" if client.readonly else ""
        self._print(client, CYAN, "+", f"connected: {client.identity} to {server_name(client)}{rights}")

    def client_authenticated(self, client: Any) -> None:
        """Print who it is."""
        self._print(client, CYAN, "+", f"authenticated: {client.identity}")

    def client_refused(self, where: str, reason: str) -> None:
        """Print who was turned away, and why."""
        self._print(None, RED, "✗", f"refused {where}: {reason}")

    def client_disconnected(self, client: Any, reason: str) -> None:
        """Print who left."""
        self._print(client, CYAN, "-", f"left: {reason}")

    # -- calls -------------------------------------------------------------------------------------------

    def call_started(self, call: Call) -> None:
        """Print the call."""
        self._print(call.client, DIM, "→", f"{call.name} {show_arguments(call.arguments())}")

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Print the answer."""
        procedure = call.procedure
        try:
            result = call.result(payload)
            shown = "" if procedure is None else show_result(procedure, call.arguments(), result)
        except DECODE_ERRORS:
            shown = f"<{len(payload)} bytes that do not decode>"
        self._print(call.client, GREEN, "←", f"{_head(call)} {shown}")

    def call_failed(self, call: Call, error: VirError) -> None:
        """Print the error."""
        text = f"{_head(call)} {error_name(error.code)}: {show_error(error)}"
        self._print(call.client, RED, "✗", text)

    def call_cancelled(self, call: Call) -> None:
        """Print that nobody waits for it any more."""
        self._print(call.client, RED, "✗", f"{_head(call)} cancelled")

    # -- events and streams --------------------------------------------------------------------------------

    def event_sent(self, client: Any, kind: str, id: int, size: int) -> None:
        """Print it."""
        self._print(client, DIM, "!", f"event {kind}/{id}, {size} bytes")

    def stream_moved(self, client: Any, procedure: Procedure, sent: int, received: int) -> None:
        """Print how much."""
        self._print(client, DIM, "≈", f"{procedure.name} sent {sent}, received {received} bytes")

    # ------------------------------------------------------------------------------------------------------

    def _print(self, client: Any, colour: tuple[str, str], sign: str, text: str) -> None:
        if self._stream is None:
            return
        now = self._now()
        moment = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03d}"
        number = "" if client is None else f"#{client.id}"
        begin, end = colour if self._colour else PLAIN
        try:
            self._stream.write(f"{moment} {number:<4} {begin}{sign} {clean(text, 3000).rstrip()}{end}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._stream = None
            self.log.info("the live trace ends: {reason}", reason=str(error))


def _head(call: Call) -> str:
    return f"{call.name} {call.latency * 1000:.1f} ms"
