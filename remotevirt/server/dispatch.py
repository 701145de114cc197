"""Dispatch: from a whole undecoded request to its reply.

:meth:`Dispatcher.dispatch` is entered with a frame. Program, version, procedure and type are its first 16
bytes, and these bytes are the key of a :class:`Row` that holds all a call needs: how to decode, the bound
driver method, how to encode, and what the reply begins with. A row is made when its procedure is first
called, after state and rights were checked, so that an ordinary call costs one look-up.

A call ends in one of three ways, each handled here once for all procedures: it is answered; the driver
refuses with a VirError, which is sent; or something is wrong with the call itself, and the dispatcher
makes the error. Any other exception is a bug of the driver: the client gets an internal error that tells
nothing of it, and the log gets the traceback.

A method may return its value, and then the reply is written at once, or a Deferred or coroutine, and then
it is kept among those in flight until it ends. When the client goes, these are cancelled, and what still
comes of them is dropped.

Calls that open a stream or carry descriptors are rare, and prepared one by one in
:mod:`~remotevirt.server.special`, so that nothing of this costs the others anything.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.raw import RawReply
from remotevirt.errors import VirError
from remotevirt.procedures import Procedure, Program
from remotevirt.rpc.message import HEADER_SIZE, error_payload
from remotevirt.server.faults import internal_error, rpc_error
from remotevirt.server.pinger import Pinger
from remotevirt.server.special import Aftermath, SpecialCalls, SpecialOwner, is_special
from remotevirt.stubs.keepalive import KEEPALIVE_PROGRAM, KEEPALIVE_PROTOCOL_VERSION
from remotevirt.stubs.message import VIR_NET_MESSAGE_PAYLOAD_MAX, MessageStatus, MessageType
from remotevirt.xdr import DECODE_ERRORS, UINT

__all__ = ["CALLS", "KEEPALIVE", "DispatchOwner", "Dispatcher", "Handlers", "Row"]

SMALL = 1024
"""Replies up to this size are not counted in :attr:`Dispatcher.bulk`: one read cannot hold enough calls for
them to add up to much."""

KEY_SIZE = 16
"""Program, version, procedure and type: what a row is found by."""

_pack_uint = UINT.pack
_unpack_uint = UINT.unpack_from

_OK = _pack_uint(MessageStatus.VIR_NET_OK)
_ERROR = _pack_uint(MessageStatus.VIR_NET_ERROR)
_CALL = _pack_uint(MessageType.VIR_NET_CALL)
CALLS = (_CALL, _pack_uint(MessageType.VIR_NET_CALL_WITH_FDS))
"""The types of calls."""

_REPLY = _pack_uint(MessageType.VIR_NET_REPLY)
_EVENT = _pack_uint(MessageType.VIR_NET_MESSAGE)
_STREAMS = (_pack_uint(MessageType.VIR_NET_STREAM), _pack_uint(MessageType.VIR_NET_STREAM_HOLE))

KEEPALIVE = _pack_uint(KEEPALIVE_PROGRAM) + _pack_uint(KEEPALIVE_PROTOCOL_VERSION)
"""What the frames of the keepalive program begin with."""

_OVERHEAD = 4 + HEADER_SIZE
_ASYNCHRONOUS = (Deferred, CoroutineType)


class Handlers(Protocol):
    """Where the dispatcher finds the methods of one client's connection."""

    def find(self, program: Program, procedure: Procedure) -> tuple[Callable[..., Any], Guard | None]:
        """Return the bound method that answers a procedure, and what checks its arguments, if anything.

        Raises:
            VirError: the state or the rights of the client do not allow it, or nobody answers it.
        """


class DispatchOwner(SpecialOwner, Protocol):
    """Whoever has the connection that a dispatcher dispatches for."""

    def call_ended(self) -> None:
        """Take note that an asynchronous call has ended, and its reply is among what is to be sent."""

    pinger: Pinger


Guard = Callable[[Any], None]
"""Called with decoded arguments; raises VirError if they need a right that the client has not."""


