"""A guest's memory in a file, for somebody to look at: all of its state, or only the memory.

::

    paused, unless LIVE ──► QEMU writes into a file that we have opened ──► the file is on the disk
        ──► CRASH: the guest is ended    RESET: it boots anew    else it runs on, if it did

The whole state is QEMU's migration stream; only the memory is an ELF file or one of kdump's, for debuggers.
What fails leaves the guest as it was, and no file.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Final

from twisted.internet.task import deferLater

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.faults import both_flags
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.flowing import POLL_SECONDS, pour
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.jobs_info import finished
from remotevirt.drivers.qemu.outputs import output
from remotevirt.drivers.qemu.progress import Progress
from remotevirt.drivers.qemu.running import run_cpus, stop_cpus
from remotevirt.drivers.qemu.saving import check_path
from remotevirt.drivers.qemu.stopping import PANICKED, end
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationFailed, OperationUnsupported, VirSystemError
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DumpCalls", "dump_over", "dump_panicked"]

CRASH: Final[int] = c.VIR_DUMP_CRASH
LIVE: Final[int] = c.VIR_DUMP_LIVE
RESET: Final[int] = c.VIR_DUMP_RESET
MEMORY_ONLY: Final[int] = c.VIR_DUMP_MEMORY_ONLY
BYPASS_CACHE: Final[int] = c.VIR_DUMP_BYPASS_CACHE
FLAGS: Final[int] = CRASH | LIVE | RESET | MEMORY_ONLY | BYPASS_CACHE

FORMATS: Final = ("elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp")
"""QEMU's words for virDomainCoreDumpFormat, by number."""

NAME: Final = "dump"
"""What the descriptor is called in QEMU's monitor."""

MAX_NAME: Final = 20
"""Characters of a domain's name in the names of files that we choose, as in libvirt."""


def _failed(what: str, path: str, error: OSError) -> VirSystemError:
    text = f"{what} '{path}': {error.strerror}"
    return VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0)


def _open(path: str) -> int:
    """Open a file to write a dump into; one that is there is overwritten. Raises VirError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise _failed("Failed to create file", path, error) from error
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISREG(mode):
            os.ftruncate(file, 0)
        elif not stat.S_ISBLK(mode):
            text = f"'{path}' is neither a file nor a device"
            raise OperationFailed(text, domain=c.VIR_FROM_QEMU)
        os.set_blocking(file, True)
    except OSError as error:
        os.close(file)
        raise _failed("Failed to create file", path, error) from error
    except BaseException:
        os.close(file)
        raise
    return file


def _finish(file: int, path: str, forget: bool) -> None:
    """Have a file on the disk, and with ``forget`` not in the host's cache. Raises VirSystemError."""
    try:
        os.fsync(file)
        if forget:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        raise _failed("unable to write", path, error) from error


async def _dump_memory(guest: Guest, file: int, format: str) -> None:
    """Have QEMU write a guest's memory. Raises VirError."""
    answer = await guest.execute("query-dump-guest-memory-capability")
    known = answer.get("formats") if isinstance(answer, dict) else None
    if format != "elf" and format not in (known if isinstance(known, list) else ()):
        text = f"unsupported dumpformat '{format}' for this QEMU binary"
        raise InvalidArg(text, domain=c.VIR_FROM_QEMU)
    await guest.execute("getfd", {"fdname": NAME}, files=[file])
    seconds = guest.world.reactor.seconds()
    guest.progress = Progress(c.VIR_DOMAIN_JOB_OPERATION_DUMP, seconds, migrates=False)
    try:
        order = {"paging": False, "protocol": f"fd:{NAME}", "detach": True, "format": format}
        await guest.execute("dump-guest-memory", order)
        await _watch(guest)
        finished(guest)
    finally:
        guest.progress = None


async def _watch(guest: Guest) -> None:
    """Wait until QEMU has written a dump."""
    while True:
        answer: Any = await guest.execute("query-dump")
        status = answer.get("status") if isinstance(answer, dict) else None
        if guest.progress is not None and isinstance(answer, dict):
            guest.progress.take(answer)
        if status == "completed":
            return
        if status != "active":
            await deferLater(guest.world.reactor, POLL_SECONDS)  # why is told by an event, which follows
            why = guest.progress.error if guest.progress is not None else ""
            text = f"memory-only dump failed: {why}" if why else "memory-only dump failed"
            raise OperationFailed(text, domain=c.VIR_FROM_QEMU)
        guest.check_alive()
        await deferLater(guest.world.reactor, POLL_SECONDS)


