"""Calls that are more than arguments and a result: those that open a stream or carry descriptors.

Their rows are made for one call each and forgotten. What differs is wrapped around the row's parts, so that
the dispatcher treats it like any other::

    decode   skips the number of descriptors that stands before the arguments
    guard    closes the descriptors if it refuses
    method   gets the descriptors, and sees to it that they are closed when it has ended;
             its result is always awaited, since what comes with it must wait until the reply is out

What comes with a result is an :class:`Aftermath`: a stream that begins behind the reply, or descriptors that
travel behind it. If the reply cannot be sent, it is dropped: aborted, or closed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred

from remotevirt.drivers.streams import DriverStream
from remotevirt.procedures import FilesResult, Procedure, StreamResult
from remotevirt.rpc.message import HEADER_SIZE, Kind, Message, pack_reply
from remotevirt.server.faults import rpc_error, unsupported
from remotevirt.server.files import Descriptors, Files, close_all
from remotevirt.stubs.message import VIR_NET_MESSAGE_NUM_FDS_MAX
from remotevirt.xdr import DECODE_ERRORS

if TYPE_CHECKING:
    from remotevirt.server.dispatch import Row
    from remotevirt.server.streams import StreamTable

__all__ = ["Aftermath", "SpecialCalls", "SpecialOwner", "is_special"]


def is_special(procedure: Procedure) -> bool:
    """Tell whether a procedure opens a stream, or its messages carry descriptors."""
    return procedure.readstream or procedure.writestream or procedure.fds_in or procedure.fds_out


class SpecialOwner(Protocol):
    """What special calls need of the protocol of their client."""

    streams: StreamTable
    descriptors: Descriptors


class Aftermath:
    """What comes with a result, besides the reply."""

    replaces_reply = False
    """Whether it sends the reply itself."""

    def begin(self, payload: bytes) -> None:
        """Go on: the reply, with this payload, is out, or to be sent."""

    def drop(self) -> None:
        """Give up: there will be no reply."""


class _Stream(Aftermath):
    def __init__(
        self, table: StreamTable, procedure: Procedure, message: Message, driver: DriverStream, sparse: bool
    ) -> None:
        self.table = table
        self.procedure = procedure
        self.message = message
        self.driver = driver
        self.sparse = sparse

    def begin(self, payload: bytes) -> None:
        """Open the stream."""
        self.table.open(self.procedure, self.message, self.driver, self.sparse)

    def drop(self) -> None:
        """Abort it before it has begun."""
        self.driver.abort()


class _Files(Aftermath):
    replaces_reply = True

    def __init__(self, owner: SpecialOwner, message: Message, files: Sequence[int]) -> None:
        self.owner = owner
        self.message = message
        self.files = files

    def begin(self, payload: bytes) -> None:
        """Send reply and descriptors."""
        program, version, procedure, serial = self.message[:4]
        reply = pack_reply(program, version, procedure, serial, payload, descriptors=len(self.files))
        self.owner.descriptors.send(reply, self.files)

    def drop(self) -> None:
        """Close them."""
        close_all(self.files)


class SpecialCalls:
    """Prepares the rows of special calls, and takes their results apart.

    Args:
        owner: the protocol of their client.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: SpecialOwner) -> None:
        self._owner = owner

    def prepare(self, row: Row, frame: bytes, files: Files | None) -> None:
        """Make a row fit for one call.

        Raises:
            VirError: the procedure takes no descriptors, or the client has too many streams; or the arguments
                do not decode.
        """
        procedure = row.procedure
        if files is not None and not procedure.fds_in:
            raise unsupported(procedure)
        if procedure.opens_stream:
            self._owner.streams.check(int.from_bytes(frame[16:20], "big"))
        decode, guard, method = row.decode, row.guard, row.method
        start = HEADER_SIZE if files is None else HEADER_SIZE + 4
        taken = files if files is not None else Files()
        try:
            fields = () if decode is None else decode(frame, start)[0]
        except DECODE_ERRORS:
            raise rpc_error("Unable to decode message payload") from None
        if decode is not None:
            row.decode = lambda frame, pos: decode(frame, start)
        if guard is not None:

            def guarded(args: Any) -> None:
                try:
                    guard(args)
                except BaseException:
                    taken.close()
                    raise

            row.guard = guarded

        def call(*args: Any) -> Deferred[Any]:
            more = (taken,) if procedure.fds_in else ()
            result = maybeDeferred(method, *args, *more)
            result.addBoth(_close, taken)
            if procedure.fds_in:
                return result
            # When the client vanishes this is cancelled, and not the driver's own: a stream or descriptors
            # that it gives all the same are ended, not lost.
            answer: Deferred[Any] = Deferred()
            result.addBoth(_deliver, answer)
            return answer

        row.method = call
        row.sparse = _asks_for_holes(procedure, fields)

    def result(self, row: Row, serial: bytes, value: Any) -> tuple[Any, Aftermath | None]:
        """Take a method's result apart: what the reply carries, and what comes with it.

        Raises:
            TypeError: a driver gave something else than its procedure wants.
            VirError: it gave descriptors, and the client cannot get any.
        """
        procedure = row.procedure
        program, version, number = struct.unpack_from(">3I", row.head)
        message = Message(program, version, number, int.from_bytes(serial, "big"), Kind.CALL)
        if procedure.opens_stream:
            if not isinstance(value, StreamResult) or not isinstance(value.stream, DriverStream):
                raise TypeError(f"{procedure.name} opens a stream, but a driver gave {type(value).__name__}")
            table = self._owner.streams
            return value.value, _Stream(table, procedure, message, value.stream, row.sparse)
        if procedure.fds_out:
            least = 0 if procedure.fds_in else 1  # who sends some need not get any
            if (
                not isinstance(value, FilesResult)
                or not least <= len(value.files) <= VIR_NET_MESSAGE_NUM_FDS_MAX
            ):
                raise TypeError(f"{procedure.name} passes descriptors, but a driver gave {value!r:.80}")
            if not value.files:
                return value.value, None
            if not self._owner.descriptors.passable:
                close_all(value.files)
                raise rpc_error("descriptors can be passed over UNIX sockets only")
            return value.value, _Files(self._owner, message, tuple(value.files))
        return value, None


def _asks_for_holes(procedure: Procedure, fields: Sequence[Any]) -> bool:
    """Tell whether the arguments of a call ask for a sparse stream."""
    if not procedure.sparseflag or procedure.args is None:
        return False
    return bool(fields[procedure.args._fields.index("flags")] & procedure.sparseflag)


def _close(result: Any, files: Files) -> Any:
    files.close()
    return result


def _deliver(result: Any, answer: Deferred[Any]) -> None:
    """Hand a result on, or end what comes with it if nobody waits any more."""
    if not answer.called:
        answer.callback(result)
    elif isinstance(result, StreamResult):
        result.stream.abort()
    elif isinstance(result, FilesResult):
        close_all(result.files)
