"""A guest's monitor: commands to its QEMU, and what QEMU tells unasked.

::

    connect ──► greeting ──► qmp_capabilities ──► commands, several in flight; events
                                                     │
                              deadline passed: wedged until QEMU answers

QEMU answers commands in order, those apart that are asked for out of band. A command that is not answered
in time
fails, and while QEMU owes an answer that is late, new commands fail at once: a QEMU that is stopped or
hangs holds up nobody for longer than one deadline. When it answers after all, the answer is dropped and the
monitor works again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from typing import Protocol as Interface

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.drivers.qemu.qmp import Event, Greeting, LineReader, Message, QmpError, Reply, encode_command
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed, OperationTimeout, VirSystemError

__all__ = ["COMMAND_SECONDS", "Monitor", "MonitorHungUp", "connect", "qmp_class", "ready"]

COMMAND_SECONDS: Final = 30.0
"""How long a command may take by default, as libvirt's own jobs wait for one another."""

PENDING_MAXIMUM: Final = 1024
"""Commands of one guest that are not answered. A guest's dashboard asks for some ten at once."""

PENDING_BYTES_MAXIMUM: Final = 16 << 20
"""Bytes of these. libvirt's clients send texts of up to 4 MiB."""

HELD_MAXIMUM: Final = 1024
"""Events that wait for the negotiation to end; QEMU sends none before, and a few while it ends."""

OnEvent: TypeAlias = Callable[[str, Mapping[str, Any], int, int], None]
OnClose: TypeAlias = Callable[[VirError], None]
Reason: TypeAlias = Callable[[], VirError]
"""Makes the error that says why a link has ended: one for each who is told."""

log = Logger()


class Clock(Interface):
    """What a monitor needs of a reactor."""

    def callLater(self, delay: float, call: Callable[..., object], *args: object) -> IDelayedCall:
        """Call something later."""