async def dump_over(guest: Guest) -> None:
    """Wait until QEMU has written a dump that nobody wants any more: it cannot be told to stop.

    Raises:
        VirError: it does not answer, or the guest ends.
    """
    while True:
        answer = await guest.execute("query-dump")
        if not isinstance(answer, dict) or answer.get("status") != "active":
            return
        guest.check_alive()
        await deferLater(guest.world.reactor, POLL_SECONDS)


async def _write(guest: Guest, path: str, format: int, flags: int) -> None:
    """Write a dump into a file, which is gone if that fails."""
    async with output(
        guest, path, lambda: _open(path), lambda file: _finish(file, path, bool(flags & BYPASS_CACHE))
    ) as file:
        if flags & MEMORY_ONLY:
            await _dump_memory(guest, file, FORMATS[format])
        else:
            await pour(guest, file, c.VIR_DOMAIN_JOB_OPERATION_DUMP)
        guest.check_alive()


async def dump_panicked(guest: Guest) -> None:
    """Keep the memory of a guest that has panicked or hangs, in the driver's own folder. Raises VirError."""
    record, settings = guest.record, guest.world.settings
    name = record.name.replace("/", "_")[:MAX_NAME]
    stamp = time.strftime("%Y-%m-%d-%H:%M:%S")
    path = settings.dump / f"{record.id}-{name}-{stamp}"
    async with record.job.turn("dump", guest.world.reactor, settings.job_timeout):
        guest.check_alive()
        try:
            await in_thread(
                str(settings.state), lambda stop: settings.dump.mkdir(0o700, parents=True, exist_ok=True)
            )
        except OSError as error:
            raise _failed("Failed to create directory", str(settings.dump), error) from error
        await _write(guest, str(path), c.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, MEMORY_ONLY)


class DumpCalls(QemuCalls):
    """virDomainCoreDump."""

    async def domain_core_dump(self, dom: NonnullDomain, to: str, flags: int) -> None:
        """Write a guest's memory into a file; flags say what becomes of the guest."""
        await self._dump(dom, to, c.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, flags, "virDomainCoreDump")

    async def domain_core_dump_with_format(
        self, dom: NonnullDomain, to: str, dumpformat: int, flags: int
    ) -> None:
        """As domain_core_dump, in one of the formats of virDomainCoreDumpFormat."""
        function = "virDomainCoreDumpWithFormat"
        if dumpformat >= len(FORMATS):
            text = f"dumpformat '{dumpformat}' is not supported"
            raise InvalidArg(text, domain=c.VIR_FROM_DOMAIN, str1=function, str2="flags")
        await self._dump(dom, to, dumpformat, flags, function)

    async def _dump(self, dom: NonnullDomain, to: str, format: int, flags: int, function: str) -> None:
        for one, other, first, second in (
            (CRASH, LIVE, "VIR_DUMP_CRASH", "VIR_DUMP_LIVE"),
            (CRASH, RESET, "VIR_DUMP_CRASH", "VIR_DUMP_RESET"),
            (LIVE, RESET, "VIR_DUMP_LIVE", "VIR_DUMP_RESET"),
        ):
            if flags & one and flags & other:
                raise both_flags(function, first, second)
        self.check_flags(flags, FLAGS, "DomainCoreDumpWithFormat")
        record = self.record(dom)
        self.guest(record)
        if format and not flags & MEMORY_ONLY:
            text = "kdump-compressed format is only supported with memory-only dump"
            raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
        path = await check_path(to, self.world.settings)
        async with self.turn(record, "remoteDispatchDomainCoreDumpWithFormat"):
            guest = self.guest(record)
            ran = record.state == c.VIR_DOMAIN_RUNNING
            if ran and not flags & LIVE:
                await stop_cpus(guest, c.VIR_DOMAIN_PAUSED_DUMP, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
            try:
                await _write(guest, path, format, flags)
                if flags & RESET:
                    await guest.execute("system_reset")
            except BaseException:
                await self._run_on(guest, ran)
                raise
            if flags & CRASH:
                await end(guest, PANICKED)
            else:
                await self._run_on(guest, ran)

    async def _run_on(self, guest: Guest, ran: bool) -> None:
        """Let a guest run that did before: writing the whole state stops it in any case."""
        record = guest.record
        if not ran or record.guest is not guest or guest.monitor is None:
            return
        if record.state == c.VIR_DOMAIN_PAUSED:
            await run_cpus(guest, c.VIR_DOMAIN_RUNNING_UNPAUSED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
