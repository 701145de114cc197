"""Other programs' work: found, run within bounds, and stopped when nobody waits for it.

Whoever awaits one gets what it says, or, once cancelled, goes on only when it has really ended: what is
cleaned up then is nobody's any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from remotevirt.drivers.disk_threads import Lanes, in_thread
from remotevirt.drivers.documents import LARGE
from remotevirt.drivers.storage.faults import internal, system
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c

__all__ = [
    "MAX_OUTPUT",
    "find_program",
    "locate_program",
    "parsed",
    "run",
]

MAX_OUTPUT: Final = 256 * 1024
"""Bytes of what a program may say; one that says more is killed."""

MAX_COMPLAINT: Final = 4096
"""Characters of what a program says that a client gets to see."""

PLACES: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs are looked for besides ``PATH``; daemons often have a short one."""

PROGRAMS: Final = 4
"""Programs that work for a pool at a time. The rest waits; libvirt starts as many as it has workers."""

ALL_PROGRAMS: Final = 32
"""Programs that run at a time: where those of some pools hang, there is room for the others."""

_programs = Lanes(PROGRAMS)
_all_programs = DeferredSemaphore(ALL_PROGRAMS)

P = ParamSpec("P")
T = TypeVar("T")


async def parsed(text: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read a document: at once, or a long one in a thread; raises what the parser raises."""
    if len(text) < LARGE:
        return parse(*args, **kwargs)
    return await deferToThread(parse, *args, **kwargs)


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


async def locate_program(name: str) -> str | None:
    """Return the path of a program, None if it is not there."""
    return await in_thread(PLACES[0], lambda stop: find_program(name))


def find_program(name: str) -> str | None:
    """Return the path of a program, None if it is not there; in a thread, or when the daemon starts."""
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
    place: str,
    program: str,
    args: Sequence[str],
    *,
    folder: int | None = None,
    secret: bytes | None = None,
    shown: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program until it ends; returns what it says.

    Args:
        place: what it works on, a folder or any other name: each has a few programs at a time.
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
    await _programs.enter(place, None)
    try:
        await _all_programs.acquire()
    except BaseException:
        _programs.leave(place)
        raise
    try:
        command = [program, *args]
        # in the daemon's own folder: to change that, Twisted would have to copy the daemon first
        reactor.spawnProcess(protocol, program, command, environment, childFDs=descriptors)
        status = await _ended(protocol.done, protocol.kill)
    except OSError as error:
        raise system(f"cannot run {program}", error) from error
    finally:
        _all_programs.release()
        _programs.leave(place)
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
