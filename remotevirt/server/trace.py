"""The one trace hook: what happens to calls and clients, told to whoever wants to know.

Logs, metrics, the audit trail, the live trace and tests are all :class:`Tracer` subclasses that a
:class:`~remotevirt.server.daemon.Daemon` is given. With none, nothing is measured and no :class:`Call` is
made: the untraced dispatcher does not know of any of this.

Payloads are handed over as they are on the wire; :meth:`Call.arguments` and :meth:`Call.result` decode
them for whoever needs to look inside, again, off the hot path.
"""

from __future__ import annotations

from typing import Any

from remotevirt.errors import VirError
from remotevirt.procedures import Procedure, Program
from remotevirt.rpc.message import HEADER_SIZE
from remotevirt.xdr import DECODE_ERRORS

__all__ = ["Call", "Tracer"]


class Call:
    """One call, from the moment that its frame is dispatched.

    Attributes:
        client: the ServerProtocol that it came from (its ``identity``, ``id`` and ``server`` say more).
        program, procedure: what was called; None where the numbers name nothing.
        serial: the call's serial, as four bytes.
        frame: header and arguments, undecoded.
        started: when it was dispatched, in seconds of the reactor's clock.
        latency: seconds until it ended; 0.0 before.
    """

    __slots__ = ("client", "frame", "latency", "procedure", "program", "serial", "started")

    def __init__(self, client: Any, frame: bytes, started: float) -> None:
        self.client = client
        self.frame = frame
        self.serial = frame[16:20]
        self.started = started
        self.latency = 0.0
        self.program: Program | None = None
        self.procedure: Procedure | None = None

    @property
    def name(self) -> str:
        """The procedure's name, or its number where it has none."""
        if self.procedure is not None:
            return self.procedure.name
        return f"{int.from_bytes(self.frame[0:4], 'big'):#x}/{int.from_bytes(self.frame[8:12], 'big')}"

    def arguments(self) -> Any:
        """Decode the arguments: the struct, None where there are none or they do not decode."""
        if self.procedure is None or self.procedure.args is None:
            return None
        start = HEADER_SIZE + (4 if self.frame[15] == 4 else 0)  # behind the number of descriptors
        try:
            return self.procedure.args.unpack(self.frame, start)[0]
        except DECODE_ERRORS:
            return None

    def result(self, payload: bytes) -> Any:
        """Decode the payload of a reply: the struct, None where there is none."""
        if self.procedure is None or self.procedure.ret is None:
            return None
        return self.procedure.ret.unpack(payload, 0)[0]


class Tracer:
    """Hears what happens: override what you want to hear. What a method raises is logged and goes no further.

    Methods are called on the reactor's thread, in the middle of the work they tell of: they must be quick,
    and must not call back into the client.
    """

    def client_connected(self, client: Any) -> None:
        """A client has connected (and, over TLS, shown a certificate that was accepted)."""

    def client_authenticated(self, client: Any) -> None:
        """A client has proved who it is; ``client.identity`` says it."""

    def client_refused(self, where: str, reason: str) -> None:
        """A client was turned away before or while it proved who it is: ``where`` is its address."""

    def client_disconnected(self, client: Any, reason: str) -> None:
        """A client has gone, or was cut off; ``reason`` says why."""

    def call_started(self, call: Call) -> None:
        """A call is about to be made."""

    def call_finished(self, call: Call, payload: bytes) -> None:
        """A call was answered with this payload; ``call.latency`` is set."""

    def call_failed(self, call: Call, error: VirError) -> None:
        """A call was answered with an error; ``call.latency`` is set."""

    def call_cancelled(self, call: Call) -> None:
        """A call's client went away before it was answered; ``call.latency`` is set."""

    def event_sent(self, client: Any, kind: str, id: int, size: int) -> None:
        """An event of ``size`` bytes was sent to a client."""

    def stream_moved(self, client: Any, procedure: Procedure, sent: int, received: int) -> None:
        """Bytes of a stream were sent to a client, or received from it."""
