"""Long work beside the reactor: in a thread, or by another program; stopped when nobody waits for it.

Whoever awaits either gets the result, or, once cancelled, goes on only when the work has really ended: what
it cleans up then is nobody's any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Concatenate, Final, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from remotevirt.drivers.documents import LARGE
from remotevirt.drivers.storage.faults import internal, system
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c

__all__ = [
    "MAX_OUTPUT",
    "Stop",
    "Stopped",
    "find_program",
    "in_long_thread",
    "in_thread",
    "open_in_thread",
    "parsed",
    "run",
]

MAX_OUTPUT: Final = 256 * 1024
"""Bytes of what a program may say; one that says more is killed."""

MAX_COMPLAINT: Final = 4096
"""Characters of what a program says that a client gets to see."""

PLACES: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs are looked for besides ``PATH``; daemons often have a short one."""

LONG_THREADS: Final = 4
"""Threads that copy, fill or wipe at a time; the others of the reactor's ten stay for what is short."""

PROGRAMS: Final = 8
"""Programs that run at a time. The rest waits its turn; libvirt starts as many as it has workers."""

_long_threads = DeferredSemaphore(LONG_THREADS)
_programs = DeferredSemaphore(PROGRAMS)

P = ParamSpec("P")
T = TypeVar("T")


class Stopped(Exception):
    """The work was stopped."""


class Stop:
    """Whether the work of a thread shall stop."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if the work shall stop."""
        if self._event.is_set():
            raise Stopped


async def in_thread(work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in a thread; it gets a :class:`Stop` first.

    Raises:
        CancelledError: nobody waits any more; the thread has ended.
        Exception: what the work raises.
    """
    stop = Stop()
    return await _ended(deferToThread(work, stop, *args, **kwargs), stop.set)


async def open_in_thread(work: Callable[Concatenate[Stop, P], int], *args: P.args, **kwargs: P.kwargs) -> int:
    """Open something in a thread; as :func:`in_thread`. What nobody waits for any more is closed.

    Args:
        work: returns a descriptor.
        args, kwargs: for it.
    """
    opened: list[int] = []

    def do(stop: Stop) -> int:
        opened.append(work(stop, *args, **kwargs))
        return opened[0]

    try:
        return await in_thread(do)
    except CancelledError:
        for descriptor in opened:
            os.close(descriptor)
        raise


async def in_long_thread(work: Callable[Concatenate[Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something in a thread that may take long, when it is its turn; as :func:`in_thread`."""
    await _long_threads.acquire()
    try:
        return await in_thread(work, *args, **kwargs)
    finally:
        _long_threads.release()


async def parsed(text: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read a document: at once, or a long one in a thread; raises what the parser raises."""
    if len(text) < LARGE:
        return parse(*args, **kwargs)
    return await in_thread(lambda stop: parse(*args, **kwargs))


async def _ended(work: Deferred[T], stop: Callable[[], None]) -> T:
    """Wait for work to end, even when cancelled."""
    answer: Deferred[T] = Deferred()
    over: Deferred[None] = Deferred()

    def deliver(result: T | Failure) -> None:
        if not answer.called:
            answer.callback(result)
        over.callback(None)

    work.addBoth(deliver)
    try:
        return await answer
    except CancelledError:
        stop()
        if not over.called:
            await over
        raise


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not there."""
    for place in (*os.environ.get("PATH", "").split(os.pathsep), *PLACES):
        path = os.path.join(place, name)
        if os.path.isabs(path) and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


class _Run(ProcessProtocol):
    """One run of a program: collects what it says, within bounds."""

    def __init__(self, secret: bytes | None) -> None:
        self.done: Deferred[int] = Deferred()
        self.output = bytearray()
        self.complaint = bytearray()
        self.flooded = False
        self._secret = secret

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.closeStdin()
        if self._secret is not None:
            self.transport.writeToChild(SECRET_FD, self._secret)
            self.transport.closeChildFD(SECRET_FD)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        into = self.output if childFD == 1 else self.complaint
        into += data
        if len(into) > MAX_OUTPUT:
            self.flooded = True
            del into[MAX_OUTPUT:]
            self.kill()

    def kill(self) -> None:
        """End the program at once."""
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone):
            self.done.callback(0)
            return
        value = reason.value
        self.done.callback(-value.signal if value.signal is not None else value.exitCode or 0)  # type: ignore[union-attr]


FOLDER_FD: Final = 3
"""The number under which a program gets a folder; its files are /proc/self/fd/3/NAME."""

SECRET_FD: Final = 4
"""The number under which a program reads a secret."""


async def run(
    program: str,
    args: Sequence[str],
    *,
    folder: int | None = None,
    secret: bytes | None = None,
    shown: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program until it ends; returns what it says.

    Args:
        program: its absolute path.
        args: its arguments, without its name.
        folder: a descriptor that it gets as number 3.
        secret: bytes that it can read as number 4.
        shown: parts of arguments and complaints that clients see otherwise.

    Raises:
        InternalError: it failed, or said too much.
        CancelledError: nobody waits any more; it has been killed, and has ended.
    """
    protocol = _Run(secret)
    descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r"}
    if folder is not None:
        descriptors[FOLDER_FD] = folder
    if secret is not None:
        descriptors[SECRET_FD] = "w"
    environment = {"LC_ALL": "C", "PATH": os.pathsep.join(PLACES)}
    await _programs.acquire()
    try:
        command = [program, *args]
        reactor.spawnProcess(protocol, program, command, environment, path="/", childFDs=descriptors)
        status = await _ended(protocol.done, protocol.kill)
    except OSError as error:
        raise system(f"cannot run {program}", error) from error
    finally:
        _programs.release()
    if status == 0 and not protocol.flooded:
        return bytes(protocol.output)
    raise _failed([program, *args], status, protocol, shown or {})


def _failed(command: list[str], status: int, protocol: _Run, shown: Mapping[str, str]) -> VirError:
    """Return the error for a program that failed, in libvirt's words."""
    how = f"fatal signal {-status}" if status < 0 else f"exit status {status}"
    if protocol.flooded:
        how = "flood of words"
    said = protocol.complaint.decode("utf-8", "replace")[:MAX_COMPLAINT]
    text = f"Child process ({' '.join(command)}) unexpected {how}: {said}"
    for part, replacement in shown.items():
        text = text.replace(part, replacement)
    return internal(text, c.VIR_FROM_NONE)
