"""What the kernel says of a process: the figures of ``/proc`` that libvirt's statistics are made of.

Nothing is read here that the kernel would have to fetch out of the process's own memory (its command line,
its environment), for a process can make such a read wait for ever.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final, NamedTuple

__all__ = [
    "HaltPolling",
    "IoFigures",
    "TaskFigures",
    "WaitingTimes",
    "affinity",
    "boot_id",
    "halt_polling",
    "io_figures",
    "task_figures",
    "thread_ids",
    "waiting_times",
]

_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of a clock tick, in which CPU times are counted."""

_KVM: Final = "/sys/kernel/debug/kvm"
"""Where KVM has a folder for each guest, named after the process's number."""

_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024

_READ: Final = 4096
"""Bytes that are read of a file; those used here have some hundred."""


class TaskFigures(NamedTuple):
    """A process or one of its threads.

    Attributes:
        state: the kernel's letter: R, S, D, T (stopped), Z (ended), ...
        user: CPU time in user mode, in nanoseconds; for a virtual CPU under KVM this includes the guest's.
        system: CPU time in the kernel, in nanoseconds.
        start_time: clock ticks from the host's start to its own.
        rss: resident memory of the process, in KiB.
        last_cpu: the host's CPU that it ran on last.
    """

    state: str
    user: int
    system: int
    start_time: int
    rss: int
    last_cpu: int

    @property
    def cpu(self) -> int:
        """All CPU time, in nanoseconds."""
        return self.user + self.system


class IoFigures(NamedTuple):
    """Bytes that a process has caused to be read from, and written to, storage."""

    read: int
    written: int


class WaitingTimes(NamedTuple):
    """Nanoseconds that a thread was not run: while it waited for storage, and for a CPU of the host."""

    io: int
    queue: int


class HaltPolling(NamedTuple):
    """Nanoseconds that KVM has polled for a processor that waited: not in vain, and in vain."""

    success: int
    fail: int


def task_figures(pid: int, tid: int | None = None) -> TaskFigures | None:
    """Return the figures of a process, or of a thread of it (of nobody else); None if there is none."""
    data = _read(f"/proc/{pid:d}/stat" if tid is None else f"/proc/{pid:d}/task/{tid:d}/stat")
    # The name is in parentheses, and may have some itself; what follows the last one is numbered from 3.
    fields = data.rpartition(b")")[2].split()
    try:
        return TaskFigures(
            state=fields[0].decode("ascii"),
            user=int(fields[11]) * _TICK,
            system=int(fields[12]) * _TICK,
            start_time=int(fields[19]),
            rss=max(int(fields[21]), 0) * _PAGE_KIB,
            last_cpu=int(fields[36]),
        )
    except (IndexError, ValueError):
        return None


def io_figures(pid: int) -> IoFigures | None:
    """Return what a process has read and written; None if there is none, or we may not know."""
    figures = {}
    for line in _read(f"/proc/{pid:d}/io").splitlines():
        name, _, value = line.partition(b":")
        with contextlib.suppress(ValueError):
            figures[name] = int(value)
    try:
        return IoFigures(figures[b"read_bytes"], figures[b"write_bytes"])
    except KeyError:
        return None


def waiting_times(pid: int, tid: int) -> WaitingTimes | None:
    """Return how long a thread of a process has waited; None if there is none, or nobody counts it."""
    path = f"/proc/{pid:d}/task/{tid:d}"
    io = 0
    for line in _read(f"{path}/sched").splitlines():
        name, _, value = line.partition(b":")
        if name.strip().endswith(b"iowait_sum"):
            with contextlib.suppress(ValueError):
                io = int(float(value) * 1_000_000)
    try:
        return WaitingTimes(max(io, 0), int(_read(f"{path}/schedstat").split()[1]))
    except (IndexError, ValueError):
        return None


def halt_polling(pid: int) -> HaltPolling:
    """Return how long KVM has polled for a process's processors, as far as we may know."""
    success = fail = 0
    with contextlib.suppress(OSError):
        for guest in os.scandir(_KVM):
            if guest.name.startswith(f"{pid:d}-"):
                for vcpu in os.scandir(guest.path):
                    if vcpu.name.startswith("vcpu"):
                        success += _nanoseconds(f"{vcpu.path}/halt_poll_success_ns")
                        fail += _nanoseconds(f"{vcpu.path}/halt_poll_fail_ns")
    return HaltPolling(success, fail)


def _nanoseconds(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() and len(text) < 20 else 0


def thread_ids(pid: int) -> tuple[int, ...]:
    """Return the threads of a process, in ascending order; none if there is no process."""
    try:
        return tuple(sorted(int(name) for name in os.listdir(f"/proc/{pid:d}/task")))
    except (OSError, ValueError):
        return ()


def affinity(pid: int, tid: int | None = None) -> frozenset[int] | None:
    """Return the host's CPUs that a process, or a thread of it, may run on; None if there is none."""
    # What QEMU says are its threads' numbers may be anybody's.
    if tid is not None and task_figures(pid, tid) is None:
        return None
    try:
        return frozenset(os.sched_getaffinity(pid if tid is None else tid))
    except OSError:
        return None


def boot_id() -> str:
    """Return what tells this start of the host from all others; start times count from there."""
    return _read("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()


def _read(path: str) -> bytes:
    """The beginning of a file; empty if it is not there, or no longer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _READ)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
