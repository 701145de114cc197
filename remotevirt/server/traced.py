"""The dispatcher of a daemon that has tracers: each call is timed, and its beginning and end are told.

What a call costs on top is a :class:`~remotevirt.server.trace.Call` and two rounds through the tracers. A
daemon without any uses the plain dispatcher, which knows nothing of this.
"""

from __future__ import annotations

from typing import Any

from remotevirt.errors import VirError
from remotevirt.server.dispatch import CALLS, Dispatcher, Row
from remotevirt.server.special import Aftermath
from remotevirt.server.trace import Call
from remotevirt.xdr import UINT

__all__ = ["TracedDispatcher"]


class _Serial(bytes):
    """The serial of a call in flight, which knows its call."""

    call: Call


class TracedDispatcher(Dispatcher):
    """Tells a daemon's tracers of every call.

    Args:
        client: the protocol, as for :class:`Dispatcher`'s owner.
    """

    __slots__ = ("_client", "_current", "_daemon", "_pending")

    def __init__(self, programs: Any, handlers: Any, client: Any) -> None:
        super().__init__(programs, handlers, client)
        self._client = client
        self._daemon = client.daemon
        self._current: Call | None = None
        self._pending: set[Call] = set()

    def dispatch(self, frame: bytes) -> None:
        """Serve one request, and tell of it if it is a call."""
        if frame[12:16] not in CALLS:
            super().dispatch(frame)
            return
        call = self._current = Call(self._client, frame, self._daemon.reactor.seconds())
        unpack = UINT.unpack_from
        program = self._programs.get((unpack(frame, 0)[0], unpack(frame, 4)[0]))
        if program is not None:
            call.program = program
            call.procedure = program.procedures.get(unpack(frame, 8)[0])
        self._daemon.tell("call_started", call)
        super().dispatch(frame)
        if self._current is call:
            # Neither refused nor awaited: it was answered, and the last piece is the payload.
            self._current = None
            self._end("call_finished", call, self.out[-1] if self.out else b"")

    def close(self) -> None:
        """Cancel what is in flight, and tell of it."""
        super().close()
        pending, self._pending = self._pending, set()
        for call in pending:
            self._end("call_cancelled", call)

    def _end(self, what: str, call: Call, *more: object) -> None:
        call.latency = self._daemon.reactor.seconds() - call.started
        self._daemon.tell(what, call, *more)

    def _begin(self, row: Row, serial: bytes, value: Any) -> None:
        call, self._current = self._current, None
        assert call is not None
        known = _Serial(serial)
        known.call = call
        self._pending.add(call)
        super()._begin(row, known, value)

    def _refuse(self, head: bytes, serial: bytes, error: VirError) -> None:
        call = self._claim(serial)
        super()._refuse(head, serial, error)
        if call is not None:
            self._end("call_failed", call, error)

    def _answer(self, row: Row, serial: bytes, payload: bytes, then: Aftermath | None) -> None:
        super()._answer(row, serial, payload, then)
        call = self._claim(serial)
        if call is not None:
            self._end("call_finished", call, payload)

    def _claim(self, serial: bytes) -> Call | None:
        """Return the call that a reply answers, once."""
        if isinstance(serial, _Serial):
            known = serial.call in self._pending
            self._pending.discard(serial.call)
            return serial.call if known else None
        call, self._current = self._current, None
        return call
