"""QEMU processes: started so that they outlive the daemon, found again, watched, and ended.

A process leads a session of its own, so that what ends the daemon (a signal to its group, a terminal that
closes) does not reach it, and has no descriptors but those that it is given. It is watched by a *pidfd*,
which means this
process and never another one that gets its number later: signals go there, and it tells the end, whether the
process is our child or that of a daemon before us.

To find it again, a later daemon needs the process's number, its start time, and the boot that this was
counted
from: all three together belong to no other process.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.drivers.disk_threads import made_in_thread
from remotevirt.drivers.qemu.becoming import as_user, mortal
from remotevirt.drivers.qemu.figures import boot_id, task_figures
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, VirSystemError

__all__ = ["QemuProcess", "exit_error", "find", "read_log_tail", "spawn"]

TERM_SECONDS: Final = 10.0
"""How long QEMU may take to end after SIGTERM, before it is killed; libvirt waits as long."""

KILL_SECONDS: Final = 30.0
"""How long a process may take to vanish after SIGKILL: the kernel may be freeing its memory, or waiting for
a disk."""

LOG_TAIL: Final = 1024
"""Bytes of a log that an error text shows, as libvirt's do."""

UMASK: Final = 0o077
"""What QEMU makes is for its own user only."""

OnExit: TypeAlias = Callable[[int | None], None]

log = Logger()


@implementer(IReadDescriptor)
class QemuProcess:
    """A running process; made by :func:`spawn` or :func:`find`.

    Attributes:
        pid: its number.
        start_time: see :class:`~remotevirt.drivers.qemu.figures.TaskFigures`.
        boot: the boot that this is counted from.
        log_start: how long its log was when it started; 0 for one that was found.
        on_exit: called once, when it has ended, with its exit status: that of the process, the negative
            number of
            the signal that killed it, or None if that is not known because it was not our child.
        exited: whether it has ended.
        status: what ``on_exit`` is told.
    """

    def __init__(
        self,
        reactor: Any,
        pid: int,
        pidfd: int,
        start_time: int,
        *,
        child: subprocess.Popen[bytes] | None = None,
        log_start: int = 0,
        on_exit: OnExit | None = None,
    ) -> None:
        self.pid = pid
        self.start_time = start_time
        self.boot = boot_id()
        self.log_start = log_start
        self.on_exit = on_exit
        self.exited = False
        self.status: int | None = None
        self._reactor = reactor
        self._pidfd = pidfd
        self._child = child
        self._waiting: list[Deferred[int | None]] = []
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the pidfd, -1 when it is closed."""
        return self._pidfd

    def logPrefix(self) -> str:
        """Return what Twisted calls us in its log."""
        return "qemu"

    def doRead(self) -> None:
        """Take note that the process has ended."""
        self.status = self._reap()
        self.exited = True
        self._unwatch()
        on_exit, self.on_exit = self.on_exit, None
        waiting, self._waiting = self._waiting, []
        if on_exit is not None:
            try:
                on_exit(self.status)
            except Exception:
                log.failure("The end of process {pid} was not dealt with", pid=self.pid)
        for one in waiting:
            one.callback(self.status)

    def connectionLost(self, reason: Failure) -> None:
        """Stop watching, as the reactor ends."""
        self.forget()

    def forget(self) -> None:
        """Stop watching; the process goes on, ``on_exit`` is not called any more, and who waits is
        cancelled."""
        self._unwatch()
        for waiting in tuple(self._waiting):
            waiting.cancel()

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._reactor.removeReader(self)
            os.close(self._pidfd)
            self._pidfd = -1

    def signal(self, number: int) -> bool:
        """Send a signal; return whether there was still a process to send it to."""
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self) -> Deferred[int | None]:
        """Wait for the end; fires with the status, after ``on_exit`` was called."""
        if self.exited:
            return succeed(self.status)
        waiting: Deferred[int | None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    async def kill(self, timeout: float = TERM_SECONDS, *, force: bool = True) -> int | None:
        """End the process, and wait until it has ended.

        Args:
            timeout: seconds from SIGTERM to SIGKILL; with 0 it is killed at once.
            force: send SIGKILL if SIGTERM was not enough.

        Returns:
            its status.

        Raises:
            VirSystemError: the kernel does not let it go.
        """
        steps = ((signal.SIGTERM, timeout), (signal.SIGKILL, KILL_SECONDS if force else 0))
        for number, seconds in steps:
            if seconds <= 0:
                continue
            self.signal(number)
            self.signal(signal.SIGCONT)  # one that was stopped would not notice
            try:
                return await self.wait().addTimeout(seconds, self._reactor)
            except TimeoutError:
                continue
        reason = os.strerror(errno.EBUSY)
        last = "SIGKILL" if force else "SIGTERM"
        message = f"Failed to terminate process {self.pid} with {last}: {reason}"
        raise VirSystemError(message=message, domain=c.VIR_FROM_QEMU, int1=errno.EBUSY)

    def _reap(self) -> int | None:
        """The status of a process that has ended; the kernel forgets it."""
        if self._child is not None:
            return self._child.poll()
        try:
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return None
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


async def spawn(
    argv: Sequence[str],
    *,
    reactor: Any,
    environment: Mapping[str, str],
    log: str | os.PathLike[str],
    descriptors: Sequence[int] = (),
    uid: int | None = None,
    gid: int | None = None,
    groups: Sequence[int] = (),
    directory: str | os.PathLike[str] = "/",
    limits: Mapping[int, int] | None = None,
    enter: Callable[[int], None] | None = None,
    on_exit: OnExit | None = None,
    with_us: bool = False,
) -> QemuProcess:
    """Start a process.

    Args:
        argv: the path of the binary and its arguments.
        reactor: provides IReactorFDSet and IReactorTime.
        environment: all of it; nothing is inherited.
        log: the file that its output and errors are appended to; made for its owner only if it is not there.
        descriptors: of ours, which it gets under the same numbers. They may be closed when this returns or
            raises.
        uid, gid: whom it runs as, both or neither; None for who we are.
        groups: all other groups that it is then in.
        directory: where it runs.
        limits: greatest values by resource (``resource.RLIMIT_CORE``, ...), as far as we may set them.
        enter: puts it into its control groups, given its number; called in a thread at its very beginning.
        on_exit: see :class:`QemuProcess`; never called before this has returned.
        with_us: it is killed when this process ends, whatever ends it.

    Raises:
        VirSystemError: it cannot be started.
        VirError: ``enter`` has raised it.
    """
    if (uid is None) != (gid is None):
        raise ValueError("uid and gid come together")
    if any(number <= 2 for number in descriptors):
        raise ValueError("the first three descriptors are not to be passed")

    def start() -> tuple[subprocess.Popen[bytes], int, int, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
        output = os.open(log, flags, 0o600)
        words: list[str] = list(argv)
        who: dict[str, Any] = {}
        if uid is not None and gid is not None:
            words, who = as_user(words, uid, gid, groups)
        if with_us:
            words = mortal(words)
        try:
            size = os.fstat(output).st_size
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                pass_fds=tuple(descriptors),
                cwd=directory,
                umask=UMASK,
                start_new_session=True,
                **who,
            )
        finally:
            os.close(output)
        try:
            if enter is not None:
                enter(child.pid)
            for which, greatest in (limits or {}).items():
                _limit(child.pid, which, greatest)
            # Not reaped yet, so the number is still the child's, even if it has ended.
            pidfd = os.pidfd_open(child.pid)
            figures = task_figures(child.pid)
            return child, pidfd, figures.start_time if figures else 0, size
        except BaseException:
            child.kill()
            child.wait()
            raise

    try:
        child, pidfd, start_time, size = await made_in_thread(
            os.path.dirname(log), lambda stop: start(), _undo
        )
    except OSError as error:
        name = f" ({error.filename})" if error.filename not in (None, argv[0]) else ""
        message = f"cannot execute binary {argv[0]}: {os.strerror(error.errno or 0)}{name}"
        raise VirSystemError(message=message, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error
    return QemuProcess(reactor, child.pid, pidfd, start_time, child=child, log_start=size, on_exit=on_exit)


def find(
    pid: int,
    start_time: int,
    boot: str,
    *,
    reactor: Any,
    program: str | None = None,
    on_exit: OnExit | None = None,
) -> QemuProcess | None:
    """Find a process again that a daemon before us has started.

    Args:
        pid, start_time, boot: what its :class:`QemuProcess` had.
        reactor: provides IReactorFDSet and IReactorTime.
        program: the path of what it should be running; not looked at where we may not know. One that has been
            replaced since, by an update, is the same.
        on_exit: see :class:`QemuProcess`.

    Returns:
        None if it has ended, whoever has its number now.
    """
    if pid <= 0 or boot != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        figures = task_figures(pid)
        same = figures is not None and figures.start_time == start_time and _runs(pid, program)
        # If it has not ended by now, all this was about the process that the pidfd means.
        if not same or _has_ended(pidfd):
            return None
        process = QemuProcess(reactor, pid, pidfd, start_time, on_exit=on_exit)
        pidfd = -1
        return process
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def read_log_tail(path: str | os.PathLike[str], size: int = LOG_TAIL, start: int = 0) -> str:
    """Return the end of a log, for an error text.

    What is in there is QEMU's, and may be anything: the text has no control characters but line feeds.

    Args:
        path: of the log.
        size: most bytes.
        start: where the part begins that is of interest.

    Returns:
        empty if there is no log, or nothing in it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        end = os.fstat(descriptor).st_size
        data = os.pread(descriptor, size, max(end - size, start, 0))
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    text = data.decode(errors="replace")
    return "".join(one for one in text if one == "\n" or unicodedata.category(one) != "Cc").strip()