class _Call:
    """A command that is not answered; ``answer`` is None when nobody waits for it any more."""

    __slots__ = ("answer", "command", "file", "late", "line", "oob", "serial", "size", "timer")

    def __init__(self, serial: int, command: str, line: bytes, file: int | None, oob: bool) -> None:
        self.serial = serial
        self.command = command
        self.line = line
        self.size = len(line)
        self.file = file
        self.oob = oob
        self.late = False
        self.timer: IDelayedCall | None = None
        self.answer: Deferred[Any] | None = None

    def finish(self, result: Any) -> None:
        """Give the value, or the Failure, to whoever waits, and let go of the rest."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.file is not None:
            os.close(self.file)
            self.file = None
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.callback(result)


@implementer(IFileDescriptorReceiver)
class Monitor(Protocol):
    """One end of QMP; made by :func:`connect`.

    Args:
        clock: the reactor.
        on_event: called with the name, data, seconds and microseconds of each event, in order. Those that
            arrive
            before the negotiation ends come when whoever waits for it has gone on.
        on_close: called once with the reason when an established link ends, unless :meth:`close` did it;
            commands
            that were in flight have failed by then.
    """

    def __init__(
        self, clock: Clock, on_event: OnEvent | None = None, on_close: OnClose | None = None
    ) -> None:
        self._clock = clock
        self._on_event = on_event
        self._on_close = on_close
        self._reader = LineReader()
        self._pending: dict[int, _Call] = {}
        self._queue: deque[_Call] = deque()
        """Commands with a descriptor, while another one is in flight: QEMU keeps only the last that came."""
        self._carrier: _Call | None = None
        self._bytes = 0
        self._late = 0
        self._serial = 0
        self._greeted = False
        self._negotiating: Deferred[None] | None = Deferred()
        self._held: list[Event] | None = []
        self._reason: Reason | None = None
        self.oob = False
        """Whether commands can be asked for out of band."""

    @property
    def wedged(self) -> bool:
        """Whether QEMU owes an answer whose deadline has passed; commands fail at once meanwhile."""
        return self._late > 0

    @property
    def closed(self) -> bool:
        """Whether the link has ended."""
        return self._reason is not None

    def negotiated(self, timeout: float) -> Deferred[None]:
        """Wait for the greeting and the capabilities; to be called once.

        Args:
            timeout: in seconds.

        Returns:
            fires when commands can be sent; fails with OperationTimeout, or with what ended the link.
        """
        if self._negotiating is None:
            raise RuntimeError("negotiated is called once, and before anything arrives")
        timer = self._clock.callLater(timeout, self._end, _silent)

        def done(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return self._negotiating.addBoth(done)

    def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = COMMAND_SECONDS,
        files: Sequence[int] = (),
        oob: bool = False,
    ) -> Deferred[Any]:
        """Run a command.

        Cancelling the Deferred drops the answer; QEMU runs the command nevertheless.

        Args:
            command: its name.
            arguments: what JSON can hold; None for none.
            timeout: in seconds; None to wait for as long as the link lives.
            files: at most one descriptor, which QEMU gets with the command (``getfd``, ``add-fd``). It is
                duplicated:
                the caller may close his at once.
            oob: run it out of band, if QEMU can.

        Returns:
            fires with what QEMU returns. It fails with InternalError if QEMU refuses, whose cause is the
            :exc:`QmpError`; with OperationTimeout if the answer is late, or QEMU is :attr:`wedged`; with
            OperationFailed or InternalError if the link ends.
        """
        if len(files) > 1:
            raise ValueError("QEMU takes one descriptor with a command")
        oob = oob and self.oob
        # An answer shows that QEMU has read the whole line, so that the descriptor is under way and can be
        # closed here, only if QEMU could not have guessed the id.
        self._serial += 1
        serial = self._serial if not files else (1 << 62) + int.from_bytes(os.urandom(7))
        try:
            self._check(command, oob)
            line = encode_command(command, arguments, serial, oob)
            if self._bytes + len(line) > PENDING_BYTES_MAXIMUM:
                raise _too_many()
            file = os.dup(files[0]) if files else None
        except ValueError:
            error = InternalError(f"unable to encode QEMU command '{command}'", domain=c.VIR_FROM_QEMU)
            return _failed(error)
        except OSError as cause:
            message = f"unable to pass a descriptor to QEMU: {os.strerror(cause.errno or 0)}"
            return _failed(VirSystemError(message=message, domain=c.VIR_FROM_QEMU, int1=cause.errno or 0))
        except VirError as refusal:
            return _failed(refusal)
        call = _Call(serial, command, line, file, oob)
        call.answer = Deferred(lambda _: self._forget(call))
        answer = call.answer
        if timeout is not None:
            call.timer = self._clock.callLater(timeout, self._expire, call, timeout)
        self._bytes += call.size
        if call.file is not None and self._carrier is not None:
            self._queue.append(call)
        else:
            self._send(call)
        return answer

    def close(self) -> None:
        """End the link; ``on_close`` is not called. Commands in flight fail."""
        self._on_close = None
        self._end(_closed)

    def _check(self, command: str, oob: bool) -> None:
        """Refuse a command that cannot be sent now."""
        if self._reason is not None:
            raise self._reason()
        if self._late and not oob:
            message = f"QEMU does not answer, '{command}' was not sent"
            raise OperationTimeout(message, domain=c.VIR_FROM_QEMU)
        if len(self._pending) + len(self._queue) >= PENDING_MAXIMUM:
            raise _too_many()

    def _send(self, call: _Call) -> None:
        transport: Any = self.transport
        if call.file is not None:
            self._carrier = call
            transport.sendFileDescriptor(call.file)
        self._pending[call.serial] = call
        transport.write(call.line)
        call.line = b""

    def _forget(self, call: _Call) -> None:
        """Nobody waits for an answer any more."""
        call.answer = None
        self._unqueue(call)

    def _expire(self, call: _Call, timeout: float) -> None:
        """The deadline of a command has passed."""
        call.timer = None
        answer, call.answer = call.answer, None
        if not self._unqueue(call):
            call.late = True
            self._late += 1
        if answer is not None:
            message = f"QEMU did not answer to '{call.command}' in {timeout:g} seconds"
            answer.errback(OperationTimeout(message, domain=c.VIR_FROM_QEMU))

    def _unqueue(self, call: _Call) -> bool:
        """Take back a command that waits for another one's descriptor; say whether it did."""
        if call not in self._queue:
            return False
        self._queue.remove(call)
        self._bytes -= call.size
        call.finish(None)
        return True

    def dataReceived(self, data: bytes) -> None:
        """Take what QEMU says."""
        for message in self._reader.feed(data):
            if self._reason is not None:
                return
            self._take(message)
        if self._reader.failure is not None:
            self._break(str(self._reader.failure))

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """End the link: QEMU never sends descriptors."""
        os.close(descriptor)
        self._break("a descriptor")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what is in flight."""
        self._end(_end_of_file)

    def _break(self, what: str) -> None:
        """End the link, because QEMU sent something else than QMP."""
        message = f"unexpected data from qemu monitor: {what}"
        self._end(lambda: InternalError(message, domain=c.VIR_FROM_QEMU))

    def _take(self, message: Message) -> None:
        if isinstance(message, Reply):
            self._take_reply(message)
        elif isinstance(message, Event):
            if self._held is None:
                self._tell(message)
            elif len(self._held) < HELD_MAXIMUM:
                self._held.append(message)
            else:
                self._break("too many events before the negotiation")
        elif self._greeted:
            self._break("a second greeting")
        else:
            self._greet(message)

    def _greet(self, greeting: Greeting) -> None:
        self._greeted = True
        oob = "oob" in greeting.capabilities
        arguments = {"enable": ["oob"]} if oob else None

        def ready(_: Any) -> None:
            self.oob = oob
            negotiating, self._negotiating = self._negotiating, None
            if negotiating is not None:
                negotiating.callback(None)
            held, self._held = self._held or [], None
            for event in held:
                self._tell(event)

        def refused(failure: Failure) -> None:
            message = str(failure.value)
            self._end(lambda: InternalError(message=message, domain=c.VIR_FROM_QEMU))

        self.execute("qmp_capabilities", arguments, timeout=None).addCallbacks(ready, refused)

    def _tell(self, event: Event) -> None:
        if self._on_event is None or self._reason is not None:
            return
        try:
            self._on_event(*event)
        except Exception:
            log.failure("The event {name} of a guest's QEMU was not dealt with", name=event.name)

    def _take_reply(self, reply: Reply) -> None:
        serial = reply.id
        if serial is None:
            # QEMU could not read a command. It answers in order, so it means the oldest.
            calls = self._pending.values()
            serial = next((one.serial for one in calls if not one.oob and one.file is None), 0)
        call = self._pending.pop(serial, None)
        if call is None:
            self._break("an answer to no command")
            return
        self._bytes -= call.size
        self._late -= call.late
        result = reply.value
        if reply.error is not None:
            message = f"unable to execute QEMU command '{call.command}': {reply.error}"
            error = InternalError(message, domain=c.VIR_FROM_QEMU)
            error.__cause__ = reply.error
            result = Failure(error)
        if call is self._carrier:
            self._carrier = None
            if self._queue:
                self._send(self._queue.popleft())
        call.finish(result)

    def _end(self, reason: Reason) -> None:
        """End the link, once."""
        if self._reason is not None:
            return
        self._reason = reason
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
        calls = [*self._pending.values(), *self._queue]
        self._pending.clear()
        self._queue.clear()
        self._carrier = None
        self._late = self._bytes = 0
        established = self._held is None
        negotiating, self._negotiating = self._negotiating, None
        for call in calls:
            call.finish(Failure(reason()))
        if negotiating is not None:
            negotiating.errback(reason())
        elif established and self._on_close is not None:
            self._on_close(reason())


async def connect(
    reactor: Any,
    path: str,
    *,
    timeout: float,
    on_event: OnEvent | None = None,
    on_close: OnClose | None = None,
) -> Monitor:
    """Connect to the socket of a QEMU, which may still be starting.

    Args:
        reactor: provides IReactorUNIX and IReactorTime.
        path: of the socket; it must exist.
        timeout: how long the greeting and the negotiation may take, in seconds.
        on_event, on_close: see :class:`Monitor`.

    Raises:
        VirSystemError: nobody listens there.
        OperationTimeout: QEMU did not answer.
        InternalError: it ended, or does not speak QMP.
    """
    factory = Factory.forProtocol(lambda: Monitor(reactor, on_event, on_close))
    factory.noisy = False
    try:
        monitor = await UNIXClientEndpoint(reactor, path, timeout=timeout).connect(factory)
    except ConnectError as error:
        reason = os.strerror(error.osError) if isinstance(error.osError, int) else str(error)
        message = f"failed to connect to monitor socket: {reason}"
        raise VirSystemError(message=message, domain=c.VIR_FROM_QEMU) from error
    if not isinstance(monitor, Monitor):
        raise TypeError("the endpoint made another protocol")
    return await ready(monitor, timeout)


async def ready(monitor: Monitor, timeout: float) -> Monitor:
    """Return a monitor whose negotiation has ended; close it if that fails, or nobody waits any more."""
    try:
        await monitor.negotiated(timeout)
    except (CancelledError, VirError):
        monitor.close()
        raise
    return monitor


def qmp_class(error: BaseException) -> str | None:
    """Return QEMU's class of error behind an error of :meth:`Monitor.execute`; None if QEMU did not
    refuse."""
    cause = error.__cause__
    return cause.klass if isinstance(cause, QmpError) else None


def _silent() -> VirError:
    return OperationTimeout("QEMU's monitor did not answer", domain=c.VIR_FROM_QEMU)


def _closed() -> VirError:
    return OperationFailed("QEMU monitor was closed", domain=c.VIR_FROM_QEMU)


class MonitorHungUp(InternalError):
    """QEMU has closed its monitor: it has ended, or is about to."""


def _end_of_file() -> VirError:
    return MonitorHungUp("End of file from qemu monitor", domain=c.VIR_FROM_QEMU)


def _too_many() -> VirError:
    return OperationFailed("too many commands wait for QEMU", domain=c.VIR_FROM_QEMU)


def _failed(error: VirError) -> Deferred[Any]:
    """Return a Deferred that has failed, quicker than by raising."""
    failed: Deferred[Any] = Deferred()
    failed.errback(error)
    return failed
