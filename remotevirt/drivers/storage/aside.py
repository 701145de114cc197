"""Other programs' work: found, run within bounds, and stopped when nobody waits for it.

Whoever awaits one gets what it says, or, once cancelled, goes on only when it has really ended: what is
cleaned up then is nobody's any more. A program that does not get on is killed: how long it may take in all
nobody can know, but one that works uses CPU time, if only to tell the kernel what to read and write. One that
cannot be killed, as the kernel waits for a disk in its name, is left to itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.disk_threads import Lanes, in_thread
from remotevirt.drivers.documents import LARGE
from remotevirt.drivers.regardless import regardless
from remotevirt.drivers.storage.faults import internal, system
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationTimeout

__all__ = [
    "MAX_OUTPUT",
    "find_program",
    "kill_all",
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
"""Programs that work for a pool at a time, and as many with long work. The rest waits; libvirt starts as many
as it has workers."""

ALL_PROGRAMS: Final = 32
"""Programs that run at a time, and as many with long work: where those of some pools hang, there is room for
the others."""

IDLE_SECONDS: Final = 30.0
"""How long a program may do nothing, and wait for its turn before; as long as a disk has (``DISK_SECONDS``).
libvirt waits for ever."""

LONG_IDLE_SECONDS: Final = 600.0
"""How long one with long work may do nothing: in its end it waits until all that it has written, or what was
written to a file system that it unmounts, is on the disk. Ten minutes are 60 GB at 100 MB a second."""

LOOK_SECONDS: Final = 5.0
"""How often it is seen whether a program gets on."""

KILL_SECONDS: Final = 5.0
"""How long a program that was killed is waited for."""


class _Turns:
    """The right to run programs of one kind."""

    def __init__(self) -> None:
        self.lanes = Lanes(PROGRAMS)
        self.all = DeferredSemaphore(ALL_PROGRAMS)


_short = _Turns()
_long = _Turns()
_running: set[_Run] = set()

reactor: Any = _reactor
log = Logger()

P = ParamSpec("P")
T = TypeVar("T")


async def parsed(text: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read a document: at once, or a long one in a thread; raises what the parser raises."""
    if len(text) < LARGE:
        return parse(*args, **kwargs)
    return await deferToThread(parse, *args, **kwargs)


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
    """One run of a program: collects what it says, within bounds, and sees whether it gets on.

    Args:
        secret: what it can read as number 4.
        idle: for how many seconds it may do nothing.

    Attributes:
        over: fires when it has ended, or cannot be made to.
        ended: fires when it has ended.
        status: its exit status; that of a signal is negative.
        stuck: it did not get on.
        flooded: it said too much.
    """

    def __init__(self, secret: bytes | None, idle: float) -> None:
        self.over: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.status = 0
        self.output = bytearray()
        self.complaint = bytearray()
        self.stuck = False
        self.flooded = False
        self._secret = secret
        self._idle = idle
        self._cpu = 0
        self._since = 0.0
        self._exited = False
        self._killed = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        _running.add(self)
        self.transport.closeStdin()
        if self._secret is not None:
            self.transport.writeToChild(SECRET_FD, self._secret)
            self.transport.closeChildFD(SECRET_FD)
        self._since = reactor.seconds()
        self._timer = reactor.callLater(min(LOOK_SECONDS, self._idle), self._look)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        into = self.output if childFD == 1 else self.complaint
        into += data
        if len(into) > MAX_OUTPUT:
            self.flooded = True
            del into[MAX_OUTPUT:]
            self.kill()

    def _look(self) -> None:
        """See whether it gets on."""
        assert self.transport is not None
        self._timer = None
        cpu = None if self._exited else _cpu_time(self.transport.pid)
        now = reactor.seconds()
        if cpu is not None and cpu != self._cpu:
            self._cpu, self._since = cpu, now
        elif now - self._since >= self._idle:
            self.stuck = not self._exited
            self.kill()
            return
        self._timer = reactor.callLater(min(LOOK_SECONDS, self._idle), self._look)

    def kill(self) -> None:
        """End the program at once; where that cannot be, it is not waited for much longer."""
        if self._killed:
            return
        self._killed = True
        self._stop_timer()
        self._timer = reactor.callLater(KILL_SECONDS, self._leave)
        try:
            if self.transport is not None and not self._exited:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            self._exited = True
        if self._exited:
            self._let_go()

    def _leave(self) -> None:
        """Wait no longer for a program that has been killed."""
        self._timer = None
        self.stuck = True
        self.over.callback(None)

    def processExited(self, reason: Failure) -> None:
        self._exited = True
        if not reason.check(ProcessDone):
            value: Any = reason.value
            self.status = -value.signal if value.signal is not None else value.exitCode or 0
        if self._killed:
            self._let_go()

    def _let_go(self) -> None:
        """Wait no more for what a program that has ended said: others may have its pipes."""
        if self.transport is not None:
            self.transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        _running.discard(self)
        self._stop_timer()
        self.ended.callback(None)
        if not self.over.called:
            self.over.callback(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cpu_time(pid: int) -> int | None:
    """Return how long a process has worked, with those that it has waited for; None if that is not known.

    Returns:
        Ticks of the kernel's clock, a hundred in a second.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return sum(int(field) for field in fields[11:15])
    except (OSError, ValueError):
        return None


def kill_all() -> None:
    """Kill all programs that run: the daemon ends, and nobody would hear of what they do."""
    for one in tuple(_running):
        one.kill()


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
    long: bool = False,
) -> bytes:
    """Run a program until it ends; returns what it says.

    Args:
        place: what it works on, a folder or any other name: each has a few programs at a time.
        program: its absolute path.
        args: its arguments, without its name.
        folder: a descriptor that it gets as number 3.
        secret: bytes that it can read as number 4.
        shown: parts of arguments and complaints that clients see otherwise.
        long: it may have to wait for a disk for minutes, and for its turn until those before it have ended.

    Raises:
        InternalError: it failed, or said too much.
        OperationTimeout: it did not get on, and was killed, or its turn did not come.
        CancelledError: nobody waits any more; it has been killed, and has ended if it could be made to.
    """
    turns, idle = (_long, LONG_IDLE_SECONDS) if long else (_short, IDLE_SECONDS)
    descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r"}
    if folder is not None:
        descriptors[FOLDER_FD] = folder
    if secret is not None:
        descriptors[SECRET_FD] = "w"
    environment = {"LC_ALL": "C", "PATH": os.pathsep.join(PLACES)}
    await turns.lanes.enter(place, None if long else idle)
    try:
        await turns.all.acquire()
    except BaseException:
        turns.lanes.leave(place)
        raise
    protocol = _Run(secret, idle)
    try:
        command = [program, *args]
        # in the daemon's own folder: to change that, Twisted would have to copy the daemon first
        reactor.spawnProcess(protocol, program, command, environment, childFDs=descriptors)
    except BaseException as error:
        turns.all.release()
        turns.lanes.leave(place)
        if isinstance(error, OSError):
            raise system(f"cannot run {program}", error) from error
        raise
    try:
        await _over(protocol)
    finally:
        turns.all.release()
        _leave(turns.lanes, place, program, protocol)
    if protocol.stuck:
        text = f"{os.path.basename(program)} does not get on: the storage at '{place}' does not answer"
        raise OperationTimeout(text, domain=c.VIR_FROM_STORAGE)
    if protocol.status == 0 and not protocol.flooded:
        return bytes(protocol.output)
    raise _failed([program, *args], protocol.status, protocol, shown or {})


async def _over(run: _Run) -> None:
    """Wait until a program is over, even when cancelled."""
    try:
        await regardless(run.over)
    except CancelledError:
        run.kill()
        while not run.over.called:
            with suppress(CancelledError):
                await regardless(run.over)
        raise


def _leave(lanes: Lanes, place: str, program: str, run: _Run) -> None:
    """Give up the turn of a program: when it has ended, however long that takes."""
    if run.ended.called:
        lanes.leave(place)
        return
    log.warn("{program} cannot be killed: {place} does not answer", program=program, place=place)
    lanes.linger(place)
    run.ended.addCallback(lambda _: lanes.leave(place, late=True))


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