def exit_error(
    path: str | os.PathLike[str],
    start: int = 0,
    what: str = "qemu unexpectedly closed the monitor",
) -> VirError:
    """Return the error for a QEMU that did not start, or not well, with what it said.

    Args:
        path: of its log.
        start: the ``log_start`` of its process.
        what: happened. libvirt says this one of a QEMU that ends before its monitor has answered, too: the
            socket
            has been there since before QEMU.
    """
    said = read_log_tail(path, start=start)
    return InternalError(f"{what}: {said}" if said else what, domain=c.VIR_FROM_QEMU)


def _has_ended(pidfd: int) -> bool:
    """Whether the process of a pidfd has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _runs(pid: int, program: str | None) -> bool:
    """Whether a process runs a program, or we may not know."""
    if program is None:
        return True
    try:
        running = os.readlink(f"/proc/{pid:d}/exe")
    except PermissionError:
        return True
    except OSError:
        return False
    return running.removesuffix(" (deleted)") == os.path.realpath(program)


def _limit(pid: int, which: int, greatest: int) -> None:
    """Set a limit of a process, or as much of it as we may; where that is too little, the process fails."""
    with suppress(PermissionError):
        try:
            resource.prlimit(pid, which, (greatest, greatest))
        except (PermissionError, ValueError):
            _, hard = resource.prlimit(pid, which)
            resource.prlimit(pid, which, (hard, hard))


def _undo(started: tuple[subprocess.Popen[bytes], int, int, int]) -> None:
    """End a process that nobody waits for any more."""
    child, pidfd, _, _ = started
    os.close(pidfd)
    child.kill()
    child.wait()