class Row:
    """All that the calls of one procedure need, for one client.

    Attributes:
        procedure: the facts, for whoever looks closer.
        decode: arguments from a frame, None if there are none.
        guard: checks decoded arguments, None if there is nothing to check.
        method: the bound method that answers.
        encode: the result's encoder, None if there is none.
        head: program, version, procedure and type of the reply, as they are sent.
        start: what the last reply began with, its length included; size: of that reply's payload.
        sparse: whether the call asks for a stream with holes.
    """

    __slots__ = ("decode", "encode", "guard", "head", "method", "procedure", "size", "sparse", "start")

    def __init__(
        self, procedure: Procedure, head: bytes, method: Callable[..., Any], guard: Guard | None
    ) -> None:
        self.procedure = procedure
        self.decode = procedure.decode if guard is None or procedure.args is None else procedure.args.unpack
        self.encode = procedure.encode
        self.method = method
        self.guard = guard
        self.head = head
        self.size = -1
        self.start = b""
        self.sparse = False


class Dispatcher:
    """Dispatches the calls of one client.

    Args:
        programs: (number, version) -> program.
        handlers: finds the methods.
        owner: is told what is no reply.

    Attributes:
        out: pieces of replies, in order, for whoever sends them to take.
        bulk: bytes of large replies among them, for whoever takes them to reset.
        in_flight: the Deferreds of calls that have not ended.
    """

    log = Logger()

    __slots__ = (
        "_handlers",
        "_owner",
        "_programs",
        "_rows",
        "_special",
        "bulk",
        "closed",
        "in_flight",
        "out",
    )

    def __init__(
        self,
        programs: dict[tuple[int, int], Program],
        handlers: Handlers,
        owner: DispatchOwner,
    ) -> None:
        self._programs = programs
        self._handlers = handlers
        self._owner = owner
        self._special = SpecialCalls(owner)
        self._rows: dict[bytes, Row] = {}
        self.out: list[bytes] = []
        self.bulk = 0
        self.in_flight: set[Deferred[Any]] = set()
        self.closed = False

    def dispatch(self, frame: bytes) -> None:
        """Serve one request. What can be answered at once is in :attr:`out` afterwards."""
        row = self._rows.get(frame[:KEY_SIZE])
        if row is None or frame[20:24] != _OK:
            row = self._find(frame)
            if row is None:
                return
        args: tuple[Any, ...] = ()
        if row.decode is not None:
            try:
                args, _ = row.decode(frame, HEADER_SIZE)
            except DECODE_ERRORS:
                self._refuse(row.head, frame[16:20], rpc_error("Unable to decode message payload"))
                return
        try:
            if row.guard is not None:
                row.guard(args)
            value = row.method(*args)
            if isinstance(value, _ASYNCHRONOUS):
                self._begin(row, frame[16:20], value)
                return
        except VirError as error:
            self._refuse(row.head, frame[16:20], error)
            return
        except Exception:
            self._refuse(row.head, frame[16:20], self._explain(row, Failure()))
            return
        encode = row.encode
        try:
            payload = b"" if encode is None else encode(value)
        except Exception:
            self._refuse(row.head, frame[16:20], self._unfit(row, Failure()))
            return
        size = len(payload)
        if size > SMALL:
            if size > VIR_NET_MESSAGE_PAYLOAD_MAX:
                self._refuse(row.head, frame[16:20], self._too_large(row.procedure, size))
                return
            self.bulk += size
        if size != row.size:
            row.size = size
            row.start = _pack_uint(_OVERHEAD + size) + row.head
        self.out += (row.start, frame[16:20], _OK, payload)

    def close(self) -> None:
        """Cancel what is in flight; nothing is answered from now on. May be called again."""
        self.closed = True
        self.forget()
        for deferred in tuple(self.in_flight):
            try:
                deferred.cancel()
            except Exception:
                self.log.failure("a call could not be cancelled")
        self.in_flight.clear()
        self.out.clear()

    def forget(self) -> None:
        """Drop the rows: the methods or the rights of the client have changed."""
        self._rows.clear()

    # -- rows ----------------------------------------------------------------------------------------

    def _find(self, frame: bytes) -> Row | None:
        """Make the row of a call, or answer a request that has none."""
        type_ = frame[12:16]
        if type_ not in CALLS:
            if type_ == _EVENT and frame[:8] == KEEPALIVE:
                self._owner.pinger.received(_unpack_uint(frame, 8)[0])
            elif type_ in _STREAMS:
                self._owner.streams.receive(frame)
            return None  # nothing else can be answered
        head = frame[:12] + _REPLY
        files = None
        try:
            if type_ != _CALL:
                files = self._owner.descriptors.take(_unpack_uint(frame, HEADER_SIZE)[0])
            number, version, procedure = (_unpack_uint(frame, pos)[0] for pos in (0, 4, 8))
            program = self._programs.get((number, version))
            if program is None:
                raise rpc_error(f"Cannot find program {_signed(number)} version {_signed(version)}")
            if frame[20:24] != _OK:
                raise rpc_error(f"Unexpected message status {_unpack_uint(frame, 20)[0]}")
            known = program.procedures.get(procedure)
            if known is None or known.event:
                raise rpc_error(f"unknown procedure: {_signed(procedure)}")
            method, guard = self._handlers.find(program, known)
            row = Row(known, head, method, guard)
            if files is not None or is_special(known):
                self._special.prepare(row, frame, files)
                return row
        except Exception:
            if files is not None:
                files.close()
            self._refuse(head, frame[16:20], self._explain(None, Failure()))
            return None
        self._rows[frame[:KEY_SIZE]] = row
        return row

    # -- asynchronous results --------------------------------------------------------------------------

    def _begin(self, row: Row, serial: bytes, value: Any) -> None:
        """Keep a call in flight until its Deferred or coroutine ends."""
        deferred = value if isinstance(value, Deferred) else Deferred.fromCoroutine(value)
        self.in_flight.add(deferred)
        deferred.addCallbacks(self._reply, lambda failure: failure, callbackArgs=(row, serial))
        deferred.addErrback(self._failed, row, serial)
        deferred.addBoth(self._ended, deferred)

    def _reply(self, value: Any, row: Row, serial: bytes) -> None:
        then = None
        if is_special(row.procedure):
            value, then = self._special.result(row, serial, value)
        try:
            if self.closed:
                raise CancelledError
            try:
                payload = b"" if row.encode is None else row.encode(value)
            except Exception:
                raise self._unfit(row, Failure()) from None
            if len(payload) > VIR_NET_MESSAGE_PAYLOAD_MAX:
                raise self._too_large(row.procedure, len(payload))
        except Exception:
            if then is not None:
                then.drop()
            raise
        self._answer(row, serial, payload, then)

    def _answer(self, row: Row, serial: bytes, payload: bytes, then: Aftermath | None) -> None:
        """Reply to a call that was awaited, and begin what comes with its result."""
        if then is None or not then.replaces_reply:
            self._put(row.head, serial, _OK, payload)
        if then is not None:
            then.begin(payload)

    def _failed(self, failure: Failure, row: Row, serial: bytes) -> None:
        if not self.closed:
            self._refuse(row.head, serial, self._explain(row, failure))

    def _ended(self, _: object, deferred: Deferred[Any]) -> None:
        self.in_flight.discard(deferred)
        if not self.closed:
            self._owner.call_ended()

    # -- errors ----------------------------------------------------------------------------------------

    def _explain(self, row: Row | None, failure: Failure) -> VirError:
        """Turn what went wrong into the error that the client is told."""
        error = failure.value
        if isinstance(error, VirError):
            return error
        name = row.procedure.name if row else "dispatch"
        self.log.failure("{procedure} ended with an exception that is no VirError", failure, procedure=name)
        return internal_error(f"unexpected failure in {name}")

    def _unfit(self, row: Row, failure: Failure) -> VirError:
        """Say that a driver's result could not be encoded: it is of the wrong type, or over a bound."""
        name = row.procedure.name
        self.log.failure("the result of {procedure} does not fit the contract", failure, procedure=name)
        return rpc_error("Unable to encode message payload")

    def _too_large(self, procedure: Procedure, size: int) -> VirError:
        detail = f"Reply of {procedure.name} is {size} bytes, more than {VIR_NET_MESSAGE_PAYLOAD_MAX}"
        return rpc_error(detail)

    def _refuse(self, head: bytes, serial: bytes, error: VirError) -> None:
        if isinstance(error, RawReply):
            self.out.append(error.make(head, serial))
            return
        try:
            payload = error_payload(error)
        except Exception:
            self.log.failure("an error does not encode: {error!r}", error=error)
            payload = error_payload(internal_error("unexpected failure"))
        self._put(head, serial, _ERROR, payload)

    def _put(self, head: bytes, serial: bytes, status: bytes, payload: bytes) -> None:
        """Put a reply into :attr:`out`. (An ordinary call does so itself, with less work.)"""
        self.out += (_pack_uint(_OVERHEAD + len(payload)), head, serial, status, payload)


def _signed(number: int) -> int:
    """A word as C's ``%d`` prints it."""
    return number - (1 << 32) if number >> 31 else number
