"""From a prepared definition to a QEMU that answers: folders, files, descriptors, process, monitor."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from remotevirt.drivers.disk_threads import Stop, close_in_thread, in_thread, open_in_thread
from remotevirt.drivers.qemu import watching
from remotevirt.drivers.qemu.access import check_allowed, exactly
from remotevirt.drivers.qemu.chains import find_images
from remotevirt.drivers.qemu.command import (
    Descriptor,
    NeededSecret,
    Surroundings,
    build_command,
)
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.folders import remove_folder
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import give_files
from remotevirt.drivers.qemu.hugepages import huge_folders
from remotevirt.drivers.qemu.limits import make_group, name_partition
from remotevirt.drivers.qemu.logs import cut, log_path
from remotevirt.drivers.qemu.monitor import Monitor, connect
from remotevirt.drivers.qemu.process import QemuProcess, spawn
from remotevirt.drivers.qemu.settings import GuestUser, Settings
from remotevirt.drivers.qemu.stopping import gone
from remotevirt.drivers.qemu.taps import open_tap, place_taps, tap_names
from remotevirt.drivers.qemu.telling import tell
from remotevirt.drivers.qemu.threads import check_nodes, check_tuning
from remotevirt.drivers.qemu.variables import make_variables
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, NoSecret, OperationDenied, VirSystemError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.graphics import Vnc

__all__ = [
    "PID_FILE",
    "attend",
    "converse",
    "forget_secrets",
    "launch",
    "opened",
    "surroundings_of",
    "write_secrets",
]

PID_FILE: Final = "qemu.pid"
"""Where QEMU writes the number of its process, in the guest's folder."""

OTHER_PORTS: Final = 99
"""Ports that QEMU may try for a display after the one that was free a moment ago."""

LISTEN_BACKLOG: Final = 16
"""Clients of a socket that wait for QEMU, which takes one after the other."""

ELSEWHERE: Final = frozenset({"cputune", "vcpu", "memtune", "blkiotune", "resource"})
"""What of a definition others than the command line carry out: ``threads`` and ``limits``, or they refuse."""


def surroundings_of(guest: Guest) -> Surroundings:
    """Return where a guest runs."""
    settings = guest.world.settings
    ports = {
        number: screen.port
        for number, screen in enumerate(guest.record.live.model.devices.graphics)
        if isinstance(screen, Vnc) and screen.port
    }
    return Surroundings(
        folder=str(guest.folder),
        monitor=str(guest.socket),
        channel_folder=str(settings.channel / guest.record.uuid.hex()),
        vnc_ports=ports,
        vnc_others=OTHER_PORTS,
        hugepages={size: str(folder) for size, folder in huge_folders(guest).items()},
        elsewhere=ELSEWHERE,
    )


async def launch(guest: Guest, emulator: Emulator, *, incoming: bool, reset_nvram: bool = False) -> None:
    """Start a guest's QEMU, its processors stopped, and connect to it.

    Args:
        guest: the guest, with a live definition that is ready.
        emulator: its binary.
        incoming: it waits for its memory.
        reset_nvram: make its firmware's variables anew.

    Raises:
        VirError: something cannot be had, or QEMU refuses.
    """
    world, settings = guest.world, guest.world.settings
    model, surroundings = guest.record.live.model, surroundings_of(guest)
    check_tuning(guest.record.live)
    check_nodes(guest.record.live)
    await find_images(world, model)
    if settings.images and model.commandline is not None:
        # they could name any file
        text = "arguments for QEMU itself are not allowed where the operator says what guests may open"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
    command = build_command(model, emulator, surroundings)
    guest.check_wanted()
    own = str(settings.state)
    huge = list(huge_folders(guest).values())
    await in_thread(own, lambda stop: _make_folders(stop, guest.folder, settings, huge))
    nvram = model.os.nvram
    if nvram is not None and nvram.path is not None:
        place = os.path.dirname(nvram.path)
        await in_thread(place, lambda stop: make_variables(model, settings, anew=reset_nvram))
    guest.check_wanted()
    await write_secrets(guest, command.secrets)
    log = log_path(settings, guest.record.name)
    await in_thread(own, lambda stop: cut(log))
    guest.check_wanted()
    await give_files(guest, command.files)
    await make_group(guest)
    guest.check_wanted()
    async with opened(command.descriptors, settings) as numbers:
        argv = [*command.arguments(numbers), "-pidfile", str(guest.folder / PID_FILE)]
        if incoming:
            argv += ["-incoming", "defer"]
        user = settings.user
        process = await spawn(
            argv,
            reactor=world.reactor,
            environment=command.environment,
            log=log,
            descriptors=sorted(numbers.values()),
            uid=None if user is None else user.uid,
            gid=None if user is None else user.gid,
            groups=() if user is None else user.groups,
            directory=guest.folder,
            enter=None if guest.group is None else guest.group.enter,
            limits={resource.RLIMIT_MEMLOCK: resource.RLIM_INFINITY} if _is_locked(model) else None,
        )
        taps = tap_names(command.descriptors, numbers)
    attend(guest, process)
    guest.check_wanted()

    def started() -> None:
        guest.remember()
        guest.record.live.changing()  # its images were found and numbered
        name_partition(guest)
        if taps:
            place_taps(guest.record.live.changing(), taps)

    world.commit(started)
    guest.monitor = await converse(guest, settings.start_timeout)
    guest.check_alive()
    await in_thread(own, lambda stop: forget_secrets(secret.path for secret in command.secrets))


def _is_locked(model: DomainModel) -> bool:
    """Return whether all of a guest's memory shall stay in the host's."""
    return model.memory_backing is not None and bool(model.memory_backing.locked)


