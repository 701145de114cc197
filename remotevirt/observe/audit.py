"""The audit trail: who changed what, and who was refused.

One line of JSON for each call that changes something (:func:`~remotevirt.observe.facts.changes`), however it
ended, for each call that was refused, and for each client that was turned away::

    {"time": "2026-03-01T09:15:00.250Z", "event": "call", "outcome": "ok",
     "who": {"name": "alice", "transport": "unix", "address": "127.0.0.1;0", "uid": 1000, ...},
     "client": 7, "server": "libvirtd", "listener": "unix:/run/...", "readonly": false,
     "program": "remote", "procedure": "domain_create",
     "object": {"kind": "domain", "name": "web", "uuid": "..."}, "latency_ms": 1.204}

Of a call's arguments and result only the object and the flags are taken, so no secret can get in. What a peer
chose is bounded and escaped; a line is one line, of 32 KiB at most. A write that fails is counted and logged,
at most once a minute, and does not touch the call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from twisted.logger import Logger

from remotevirt.damper import Damper
from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.observe.facts import (
    REFUSALS,
    changes,
    changing_permissions,
    clean,
    error_name,
    listener_name,
    object_kind,
    object_of,
    server_name,
)
from remotevirt.observe.sinks import FileSink, JournalSink, Sink
from remotevirt.server.trace import Call, Tracer
from remotevirt.xdr import DECODE_ERRORS

__all__ = ["AuditTracer", "open_sink"]

COMPLAIN_SECONDS = 60.0
"""Seconds between two log records about writes that fail: a full disk would fail them all."""

REFUSALS_MAXIMUM = 200
"""Lines about clients that were turned away, for each kind of reason, that are written one after another."""

REFUSAL_SECONDS = 1.0
"""Seconds that it takes until one more of them is written; it says how many there were meanwhile."""

_INDEXED = ("outcome", "procedure")

JOURNAL_NAME = "journald"
"""What stands for the systemd journal in place of a path."""


def open_sink(where: str, clock: Any) -> Sink:
    """Open what ``audit_file`` names: ``"journald"``, or a path.

    Raises:
        OSError: it cannot be opened.
    """
    return JournalSink() if where == JOURNAL_NAME else FileSink(where, clock)


class AuditTracer(Tracer):
    """Writes the audit trail.

    Args:
        sink: where to.
        clock: the reactor.
        now: the time of day, in seconds since 1970.

    Attributes:
        written, lost: lines written, and lines that could not be.
    """

    log = Logger()

    def __init__(self, sink: Sink, clock: Any, now: Callable[[], float] = time.time) -> None:
        self.written = 0
        self.lost = 0
        self._sink = sink
        self._clock = clock
        self._now = now
        self._complained: float | None = None
        self._damper = Damper(clock.seconds, REFUSALS_MAXIMUM, REFUSAL_SECONDS)

    def counts(self) -> tuple[int, int]:
        """How many lines were written and lost; what the metrics ask for."""
        return self.written, self.lost

    def reopen(self) -> None:
        """Begin a new file if the old one was moved away; called on SIGHUP."""
        try:
            self._sink.reopen()
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Close what is written to. May be called again."""
        self._sink.close()

    # -- what is heard -----------------------------------------------------------------------------------

    def call_finished(self, call: Call, payload: bytes) -> None:
        """Write a line if it changed something."""
        found, args = self._changing(call)
        if found:
            try:
                result = call.result(payload)
            except DECODE_ERRORS:
                result = None  # a stream's procedure, or a driver's bytes: the object is in the arguments
            self._write_call(call, args, "ok", None, object_of(result))

    def call_failed(self, call: Call, error: VirError) -> None:
        """Write a line if it would have changed something, or was refused."""
        found, args = self._changing(call)
        refused = error.code in REFUSALS
        if found or refused:
            if not found:
                args = call.arguments()
            self._write_call(call, args, "denied" if refused else "error", error)

    def call_cancelled(self, call: Call) -> None:
        """Write a line if it may have changed something before its client went."""
        found, args = self._changing(call)
        if found:
            self._write_call(call, args, "cancelled", None)

    def client_refused(self, where: str, reason: str) -> None:
        """Write a line, unless there is a flood of them."""
        left_out = self._damper.admit(reason.partition(":")[0])
        if left_out is None:
            return
        record: dict[str, Any] = {"event": "refused", "outcome": "denied"}
        if left_out:
            record["left_out"] = left_out
        self._write({**record, "address": clean(where), "reason": clean(reason)})

    def _changing(self, call: Call) -> tuple[bool, Any]:
        """Tell whether a call changes something; with its arguments if they had to be looked at."""
        procedure = call.procedure
        if procedure is None or changing_permissions(procedure) is False:
            return False, None
        args = call.arguments()
        return changes(procedure, args), args

    # -- what is written ---------------------------------------------------------------------------------

    def _write_call(
        self,
        call: Call,
        args: Any,
        outcome: str,
        error: VirError | None,
        made: dict[str, Any] | None = None,
    ) -> None:
        client, procedure = call.client, call.procedure
        record: dict[str, Any] = {
            "event": "call",
            "outcome": outcome,
            "who": _who(client.identity),
            "client": client.id,
            "server": clean(server_name(client)),
            "listener": clean(listener_name(client)),
            "readonly": bool(client.readonly),
            "program": None if call.program is None else call.program.name,
            "procedure": call.name,
        }
        target = made or object_of(args)
        if target is None and procedure is not None:
            structs: tuple[Any, Any] = procedure.args, procedure.ret
            kind = object_kind(structs[0]) or object_kind(structs[1])
            target = None if kind is None else {"kind": kind}
        if target is not None:
            record["object"] = target
        flags = getattr(args, "flags", None)
        if flags is not None:
            record["flags"] = flags
        if error is not None:
            record["error"] = {"code": error.code, "name": error_name(error.code)}
        record["latency_ms"] = round(call.latency * 1000, 3)
        self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        moment = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        record = {"time": moment.replace("+00:00", "Z"), **record}
        fields = {name: str(record[name]) for name in _INDEXED if name in record}
        try:
            self._sink.write(json.dumps(record), fields)
        except OSError as error:
            self.lost += 1
            self._complain(error)
        else:
            self.written += 1

    def _complain(self, error: OSError) -> None:
        now = self._clock.seconds()
        if self._complained is None or now - self._complained >= COMPLAIN_SECONDS:
            self._complained = now
            self.log.error(
                "the audit trail cannot be written: {reason} ({lost} lines lost so far)",
                reason=error.strerror or str(error),
                lost=self.lost,
            )


@lru_cache(maxsize=1024)  # asks the user database; as many clients as make changes at the same time
def _who(identity: Identity) -> dict[str, Any]:
    """What is known of a client, without what is not."""
    found = {
        "name": identity.sasl or identity.dn or identity.user,
        "transport": identity.transport,
        "address": identity.address,
        "uid": identity.uid,
        "gid": identity.gid,
        "pid": identity.pid,
        "dn": identity.dn,
        "sasl": identity.sasl,
    }
    return {
        name: clean(value) if isinstance(value, str) else value
        for name, value in found.items()
        if value is not None
    }