def attend(guest: Guest, process: QemuProcess) -> None:
    """Take notice when a guest's process ends."""
    guest.process = process
    process.on_exit = lambda status: gone(guest)


async def converse(guest: Guest, timeout: float) -> Monitor:
    """Connect to a guest's monitor.

    Raises:
        VirError: nobody answers.
    """

    def told(name: str, data: Mapping[str, Any], seconds: int, microseconds: int) -> None:
        tell(guest, name, data, seconds, microseconds)
        watching.heard(guest, name, dict(data))

    def lost(reason: VirError) -> None:
        # a QEMU that nobody can talk to is of no use; when it is over, its process tells
        process = guest.process
        if process is not None and guest.record.guest is guest:
            watching.later(guest, lambda: process.kill(guest.world.settings.shutdown_timeout), "kill")

    return await connect(
        guest.world.reactor,
        str(guest.socket),
        timeout=timeout,
        on_event=told,
        on_close=lost,
    )


def _make_folders(stop: Stop, folder: Path, settings: Settings, huge: Iterable[Path]) -> None:
    """Make the folders of a guest, which nobody but QEMU's user and the daemon can enter.

    Args:
        stop: asked between files of a guest before it.
        folder: its own.
        settings: where the others are.
        huge: those for its huge pages.
    """
    try:
        for shared in (
            settings.state,
            settings.run,
            settings.channel,
            settings.log,
            settings.nvram,
            settings.save,
        ):
            shared.mkdir(mode=0o711, exist_ok=True)
        settings.monitor.mkdir(mode=0o700, exist_ok=True)
        for own in huge:
            own.parent.mkdir(mode=0o711, exist_ok=True)
        for own in (folder, settings.channel / folder.name, *huge):
            remove_folder(stop, str(own))
            own.mkdir(mode=0o700)
            _to_user(own, settings.user)
    except OSError as error:
        text = f"cannot create directory '{folder}': {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def _to_user(path: Path, user: GuestUser | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


async def write_secrets(guest: Guest, secrets: Iterable[NeededSecret]) -> None:
    """Put secrets' values where QEMU finds them; raises NoSecret."""
    settings = guest.world.settings
    values: dict[str, bytes] = {}
    for secret in secrets:
        value = guest.world.secret_value(secret.uuid or secret.usage)
        if value is None:
            raise NoSecret("Secret not found", domain=c.VIR_FROM_SECRET)
        values[secret.path] = value

    def write(stop: Stop) -> None:
        for path, value in values.items():
            _write_secret(path, value, settings.user)

    if values:
        await in_thread(str(settings.state), write)


def forget_secrets(paths: Iterable[str]) -> None:
    """Remove what QEMU has read; in a thread."""
    for path in paths:
        with suppress(OSError):
            os.unlink(path)


def _write_secret(path: str, value: bytes, user: GuestUser | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(value)
        if user is not None:
            os.fchown(descriptor, user.uid, user.gid)


@asynccontextmanager
async def opened(descriptors: Iterable[Descriptor], settings: Settings) -> AsyncIterator[Mapping[str, int]]:
    """Open what QEMU is given already open; it is closed here when the block ends.

    Yields:
        The numbers, by name.
    """
    numbers: dict[str, int] = {}
    places: dict[str, str] = {}
    try:
        for one in descriptors:
            place = places[one.name] = os.path.dirname(one.path or "/")
            numbers[one.name] = await open_in_thread(place, lambda stop, one=one: _open(one, settings))  # type: ignore[misc]
        yield numbers
    finally:
        for name, number in numbers.items():
            await close_in_thread(places[name], number)


def _open(one: Descriptor, settings: Settings) -> int:
    """Open one of them; in a thread."""
    try:
        if one.kind == "listen":
            assert one.path is not None
            return _listen(one.path, settings)
        if one.kind == "file":
            assert one.path is not None
            return _open_output(one.path, settings, append=one.append)
        assert one.tap is not None
        return open_tap(one.tap)
    except OSError as error:
        text = f"cannot open '{one.path}': {error.strerror or error}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def _listen(path: str, settings: Settings) -> int:
    """Return a socket that listens where QEMU's user may connect; what is there already goes if it is one.

    The folder may be the guests', who exchange its entries while we look. So a socket has its mode from the
    beginning, and it is given away only as what it is: a new one of ours, in that very folder.
    """
    folder, name = os.path.split(path)
    folder = os.path.realpath(folder)
    real = os.path.join(folder, name)
    if not real.startswith((f"{settings.run}/", f"{settings.monitor}/")):
        check_allowed(real, settings)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with exactly(folder) as place:
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=place)
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(path)
            if settings.user is not None:
                _give_socket(name, place, settings.user)
        listener.listen(LISTEN_BACKLOG)
        return listener.detach()
    except BaseException:
        listener.close()
        raise


def _give_socket(name: str, folder: int, user: GuestUser) -> None:
    """Make a socket in a folder QEMU's user's; raises OSError if it is none that we have just made."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
        os.chown(f"/proc/self/fd/{descriptor}", user.uid, user.gid)
    finally:
        os.close(descriptor)


def _open_output(path: str, settings: Settings, *, append: bool) -> int:
    """Open a regular file that a guest's device prints into; it is the daemon's, and QEMU gets it open."""
    real = check_allowed(path, settings)
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_APPEND
    )
    descriptor = os.open(real, flags, 0o600)
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") != real:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OperationDenied(f"'{path}' is not a regular file", domain=c.VIR_FROM_QEMU)
        if not append:
            os.ftruncate(descriptor, 0)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
